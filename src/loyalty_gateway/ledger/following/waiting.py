"""For whom something can follow."""

from typing import Final

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.ledger.following.sides import FOREVER, OF_MOVE, Route
from loyalty_gateway.ledger.following.standing import led_since
from loyalty_gateway.ledger.intents import decode_adjustment
from loyalty_gateway.ledger.statements import Dialect, Statement, Work

_AT_ONCE: Final = 100


def waiting_customers(
    _dialect: Dialect, merchant_id: int, route: Route, *, sweeps: bool, now: int, until: int = FOREVER
) -> Work[list[int]]:
    """The numbers of customers for whom something can follow; 0 among them for some whom nobody has met.

    Whose entries here have not followed is looked for among all only where it ``sweeps``. What began after
    ``until`` does not count, nor does what waits for a customer whom somebody is at, or who is to be tried later.
    """
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor, "now": now}
    is_due = (
        "NOT EXISTS (SELECT 1 FROM followed f WHERE f.merchant_id = :merchant_id AND f.vendor = :vendor "
        "AND f.wallet_id = o.wallet_id AND f.due_at > :now)"
    )
    rows = yield Statement(
        "SELECT DISTINCT o.wallet_id FROM intents o WHERE o.merchant_id = :merchant_id AND o.vendor = :vendor "
        f"AND o.follow = 1 AND o.state = 'done' AND o.created_at <= :until AND {is_due}",
        named | {"until": until},
    )
    found = {int(number or 0) for (number,) in rows}
    rows = yield Statement(
        "SELECT o.wallet_id FROM parked_follow_ups o WHERE o.merchant_id = :merchant_id AND o.vendor = :vendor "
        f"AND o.state = 'waiting' AND {is_due}",
        named,
    )
    found |= {int(number) for (number,) in rows}
    if sweeps:
        rows = yield Statement(
            "SELECT f.wallet_id FROM followed f JOIN wallets w "
            "ON w.merchant_id = f.merchant_id AND w.id = f.wallet_id "
            "WHERE f.merchant_id = :merchant_id AND f.vendor = :vendor "
            "AND (f.pending IS NOT NULL OR (f.version IS NOT NULL AND w.version > f.version AND EXISTS ("
            "SELECT 1 FROM entries e WHERE e.merchant_id = w.merchant_id AND e.wallet_id = w.id "
            "AND e.version = f.version + 1 AND e.occurred_at <= :until)))",
            named | {"until": until},
        )
        found |= {int(number) for (number,) in rows}
        if route.new is None and until == FOREVER:
            found |= yield from _come_here(merchant_id, route.vendor)
    return sorted(found)


def _come_here(merchant_id: int, vendor: str) -> Work[set[int]]:
    """Those whom the new side, which is here, led for before they were taken over."""
    since = yield from led_since(merchant_id, vendor)
    if since is None:
        return set()
    rows = yield Statement(
        "SELECT w.id FROM wallets w WHERE w.merchant_id = :merchant_id AND w.version > 0 "
        "AND NOT EXISTS (SELECT 1 FROM followed f WHERE f.merchant_id = w.merchant_id AND f.vendor = :vendor "
        "AND f.wallet_id = w.id AND f.version IS NOT NULL) "
        "AND EXISTS (SELECT 1 FROM entries e WHERE e.merchant_id = w.merchant_id AND e.wallet_id = w.id "
        "AND e.vendor = :vendor AND e.occurred_at >= :since)",
        {"merchant_id": merchant_id, "vendor": vendor, "since": since},
    )
    return {int(number) for (number,) in rows}


def unnamed(_dialect: Dialect, merchant_id: int, route: Route) -> Work[list[tuple[int, Adjustment]]]:
    """Intents that are to follow for customers whom the ledger had not met, by their numbers."""
    rows = yield Statement(
        f"SELECT id, adjustment FROM intents WHERE {OF_MOVE} "
        "AND wallet_id = 0 AND follow = 1 AND state = 'done' ORDER BY id LIMIT :at_most",
        {"merchant_id": merchant_id, "vendor": route.vendor, "at_most": _AT_ONCE},
    )
    return [(int(number), decode_adjustment(adjustment)) for number, adjustment in rows]


def name_intent(intent_id: int, wallet_id: int) -> Work[None]:
    """Tells of an intent whose points they are."""
    yield Statement(
        "UPDATE intents SET wallet_id = :wallet_id WHERE id = :id", {"id": intent_id, "wallet_id": wallet_id}
    )
