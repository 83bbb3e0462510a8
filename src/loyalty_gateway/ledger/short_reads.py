"""Reading in groups: what arrives while others are read is read together, in one hop to a thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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

    def close(self) -> None:
        """Ends the threads behind what they are at."""
        self._threads.shutdown()

    async def join(self, work: Work) -> Any:
        """What the work gives; raises what it raises."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._busy < _LANES:
            self._read_next()
        return await future

    def _read_next(self) -> None:
        group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
        waiting = [future for _, future in group]
        try:
            reading = asyncio.get_running_loop().run_in_executor(
                self._threads, self._outcomes, [work for work, _ in group]
            )
        except RuntimeError as error:
            # The threads have ended.
            _tell(waiting, [error] * len(group))
            return
        self._busy += 1
        reading.add_done_callback(partial(self._ended, waiting))

    def _ended(self, waiting: "Sequence[asyncio.Future[Any]]", reading: "asyncio.Future[list[Any]]") -> None:
        self._busy -= 1
        error = reading.exception()
        _tell(waiting, reading.result() if error is None else [error] * len(waiting))
        if self._waiting:
            self._read_next()

    def _outcomes(self, works: Sequence[Work]) -> list[Any]:
        return [self._outcome(work) for work in works]

    def _outcome(self, work: Work) -> Any:
        try:
            return self._read(work)
        except Exception as error:  # noqa: BLE001 - told to whom it concerns
            return error


def _tell(waiting: "Sequence[asyncio.Future[Any]]", outcomes: Sequence[Any]) -> None:
    for future, outcome in zip(waiting, outcomes, strict=True):
        if future.cancelled():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
