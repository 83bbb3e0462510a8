"""``ledger intents`` and ``settle``: what is to be carried out at upstreams, told and settled by a person."""

import csv
import time
from collections.abc import Container
from functools import partial
from typing import TextIO

from loyalty_gateway.adjustment import Everyone, Merchant
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import Intent, Outcome, State, find, leave, parts, settle, unsettled
from loyalty_gateway.ledger.statements import Dialect, Statement, Work, only
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import Code, ConfigurationError

_AT_ONCE = 1_000
_FOR_A_PERSON = {State.PARKED, State.UNCLEAR}
_LEFT = {*_FOR_A_PERSON, State.OPEN, State.WAITING}
"""Of an upstream that no gateway calls, once the time is over for which somebody had taken it up."""


async def tell_intents(ledger: Ledger, *, number: int | None, upstreams: Container[str], out: TextIO) -> None:
    """Writes a line for each intent that is not settled; of the one with the number its parts, as CSV.

    Those at an upstream that is not among the configured ``upstreams`` are marked: nobody looks after them.
    """
    if number is not None:
        await _tell_parts(ledger, number, out)
        return
    after = 0
    while page := await ledger.look(partial(unsettled, after=after, at_most=_AT_ONCE)):
        for intent in page:
            print(_line(intent, is_orphan=intent.upstream not in upstreams), file=out)
        after = page[-1].id


async def _tell_parts(ledger: Ledger, number: int, out: TextIO) -> None:
    """What came of each customer of an intent for several of them."""
    writer = csv.writer(out)
    writer.writerow(["intent", "customer", "state", "points", "reason"])
    for part in await ledger.look(partial(parts, intent_id=number)):
        code = "" if part.outcome is None or part.outcome.code is None else part.outcome.code.value
        points = "" if part.outcome is None else part.outcome.points_delta
        writer.writerow([part.id, _whom(part), part.state.value, points, code])


def _line(intent: Intent, *, is_orphan: bool) -> str:
    adjustment, whom = intent.adjustment, _whom(intent)
    points = "reset to 0" if adjustment.points_delta is None else f"{adjustment.points_delta:+d} points"
    asked = "not asked for yet" if intent.sent_at is None else f"asked for {iso_milliseconds(intent.sent_at)}"
    where = f"{intent.upstream} (not configured)" if is_orphan else intent.upstream
    return f"intent {intent.id}: {intent.state}, {points} for {whom}, {where}, {asked}, mark {intent.mark}"


def _whom(intent: Intent) -> str:
    customers = intent.adjustment.customers
    if isinstance(customers, Everyone):
        return "everyone"
    return str(customers[0]) if len(customers) == 1 else f"{len(customers)} customers"


async def settle_by_hand(  # noqa: PLR0913 - which, as what, and where
    ledger: Ledger, *, number: int, done: bool, points: int | None, upstreams: Container[str], out: TextIO
) -> None:
    """Writes down what a person found out: that an intent was carried out, with so many points, or was not.

    Where no gateway looks after it, since its upstream is not among the configured ``upstreams``, that may be one
    that was never taken up again.

    Raises:
        ConfigurationError: there is no such intent, or it is not for a person to settle.
    """
    intent = await ledger.look(partial(find, intent_id=number))
    if intent is None:
        raise ConfigurationError(f"intent {number}", "there is none; see `ledger intents`")
    await _check(ledger, intent, done=done, points=points, is_orphan=intent.upstream not in upstreams)
    delta = intent.adjustment.points_delta if points is None else points
    outcome = Outcome(points_delta=delta or 0) if done else Outcome(code=Code.UNAVAILABLE)

    def work(_dialect: Dialect, _merchant_id: int, now: int) -> Work[bool]:
        if intent.parent is not None:
            # The whole that it is a part of is summed up anew.
            yield from leave(intent.parent, State.WAITING, due_at=now)
        return (yield from settle(number, outcome, now=now))

    merchant = Merchant(name=await ledger.look(partial(_merchant_name, merchant_id=intent.merchant_id)))
    if not await ledger.change(merchant, work):
        raise ConfigurationError(f"intent {number}", "was settled by somebody else meanwhile")
    print(f"intent {number}: {'done' if done else 'refused'}", file=out)


async def _check(ledger: Ledger, intent: Intent, *, done: bool, points: int | None, is_orphan: bool) -> None:
    """Raises ConfigurationError where a person has nothing to settle, or settles it wrongly."""
    where = f"intent {intent.id}"
    is_left = is_orphan and intent.due_at <= time.time_ns() // 1_000
    if intent.state not in (_LEFT if is_left else _FOR_A_PERSON):
        what = f"is {intent.state}; only what is parked or unclear is for a person to settle"
        raise ConfigurationError(where, what)
    asked = intent.adjustment.points_delta
    if done and asked is None and points is None:
        raise ConfigurationError("--points", "is needed: how many points a reset took is not known here")
    if points is not None and asked is not None and points * asked < 0:
        raise ConfigurationError("--points", f"must have the sign of what was asked for: {asked:+d}")
    under_it = await ledger.look(partial(parts, intent_id=intent.id))
    if any(part.settled_at is None for part in under_it):
        raise ConfigurationError(where, f"has parts that are not settled; see `ledger intents {intent.id}`")
    if not done and any(part.state is State.DONE for part in under_it):
        what = "has parts that are done; as refused, a retry would carry them out once more"
        raise ConfigurationError(where, what)


def _merchant_name(_dialect: Dialect, merchant_id: int) -> Work[str]:
    rows = yield Statement("SELECT name FROM merchants WHERE id = :id", {"id": merchant_id})
    return str(only(rows)[0])
