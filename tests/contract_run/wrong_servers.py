"""Servers that break one promise each: the gateway itself behind something that spoils what goes by."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn

_LONGER_THAN_A_RUN = 6.0


@dataclass(frozen=True)
class Asked:
    """A request on its way in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def saying(self, **fields: Any) -> "Asked":
        """The same with other fields in its body."""
        return replace(self, body=json.dumps({**self.json, **fields}).encode())

    def without(self, name: str) -> "Asked":
        return replace(self, headers={key: value for key, value in self.headers.items() if key != name})


@dataclass(frozen=True)
class Answered:
    """An answer on its way out."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    def telling(self, value: Any, status: int | None = None) -> "Answered":
        body = json.dumps(value).encode()
        headers = {**self.headers, "content-type": "application/json"}
        return Answered(status or self.status, headers, body)


Gateway = Callable[[Asked], Awaitable[Answered]]
Spoil = Callable[[Asked, Gateway], Awaitable[Answered]]


async def right(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(asked)


async def wrong_status(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=202) if answer.status == 200 and asked.path.endswith("/adjust") else answer


async def wrong_envelope(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return answer.telling({"message": "no"}) if 400 <= answer.status < 500 else answer


async def number_for_string(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/wallet"):
        return answer
    wallet = answer.json["data"]
    return answer.telling({"data": {**wallet, "availablePoints": int(wallet["availablePoints"])}})


async def missing_header(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(
        answer, headers={name: text for name, text in answer.headers.items() if name != "ratelimit-reset"}
    )


async def dropped_field(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/points"):
        return answer
    told = answer.json
    del told["data"]["attributes"]["points_after"]
    return answer.telling(told)


async def takes_the_forbidden(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 422 and isinstance(asked.json, dict) and not isinstance(asked.json.get("points", 1), int):
        return answer.telling({"status": 201, "success": True, "data": {"code": 201, "message": "done"}}, 201)
    return answer


async def refuses_the_admitted(asked: Asked, gateway: Gateway) -> Answered:
    if asked.method == "GET" and asked.path.endswith("/v2/customers"):
        return Answered(400).telling({"error": {"message": "Invalid request", "details": {"limit": "no"}}})
    return await gateway(asked)


async def refuses_admitted_additions(asked: Asked, gateway: Gateway) -> Answered:
    """As if there were too few points, which an addition cannot be refused for."""
    wanted = asked.json.get("adjustment", 0) if isinstance(asked.json, dict) else 0
    if not isinstance(wanted, int) or wanted <= 7:
        return await gateway(asked)
    answer = await gateway(asked.saying(adjustment=0))
    return replace(answer, status=422)


async def applies_again(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(asked.without("idempotency-key"))


async def forgets_what_a_key_was_for(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return await gateway(asked.without("idempotency-key")) if answer.status == 422 else answer


async def floors(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    while answer.status == 422 and asked.path.endswith("/remove_points") and asked.json["points"] > 1:
        asked = asked.saying(points=asked.json["points"] // 2)
        answer = await gateway(asked)
    return answer


async def refuses_instead_of_flooring(asked: Asked, gateway: Gateway) -> Answered:
    wanted = asked.json.get("adjustment", 0) if isinstance(asked.json, dict) else 0
    if isinstance(wanted, int) and wanted < 0:
        reading = replace(asked, method="GET", path=asked.path.removesuffix("/points"), body=b"")
        shown = await gateway(reading)
        if shown.status == 200 and shown.json["data"]["attributes"]["point_balance"] + wanted < 0:
            error = {"status": "400", "title": "Bad Request", "detail": "Not enough points"}
            return Answered(400).telling({"errors": [error]})
    return await gateway(asked)


async def ignores_credentials(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(replace(asked, headers={**asked.headers, "authorization": "Bearer demo-salla-token"}))


async def lets_readers_write(asked: Asked, gateway: Gateway) -> Answered:
    sent = asked.headers.get("authorization", "").replace("demo-salla-readonly", "demo-salla-token")
    return await gateway(replace(asked, headers={**asked.headers, "authorization": sent}))


async def answers_a_page(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 404:
        return answer
    return Answered(404, {"content-type": "text/html"}, b"<h1>Not Found</h1>")


async def applies_half_a_list(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    listed = asked.json.get("customers") if isinstance(asked.json, dict) else None
    if answer.status in {400, 422} and isinstance(listed, list) and len(listed) > 1:
        await gateway(asked.saying(customers=listed[:1]))
    return answer


async def resets_nothing(asked: Asked, gateway: Gateway) -> Answered:
    if isinstance(asked.json, dict) and asked.json.get("reset_points") is True:
        return await gateway(asked.saying(reset_points=False, points=1, type="minus"))
    return await gateway(asked)


async def tells_a_limit_that_never_shrinks(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    limit = answer.headers.get("ratelimit-limit")
    return replace(answer, headers=answer.headers | {"ratelimit-remaining": limit}) if limit else answer


async def breaks_down(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=500) if answer.status == 400 else answer


async def forgets_the_history(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/transactions"):
        return answer
    return answer.telling({**answer.json, "transactions": []})


async def adds_twice(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status == 201 and asked.path.endswith("/points") and "idempotency-key" not in asked.headers:
        await gateway(asked)
    return answer


async def knows_one_key_header(asked: Asked, gateway: Gateway) -> Answered:
    return await gateway(asked.without("x-bitbybit-key"))


async def forgets_its_further_path(asked: Asked, gateway: Gateway) -> Answered:
    if "/customer/open/v1/" in asked.path:
        return Answered(404).telling({"error": {"code": "NOT_FOUND", "message": "Not found"}})
    return await gateway(asked)


async def dislikes_decimal_points(asked: Asked, gateway: Gateway) -> Answered:
    if b".0" in asked.body:
        error = {"status": "400", "title": "Bad Request", "detail": "No integer"}
        return Answered(400).telling({"errors": [error]})
    return await gateway(asked)


async def forgets_what_was_earned(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    customer = answer.json.get("data") if asked.method == "GET" and answer.status == 200 else None
    if not isinstance(customer, dict):
        return answer
    forgotten = {"lifetime_points": customer["attributes"]["current_points"], "redeemed_points": 0}
    return answer.telling({"data": customer | {"attributes": customer["attributes"] | forgotten}})


async def takes_the_excluded(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=200) if answer.status == 403 and asked.path.endswith("/points") else answer


async def shares_an_address(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, status=201) if answer.status == 409 else answer


async def knows_no_email(asked: Asked, gateway: Gateway) -> Answered:
    if asked.method == "POST" and "customer_email" in (asked.json or {}).get("customers", {}):
        return Answered(400).telling({"error": "Customer does not exist"})
    return await gateway(asked)


async def forgets_birthdays(asked: Asked, gateway: Gateway) -> Answered:
    if isinstance(asked.json, dict) and "date_of_birth" in asked.json:
        return await gateway(asked.saying(date_of_birth=None))
    return await gateway(asked)


async def tells_the_oldest_first(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/history"):
        return answer
    return answer.telling({**answer.json, "data": answer.json["data"][::-1]})


async def fills_its_pages(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 200 or not asked.path.endswith("/v1/customers"):
        return answer
    return answer.telling({**answer.json, "data": answer.json["data"] * 2})


async def links_to_no_page(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    return replace(answer, headers={name: text for name, text in answer.headers.items() if name != "link"})


async def calls_every_key_missing(asked: Asked, gateway: Gateway) -> Answered:
    answer = await gateway(asked)
    if answer.status != 401:
        return answer
    return answer.telling({"error": {"code": "MISSING_API_KEY", "message": "API key is required"}})


async def refuses_for_ever(_asked: Asked, _gateway: Gateway) -> Answered:
    return Answered(429, {"retry-after": "0"}).telling({"message": "Too many"})


async def forgets_balances(asked: Asked, gateway: Gateway) -> Answered:
    if asked.method == "GET":
        return Answered(500).telling({"message": "no"})
    return await gateway(asked)


class Silent:
    """Answers so many requests and then no more."""

    def __init__(self, answered: int) -> None:
        self._left = answered

    async def __call__(self, asked: Asked, gateway: Gateway) -> Answered:
        self._left -= 1
        if self._left < 0:
            await asyncio.sleep(_LONGER_THAN_A_RUN)
        return await gateway(asked)


async def slowly(asked: Asked, gateway: Gateway) -> Answered:
    await asyncio.sleep(0.03)
    return await gateway(asked)


async def tells_too_much(_asked: Asked, _gateway: Gateway) -> Answered:
    return Answered(200).telling({"message": "x" * 9_000_000})


class SpoiledApp:
    """An ASGI application that hands whole requests and answers to whoever spoils them."""

    def __init__(self, app: Any, spoil: Spoil) -> None:
        self._app = app
        self._spoil = spoil

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        raw_path = scope["raw_path"].decode("latin-1")

        async def gateway(asked: Asked) -> Answered:
            return await self._asked({**scope, "query_string": scope["query_string"]}, asked)

        answer = await self._spoil(Asked(scope["method"], raw_path, headers, body), gateway)
        told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        told = [(name, value) for name, value in told if name != b"content-length"]
        if answer.status != 204:
            told.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": told})
        await send({"type": "http.response.body", "body": answer.body})

    async def _asked(self, scope: Mapping[str, Any], asked: Asked) -> Answered:
        headers = {**asked.headers, "content-length": str(len(asked.body))}
        inner = {
            **scope,
            "method": asked.method,
            "raw_path": asked.path.encode("latin-1"),
            "path": asked.path,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": asked.body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(inner, receive, send)
        start, *parts = sent
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answered(start["status"], told, b"".join(part.get("body", b"") for part in parts))


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The application on a free port, in a thread; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def hanging_up() -> Iterator[str]:
    """A server that takes every request and answers none; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as bound:

        def serve() -> None:
            while True:
                taken, _ = bound.accept()
                with taken:
                    if not taken.recv(65_536):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            with socket.create_connection(bound.getsockname()):
                pass
            thread.join()


@contextmanager
def answering(answer: Callable[[socket.socket, int], bool]) -> Iterator[str]:
    """A server that has each connection, and its number, answered, until that gives false; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        is_over = threading.Event()

        def serve() -> None:
            number = 0
            while not is_over.is_set():
                taken, _ = bound.accept()
                with taken:
                    if not answer(taken, number):
                        bound.close()
                        return
                number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        address = bound.getsockname()
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            is_over.set()
            with suppress(OSError), socket.create_connection(address):
                pass
            thread.join()


def trickle(taken: socket.socket, _number: int) -> bool:
    """A header of an answer, a letter at a time, for as long as somebody listens."""
    with suppress(OSError):
        if taken.recv(65_536):
            taken.sendall(b"HTTP/1.1 200 OK\r\nx-long: ")
            while True:
                taken.sendall(b"x")
                time.sleep(0.05)
    return True


def leave(taken: socket.socket, number: int) -> bool:
    """Two answers, and after them nobody is there."""
    if taken.recv(65_536):
        taken.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    return number < 1
