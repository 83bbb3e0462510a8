"""The connections to one server: whole answers, and what is known of a request that got none."""

import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import aiohttp
import httpx
import msgspec
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState

from loyalty_gateway.body import parse_json
from loyalty_gateway.problem import Problem
from loyalty_gateway.upstream.transport import Sockets, Transport
from loyalty_gateway.vendor import Answer

_LARGEST_ANSWER: Final = 16_000_000
_FAILURES_IN_A_ROW: Final = 5
_PAUSE_SECONDS: Final = 10.0

# A connection that could not be made carried no request. Whatever else goes wrong on one may have been behind it:
# also what the transport calls a connect timeout, as it does a server that hangs up.
_NO_CONNECTION: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_NO_CONNECTION_HERE: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

_WINDOW_BITS: Final[Mapping[str, int]] = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class NotSent(Exception):  # noqa: N818 - not an error of the program
    """The request did not reach the server, so nothing can have come of it.

    ``seconds`` are those until it makes sense again, where that is known; ``is_limit`` if for a rate limit's sake.
    """

    def __init__(self, why: str, seconds: float | None = None, *, is_limit: bool = False) -> None:
        super().__init__(why)
        self.seconds = seconds
        self.is_limit = is_limit


class Unclear(Exception):  # noqa: N818 - not an error of the program
    """The request was sent, or may have been, and what came of it is not known."""


class Undecodable(Exception):  # noqa: N818 - not an error of the program
    """The body is in an encoding that is not known here, or broken, or of absurd size."""


class Received(NamedTuple):
    """An answer as the server sent it: ``content`` is still encoded as its headers say."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content: bytes


class _Failed(Exception):  # noqa: N818 - an answer all the same
    def __init__(self, received: Received) -> None:
        super().__init__(received.status)
        self.received = received


class Connections:
    """The connections to one server, which is left alone for a while where it fails too often.

    Args:
        timeout_seconds: for connecting, and for each silence of the server.
        connections: open at once.
        transport: instead of the one over sockets.
    """

    def __init__(self, timeout_seconds: float, connections: int, transport: Transport | None = None) -> None:
        self._timeout = httpx.Timeout(timeout_seconds).as_dict()
        self._transport = transport or Sockets(connections)
        self._breakers = AsyncCircuitBreakerFactory(
            default_threshold=_FAILURES_IN_A_ROW, default_ttl=_PAUSE_SECONDS
        )

    async def close(self) -> None:
        """Closes all of them."""
        await self._transport.aclose()

    async def exchange(self, request: httpx.Request) -> Received:
        """The server's answer, whatever its status; it is asked once.

        Raises:
            NotSent: nothing can have come of it.
            Unclear: something may have.
        """
        request.extensions = {**request.extensions, "timeout": self._timeout}
        breaker = await self._breakers.get_breaker("")
        try:
            async with breaker:
                return _unfailed(await self._exchange(request))
        except OpenedState as paused:
            raise NotSent("the server failed too often; it is left alone for a while") from paused
        except _Failed as failed:
            return failed.received

    async def _exchange(self, request: httpx.Request) -> Received:
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return Received(response.status_code, response.headers.raw, await _read(response))
            finally:
                await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            # The message may quote the URL, in which credentials may stand.
            told = type(error.__cause__ or error).__name__
            raise (NotSent if _had_no_connection(error) else Unclear)(told) from error


def _unfailed(received: Received) -> Received:
    """The answer; raises _Failed for one that counts against the server."""
    if received.status >= 500:
        raise _Failed(received)
    return received


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        content += chunk
        if len(content) > _LARGEST_ANSWER:
            raise Unclear("the answer is too large")
    return bytes(content)


def _had_no_connection(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if isinstance(cause, aiohttp.ClientError):
        return isinstance(cause, _NO_CONNECTION)
    return isinstance(error, _NO_CONNECTION_HERE)


def answer_of(received: Received) -> Answer:
    """What was received as an answer, its body decoded, and ``text`` where it is no JSON; raises Undecodable."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in received.headers}
    content = decoded(received.content, headers.get("content-encoding", ""))
    if not content:
        return Answer(received.status, headers=headers)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    body: Any = msgspec.UNSET
    if "json" in media_type or not media_type:
        try:
            body = parse_json(content)
        except Problem:
            body = msgspec.UNSET
    text = content.decode("utf-8", "replace") if body is msgspec.UNSET else None
    return Answer(received.status, body, headers, text, media_type)


def decoded(content: bytes, codings: str) -> bytes:
    """The body freed of the codings that its header names; raises Undecodable."""
    for coding in reversed([coding.strip().lower() for coding in codings.split(",")]):
        if coding in {"", "identity"} or not content:
            continue
        if coding not in _WINDOW_BITS:
            raise Undecodable("an encoding that is not known here")
        content = _inflated(content, _WINDOW_BITS[coding])
    return content


def _inflated(content: bytes, window_bits: int) -> bytes:
    """At most so much, whatever a few bytes claim to be."""
    inflating = zlib.decompressobj(window_bits)
    try:
        inflated = inflating.decompress(content, _LARGEST_ANSWER)
    except zlib.error as error:
        # What is called deflate comes with zlib's frame around it, or without.
        if window_bits != zlib.MAX_WBITS:
            raise Undecodable("broken") from error
        return _inflated(content, -zlib.MAX_WBITS)
    if not inflating.eof:
        raise Undecodable("cut short, or too large")
    return inflated
