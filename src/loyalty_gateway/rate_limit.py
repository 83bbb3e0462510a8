"""Counting requests against the vendors' rate limits, in this process's memory."""

import time
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, RateLimiter

from loyalty_gateway.authentication import Caller
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.vendor import Budget, Operation, RateLimit, Vendor


class RateLimits:
    """The rate limits of one vendor; ``overrides`` give requests and seconds for a limit by its name."""

    def __init__(self, vendor: Vendor, overrides: dict[str, tuple[int, int]]) -> None:
        storage = MemoryStorage()
        self._vendor = vendor.name
        self._fixed = FixedWindowRateLimiter(storage)
        self._sliding = MovingWindowRateLimiter(storage)
        self._limits = {
            operation.id: tuple(_counted(limit, overrides.get(limit.name)) for limit in operation.rate_limits)
            for operation in vendor.operations
        }
        of_one, *of_others = self._limits.values()
        self._everywhere = tuple(limit for limit in of_one if all(limit in others for others in of_others))

    def spend(self, operation: Operation, caller: Caller) -> tuple[tuple[Budget, ...], Problem | None]:
        """Counts one request; what is left of each limit, and the refusal (RATE_LIMITED) if one is exceeded.

        A request that one limit refuses is counted by none. The refusal tells to wait for the last of the limits
        that refuse, which are those with nothing left.
        """
        counters = [self._counter(limit, item, caller) for limit, item in self._limits[operation.id]]
        refusing = [counter for counter in counters if not counter.allows()]
        if not refusing:
            for counter in counters:
                counter.spend()
            return tuple(counter.budget() for counter in counters), None
        budgets = tuple(counter.budget(refuses=counter in refusing) for counter in counters)
        wait = max(budget.resets_in for budget in budgets if budget.remaining == 0)
        return budgets, Problem(Code.RATE_LIMITED, retry_after=wait)

    def _counter(self, limit: RateLimit, item: RateLimitItem, caller: Caller) -> "_Counter":
        limiter: RateLimiter = self._sliding if limit.sliding else self._fixed
        subject = caller.merchant.name if limit.per == "merchant" else caller.id
        return _Counter(limit, item, limiter, (self._vendor, limit.name, subject))

    def unspent(self, operation: Operation | None) -> tuple[Budget, ...]:
        """The whole budget, as it is told to a caller whom nobody knows.

        Without an operation, since no path or method matched, only what holds for all of them.
        """
        now = time.time()
        return tuple(
            Budget(limit=limit, remaining=limit.requests, resets_at=now + limit.seconds, now=now)
            for limit, _ in (self._everywhere if operation is None else self._limits[operation.id])
        )


class _Counter(NamedTuple):
    """One limit as it counts for one caller."""

    limit: RateLimit
    item: RateLimitItem
    limiter: RateLimiter
    names: tuple[str, str, str]

    def allows(self) -> bool:
        return self.limiter.test(self.item, *self.names)

    def spend(self) -> None:
        self.limiter.hit(self.item, *self.names)

    def budget(self, *, refuses: bool = False) -> Budget:
        resets_at, remaining = self.limiter.get_window_stats(self.item, *self.names)
        # Looked at after the count, so that a window never seems to last longer than it does.
        now = time.time()
        return Budget(limit=self.limit, remaining=0 if refuses else remaining, resets_at=resets_at, now=now)


def _counted(limit: RateLimit, override: tuple[int, int] | None) -> tuple[RateLimit, RateLimitItem]:
    requests, seconds = override or (limit.requests, limit.seconds)
    in_force = RateLimit(name=limit.name, requests=requests, seconds=seconds, per=limit.per, sliding=limit.sliding)
    return in_force, RateLimitItemPerSecond(requests, seconds)
