"""A ledger of any size, made by set-based SQL on the schema that the gateway itself created."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from loyalty_gateway.ledger.sqlite import SqliteLedger
from request_and_load import FIRST_CUSTOMER

_POINTS = 10
# Entry number n is of wallet n modulo the number of wallets, so that histories lie interleaved, as in life.
_ENTRIES = """
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :entries)
    INSERT INTO entries (id, merchant_id, wallet_id, version, vendor, points_delta, points_asked, points_before,
        points_after, reserved_after, earned_delta, burned_delta, granted_after, grants_after, reason, visible,
        occurred_at)
    SELECT n + 1, :merchant, n % :wallets + 1, n / :wallets + 1, 'mage', :points, :points,
        :points * (n / :wallets), :points * (n / :wallets + 1), 0, :points, 0, :points * (n / :wallets + 1),
        n / :wallets + 1, 'Goodwill gesture', 1, :since + n
    FROM numbers
"""
_WALLETS = """
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :wallets),
    folded AS (SELECT n, :entries / :wallets + (n < :entries % :wallets) AS version FROM numbers)
    INSERT INTO wallets (id, merchant_id, available, lifetime_earned, granted, grants, version, created_at,
        updated_at, last_entry_at, last_entry_id)
    SELECT n + 1, :merchant, :points * version, :points * version, :points * version, version, version, :since,
        :since + :entries, CASE WHEN version > 0 THEN :since + n + (version - 1) * :wallets END,
        CASE WHEN version > 0 THEN n + (version - 1) * :wallets + 1 ELSE 0 END
    FROM folded
"""
_REFERENCES = """
    INSERT INTO customer_references (merchant_id, namespace, value, wallet_id)
    SELECT merchant_id, 'shopify', CAST(:first + id - 1 AS TEXT), id FROM wallets ORDER BY 3
"""


def fill(path: Path, wallets: int, entries: int = 0) -> range:
    """Makes the ledger of the merchant ``demo``; gives the Shopify ids of its customers.

    Every wallet is the fold of its entries, as the gateway would have left it. Nothing is synced before the end.
    """
    asyncio.run(_create(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        # Larger than any index here: entries of a million wallets reach every page of it over and over.
        db.execute("PRAGMA cache_size = -2000000")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        merchant = db.execute("INSERT INTO merchants (name) VALUES ('demo')").lastrowid
        since = int(time.time() * 1e6) - entries - 1_000_000
        values = {"merchant": merchant, "wallets": wallets, "entries": entries, "points": _POINTS, "since": since}
        db.execute(_WALLETS, values)
        db.execute(_REFERENCES, {"first": FIRST_CUSTOMER})
        if entries:
            db.execute(_ENTRIES, values)
        db.execute("COMMIT")
        # The gateway starts without a log to take over; what is written here is on the disk before it does.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return range(FIRST_CUSTOMER, FIRST_CUSTOMER + wallets)


async def _create(path: Path) -> None:
    ledger = SqliteLedger(str(path))
    await ledger.open()
    await ledger.close()
