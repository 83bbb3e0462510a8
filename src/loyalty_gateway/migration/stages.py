"""How far each move is, as every gateway of the ledger sees it shortly after it was changed."""

import asyncio
import time
from collections.abc import Mapping
from typing import ClassVar

from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.moving import Move, moves


class Stages:
    """Reads the moves from the ledger, at most every so often."""

    fresh_seconds: ClassVar[float] = 0.5
    """So long a gateway goes by what it read; what it began by that ends so, at whichever side."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: Mapping[tuple[str, str], Move] = {}
        self._read_at: float | None = None
        self._one_at_a_time = asyncio.Lock()

    async def of(self, merchant: str, vendor: str) -> Move:
        """How far the merchant's move is; at its first stage where nobody has begun it."""
        if not self._is_fresh():
            async with self._one_at_a_time:
                if not self._is_fresh():
                    begun = time.monotonic()
                    self._known = await self._ledger.look(moves)
                    self._read_at = begun
        return self._known.get((merchant, vendor)) or Move(merchant=merchant, vendor=vendor)

    def forget(self) -> None:
        """What was read is not so any more."""
        self._read_at = None

    def _is_fresh(self) -> bool:
        return self._read_at is not None and time.monotonic() - self._read_at < self.fresh_seconds
