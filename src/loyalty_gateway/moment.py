"""Points in time, as microseconds since the epoch, as vendors spell them."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=64)
def iso_milliseconds(microseconds: int) -> str:
    """``2024-01-15T10:30:00.000Z``; one answer spells the same moment several times."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction // 1_000:03d}Z"
