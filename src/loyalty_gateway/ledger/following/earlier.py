"""At which side of a move the same request was carried out before."""

from loyalty_gateway.ledger.following.sides import OF_MOVE, Route, Side
from loyalty_gateway.ledger.statements import Dialect, Statement, Work


def earlier_side(
    _dialect: Dialect, merchant_id: int, route: Route, key: str | None, likeness: bytes, keep_since: int
) -> Work[Side | None]:
    """Where the same request was carried out before, or is being; ``None`` for a new one.

    Args:
        merchant_id: the merchant's number.
        route: the move.
        key: the client's; a request without one is known by its ``likeness`` while it is not settled.
        likeness: what the request says.
        keep_since: since when keys are remembered, in microseconds.
    """
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor}
    if key is None:
        rows = yield Statement(
            f"SELECT upstream FROM intents WHERE {OF_MOVE} "
            "AND likeness = :likeness AND idempotency_key IS NULL AND parent IS NULL AND settled_at IS NULL",
            named | {"likeness": likeness},
        )
        return route.side(rows[0][0]) if rows else None
    rows = yield Statement(
        f"SELECT upstream FROM intents WHERE {OF_MOVE} "
        "AND idempotency_key = :key AND state <> 'refused' AND (settled_at IS NULL OR settled_at >= :keep_since)",
        named | {"key": key, "keep_since": keep_since},
    )
    if rows:
        return route.side(rows[0][0])
    if route.new is None:
        rows = yield Statement(
            f"SELECT 1 FROM idempotency_keys WHERE {OF_MOVE} AND key = :key", named | {"key": key}
        )
        if rows:
            return Side.NEW
    return None
