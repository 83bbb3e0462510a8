"""Taking customers over from elsewhere, with what they had there: in parts, each once, whatever comes between.

A batch is known by its name and by what is in it. With each part the ledger remembers how far the batch has come,
in the same transaction, so a batch that was broken off goes on where it stood, and one that is whole does no more.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Entry, Merchant, Wallet
from loyalty_gateway.engine import tier_for
from loyalty_gateway.ledger.jobs import catch_up, last_job
from loyalty_gateway.ledger.statements import Dialect, Each, Insert, NewIds, Statement, Update, Work
from loyalty_gateway.ledger.tables import (
    ENTRIES,
    NUMBER,
    PROFILES,
    REFERENCES,
    TEXT,
    WALLET_COLUMNS,
    WALLETS,
    blank_wallet,
    row_of_entry,
    row_of_wallet,
    wallet_of,
)

VENDOR: Final = "import"
"""Whose dialect the entry of an opening balance is told to be in."""

_REASON: Final = "Opening balance"


class Newcomer(NamedTuple):
    """A customer with what they had: ``available`` points, and the lifetime counters."""

    line: int
    references: tuple[CustomerReference, ...]
    available: int
    earned: int
    burned: int
    first_name: str | None
    last_name: str | None


class Reject(NamedTuple):
    """A line that was not taken, and why."""

    line: int
    reason: str


class Batch(NamedTuple):
    """A batch by its name and the digest of what is in it."""

    name: str
    digest: str


def lines_taken(merchant_id: int, batch: Batch) -> Work[int | None]:
    """How many lines of the batch the ledger has taken; ``None`` where the name is that of another batch."""
    rows = yield Statement(
        "SELECT digest, lines FROM import_batches WHERE merchant_id = :merchant_id AND name = :name",
        {"merchant_id": merchant_id, "name": batch.name},
    )
    if not rows:
        return 0
    digest, lines = rows[0]
    return int(lines) if digest == batch.digest else None


def take(  # noqa: PLR0913 - a part, and what it is a part of
    dialect: Dialect,
    merchant: Merchant,
    merchant_id: int,
    batch: Batch,
    newcomers: Sequence[Newcomer],
    *,
    lines: int,
    now: int,
) -> Work[tuple[Reject, ...]]:
    """Takes a part of a batch, after which ``lines`` of it are taken; gives those that were refused."""
    part = _Part(merchant, merchant_id, now)
    yield from part.load(dialect, newcomers)
    rejects = tuple(reject for newcomer in newcomers if (reject := part.take(newcomer)) is not None)
    yield from part.write()
    yield Statement(
        "INSERT INTO import_batches (merchant_id, name, digest, lines) "
        "VALUES (:merchant_id, :name, :digest, :lines) "
        "ON CONFLICT (merchant_id, name) DO UPDATE SET lines = excluded.lines",
        {"merchant_id": merchant_id, "name": batch.name, "digest": batch.digest, "lines": lines},
    )
    return rejects


class _Part:
    """The working set of a part."""

    def __init__(self, merchant: Merchant, merchant_id: int, now: int) -> None:
        self._merchant = merchant
        self._merchant_id = merchant_id
        self._now = now
        self._owners: dict[CustomerReference, int] = {}
        self._wallets: dict[int, Wallet] = {}
        self._new: set[int] = set()
        self._moved: set[int] = set()
        self._references: list[tuple[int, str, str, int]] = []
        self._entries: list[Entry] = []
        self._profiles: list[tuple[object, ...]] = []
        self._wallet_ids: list[int] = []
        self._entry_ids: list[int] = []
        self._job = 0

    def load(self, dialect: Dialect, newcomers: Sequence[Newcomer]) -> Work[None]:
        columns = {"merchant_id": NUMBER, "namespace": TEXT, "value": TEXT}
        asked = dict.fromkeys(reference for newcomer in newcomers for reference in newcomer.references)
        rows = yield Each(
            f"SELECT {WALLET_COLUMNS}, a.namespace, a.value FROM {dialect.relation(columns)} a "
            "JOIN customer_references r "
            "ON r.merchant_id = a.merchant_id AND r.namespace = a.namespace AND r.value = a.value "
            "JOIN wallets w ON w.merchant_id = r.merchant_id AND w.id = r.wallet_id "
            f"{dialect.locking_wallets}",
            columns,
            [(self._merchant_id, one.namespace, one.value) for one in asked],
        )
        for row in rows:
            self._wallets[row[0]] = wallet_of(row)
            self._owners[CustomerReference(row[-2], row[-1])] = row[0]
        caught_up = yield from catch_up(dialect, self._merchant_id, self._wallets.values())
        self._wallets |= caught_up
        self._job = yield from last_job(dialect, self._merchant_id)
        self._wallet_ids = [number for (number,) in (yield NewIds(WALLETS, len(newcomers)))]
        self._entry_ids = [number for (number,) in (yield NewIds(ENTRIES, len(newcomers)))]

    def take(self, newcomer: Newcomer) -> Reject | None:
        known = {self._owners[one] for one in newcomer.references if one in self._owners}
        if len(known) > 1:
            return Reject(newcomer.line, "its references belong to different customers")
        if any(one.namespace == OWN_NAMESPACE for one in newcomer.references):
            return Reject(newcomer.line, "wallet_… is what the ledger itself calls a customer")
        wallet = self._wallets[known.pop()] if known else self._blank()
        if wallet.version:
            return Reject(newcomer.line, f"wallet_{wallet.id} has entries already, so it has no opening balance")
        for reference in newcomer.references:
            if reference not in self._owners:
                self._owners[reference] = wallet.id
                self._references.append((self._merchant_id, *_parts(reference), wallet.id))
        if wallet.id in self._new and (newcomer.first_name or newcomer.last_name):
            self._profiles.append((self._merchant_id, wallet.id, newcomer.first_name, newcomer.last_name))
        self._wallets[wallet.id] = self._opened(wallet, newcomer)
        return None

    def _blank(self) -> Wallet:
        wallet = blank_wallet(self._wallet_ids.pop(0), self._merchant_id, self._now, self._job)
        self._new.add(wallet.id)
        return wallet

    def _opened(self, wallet: Wallet, newcomer: Newcomer) -> Wallet:
        if not (newcomer.available or newcomer.earned or newcomer.burned):
            return wallet
        occurred_at = max(self._now, wallet.updated_at + 1)
        self._moved.add(wallet.id)
        self._entries.append(
            Entry(
                id=self._entry_ids.pop(0),
                wallet_id=wallet.id,
                version=1,
                vendor=VENDOR,
                points_delta=newcomer.available,
                points_asked=newcomer.available,
                points_before=0,
                points_after=newcomer.available,
                reserved_after=0,
                earned_delta=newcomer.earned,
                burned_delta=newcomer.burned,
                granted_after=newcomer.available,
                grants_after=int(newcomer.available > 0),
                reason=_REASON,
                metadata=None,
                notify=(),
                visible=True,
                idempotency_key=None,
                occurred_at=occurred_at,
            )
        )
        tier = tier_for(newcomer.earned, self._merchant.tiers)
        return msgspec.structs.replace(
            wallet,
            available=newcomer.available,
            lifetime_earned=newcomer.earned,
            lifetime_burned=newcomer.burned,
            granted=newcomer.available,
            grants=int(newcomer.available > 0),
            version=1,
            tier=None if tier is None else tier.name,
            updated_at=occurred_at,
            last_entry_at=occurred_at,
            last_entry_id=self._entries[-1].id,
        )

    def write(self) -> Work[None]:
        for insert, wallet_ids in ((Insert, sorted(self._new)), (Update, sorted(self._moved - self._new))):
            if wallet_ids:
                yield insert(WALLETS, [row_of_wallet(self._wallets[wallet_id]) for wallet_id in wallet_ids])
        for table, rows in (
            (REFERENCES, self._references),
            (ENTRIES, [row_of_entry(self._merchant_id, entry) for entry in self._entries]),
            (PROFILES, self._profiles),
        ):
            if rows:
                yield Insert(table, rows)


def _parts(reference: CustomerReference) -> tuple[str, str]:
    return reference.namespace, reference.value
