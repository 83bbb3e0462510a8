"""The same vendor's real server: a request goes on as it came, and its answer comes back as it is."""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract, OperationContract
from loyalty_gateway.upstream.connections import Connections, Received, Unclear
from loyalty_gateway.upstream.transport import Transport, request_of

Headers = list[tuple[bytes, bytes]]

# Those of one connection, which are nobody's on the next one (RFC 9110, 7.6.1). A body that is expected is here
# already when the request goes on.
_OF_THE_CONNECTION: Final = frozenset(
    {
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_NEW_IN_REQUESTS: Final = frozenset({b"host", b"content-length"})
# Our own server says the time itself.
_NEW_IN_ANSWERS: Final = frozenset({b"content-length", b"date"})
_WITHOUT_BODY: Final = frozenset({204, 304})
_CANNOT_STAND_IN_A_HEADER: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Passthrough:
    """Where requests are answered by the vendor itself, and checked on the way.

    Args:
        contract: the vendor's contract.
        url: of its server, which is what stands before the paths of its spec; empty for the spec's own, of which
            there may be several.
        timeout_seconds: for connecting, and for each silence of a server.
        connections: open at once to each server.
        transport: instead of the one over sockets.

    Raises:
        ConfigurationError: no address is given, neither here nor in the spec.
    """

    def __init__(
        self,
        contract: Contract,
        url: str,
        timeout_seconds: float,
        connections: int,
        transport: Transport | None = None,
    ) -> None:
        self._places: dict[str, _Place] = {}
        self._connections: dict[str, Connections] = {}
        for operation in contract.operations.values():
            place = _place(operation.server_url, url or operation.server_url)
            self._places[operation.id] = place
            if place.server not in self._connections:
                self._connections[place.server] = Connections(timeout_seconds, connections, transport)

    async def forward(  # noqa: PLR0913 - the parts of a request
        self, operation: OperationContract, *, method: str, path: str, query: bytes, headers: Headers, body: bytes
    ) -> Received:
        """The vendor's answer, to be passed on as it is.

        Args:
            operation: that of the request.
            method: of the request.
            path: the raw path below the vendor's mount.
            query: the raw query string.
            headers: all of them, as received.
            body: its bytes.

        Raises:
            NotSent: nothing can have come of it.
            Unclear: something may have.
        """
        place = self._places[operation.id]
        target = place.target(path) + (b"?" + query if query else b"")
        request = request_of(method, place.origin, list(_passing(headers, _NEW_IN_REQUESTS)), body, target)
        received = await self._connections[place.server].exchange(request)
        values = [value for _, value in received.headers]
        if not 200 <= received.status < 600 or any(map(_CANNOT_STAND_IN_A_HEADER.search, values)):
            raise Unclear("the answer cannot be passed on")
        return received._replace(headers=_answered(method, received))

    async def close(self) -> None:
        """Closes its connections."""
        for connections in self._connections.values():
            await connections.close()


class _Place(NamedTuple):
    """Where an operation is: at an origin, below a prefix that takes the place of the published one."""

    server: str
    origin: httpx.URL
    prefix: str
    published_prefix: str

    def target(self, path: str) -> bytes:
        if path.startswith(f"{self.published_prefix}/"):
            return (self.prefix + path.removeprefix(self.published_prefix)).encode("latin-1")
        # An alias stands beside the published paths there as it does here.
        return (self.prefix.removesuffix(self.published_prefix) + path).encode("latin-1")


def _place(published: str, server: str) -> _Place:
    parts = urlsplit(server)
    if not parts.netloc:
        raise ConfigurationError("url", "must be given: the spec has no server")
    return _Place(
        server=f"{parts.scheme}://{parts.netloc}",
        origin=httpx.URL(f"{parts.scheme}://{parts.netloc}"),
        prefix=parts.path.rstrip("/"),
        published_prefix=urlsplit(published).path,
    )


def _answered(method: str, received: Received) -> Headers:
    headers = list(_passing(received.headers, _NEW_IN_ANSWERS))
    if method == "HEAD":
        headers += [(name, value) for name, value in received.headers if name.lower() == b"content-length"]
    elif received.status not in _WITHOUT_BODY:
        headers.append((b"content-length", b"%d" % len(received.content)))
    return headers


def _passing(headers: Iterable[tuple[bytes, bytes]], new: frozenset[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Those that go on, with names in lower case: neither what belongs to one connection nor what is new there."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = {
        word.strip().lower() for name, value in lowered if name == b"connection" for word in value.split(b",")
    }
    for name, value in lowered:
        if name not in _OF_THE_CONNECTION and name not in new and name not in named:
            yield name, value
