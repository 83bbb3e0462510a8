"""A ``Backend`` of two: the customer's stage decides who carries a task out, and the other side hears of it.

Whoever leads, what one side has done and the other has not goes on following, so that a request that began before
a stage was changed ends where it began and is lost at neither side. Before the side that leads from now on takes a
customer's adjustment, what the other one did for them has come there; where that cannot be, the other one, which
knows all, takes it once more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from loyalty_gateway.adjustment import (
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
from loyalty_gateway.ledger.following.earlier import earlier_side
from loyalty_gateway.ledger.following.sides import Side
from loyalty_gateway.ledger.following.standing import Backlog, Standing, wallet_id_of
from loyalty_gateway.ledger.moving import Move, Stage, held_move
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.migration.follower import Follower
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.migration.shadow import Shadow
from loyalty_gateway.migration.stages import Stages
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.intents import Still, likeness
from loyalty_gateway.upstream.partial import Partial

R = TypeVar("R")

_SECOND: Final = 1_000_000
_LOOK_AGAIN_SECONDS: Final = 0.02


class _Outdated(Exception):  # noqa: N818 - not an error of the program
    """Something that counts is not as it was when it was decided at which side a request is carried out."""


class _Decided(NamedTuple):
    """Which side is to carry out a request, and by what that was decided.

    ``stages`` are those of its customers, none where it is for everyone; ``earlier`` is where the same request was
    carried out before, or is being.
    """

    side: Side
    move: Move
    stages: tuple[Stage, ...]
    earlier: Side | None

    @property
    def follow(self) -> bool:
        """Whether the other side is to hear of it."""
        return any(stage.follows for stage in self.stages or (self.move.stage,))


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
        self._shadow = Shadow(parts, metrics)
        self._keep_keys = round(keep_keys_seconds * _SECOND)
        self._patience_seconds = patience_seconds
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
        await self._shadow.close()
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
            return await self._adjust_at(_Decided(earlier or _side(move.common), move, (), earlier), instruction)
        numbers = [await self.parts.number(reference) for reference in dict.fromkeys(customers)]
        stages = tuple(move.stage_of(number) for number in numbers)
        if earlier is not None:
            return await self._adjust_at(_Decided(earlier, move, stages, earlier), instruction)
        wanted = Side.NEW if all(stage.is_led_by_new for stage in stages) else Side.OLD
        side = await self._caught_up(wanted, list(zip(dict.fromkeys(customers), numbers, stages, strict=True)))
        asked = self._adjust_at(_Decided(side, move, stages, earlier), instruction)
        if stages == (Stage.SHADOW,) and side is Side.OLD:
            return await self._shadow.adjusted(numbers[0], asked, instruction)
        return await asked

    async def _earlier(self, instruction: Instruction) -> Side | None:
        return await self.parts.look(
            lambda dialect, merchant_id: self._seen_earlier(dialect, merchant_id, instruction)
        )

    def _seen_earlier(self, dialect: Dialect, merchant_id: int, instruction: Instruction) -> Work[Side | None]:
        key = None if instruction.idempotency is None else instruction.idempotency.key
        since = time.time_ns() // 1_000 - self._keep_keys
        return earlier_side(dialect, merchant_id, self.parts.route, key, likeness(instruction), since)

    async def _adjust_at(self, decided: _Decided, instruction: Instruction) -> Receipt | Partial:
        """Has the side that was decided on do it, if that would be decided so still.

        That is seen in the transaction that writes it down: another gateway may go by another stage, or be asked
        for the same, and what is written down behind that one has to be decided by what that one wrote.

        Raises:
            _Outdated: it has to be decided anew.
        """
        is_outdated = False

        def still(dialect: Dialect, merchant_id: int) -> Work[bool]:
            nonlocal is_outdated
            is_outdated = not (yield from self._is_decided_so(dialect, merchant_id, decided, instruction))
            return not is_outdated

        try:
            return await self._carried_out(decided, instruction, still)
        except Problem as problem:
            if is_outdated:
                raise _Outdated from problem
            raise

    async def _carried_out(self, decided: _Decided, instruction: Instruction, still: Still) -> Receipt | Partial:
        upstream = self.parts.upstream(decided.side)
        if upstream is not None:
            return await upstream.adjust(instruction, follow=decided.follow, still=still)
        receipt = await self.parts.ledger.adjust(instruction, still=still)
        if receipt.wallets:
            self._follower.note([wallet.id for wallet in receipt.wallets])
        else:
            self._follower.note_everyone()
        return receipt

    def _is_decided_so(
        self, dialect: Dialect, merchant_id: int, decided: _Decided, instruction: Instruction
    ) -> Work[bool]:
        """Whether the move is where it was, and the same request came nowhere else meanwhile."""
        parts, customers = self.parts, instruction.adjustment.customers
        move = yield from held_move(dialect, merchant_id, parts.merchant.name, parts.vendor)
        if move != decided.move:
            return False
        if not isinstance(customers, Everyone) and not move.is_whole:
            # Somebody may have been met since, and by their number be among those who go first.
            for reference, stage in zip(dict.fromkeys(customers), decided.stages, strict=True):
                number = yield from wallet_id_of(dialect, merchant_id, reference)
                if move.stage_of(number) is not stage:
                    return False
        earlier = yield from self._seen_earlier(dialect, merchant_id, instruction)
        return earlier == decided.earlier or (decided.earlier is None and earlier is decided.side)

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
        if stage is Stage.SHADOW and side is Side.OLD:
            asked: Awaitable[Customer | Partial] = self.parts.old.customer(merchant, query)
            return await self._shadow.looked_up(number, asked, query)
        return await self._told(side, stage, lambda backend: backend.customer(merchant, query))

    async def history(self, merchant: Merchant, query: HistoryQuery) -> History | Partial:
        """See ``Ledger.history``."""
        if isinstance(query.customer, Everyone):
            stage = (await self._move()).common
            side = _side(stage)
        else:
            side, stage = await self._reading(await self.parts.number(query.customer))
        return await self._told(side, stage, lambda backend: backend.history(merchant, query))

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

    async def _told(self, side: Side, stage: Stage, ask: Callable[[Any], Awaitable[R]]) -> R:
        """What a side tells of a customer; whom it does not know is asked for at the side that leads."""
        try:
            return await ask(self._backend(side))
        except Problem as problem:
            if problem.code is not Code.UNKNOWN_CUSTOMER or side is _side(stage):
                raise
        return await ask(self._backend(_side(stage)))

    def _backend(self, side: Side) -> Any:
        return self.parts.upstream(side) or self.parts.ledger

    async def _reading(self, number: int) -> tuple[Side, Stage]:
        """The side that knows all that was done for a customer, and their stage."""
        stage = (await self._move()).stage_of(number)
        wanted = _side(stage)
        if number and _is_behind(await self.parts.standing(number), wanted, stage):
            return wanted.other, stage
        return wanted, stage


def _side(stage: Stage) -> Side:
    return Side.NEW if stage.is_led_by_new else Side.OLD


def _is_behind(stand: Standing, wanted: Side, stage: Stage) -> bool:
    """Whether the side does not know yet all that the other one did for a customer."""
    if wanted is Side.NEW and stand.version is None and stage is Stage.LEAD:
        return True
    return stand.beyond[wanted.other] != Backlog()
