"""Reading the SQLite ledger: customers, lists of them and histories, each from one snapshot.

A wallet's entries are numbered without a gap, and ids, times and the count of grants only rise with them. So any
place in a history is found by bisection, at the same cost wherever it lies, and without an index of its own.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Everyone, Merchant, Tier, Wallet
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
    CustomerQuery,
    Customers,
    CustomersQuery,
    History,
    HistoryQuery,
    Only,
    Profile,
)
from loyalty_gateway.engine import tier_for
from loyalty_gateway.ledger.sqlite_rows import ENTRY_COLUMNS, WALLET_COLUMNS, entry_of, wallet_of
from loyalty_gateway.problem import Code, Problem

_ORDERED_BY: Final = {
    CustomerOrder.NUMBER: "w.id",
    CustomerOrder.UPDATED: "w.updated_at",
    CustomerOrder.AVAILABLE: "w.available",
    CustomerOrder.EARNED: "w.lifetime_earned",
    CustomerOrder.BURNED: "w.lifetime_burned",
}
_SHOWN: Final = {Only.ALL: "1", Only.ADDED: "points_delta > 0", Only.DEDUCTED: "points_delta < 0"}
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class Reader:
    """Reads on one connection; whoever calls sees to a transaction around what belongs together.

    ``tiers`` are the merchant's, for customers that are read.
    """

    def __init__(self, db: sqlite3.Connection, tiers: Sequence[Tier] = ()) -> None:
        self._db = db
        self._tiers = tiers

    def probe(self) -> None:
        """Reads something, to see whether that is possible."""
        self._db.execute("SELECT 1 FROM wallets LIMIT 1").fetchone()

    def merchant_id(self, merchant: Merchant) -> int:
        """The merchant's number; 0, which is nobody's, for one that the ledger has not met."""
        row = self._db.execute("SELECT id FROM merchants WHERE name = ?", (merchant.name,)).fetchone()
        return 0 if row is None else int(row[0])

    def customer(self, merchant_id: int, query: CustomerQuery) -> Customer:
        """See ``Ledger.customer``."""
        for reference in query.references:
            wallet = self.wallet(merchant_id, reference)
            if wallet is not None:
                return self.customers([wallet])[wallet.id]
        raise Problem(Code.UNKNOWN_CUSTOMER)

    def wallet(self, merchant_id: int, reference: CustomerReference) -> Wallet | None:
        """The wallet of whom the reference names."""
        if reference.namespace == OWN_NAMESPACE:
            if not _NUMBER.fullmatch(reference.value):
                return None
            found = "FROM wallets w WHERE w.merchant_id = ? AND w.id = ?"
            parameters: tuple[Any, ...] = (merchant_id, int(reference.value))
        else:
            found = (
                "FROM customer_references r JOIN wallets w ON w.id = r.wallet_id "
                "WHERE r.merchant_id = ? AND r.namespace = ? AND r.value = ?"
            )
            parameters = (merchant_id, reference.namespace, reference.value)
        row = self._db.execute(f"SELECT {WALLET_COLUMNS} {found}", parameters).fetchone()
        return None if row is None else wallet_of(row)

    def customers(self, wallets: Iterable[Wallet]) -> dict[int, Customer]:
        """The customers of these wallets, by number and in their order."""
        known = {wallet.id: wallet for wallet in wallets}
        references: dict[int, list[CustomerReference]] = {wallet_id: [] for wallet_id in known}
        ids = msgspec.json.encode(list(known)).decode()
        among = "wallet_id IN (SELECT value FROM json_each(?))"
        for wallet_id, namespace, value in self._db.execute(
            f"SELECT wallet_id, namespace, value FROM customer_references WHERE {among}",
            (ids,),
        ):
            references[wallet_id].append(CustomerReference(namespace, value))
        profiles = {
            wallet_id: _profile(*fields)
            for wallet_id, *fields in self._db.execute(
                "SELECT wallet_id, first_name, last_name, date_of_birth, anniversary_date, tags, source "
                f"FROM profiles WHERE {among}",
                (ids,),
            )
        }
        return {
            wallet.id: Customer(
                wallet=wallet,
                references=tuple(sorted(references[wallet.id], key=str)),
                profile=profiles.get(wallet.id, _NO_PROFILE),
                tier=tier_for(wallet.lifetime_earned, self._tiers),
            )
            for wallet in known.values()
        }

    def list_customers(self, merchant_id: int, query: CustomersQuery) -> Customers:
        """See ``Ledger.customers``."""
        matching, parameters = _matching(query)
        parameters |= {"merchant_id": merchant_id, "limit": query.limit + 1, "offset": query.offset}
        direction = "DESC" if query.descending else "ASC"
        column = _ORDERED_BY[query.order]
        tie_break = "" if query.order is CustomerOrder.NUMBER else f", w.id {direction}"
        place = ""
        if query.after is not None:
            behind = "<" if query.descending else ">"
            place = f"AND w.id {behind} :after"
            parameters["after"] = query.after
            if query.after_updated is not None:
                place = f"AND (w.updated_at, w.id) {behind} (:after_updated, :after)"
                parameters["after_updated"] = query.after_updated
        rows = self._db.execute(
            f"SELECT {WALLET_COLUMNS} FROM wallets w LEFT JOIN profiles p ON p.wallet_id = w.id "
            f"WHERE {matching} {place} ORDER BY {column} {direction}{tie_break} LIMIT :limit OFFSET :offset",
            parameters,
        ).fetchall()
        total = None
        if query.counts:
            (total,) = self._db.execute(
                f"SELECT count(*) FROM wallets w LEFT JOIN profiles p ON p.wallet_id = w.id WHERE {matching}",
                parameters,
            ).fetchone()
        page = [wallet_of(row) for row in rows[: query.limit]]
        return Customers(
            customers=tuple(self.customers(page).values()), has_more=len(rows) > query.limit, total=total
        )

    def history(self, merchant_id: int, query: HistoryQuery) -> History:
        """See ``Ledger.history``."""
        if isinstance(query.customer, Everyone):
            rows = self._entries_of_everyone(merchant_id, query)
            wallets = self._wallets_of(rows)
        else:
            wallet = self.wallet(merchant_id, query.customer)
            if wallet is None:
                raise Problem(Code.UNKNOWN_CUSTOMER)
            rows = self._entries_of(wallet, query)
            wallets = [wallet]
        return History(
            entries=tuple(entry_of(row) for row in rows[: query.limit]),
            has_more=query.limit is not None and len(rows) > query.limit,
            customers=self.customers(wallets),
        )

    def _entries_of_everyone(self, merchant_id: int, query: HistoryQuery) -> list[tuple[Any, ...]]:
        return self._db.execute(
            f"SELECT {ENTRY_COLUMNS} FROM entries e WHERE merchant_id = ? AND id > ? AND id < ? "
            f"AND occurred_at BETWEEN ? AND ? AND {_SHOWN[query.only]} "
            f"ORDER BY id {'DESC' if query.newest_first else 'ASC'} LIMIT ?",
            (
                merchant_id,
                -1 if query.after is None else query.after,
                _ENDLESS if query.before is None else query.before,
                0 if query.since is None else query.since,
                _ENDLESS if query.until is None else query.until,
                _limit(query),
            ),
        ).fetchall()

    def _entries_of(self, wallet: Wallet, query: HistoryQuery) -> list[tuple[Any, ...]]:
        direction = "DESC" if query.newest_first else "ASC"
        if query.by_points:
            return self._db.execute(
                f"SELECT {ENTRY_COLUMNS} FROM entries e WHERE wallet_id = ? AND {_SHOWN[query.only]} "
                f"ORDER BY points_delta {direction}, version {direction} LIMIT ? OFFSET ?",
                (wallet.id, _limit(query), query.offset),
            ).fetchall()
        first, last = self._bounds(wallet, query)
        return self._db.execute(
            f"SELECT {ENTRY_COLUMNS} FROM entries e WHERE wallet_id = ? AND version BETWEEN ? AND ? "
            f"AND {_SHOWN[query.only]} ORDER BY version {direction} LIMIT ?",
            (wallet.id, first, last, _limit(query)),
        ).fetchall()

    def _bounds(self, wallet: Wallet, query: HistoryQuery) -> tuple[int, int]:
        """The versions of the first and the last entry within the query's bounds."""
        first, last = 1, wallet.version
        if query.after is not None:
            first = max(first, self._first(wallet, "id > ?", query.after))
        if query.since is not None:
            first = max(first, self._first(wallet, "occurred_at >= ?", query.since))
        if query.before is not None:
            last = min(last, self._first(wallet, "id >= ?", query.before) - 1)
        if query.until is not None:
            last = min(last, self._first(wallet, "occurred_at > ?", query.until) - 1)
        if not query.offset:
            return first, last
        match query.only, query.newest_first:
            case Only.ALL, True:
                return first, last - query.offset
            case Only.ALL, False:
                return first + query.offset, last
            case Only.ADDED, True:
                return first, self._first(wallet, "grants_after > ?", wallet.grants - query.offset) - 1
            case _:
                return self._first(wallet, "grants_after > ?", query.offset), last

    def _first(self, wallet: Wallet, holds: str, value: int) -> int:
        """The version of the first entry that meets a condition which all later ones meet too."""
        (version,) = self._db.execute(
            f"""
            WITH RECURSIVE bisected (low, high) AS (
                SELECT 1, ? + 1
                UNION ALL
                SELECT CASE WHEN e.{holds} THEN low ELSE e.version + 1 END,
                       CASE WHEN e.{holds} THEN e.version ELSE high END
                FROM bisected JOIN entries e ON e.wallet_id = ? AND e.version = (low + high) / 2
                WHERE low < high
            )
            SELECT low FROM bisected WHERE low = high
            """,
            (wallet.version, value, value, wallet.id),
        ).fetchone()
        return int(version)

    def _wallets_of(self, entries: Iterable[tuple[Any, ...]]) -> list[Wallet]:
        ids = msgspec.json.encode(list({row[1] for row in entries})).decode()
        rows = self._db.execute(
            f"SELECT {WALLET_COLUMNS} FROM wallets w WHERE w.id IN (SELECT value FROM json_each(?))",
            (ids,),
        )
        return [wallet_of(row) for row in rows]


_ENDLESS: Final = 2**63 - 1
_NO_PROFILE: Final = Profile()


def _limit(query: HistoryQuery) -> int:
    # SQLite takes a negative limit for none.
    return -1 if query.limit is None else query.limit + 1


def _profile(  # noqa: PLR0913, PLR0917 - a row's columns
    first_name: str | None,
    last_name: str | None,
    date_of_birth: str | None,
    anniversary_date: str | None,
    tags: str,
    source: str | None,
) -> Profile:
    return Profile(
        first_name=first_name,
        last_name=last_name,
        date_of_birth=date_of_birth,
        anniversary_date=anniversary_date,
        tags=_decode_tags(tags),
        source=source,
    )


def _matching(query: CustomersQuery) -> tuple[str, dict[str, Any]]:
    """The SQL condition for the query's filters, with its parameters."""
    conditions = ["w.merchant_id = :merchant_id"]
    parameters: dict[str, Any] = {}
    if query.containing is not None:
        parameters["containing"] = query.containing
        searched = ", ".join(f":namespace_{index}" for index, _ in enumerate(query.searched))
        parameters |= {f"namespace_{index}": namespace for index, namespace in enumerate(query.searched)}
        found = (
            "EXISTS (SELECT 1 FROM customer_references r WHERE r.wallet_id = w.id "
            f"AND r.namespace IN ({searched}) AND contains(r.value, :containing))"
        )
        if query.searches_names:
            found = f"({found} OR contains(concat_names(p.first_name, p.last_name), :containing))"
        conditions.append(found)
    if query.excluded is not None:
        conditions.append("w.excluded = :excluded")
        parameters["excluded"] = query.excluded
    for index, tag in enumerate(query.tags):
        conditions.append(
            f"EXISTS (SELECT 1 FROM json_each(coalesce(p.tags, '[]')) tag WHERE tag.value = :tag_{index})"
        )
        parameters[f"tag_{index}"] = tag
    if query.sources:
        conditions.append("p.source IN (SELECT value FROM json_each(:sources))")
        parameters["sources"] = msgspec.json.encode(query.sources).decode()
    for condition, bound in (
        ("w.created_at >= :created_from", query.created_from),
        ("w.created_at <= :created_until", query.created_until),
        ("w.updated_at >= :updated_from", query.updated_from),
        ("w.updated_at <= :updated_until", query.updated_until),
    ):
        if bound is not None:
            conditions.append(condition)
            parameters[condition.rpartition(":")[2]] = bound
    return " AND ".join(conditions), parameters


def add_functions(db: sqlite3.Connection) -> None:
    """Gives a connection the reader's own functions; SQLite itself folds only ASCII letters."""
    db.create_function("contains", 2, _contains, deterministic=True)
    db.create_function("concat_names", 2, _concat_names, deterministic=True)


def _contains(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


def _concat_names(first: str | None, last: str | None) -> str:
    return " ".join(filter(None, (first, last)))
