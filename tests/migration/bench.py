"""A gateway between two vendors' servers in this process, which can be broken and opened anew."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from conftest import demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Idempotency, Instruction, Lifetime, Merchant
from loyalty_gateway.app import create_app
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.following.sides import Side
from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.migration import commands
from loyalty_gateway.migration.backend import MigratingBackend
from loyalty_gateway.migration.commands import Chosen
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.migration.stages import Stages
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream import connections
from loyalty_gateway.upstream.upstreams import Upstreams, make_upstreams
from loyalty_gateway.vendor import Vendor
from stores import SqliteFile, Store

R = TypeVar("R")

SALLA = {
    "vendor": "salla",
    "url": "http://old/salla/admin/v2",
    "credentials": {"bearer": "demo-salla-token"},
    "patience_seconds": 1,
    "settle_seconds": 1,
}
YOTPO = {
    "vendor": "yotpo",
    "url": "http://old/yotpo",
    "credentials": {"guid": "demo-guid", "api_key": "demo-api-key"},
    "patience_seconds": 1,
    "settle_seconds": 1,
}
LOYALTYLION = {
    "vendor": "loyaltylion",
    "url": "http://new/loyaltylion",
    "credentials": {"bearer": "pat_demo"},
    "patience_seconds": 1,
    "settle_seconds": 1,
}
SALLA_TO_ENGINE: dict[str, Any] = {"salla": {"migration": {"old": {"upstream": SALLA}, "new": "engine"}}}
YOTPO_TO_LOYALTYLION: dict[str, Any] = {
    "yotpo": {"migration": {"old": {"upstream": YOTPO}, "new": {"upstream": LOYALTYLION}}}
}
JANE = CustomerReference("salla", "748394059")
OMAR = CustomerReference("salla", "873874834")


class Wire(httpx.AsyncBaseTransport):
    """Leads to the servers by their hosts; ``down`` takes no connections, ``deaf`` loses answers of changes."""

    def __init__(self) -> None:
        self.apps: dict[str, httpx.ASGITransport] = {}
        self.down: set[str] = set()
        self.deaf: set[str] = set()
        self.changes: Counter[str] = Counter()
        self.slow_seconds = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host in self.down:
            raise httpx.ConnectError("nobody there")
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        response = await self.apps[host].handle_async_request(request)
        if request.method != "GET":
            self.changes[host] += 1
            if host in self.deaf:
                raise httpx.ReadError("hung up")
        return response


class Bench:
    """The gateway's part of a move, with both vendors' servers; see ``opened``."""

    def __init__(
        self,
        folder: Path,
        vendors: dict[str, Vendor],
        contracts: dict[str, Contract],
        backends: dict[str, Any],
        store: Store | None = None,
    ) -> None:
        self.folder = folder
        self.vendors = vendors
        self.contracts = contracts
        (self.vendor,) = backends
        self.store = store or SqliteFile(folder / "front.db")
        config = demo_config(ledger=self.store.url)
        config["merchants"]["demo"]["backends"] = backends
        self.config = parse_config(config, vendors, {})
        self.wire = Wire()
        self.merchant = Merchant(name="demo")

    # The vendors' servers

    @asynccontextmanager
    async def server(self, name: str) -> AsyncIterator[None]:
        """A gateway in engine mode that plays the vendor's server."""
        config = parse_config(demo_config(ledger=f"sqlite:///{self.folder / name}.db"), self.vendors, {})
        app = create_app(config, self.vendors, journal=Journal(io.BytesIO()), contracts=self.contracts)
        async with app.router.lifespan_context(app):
            self.wire.apps[name] = httpx.ASGITransport(app=app)
            yield

    @asynccontextmanager
    async def servers(self) -> AsyncIterator[None]:
        async with self.server("old"), self.server("new"):
            yield

    # The gateway

    @asynccontextmanager
    async def front(self) -> AsyncIterator[httpx.AsyncClient]:
        """The whole gateway, asked as clients do."""
        app = create_app(
            self.config,
            self.vendors,
            journal=Journal(io.BytesIO()),
            contracts=self.contracts,
            transport=self.wire,
        )
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://front") as client,
        ):
            yield client

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Opened"]:
        """The ledger, the two sides and what follows between them, without an API in front."""
        ledger = self.store.ledger()
        await ledger.open()
        upstreams = self._upstreams(ledger)
        backend = upstreams.backends[self.vendor, "demo"]
        upstreams.start()
        try:
            yield Opened(self, ledger, backend)
        finally:
            await upstreams.close()
            await ledger.close()

    @asynccontextmanager
    async def another(self, opened: "Opened") -> AsyncIterator["Opened"]:
        """Another gateway on the same ledger, which goes by what it has read itself."""
        upstreams = self._upstreams(opened.ledger)
        try:
            yield Opened(self, opened.ledger, upstreams.backends[self.vendor, "demo"])
        finally:
            await upstreams.close()

    def _upstreams(self, ledger: Ledger) -> Upstreams:
        return make_upstreams(
            self.config,
            self.vendors,
            contract_of=lambda name: self.contracts[name],
            ledger=ledger,
            merchants={"demo": self.merchant},
            metrics=Metrics(),
            transport=self.wire,
        )

    async def step(self, work: Callable[[Chosen], Awaitable[R]]) -> R:
        """What a command does, on a ledger of its own beside the gateway."""
        ledger = self.store.ledger(runs_jobs=False)
        await ledger.open()
        try:
            return await work(Chosen(ledger, self.merchant, self.vendor))
        finally:
            await ledger.close()

    async def step_at_sides(self, work: Callable[[Chosen, Parts], Awaitable[R]]) -> R:
        """The same, for a command that asks both sides."""

        async def at_sides(chosen: Chosen) -> R:
            upstreams = self._upstreams(chosen.ledger)
            try:
                return await work(chosen, upstreams.parts(self.vendor, "demo"))
            finally:
                await upstreams.close()

        return await self.step(at_sides)

    async def advance(self, percent: int | None = None, customers: Path | None = None, hours: float = 24) -> str:
        out = io.StringIO()
        await self.step(
            lambda chosen: commands.advance(
                chosen,
                percent=percent,
                customers=customers,
                who="Ann",
                why="a test",
                largest_age_hours=hours,
                out=out,
            )
        )
        return out.getvalue()

    async def back(self, percent: int | None = None) -> str:
        out = io.StringIO()
        await self.step(
            lambda chosen: commands.take_back(chosen, percent=percent, who="Ann", why="a test", out=out)
        )
        return out.getvalue()

    @property
    def new_side(self) -> str:
        """Where the points are that move across, by the name under which they are looked at."""
        return "front" if self.vendor == "salla" else "new"

    def run_at_stage(self, work: Callable[["Opened"], Awaitable[None]], stage: Stage) -> None:
        """Comes to the stage, and has the work done there behind a new start."""

        async def at_stage() -> None:
            async with self.servers(), self.front():
                await self.come_to(stage)
            async with self.servers(), self.opened() as opened:
                await work(opened)

        asyncio.run(at_stage())

    async def come_to(self, stage: Stage) -> None:
        """Advances to the stage, with a reconciliation before each step that wants one."""
        while (await self.step(lambda chosen: chosen.move())).stage is not stage:
            present = (await self.step(lambda chosen: chosen.move())).stage
            if present is Stage.MIRROR:
                assert (await self.take_over())[0]
            if present.follows:
                clean, told = await self.reconcile()
                assert clean, told
            await self.advance()

    async def take_over(self, batch: str = "first") -> tuple[bool, str]:
        out = io.StringIO()
        done = await self.step_at_sides(
            lambda chosen, parts: commands.run_import(chosen, parts, batch=batch, out=out)
        )
        return done, out.getvalue()

    async def reconcile(self, file: Path | None = None) -> tuple[bool, str]:
        out = io.StringIO()
        clean = await self.step_at_sides(
            lambda chosen, parts: commands.run_reconciliation(chosen, parts, file=file, out=out)
        )
        return clean, out.getvalue()

    async def status(self) -> str:
        out = io.StringIO()
        await self.step(lambda chosen: commands.tell_status(chosen, out=out))
        return out.getvalue()

    # What is where

    def rows(self, database: str, sql: str) -> list[dict[str, Any]]:
        return self._store(database).rows(sql)

    def execute(self, database: str, sql: str) -> None:
        self._store(database).execute(sql)

    def _store(self, database: str) -> Store:
        return self.store if database == "front" else SqliteFile(self.folder / f"{database}.db")

    def balance(self, database: str, customer: str = "jane@example.com") -> int:
        (row,) = self.rows(
            database,
            "SELECT w.available FROM wallets w JOIN customer_references r ON r.wallet_id = w.id "
            f"WHERE r.value = '{customer}'",
        )
        return int(row["available"])

    def moved(self, database: str) -> list[int]:
        """The points that each entry moved, but those by which a balance was taken over."""
        return [
            int(row["points_delta"])
            for row in self.rows(database, "SELECT points_delta, reason FROM entries ORDER BY id")
            if not str(row["reason"]).startswith("Balance taken over")
        ]

    def digest(self, database: str) -> str:
        """All that a side knows of customers and their points."""
        tables = ("wallets", "entries", "customer_references", "profiles", "idempotency_keys", "jobs")
        told = {table: self.rows(database, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}
        return json.dumps(told, default=bytes.hex)


class Opened:
    """The gateway's part of a move, open."""

    def __init__(self, bench: Bench, ledger: Ledger, backend: MigratingBackend) -> None:
        self.bench = bench
        self.ledger = ledger
        self.backend = backend

    async def adjust(self, points: int | None, key: str | None = None, *customers: CustomerReference) -> Any:
        vendor = self.bench.vendor
        named = customers or ((JANE,) if vendor == "salla" else (CustomerReference("email", "jane@example.com"),))
        adjustment = Adjustment(
            customers=named,
            points_delta=points,
            lifetime=Lifetime.UNTOUCHED if points is None else Lifetime.EARN_AND_BURN,
            reason=f"Reason {key}",
        )
        idempotency = None if key is None else Idempotency(key, key.encode())
        return await self.backend.adjust(
            Instruction(
                merchant=self.bench.merchant, vendor=vendor, adjustment=adjustment, idempotency=idempotency
            )
        )

    async def quiet(self, seconds: float = 10) -> None:
        """Waits until nothing waits to follow and nothing is under way, for Jane and for Omar."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            stands = [await self.backend.parts.standing(number) for number in (1, 2)]
            waiting = [stand for stand in stands if any(sum(one) for one in stand.beyond.values())]
            if not waiting:
                return
            assert asyncio.get_running_loop().time() < deadline, stands
            await asyncio.sleep(0.02)

    async def beyond(self, side: Side, number: int = 1) -> int:
        """How much was done at a side that has not followed at the other."""
        return sum((await self.backend.parts.standing(number)).beyond[side])


NewBench = Callable[..., Bench]


def benches(
    folder: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    """Makes benches on which nothing takes longer than it has to."""
    monkeypatch.setattr(Stages, "fresh_seconds", 0.0)
    monkeypatch.setattr(connections, "_PAUSE_SECONDS", 0.2)
    return lambda backends, store=None: Bench(folder, vendors, contracts, backends, store)
