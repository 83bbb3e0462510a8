"""Which vendor a request is for: told by the real host, or by the first segment of the path."""

from collections.abc import Mapping
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from loyalty_gateway.routing import MOUNTED_PATH


class Mount(NamedTuple):
    """A vendor's application, which finds the raw path below the mount in the scope, and the real hosts it has."""

    app: ASGIApp
    hosts: tuple[str, ...]


class Mounts:
    """Sends each request to its vendor.

    Args:
        mounts: the vendors by name.
        own: takes what is no vendor's, the paths below ``/-/`` at any host among it.
        lifespan: takes what is no request.
    """

    def __init__(self, mounts: Mapping[str, Mount], own: ASGIApp, lifespan: ASGIApp) -> None:
        self._lifespan = lifespan
        self._own = own
        self._by_name = {name: mount.app for name, mount in mounts.items()}
        self._by_host = {host.encode(): mount.app for mount in mounts.values() for host in mount.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Has one request answered."""
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        app = None if path.startswith("/-/") else self._by_host.get(_host(scope))
        if app is None:
            name, slash, rest = path.removeprefix("/").partition("/")
            app = self._by_name.get(name)
            if app is None:
                await self._own(scope, receive, send)
                return
            path = slash + rest
        scope[MOUNTED_PATH] = path
        await app(scope, receive, send)


def _host(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"host":
            host: bytes = value.partition(b":")[0].lower()
            return host
    return b""
