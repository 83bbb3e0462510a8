"""Holds what the old side answers against what the new one would have said, behind the answer."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from loyalty_gateway import engine
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Receipt
from loyalty_gateway.customer import CustomerQuery
from loyalty_gateway.ledger.moving import keep_comparison
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.migration.comparing import Told, differences, summary, told_of
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.problem import Code, Problem

R = TypeVar("R")

_log = logging.getLogger(__name__)

_MOST_AT_ONCE: Final = 64


class Shadow:
    """Compares a move's sides while the old one leads; nothing changes at the new one.

    Args:
        parts: the move.
        metrics: is told of comparisons.
    """

    def __init__(self, parts: Parts, metrics: Metrics) -> None:
        self._parts = parts
        self._metrics = metrics
        self._comparing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends behind the comparisons under way."""
        if self._comparing:
            await asyncio.wait(self._comparing)

    async def adjusted(self, number: int, asked: Awaitable[R], instruction: Instruction) -> R:
        """What the old side answers to an adjustment of one customer; raises Problem."""
        return await self._compared(number, "adjustment", asked, lambda: self._predicted(instruction))

    async def looked_up(self, number: int, asked: Awaitable[R], query: CustomerQuery) -> R:
        """What the old side tells of a customer; raises Problem."""
        return await self._compared(number, "customer", asked, lambda: self._found(query))

    async def _compared(
        self, number: int, kind: str, asked: Awaitable[R], predict: Callable[[], Awaitable[Told]]
    ) -> R:
        try:
            result = await asked
        except Problem as problem:
            self._compare(number, kind, Told(code=problem.code.value), predict)
            raise
        if not getattr(result, "replayed", False):
            self._compare(number, kind, told_of(result), predict)
        return result

    def _compare(self, number: int, kind: str, old: Told, predict: Callable[[], Awaitable[Told]]) -> None:
        if len(self._comparing) >= _MOST_AT_ONCE:
            self._metrics.compared(self._parts.vendor, kind, "skipped")
            return
        task = asyncio.create_task(self._hold_against(number, kind, old, predict))
        self._comparing.add(task)
        task.add_done_callback(self._comparing.discard)

    async def _hold_against(
        self, number: int, kind: str, old: Told, predict: Callable[[], Awaitable[Told]]
    ) -> None:
        parts = self._parts
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

    # What the new side would have said

    async def _predicted(self, instruction: Instruction) -> Told:
        """What it would answer, without asking it to do anything; raises Problem UNAVAILABLE."""
        adjustment = instruction.adjustment
        assert isinstance(adjustment.customers, tuple)
        reference: CustomerReference = adjustment.customers[0]
        try:
            if self._parts.new is None:
                return await self._decided(instruction, reference)
            return await self._reckoned(adjustment, reference)
        except Problem as problem:
            return _refused(problem)

    async def _decided(self, instruction: Instruction, reference: CustomerReference) -> Told:
        merchant = instruction.merchant
        customer = await self._parts.ledger.customer(merchant, CustomerQuery(references=(reference,)))
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
        upstream = self._parts.new
        assert upstream is not None
        # To look somebody up there may make the ledger remember them; nothing changes at the upstream.
        target = await upstream.targets.find(self._parts.merchant, reference)
        available = await upstream.reading.balance(target)
        delta = engine.effective_delta(available, adjustment)
        return summary(adjustment, delta, available + delta)

    async def _found(self, query: CustomerQuery) -> Told:
        side = self._parts.new or self._parts.ledger
        try:
            return told_of(await side.customer(self._parts.merchant, query))
        except Problem as problem:
            return _refused(problem)


def _refused(problem: Problem) -> Told:
    """The refusal that it would have been; raises the problem where the side is away."""
    if problem.code is Code.UNAVAILABLE:
        raise problem
    return Told(code=problem.code.value)
