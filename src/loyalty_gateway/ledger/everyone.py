"""An adjustment of all of a merchant's customers as SQL statements; the engine's rules, said in SQL.

``tests/ledger`` holds both against each other.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from loyalty_gateway.adjustment import LARGEST_POINTS, Instruction, Lifetime, Overdraft, Tier
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


class Weighed(NamedTuple):
    """How many wallets there are to adjust, and how many of them could not be."""

    wallets: int
    short: int
    over: int

    def check(self) -> None:
        """Raises Problem TOO_FEW_POINTS or BALANCE_OVERFLOW where somebody cannot be adjusted; nobody is then."""
        if self.short:
            raise Problem(Code.TOO_FEW_POINTS)
        if self.over:
            raise Problem(Code.BALANCE_OVERFLOW)


class Change:
    """What an instruction for everyone does to a merchant's wallets that are not excluded.

    Args:
        dialect: of the database.
        instruction: what is asked.
        merchant_id: the merchant's number.
        now: microseconds; the time of the entries.
        among: an SQL condition on wallets, called ``w``; the others are passed over.
        parameters: what the condition names.
    """

    def __init__(  # noqa: PLR0913 - whom and what
        self,
        dialect: Dialect,
        instruction: Instruction,
        merchant_id: int,
        *,
        now: int,
        among: str = "TRUE",
        parameters: Mapping[str, Any] = {},
    ) -> None:
        adjustment, greatest = instruction.adjustment, dialect.greatest
        self._dialect = dialect
        self._instruction = instruction
        self._now = now
        self._earned_delta = _EARNED_DELTA[adjustment.lifetime].format(greatest=greatest)
        self._burned_delta = _BURNED_DELTA[adjustment.lifetime].format(greatest=greatest)
        if adjustment.points_delta is None:
            delta = "-w.available"
        elif adjustment.overdraft is Overdraft.FLOOR:
            delta = f"{greatest}({_POINTS}, -w.available)"
        else:
            delta = _POINTS
        self._whose = f"w.merchant_id = :merchant_id AND w.excluded = 0 AND {among}"
        self._addressed = f"SELECT w.*, {delta} AS delta FROM wallets w WHERE {self._whose}"
        self._bounds: dict[str, Any] = {"merchant_id": merchant_id, **parameters}
        self._common = self._bounds | {"points_delta": adjustment.points_delta or 0}
        self._short = "available < -delta"
        # Beyond 64 bits there is floating point, or an error, so the distance to the limit is compared instead.
        self._over = (
            f"(available > {LARGEST_POINTS} - {greatest}(delta, 0) "
            f"OR lifetime_earned > {LARGEST_POINTS} - {greatest}({self._earned_delta}, 0) "
            f"OR lifetime_burned > {LARGEST_POINTS} - {self._burned_delta} "
            f"OR granted > {LARGEST_POINTS} - {greatest}(delta, 0))"
        )

    def weigh(self, *, locking: bool) -> Work[Weighed]:
        """How the wallets stand; ``locking`` keeps everybody else from them until the transaction ends."""
        lock = self._dialect.locking_wallets if locking else ""
        rows = yield Statement(
            f"""
            SELECT count(*),
                   coalesce(sum(CASE WHEN {self._short} THEN 1 ELSE 0 END), 0),
                   coalesce(sum(CASE WHEN {self._over} THEN 1 ELSE 0 END), 0)
            FROM ({self._addressed} {lock}) AS w
            """,
            self._common,
        )
        return Weighed(*map(int, only(rows)))

    def count(self) -> Work[int]:
        """How many wallets there are to adjust."""
        return int(only((yield Statement(f"SELECT count(*) FROM wallets w WHERE {self._whose}", self._bounds)))[0])

    def is_of_more_than(self, wallets: int) -> Work[bool]:
        """Whether there are more wallets to adjust than so many."""
        rows = yield Statement(
            f"SELECT 1 FROM wallets w WHERE {self._whose} LIMIT 1 OFFSET :wallets",
            self._bounds | {"wallets": wallets},
        )
        return bool(rows)

    def write(self, *, passing_over: bool = False, also: str = "") -> Work[None]:
        """Writes the entries, and moves the wallets.

        ``passing_over`` leaves those alone who cannot be adjusted; without it nobody may be such. ``also`` is a
        further change of the wallets, in SQL.
        """
        first_entry_id = yield from _entry_id_behind_all(self._bounds["merchant_id"])
        yield self._entries(first_entry_id, f"NOT ({self._short} OR {self._over})" if passing_over else "TRUE")
        tiers = self._instruction.merchant.tiers
        yield Statement(
            f"""
            UPDATE wallets AS w
            SET available = points_after, lifetime_earned = lifetime_earned + earned_delta,
                lifetime_burned = lifetime_burned + burned_delta, granted = granted_after, grants = grants_after,
                version = entry.version, tier = {_tier(tiers)}, updated_at = occurred_at,
                last_entry_at = occurred_at, last_entry_id = entry.id {also}
            FROM entries AS entry
            WHERE {self._whose} AND entry.merchant_id = :merchant_id AND entry.wallet_id = w.id
                AND entry.version = w.version + 1
            """,
            self._bounds | {f"tier_{index}": tier.name for index, tier in enumerate(tiers)},
        )

    def _entries(self, first_entry_id: int, where: str) -> Statement:
        instruction, adjustment = self._instruction, self._instruction.adjustment
        greatest = self._dialect.greatest
        return Statement(
            f"""
            INSERT INTO entries ({", ".join(ENTRIES.columns)})
            SELECT {self._dialect.new_entry_id}, merchant_id, id, version + 1, CAST(:vendor AS TEXT),
                delta, CAST(:points_asked AS BIGINT), available, available + delta, reserved,
                {self._earned_delta}, {self._burned_delta}, granted + {greatest}(delta, 0),
                grants + CASE WHEN delta > 0 THEN 1 ELSE 0 END,
                CAST(:reason AS TEXT), CAST(:metadata AS TEXT), CAST(:notify AS TEXT), CAST(:visible AS BIGINT),
                CAST(:key AS TEXT), {greatest}(CAST(:now AS BIGINT), updated_at + 1)
            FROM ({self._addressed}) AS w WHERE {where}
            """,
            self._common
            | {
                "first_entry_id": first_entry_id,
                "now": self._now,
                "vendor": instruction.vendor,
                "points_asked": adjustment.points_delta,
                "reason": adjustment.reason,
                "metadata": _json(adjustment.metadata),
                "notify": _json(adjustment.notify or None),
                "visible": int(adjustment.visible),
                "key": None if instruction.idempotency is None else instruction.idempotency.key,
            },
        )

    def refused(self, sql: str) -> Statement:
        """SQL about those who cannot be adjusted, its ``{refused}``; of them ``{short}`` have too little."""
        refused = f"(SELECT * FROM ({self._addressed}) AS w WHERE {self._short} OR {self._over})"
        return Statement(sql.format(refused=refused, short=self._short), self._common)


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


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _tier(tiers: tuple[Tier, ...]) -> str:
    if not tiers:
        return "NULL"
    cases = " ".join(
        f"WHEN lifetime_earned + earned_delta >= {tier.points_required} THEN CAST(:tier_{index} AS TEXT)"
        for index, tier in reversed(list(enumerate(tiers)))
    )
    return f"CASE {cases} END"
