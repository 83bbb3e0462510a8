"""Served connections that can be reset: what uvicorn is given where faults can be ordered."""

import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loyalty_gateway.testing.fault_layer import RESET

_AT_ONCE = struct.pack("ii", 1, 0)


class ResettableConnection(HttpToolsProtocol):
    """uvicorn's connection, which lets the application reset it."""

    def on_message_begin(self) -> None:
        """Offers the extension with every request."""
        super().on_message_begin()
        self.scope["extensions"] = {RESET: {"reset": self._reset}}

    def _reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            # Closed without lingering, a connection ends with a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()
