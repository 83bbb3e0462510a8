"""Counting requests against the vendors' rate limits, in this process's memory."""

import time
from abc import ABC, abstractmethod

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage

from loyalty_gateway.authentication import Caller
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.vendor import Budget, Operation, RateLimit, Vendor


class RateLimits:
    """The rate limits of one vendor; ``overrides`` give requests and seconds for a limit by its name."""

    def __init__(self, vendor: Vendor, overrides: dict[str, tuple[int, int]]) -> None:
        self._storage = MemoryStorage()
        self._vendor = vendor.name
        self._limits = {
            operation.id: tuple(_in_force(limit, overrides.get(limit.name)) for limit in operation.rate_limits)
            for operation in vendor.operations
        }
        of_one, *of_others = self._limits.values()
        self._everywhere = tuple(limit for limit in of_one if all(limit in others for others in of_others))
        self._counters: dict[tuple[str, str], tuple[_Counter, ...]] = {}

    def spend(self, operation: Operation, caller: Caller) -> tuple[tuple[Budget, ...], Problem | None]:
        """Counts one request; what is left of each limit, and the refusal (RATE_LIMITED) if one is exceeded.

        A request that one limit refuses is counted by none. The refusal tells to wait for the last of the limits
        that refuse, which are those with nothing left.
        """
        counters = self._counters_of(operation, caller)
        # One limit alone refuses and counts in one step.
        refusing = [counter for counter in counters if not counter.allows()] if len(counters) > 1 else []
        if not refusing:
            refusing = [counter for counter in counters if not counter.spend()]
        budgets = tuple([counter.budget(refuses=counter in refusing) for counter in counters])
        if not refusing:
            return budgets, None
        wait = max(budget.resets_in for budget in budgets if budget.remaining == 0)
        return budgets, Problem(Code.RATE_LIMITED, retry_after=wait)

    def _counters_of(self, operation: Operation, caller: Caller) -> "tuple[_Counter, ...]":
        known = self._counters.get((operation.id, caller.id))
        if known is None:
            known = self._counters[operation.id, caller.id] = tuple(
                self._counter(limit, caller) for limit in self._limits[operation.id]
            )
        return known

    def _counter(self, limit: RateLimit, caller: Caller) -> "_Counter":
        subject = caller.merchant.name if limit.per == "merchant" else caller.id
        item = RateLimitItemPerSecond(limit.requests, limit.seconds)
        counter = _Sliding if limit.sliding else _Fixed
        return counter(limit, self._storage, item.key_for(self._vendor, limit.name, subject))

    def unspent(self, operation: Operation | None) -> tuple[Budget, ...]:
        """The whole budget, as it is told to a caller whom nobody knows.

        Without an operation, since no path or method matched, only what holds for all of them.
        """
        now = time.time()
        return tuple(
            Budget(limit=limit, remaining=limit.requests, resets_at=now + limit.seconds, now=now)
            for limit in (self._everywhere if operation is None else self._limits[operation.id])
        )


class _Counter(ABC):
    """One limit as it counts for one caller."""

    def __init__(self, limit: RateLimit, storage: MemoryStorage, key: str) -> None:
        self.limit = limit
        self._storage = storage
        self._key = key

    @abstractmethod
    def allows(self) -> bool:
        """Whether a request would be counted."""

    @abstractmethod
    def spend(self) -> bool:
        """Counts a request; whether the limit allows it."""

    def budget(self, *, refuses: bool) -> Budget:
        """What is left."""
        resets_at, used = self._window()
        # Looked at after the count, so that a window never seems to last longer than it does.
        now = time.time()
        remaining = 0 if refuses else max(self.limit.requests - used, 0)
        return Budget(limit=self.limit, remaining=remaining, resets_at=resets_at, now=now)

    @abstractmethod
    def _window(self) -> tuple[float, int]:
        """When the window is whole again, and how many requests count in it."""


class _Fixed(_Counter):
    """A window begins with the first request in it."""

    def allows(self) -> bool:
        return self._storage.get(self._key) < self.limit.requests

    def spend(self) -> bool:
        return self._storage.incr(self._key, self.limit.seconds) <= self.limit.requests

    def _window(self) -> tuple[float, int]:
        return self._storage.get_expiry(self._key), self._storage.get(self._key)


class _Sliding(_Counter):
    """At any moment the window is the time just gone."""

    def allows(self) -> bool:
        return self._window()[1] < self.limit.requests

    def spend(self) -> bool:
        return self._storage.acquire_entry(self._key, self.limit.requests, self.limit.seconds)

    def _window(self) -> tuple[float, int]:
        begins_at, used = self._storage.get_moving_window(self._key, self.limit.requests, self.limit.seconds)
        return begins_at + self.limit.seconds, used


def _in_force(limit: RateLimit, override: tuple[int, int] | None) -> RateLimit:
    requests, seconds = override or (limit.requests, limit.seconds)
    return RateLimit(name=limit.name, requests=requests, seconds=seconds, per=limit.per, sliding=limit.sliding)
