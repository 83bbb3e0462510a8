"""Salla's dates: objects as PHP writes them, at the wall clock of Riyadh."""

from datetime import datetime, timedelta, timezone
from typing import Any, Final

# Riyadh keeps one time all year, so that no table of time zones is needed, which small systems lack.
_RIYADH: Final = timezone(timedelta(hours=3))
_DAY: Final = 86_400_000_000


def php_date(microseconds: int) -> dict[str, Any]:
    """A moment, given in microseconds since the epoch."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return _spelt(f"{datetime.fromtimestamp(seconds, _RIYADH):%Y-%m-%d %H:%M:%S}.{fraction:06d}")


def php_day(date: str) -> dict[str, Any]:
    """A day, given as ``YYYY-MM-DD``."""
    return _spelt(f"{date} 00:00:00.000000")


def _spelt(date: str) -> dict[str, Any]:
    return {"date": date, "timezone_type": 3, "timezone": "Asia/Riyadh"}


def day_begins(date: str) -> int:
    """The first microsecond of the day in Riyadh, since the epoch."""
    return int(datetime.fromisoformat(date).replace(tzinfo=_RIYADH).timestamp()) * 1_000_000


def day_ends(date: str) -> int:
    """The last microsecond of the day in Riyadh, since the epoch."""
    return day_begins(date) + _DAY - 1
