"""HTTP Archives (HAR 1.2), as browsers, proxies and test tools write them."""

import mmap
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from loyalty_gateway.traffic.exchange import Exchange, Headers, Message, Unreadable, bytes_of, text_of

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


# Tools write null for most things that they do not know.
class _Pair(msgspec.Struct, frozen=True):
    name: str
    value: str | None = None


class _Posted(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    encoding: str | None = None
    mime_type: str | None = None
    params: list[_Pair] | None = None


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    method: str
    url: str
    headers: list[_Pair] | None = None
    post_data: _Posted | None = None
    body_size: float | None = None


class _Content(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    encoding: str | None = None
    mime_type: str | None = None
    size: float | None = None


class _Response(msgspec.Struct, frozen=True):
    status: int
    headers: list[_Pair] | None = None
    content: _Content | None = None


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    request: _Request
    response: _Response
    started_date_time: str | None = None
    time: float | None = None


class _Log(msgspec.Struct, frozen=True):
    # Each entry is looked at when it is its turn; until then it is a stretch of the file.
    entries: list[msgspec.Raw]


class _Archive(msgspec.Struct, frozen=True):
    log: _Log


# Not strict, since some write whole numbers as 200.0.
_decode_entry = msgspec.json.Decoder(_Entry, strict=False).decode


def read_har(path: Path, on_unreadable: Callable[[Unreadable], None] | None = None) -> Iterator[Exchange]:
    """The archive's exchanges that were answered; the file is mapped and never in memory as a whole.

    Args:
        path: the file.
        on_unreadable: is told of each entry that is none, which is passed over; otherwise the first one is raised.

    Raises:
        Unreadable: it is no archive.
    """
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise Unreadable(str(path), "is empty") from error
        begin = len(_BYTE_ORDER_MARK) if content[:3] == _BYTE_ORDER_MARK else 0
        try:
            entries = msgspec.json.decode(memoryview(content)[begin:], type=_Archive).log.entries
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Unreadable(str(path), "is no HTTP Archive") from error
        for index, raw in enumerate(entries):
            try:
                exchange = _read(raw, f"{path} log.entries[{index}]")
            except Unreadable as unreadable:
                if on_unreadable is None:
                    raise
                on_unreadable(unreadable)
            else:
                if exchange.status > 0:
                    yield exchange


def _read(raw: msgspec.Raw, where: str) -> Exchange:
    try:
        return _exchange(_decode_entry(raw), where)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(where, "is no entry of an HTTP Archive") from error


def _exchange(entry: _Entry, where: str) -> Exchange:
    request, response = entry.request, entry.response
    posted, content = request.post_data or _Posted(), response.content or _Content()
    return Exchange(
        time=_moment(entry.started_date_time or "", entry.time or 0),
        milliseconds=entry.time or 0,
        method=request.method,
        url=request.url,
        request=Message(
            headers=_headers(request.headers or [], posted.mime_type),
            body=_form(posted.params)
            if posted.params and not posted.text
            else _body(posted, request.body_size, where),
        ),
        status=response.status,
        answer=Message(
            headers=_headers(response.headers or [], content.mime_type), body=_body(content, content.size, where)
        ),
        where=where,
    )


def _headers(pairs: list[_Pair], media_type: str | None) -> Headers:
    """The headers without what is undone in an archive: it has bodies as they were before their encoding."""
    told = tuple((pair.name, pair.value or "") for pair in pairs if pair.name.lower() != "content-encoding")
    named = any(name.lower() == "content-type" for name, _ in told)
    return told if named or not media_type or media_type == "x-unknown" else (*told, ("content-type", media_type))


def _body(told: _Posted | _Content, size: float | None, where: str) -> bytes | None:
    """The body; without a text it is empty only where its size says so, and -1 says nothing."""
    if told.text:
        return bytes_of(told.text, told.encoding, where)
    return b"" if size == 0 else None


def _form(params: list[_Pair]) -> bytes:
    return urlencode([(pair.name, pair.value or "") for pair in params]).encode()


def _moment(text: str, milliseconds: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp() + milliseconds / 1_000
    except (ValueError, OverflowError):
        return 0.0


def write_har(exchanges: Iterable[Exchange], out: BinaryIO) -> int:
    """Writes an archive of the exchanges, and gives their number."""
    creator = msgspec.json.encode({"name": "loyalty-gateway", "version": "1"})
    out.write(b'{"log":{"version":"1.2","creator":' + creator + b',"entries":[')
    count = 0
    for exchange in exchanges:
        out.write(b",\n" if count else b"\n")
        out.write(msgspec.json.encode(_told(exchange)))
        count += 1
    out.write(b"\n]}}\n")
    return count


def _told(exchange: Exchange) -> dict[str, Any]:
    url = exchange.url if urlsplit(exchange.url).scheme else f"http://localhost{exchange.url}"
    request, answer = exchange.request, exchange.answer
    started = datetime.fromtimestamp(exchange.time - exchange.milliseconds / 1_000, UTC)
    asked: dict[str, Any] = {
        "method": exchange.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(request.headers),
        "queryString": _pairs(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": _size(request),
    }
    if request.body:
        asked["postData"] = {"mimeType": request.header("content-type"), "params": [], **text_of(request.body)}
    content = text_of(answer.body) if answer.body else {}
    return {
        "startedDateTime": started.isoformat(timespec="milliseconds"),
        "time": exchange.milliseconds,
        "request": asked,
        "response": {
            "status": exchange.status,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _pairs(answer.headers),
            "content": {"size": _size(answer), "mimeType": answer.header("content-type"), **content},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": _size(answer),
        },
        "cache": {},
        "timings": {"send": 0, "wait": exchange.milliseconds, "receive": 0},
    }


def _size(message: Message) -> int:
    """The bytes of the body; of one that is not known what its header says, and -1 where that says nothing."""
    if message.body is not None:
        return len(message.body)
    told = message.header("content-length")
    return int(told) if told.isdecimal() else -1


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]
