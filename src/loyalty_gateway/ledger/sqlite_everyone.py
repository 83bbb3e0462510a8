"""An adjustment of all of a merchant's customers as two SQL statements; the engine's rules, said in SQL.

``tests/ledger`` holds both against each other.
"""

import sqlite3
from typing import Final

import msgspec

from loyalty_gateway.adjustment import LARGEST_POINTS, Instruction, Lifetime, Overdraft, Tier
from loyalty_gateway.problem import Code, Problem

_DELTA: Final = {
    Overdraft.REFUSE: ":points_delta",
    Overdraft.FLOOR: "max(:points_delta, -available)",
}
_EARNED_DELTA: Final = {
    Lifetime.EARN_AND_BURN: "max(delta, 0)",
    Lifetime.EARN_ONLY: "max(delta, 0)",
    Lifetime.NET_EARNED: "max(delta, -lifetime_earned)",
    Lifetime.BURN_ONLY: "0",
    Lifetime.UNTOUCHED: "0",
}
_BURNED_DELTA: Final = {
    Lifetime.EARN_AND_BURN: "max(-delta, 0)",
    Lifetime.EARN_ONLY: "0",
    Lifetime.NET_EARNED: "0",
    Lifetime.BURN_ONLY: "max(-delta, 0)",
    Lifetime.UNTOUCHED: "0",
}


def adjust_everyone(  # noqa: PLR0913 - a statement's parameters
    db: sqlite3.Connection,
    instruction: Instruction,
    *,
    merchant_id: int,
    first_entry_id: int,
    now: int,
    at_most: int,
) -> int:
    """How many wallets were adjusted: all of the merchant's that are not excluded.

    Raises:
        Problem: TOO_MANY_CUSTOMERS, TOO_FEW_POINTS, BALANCE_OVERFLOW; nobody has been adjusted then.
    """
    adjustment = instruction.adjustment
    lifetime = adjustment.lifetime
    delta = "-available" if adjustment.points_delta is None else _DELTA[adjustment.overdraft]
    parameters = {
        "merchant_id": merchant_id,
        "points_delta": adjustment.points_delta or 0,
        "largest": LARGEST_POINTS,
        "first_entry_id": first_entry_id,
        "now": now,
        "vendor": instruction.vendor,
        "points_asked": adjustment.points_delta,
        "reason": adjustment.reason,
        "metadata": None if adjustment.metadata is None else msgspec.json.encode(adjustment.metadata).decode(),
        "notify": msgspec.json.encode(adjustment.notify).decode() if adjustment.notify else None,
        "visible": adjustment.visible,
        "key": instruction.idempotency.key if instruction.idempotency is not None else None,
    }
    with_delta = f"SELECT *, {delta} AS delta FROM wallets WHERE merchant_id = :merchant_id AND excluded = 0"
    # Beyond 64 bits SQLite would go on in floating point, so the distance to the limit is compared instead.
    (count, short, over) = db.execute(
        f"""
        SELECT count(*),
               coalesce(sum(available < -delta), 0),
               coalesce(sum(available > :largest - max(delta, 0)
                   OR lifetime_earned > :largest - max({_EARNED_DELTA[lifetime]}, 0)
                   OR lifetime_burned > :largest - {_BURNED_DELTA[lifetime]}
                   OR granted > :largest - max(delta, 0)), 0)
        FROM ({with_delta})
        """,
        parameters,
    ).fetchone()
    if count > at_most:
        raise Problem(Code.TOO_MANY_CUSTOMERS)
    if short:
        raise Problem(Code.TOO_FEW_POINTS)
    if over:
        raise Problem(Code.BALANCE_OVERFLOW)
    db.execute(
        f"""
        INSERT INTO entries (id, merchant_id, wallet_id, version, vendor, points_delta, points_asked,
            points_before, points_after, reserved_after, earned_delta, burned_delta, granted_after, grants_after,
            reason, metadata, notify, visible, idempotency_key, occurred_at)
        SELECT :first_entry_id - 1 + row_number() OVER (ORDER BY id), merchant_id, id, version + 1, :vendor,
            delta, :points_asked, available, available + delta, reserved,
            {_EARNED_DELTA[lifetime]}, {_BURNED_DELTA[lifetime]}, granted + max(delta, 0), grants + (delta > 0),
            :reason, :metadata, :notify, :visible, :key, max(:now, updated_at + 1)
        FROM ({with_delta})
        """,
        parameters,
    )
    db.execute(
        f"""
        UPDATE wallets
        SET available = points_after, lifetime_earned = lifetime_earned + earned_delta,
            lifetime_burned = lifetime_burned + burned_delta, granted = granted_after, grants = grants_after,
            version = entry.version,
            tier = {_tier(instruction.merchant.tiers)}, updated_at = occurred_at, last_entry_at = occurred_at
        FROM (SELECT * FROM entries WHERE id >= :first_entry_id) AS entry
        WHERE wallets.id = entry.wallet_id
        """,
        parameters | {f"tier_{index}": tier.name for index, tier in enumerate(instruction.merchant.tiers)},
    )
    return int(count)


def _tier(tiers: tuple[Tier, ...]) -> str:
    if not tiers:
        return "NULL"
    cases = " ".join(
        f"WHEN lifetime_earned + earned_delta >= {tier.points_required} THEN :tier_{index}"
        for index, tier in reversed(list(enumerate(tiers)))
    )
    return f"CASE {cases} END"
