"""A ``Backend`` of two: the customer's stage decides who carries a task out, and the other side hears of it.

Whoever leads, what one side has done and the other has not goes on following, so that a request that began before
a stage was changed ends where it began and is lost at neither side. Before the side that leads from now on takes a
customer's adjustment, what the other one did for them has come there; where that cannot be, the other one, which
knows all, takes it once more.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from loyalty_gateway import engine
from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Everyone,
    Idempotency,
    Instruction,
    Merchant,
    Receipt,
)
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
from loyalty_gateway.ledger.following import Backlog, Side, Standing, earlier_side, wallet_id_of
from loyalty_gateway.ledger.moving import Move, Stage, held_move, keep_comparison
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.migration.comparing import Told, differences, summary, told_of
from loyalty_gateway.migration.follower import Follower
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.migration.stages import Stages
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.backend import UpstreamBackend
from loyalty_gateway.upstream.intents import likeness
from loyalty_gateway.upstream.partial import Partial

R = TypeVar("R")

_log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000
_LOOK_AGAIN_SECONDS: Final = 0.02
_MOST_COMPARED: Final = 64


class _Outdated(Exception):  # noqa: N818 - not an error of the program
    """The move has come to another stage than the one by which it was decided."""


class MigratingBackend:
    """Carries tasks out at the side that leads for the customer.

    Args:
        parts: the move.
        stages: how far it is.
        follower: brings what was done to the other side.
        metrics: is told of comparisons.
        keep_keys_seconds: how long a client's key is remembered.
        patience_seconds: how long a request waits for what the other side did before.
    """

    def __init__(  # noqa: PLR0913 - the parts of a move
        self,
        parts: Parts,
        stages: Stages,
        follower: Follower,
        metrics: Metrics,
        *,
        keep_keys_seconds: float,
        patience_seconds: float = 5.0,
    ) -> None:
        self.parts = parts
        self._stages = stages
        self._follower = follower
        self._metrics = metrics
        self._keep_keys = round(keep_keys_seconds * _SECOND)
        self._patience_seconds = patience_seconds
        self._comparing: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        for upstream in (parts.old, parts.new):
            if upstream is not None:
                upstream.intents.on_settled = lambda intent: follower.note(
                    [intent.wallet_id or 0] if intent.follow else []
                )

    def start(self) -> None:
        """Begins to bring over what waits; the ledger is open."""
        self._follower.start()

    async def close(self) -> None:
        """Ends behind what is under way between the sides."""
        if self._comparing:
            await asyncio.wait(self._comparing)
        await self._follower.close()

    async def _move(self) -> Move:
        return await self._stages.of(self.parts.merchant.name, self.parts.vendor)

    # Adjusting

    async def adjust(self, instruction: Instruction) -> Receipt | Partial:
        """See ``Ledger.adjust``; what was asked for before is answered by the side that was asked."""
        if instruction.idempotency is None:
            # The same request without a key joins the first one at its side.
            return await self._decided_anew(instruction)
        # A retry may come while it is not decided yet at which side the first try is carried out.
        lock = self._turns.setdefault(instruction.idempotency.key, asyncio.Lock())
        async with lock:
            return await self._decided_anew(instruction)

    async def _decided_anew(self, instruction: Instruction) -> Receipt | Partial:
        """What comes of it, decided once more where the move has come to another stage meanwhile."""
        while True:
            try:
                return await self._adjust(instruction)
            except _Outdated:
                self._stages.forget()

    async def _adjust(self, instruction: Instruction) -> Receipt | Partial:
        move = await self._move()
        customers = instruction.adjustment.customers
        earlier = await self._earlier(instruction)
        if isinstance(customers, Everyone):
            side = earlier or _side(move.common)
            return await self._adjust_at(side, instruction, follow=move.stage.follows)
        numbers = [await self.parts.number(reference) for reference in dict.fromkeys(customers)]
        stages = [move.stage_of(number) for number in numbers]
        follow = any(stage.follows for stage in stages)
        if earlier is not None:
            return await self._adjust_at(earlier, instruction, follow=follow)
        wanted = Side.NEW if all(stage.is_led_by_new for stage in stages) else Side.OLD
        side = await self._caught_up(wanted, list(zip(dict.fromkeys(customers), numbers, stages, strict=True)))
        if stages == [Stage.SHADOW] and side is Side.OLD:
            asked = self._adjust_at(side, instruction, follow=follow)
            return await self._compared(numbers[0], "adjustment", asked, lambda: self._predicted(instruction))
        return await self._adjust_at(side, instruction, follow=follow)

    async def _earlier(self, instruction: Instruction) -> Side | None:
        key = None if instruction.idempotency is None else instruction.idempotency.key
        since = time.time_ns() // 1_000 - self._keep_keys
        return await self.parts.look(
            lambda dialect, merchant_id: earlier_side(
                dialect, merchant_id, self.parts.route, key, likeness(instruction), since
            )
        )

    async def _adjust_at(self, side: Side, instruction: Instruction, *, follow: bool) -> Receipt | Partial:
        upstream = self.parts.upstream(side)
        if upstream is not None and follow:
            return await upstream.adjust(instruction, follow=True)
        if upstream is not None:
            return await self._adjust_alone(upstream, instruction)
        receipt = await self.parts.ledger.adjust(instruction)
        if receipt.wallets:
            self._follower.note([wallet.id for wallet in receipt.wallets])
        else:
            self._follower.note_everyone()
        return receipt

    async def _adjust_alone(self, upstream: UpstreamBackend, instruction: Instruction) -> Partial:
        """Has one side do what the other one is not to hear of.

        Whether that is so still is seen in the transaction that writes the intent down: whoever is taken over
        behind that has it in their balance, and before it, it has to follow.

        Raises:
            _Outdated: it has to follow.
        """
        parts, customers, is_outdated = self.parts, instruction.adjustment.customers, False

        def still(dialect: Dialect, merchant_id: int) -> Work[bool]:
            nonlocal is_outdated
            move = yield from held_move(dialect, merchant_id, parts.merchant.name, parts.vendor)
            is_outdated = isinstance(customers, Everyone) and move.stage.follows
            for reference in () if isinstance(customers, Everyone) else customers:
                number = yield from wallet_id_of(dialect, merchant_id, reference)
                is_outdated = is_outdated or move.stage_of(number).follows
            return not is_outdated

        try:
            return await upstream.adjust(instruction, still=still)
        except Problem as problem:
            if is_outdated:
                raise _Outdated from problem
            raise

    async def _caught_up(self, wanted: Side, customers: Sequence[tuple[CustomerReference, int, Stage]]) -> Side:
        """The side that is to lead once it knows all that the other one did; the other one where that cannot be.

        Raises:
            Problem: RECORD_BUSY where neither knows all.
        """
        deadline = time.monotonic() + self._patience_seconds
        numbers = []
        for reference, number, stage in customers:
            met = number
            if not number and stage is Stage.LEAD:
                try:
                    met = await self._met(reference)
                except Problem:
                    return wanted.other
            if met:
                numbers.append((met, stage))
        while True:
            behind = [
                stand
                for number, stage in numbers
                if _is_behind(stand := await self.parts.standing(number), wanted, stage)
            ]
            if not behind:
                return wanted
            if any(stand.beyond[wanted.other].stuck for stand in behind) or time.monotonic() > deadline:
                if any(stand.beyond[wanted] != Backlog() for stand in behind):
                    raise Problem(Code.RECORD_BUSY)
                return wanted.other
            self._follower.note([stand.wallet_id for stand in behind])
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _met(self, reference: CustomerReference) -> int:
        """The number of a customer whom the old side knows and the ledger had not met; 0 for nobody's name."""
        try:
            await self.parts.old.customer(self.parts.merchant, CustomerQuery(references=(reference,)))
        except Problem as problem:
            if problem.code is Code.UNKNOWN_CUSTOMER:
                return 0
            raise
        return await self.parts.number(reference)

    # Reading

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer | Partial:
        """See ``Ledger.customer``."""
        number = 0
        for reference in query.references:
            number = number or await self.parts.number(reference)
        side, stage = await self._reading(number)
        backend: Any = self._backend(side)
        if stage is Stage.SHADOW and side is Side.OLD:
            asked: Awaitable[Customer | Partial] = self.parts.old.customer(merchant, query)
            return await self._compared(number, "customer", asked, lambda: self._looked_up(query))
        return await backend.customer(merchant, query)  # type: ignore[no-any-return]

    async def history(self, merchant: Merchant, query: HistoryQuery) -> History | Partial:
        """See ``Ledger.history``."""
        if isinstance(query.customer, Everyone):
            side = _side((await self._move()).common)
        else:
            side, _ = await self._reading(await self.parts.number(query.customer))
        return await self._backend(side).history(merchant, query)  # type: ignore[no-any-return]

    async def customers(self, merchant: Merchant, query: CustomersQuery) -> Customers | Partial:
        """See ``Ledger.customers``; a list is of the side that leads for everybody."""
        side = _side((await self._move()).common)
        return await self._backend(side).customers(merchant, query)  # type: ignore[no-any-return]

    async def enrol(
        self, merchant: Merchant, enrolment: Enrolment, *, vendor: str, idempotency: Idempotency | None
    ) -> Enrolled:
        """See ``Ledger.enrol``."""
        side = _side((await self._move()).common)
        return await self._backend(side).enrol(  # type: ignore[no-any-return]
            merchant, enrolment, vendor=vendor, idempotency=idempotency
        )

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer:
        """See ``Ledger.update``."""
        side, _ = await self._reading(await self.parts.number(update.customer))
        return await self._backend(side).update(merchant, update)  # type: ignore[no-any-return]

    def _backend(self, side: Side) -> Any:
        return self.parts.upstream(side) or self.parts.ledger

    async def _reading(self, number: int) -> tuple[Side, Stage]:
        """The side that knows all that was done for a customer, and their stage."""
        stage = (await self._move()).stage_of(number)
        wanted = _side(stage)
        if number and _is_behind(await self.parts.standing(number), wanted, stage):
            return wanted.other, stage
        return wanted, stage

    # Comparing

    async def _compared(
        self, number: int, kind: str, asked: Awaitable[R], predict: Callable[[], Awaitable[Told]]
    ) -> R:
        """What the old side answers; what the new one would have said is held against it behind."""
        try:
            result = await asked
        except Problem as problem:
            self._compare(number, kind, Told(code=problem.code.value), predict)
            raise
        if not getattr(result, "replayed", False):
            self._compare(number, kind, told_of(result), predict)
        return result

    def _compare(self, number: int, kind: str, old: Told, predict: Callable[[], Awaitable[Told]]) -> None:
        if len(self._comparing) >= _MOST_COMPARED:
            self._metrics.compared(self.parts.vendor, kind, "skipped")
            return
        task = asyncio.create_task(self._hold_against(number, kind, old, predict))
        self._comparing.add(task)
        task.add_done_callback(self._comparing.discard)

    async def _hold_against(
        self, number: int, kind: str, old: Told, predict: Callable[[], Awaitable[Told]]
    ) -> None:
        parts = self.parts
        try:
            found = differences(old, await predict())
            await parts.change(
                lambda _, merchant_id, now: keep_comparison(merchant_id, parts.vendor, number, kind, found, now)
            )
        except Exception as error:  # noqa: BLE001 - what the new side cannot tell is no matter of the client's
            _log.warning("%s: nothing to compare with: %r", parts.vendor, error)
            self._metrics.compared(parts.vendor, kind, "skipped")
            return
        money = any(one["type"] == "money" for one in found)
        self._metrics.compared(parts.vendor, kind, "money" if money else "fields" if found else "same")

    async def _predicted(self, instruction: Instruction) -> Told:
        """What the new side would answer, without asking it to do anything."""
        adjustment = instruction.adjustment
        assert isinstance(adjustment.customers, tuple)
        reference: CustomerReference = adjustment.customers[0]
        try:
            if self.parts.new is None:
                return await self._decided(instruction, reference)
            return await self._reckoned(adjustment, reference)
        except Problem as problem:
            if problem.code is Code.UNAVAILABLE:
                raise
            return Told(code=problem.code.value)

    async def _decided(self, instruction: Instruction, reference: CustomerReference) -> Told:
        merchant = instruction.merchant
        customer = await self.parts.ledger.customer(merchant, CustomerQuery(references=(reference,)))
        wallet, entry = engine.decide(
            customer.wallet,
            instruction.adjustment,
            vendor=instruction.vendor,
            tiers=merchant.tiers,
            entry_id=0,
            now=time.time_ns() // 1_000,
            idempotency_key=None if instruction.idempotency is None else instruction.idempotency.key,
        )
        return told_of(
            Receipt(merchant_id=0, count=1, entries=(entry,), wallets=(wallet,), customers=(reference,))
        )

    async def _reckoned(self, adjustment: Adjustment, reference: CustomerReference) -> Told:
        upstream = self.parts.new
        assert upstream is not None
        # To look somebody up there may make the ledger remember them; nothing changes at the upstream.
        target = await upstream.targets.find(self.parts.merchant, reference)
        available = await upstream.reading.balance(target)
        delta = engine.effective_delta(available, adjustment)
        return summary(adjustment, delta, available + delta)

    async def _looked_up(self, query: CustomerQuery) -> Told:
        try:
            return told_of(await self._backend(Side.NEW).customer(self.parts.merchant, query))
        except Problem as problem:
            if problem.code is Code.UNAVAILABLE:
                raise
            return Told(code=problem.code.value)


def _side(stage: Stage) -> Side:
    return Side.NEW if stage.is_led_by_new else Side.OLD


def _is_behind(stand: Standing, wanted: Side, stage: Stage) -> bool:
    """Whether the side does not know yet all that the other one did for a customer."""
    if wanted is Side.NEW and stand.version is None and stage is Stage.LEAD:
        return True
    return stand.beyond[wanted.other] != Backlog()
