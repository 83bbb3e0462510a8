"""A server that stands before a gateway and does wrong by order, and a gateway that calls it as a vendor's."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
import msgspec

from conftest import demo_config
from loyalty_gateway.app import create_app
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Answer, Operation, Request, Vendor
from stores import SqliteFile

CREDENTIALS: Mapping[str, Mapping[str, str]] = {
    "bitbybit": {"api_key": "bbb_test_demo"},
    "mage": {"api_key": "mage_demo_key"},
    "yotpo": {"guid": "demo-guid", "api_key": "demo-api-key"},
    "salla": {"bearer": "demo-salla-token"},
    "loyaltylion": {"bearer": "pat_demo"},
}
MOUNTS: Mapping[str, str] = {"salla": "/salla/admin/v2"}
UPSTREAMS = tuple(sorted(CREDENTIALS))

HTML = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>nginx</body></html>"


class Fault(NamedTuple):
    """What is done to requests that adjust points.

    ``forwards`` is whether the vendor carries the request out. Then the client is answered as the vendor does
    (``honest``), otherwise (``answers``), with the beginning of the answer (``half``), not at all (``silence``) or
    by hanging up (``hangs up``).
    """

    does: Literal["honest", "answers", "half", "silence", "hangs up"] = "honest"
    forwards: bool = False
    status: int = 200
    body: str = ""
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def answer(self) -> bytes:
        content = self.body.encode()
        told = [("content-type", self.media_type), ("content-length", str(len(content))), *self.headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in told)
        return f"HTTP/1.1 {self.status} Told\r\n{head}\r\n".encode() + content


def told_by(vendor: Vendor, code: Code, status: int, *headers: tuple[str, str]) -> Fault:
    """The vendor's own envelope for a refusal of an adjustment, with a status of ours."""
    answer = refusal_of(vendor, code, vendor.operations[0])
    body = answer.text if answer.text is not None else json.dumps(answer.body)
    return Fault("answers", status=status, body=body, headers=headers)


def refusal_of(vendor: Vendor, code: Code, asked: Operation) -> Answer:
    """What the vendor says when it refuses an operation."""
    request = Request(
        vendor=vendor,
        operation=asked,
        method="POST",
        path_values={},
        query={},
        headers={},
        options=msgspec.convert({}, vendor.options),
    )
    answer: Answer = vendor.render_problem(Problem(code), request)
    return answer


class FaultyServer:
    """Passes requests on to a server, and does by its ``fault`` what a broken one does."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self.fault: Fault | None = None
        self.first: list[Fault] = []
        self.read: Fault | None = None
        self.late: list[bytes] = []
        self.adjusted = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def listen(self) -> None:
        """Listens, on the port that it had before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Connections are refused from here on, and those that there are end."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await _read_request(reader)) is not None and await self._answer(request, writer):
                pass
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            # A reset where something is unread, as of a process that was killed.
            writer.transport.abort()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; whether the connection goes on."""
        is_adjusting = request.startswith(b"POST")
        self.adjusted += is_adjusting
        fault = self.read or Fault(forwards=True)
        if is_adjusting:
            fault = self.first.pop(0) if self.first else self.fault or Fault(forwards=True)
            if fault.does == "silence" and not fault.forwards:
                self.late.append(request)
        answer = await self._forward(request) if fault.forwards else b""
        match fault.does:
            case "hangs up":
                return False
            case "silence":
                await asyncio.sleep(3_600)
                return False
            case "half":
                writer.write(answer[:-10])
                await writer.drain()
                return False
            case "answers":
                writer.write(fault.answer())
            case "honest":
                writer.write(answer)
        await writer.drain()
        return True

    async def deliver(self) -> None:
        """What was swallowed arrives at last."""
        while self.late:
            await self._forward(self.late.pop(0))

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answer = await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return answer.replace(b"connection: close\r\n", b"", 1)


async def _read_request(reader: asyncio.StreamReader) -> bytes | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return head + await reader.readexactly(int(found[1]) if found else 0)


@dataclass
class Shim:
    """A gateway whose clients' points are at a vendor's server."""

    client: httpx.AsyncClient
    store: SqliteFile
    log: io.BytesIO = field(default_factory=io.BytesIO)

    def intents(self, reason: str) -> list[dict[str, Any]]:
        """Those of requests with this reason, oldest first, what came of them read."""
        rows = self.store.rows("SELECT * FROM intents ORDER BY id")
        for row in rows:
            row["adjustment"] = json.loads(row["adjustment"])
            row["outcome"] = json.loads(row["outcome"]) if row["outcome"] else None
        return [row for row in rows if row["adjustment"]["reason"] == reason]

    async def settled(self, reason: str, *, seconds: float = 10.0) -> list[str]:
        """The states of intents once none of them waits for anything but a person."""
        async with asyncio.timeout(seconds):
            while True:
                states = [str(row["state"]) for row in self.intents(reason)]
                if not {"open", "unclear", "waiting"} & set(states):
                    return states
                # What is looked at again in a second is looked at now.
                self.store.execute("UPDATE intents SET due_at = 0 WHERE state = 'unclear'")
                await asyncio.sleep(0.02)

    def lines(self) -> list[dict[str, Any]]:
        """The request lines; all of them once the gateway is closed."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def pointed(vendor: str, url: str, **settings: Any) -> dict[str, Any]:
    """What a configuration says of a backend at a vendor's server."""
    where = url + MOUNTS.get(vendor, f"/{vendor}")
    upstream = {"vendor": vendor, "url": where, "credentials": dict(CREDENTIALS[vendor])}
    return {
        "upstream": upstream | {"timeout_seconds": 0.3, "patience_seconds": 0.05, "settle_seconds": 0.1} | settings
    }


@asynccontextmanager
async def shim(  # noqa: PLR0917 - what a shim is made of
    folder: Path,
    vendor: str,
    url: str,
    vendors: Mapping[str, Vendor],
    contracts: Mapping[str, Contract],
    clients: Iterable[str] = UPSTREAMS,
    people: int = 2,
    **settings: Any,
) -> AsyncIterator[Shim]:
    """A gateway in this process whose clients' points are at the vendor's server, which it calls over sockets."""
    store = SqliteFile(folder / f"shim-{vendor}.db")
    config = demo_config(ledger=store.url)
    config["vendors"] = {name: config["vendors"][name] for name in clients}
    config["merchants"]["demo"]["customers"] = config["merchants"]["demo"]["customers"][:people]
    for chosen in config["vendors"].values():
        chosen["backend"] = pointed(vendor, url, **settings)
    log = io.BytesIO()
    app = create_app(parse_config(config, vendors, {}), vendors, journal=Journal(log), contracts=contracts)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shim", timeout=30) as client,
    ):
        yield Shim(client, store, log)
