"""httpx over aiohttp's sockets, byte for byte: nothing is rewritten, added, remembered or sent again."""

from collections.abc import Sequence
from typing import Final, TypeAlias

import aiohttp
import httpx
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from yarl import URL

Transport: TypeAlias = httpx.AsyncBaseTransport
"""What a request goes by; over sockets, or to whatever a test has in their place."""

TARGET: Final = "target"
"""httpx's extension for a path and query that stand in the place of the URL's own, as they are."""

_KEEPALIVE_SECONDS: Final = 30
_OWN_HEADERS: Final = ("accept", "accept-encoding", "user-agent", "content-type")


Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_HAVE_BODIES: Final = frozenset({"POST", "PUT", "PATCH"})


def request_of(
    method: str, url: httpx.URL, headers: Headers, content: bytes, target: bytes | None = None
) -> httpx.Request:
    """A request with these headers and those that its body needs; for ``target`` see ``TARGET``.

    What httpx would work out by itself is known here, and costs as much as all the rest of a request.
    """
    told = [(b"host", url.netloc), *headers]
    if content or method in _HAVE_BODIES:
        told.append((b"content-length", b"%d" % len(content)))
    extensions = {} if target is None else {TARGET: target}
    request = httpx.Request(method, url, headers=told, stream=httpx.ByteStream(content), extensions=extensions)
    request.read()
    return request


class Sockets(httpx.AsyncBaseTransport):
    """A pool of so many connections to servers."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._ssl = httpx.create_ssl_context(trust_env=False)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The server's answer, whose body is still to be read and still encoded."""
        # A session belongs to the event loop that runs when it is made.
        session = self._session = self._session or self._new_session()
        timeout = request.extensions["timeout"]
        with map_aiohttp_exceptions():
            response = await session.request(
                request.method,
                _url(request),
                headers=[(_text(name), _text(value)) for name, value in request.headers.raw],
                data=request.content or None,
                skip_auto_headers=_OWN_HEADERS,
                allow_redirects=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeout["pool"], sock_connect=timeout["connect"], sock_read=timeout["read"]
                ),
            )
        return httpx.Response(
            response.status, headers=list(response.raw_headers), stream=AiohttpResponseStream(response)
        )

    async def aclose(self) -> None:
        """Closes all connections."""
        if self._session is not None:
            await self._session.close()

    def _new_session(self) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=_KEEPALIVE_SECONDS, ssl=self._ssl
            ),
            # A cookie that is set for one customer must not go along with the request of another.
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # aiohttp sends GET, PUT and DELETE again by itself where a kept connection breaks; whether that may be is
        # for those to decide who know what was asked.
        session._retry_connection = False  # noqa: SLF001
        return session


def _url(request: httpx.Request) -> URL:
    target = request.extensions.get(TARGET)
    if target is None:
        return URL(str(request.url), encoded=True)
    url = request.url
    return URL(f"{url.scheme}://{url.netloc.decode()}{_text(target)}", encoded=True)


def _text(value: bytes) -> str:
    """As aiohttp writes it, which is in UTF-8: the same bytes again unless they are in another encoding."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
