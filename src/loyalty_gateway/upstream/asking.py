"""One adjustment at a vendor's server: how it is asked for, and what the answer means."""

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime, Overdraft
from loyalty_gateway.ledger.intents import Intent, Outcome
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldReceipt
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.connections import Unclear
from loyalty_gateway.upstream.loss import said_whole
from loyalty_gateway.upstream.marks import has_mark
from loyalty_gateway.upstream.phrasebook import Said
from loyalty_gateway.upstream.reading import Reading
from loyalty_gateway.upstream.targets import Target

_TRIES: Final = 3


class Asking:
    """Asks one upstream for adjustments.

    Args:
        calls: to the upstream.
        reading: what it tells of customers.
        marks: whether a short reference is put into the reason, by which an adjustment is known again.
        tells_balance: whether the client's answers tell the balance, which is read back then where nobody told it.
    """

    def __init__(self, calls: Calls, reading: Reading, *, marks: bool, tells_balance: bool) -> None:
        self._calls = calls
        self._reading = reading
        self._marks = marks
        self._tells_balance = tells_balance
        self._turns: MutableMapping[CustomerReference | int, asyncio.Lock] = WeakValueDictionary()

    # The request

    def said(self, adjustment: Adjustment, targets: Sequence[Target]) -> Said | None:
        """The adjustment as the upstream can be asked for it in one request."""
        return said_whole(self._calls.say, adjustment, [target.reference for target in targets])

    def request(self, intent: Intent, adjustment: Adjustment, targets: Sequence[Target]) -> Said | None:
        """The request for an intent, or for as much of it as the adjustment is; ``None`` where there is none."""
        said = self.said(adjustment, targets)
        return None if said is None else self.marked(intent, said)

    def marked(self, intent: Intent, said: Said) -> Said:
        """The request with what it is known by again: the vendor's own key, or a mark in the reason."""
        assert isinstance(said.meant, Adjustment)
        asked = msgspec.structs.replace(
            intent.adjustment, customers=said.meant.customers, points_delta=said.meant.points_delta
        )
        return self._calls.known_again(said, asked, intent.mark, marks=self._marks)

    def is_shown(self, intent: Intent, said: Said | None) -> bool:
        """Whether the upstream's history will tell what came of an intent that is asked for so."""
        if said is None or isinstance(intent.adjustment.customers, Everyone):
            return False
        return self._calls.vendor.history_shows(intent.adjustment) and _is_known_again(intent, said)

    # What comes of it

    async def carry_out(
        self, intent: Intent, targets: Sequence[Target], request: Said | None, is_ours: Callable[[], bool]
    ) -> Outcome:
        """What comes of an intent, by the request for it where that is known already.

        It is asked for only while it ``is_ours``.

        Raises:
            Problem: it was not carried out.
            Unclear: it may have been.
        """
        adjustment = intent.adjustment
        request = request or self.request(intent, adjustment, targets)
        if len(targets) != 1:
            if request is None:
                raise Problem(Code.UNAVAILABLE)
            await self._calls.adjust(request, is_ours)
            return Outcome(points_delta=adjustment.points_delta or 0, count=len(targets))
        target = targets[0]
        # How many points a reset takes is told by no answer, and has to be known where it is to follow elsewhere.
        is_counted = intent.follow and adjustment.points_delta is None
        if request is not None and not is_counted and not _needs_reading(adjustment, request):
            outcome = await self._asked(target, adjustment, request, is_ours)
            return await self._all_or_nothing(intent, target, outcome, is_ours)
        # What is read first must still hold when it is deducted; others than us may come between all the same.
        turn = self._turns.setdefault(target.wallet_id or target.reference, asyncio.Lock())
        async with turn:
            return await self._read_then_adjusted(intent, target, is_ours)

    async def _read_then_adjusted(self, intent: Intent, target: Target, is_ours: Callable[[], bool]) -> Outcome:
        adjustment = intent.adjustment
        wanted = adjustment.points_delta
        for _ in range(_TRIES):
            available = await self._reading.balance(target)
            refuses = wanted is not None and adjustment.overdraft is Overdraft.REFUSE
            if wanted is not None and refuses and available + wanted < 0:
                raise Problem(Code.TOO_FEW_POINTS)
            delta = -available if wanted is None else max(wanted, -available)
            if delta == 0:
                told = ToldReceipt()
                return Outcome(points_delta=0, told=_with_balance(told, available))
            effective = msgspec.structs.replace(adjustment, points_delta=delta)
            request = self.request(intent, effective, [target])
            if request is None:
                raise Problem(Code.UNAVAILABLE)
            try:
                outcome = await self._asked(target, effective, request, is_ours)
            except Problem as problem:
                if problem.code is Code.TOO_FEW_POINTS and not refuses:
                    continue
                raise
            return await self._all_or_nothing(intent, target, outcome, is_ours)
        raise Problem(Code.RECORD_BUSY)

    async def _all_or_nothing(
        self, intent: Intent, target: Target, outcome: Outcome, is_ours: Callable[[], bool]
    ) -> Outcome:
        """The outcome, unless a deduction took less than a client wanted who wants all or nothing."""
        adjustment = intent.adjustment
        wanted = adjustment.points_delta
        refuses = wanted is not None and wanted < 0 and adjustment.overdraft is Overdraft.REFUSE
        if refuses and outcome.points_delta != wanted:
            await self._give_back(intent, target, -outcome.points_delta, is_ours)
            raise Problem(Code.TOO_FEW_POINTS)
        return outcome

    async def _give_back(self, intent: Intent, target: Target, points: int, is_ours: Callable[[], bool]) -> None:
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
        said = self.said(undoing, [target])
        if said is None:
            raise Unclear("what was taken cannot be given back")
        try:
            await self._calls.adjust(said, is_ours)
        except Problem as problem:
            raise Unclear("what was taken was not given back") from problem

    async def _asked(
        self, target: Target, adjustment: Adjustment, request: Said, is_ours: Callable[[], bool]
    ) -> Outcome:
        """What comes of asking once; raises Problem, and Unclear."""
        try:
            told = await self._calls.adjust(request, is_ours)
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
                is_excluded = (await self._reading.standing(target)).excluded is True
            except Problem:
                return problem
            return Problem(Code.CUSTOMER_EXCLUDED) if is_excluded else problem
        points = adjustment.points_delta or 0
        if points < 0 and await self._reading.balance(target) + points < 0:
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
                after = await self._reading.balance(target)
            except Problem:
                return told
        return _with_balance(told, after)


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
