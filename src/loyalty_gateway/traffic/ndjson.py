"""Recordings of one exchange a line, as the gateway writes them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from loyalty_gateway.traffic.exchange import Exchange, Message, Unreadable, bytes_of, headers_of, text_of


class _Body(msgspec.Struct, frozen=True):
    text: str = ""
    encoding: str | None = None


class _Request(msgspec.Struct, frozen=True):
    headers: dict[str, str] | list[tuple[str, str]] = {}
    body: _Body | None = _Body()


class _Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str] | list[tuple[str, str]] = {}
    body: _Body | None = _Body()


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    time: float = 0.0
    milliseconds: float = 0.0
    vendor: str = ""
    method: str
    url: str
    request: _Request = _Request()
    answer: _Answer


_decode = msgspec.json.Decoder(_Line).decode


def read_ndjson(path: Path, on_unreadable: Callable[[Unreadable], None] | None = None) -> Iterator[Exchange]:
    """The exchanges of the file, one after the other.

    Args:
        path: the file.
        on_unreadable: is told of each line that is none, which is passed over; otherwise the first one is raised.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                exchange = _read(line, f"{path} line {number}")
            except Unreadable as unreadable:
                if on_unreadable is None:
                    raise
                on_unreadable(unreadable)
            else:
                yield exchange


def _read(line: bytes, where: str) -> Exchange:
    try:
        return _exchange(_decode(line), where)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(where, "is no exchange") from error


def _exchange(line: _Line, where: str) -> Exchange:
    def message(told: _Request | _Answer) -> Message:
        body = None if told.body is None else bytes_of(told.body.text, told.body.encoding, where)
        return Message(headers=headers_of(told.headers), body=body)

    return Exchange(
        time=line.time,
        milliseconds=line.milliseconds,
        vendor=line.vendor,
        method=line.method,
        url=line.url,
        request=message(line.request),
        status=line.answer.status,
        answer=message(line.answer),
        where=where,
    )


def ndjson_line(exchange: Exchange) -> bytes:
    """The exchange as a line, which ``read_ndjson`` reads again."""

    def told(message: Message) -> dict[str, object]:
        body = None if message.body is None else text_of(message.body)
        return {"headers": message.headers, "body": body}

    line = {
        "time": exchange.time,
        "milliseconds": exchange.milliseconds,
        "vendor": exchange.vendor,
        "method": exchange.method,
        "url": exchange.url,
        "request": told(exchange.request),
        "answer": {"status": exchange.status, **told(exchange.answer)},
    }
    return msgspec.json.encode(line) + b"\n"
