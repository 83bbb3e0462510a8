"""Reading a body: sizes, media types, syntax and depth."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from starlette.types import Message

from loyalty_gateway.body import DEEPEST_NESTING, media_type_of, parse_json, read_body
from loyalty_gateway.problem import Code, Problem

_ACCEPTED = ("application/json", "application/vnd.api+json")
_JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone surrogate is no text that UTF-8 can carry.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


def _parts(*parts: bytes, gone: bool = False) -> Iterable[Message]:
    for index, part in enumerate(parts):
        yield {"type": "http.request", "body": part, "more_body": gone or index < len(parts) - 1}
    while True:
        yield {"type": "http.disconnect"}


def _read(messages: Iterable[Message], largest: int = 10, **headers: str) -> bytes:
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return asyncio.run(read_body(receive, told, largest))


@pytest.mark.parametrize("parts", [(b"0123456789",), (b"01234", b"56789"), (b"", b"0123456789", b"")])
def test_a_body_of_the_largest_size_is_read_whole(parts: tuple[bytes, ...]) -> None:
    assert _read(_parts(*parts), content_length="10") == b"0123456789"


def test_a_body_declared_too_large_is_refused_before_anything_is_read() -> None:
    with pytest.raises(Problem) as refusal:
        _read((), content_length="11")

    assert refusal.value.code is Code.BODY_TOO_LARGE


def test_a_declared_length_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(Problem) as refusal:
        _read((), content_length="1" * 5_000)

    assert refusal.value.code is Code.BODY_TOO_LARGE


@pytest.mark.parametrize("parts", [(b"x" * 11,), (b"x" * 6, b"x" * 5), (b"x",) * 11])
def test_a_body_that_declares_no_length_is_refused_once_it_is_too_large(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(Problem) as refusal:
        _read(_parts(*parts))

    assert refusal.value.code is Code.BODY_TOO_LARGE


def test_no_more_is_read_than_it_takes_to_know_that_a_body_is_too_large() -> None:
    read = []

    def endless() -> Iterable[Message]:
        while True:
            read.append(1)
            yield {"type": "http.request", "body": b"xxxx", "more_body": True}

    with pytest.raises(Problem):
        _read(endless())

    assert len(read) == 3


@pytest.mark.parametrize("parts", [(), (b"01",)])
def test_a_client_that_goes_away_is_no_empty_body(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(ClientDisconnect):
        _read(_parts(*parts, gone=True))


@pytest.mark.parametrize("accepted", _ACCEPTED)
@pytest.mark.parametrize("parameters", ["", "; charset=utf-8", ';charset="UTF-8"', "; charset=us-ascii", "; x=y"])
def test_an_accepted_media_type_is_told_without_its_parameters(accepted: str, parameters: str) -> None:
    assert media_type_of(accepted + parameters, _ACCEPTED) == accepted


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/jsonp",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=\xff",
    ],
)
def test_another_media_type_or_charset_is_refused(content_type: str) -> None:
    with pytest.raises(Problem) as refusal:
        media_type_of(content_type, _ACCEPTED)

    assert refusal.value.code is Code.UNSUPPORTED_MEDIA_TYPE


@given(
    st.text(st.characters(max_codepoint=255))
    | st.text(st.characters(max_codepoint=255)).map("application/json;{}".format)
)
def test_any_content_type_is_either_accepted_or_refused(content_type: str) -> None:
    try:
        told = media_type_of(content_type, _ACCEPTED)
    except Problem as problem:
        told = problem.code

    assert told in {*_ACCEPTED, Code.UNSUPPORTED_MEDIA_TYPE}


@given(_JSON_VALUES)
def test_what_json_can_say_is_read_as_it_was_meant(value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()

    assert parse_json(raw) == value


def _code_of(raw: bytes) -> Code | None:
    try:
        parse_json(raw)
    except Problem as problem:
        return problem.code
    return None


@given(st.binary())
def test_any_bytes_are_either_json_or_unreadable(raw: bytes) -> None:
    assert _code_of(raw) in {None, Code.UNREADABLE}


@given(_JSON_VALUES, st.data())
def test_a_body_with_one_byte_gone_wrong_is_read_or_refused_and_never_fails(
    value: Any, data: st.DataObject
) -> None:
    raw = bytearray(json.dumps(value).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    assert _code_of(bytes(raw)) in {None, Code.UNREADABLE}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 1,}',
        b"{} // comment",
        b"points=5",
        bytes(range(256)),
        b'"unclosed',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'{"\xff": 1}',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800": 1}',
        b'"a\nb"',
        b'"\\x41"',
        b"NaN",
        b"-Infinity",
        b"[Infinity]",
        b"1e400",
        b"-1e400",
        b"1e" + b"9" * 100,
        b"0x5",
        b"05",
        b"+5",
        b"5.",
        b".5",
        b"1_000",
        b"undefined",
        b"True",
        '{"a": 1}'.encode("utf-16"),
    ],
)
def test_what_is_not_json_in_utf_8_is_unreadable(raw: bytes) -> None:
    assert _code_of(raw) is Code.UNREADABLE


def test_of_a_duplicate_key_the_last_counts() -> None:
    assert parse_json(b'{"a": 1, "b": 2, "a": {"c": 3, "c": 4}}') == {"a": {"c": 4}, "b": 2}


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_is_read_to_the_deepest_and_no_deeper(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        return (opening * depth + "1" + closing * depth).encode()

    parse_json(nested(DEEPEST_NESTING))

    with pytest.raises(Problem) as refusal:
        parse_json(nested(DEEPEST_NESTING + 1))
    assert refusal.value.code is Code.UNREADABLE


def test_many_objects_beside_each_other_are_not_deep() -> None:
    assert parse_json(b"[" + b"{}," * 999 + b"{}]") == [{}] * 1_000


@pytest.mark.parametrize("text", ["[" * 500, '"' + "{" * 500, "\\", '\\"[[', "\\\\" + "[" * 100])
def test_brackets_within_strings_are_no_nesting(text: str) -> None:
    value = [text, [text]]

    assert parse_json(json.dumps(value).encode()) == value


def test_brackets_after_an_escaped_backslash_count_again() -> None:
    with pytest.raises(Problem):
        parse_json(b'["\\\\", ' + b"[" * 64 + b"]" * 64 + b"]")


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("[" * 64 + "]" * 64, True),
        ("[" * 65 + "]" * 65, False),
        ('{"a":[' * 32 + "1" + "]}" * 32, True),
        ('{"a":[' * 33 + "1" + "]}" * 33, False),
        ('["' + "[{" * 100 + '"]', True),
        ('["\\"' + "[{" * 100 + '"]', True),
        ('["\\\\", ' + "[" * 64 + "]" * 64 + "]", False),
        ("[" + ", ".join(["{}"] * 100) + "]", True),
    ],
)
def test_depth_is_counted_outside_of_strings_only(text: str, *, is_read: bool) -> None:
    if is_read:
        assert parse_json(text.encode()) == json.loads(text)
        return
    with pytest.raises(Problem) as raised:
        parse_json(text.encode())
    assert raised.value.code is Code.UNREADABLE
