"""What is the same in every store's ledger: who waits for what, and which work is done for whom."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

from loyalty_gateway.adjustment import Idempotency, Instruction, Merchant, Receipt
from loyalty_gateway.customer import (
    Customer,
    CustomerQuery,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Enrolled,
    Enrolment,
    History,
    HistoryQuery,
)
from loyalty_gateway.ledger.groups import Gauges, Groups
from loyalty_gateway.ledger.job_runner import JobRunner, Patience
from loyalty_gateway.ledger.jobs import Chunk, weigh
from loyalty_gateway.ledger.orders import (
    Behind,
    Done,
    Guarded,
    Job,
    Note,
    Outcome,
    Reach,
    Registration,
    Task,
    Unweighed,
    Weighing,
)
from loyalty_gateway.ledger.reading import Reader
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.problem import Code, Problem

R = TypeVar("R")

SECOND: Final = 1_000_000
"""Microseconds."""


class StoredLedger(ABC):
    """A ``Ledger`` over a database, which a subclass connects to and runs the work on.

    Args:
        keep_keys_seconds: how long an idempotency key is remembered.
        everyone_at_once: an adjustment of everyone that is of more wallets becomes a job.
        runs_jobs: whether this ledger carries jobs out while it is open, or leaves them to others.
        gauges: is told the size of each group.
        clock: microseconds since the epoch.
    """

    def __init__(
        self,
        *,
        keep_keys_seconds: float,
        everyone_at_once: int,
        runs_jobs: bool,
        gauges: Gauges | None,
        clock: Callable[[], int],
    ) -> None:
        self._keep_keys = round(keep_keys_seconds * SECOND)
        self._everyone_at_once = everyone_at_once
        self._clock = clock
        self._merchant_ids: dict[str, int] = {}
        self._groups = Groups(self._carry_out, gauges)
        self._jobs = JobRunner(self._advance) if runs_jobs else None

    async def open(self) -> None:
        """See ``Ledger.open``."""
        await self._open()
        self._groups.start()
        if self._jobs is not None:
            self._jobs.start()

    async def close(self) -> None:
        """See ``Ledger.close``."""
        if self._jobs is not None:
            await self._jobs.close()
        await self._groups.close()
        await self._close()

    async def adjust(
        self, instruction: Instruction, *, still: Callable[[Dialect, int], Work[bool]] | None = None
    ) -> Receipt:
        """See ``Ledger.adjust``."""
        receipt = await self._done(instruction if still is None else Guarded(instruction, still))
        assert isinstance(receipt, Receipt)
        if self._jobs is not None and not receipt.entries:
            self._jobs.wake()
        return receipt

    async def enrol(
        self,
        merchant: Merchant,
        enrolment: Enrolment,
        *,
        vendor: str = "",
        idempotency: Idempotency | None = None,
    ) -> Enrolled:
        """See ``Ledger.enrol``."""
        enrolled = await self._done(Registration(merchant, enrolment, vendor, idempotency))
        assert isinstance(enrolled, Enrolled)
        return enrolled

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer:
        """See ``Ledger.update``."""
        customer = await self._done(Registration(merchant, update))
        assert isinstance(customer, Customer)
        return customer

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer:
        """See ``Ledger.customer``."""
        return await self._ask(merchant, lambda reader: reader.customer(query))

    async def customers(self, merchant: Merchant, query: CustomersQuery) -> Customers:
        """See ``Ledger.customers``."""
        return await self._ask(merchant, lambda reader: reader.list_customers(query), is_long=True)

    async def history(self, merchant: Merchant, query: HistoryQuery) -> History:
        """See ``Ledger.history``."""
        is_long = query.limit is None or query.by_points
        return await self._ask(merchant, lambda reader: reader.history(query), is_long=is_long)

    async def look(self, work: Callable[[Dialect], Work[R]], *, merchant: Merchant | None = None) -> R:
        """See ``Ledger.look``."""
        return await self._reached(merchant, work, is_long=True)

    async def change(
        self, merchant: Merchant, work: Callable[[Dialect, int, int], Work[R]], *, is_small: bool = False
    ) -> R:
        """See ``Ledger.change``."""
        if not is_small:
            return await self._write(merchant, work)
        return cast("R", await self._groups.join(Note(merchant, work)))

    async def _done(self, task: Task) -> Done:
        """What the task gives, once no job stands before it."""
        patience = Patience()
        while True:
            try:
                return await self._attempt(task)
            except Behind as behind:
                await self._reach(task.merchant, behind, patience)

    async def _attempt(self, task: Task) -> Done:
        try:
            return await self._groups.join(task)
        except Unweighed:
            instruction = task.asked if isinstance(task, Guarded) else task
            assert isinstance(instruction, Instruction)
            job = Job(instruction, await self._weighed(instruction))
            return await self._groups.join(Guarded(job, task.still) if isinstance(task, Guarded) else job)

    async def _weighed(self, instruction: Instruction) -> Weighing:
        """What there is to adjust, looked at while others write; raises Problem where it is to be refused."""

        def work(dialect: Dialect) -> Work[Weighing]:
            merchant_id = yield from self._known_merchant_id(instruction.merchant)
            return (yield from weigh(dialect, instruction, merchant_id, now=self._clock()))

        return await self._read(work, is_long=True)

    async def _ask(self, merchant: Merchant, work: Callable[[Reader], Work[R]], *, is_long: bool = False) -> R:
        def read(dialect: Dialect) -> Work[R]:
            merchant_id = yield from self._known_merchant_id(merchant)
            return (yield from work(Reader(dialect, merchant_id, merchant.tiers)))

        return await self._reached(merchant, read, is_long=is_long)

    async def _reached(self, merchant: Merchant | None, work: Callable[[Dialect], Work[R]], *, is_long: bool) -> R:
        """What the work gives, once the merchant's job has reached what it reads."""
        patience = Patience()
        while True:
            try:
                return await self._read(work, is_long=is_long)
            except Behind as behind:
                if merchant is None:
                    raise
                await self._reach(merchant, behind, patience)

    async def _reach(self, merchant: Merchant, behind: Behind, patience: Patience) -> None:
        """Has the merchant's job reach these wallets, or waits a little for it to reach all; raises Problem."""
        if behind.wallet_ids:
            try:
                await self._groups.join(Reach(merchant, behind.wallet_ids))
            except Problem as problem:
                if problem.code is not Code.RECORD_BUSY:
                    raise
            else:
                return
        await patience.wait()

    def _known_merchant_id(self, merchant: Merchant) -> Work[int]:
        """The merchant's number; 0, which is nobody's, for one that the ledger has not met."""
        known = self._merchant_ids.get(merchant.name)
        if known is None:
            rows = yield Statement("SELECT id FROM merchants WHERE name = :name", {"name": merchant.name})
            if not rows:
                return 0
            known = self._merchant_ids[merchant.name] = int(rows[0][0])
        return known

    @abstractmethod
    async def ready(self) -> bool:
        """See ``Ledger.ready``."""

    @abstractmethod
    async def _open(self) -> None:
        """Connects, and brings the schema up; raises ConfigurationError."""

    @abstractmethod
    async def _close(self) -> None:
        """Lets go of the database."""

    @abstractmethod
    async def _carry_out(self, tasks: Sequence[Task]) -> Sequence[Outcome]:
        """One outcome for each task, after all are durable in one transaction.

        A fault that only one task causes refuses only that one.
        """

    @abstractmethod
    async def _advance(self, at_most: int) -> Chunk | None:
        """Carries out a chunk of a job, of so many wallets, in a transaction; ``None`` where there is none."""

    @abstractmethod
    async def _read(self, work: Callable[[Dialect], Work[R]], *, is_long: bool) -> R:
        """What reading work gives in one snapshot; raises Problem UNAVAILABLE."""

    @abstractmethod
    async def _write(self, merchant: Merchant, work: Callable[[Dialect, int, int], Work[R]]) -> R:
        """What work gives in one durable transaction; raises Problem."""
