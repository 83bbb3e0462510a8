"""Holds every customer at both sides of a move against each other."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from loyalty_gateway.ledger.following.parked import parked_for
from loyalty_gateway.ledger.following.sides import Side
from loyalty_gateway.ledger.following.under_way import moment, uncertain_points
from loyalty_gateway.ledger.moving import Move
from loyalty_gateway.migration.importing import everyone_here, listed, patiently
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.problem import Problem

_LOOKS: Final = 4
_BETWEEN_SECONDS: Final = 0.3
_AT_ONCE: Final = 4
_MOST_SUMS: Final = 10_000


class Held(NamedTuple):
    """One customer: equal, explained, different or unread; a balance is ``None`` where nobody tells it."""

    whom: str
    kind: str
    old: int | None
    new: int | None
    why: str = ""


async def reconcile(parts: Parts, move: Move) -> AsyncIterator[Held]:
    """What is found of each customer; a difference is looked at again before it is one.

    Whom the new side has alone where it leads is explained by that: the old side has nothing of theirs.
    """
    numbers: list[int] = []
    async for wallet_id in everyone_here(parts):
        if not move.stage_of(wallet_id).is_compared:
            continue
        numbers.append(wallet_id)
        if len(numbers) == _AT_ONCE:
            for held in await asyncio.gather(*(_held(parts, move, number) for number in numbers)):
                yield held
            numbers = []
    for held in await asyncio.gather(*(_held(parts, move, number) for number in numbers)):
        yield held
    try:
        async for one in listed(parts):
            whom = " ".join(map(str, one.references))
            if one.wallet_id is None:
                yield Held(whom, "different", one.available, None, "its references belong to two customers here")
            elif not one.wallet_id and one.available:
                yield Held(whom, "different", one.available, None, "nobody here")
    except Problem as problem:
        yield Held("the old side's list", "unread", None, None, problem.code.value)


async def _held(parts: Parts, move: Move, wallet_id: int) -> Held:
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(_BETWEEN_SECONDS)
        held = await _look(parts, move, wallet_id)
        # Who moves all the time may look alike at a quieter moment, which shows more than an explanation does.
        if held.kind == "equal":
            return held
    return held


async def _look(parts: Parts, move: Move, wallet_id: int) -> Held:
    whom = f"wallet_{wallet_id}"
    before = await parts.look_at(wallet_id, moment)
    try:
        old = await patiently(lambda: parts.balance(Side.OLD, wallet_id))
        new = await patiently(lambda: parts.balance(Side.NEW, wallet_id))
    except Problem as problem:
        return Held(whom, "unread", None, None, problem.code.value)
    above = (old or 0) - (new or 0)
    is_alone = old is None and move.stage_of(wallet_id).is_led_by_new
    if not above or is_alone:
        aside = await parts.look_at(wallet_id, parked_for)
        if aside:
            alike = "unknown at the old side, and" if is_alone else "equal, but"
            why = f"{alike} a follow-up is parked; retry or forget it with `migration settle`"
            return Held(whom, "different", old, new, why)
        if not above:
            return Held(whom, "equal", old, new)
        return Held(whom, "explained", old, new, "the old side does not know them")
    uncertain = await parts.look_at(
        wallet_id, lambda dialect, customer: uncertain_points(dialect, customer, before)
    )
    if _explains(above, before.waits, uncertain):
        return Held(whom, "explained", old, new, _told(before.waits, uncertain))
    return Held(whom, "different", old, new)


def _explains(above: int, waits: int, uncertain: Sequence[int]) -> bool:
    """Whether what waits to follow, with some of what may be in a balance or not, comes to the difference."""
    sums = {waits}
    for points in uncertain:
        # A reset takes an amount that nobody knows before it is settled.
        if not points:
            return True
        sums |= {one + points for one in sums}
        if len(sums) > _MOST_SUMS:
            return False
    return above in sums


def _told(waits: int, uncertain: Sequence[int]) -> str:
    parts = [f"{waits:+d} points wait to follow"] if waits else []
    if uncertain:
        parts.append(f"{len(uncertain)} adjustments are under way")
    return ", ".join(parts)
