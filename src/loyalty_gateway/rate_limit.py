"""Counting requests against the vendors' rate limits, in this process's memory."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping

from loyalty_gateway.authentication import Caller
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.vendor import Budget, Operation, RateLimit, Vendor


class RateLimits:
    """The rate limits of one vendor.

    Args:
        vendor: whose they are.
        overrides: requests and seconds for a limit by its name.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        vendor: Vendor,
        overrides: Mapping[str, tuple[int, int]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._limits = {
            operation.id: tuple(_in_force(limit, overrides.get(limit.name)) for limit in operation.rate_limits)
            for operation in vendor.operations
        }
        of_one, *of_others = self._limits.values()
        self._everywhere = tuple(limit for limit in of_one if all(limit in others for others in of_others))
        # As many as there are credentials, so none is ever forgotten.
        self._windows: dict[tuple[str, str], _Window] = {}
        self._windows_of: dict[tuple[str, str], tuple[_Window, ...]] = {}

    def spend(self, operation: Operation, caller: Caller) -> tuple[tuple[Budget, ...], Problem | None]:
        """Counts one request; what is left of each limit, and the refusal (RATE_LIMITED) if one is exceeded.

        A request that one limit refuses is counted by none. The refusal tells to wait for the last of the limits
        that refuse, which are those with nothing left.
        """
        now = self._clock()
        windows = self._windows_for(operation, caller)
        refuses = True in [window.is_full(now) for window in windows]
        if not refuses:
            for window in windows:
                window.count(now)
        budgets = tuple([window.budget(now) for window in windows])
        if not refuses:
            return budgets, None
        wait = max(budget.resets_in for budget in budgets if budget.remaining == 0)
        return budgets, Problem(Code.RATE_LIMITED, retry_after=wait)

    def unspent(self, operation: Operation | None) -> tuple[Budget, ...]:
        """The whole budget, as it is told to a caller whom nobody knows.

        Without an operation, since no path or method matched, only what holds for all of them.
        """
        now = self._clock()
        return tuple(
            Budget(limit=limit, remaining=limit.requests, resets_at=now + limit.seconds, now=now)
            for limit in (self._everywhere if operation is None else self._limits[operation.id])
        )

    def _windows_for(self, operation: Operation, caller: Caller) -> "tuple[_Window, ...]":
        known = self._windows_of.get((operation.id, caller.id))
        if known is None:
            known = tuple(self._window(limit, caller) for limit in self._limits[operation.id])
            self._windows_of[operation.id, caller.id] = known
        return known

    def _window(self, limit: RateLimit, caller: Caller) -> "_Window":
        subject = caller.merchant.name if limit.per == "merchant" else caller.id
        window = self._windows.get((limit.name, subject))
        if window is None:
            window = self._windows[limit.name, subject] = (_Sliding if limit.sliding else _Fixed)(limit)
        return window


class _Window(ABC):
    """The time for which requests are counted, of one limit for one caller or merchant."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit

    @abstractmethod
    def is_full(self, now: float) -> bool:
        """Whether one more request is refused."""

    @abstractmethod
    def count(self, now: float) -> None:
        """Counts a request."""

    @abstractmethod
    def budget(self, now: float) -> Budget:
        """What is left."""


class _Fixed(_Window):
    """A window that begins with the first request in it."""

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit)
        self._ends_at = 0.0
        self._counted = 0

    def is_full(self, now: float) -> bool:
        # A clock that was set back must not make a window longer than it is.
        if not now < self._ends_at <= now + self.limit.seconds:
            self._counted = 0
        return self._counted >= self.limit.requests

    def count(self, now: float) -> None:
        if self._counted == 0:
            self._ends_at = now + self.limit.seconds
        self._counted += 1

    def budget(self, now: float) -> Budget:
        return Budget(
            limit=self.limit,
            remaining=self.limit.requests - self._counted,
            resets_at=self._ends_at if self._counted else now,
            now=now,
        )


class _Sliding(_Window):
    """The time just gone, at any moment."""

    def __init__(self, limit: RateLimit) -> None:
        super().__init__(limit)
        self._counted: deque[float] = deque()

    def is_full(self, now: float) -> bool:
        counted, since = self._counted, now - self.limit.seconds
        while counted and not since < counted[0] <= now:
            counted.popleft()
        return len(counted) >= self.limit.requests

    def count(self, now: float) -> None:
        self._counted.append(now)

    def budget(self, now: float) -> Budget:
        begins_at = self._counted[0] if self._counted else now
        return Budget(
            limit=self.limit,
            remaining=self.limit.requests - len(self._counted),
            resets_at=begins_at + self.limit.seconds,
            now=now,
        )


def _in_force(limit: RateLimit, override: tuple[int, int] | None) -> RateLimit:
    requests, seconds = override or (limit.requests, limit.seconds)
    return RateLimit(name=limit.name, requests=requests, seconds=seconds, per=limit.per, sliding=limit.sliding)
