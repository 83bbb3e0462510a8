"""A vendor's server as the place where adjustments are carried out: written down first, asked for once.

Every adjustment is an intent in the ledger before the upstream hears of it. What came of it is settled there too,
so that a retry gets the outcome of the first try. Where that is not known, nothing is asked for again: the
upstream's history tells, or a person does (``settling.py``).
"""

import asyncio
import logging
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final
from uuid import uuid4
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Everyone,
    Idempotency,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Receipt,
)
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import (
    Intent,
    Outcome,
    State,
    begin,
    find,
    known_before,
    leave,
    open_part,
    settle,
)
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.told import ToldReceipt, ToldWallet
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.connections import Unclear
from loyalty_gateway.upstream.loss import Plan, Policy, lost, planned, refused, said_whole
from loyalty_gateway.upstream.marks import has_mark, new_mark
from loyalty_gateway.upstream.partial import Carried, Local, Partial, receipt
from loyalty_gateway.upstream.phrasebook import Said
from loyalty_gateway.upstream.reading import Reading
from loyalty_gateway.upstream.registering import Registering
from loyalty_gateway.upstream.server import Server
from loyalty_gateway.upstream.targets import Target, Targets

_log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000
LEASE_SECONDS: Final = 120
"""How long nobody else takes up what a gateway is at, unless it says that it still is."""
_LOOK_AGAIN_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 60
_PASSES: Final = {Code.UNAVAILABLE, Code.RATE_LIMITED, Code.RECORD_BUSY}
"""Why a part of a list was not carried out yet; the rest is about the customer or the amount, and stays so."""
_TRIES: Final = 3
_AT_ONCE: Final = 8


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decides of an upstream.

    ``loss`` is what is done with a request of which something would be lost. ``marks`` puts a short reference
    into the reason, by which an adjustment is known again in the upstream's history. ``list_at_once`` customers of
    one request are adjusted before it is answered. So many ``patience_seconds`` a request waits for what came of
    one that is unclear; ``settle_seconds`` behind it, what the history does not show was not carried out.
    """

    loss: Policy = "record"
    marks: bool = True
    list_at_once: int = 50
    patience_seconds: float = 5.0
    settle_seconds: float = 90.0
    keep_keys_seconds: float = 86_400


class UpstreamBackend:
    """A ``Backend`` that carries adjustments out at a vendor's server.

    Args:
        name: of this upstream, by which its intents are known; it stays the same from one start to the next.
        server: where it is.
        options: of the upstream's vendor.
        ledger: where intents, and the customers' names, are kept.
        settings: what the operator decided.
        tells_balance: whether the client's answers tell the balance, which is read back then where nobody told it.
        on_loss: is told the fields of which something was lost.
    """

    def __init__(  # noqa: PLR0913 - the parts of an upstream
        self,
        name: str,
        server: Server,
        options: msgspec.Struct,
        ledger: Ledger,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        *,
        tells_balance: bool = True,
        on_loss: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.calls = Calls(server, options)
        self._server = server
        self._ledger = ledger
        self._settings = settings
        self._tells_balance = tells_balance
        self._on_loss = on_loss
        self.targets = Targets(self.calls, ledger)
        self.reading = Reading(self.calls, self.targets)
        self.registering = Registering(self.calls, self.targets, self.reading)
        self.owner = uuid4().hex
        self.on_doubt: Callable[[], None] = lambda: None
        self.on_settled: Callable[[Intent], None] = lambda _: None
        self._running: dict[int, asyncio.Task[Outcome | None]] = {}
        self._turns: MutableMapping[CustomerReference, asyncio.Lock] = WeakValueDictionary()
        self.customer = self.reading.customer
        self.customers = self.reading.customers
        self.history = self.reading.history
        self.update = self.registering.update

    async def close(self) -> None:
        """Lets what is under way come to its end, then closes the server's connections."""
        if self._running:
            await asyncio.wait(self._running.values())
        await self._server.close()

    async def enrol(
        self,
        merchant: Merchant,
        enrolment: Enrolment,
        *,
        vendor: str,  # noqa: ARG002 - keys are a vendor's
        idempotency: Idempotency | None,
    ) -> Partial:
        """See ``Registering.enrol``; a key is refused, since nobody there would know it again."""
        if idempotency is not None:
            raise Problem(Code.UNAVAILABLE)
        return await self.registering.enrol(merchant, enrolment)

    async def adjust(
        self,
        instruction: Instruction,
        *,
        follow: bool = False,
        still: Callable[[Any, int], Work[bool]] | None = None,
    ) -> Partial:
        """See ``Ledger.adjust``; what nobody told of the outcome is filled in twice.

        What is to ``follow`` at the other side of a move is asked for customer by customer, so that what took
        effect is known of each. Nothing is begun unless it is ``still`` wanted, as is seen in the transaction that
        writes the intent down.

        Raises:
            Problem: also RECORD_BUSY while it is not known what came of the same request before.
        """
        is_everyone = isinstance(instruction.adjustment.customers, Everyone)
        if is_everyone and not follow and self._said(instruction.adjustment, ()) is not None:
            return await self._everyone_at_once(instruction, still)
        targets = await self._targets(instruction)
        plan = planned(self.calls.say, instruction.adjustment, [target.reference for target in targets])
        gone = self._weigh_loss(instruction.adjustment, plan)
        try:
            partial = await self._adjusted(instruction, targets, plan, follow=follow, still=still)
        except Problem as problem:
            # It may yet be carried out.
            problem.lost = gone
            raise
        return partial._replace(lost=gone)

    async def _everyone_at_once(
        self, instruction: Instruction, still: Callable[[Any, int], Work[bool]] | None
    ) -> Partial:
        """All of them by the upstream's own word for it, for which nobody has to be named."""
        plan = planned(self.calls.say, instruction.adjustment, [])
        gone = self._weigh_loss(instruction.adjustment, plan)
        outcome, intent, is_new = await self._whole(instruction, [], plan, follow=False, still=still)
        if outcome.code is not None:
            raise Problem(outcome.code, lost=gone)
        whole = Receipt(merchant_id=intent.merchant_id, count=outcome.count)
        return Partial(whole, whole, replayed=not is_new, lost=gone)

    async def _adjusted(
        self,
        instruction: Instruction,
        targets: Sequence[Target],
        plan: Plan,
        *,
        follow: bool,
        still: Callable[[Any, int], Work[bool]] | None,
    ) -> Partial:
        if (plan.whole is None or follow) and len(targets) > 1:
            outcome, intent, is_new = await self._each(instruction, targets, plan, follow=follow)
        else:
            outcome, intent, is_new = await self._whole(instruction, targets, plan, follow=follow, still=still)
        if outcome.code is not None:
            raise Problem(outcome.code)
        if len(targets) != 1 or isinstance(instruction.adjustment.customers, Everyone):
            whole = Receipt(merchant_id=intent.merchant_id, count=outcome.count)
            return Partial(whole, whole, replayed=not is_new)
        return await self._receipt(instruction, intent, outcome, targets[0], replayed=not is_new)

    async def _targets(self, instruction: Instruction) -> list[Target]:
        merchant, customers = instruction.merchant, instruction.adjustment.customers
        if isinstance(customers, Everyone):
            return await self.reading.everyone(merchant)
        found = [await self.targets.find(merchant, reference) for reference in dict.fromkeys(customers)]
        return list({target.reference: target for target in found}.values())

    def _said(self, adjustment: Adjustment, targets: Sequence[Target]) -> Said | None:
        """The adjustment as the upstream can be asked for it in one request."""
        return said_whole(self.calls.say, adjustment, [target.reference for target in targets])

    def _weigh_loss(self, adjustment: Adjustment, plan: Plan) -> tuple[str, ...]:
        """The fields that are lost; raises Problem INVALID on those that the operator wants refused."""
        if plan.said is None:
            return ()
        assert isinstance(plan.said.meant, Adjustment)
        fields = tuple(lost(adjustment, plan.said.meant))
        for field in fields:
            if self._on_loss is not None:
                self._on_loss(field)
        for_its_sake = refused(self._settings.loss, fields)
        if for_its_sake:
            violations = tuple(Violation(location="body", path=(name,), keyword="not") for name in for_its_sake)
            raise Problem(Code.INVALID, violations=violations, lost=fields)
        return fields

    # Intents

    async def _whole(
        self,
        instruction: Instruction,
        targets: Sequence[Target],
        plan: Plan,
        *,
        follow: bool,
        still: Callable[[Any, int], Work[bool]] | None,
    ) -> tuple[Outcome, Intent, bool]:
        """What comes of one intent, which is the same request's before where there is one: it is not new then."""
        drawn_up = msgspec.structs.replace(self._intent(instruction, targets, plan), follow=follow)
        said = None if plan.said is None else self._marked(drawn_up, plan.said)
        # What it was sent with counts, whatever is configured when it is looked for.
        drawn_up = msgspec.structs.replace(drawn_up, known_again=self._is_shown(drawn_up, said))
        (intent, *_), is_new = await self._write_down([drawn_up], instruction.merchant, still=still)
        asking = said if is_new and plan.whole is not None else None
        outcome = await self._outcome(intent, targets, instruction.merchant, is_new=is_new, asking=asking)
        return outcome, intent, is_new

    def _intent(
        self, instruction: Instruction, targets: Sequence[Target], plan: Plan, state: State = State.OPEN
    ) -> Intent:
        adjustment = instruction.adjustment
        key = instruction.idempotency.key if instruction.idempotency is not None else None
        named: Any = tuple([target.reference for target in targets])
        is_everyone = isinstance(adjustment.customers, Everyone) and (
            len(targets) != 1 or self._is_for_everyone(plan.whole)
        )
        return Intent(
            id=0,
            merchant_id=0,
            vendor=instruction.vendor,
            upstream=self.name,
            mark=new_mark(),
            wallet_id=targets[0].wallet_id if len(targets) == 1 else None,
            adjustment=msgspec.structs.replace(
                adjustment,
                customers=adjustment.customers if is_everyone else named,
                idempotency_key=adjustment.idempotency_key if key is not None else None,
            ),
            idempotency=instruction.idempotency,
            likeness=likeness(instruction),
            state=state,
            owner=self.owner,
            due_at=0,
            created_at=0,
        )

    @staticmethod
    def _is_for_everyone(said: Said | None) -> bool:
        return (
            said is not None and isinstance(said.meant, Adjustment) and isinstance(said.meant.customers, Everyone)
        )

    async def _write_down(
        self,
        intents: Sequence[Intent],
        merchant: Merchant,
        *,
        is_ours: bool = True,
        still: Callable[[Any, int], Work[bool]] | None = None,
    ) -> tuple[list[Intent], bool]:
        """Writes intents down; those that are not ours to carry out now are taken up by whoever settles."""

        def work(dialect: Dialect, merchant_id: int, now: int) -> Work[tuple[list[Intent], bool]]:
            stamped = [
                msgspec.structs.replace(
                    intent,
                    merchant_id=merchant_id,
                    created_at=now,
                    sent_at=now if intent.state is State.OPEN else None,
                    due_at=now + LEASE_SECONDS * _SECOND if is_ours else now,
                )
                for intent in intents
            ]
            if still is not None and not (yield from still(dialect, merchant_id)):
                raise Problem(Code.RECORD_BUSY)
            keep_keys = round(self._settings.keep_keys_seconds * _SECOND)
            return (yield from begin(dialect, stamped, keep_keys=keep_keys))

        return await self._ledger.change(merchant, work, is_small=True)

    async def _outcome(
        self,
        intent: Intent,
        targets: Sequence[Target],
        merchant: Merchant,
        *,
        is_new: bool,
        asking: Said | None = None,
    ) -> Outcome:
        """What comes of an intent, ours or somebody else's; raises Problem RECORD_BUSY while that is not known."""
        if intent.outcome is not None:
            return intent.outcome
        running = self.start(intent, targets, merchant, asking) if is_new else self._running.get(intent.id)
        if running is not None and (outcome := await asyncio.shield(running)) is not None:
            return outcome
        deadline = time.monotonic() + self._settings.patience_seconds
        while time.monotonic() < deadline:
            found = await self._ledger.look(lambda dialect: find(dialect, intent.id))
            if found.outcome is not None:
                return found.outcome
            if found.state is State.PARKED:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        raise Problem(Code.RECORD_BUSY)

    def start(
        self, intent: Intent, targets: Sequence[Target], merchant: Merchant, asking: Said | None = None
    ) -> "asyncio.Task[Outcome | None]":
        """Begins to carry out an intent, which goes on whoever waits for it; gives ``None`` for an unclear one.

        ``asking`` is the request for it, mark and all, where that is known already.
        """
        task = asyncio.create_task(self._work(intent, targets, merchant, asking))
        self._running[intent.id] = task
        task.add_done_callback(lambda done: (self._running.pop(intent.id, None), done.exception()))
        return task

    @property
    def running(self) -> list[int]:
        """The numbers of the intents that this gateway is at."""
        return list(self._running)

    async def _work(
        self, intent: Intent, targets: Sequence[Target], merchant: Merchant, asking: Said | None
    ) -> Outcome | None:
        try:
            outcome = await self._carry_out(intent, targets, asking)
        except Problem as problem:
            if intent.parent is not None and problem.code in _PASSES:
                await self._put_off(intent, merchant)
                return None
            outcome = Outcome(code=problem.code)
        except Unclear as unclear:
            await self._doubt(intent, merchant, str(unclear))
            return None
        except Exception as error:  # noqa: BLE001 - told, and left to be settled
            # Nobody knows how far it came.
            _log.exception("%s: intent %s failed", self.name, intent.id)
            await self._doubt(intent, merchant, type(error).__name__)
            return None
        await self.settle(intent, outcome, merchant)
        return outcome

    async def _put_off(self, part: Intent, merchant: Merchant) -> None:
        """Has a part wait again that was not carried out for a reason that passes, the longer the older it is."""

        def waiting(_dialect: Any, _merchant_id: int, now: int) -> Any:
            seconds = min(max((now - part.created_at) // _SECOND // 4, 1), _LONGEST_WAIT_SECONDS)
            return leave(part.id, State.WAITING, due_at=now + seconds * _SECOND)

        await self._ledger.change(merchant, waiting, is_small=True)

    async def _doubt(self, intent: Intent, merchant: Merchant, why: str) -> None:
        """Leaves it to be settled; whoever asks again meanwhile is told that the record is busy."""
        state = State.UNCLEAR if intent.known_again else State.PARKED
        _log.warning("%s: what came of intent %s is not known: %s", self.name, intent.id, why)
        await self._ledger.change(
            merchant, lambda _, __, now: leave(intent.id, state, due_at=now, sent_at=now), is_small=True
        )
        self.on_doubt()

    def _is_shown(self, intent: Intent, said: Said | None) -> bool:
        """Whether the upstream's history will tell what came of an intent that is asked for so."""
        if said is None or isinstance(intent.adjustment.customers, Everyone):
            return False
        return self.calls.vendor.history_shows(intent.adjustment) and _is_known_again(intent, said)

    async def settle(self, intent: Intent, outcome: Outcome, merchant: Merchant) -> None:
        """Writes down what came of it; what cannot be written is settled later, from the upstream's history."""
        try:
            is_first = await self._ledger.change(
                merchant, lambda _, __, now: settle(intent.id, outcome, now=now), is_small=True
            )
            if not is_first and outcome.code is None:
                _log.error("%s: intent %s was carried out after it was settled", self.name, intent.id)
        except Problem as problem:
            if outcome.code is None:
                _log.exception("%s: the outcome of intent %s cannot be written", self.name, intent.id)
                return
            raise Problem(Code.UNAVAILABLE) from problem
        self.on_settled(intent)

    # Carrying out

    async def _carry_out(self, intent: Intent, targets: Sequence[Target], asking: Said | None) -> Outcome:
        adjustment = intent.adjustment
        asking = asking or self._asking(intent, adjustment, targets)
        if len(targets) != 1:
            if asking is None:
                raise Problem(Code.UNAVAILABLE)
            await self.calls.adjust(asking)
            return Outcome(points_delta=adjustment.points_delta or 0, count=len(targets))
        target = targets[0]
        # How many points a reset takes is told by no answer, and has to be known where it is to follow elsewhere.
        is_counted = intent.follow and adjustment.points_delta is None
        if asking is not None and not is_counted and not _needs_reading(adjustment, asking):
            return await self._all_or_nothing(intent, target, await self._asked(target, adjustment, asking))
        # What is read first must still hold when it is deducted; others than us may come between all the same.
        turn = self._turns.setdefault(target.reference, asyncio.Lock())
        async with turn:
            return await self._read_then_adjusted(intent, target)

    async def _read_then_adjusted(self, intent: Intent, target: Target) -> Outcome:
        adjustment = intent.adjustment
        wanted = adjustment.points_delta
        for _ in range(_TRIES):
            available = await self.reading.balance(target)
            refuses = wanted is not None and adjustment.overdraft is Overdraft.REFUSE
            if wanted is not None and refuses and available + wanted < 0:
                raise Problem(Code.TOO_FEW_POINTS)
            delta = -available if wanted is None else max(wanted, -available)
            if delta == 0:
                told = ToldReceipt()
                return Outcome(points_delta=0, told=_with_balance(told, available))
            effective = msgspec.structs.replace(adjustment, points_delta=delta)
            asking = self._asking(intent, effective, [target])
            if asking is None:
                raise Problem(Code.UNAVAILABLE)
            try:
                outcome = await self._asked(target, effective, asking)
            except Problem as problem:
                if problem.code is Code.TOO_FEW_POINTS and not refuses:
                    continue
                raise
            return await self._all_or_nothing(intent, target, outcome)
        raise Problem(Code.RECORD_BUSY)

    async def _all_or_nothing(self, intent: Intent, target: Target, outcome: Outcome) -> Outcome:
        """The outcome, unless a deduction took less than a client wanted who wants all or nothing."""
        adjustment = intent.adjustment
        wanted = adjustment.points_delta
        refuses = wanted is not None and wanted < 0 and adjustment.overdraft is Overdraft.REFUSE
        if refuses and outcome.points_delta != wanted:
            await self._give_back(intent, target, -outcome.points_delta)
            raise Problem(Code.TOO_FEW_POINTS)
        return outcome

    async def _give_back(self, intent: Intent, target: Target, points: int) -> None:
        """Undoes what a vendor that floors took where it was to refuse; raises Unclear where it cannot."""
        if points <= 0:
            return
        adjustment = intent.adjustment
        # What the deduction took from a counter is given back to it, and no other counter moves; nobody is told.
        moved_earned = adjustment.lifetime is Lifetime.NET_EARNED
        undoing = msgspec.structs.replace(
            adjustment,
            points_delta=points,
            lifetime=Lifetime.NET_EARNED if moved_earned else Lifetime.UNTOUCHED,
            notify=(),
            reason=f"{adjustment.reason or 'Adjustment'} (undone)",
        )
        said = self._said(undoing, [target])
        if said is None:
            raise Unclear("what was taken cannot be given back")
        try:
            await self.calls.adjust(said)
        except Problem as problem:
            raise Unclear("what was taken was not given back") from problem

    async def _asked(self, target: Target, adjustment: Adjustment, asking: Said) -> Outcome:
        """What comes of asking once; raises Problem, and Unclear."""
        try:
            told = await self.calls.adjust(asking)
        except Problem as problem:
            is_doubtful = problem.code is Code.TOO_FEW_POINTS and (adjustment.points_delta or 0) > 0
            if problem.code not in {Code.INVALID, Code.UNKNOWN_CUSTOMER} and not is_doubtful:
                raise
            raise await self._explained(target, adjustment, problem) from problem
        delta = told.entry.points_delta
        asked = adjustment.points_delta or 0
        if delta is UNSET or told.entry.points_before is UNSET or told.entry.points_after is UNSET:
            effective = asked if delta is UNSET else delta
        else:
            effective = told.entry.points_after - told.entry.points_before
        return Outcome(points_delta=effective, told=await self._with_read_balance(told, target))

    async def _explained(self, target: Target, adjustment: Adjustment, problem: Problem) -> Problem:
        """What a refusal means that can mean several things there.

        A request that keeps the vendor's spec and is invalid asks for too many points most likely; a customer who
        is excluded may be refused as if there was none.
        """
        if problem.code is Code.UNKNOWN_CUSTOMER:
            try:
                is_excluded = (await self.reading.standing(target)).excluded is True
            except Problem:
                return problem
            return Problem(Code.CUSTOMER_EXCLUDED) if is_excluded else problem
        points = adjustment.points_delta or 0
        if points < 0 and await self.reading.balance(target) + points < 0:
            return Problem(Code.TOO_FEW_POINTS)
        return Problem(Code.UNAVAILABLE)

    async def _with_read_balance(self, told: ToldReceipt, target: Target) -> ToldReceipt:
        after = told.entry.points_after
        if after is UNSET:
            after = told.customer.wallet.available
        if after is UNSET:
            if not self._tells_balance:
                return told
            try:
                after = await self.reading.balance(target)
            except Problem:
                return told
        return _with_balance(told, after)

    def _asking(self, intent: Intent, adjustment: Adjustment, targets: Sequence[Target]) -> Said | None:
        """The request for an intent, or for as much of it as the adjustment is; ``None`` where there is none."""
        said = self._said(adjustment, targets)
        return None if said is None else self._marked(intent, said)

    def _marked(self, intent: Intent, said: Said) -> Said:
        """The request with what it is known by again: the vendor's own key, or a mark in the reason."""
        assert isinstance(said.meant, Adjustment)
        asked = msgspec.structs.replace(
            intent.adjustment, customers=said.meant.customers, points_delta=said.meant.points_delta
        )
        return self.calls.known_again(said, asked, intent.mark, marks=self._settings.marks)

    # Several customers at a vendor that adjusts one at a time

    async def _each(
        self, instruction: Instruction, targets: Sequence[Target], plan: Plan, *, follow: bool
    ) -> tuple[Outcome, Intent, bool]:
        """One intent with a part for each customer; finished before the answer where there are few enough."""
        merchant, adjustment = instruction.merchant, instruction.adjustment
        whole = self._intent(instruction, targets, plan, State.WAITING)
        known = await self._known(whole, merchant)
        if known is not None:
            return await self._outcome(known, targets, merchant, is_new=False), known, False
        at_once = len(targets) <= self._settings.list_at_once
        if at_once:
            targets = await self._checked(adjustment, targets)
        parts = self._parts(instruction, targets, plan, follow=follow)
        (whole, *parts), is_new = await self._write_down([whole, *parts], merchant, is_ours=at_once)
        if not is_new:
            return await self._outcome(whole, targets, merchant, is_new=False), whole, False
        if not at_once:
            self.on_doubt()
            return Outcome(count=len(targets)), whole, True
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(part: Intent, target: Target) -> Outcome | None:
            async with turns:
                return await asyncio.shield(asyncio.create_task(self.carry_out_part(part, target, merchant)))

        done = await asyncio.gather(*map(one, parts, targets), return_exceptions=True)
        outcome = _summed(done, passes_over=isinstance(adjustment.customers, Everyone))
        if outcome is None:
            # Some are done and some are not: what is left goes on, and whoever asks again gets what comes of it.
            due_at = time.time_ns() // 1_000
            await self._ledger.change(
                merchant, lambda *_: leave(whole.id, State.WAITING, due_at=due_at), is_small=True
            )
            self.on_doubt()
            raise Problem(Code.RECORD_BUSY)
        await self.settle(whole, outcome, merchant)
        return outcome, whole, True

    async def carry_out_part(self, part: Intent, target: Target, merchant: Merchant) -> Outcome | None:
        """Carries out a part that waited; from here on it is not known to have not been sent.

        Gives ``None`` for one that is unclear, and where somebody else has begun it.
        """

        def opened(_dialect: Any, _merchant_id: int, now: int) -> Any:
            return open_part(part.id, now=now, due_at=now + LEASE_SECONDS * _SECOND)

        if not await self._ledger.change(merchant, opened, is_small=True):
            return None
        return await self.start(part, [target], merchant)

    def _parts(
        self, instruction: Instruction, targets: Sequence[Target], plan: Plan, *, follow: bool
    ) -> list[Intent]:
        """An intent for each customer; what one of them is known by again, all are."""
        drawn_up = [
            self._intent(_for_one(instruction, target), [target], plan, State.WAITING) for target in targets
        ]
        said = None if plan.said is None or not drawn_up else self._marked(drawn_up[0], plan.said)
        known_again = bool(drawn_up) and self._is_shown(drawn_up[0], said)
        return [
            msgspec.structs.replace(part, idempotency=None, follow=follow, known_again=known_again)
            for part in drawn_up
        ]

    async def _known(self, intent: Intent, merchant: Merchant) -> Intent | None:
        """The intent of the same request, where it came before: what it changed since says nothing of it."""
        keep_keys = round(self._settings.keep_keys_seconds * _SECOND)

        def work(_dialect: Any, merchant_id: int, now: int) -> Any:
            stamped = msgspec.structs.replace(intent, merchant_id=merchant_id, created_at=now)
            return known_before(stamped, keep_keys=keep_keys)

        found: Intent | None = await self._ledger.change(merchant, work, is_small=True)
        return found

    async def _checked(self, adjustment: Adjustment, targets: Sequence[Target]) -> Sequence[Target]:
        """Those who are adjusted; raises Problem where one of them could not be, so that nobody is.

        Of everyone, those excluded are passed over.
        """
        turns = asyncio.Semaphore(_AT_ONCE)

        async def standing(target: Target) -> ToldWallet:
            async with turns:
                return await self.reading.standing(target)

        wallets = await asyncio.gather(*map(standing, targets))
        taking_part = [
            (target, one) for target, one in zip(targets, wallets, strict=True) if one.excluded is not True
        ]
        if len(taking_part) < len(targets) and not isinstance(adjustment.customers, Everyone):
            raise Problem(Code.CUSTOMER_EXCLUDED)
        points = adjustment.points_delta
        if points is not None and points < 0 and adjustment.overdraft is Overdraft.REFUSE:
            balances = [wallet.available for _, wallet in taking_part]
            if not all(isinstance(balance, int) for balance in balances):
                raise Problem(Code.UNAVAILABLE)
            if any(balance + points < 0 for balance in balances if isinstance(balance, int)):
                raise Problem(Code.TOO_FEW_POINTS)
        return [target for target, _ in taking_part]

    async def _receipt(
        self, instruction: Instruction, intent: Intent, outcome: Outcome, target: Target, *, replayed: bool
    ) -> Partial:
        adjustment = instruction.adjustment
        with suppress(Problem):
            # Points have moved; that their owner cannot be written down now is no reason to say otherwise.
            target = await self.targets.remember(instruction.merchant, target)
        after = outcome.told.entry.points_after
        assert not isinstance(adjustment.customers, Everyone)
        carried = Carried(
            number=intent.id,
            vendor=intent.vendor,
            points_asked=adjustment.points_delta,
            points_delta=outcome.points_delta,
            points_after=None if after is UNSET else after,
            reason=adjustment.reason,
            metadata=adjustment.metadata,
            idempotency_key=None if instruction.idempotency is None else instruction.idempotency.key,
            occurred_at=intent.created_at,
            customer=_named(adjustment, target, outcome),
        )
        local = Local(intent.merchant_id, target.wallet_id, target.references)
        return receipt(outcome.told, carried, local)._replace(replayed=replayed)


def likeness(instruction: Instruction) -> bytes:
    """The digest by which a request without a key is known again."""
    told = msgspec.json.encode([instruction.vendor, instruction.adjustment], order="deterministic")
    return blake2b(told, digest_size=16).digest()


def _needs_reading(adjustment: Adjustment, said: Said) -> bool:
    assert isinstance(said.meant, Adjustment)
    points = adjustment.points_delta
    return points is not None and points < 0 and adjustment.overdraft is not said.meant.overdraft


def _is_known_again(intent: Intent, said: Said) -> bool:
    assert isinstance(said.meant, Adjustment)
    return said.operation.idempotency_field is not None or has_mark(said.meant.reason, intent.mark)


def _with_balance(told: ToldReceipt, available: int) -> ToldReceipt:
    entry = msgspec.structs.replace(told.entry, points_after=available)
    return msgspec.structs.replace(told, entry=entry)


def _for_one(instruction: Instruction, target: Target) -> Instruction:
    adjustment = msgspec.structs.replace(instruction.adjustment, customers=(target.reference,))
    return msgspec.structs.replace(instruction, adjustment=adjustment)


def _summed(done: Sequence[Outcome | BaseException | None], *, passes_over: bool) -> Outcome | None:
    """What comes of all parts together; ``None`` where that is not the same for all who are not passed over."""
    outcomes = [one for one in done if isinstance(one, Outcome)]
    if len(outcomes) < len(done):
        return None
    counted = [one for one in outcomes if not (passes_over and one.code is Code.CUSTOMER_EXCLUDED)]
    codes = {one.code for one in counted} or {None}
    if len(codes) > 1:
        return None
    return Outcome(code=codes.pop(), count=len(counted))


def _named(adjustment: Adjustment, target: Target, outcome: Outcome) -> CustomerReference:
    assert not isinstance(adjustment.customers, Everyone)
    addressed = adjustment.customers[0]
    wanted = adjustment.named_by
    if wanted is None or addressed.namespace == wanted:
        return addressed
    known = (*target.references, *outcome.told.customer.references)
    return next((one for one in sorted(known, key=str) if one.namespace == wanted), addressed)
