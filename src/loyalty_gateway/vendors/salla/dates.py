"""Salla's dates: objects as PHP writes them, at the wall clock of Riyadh."""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import UNSET, UnsetType

from loyalty_gateway.moment import microseconds_of

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


def day_beginning(microseconds: int) -> str | None:
    """The day whose first microsecond in Riyadh that is; ``None`` where it is within a day."""
    days, within = divmod(microseconds - day_begins("1970-01-01"), _DAY)
    try:
        return None if within else (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        return None


def day_ending(microseconds: int) -> str | None:
    """The day whose last microsecond in Riyadh that is; ``None`` where it is within a day."""
    return day_beginning(microseconds - _DAY + 1)


def moment_told(told: Any) -> int | UnsetType:
    """The moment of a date as PHP writes it, at the wall clock of the zone told there."""
    match told:
        case {"date": str(clock), "timezone": str(zone)}:
            try:
                read = datetime.fromisoformat(clock.strip())
                return microseconds_of((read if read.tzinfo else read.replace(tzinfo=_zone(zone))).isoformat())
            except (ValueError, LookupError, OSError):
                # A clock or a zone that nobody here knows tells no moment.
                return UNSET
        case _:
            return UNSET


def _zone(name: str) -> tzinfo:
    """The zone by its name or its offset; those of Salla's own shops need no table of time zones."""
    if _OFFSET.fullmatch(name):
        return datetime.strptime(name, "%z").tzinfo or UTC
    return _ZONES.get(name) or ZoneInfo(name)


_OFFSET: Final = re.compile(r"[+-][0-9]{2}:?[0-9]{2}")
_ZONES: Final = {"Asia/Riyadh": _RIYADH, "UTC": UTC, "Z": UTC}


def day_told(told: Any) -> str | UnsetType | None:
    """The day of a date as PHP writes it; empty text and null say that there is none."""
    match told:
        case None | "":
            return None
        case {"date": clock}:
            return day_told(clock)
        case str() if found := _DAY_FIRST.match(told):
            return found[0]
        case _:
            return UNSET


_DAY_FIRST: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
