"""How far merchants' moves from one backend to another are, who changed that, and what was found on the way."""

import enum
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from loyalty_gateway.ledger.statements import Dialect, Row, Statement, Work, only
from loyalty_gateway.problem import ConfigurationError

_KEPT_COMPARISONS: Final = 10_000
_WHOLE: Final = 100
_decode_numbers = msgspec.json.Decoder(frozenset[int]).decode


class Stage(enum.StrEnum):
    """How far a move is, in order."""

    OBSERVE = "observe"
    SHADOW = "shadow"
    MIRROR = "mirror"
    LEAD = "lead"
    DONE = "done"
    ENDED = "ended"

    @property
    def place(self) -> int:
        """Its place in the order."""
        return list(Stage).index(self)

    @property
    def before(self) -> "Stage":
        """The stage before; the first has none but itself."""
        return list(Stage)[max(0, self.place - 1)]

    @property
    def is_led_by_new(self) -> bool:
        """Whether the new side decides, and the old one follows or is left."""
        return self.place >= Stage.LEAD.place

    @property
    def follows(self) -> bool:
        """Whether both sides are kept alike, or can be again."""
        return self.place >= Stage.MIRROR.place and self is not Stage.ENDED

    @property
    def is_compared(self) -> bool:
        """Whether both sides can be expected to be alike, or to become so."""
        return self.place < Stage.DONE.place


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's move: its stage, and who is in it; the others are in the one before.

    ``percent`` of the customers, chosen by a digest of their numbers, so that whoever is chosen stays chosen when
    it grows; and those ``customers`` besides. ``staged_at`` is when the stage became this one, in microseconds.
    """

    merchant: str
    vendor: str
    stage: Stage = Stage.OBSERVE
    percent: int = _WHOLE
    customers: frozenset[int] = frozenset()
    staged_at: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether everybody is in the stage."""
        return self.percent >= _WHOLE

    @property
    def common(self) -> Stage:
        """The stage that everybody has reached."""
        return self.stage if self.is_whole else self.stage.before

    def stage_of(self, wallet_id: int) -> Stage:
        """The customer's stage; one whom the ledger has not met (0) is chosen with everybody only."""
        if self.is_whole or (wallet_id and (wallet_id in self.customers or self._is_chosen(wallet_id))):
            return self.stage
        return self.stage.before

    def _is_chosen(self, wallet_id: int) -> bool:
        key = f"{self.merchant}/{self.vendor}".encode()
        digest = blake2b(b"%d" % wallet_id, key=blake2b(key, digest_size=32).digest(), digest_size=8).digest()
        return int.from_bytes(digest) % 10_000 < self.percent * 100

    # Changes

    def advanced(self, *, percent: int | None, customers: Collection[int]) -> "Move":
        """The move one step on; raises ConfigurationError where there is none."""
        self._check_not_ended()
        if self.is_whole:
            if self.stage is Stage.DONE:
                what = "is done; there is no stage behind it (`migration end` gives up the way back)"
                raise ConfigurationError(str(self), what)
            return self._with(list(Stage)[self.stage.place + 1], 0, percent, customers)
        if percent is not None and percent <= self.percent:
            what = f"{self.percent} % are in {self.stage} already; advance to more of them, or go back"
            raise ConfigurationError("--percent", what)
        grown = self._with(self.stage, self.percent, percent, customers)
        kept = frozenset[int]() if grown.is_whole else self.customers | grown.customers
        return msgspec.structs.replace(grown, customers=kept)

    def _with(self, stage: Stage, before: int, percent: int | None, customers: Collection[int]) -> "Move":
        wanted = (before if customers else _WHOLE) if percent is None else percent
        named = frozenset[int]() if wanted >= _WHOLE else frozenset(customers)
        return msgspec.structs.replace(self, stage=stage, percent=wanted, customers=named)

    def taken_back(self, *, percent: int | None) -> "Move":
        """The move one step back, or with fewer in its stage; raises ConfigurationError where there is none."""
        self._check_not_ended()
        if self.stage is Stage.OBSERVE:
            raise ConfigurationError(str(self), "is at observe; there is no stage before it")
        if percent is None:
            return msgspec.structs.replace(self, stage=self.stage.before, percent=_WHOLE, customers=frozenset())
        if percent >= self.percent:
            what = f"{self.percent} % are in {self.stage}; go back to fewer of them, or leave --percent out"
            raise ConfigurationError("--percent", what)
        return msgspec.structs.replace(self, percent=percent)

    def ended(self) -> "Move":
        """The move without a way back; raises ConfigurationError unless it is done for everybody."""
        self._check_not_ended()
        if self.common is not Stage.DONE:
            raise ConfigurationError(str(self), "is not done for everybody; only what is done can be ended")
        return msgspec.structs.replace(self, stage=Stage.ENDED)

    def _check_not_ended(self) -> None:
        if self.stage is Stage.ENDED:
            raise ConfigurationError(str(self), "is ended; there is no way back any more")

    def __str__(self) -> str:
        return f"{self.merchant}, {self.vendor}"


class Change(NamedTuple):
    """One change of a move: who made it, when and why."""

    number: int
    stage: Stage
    percent: int
    customers: int
    who: str
    why: str
    changed_at: int


def moves(_dialect: Dialect) -> Work[dict[tuple[str, str], Move]]:
    """All moves that have begun, by merchant and vendor."""
    rows = yield Statement(
        "SELECT m.name, g.vendor, g.stage, g.percent, g.customers, g.staged_at "
        "FROM migrations g JOIN merchants m ON m.id = g.merchant_id"
    )
    return _moves(rows)


def held_move(dialect: Dialect, merchant_id: int, merchant: str, vendor: str) -> Work[Move]:
    """The move as it is, which nobody changes until the transaction ends."""
    rows = yield Statement(
        "SELECT :merchant, vendor, stage, percent, customers, staged_at FROM migrations "
        f"WHERE merchant_id = :merchant_id AND vendor = :vendor {dialect.sharing}",
        {"merchant": merchant, "merchant_id": merchant_id, "vendor": vendor},
    )
    return _moves(rows).get((merchant, vendor)) or Move(merchant=merchant, vendor=vendor)


def _moves(rows: Sequence[Row]) -> dict[tuple[str, str], Move]:
    return {
        (merchant, vendor): Move(
            merchant=merchant,
            vendor=vendor,
            stage=Stage(stage),
            percent=int(percent),
            customers=_decode_numbers(customers),
            staged_at=int(staged_at),
        )
        for merchant, vendor, stage, percent, customers, staged_at in rows
    }


def change_move(merchant_id: int, move: Move, *, who: str, why: str, now: int) -> Work[None]:
    """Writes down where a move is from now on, and who wanted that."""
    named: dict[str, object] = {
        "merchant_id": merchant_id,
        "vendor": move.vendor,
        "stage": move.stage.value,
        "percent": move.percent,
    }
    yield Statement(
        "INSERT INTO migrations (merchant_id, vendor, stage, percent, customers, staged_at) "
        "VALUES (:merchant_id, :vendor, :stage, :percent, :customers, :staged_at) "
        "ON CONFLICT (merchant_id, vendor) DO UPDATE SET stage = excluded.stage, percent = excluded.percent, "
        "customers = excluded.customers, staged_at = excluded.staged_at",
        named
        | {"customers": msgspec.json.encode(sorted(move.customers)).decode(), "staged_at": move.staged_at or now},
    )
    number = yield from _next("migration_changes", merchant_id, move.vendor)
    yield Statement(
        "INSERT INTO migration_changes (merchant_id, vendor, number, stage, percent, customers, who, why, "
        "changed_at) VALUES (:merchant_id, :vendor, :number, :stage, :percent, :customers, :who, :why, :now)",
        named | {"number": number, "customers": len(move.customers), "who": who, "why": why, "now": now},
    )


def _next(table: str, merchant_id: int, vendor: str) -> Work[int]:
    rows = yield Statement(
        f"SELECT coalesce(max(number), 0) + 1 FROM {table} WHERE merchant_id = :merchant_id AND vendor = :vendor",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    return int(only(rows)[0])


def changes(_dialect: Dialect, merchant_id: int, vendor: str) -> Work[list[Change]]:
    """The changes of a move, the first one first."""
    rows = yield Statement(
        "SELECT number, stage, percent, customers, who, why, changed_at FROM migration_changes "
        "WHERE merchant_id = :merchant_id AND vendor = :vendor ORDER BY number",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    return [Change(number, Stage(stage), *told) for number, stage, *told in rows]


def merchant_number(_dialect: Dialect, name: str) -> Work[int]:
    """The merchant's number; 0 for one whom the ledger has not met."""
    rows = yield Statement("SELECT id FROM merchants WHERE name = :name", {"name": name})
    return int(rows[0][0]) if rows else 0


# Reconciliations


class Reconciliation(NamedTuple):
    """What holding every customer at both sides against each other came to; times are microseconds.

    ``finished_at`` is ``None`` for one that was broken off; of ``unread`` customers a side told nothing.
    """

    number: int
    started_at: int
    finished_at: int | None
    equal: int = 0
    explained: int = 0
    different: int = 0
    unread: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether it is safe to go on by what was found."""
        return self.finished_at is not None and not self.different and not self.unread


def begin_reconciliation(merchant_id: int, vendor: str, now: int) -> Work[int]:
    """Writes down that one has begun; its number."""
    number = yield from _next("reconciliations", merchant_id, vendor)
    yield Statement(
        "INSERT INTO reconciliations "
        "(merchant_id, vendor, number, started_at, equal, explained, different, unread) "
        "VALUES (:merchant_id, :vendor, :number, :now, 0, 0, 0, 0)",
        {"merchant_id": merchant_id, "vendor": vendor, "number": number, "now": now},
    )
    return number


def end_reconciliation(merchant_id: int, vendor: str, found: Reconciliation) -> Work[None]:
    """Writes down what it came to."""
    yield Statement(
        "UPDATE reconciliations SET finished_at = :finished_at, equal = :equal, explained = :explained, "
        "different = :different, unread = :unread "
        "WHERE merchant_id = :merchant_id AND vendor = :vendor AND number = :number",
        {
            "merchant_id": merchant_id,
            "vendor": vendor,
            "number": found.number,
            "finished_at": found.finished_at,
            "equal": found.equal,
            "explained": found.explained,
            "different": found.different,
            "unread": found.unread,
        },
    )


def last_reconciliation(_dialect: Dialect, merchant_id: int, vendor: str) -> Work[Reconciliation | None]:
    """The last one that was begun."""
    rows = yield Statement(
        "SELECT number, started_at, finished_at, equal, explained, different, unread FROM reconciliations "
        "WHERE merchant_id = :merchant_id AND vendor = :vendor ORDER BY number DESC LIMIT 1",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    return Reconciliation(*rows[0]) if rows else None


# Comparisons


class Comparison(NamedTuple):
    """What the two sides said of one task for one customer; ``differences`` are in the order of their weight."""

    number: int
    wallet_id: int
    kind: str
    differences: list[dict[str, Any]]
    compared_at: int


def keep_comparison(  # noqa: PLR0913, PLR0917 - whose, of what, and what was found
    merchant_id: int, vendor: str, wallet_id: int, kind: str, differences: list[dict[str, Any]], now: int
) -> Work[None]:
    """Writes a comparison down; so many of a move are kept."""
    number = yield from _next("comparisons", merchant_id, vendor)
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": vendor}
    yield Statement(
        "INSERT INTO comparisons (merchant_id, vendor, number, wallet_id, kind, differences, compared_at) "
        "VALUES (:merchant_id, :vendor, :number, :wallet_id, :kind, :differences, :now)",
        named
        | {
            "number": number,
            "wallet_id": wallet_id,
            "kind": kind,
            "differences": msgspec.json.encode(differences).decode(),
            "now": now,
        },
    )
    yield Statement(
        "DELETE FROM comparisons WHERE merchant_id = :merchant_id AND vendor = :vendor AND number <= :oldest",
        named | {"oldest": number - _KEPT_COMPARISONS},
    )


def comparisons(
    _dialect: Dialect, merchant_id: int, vendor: str, *, after: int, at_most: int
) -> Work[list[Comparison]]:
    """A page of a move's comparisons, the oldest first."""
    rows = yield Statement(
        "SELECT number, wallet_id, kind, differences, compared_at FROM comparisons "
        "WHERE merchant_id = :merchant_id "
        "AND vendor = :vendor AND number > :after ORDER BY number LIMIT :at_most",
        {"merchant_id": merchant_id, "vendor": vendor, "after": after, "at_most": at_most},
    )
    return [
        Comparison(number, wallet_id, kind, msgspec.json.decode(differences), compared_at)
        for number, wallet_id, kind, differences, compared_at in rows
    ]
