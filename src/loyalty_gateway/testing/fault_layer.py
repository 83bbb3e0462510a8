"""What stands before a vendor's endpoint where faults can be ordered, and does them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loyalty_gateway.spec import Contract
from loyalty_gateway.testing.faults import Fault, Faults
from loyalty_gateway.testing.received import Reading, ReceivedRequest
from loyalty_gateway.testing.refusing import Refusing
from loyalty_gateway.vendor import Answer
from loyalty_gateway.witness import Witness

RESET: Final = "loyalty_gateway.reset"
"""The extension of a server that can reset the connection: ``{"reset": …}``, a function without arguments.

Where a server has none there is no connection; the caller is told by ConnectionResetError and TimeoutError then.
"""

_LARGEST_READ: Final = 8_388_608
_HALF_OF_NOTHING: Final = b'{"'


class FaultLayer:
    """An ASGI application around a vendor's; what is in order goes through as it is."""

    def __init__(
        self, app: ASGIApp, *, reading: Reading, contract: Contract, faults: Faults, witness: Witness
    ) -> None:
        self._app = app
        self._reading = reading
        self._refusing = Refusing(reading.vendor, contract)
        self._faults = faults
        self._witness = witness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or does not."""
        content, receive = await _read(receive)
        received, request = self._reading.read(scope, content)
        fault = self._faults.take(received)
        send = _noting(send, received)
        if fault is None:
            await self._app(scope, receive, send)
        else:
            refuse = partial(self._refusing.answer, fault, request, received, self._faults.clock())
            await self._do(fault, refuse, scope, receive, send)

    async def _do(
        self, fault: Fault, refuse: Callable[[], Answer], scope: Scope, receive: Receive, send: Send
    ) -> None:
        messages: list[Message] = []
        if fault.is_carried_out:
            await self._app(scope, receive, _keeping(messages))
        match fault.does:
            case "delay":
                await asyncio.sleep(fault.lasts)
                await (_replay(send, messages) if messages else self._app(scope, receive, send))
            case "malformed":
                await _send_half(send, messages)
            case "timeout":
                await _be_silent(receive, fault.lasts, waits=_can_reset(scope))
                await _reset(scope, receive)
            case "reset":
                await _reset(scope, receive)
            case "status" | "rate_limit":
                answer = refuse()
                await _send(send, answer)
                if not messages:
                    self._witness.answered(answer.status, 0.0, path="fault")


def _noting(send: Send, received: ReceivedRequest) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            received.status = message["status"]
        await send(message)

    return noted


def _keeping(messages: list[Message]) -> Send:
    async def keep(message: Message) -> None:
        messages.append(message)

    return keep


async def _replay(send: Send, messages: list[Message]) -> None:
    for message in messages:
        await send(message)


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The request's body, and what receives it once more and then whatever follows."""
    messages: list[Message] = []
    size, has_more = 0, True
    while has_more and size <= _LARGEST_READ:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        has_more = bool(message.get("more_body", False))
    content = b"".join(message.get("body", b"") for message in messages)

    async def again() -> Message:
        return messages.pop(0) if messages else await receive()

    return content, again


def _encoded(answer: Answer) -> bytes:
    if answer.text is not None:
        return answer.text.encode()
    return b"" if answer.body is msgspec.UNSET else msgspec.json.encode(answer.body)


async def _send(send: Send, answer: Answer) -> None:
    content = _encoded(answer)
    headers = [(b"content-length", b"%d" % len(content)), (b"content-type", answer.media_type.encode())]
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _send_half(send: Send, messages: list[Message]) -> None:
    """Half of the answer's body, at its full word about its length: the body is broken, and not HTTP."""
    start: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
    content = b""
    for message in messages:
        if message["type"] == "http.response.start":
            start = dict(message)
        content += message.get("body", b"")
    # Text nevertheless: only its meaning is cut off.
    half = content[: len(content) // 2].decode(errors="ignore").encode() or _HALF_OF_NOTHING
    headers = [
        (name, value) for name, value in start["headers"] if name not in {b"content-length", b"content-type"}
    ]
    headers += [(b"content-length", b"%d" % len(half)), (b"content-type", b"application/json")]
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": half})


def _can_reset(scope: Scope) -> bool:
    return RESET in scope.get("extensions", {})


async def _be_silent(receive: Receive, seconds: float, *, waits: bool) -> None:
    """Says nothing until the client goes away or the time is over."""
    if not waits:
        raise TimeoutError("no answer, by order")
    try:
        async with asyncio.timeout(seconds):
            await _disconnected(receive)
    except TimeoutError:
        return


async def _reset(scope: Scope, receive: Receive) -> None:
    if not _can_reset(scope):
        raise ConnectionResetError("connection reset, by order")
    reset: Callable[[], None] = scope["extensions"][RESET]["reset"]
    reset()
    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
