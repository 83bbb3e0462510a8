"""How an answer is like the vendor's: status, kind of body, shape and headers, whatever its values."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from loyalty_gateway.vendor import Answer


def is_success(answer: Answer) -> bool:
    """Whether the answer says that it was done."""
    return 200 <= answer.status < 300


def differences(expected: Answer, seen: Answer, *, whole: bool = True) -> list[str]:
    """How an answer differs from the vendor's in status, kind of body, shape and headers.

    ``whole`` is false where the vendor's may tell more than is expected.
    """
    if seen.status != expected.status:
        return [f"status {seen.status} instead of {expected.status}"]
    found = [f"the header {name} is missing" for name in expected.headers if name.lower() not in seen.headers]
    if expected.text is not None:
        if seen.media_type != expected.media_type:
            found.append(f"{seen.media_type or 'no body'} instead of {expected.media_type}")
    elif seen.text is not None:
        found.append(f"{seen.media_type or 'text'} instead of JSON")
    elif (expected.body is UNSET) is not (seen.body is UNSET):
        found.append("a body where there is none" if expected.body is UNSET else "no body")
    elif expected.body is not UNSET:
        found += _shapes(msgspec.to_builtins(expected.body, enc_hook=str), seen.body, "", whole=whole)
    return found


def _shapes(expected: Any, seen: Any, place: str, *, whole: bool) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(seen, Mapping):
        yield from (f"{place}/{name} is missing" for name in expected if name not in seen)
        if whole:
            yield from (f"{place}/{name} is unknown" for name in seen if name not in expected)
        for name in expected:
            if name in seen:
                yield from _shapes(expected[name], seen[name], f"{place}/{name}", whole=whole)
    elif isinstance(expected, list) and isinstance(seen, list):
        if expected and seen:
            yield from _shapes(expected[0], seen[0], f"{place}/*", whole=whole)
    elif None not in {_kind(expected), _kind(seen)} and _kind(expected) != _kind(seen):
        yield f"{place or 'the body'} is {_kind(seen)} instead of {_kind(expected)}"


def _kind(value: Any) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str() | UUID():
            return "text"
        case list() | tuple():
            return "a list"
        case _:
            return "an object"
