"""Reading in groups: what arrives while others are read is read together, in one hop to a thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

Work = TypeVar("Work")

_LARGEST_GROUP: Final = 64
_LANES: Final = 2
"""Groups at a time, so that one which takes long holds up half of the others at most."""


class ShortReads(Generic[Work]):
    """Has short work done in threads that are woken for many of them at once.

    ``read`` gives, in a thread, what one of them comes to, or raises.
    """

    def __init__(self, read: Callable[[Work], Any]) -> None:
        self._read = read
        self._threads = ThreadPoolExecutor(max_workers=_LANES, thread_name_prefix="ledger-reader")
        self._waiting: list[tuple[Work, asyncio.Future[Any]]] = []
        self._busy = 0
        self._lanes: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Ends the threads behind what they are at."""
        self._threads.shutdown()

    async def join(self, work: Work) -> Any:
        """What the work gives; raises what it raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._busy < _LANES:
            self._busy += 1
            lane = asyncio.create_task(self._lane())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await future

    async def _lane(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
                await self._read_group(group)
        finally:
            self._busy -= 1

    async def _read_group(self, group: "Sequence[tuple[Work, asyncio.Future[Any]]]") -> None:
        works = [work for work, _ in group]
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._threads, self._read_all, works)
        except RuntimeError as error:
            # The threads have ended meanwhile.
            outcomes = [error for _ in works]
        for (_, future), outcome in zip(group, outcomes, strict=True):
            if future.cancelled():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    def _read_all(self, works: Sequence[Work]) -> list[Any]:
        return [self._outcome(work) for work in works]

    def _outcome(self, work: Work) -> Any:
        try:
            return self._read(work)
        except Exception as error:  # noqa: BLE001 - told to whom it concerns
            return error
