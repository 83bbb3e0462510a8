"""Sets a customer's balance at the new side to that of the old one, at a moment at which nothing is under way."""

import asyncio
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from loyalty_gateway.adjustment import Adjustment, Idempotency, Instruction, Lifetime
from loyalty_gateway.ledger.following import (
    TAKEN_OVER,
    Side,
    Standing,
    follower_outcome,
    park_pending,
    seen,
    take_over,
    taken_over,
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
    route, key = parts.route, new_mark()
    before = await parts.look(lambda dialect, merchant_id: seen(dialect, merchant_id, wallet_id))
    if before.unsettled:
        raise Busy
    old = await parts.balance(Side.OLD, wallet_id)
    new = None if parts.new is None else await parts.balance(Side.NEW, wallet_id) or 0
    delta = await parts.change(
        lambda dialect, merchant_id, now: take_over(
            dialect,
            parts.merchant,
            merchant_id,
            route,
            wallet_id,
            before,
            old,
            new,
            batch,
            key,
            follows=follows,
            now=now,
        )
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
    adjustment = Adjustment(
        customers=(own_reference(stand.wallet_id),),
        points_delta=stand.pending,
        lifetime=Lifetime.UNTOUCHED,
        reason=TAKEN_OVER,
    )
    try:
        await ask_once(parts, upstream, adjustment, key)
    except Problem as problem:
        if problem.code in PASSES:
            raise
        code = problem.code
        await parts.change(lambda _, merchant_id, now: park_pending(merchant_id, parts.route, stand, code, now))
        raise
    await parts.change(lambda _, merchant_id, __: taken_over(merchant_id, parts.vendor, stand.wallet_id, key))


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
    if await parts.look(lambda dialect, merchant_id: follower_outcome(dialect, merchant_id, key)):
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
