"""The digest by which a request is known again."""

from hashlib import blake2b
from typing import Any

import msgspec

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def fingerprint(asked: Any) -> bytes:
    """The digest of what was asked; the same for whatever asks for the same, as 5.0 does for 5."""
    return blake2b(_encode_sorted(_meaning(asked)), digest_size=16).digest()


def _meaning(value: Any) -> Any:
    """The JSON value with whole numbers as integers."""
    match value:
        case float():
            return int(value) if value.is_integer() else value
        case dict():
            return {name: _meaning(item) for name, item in value.items()}
        case list():
            return [_meaning(item) for item in value]
        case _:
            return value
