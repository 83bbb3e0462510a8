"""LoyaltyLion's bounds of time: moments in ISO 8601, compared to the millisecond that answers tell."""

from datetime import UTC, datetime, timedelta
from typing import Final

from loyalty_gateway.problem import Code, Problem, Violation

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY_ALONE: Final = len("2024-01-15")


def from_moment(text: str | None, field: str) -> int | None:
    """The first microsecond of the millisecond that the text tells; raises Problem INVALID on the field."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(_spelt_out(text))
    except ValueError as error:  # the 29th of February of another year
        violation = Violation(location="query", path=(field,), keyword="format", expected="date-time")
        raise Problem(Code.INVALID, violations=(violation,)) from error
    microseconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    return microseconds - microseconds % 1_000


def until_moment(text: str | None, field: str) -> int | None:
    """The last microsecond of the millisecond that the text tells; raises Problem INVALID on the field."""
    first = from_moment(text, field)
    return None if first is None else first + 999


def _spelt_out(text: str) -> str:
    # Where a plus stands unescaped before an offset, a space arrives.
    day, time = text[:_DAY_ALONE], text[_DAY_ALONE + 1 :].replace(" ", "+").upper()
    return f"{day}T{time}" if time else day
