"""The sockets that the gateway listens on."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

from loyalty_gateway.config import ServerConfig
from loyalty_gateway.problem import ConfigurationError

_BACKLOG = 2_048


@contextlib.contextmanager
def listening_sockets(server: ServerConfig) -> Iterator[list[socket.socket]]:
    """Sockets on every address of the host; raises ConfigurationError where one cannot be had."""
    with contextlib.ExitStack() as stack:
        try:
            addresses = socket.getaddrinfo(
                server.host or None, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            sockets = [
                stack.enter_context(_bound(family, address)) for family, *_, address in dict.fromkeys(addresses)
            ]
        except OSError as error:
            what = f"cannot listen there: {error.strerror}"
            raise ConfigurationError(f"{server.host}:{server.port}", what) from error
        yield sockets


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Of a host with addresses of both kinds, each has a socket of its own.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        # Until somebody listens, a second socket may be bound to the same port.
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
