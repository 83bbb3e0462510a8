"""Group commit: adjustments that arrive while a group is being committed wait together for the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from loyalty_gateway.adjustment import Instruction, Receipt
from loyalty_gateway.problem import Code, Problem

LARGEST_GROUP: Final = 256
MOST_WAITING: Final = 10_000
"""Beyond this many waiting adjustments a further one is refused as unavailable instead of waiting too."""

Outcome = Receipt | Exception


class Gauges(Protocol):
    """Who wants to know how large groups are and how many adjustments wait."""

    def grouped(self, size: int, waiting: int) -> None:
        """A group of ``size`` is about to be committed, ``waiting`` stay for the next."""


class Groups:
    """Collects waiting instructions and has them carried out group by group, one group at a time.

    ``carry_out`` gives one outcome for each instruction, in order, after the group is durable.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[Instruction]], Awaitable[Sequence[Outcome]]],
        gauges: Gauges | None = None,
    ) -> None:
        self._carry_out = carry_out
        self._gauges = gauges
        self._waiting: list[tuple[Instruction, asyncio.Future[Receipt]]] = []
        self._keys_in_flight: set[tuple[str, str, str]] = set()
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to take instructions."""
        self._task = asyncio.create_task(self._run(), name="ledger groups")

    async def close(self) -> None:
        """Carries out what waits, then stops."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def join(self, instruction: Instruction) -> Receipt:
        """The receipt of the instruction, once the group that it joined is durable.

        Raises:
            Problem: what the instruction was refused for; KEY_IN_FLIGHT, UNAVAILABLE before it joins any group.
        """
        if self._task is None or self._task.done() or self._closing or len(self._waiting) >= MOST_WAITING:
            raise Problem(Code.UNAVAILABLE)
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        if instruction.idempotency is None:
            self._wait(instruction, future)
            return await future
        key = (instruction.merchant.name, instruction.vendor, instruction.idempotency.key)
        if key in self._keys_in_flight:
            raise Problem(Code.KEY_IN_FLIGHT)
        self._keys_in_flight.add(key)
        # The key stays in flight until the outcome is there, even if whoever waits for it goes away before.
        future.add_done_callback(lambda _: self._keys_in_flight.discard(key))
        self._wait(instruction, future)
        return await asyncio.shield(future)

    def _wait(self, instruction: Instruction, future: asyncio.Future[Receipt]) -> None:
        self._waiting.append((instruction, future))
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
            if not self._waiting and not self._closing:
                self._arrived.clear()
            if not group:
                return
            outcomes = await self._outcomes([instruction for instruction, _ in group])
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if future.cancelled():
                    continue
                if isinstance(outcome, Receipt):
                    future.set_result(outcome)
                else:
                    future.set_exception(outcome)
                    # Whoever waited may be gone; an outcome that nobody fetches is no error of the program.
                    future.exception()

    async def _outcomes(self, instructions: list[Instruction]) -> Sequence[Outcome]:
        try:
            if self._gauges is not None:
                self._gauges.grouped(len(instructions), len(self._waiting))
            outcomes = await self._carry_out(instructions)
            assert len(outcomes) == len(instructions)
            return outcomes  # noqa: TRY300 - what it gives stands before what may go wrong
        except Exception as error:  # noqa: BLE001 - the loop must go on, and everybody be answered
            return [error] * len(instructions)
