"""A vendor's server that costs next to nothing: one answer to everything, as the vendor would give it."""

import asyncio
import json
import sys
from typing import cast

import httptools
import uvloop

_BODY = json.dumps(
    {
        "id": 1,
        "name": "Goodwill gesture",
        "type": "PointsAdjustment",
        "merchant_id": 1,
        "customer_id": 1,
        "referral_id": None,
        "created_at": "2026-01-01T00:00:00.000Z",
        "updated_at": "2026-01-01T00:00:00.000Z",
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class FixedAnswer(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reads requests one after another."""
        # uvloop's transports are none of asyncio's by their type.
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Some bytes of a request."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._transport.write(_ANSWER)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(FixedAnswer, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
