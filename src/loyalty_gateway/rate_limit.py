"""Counting requests against the vendors' rate limits, in this process's memory."""

import time

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
        """Counts one request; what is left of each limit, and the refusal (RATE_LIMITED) if one is exceeded."""
        budgets = []
        refusal = None
        for limit, item in self._limits[operation.id]:
            counter: RateLimiter = self._sliding if limit.sliding else self._fixed
            subject = caller.merchant.name if limit.per == "merchant" else caller.id
            allowed = counter.hit(item, self._vendor, limit.name, subject)
            resets_at, remaining = counter.get_window_stats(item, self._vendor, limit.name, subject)
            # Looked at after the count, so that a window never seems to last longer than it does.
            now = time.time()
            budget = Budget(limit=limit, remaining=remaining if allowed else 0, resets_at=resets_at, now=now)
            budgets.append(budget)
            if not allowed and refusal is None:
                refusal = Problem(Code.RATE_LIMITED, retry_after=budget.resets_in)
        return tuple(budgets), refusal

    def unspent(self, operation: Operation | None) -> tuple[Budget, ...]:
        """The whole budget, as it is told to a caller whom nobody knows.

        Without an operation, since no path or method matched, only what holds for all of them.
        """
        now = time.time()
        return tuple(
            Budget(limit=limit, remaining=limit.requests, resets_at=now + limit.seconds, now=now)
            for limit, _ in (self._everywhere if operation is None else self._limits[operation.id])
        )


def _counted(limit: RateLimit, override: tuple[int, int] | None) -> tuple[RateLimit, RateLimitItem]:
    requests, seconds = override or (limit.requests, limit.seconds)
    in_force = RateLimit(name=limit.name, requests=requests, seconds=seconds, per=limit.per, sliding=limit.sliding)
    return in_force, RateLimitItemPerSecond(requests, seconds)
