"""A short reference in a reason, by which an adjustment is known again in a vendor's history."""

import re
from base64 import b32encode
from secrets import token_bytes
from typing import Final

_MARK: Final = re.compile(r"(?:^|\s)\[lg-[A-Z2-7]{16}\]$")


def new_mark() -> str:
    """A mark that nobody made before."""
    return f"lg-{b32encode(token_bytes(10)).decode()}"


def marked(reason: str | None, mark: str) -> str:
    """The reason with the mark behind it."""
    return f"[{mark}]" if not reason else f"{reason} [{mark}]"


def unmarked(reason: str) -> str | None:
    """The reason as the client gave it; ``None`` where there is nothing but a mark."""
    return _MARK.sub("", reason) or None


def has_mark(reason: object, mark: str) -> bool:
    """Whether the reason has the mark."""
    return isinstance(reason, str) and reason.endswith(f"[{mark}]")
