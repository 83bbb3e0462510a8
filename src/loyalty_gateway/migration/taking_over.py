"""Sets a customer's balance at the new side to that of the old one, at a moment at which nothing is under way."""

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from loyalty_gateway.adjustment import Adjustment, Idempotency, Instruction
from loyalty_gateway.ledger.following.outbox import was_carried_out
from loyalty_gateway.ledger.following.seen import seen
from loyalty_gateway.ledger.following.sides import Side
from loyalty_gateway.ledger.following.standing import Standing
from loyalty_gateway.ledger.following.taking_over import (
    TakeOver,
    balance_set_by,
    forget_pending,
    park_pending,
    take_over,
)
from loyalty_gateway.ledger.intents import FOLLOWER
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.migration.parts import Parts, own_reference
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.backend import UpstreamBackend
from loyalty_gateway.upstream.marks import new_mark

PASSES: Final = frozenset(
    {
        Code.RECORD_BUSY,
        Code.UNAVAILABLE,
        Code.RATE_LIMITED,
        Code.KEY_IN_FLIGHT,
        Code.UNFORESEEN,
    }
)
"""What is no answer to the request, so that the same one may fare better later."""


class Busy(Exception):  # noqa: N818 - not an error of the program
    """Something of the customer's is under way, so that nothing can be said of their balances."""


async def set_balance(parts: Parts, wallet_id: int, *, batch: str | None, follows: bool) -> int:
    """Takes a customer over; gives the points by which the new balance had to move.

    Args:
        parts: the move.
        wallet_id: the customer's number.
        batch: the import it belongs to.
        follows: whether what happens at either side follows at the other from now on.

    Raises:
        Busy: something is under way, or happened meanwhile.
        Problem: a side cannot tell, or refuses.
    """
    before = await parts.look(lambda dialect, merchant_id: seen(dialect, merchant_id, wallet_id))
    if before.unsettled:
        raise Busy
    old = await parts.balance(Side.OLD, wallet_id)
    new = None if parts.new is None else await parts.balance(Side.NEW, wallet_id) or 0
    by = TakeOver(before, old, new, batch, new_mark(), follows)
    delta = await parts.change_for(
        wallet_id, lambda dialect, customer, now: take_over(dialect, parts.merchant, customer, by, now)
    )
    if delta is None:
        raise Busy
    if delta and parts.new is not None:
        await finish(parts, await parts.standing(wallet_id))
    return delta


async def set_balance_patiently(
    parts: Parts, wallet_id: int, *, batch: str | None, follows: bool, seconds: float
) -> int:
    """The same, tried again while the customer is busy; raises Busy after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await set_balance(parts, wallet_id, batch=batch, follows=follows)
        except Busy:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def finish(parts: Parts, stand: Standing) -> None:
    """Moves the pending points at the new side, once; what is refused is parked. Raises Problem for later."""
    key, upstream = stand.pending_key, parts.new
    if key is None or upstream is None:
        return
    adjustment = balance_set_by(stand.pending, (own_reference(stand.wallet_id),))
    try:
        await ask_once(parts, upstream, adjustment, key)
    except Problem as problem:
        if problem.code in PASSES:
            raise
        code = problem.code
        await parts.change_for(stand.wallet_id, lambda _, customer, now: park_pending(customer, stand, code, now))
        raise
    await parts.change_for(stand.wallet_id, lambda _, customer, __: forget_pending(customer, key))


async def ask_once(
    parts: Parts,
    upstream: UpstreamBackend,
    adjustment: Adjustment,
    key: str,
    still: Callable[[Dialect, int], Work[bool]] | None = None,
) -> None:
    """Has an upstream carry out what follows, unless it has by this key; raises Problem.

    RECORD_BUSY also where it is not ``still`` wanted.
    """
    if await parts.look(lambda dialect, merchant_id: was_carried_out(dialect, merchant_id, key)):
        return
    fingerprint = blake2b(key.encode(), digest_size=16).digest()
    await upstream.adjust(
        Instruction(
            merchant=parts.merchant,
            vendor=FOLLOWER,
            adjustment=adjustment,
            idempotency=Idempotency(key, fingerprint),
        ),
        still=still,
    )
