"""A server of bytes: it keeps each request as it came, and answers what a test says, or hangs up."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

HANGS_UP = None
"""Instead of an answer."""


@dataclass
class RawServer:
    """``answer`` gets a request and gives the bytes of the answer; those behind which it hangs up say so.

    With ``dribbles`` the bytes come one by one, with so many seconds between them.
    """

    answer: Callable[[bytes], bytes | None]
    requests: list[bytes] = field(default_factory=list)
    port: int = 0
    dribbles: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, status: int, body: bytes, *headers: bytes) -> None:
        """Answers everything with this."""
        self.answer = lambda _: raw_answer(status, body, *headers)


def raw_answer(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = (b"HTTP/1.1 %d Told" % status, *headers, b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@contextlib.contextmanager
def raw_server() -> Iterator[RawServer]:
    """Serves in a thread, and answers nothing until a test says what."""
    told = RawServer(lambda _: HANGS_UP)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (request := _read(self.rfile.readline, self.rfile.read)) is not None:
                told.requests.append(request)
                answer = told.answer(request)
                if answer is None:
                    return
                with contextlib.suppress(OSError):
                    for piece in _pieces(answer, told.dribbles):
                        self.wfile.write(piece)
                if b"connection: close" in answer.lower():
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


def _pieces(answer: bytes, dribbles: float) -> Iterator[bytes]:
    if not dribbles:
        yield answer
        return
    for byte in answer:
        time.sleep(dribbles)
        yield bytes([byte])


def _read(readline: Callable[[], bytes], read: Callable[[int], bytes]) -> bytes | None:
    head = b""
    with contextlib.suppress(OSError):
        while (line := readline()) not in {b"\r\n", b""}:
            head += line
    if not head:
        return None
    length = re.search(rb"(?im)^content-length: (\d+)", head)
    return head + b"\r\n" + (read(int(length[1])) if length is not None else b"")


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
