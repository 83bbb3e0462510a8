"""Reading a JSON body: its size, media type, depth and syntax; nothing of its meaning."""

from collections.abc import Collection, Mapping
from email.message import Message
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Message as AsgiMessage
from starlette.types import Receive

from loyalty_gateway.problem import Code, Problem

DEEPEST_NESTING: Final = 64
"""Objects and arrays within each other that are read; more is refused as unreadable."""

_JSON_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})


async def read_body(receive: Receive, headers: Mapping[str, str], largest: int) -> bytes:
    """The whole body, at most ``largest`` bytes.

    Raises:
        Problem: BODY_TOO_LARGE, told by the declared length where there is one, before reading.
        ClientDisconnect: the client went away before its body was whole.
    """
    declared = headers.get("content-length", "0")
    if len(declared) > len(str(largest)) or int(declared) > largest:
        raise Problem(Code.BODY_TOO_LARGE)
    message = await _next_part(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > largest:
            raise Problem(Code.BODY_TOO_LARGE)
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        message = await _next_part(receive)
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > largest:
            raise Problem(Code.BODY_TOO_LARGE)
    return b"".join(chunks)


async def _next_part(receive: Receive) -> AsgiMessage:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def media_type_of(content_type: str, accepted: Collection[str]) -> str:
    """The media type without its parameters.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE for one that is not accepted, or in another charset than UTF-8.
    """
    if content_type in accepted:
        return content_type
    message = Message()
    message["content-type"] = content_type
    media_type = message.get_content_type() if content_type else ""
    names_charset = message.get_param("charset") is not None
    if media_type not in accepted or (names_charset and message.get_content_charset("") not in _JSON_CHARSETS):
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE)
    return media_type


def parse_json(body: bytes) -> Any:
    """The JSON value; of a duplicate key the last counts.

    Raises:
        Problem: UNREADABLE for what is not JSON in UTF-8 (``NaN`` and lone surrogates are not), or nested
            deeper than ``DEEPEST_NESTING``.
    """
    if body.count(b"{") + body.count(b"[") > DEEPEST_NESTING:
        _refuse_deep_nesting(body)
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(Code.UNREADABLE) from error


_decode = msgspec.json.Decoder().decode


def _refuse_deep_nesting(body: bytes) -> None:
    """Raises Problem UNREADABLE for deep nesting, or brackets without a partner; those in strings do not count."""
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    left = b"".join(unescaped.split(b'"')[::2]).translate(_ONE_KIND, _NO_BRACKETS)
    # Each round takes out the innermost pairs; in a million bytes that is faster than to count.
    for _ in range(DEEPEST_NESTING):
        left = left.replace(b"[]", b"")
    if left:
        raise Problem(Code.UNREADABLE)


_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
