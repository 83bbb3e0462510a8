"""Points in time, as microseconds since the epoch, as vendors spell them."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@lru_cache(maxsize=64)
def iso_milliseconds(microseconds: int) -> str:
    """``2024-01-15T10:30:00.000Z``; one answer spells the same moment several times."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction // 1_000:03d}Z"


def iso_microseconds(microseconds: int) -> str:
    """``2024-01-15T10:30:00.000000Z``."""
    return f"{(_EPOCH + microseconds * _MICROSECOND).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def iso_in_calendar(microseconds: int) -> str:
    """The same, and the end of the calendar for what lies beyond it, as a moment with an offset can."""
    return iso_microseconds(min(max(microseconds, _FIRST), _LAST))


def microseconds_of(moment: str) -> int:
    """A date-time of RFC 3339, whose letters may be small; without an offset it is UTC. Raises ValueError."""
    read = datetime.fromisoformat(moment.strip().upper())
    return ((read if read.tzinfo is not None else read.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


_FIRST: Final = microseconds_of("0001-01-01T00:00:00Z")
_LAST: Final = microseconds_of("9999-12-31T23:59:59.999999Z")
