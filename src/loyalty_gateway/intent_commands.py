"""The commands for what is to be carried out at upstreams: ``loyalty-gateway ledger intents`` and ``settle``."""

import csv
from functools import partial
from typing import TextIO

from loyalty_gateway.adjustment import Everyone, Merchant
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import Intent, Outcome, State, find, leave, parts, settle, unsettled
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import Code, ConfigurationError

_AT_ONCE = 1_000


async def tell_intents(ledger: Ledger, *, number: int | None, out: TextIO) -> None:
    """Writes a line for each intent that is not settled; of the one with the number its parts, as CSV."""
    if number is not None:
        await _tell_parts(ledger, number, out)
        return
    after = 0
    while page := await ledger.look(partial(unsettled, after=after, at_most=_AT_ONCE)):
        for intent in page:
            print(_line(intent), file=out)
        after = page[-1].id


async def _tell_parts(ledger: Ledger, number: int, out: TextIO) -> None:
    """What came of each customer of an intent for several of them."""
    writer = csv.writer(out)
    writer.writerow(["intent", "customer", "state", "points", "reason"])
    for part in await ledger.look(partial(parts, intent_id=number)):
        code = "" if part.outcome is None or part.outcome.code is None else part.outcome.code.value
        points = "" if part.outcome is None else part.outcome.points_delta
        writer.writerow([part.id, _whom(part), part.state.value, points, code])


def _line(intent: Intent) -> str:
    adjustment, whom = intent.adjustment, _whom(intent)
    points = "reset to 0" if adjustment.points_delta is None else f"{adjustment.points_delta:+d} points"
    asked = "not asked for yet" if intent.sent_at is None else f"asked for {iso_milliseconds(intent.sent_at)}"
    return (
        f"intent {intent.id}: {intent.state}, {points} for {whom}, {intent.upstream}, {asked}, mark {intent.mark}"
    )


def _whom(intent: Intent) -> str:
    customers = intent.adjustment.customers
    if isinstance(customers, Everyone):
        return "everyone"
    return str(customers[0]) if len(customers) == 1 else f"{len(customers)} customers"


async def settle_by_hand(  # noqa: PLR0913 - what a person says
    ledger: Ledger, *, merchant: Merchant, number: int, done: bool, points: int | None, out: TextIO
) -> None:
    """Writes down what a person found out: that an intent was carried out, with so many points, or was not.

    Raises:
        ConfigurationError: there is no such intent, or it is settled already.
    """
    try:
        intent = await ledger.look(partial(find, intent_id=number))
    except (AssertionError, IndexError, ValueError):
        raise ConfigurationError(f"intent {number}", "there is none; see `ledger intents`") from None
    delta = intent.adjustment.points_delta if points is None else points
    if done and delta is None:
        raise ConfigurationError("--points", "is needed: how many points a reset took is not known here")
    outcome = Outcome(points_delta=delta or 0) if done else Outcome(code=Code.UNAVAILABLE)

    def work(_dialect: Dialect, _merchant_id: int, now: int) -> Work[bool]:
        if intent.parent is not None:
            # The whole that it is a part of is summed up anew.
            yield from leave(intent.parent, State.WAITING, due_at=now)
        return (yield from settle(number, outcome, now=now))

    if not await ledger.change(merchant, work):
        raise ConfigurationError(f"intent {number}", f"is settled already: {intent.state}")
    print(f"intent {number}: {'done' if done else 'refused'}", file=out)
