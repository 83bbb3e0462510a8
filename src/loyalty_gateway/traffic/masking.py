"""Values without what was sent: letters become ``a``, digits ``0``, so that they keep and break what they did.

Small numbers stay, and words that a document itself has.
"""

import re
from collections.abc import Collection
from typing import Any, Final

SECRET: Final = "***"  # noqa: S105 - what stands for one
UNTOLD: Final = "*"
_LARGEST_SMALL: Final = 9_999
_SMALL_NUMBER = re.compile(r"-?[0-9]{1,4}")
_LARGE_NUMBER = re.compile(r"(?P<sign>-?)[1-9](?P<rest>[0-9]{4,})")
_NAME = re.compile(r"[A-Za-z]{1,24}(?:[_.-]?[A-Za-z]{1,24}){0,4}[_-]?[0-9]{0,2}(?:\[\])?")
_LONGEST_NAME: Final = 48
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?P<rest>(?:[T ][0-9:.]{5,15})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)")
_DIGIT = re.compile(r"[0-9]")
_SECRET_NAME = re.compile(
    r"(?i)secret|token|passw|api.?key|app.?key|auth|credential|signature|guid|session|cookie"
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


def is_secret_name(name: str) -> bool:
    """Whether what has this name is a secret by its name alone."""
    return _SECRET_NAME.search(name) is not None


def shown_name(name: str) -> str:
    """A name that no document knows, where it reads like one; ``*`` for any other text."""
    return name if len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) else UNTOLD


def shown_method(method: str) -> str:
    """A method of HTTP's own; ``*`` for any other."""
    return method if method in _METHODS else UNTOLD


def masked_text(text: str, words: Collection[str]) -> str:
    """The text with other letters and digits; a date becomes another one, a whole number one of its size."""
    if text in words or _SMALL_NUMBER.fullmatch(text) or text in {"true", "false"}:
        return text
    date = _DATE.fullmatch(text)
    if date is not None:
        return "2000-01-01" + _DIGIT.sub("0", date["rest"])
    number = _LARGE_NUMBER.fullmatch(text)
    if number is not None:
        return f"{number['sign']}1{'0' * len(number['rest'])}"
    return "".join(map(_masked_letter, text))


def _masked_letter(letter: str) -> str:
    if letter.isalpha():
        return "A" if letter.isupper() else "a"
    return "0" if letter.isnumeric() else letter


def masked(value: Any, names: Collection[str], words: Collection[str], *, secret: bool = False) -> Any:
    """The JSON value with everything in it masked.

    Args:
        value: what was sent.
        names: those of fields that the document knows.
        words: those that the document has itself.
        secret: whether it is known to be one.
    """
    match value:
        case dict():
            return {
                name if name in names else shown_name(name): masked(
                    child, names, words, secret=secret or is_secret_name(name)
                )
                for name, child in value.items()
            }
        case list():
            return [masked(child, names, words, secret=secret) for child in value]
        case bool() | None:
            return value
        case str():
            return SECRET if secret else masked_text(value, words)
        case _:
            return _masked_number(value, secret=secret)


def _masked_number(value: float, *, secret: bool) -> float:
    if not secret and abs(value) <= _LARGEST_SMALL:
        return value
    size = 10 ** max(0, len(str(abs(int(value)))) - 1)
    return type(value)(size if value >= 0 else -size)
