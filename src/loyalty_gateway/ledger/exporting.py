"""A merchant's customers, page after page in the order of their numbers, to be written elsewhere."""

from collections.abc import Sequence
from typing import NamedTuple

from loyalty_gateway.customer import Customer
from loyalty_gateway.ledger.jobs import check_reached
from loyalty_gateway.ledger.reading import Reader
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.ledger.tables import WALLET_COLUMNS, wallet_of


class Exported(NamedTuple):
    """A page of customers; ``last`` is the number behind which the next one begins, ``None`` at the end."""

    customers: Sequence[Customer]
    last: int | None


def namespaces(_dialect: Dialect, merchant: str) -> Work[list[str]]:
    """The namespaces in which the merchant's customers have references, in order."""
    rows = yield Statement(
        "SELECT DISTINCT r.namespace FROM customer_references r JOIN merchants m ON m.id = r.merchant_id "
        "WHERE m.name = :merchant ORDER BY r.namespace",
        {"merchant": merchant},
    )
    return [namespace for (namespace,) in rows]


def page(dialect: Dialect, merchant: str, after: int, limit: int) -> Work[Exported]:
    """The customers behind a number; raises Behind where a job has not reached one of them."""
    rows = yield Statement(
        f"SELECT {WALLET_COLUMNS} FROM wallets w JOIN merchants m ON m.id = w.merchant_id "
        "WHERE m.name = :merchant AND w.id > :after ORDER BY w.id LIMIT :limit",
        {"merchant": merchant, "after": after, "limit": limit},
    )
    wallets = [wallet_of(row) for row in rows]
    if not wallets:
        return Exported((), None)
    yield from check_reached(wallets[0].merchant_id, wallets)
    customers = yield from Reader(dialect, wallets[0].merchant_id).customers(wallets)
    return Exported(tuple(customers.values()), wallets[-1].id if len(wallets) == limit else None)
