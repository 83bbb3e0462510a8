"""Group commit: what arrives while a group is being committed waits together for the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from loyalty_gateway.ledger.orders import Done, Outcome, Task
from loyalty_gateway.problem import Code, Problem

LARGEST_GROUP: Final = 256
MOST_WAITING: Final = 10_000
"""Beyond this many waiting tasks a further one is refused as unavailable instead of waiting too."""


class Gauges(Protocol):
    """Who wants to know how large groups are and how many tasks wait."""

    def grouped(self, size: int, waiting: int) -> None:
        """A group of ``size`` is about to be committed, ``waiting`` stay for the next."""


class Groups:
    """Collects waiting tasks and has them carried out group by group, one group at a time.

    ``carry_out`` gives one outcome for each task, in order, after the group is durable.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[Task]], Awaitable[Sequence[Outcome]]],
        gauges: Gauges | None = None,
    ) -> None:
        self._carry_out = carry_out
        self._gauges = gauges
        self._waiting: list[tuple[Task, asyncio.Future[Done]]] = []
        self._keys_in_flight: set[tuple[str, str, str]] = set()
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to take tasks."""
        self._task = asyncio.create_task(self._run(), name="ledger groups")

    async def close(self) -> None:
        """Carries out what waits, then stops."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def join(self, task: Task) -> Done:
        """What the task gives, once the group that it joined is durable.

        Raises:
            Problem: what the task was refused for; KEY_IN_FLIGHT, UNAVAILABLE before it joins any group.
            Behind: a job stands before the task.
        """
        if self._task is None or self._task.done() or self._closing or len(self._waiting) >= MOST_WAITING:
            raise Problem(Code.UNAVAILABLE)
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        if task.idempotency is None:
            self._wait(task, future)
            return await future
        key = (task.merchant.name, task.vendor, task.idempotency.key)
        if key in self._keys_in_flight:
            raise Problem(Code.KEY_IN_FLIGHT)
        self._keys_in_flight.add(key)
        # The key stays in flight until the outcome is there, even if whoever waits for it goes away before.
        future.add_done_callback(lambda _: self._keys_in_flight.discard(key))
        self._wait(task, future)
        return await asyncio.shield(future)

    def _wait(self, task: Task, future: asyncio.Future[Done]) -> None:
        self._waiting.append((task, future))
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
            if not self._waiting and not self._closing:
                self._arrived.clear()
            if not group:
                return
            outcomes = await self._outcomes([task for task, _ in group])
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if future.cancelled():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                    # Whoever waited may be gone; an outcome that nobody fetches is no error of the program.
                    future.exception()
                else:
                    future.set_result(outcome)

    async def _outcomes(self, tasks: list[Task]) -> Sequence[Outcome]:
        try:
            if self._gauges is not None:
                self._gauges.grouped(len(tasks), len(self._waiting))
            outcomes = await self._carry_out(tasks)
            assert len(outcomes) == len(tasks)
            return outcomes  # noqa: TRY300 - what it gives stands before what may go wrong
        except Exception as error:  # noqa: BLE001 - the loop must go on, and everybody be answered
            return [error] * len(tasks)
