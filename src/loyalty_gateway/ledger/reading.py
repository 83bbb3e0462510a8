"""Reading the ledger: customers, lists of them and histories, each within one snapshot of whoever runs it.

A wallet's entries are numbered without a gap, and ids, times and the count of grants only rise with them. So any
place in a history is found by bisection, at the same cost wherever it lies, and without an index of its own.
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Everyone, Tier, Wallet
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
from loyalty_gateway.ledger.jobs import check_reached
from loyalty_gateway.ledger.statements import Dialect, Row, Statement, Work, only
from loyalty_gateway.ledger.tables import ENTRY_COLUMNS, WALLET_COLUMNS, entry_of, wallet_of
from loyalty_gateway.problem import Code, Problem

_ORDERED_BY: Final = {
    CustomerOrder.NUMBER: "w.id",
    CustomerOrder.UPDATED: "w.updated_at",
    CustomerOrder.AVAILABLE: "w.available",
    CustomerOrder.EARNED: "w.lifetime_earned",
    CustomerOrder.BURNED: "w.lifetime_burned",
}
_SHOWN: Final = {Only.ALL: "TRUE", Only.ADDED: "points_delta > 0", Only.DEDUCTED: "points_delta < 0"}
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode


class Reader:
    """Reads what is one merchant's; ``tiers`` are the merchant's, for customers that are read."""

    def __init__(self, dialect: Dialect, merchant_id: int, tiers: Sequence[Tier] = ()) -> None:
        self._dialect = dialect
        self._merchant_id = merchant_id
        self._tiers = tiers

    def customer(self, query: CustomerQuery) -> Work[Customer]:
        """See ``Ledger.customer``."""
        for reference in query.references:
            wallet = yield from self.wallet(reference)
            if wallet is not None:
                yield from check_reached(self._merchant_id, [wallet])
                return (yield from self.customers([wallet]))[wallet.id]
        raise Problem(Code.UNKNOWN_CUSTOMER)

    def wallet(self, reference: CustomerReference) -> Work[Wallet | None]:
        """The wallet of whom the reference names."""
        if reference.namespace == OWN_NAMESPACE:
            number = own_number(reference)
            if number is None:
                return None
            found = "FROM wallets w WHERE w.merchant_id = :merchant_id AND w.id = :number"
            named: dict[str, Any] = {"number": number}
        else:
            found = (
                "FROM customer_references r "
                "JOIN wallets w ON w.merchant_id = r.merchant_id AND w.id = r.wallet_id "
                "WHERE r.merchant_id = :merchant_id AND r.namespace = :namespace AND r.value = :value"
            )
            named = {"namespace": reference.namespace, "value": reference.value}
        rows = yield self._statement(f"SELECT {WALLET_COLUMNS} {found}", **named)
        return wallet_of(rows[0]) if rows else None

    def customers(self, wallets: Iterable[Wallet]) -> Work[dict[int, Customer]]:
        """The customers of these wallets, by number and in their order."""
        known = {wallet.id: wallet for wallet in wallets}
        references: dict[int, list[CustomerReference]] = {wallet_id: [] for wallet_id in known}
        ids = tuple(known)
        among = f"merchant_id = :merchant_id AND wallet_id IN {self._dialect.numbers(':ids')}"
        rows = yield self._statement(
            f"SELECT wallet_id, namespace, value FROM customer_references WHERE {among}", ids=ids
        )
        for wallet_id, namespace, value in rows:
            references[wallet_id].append(CustomerReference(namespace, value))
        rows = yield self._statement(
            "SELECT wallet_id, first_name, last_name, date_of_birth, anniversary_date, tags, source "
            f"FROM profiles WHERE {among}",
            ids=ids,
        )
        profiles = {wallet_id: _profile(*fields) for wallet_id, *fields in rows}
        return {
            wallet.id: Customer(
                wallet=wallet,
                references=tuple(sorted(references[wallet.id], key=str)),
                profile=profiles.get(wallet.id, _NO_PROFILE),
                tier=tier_for(wallet.lifetime_earned, self._tiers),
            )
            for wallet in known.values()
        }

    def list_customers(self, query: CustomersQuery) -> Work[Customers]:
        """See ``Ledger.customers``."""
        matching, parameters = _matching(query, self._dialect)
        found = (
            "FROM wallets w LEFT JOIN profiles p ON p.merchant_id = w.merchant_id AND p.wallet_id = w.id "
            f"WHERE w.merchant_id = :merchant_id {matching}"
        )
        direction, behind = ("DESC", "<") if query.descending else ("ASC", ">")
        column = _ORDERED_BY[query.order]
        tie_break = "" if query.order is CustomerOrder.NUMBER else f", w.id {direction}"
        place, places = "", dict[str, int]()
        if query.after is not None:
            place, places = f"AND w.id {behind} :after", {"after": query.after}
            if query.after_updated is not None:
                place = f"AND (w.updated_at, w.id) {behind} (:after_updated, :after)"
                places["after_updated"] = query.after_updated
        rows = yield self._statement(
            f"SELECT {WALLET_COLUMNS} {found} {place} "
            f"ORDER BY {column} {direction}{tie_break} LIMIT :limit OFFSET :offset",
            **parameters,
            **places,
            limit=query.limit + 1,
            offset=query.offset,
        )
        total = None
        if query.counts:
            total = int(only((yield self._statement(f"SELECT count(*) {found}", **parameters)))[0])
        page = [wallet_of(row) for row in rows[: query.limit]]
        # Where a job moves customers in the list, or into it, the page is known only after it.
        asks_when = (query.updated_from, query.updated_until) != (None, None)
        is_moved = asks_when or query.order is not CustomerOrder.NUMBER
        yield from check_reached(self._merchant_id, None if is_moved else page)
        customers = yield from self.customers(page)
        return Customers(customers=tuple(customers.values()), has_more=len(rows) > query.limit, total=total)

    def history(self, query: HistoryQuery) -> Work[History]:
        """See ``Ledger.history``."""
        if isinstance(query.customer, Everyone):
            yield from check_reached(self._merchant_id)
            rows = yield from self._entries_of_everyone(query)
            wallets = yield from self._wallets_of(rows)
        else:
            wallet = yield from self.wallet(query.customer)
            if wallet is None:
                raise Problem(Code.UNKNOWN_CUSTOMER)
            yield from check_reached(self._merchant_id, [wallet])
            rows = yield from self._entries_of(wallet, query)
            wallets = [wallet]
        customers = yield from self.customers(wallets)
        return History(
            entries=tuple(entry_of(row) for row in rows[: query.limit]),
            has_more=query.limit is not None and len(rows) > query.limit,
            customers=customers,
        )

    def _entries_of_everyone(self, query: HistoryQuery) -> Work[list[Row]]:
        rows = yield self._statement(
            f"SELECT {ENTRY_COLUMNS} FROM entries e "
            "WHERE merchant_id = :merchant_id AND id > :after AND id < :before "
            f"AND occurred_at >= :since AND occurred_at <= :until AND {_SHOWN[query.only]} "
            f"ORDER BY id {_direction(query)} LIMIT :limit",
            after=-1 if query.after is None else query.after,
            before=_ENDLESS if query.before is None else query.before,
            since=0 if query.since is None else query.since,
            until=_ENDLESS if query.until is None else query.until,
            limit=_limit(query),
        )
        return rows

    def _entries_of(self, wallet: Wallet, query: HistoryQuery) -> Work[list[Row]]:
        of_wallet = (
            f"SELECT {ENTRY_COLUMNS} FROM entries e "
            f"WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id AND {_SHOWN[query.only]}"
        )
        direction = _direction(query)
        if query.by_points:
            by_points = yield self._statement(
                f"{of_wallet} ORDER BY points_delta {direction}, version {direction} LIMIT :limit OFFSET :offset",
                wallet_id=wallet.id,
                limit=_limit(query),
                offset=query.offset,
            )
            return by_points
        first, last = yield from self._bounds(wallet, query)
        rows = yield self._statement(
            f"{of_wallet} AND version >= :first AND version <= :last ORDER BY version {direction} LIMIT :limit",
            wallet_id=wallet.id,
            first=first,
            last=last,
            limit=_limit(query),
        )
        return rows

    def _bounds(self, wallet: Wallet, query: HistoryQuery) -> Work[tuple[int, int]]:
        """The versions of the first and the last entry within the query's bounds."""
        first, last = 1, wallet.version
        if query.after is not None:
            first = max(first, (yield from self._first(wallet, "id > :bound", query.after)))
        if query.since is not None:
            first = max(first, (yield from self._first(wallet, "occurred_at >= :bound", query.since)))
        if query.before is not None:
            last = min(last, (yield from self._first(wallet, "id >= :bound", query.before)) - 1)
        if query.until is not None:
            last = min(last, (yield from self._first(wallet, "occurred_at > :bound", query.until)) - 1)
        if not query.offset:
            return first, last
        match query.only, query.newest_first:
            case Only.ALL, True:
                return first, last - query.offset
            case Only.ALL, False:
                return first + query.offset, last
            case Only.ADDED, True:
                spared = wallet.grants - query.offset
                return first, (yield from self._first(wallet, "grants_after > :bound", spared)) - 1
            case Only.ADDED, _:
                return (yield from self._first(wallet, "grants_after > :bound", query.offset)), last
            case _:
                # Deductions are not counted, so nobody knows where the page begins.
                raise NotImplementedError(query.only)

    def _first(self, wallet: Wallet, holds: str, bound: int) -> Work[int]:
        """The version of the first entry that meets a condition which all later ones meet too."""
        rows = yield self._statement(
            f"""
            WITH RECURSIVE bisected (low, high) AS (
                SELECT CAST(1 AS BIGINT), CAST(:version AS BIGINT) + 1
                UNION ALL
                SELECT CASE WHEN e.{holds} THEN low ELSE e.version + 1 END,
                       CASE WHEN e.{holds} THEN e.version ELSE high END
                FROM bisected
                JOIN entries e ON e.merchant_id = :merchant_id AND e.wallet_id = :wallet_id
                    AND e.version = (low + high) / 2
                WHERE low < high
            )
            SELECT low FROM bisected WHERE low = high
            """,
            version=wallet.version,
            bound=bound,
            wallet_id=wallet.id,
        )
        return int(only(rows)[0])

    def _wallets_of(self, entries: Iterable[Row]) -> Work[list[Wallet]]:
        rows = yield self._statement(
            f"SELECT {WALLET_COLUMNS} FROM wallets w "
            f"WHERE w.merchant_id = :merchant_id AND w.id IN {self._dialect.numbers(':ids')}",
            ids=tuple({row[1] for row in entries}),
        )
        return [wallet_of(row) for row in rows]

    def _statement(self, sql: str, **parameters: Any) -> Statement:
        return Statement(sql, parameters | {"merchant_id": self._merchant_id})


def own_number(reference: CustomerReference) -> int | None:
    """The wallet's number that a reference in the ledger's own namespace is; ``None`` where it is none."""
    if reference.namespace != OWN_NAMESPACE or not _NUMBER.fullmatch(reference.value):
        return None
    return int(reference.value)


_ENDLESS: Final = 2**63 - 1
_NO_PROFILE: Final = Profile()


def _limit(query: HistoryQuery) -> int:
    return _ENDLESS if query.limit is None else query.limit + 1


def _direction(query: HistoryQuery) -> str:
    return "DESC" if query.newest_first else "ASC"


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


def _matching(query: CustomersQuery, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    """The SQL conditions for the query's filters, each after an AND, with their parameters."""
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    if query.containing is not None:
        parameters["containing"] = query.containing
        contains = partial(dialect.contains, parameter=":containing", ascii_only=query.containing.isascii())
        parameters["searched"] = query.searched
        found = (
            "EXISTS (SELECT 1 FROM customer_references r "
            "WHERE r.merchant_id = w.merchant_id AND r.wallet_id = w.id "
            f"AND r.namespace IN {dialect.texts(':searched')} AND {contains('r.value')})"
        )
        if query.searches_names:
            name = "trim(coalesce(p.first_name, '') || ' ' || coalesce(p.last_name, ''))"
            found = f"({found} OR {contains(name)})"
        conditions.append(found)
    if query.excluded is not None:
        conditions.append("w.excluded = :excluded")
        parameters["excluded"] = int(query.excluded)
    for index, tag in enumerate(query.tags):
        conditions.append(dialect.has_element("coalesce(p.tags, '[]')", f":tag_{index}"))
        parameters[f"tag_{index}"] = msgspec.json.encode(tag).decode()
    if query.sources:
        conditions.append(f"p.source IN {dialect.texts(':sources')}")
        parameters["sources"] = query.sources
    for condition, bound in (
        ("w.created_at >= :created_from", query.created_from),
        ("w.created_at <= :created_until", query.created_until),
        ("w.updated_at >= :updated_from", query.updated_from),
        ("w.updated_at <= :updated_until", query.updated_until),
    ):
        if bound is not None:
            conditions.append(condition)
            parameters[condition.rpartition(":")[2]] = bound
    return "".join(f"AND {condition} " for condition in conditions), parameters
