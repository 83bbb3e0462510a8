"""Several customers at a vendor that adjusts one at a time: one intent with a part for each of them."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from loyalty_gateway.adjustment import Adjustment, Everyone, Instruction, Merchant, Overdraft
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import Intent, Outcome, State, leave, open_part
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldWallet
from loyalty_gateway.upstream.asking import Asking
from loyalty_gateway.upstream.intents import LEASE_SECONDS, Intents, Still
from loyalty_gateway.upstream.loss import Plan
from loyalty_gateway.upstream.marks import new_mark
from loyalty_gateway.upstream.reading import Reading
from loyalty_gateway.upstream.targets import Target

_SECOND: Final = 1_000_000
_AT_ONCE: Final = 8


class Lists:
    """Adjusts several customers at one upstream, one after another.

    Args:
        intents: of the upstream.
        asking: how it is asked.
        reading: what it tells of customers.
        ledger: where the intents are.
        at_once: so many customers are adjusted before the answer; more of them behind it.
    """

    def __init__(self, intents: Intents, asking: Asking, reading: Reading, ledger: Ledger, at_once: int) -> None:
        self._intents = intents
        self._asking = asking
        self._reading = reading
        self._ledger = ledger
        self._at_once = at_once

    async def adjust(
        self, instruction: Instruction, targets: Sequence[Target], plan: Plan, *, follow: bool, still: Still | None
    ) -> tuple[Outcome, Intent, bool]:
        """One intent with a part for each customer; finished before the answer where there are few enough."""
        merchant, adjustment = instruction.merchant, instruction.adjustment
        whole = self._intents.draw_up(instruction, targets, plan, State.WAITING)
        known = await self._intents.known(whole, merchant)
        if known is not None:
            return await self._intents.outcome(known, targets, merchant, is_new=False), known, False
        at_once = len(targets) <= self._at_once
        if at_once:
            targets = await self._checked(adjustment, targets)
        # Of very many this takes a while, for which nobody else shall wait.
        parts = await asyncio.to_thread(self._parts, whole, targets, plan, follow=follow)
        (whole, *parts), is_new = await self._intents.write_down(
            [whole, *parts], merchant, is_ours=at_once, still=still
        )
        if not is_new:
            return await self._intents.outcome(whole, targets, merchant, is_new=False), whole, False
        if not at_once:
            self._intents.on_doubt()
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
            self._intents.on_doubt()
            raise Problem(Code.RECORD_BUSY, intent=whole.id)
        await self._intents.settle(whole, outcome, merchant)
        return outcome, whole, True

    async def carry_out_part(self, part: Intent, target: Target, merchant: Merchant) -> Outcome | None:
        """Carries out a part that waited; from here on it is not known to have not been sent.

        Gives ``None`` for one that is unclear, and where somebody else has begun it.
        """

        def opened(_dialect: Any, _merchant_id: int, now: int) -> Any:
            owner, due_at = self._intents.owner, now + LEASE_SECONDS * _SECOND
            return open_part(part.id, owner=owner, now=now, due_at=due_at)

        asked_at = time.monotonic()
        if not await self._ledger.change(merchant, opened, is_small=True):
            return None
        self._intents.hold([part.id], asked_at)
        return await self._intents.start(part, [target], merchant)

    def _parts(self, whole: Intent, targets: Sequence[Target], plan: Plan, *, follow: bool) -> list[Intent]:
        """An intent for each customer; what one of them is known by again, all are."""
        parts = [
            msgspec.structs.replace(
                whole,
                mark=new_mark(),
                wallet_id=target.wallet_id,
                adjustment=msgspec.structs.replace(
                    whole.adjustment, customers=(target.reference,), idempotency_key=None
                ),
                idempotency=None,
                follow=follow,
            )
            for target in targets
        ]
        if not parts or plan.said is None:
            return parts
        known_again = self._asking.is_shown(parts[0], self._asking.marked(parts[0], plan.said))
        return [msgspec.structs.replace(part, known_again=known_again) for part in parts]

    async def _checked(self, adjustment: Adjustment, targets: Sequence[Target]) -> Sequence[Target]:
        """Those who are adjusted; raises Problem where one of them could not be, so that nobody is.

        Of everyone, those excluded are passed over.
        """
        turns = asyncio.Semaphore(_AT_ONCE)

        async def standing(target: Target) -> ToldWallet:
            async with turns:
                return await self._reading.standing(target)

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
