"""The gateway behind something that spoils what goes by, and sockets that answer as no server should."""

import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn


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
