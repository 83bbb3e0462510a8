"""Ledgers that earlier gateways left behind, stored as they were: brought up at start with everything in them.

``older/`` has them as SQL, by database and schema version, as those gateways wrote them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opened import JANE, OMAR, Opened, instruction, unfolded

from loyalty_gateway.adjustment import CustomerReference, Everyone, Merchant, Tier
from loyalty_gateway.customer import Customer, CustomerQuery, HistoryQuery
from loyalty_gateway.ledger import postgres_schema, sqlite_schema
from loyalty_gateway.ledger_commands.verifying import verify
from loyalty_gateway.problem import Code
from stores import PostgresServer, SqliteFile, Store

OLDER = sorted((Path(__file__).parent / "older").glob("*.sql"))
DEMO = Merchant(name="demo", tiers=(Tier(name="gold", points_required=100),))
ZOE = CustomerReference("salla", "748394059")


@pytest.fixture(params=OLDER, ids=[path.stem for path in OLDER])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, str]]:
    """A stored ledger, restored, and which one it is."""
    path: Path = request.param
    sql = path.read_text(encoding="utf-8")
    if path.stem.startswith("sqlite"):
        file = SqliteFile(tmp_path / "older.db")
        with closing(sqlite3.connect(file.path)) as db:
            db.executescript(sql)
        yield file, path.stem
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database("empty") as database:
        server.execute(sql, database=database.name)
        yield database, path.stem


def _facts(store: Store) -> list[dict[str, Any]]:
    """What stood in a ledger of any age."""
    wallets = store.rows(
        "SELECT m.name, r.namespace, r.value, w.id, w.available, w.reserved, w.lifetime_earned, "
        "w.lifetime_burned, w.version, w.excluded, w.tier, w.created_at, w.updated_at, w.last_entry_at "
        "FROM wallets w JOIN merchants m ON m.id = w.merchant_id LEFT JOIN customer_references r "
        "ON r.wallet_id = w.id ORDER BY w.id, r.namespace"
    )
    entries = store.rows(
        "SELECT id, merchant_id, wallet_id, version, vendor, points_delta, points_asked, points_before, "
        "points_after, earned_delta, burned_delta, reason, metadata, notify, visible, idempotency_key, "
        "occurred_at FROM entries ORDER BY id"
    )
    return wallets + entries


def test_everything_that_was_in_it_is_in_it_and_holds(older: tuple[Store, str]) -> None:
    store, _ = older
    before = _facts(store)

    opened = Opened(store)
    sound = opened.run(verify(opened.ledger))
    after = _facts(store)
    opened.close()

    assert len(before) == 5 + 12
    assert after == before
    assert sound
    assert unfolded(store) == []


def test_its_customers_are_read_and_go_on_where_they_stood(older: tuple[Store, str]) -> None:
    store, which = older
    opened = Opened(store)
    opened.clock.now = 1_800_000_000_000_000

    jane: Customer = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=(JANE,))))
    zoe: Customer = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=(ZOE,))))
    history = opened.run(opened.ledger.history(DEMO, HistoryQuery(customer=JANE, limit=99)))
    receipt = opened.adjust(instruction((JANE, OMAR), 10, merchant=DEMO))
    opened.adjust(instruction(Everyone.EVERYONE, 1, merchant=DEMO))

    assert (jane.wallet.available, jane.wallet.granted, jane.wallet.grants, jane.wallet.tier) == (
        123,
        143,
        4,
        "gold",
    )
    assert zoe.profile.first_name == (None if which == "sqlite-1" else "Zoë")
    assert [entry.points_delta for entry in history.entries] == [3, 5, 15, -20, 120]
    assert history.entries[-1].metadata == {"order": [1, "x"]}
    assert [entry.points_after for entry in receipt.entries] == [133, 10]
    assert opened.run(verify(opened.ledger))
    opened.close()


def test_its_idempotency_keys_still_count(older: tuple[Store, str]) -> None:
    store, _ = older
    opened = Opened(store, keep_keys_seconds=1e9)
    opened.clock.now = 1_700_000_060_000_000

    replayed = opened.adjust(instruction(JANE, 120, "k1", b"fingerprint of k1", merchant=DEMO))
    reused = opened.refusal(instruction(JANE, 120, "k1", b"another", merchant=DEMO))

    assert (replayed.replayed, replayed.entries[0].points_after) == (True, 120)
    assert reused is Code.KEY_REUSED
    assert opened.available(JANE) == 123
    opened.close()


def test_every_schema_but_the_present_one_has_a_stored_ledger_or_one_behind_it() -> None:
    """So that every migration is tried on a ledger that a gateway wrote."""
    stored = {path.stem for path in OLDER}

    assert {"sqlite-1", f"sqlite-{len(sqlite_schema.MIGRATIONS) - 1}"} <= stored
    assert {"postgres-1", f"postgres-{len(postgres_schema.MIGRATIONS) - 1}"} <= stored
