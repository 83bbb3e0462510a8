"""A clock that tests move."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from loyalty_gateway.moment import microseconds_of

_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The machine's time until it is told otherwise.

    Moments are date-times with an offset, or texts of RFC 3339; ValueError for any other.
    """

    def __init__(self) -> None:
        self._shift = 0
        self._frozen_at: int | None = None

    def now(self) -> float:
        """Epoch seconds."""
        return self.microseconds() / 1_000_000

    def microseconds(self) -> int:
        """The same in whole microseconds."""
        return _machine() + self._shift if self._frozen_at is None else self._frozen_at

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Goes on by so much; raises ValueError for a way back."""
        by = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days) // _MICROSECOND
        if by < 0:
            raise ValueError("a clock advances; move_to goes back")
        self._shift += by
        if self._frozen_at is not None:
            self._frozen_at += by

    def move_to(self, moment: datetime | str) -> None:
        """Goes on from another moment, or stands there if it stands still."""
        at = _microseconds(moment)
        self._shift = at - _machine()
        if self._frozen_at is not None:
            self._frozen_at = at

    def freeze(self, moment: datetime | str | None = None) -> None:
        """Stands still from here on, at that moment or now."""
        self._frozen_at = self.microseconds() if moment is None else _microseconds(moment)

    def resume(self) -> None:
        """Goes on from where it stands."""
        if self._frozen_at is not None:
            self._shift = self._frozen_at - _machine()
            self._frozen_at = None


def _machine() -> int:
    return time.time_ns() // 1_000


def _microseconds(moment: datetime | str) -> int:
    if isinstance(moment, str):
        return microseconds_of(moment)
    if moment.tzinfo is None:
        # Its moment would be another one on every machine.
        raise ValueError(f"{moment.isoformat()} has no offset; with tzinfo=UTC it has one")
    return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND
