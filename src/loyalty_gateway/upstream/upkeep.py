"""All intents of a ledger: counted for the metrics, told of at start, and forgotten when they are old."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.forgetting import Tally, forget, forgettable, tally
from loyalty_gateway.ledger.intents import State
from loyalty_gateway.metrics import Metrics

_log = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 5.0
_FORGETS_EVERY_SECONDS: Final = 600.0
_PAGE: Final = 200
_BETWEEN_PAGES_SECONDS: Final = 0.02
_SECOND: Final = 1_000_000
_UNSETTLED: Final = (State.WAITING, State.OPEN, State.UNCLEAR, State.PARKED)


class Upkeep:
    """Looks after the table of intents while the gateway runs; several gateways may do so at once.

    Args:
        ledger: where the intents are.
        merchants: by name.
        upstreams: the names of those that are configured.
        metrics: is told what is not settled.
        keep_keys_seconds: how long a key counts, and so what came of the request with it.
    """

    def __init__(
        self,
        ledger: Ledger,
        merchants: Mapping[str, Merchant],
        upstreams: Iterable[str],
        metrics: Metrics,
        keep_keys_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._merchants = merchants
        self._upstreams = sorted(set(upstreams))
        self._metrics = metrics
        self._keep = round(keep_keys_seconds * _SECOND)
        self._is_failing = False
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._task = asyncio.create_task(self._run(), name="upkeep of intents")

    async def close(self) -> None:
        """Ends behind what is being looked at."""
        self._closing.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _run(self) -> None:
        has_warned, forgets_at = False, 0.0
        while not self._closing.is_set():
            try:
                counts = await self.count()
                if not has_warned:
                    self._warn(counts)
                    has_warned = True
                if time.monotonic() >= forgets_at:
                    await self.forget_old()
                    forgets_at = time.monotonic() + _FORGETS_EVERY_SECONDS
                self._is_failing = False
            except Exception as error:  # noqa: BLE001 - a store that is away comes back
                if not self._is_failing:
                    _log.warning("intents have nobody to look after them now: %r", error)
                self._is_failing = True
            await self._pause(_EVERY_SECONDS)

    async def count(self) -> list[Tally]:
        """Tells the metrics what is not settled; of an upstream that is configured also that there is nothing."""
        counts = await self._ledger.look(tally)
        now = time.time_ns() // 1_000
        known = {(upstream, state.value): 0 for upstream in self._upstreams for state in _UNSETTLED}
        oldest = dict.fromkeys(self._upstreams, 0.0)
        for one in counts:
            oldest[one.upstream] = max(oldest.get(one.upstream, 0.0), (now - one.oldest_at) / _SECOND)
        self._metrics.unsettled(known | {(one.upstream, one.state.value): one.number for one in counts}, oldest)
        return counts

    def _warn(self, counts: Iterable[Tally]) -> None:
        """Tells of intents that nobody will ever settle by himself."""
        orphans: dict[str, int] = {}
        for one in counts:
            if one.upstream not in self._upstreams:
                orphans[one.upstream] = orphans.get(one.upstream, 0) + one.number
        for upstream, count in orphans.items():
            _log.warning(
                "%s intents at the upstream `%s`, which is not configured, are not settled and nobody looks "
                "after them: configure it again, or list them with `loyalty-gateway ledger intents` and settle "
                "each by what you find there with `loyalty-gateway ledger settle`",
                count,
                upstream,
            )

    async def forget_old(self) -> int:
        """Forgets what nobody needs any more, some at a time; how many these were."""
        somebody = next(iter(self._merchants.values()), None)
        if somebody is None:
            return 0
        forgotten, before, after = 0, time.time_ns() // 1_000 - self._keep, 0
        last: int | None = 0
        while last is not None and not self._closing.is_set():
            page = await self._ledger.look(
                lambda dialect, after=after: forgettable(dialect, before=before, after=after, at_most=_PAGE)  # type: ignore[misc]
            )
            last = page.last
            after = last or after
            if page.forgettable:
                ids = page.forgettable
                forgotten += await self._ledger.change(
                    somebody,
                    lambda dialect, _, __, ids=ids: forget(dialect, ids, before=before),  # type: ignore[misc]
                )
            await self._pause(_BETWEEN_PAGES_SECONDS)
        return forgotten
