"""What is under way for a customer while both sides are read, by which their balances may differ."""

from typing import Final, NamedTuple

import msgspec

from loyalty_gateway.ledger.following.outbox import carried_out, follow_ups
from loyalty_gateway.ledger.following.seen import seen
from loyalty_gateway.ledger.following.sides import OF_CUSTOMER, MovingCustomer, Side
from loyalty_gateway.ledger.intents import decode_adjustment
from loyalty_gateway.ledger.statements import Dialect, Statement, Work

_AT_ONCE: Final = 100
_ALL: Final = 10_000_000


class Moment(NamedTuple):
    """How it stands with a customer before the sides are read.

    By ``waits`` the old balance lies above the new one, since that has not followed. Of what is ``unsettled``, of
    the intents behind ``first`` that are not among the ``settled`` ones, which are the latest, and of the entries
    behind the ``version`` a reading may know or not. Numbers tell nothing of the order in which they came.
    """

    waits: int
    unsettled: tuple[int, ...]
    settled: frozenset[int]
    first: int
    version: int


def moment(dialect: Dialect, customer: MovingCustomer) -> Work[Moment]:
    """How it stands with a customer now."""
    waits = yield from _waits(dialect, customer)
    named = {"merchant_id": customer.merchant_id, "wallet_id": customer.wallet_id}
    rows = yield Statement(
        "SELECT id FROM intents "
        "WHERE settled_at IS NULL AND merchant_id = :merchant_id AND wallet_id = :wallet_id",
        named,
    )
    unsettled = tuple(int(number) for (number,) in rows)
    rows = yield Statement(
        "SELECT id FROM intents WHERE settled_at IS NOT NULL AND merchant_id = :merchant_id "
        "AND wallet_id = :wallet_id ORDER BY id DESC LIMIT :at_most",
        named | {"at_most": _AT_ONCE},
    )
    settled = frozenset(int(number) for (number,) in rows)
    present = yield from seen(dialect, customer.merchant_id, customer.wallet_id)
    # Where these are all, whatever else turns up was not among them, however small its number is.
    first = min(settled) if len(settled) == _AT_ONCE else 0
    return Moment(waits, unsettled, settled, first, present.version)


def _waits(dialect: Dialect, customer: MovingCustomer) -> Work[int]:
    """By how much the old balance lies above the new one, since that has not followed at either side."""
    waits = 0
    for to, sign in ((Side.NEW, 1), (Side.OLD, -1)):
        found = yield from follow_ups(dialect, customer, to, at_most=_ALL)
        brought = yield from carried_out(dialect, customer.merchant_id, tuple(one.key for one in found))
        waits += sign * sum(one.adjustment.points_delta or 0 for one in found if one.key not in brought)
    rows = yield Statement(
        f"SELECT pending, pending_key FROM followed WHERE {OF_CUSTOMER} AND pending IS NOT NULL", customer.named
    )
    for points, key in rows:
        brought = yield from carried_out(dialect, customer.merchant_id, (key,))
        waits += 0 if brought else int(points)
    return waits


def uncertain_points(dialect: Dialect, customer: MovingCustomer, since: Moment) -> Work[list[int]]:
    """By how much each adjustment moves the old balance above the new one of which a reading may know or not."""
    named = {"merchant_id": customer.merchant_id, "wallet_id": customer.wallet_id}
    rows = yield Statement(
        "SELECT id, upstream, adjustment, outcome FROM intents WHERE merchant_id = :merchant_id "
        f"AND wallet_id = :wallet_id AND (id > :first OR id IN {dialect.numbers(':unsettled')}) "
        "ORDER BY id DESC LIMIT :at_most",
        named | {"first": since.first, "unsettled": since.unsettled, "at_most": 3 * _AT_ONCE},
    )
    found = []
    for number, upstream, adjustment, outcome in rows:
        if int(number) in since.settled:
            continue
        asked = decode_adjustment(adjustment).points_delta
        points = asked if outcome is None else msgspec.json.decode(outcome).get("points_delta", 0)
        found.append((1 if customer.route.side(upstream) is Side.OLD else -1) * (points or 0))
    if customer.route.new is None:
        rows = yield Statement(
            "SELECT points_delta FROM entries WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id "
            "AND version > :version ORDER BY version LIMIT :at_most",
            named | {"version": since.version, "at_most": _AT_ONCE},
        )
        found += [-int(points) for (points,) in rows]
    return found
