"""Carries out jobs while a ledger is open: chunk after chunk, each short enough for others to come between."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from loyalty_gateway.ledger.jobs import Chunk
from loyalty_gateway.problem import Code, Problem

_CHUNK_SECONDS: Final = 0.05
_BETWEEN_SECONDS: Final = 0.002
"""Another process waits for a moment in which nobody writes."""
_SMALLEST_CHUNK: Final = 250
_LARGEST_CHUNK: Final = 20_000
_LOOK_EVERY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 60.0
_ASK_AGAIN_SECONDS: Final = 0.05

_log = logging.getLogger(__name__)


class JobRunner:
    """Has a ledger's jobs carried out by ``advance``, which does a chunk of at most so many wallets.

    Jobs may be there when it starts, and others may accept some; so it looks for them again and again.
    """

    def __init__(self, advance: Callable[[int], Awaitable[Chunk | None]]) -> None:
        self._advance = advance
        self._at_most = _SMALLEST_CHUNK
        self._woken = asyncio.Event()
        self._closing = False
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look for jobs."""
        self._task = asyncio.create_task(self._run(), name="ledger jobs")

    def wake(self) -> None:
        """There may be a job."""
        self._woken.set()

    async def close(self) -> None:
        """Ends behind the chunk that is being carried out; the next one to open the ledger goes on from there."""
        self._closing = True
        self._woken.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            if await self._carry_on():
                await asyncio.sleep(_BETWEEN_SECONDS)
            else:
                await self._wait()

    async def _carry_on(self) -> bool:
        """Carries out a chunk; whether there may be more to do."""
        started = time.perf_counter()
        try:
            chunk = await self._advance(self._at_most)
        except Exception as error:  # noqa: BLE001 - a store that is away comes back, and the job is still there
            if not self._is_failing:
                _log.warning("jobs wait for the ledger: %r", error)
            self._is_failing = True
            return False
        self._is_failing = False
        if chunk is None:
            return False
        if chunk.is_finished:
            _log.info("job %s of merchant %s has reached everybody", chunk.number, chunk.merchant_id)
        else:
            self._fit(time.perf_counter() - started)
        return True

    def _fit(self, seconds: float) -> None:
        """Chunks take a certain time, whatever the machine: who comes between waits for no more than one."""
        fitting = self._at_most * min(2.0, max(0.25, _CHUNK_SECONDS / seconds))
        self._at_most = round(min(_LARGEST_CHUNK, max(_SMALLEST_CHUNK, fitting)))

    async def _wait(self) -> None:
        if self._closing:
            return
        try:
            await asyncio.wait_for(self._woken.wait(), _LOOK_EVERY_SECONDS)
        except TimeoutError:
            return


class Patience:
    """How long somebody waits for a job to reach everybody."""

    def __init__(self) -> None:
        self._until = time.monotonic() + _PATIENCE_SECONDS

    async def wait(self) -> None:
        """Waits a little; raises Problem RECORD_BUSY once that was often enough."""
        if time.monotonic() >= self._until:
            raise Problem(Code.RECORD_BUSY)
        await asyncio.sleep(_ASK_AGAIN_SECONDS)
