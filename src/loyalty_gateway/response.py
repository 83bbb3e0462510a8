"""An answer on its way out: its bytes, its headers, and the sending of both."""

import msgspec
from starlette.types import Send

from loyalty_gateway.exchange import Exchange
from loyalty_gateway.problem import Code
from loyalty_gateway.upstream.connections import Received
from loyalty_gateway.vendor import Answer

LAST_RESORT = Answer(500, {"error": "Internal server error"})
"""For an answer that cannot be made: no vendor's, since the vendor's own could not be."""

_encode = msgspec.json.Encoder().encode


def encoded(answer: Answer, exchange: Exchange) -> tuple[Answer, bytes]:
    """The answer with its bytes; the last resort for one that has none."""
    try:
        if answer.text is not None:
            return answer, answer.text.encode()
        return answer, b"" if answer.body is msgspec.UNSET else _encode(answer.body)
    except Exception as error:  # noqa: BLE001 - points may have moved: it must be answered and recorded
        exchange.error = error
        exchange.code = Code.UNFORESEEN
        return LAST_RESORT, _encode(LAST_RESORT.body)


def outgoing(answer: Answer, content: bytes, exchange: Exchange) -> Received:
    """The answer as the client receives it."""
    headers = [(b"content-length", b"%d" % len(content))]
    if content:
        media_type = f"{answer.media_type}; charset=utf-8" if answer.text is not None else answer.media_type
        headers.append((b"content-type", media_type.encode()))
    elif answer.status == 204:
        headers = []
    for told in (answer.headers, exchange.budgets or {}):
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
    if exchange.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Received(answer.status, headers, content)


async def respond(send: Send, sent: Received, *, head: bool) -> None:
    """Sends it, to a HEAD request without its body."""
    await send({"type": "http.response.start", "status": sent.status, "headers": sent.headers})
    await send({"type": "http.response.body", "body": b"" if head else sent.content})
