"""An adjustment of all of a merchant's customers as two SQL statements; the engine's rules, said in SQL.

``tests/ledger`` holds both against each other.
"""

from typing import Final

import msgspec

from loyalty_gateway.adjustment import LARGEST_POINTS, Instruction, Lifetime, Overdraft, Tier
from loyalty_gateway.ledger.orders import Overtaken
from loyalty_gateway.ledger.statements import Dialect, NewIds, Statement, Work, only
from loyalty_gateway.ledger.tables import ENTRIES
from loyalty_gateway.problem import Code, Problem

_POINTS: Final = "CAST(:points_delta AS BIGINT)"
_EARNED_DELTA: Final = {
    Lifetime.EARN_AND_BURN: "{greatest}(delta, 0)",
    Lifetime.EARN_ONLY: "{greatest}(delta, 0)",
    Lifetime.NET_EARNED: "{greatest}(delta, -lifetime_earned)",
    Lifetime.BURN_ONLY: "0",
    Lifetime.UNTOUCHED: "0",
}
_BURNED_DELTA: Final = {
    Lifetime.EARN_AND_BURN: "{greatest}(-delta, 0)",
    Lifetime.EARN_ONLY: "0",
    Lifetime.NET_EARNED: "0",
    Lifetime.BURN_ONLY: "{greatest}(-delta, 0)",
    Lifetime.UNTOUCHED: "0",
}


def adjust_everyone(
    dialect: Dialect, instruction: Instruction, merchant_id: int, *, now: int, at_most: int
) -> Work[int]:
    """How many wallets were adjusted: all of the merchant's that are not excluded.

    Raises:
        Problem: TOO_MANY_CUSTOMERS, TOO_FEW_POINTS, BALANCE_OVERFLOW; nobody has been adjusted then.
        Overtaken: the transaction is to begin anew.
    """
    adjustment, greatest = instruction.adjustment, dialect.greatest
    earned_delta = _EARNED_DELTA[adjustment.lifetime].format(greatest=greatest)
    burned_delta = _BURNED_DELTA[adjustment.lifetime].format(greatest=greatest)
    if adjustment.points_delta is None:
        delta = "-w.available"
    elif adjustment.overdraft is Overdraft.FLOOR:
        delta = f"{greatest}({_POINTS}, -w.available)"
    else:
        delta = _POINTS
    addressed = (
        f"SELECT w.*, {delta} AS delta FROM wallets w WHERE w.merchant_id = :merchant_id AND w.excluded = 0"
    )
    common = {"merchant_id": merchant_id, "points_delta": adjustment.points_delta or 0}
    # Beyond 64 bits there is floating point, or an error, so the distance to the limit is compared instead.
    rows = yield Statement(
        f"""
        SELECT count(*),
               coalesce(sum(CASE WHEN available < -delta THEN 1 ELSE 0 END), 0),
               coalesce(sum(CASE WHEN available > :largest - {greatest}(delta, 0)
                   OR lifetime_earned > :largest - {greatest}({earned_delta}, 0)
                   OR lifetime_burned > :largest - {burned_delta}
                   OR granted > :largest - {greatest}(delta, 0) THEN 1 ELSE 0 END), 0)
        FROM ({addressed} {dialect.locking_wallets}) AS w
        """,
        common | {"largest": LARGEST_POINTS},
    )
    count, short, over = map(int, only(rows))
    if count > at_most:
        raise Problem(Code.TOO_MANY_CUSTOMERS)
    if short:
        raise Problem(Code.TOO_FEW_POINTS)
    if over:
        raise Problem(Code.BALANCE_OVERFLOW)
    first_entry_id = yield from _entry_id_behind_all(merchant_id)
    yield Statement(
        f"""
        INSERT INTO entries ({", ".join(ENTRIES.columns)})
        SELECT {dialect.new_entry_id}, merchant_id, id, version + 1, CAST(:vendor AS TEXT),
            delta, CAST(:points_asked AS BIGINT), available, available + delta, reserved,
            {earned_delta}, {burned_delta}, granted + {greatest}(delta, 0),
            grants + CASE WHEN delta > 0 THEN 1 ELSE 0 END,
            CAST(:reason AS TEXT), CAST(:metadata AS TEXT), CAST(:notify AS TEXT), CAST(:visible AS BIGINT),
            CAST(:key AS TEXT), {greatest}(CAST(:now AS BIGINT), updated_at + 1)
        FROM ({addressed}) AS w
        """,
        common
        | {
            "first_entry_id": first_entry_id,
            "now": now,
            "vendor": instruction.vendor,
            "points_asked": adjustment.points_delta,
            "reason": adjustment.reason,
            "metadata": None if adjustment.metadata is None else msgspec.json.encode(adjustment.metadata).decode(),
            "notify": msgspec.json.encode(adjustment.notify).decode() if adjustment.notify else None,
            "visible": int(adjustment.visible),
            "key": instruction.idempotency.key if instruction.idempotency is not None else None,
        },
    )
    rows = yield Statement(f"SELECT count(*) FROM ({addressed}) AS w", common)
    if only(rows)[0] != count:
        # Somebody else enrolled a customer, whom the check above did not see and the entries may reach.
        raise Overtaken
    tiers = instruction.merchant.tiers
    yield Statement(
        f"""
        UPDATE wallets
        SET available = points_after, lifetime_earned = lifetime_earned + earned_delta,
            lifetime_burned = lifetime_burned + burned_delta, granted = granted_after, grants = grants_after,
            version = entry.version, tier = {_tier(tiers)}, updated_at = occurred_at, last_entry_at = occurred_at
        FROM entries AS entry
        WHERE wallets.merchant_id = :merchant_id AND wallets.excluded = 0
            AND entry.merchant_id = :merchant_id AND entry.wallet_id = wallets.id
            AND entry.version = wallets.version + 1
        """,
        {"merchant_id": merchant_id} | {f"tier_{index}": tier.name for index, tier in enumerate(tiers)},
    )
    return count


def _entry_id_behind_all(merchant_id: int) -> Work[int]:
    """An id larger than those of all the merchant's entries, as those will be that are asked for after it."""
    rows = yield Statement(
        "SELECT coalesce(max(id), 0) FROM entries WHERE merchant_id = :merchant_id", {"merchant_id": merchant_id}
    )
    (largest,), how_many = only(rows), 1
    while True:
        ids = yield NewIds(ENTRIES, how_many)
        if ids[-1][0] > largest:
            return int(ids[-1][0])
        how_many *= 2


def _tier(tiers: tuple[Tier, ...]) -> str:
    if not tiers:
        return "NULL"
    cases = " ".join(
        f"WHEN lifetime_earned + earned_delta >= {tier.points_required} THEN CAST(:tier_{index} AS TEXT)"
        for index, tier in reversed(list(enumerate(tiers)))
    )
    return f"CASE {cases} END"
