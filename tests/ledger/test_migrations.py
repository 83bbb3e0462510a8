"""SQLite ledgers of earlier gateways are brought up with everything in them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opened import DEMO, JANE, Opened, instruction

from loyalty_gateway.adjustment import LARGEST_POINTS
from loyalty_gateway.customer import Customer, CustomerQuery
from loyalty_gateway.ledger.sqlite_schema import MIGRATIONS
from stores import SqliteFile


def _ledger_of(path: Path, version: int, points: dict[int, tuple[int, ...]]) -> None:
    """A ledger of that schema, with each wallet's points one after another, the wallets taking turns."""
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("".join(MIGRATIONS[:version]) + f"PRAGMA user_version = {version};")
        db.execute("INSERT INTO merchants (id, name) VALUES (1, 'demo')")
        for wallet_id, deltas in points.items():
            db.execute(
                "INSERT INTO wallets (id, merchant_id, available, version, created_at, updated_at) "
                "VALUES (?, 1, ?, ?, 0, 0)",
                (wallet_id, sum(deltas), len(deltas)),
            )
            db.execute(
                "INSERT INTO customer_references VALUES (1, ?, ?, ?)",
                (JANE.namespace, JANE.value if wallet_id == 1 else str(wallet_id), wallet_id),
            )
        turns = sorted(
            (version, wallet_id, delta)
            for wallet_id, deltas in points.items()
            for version, delta in enumerate(deltas, start=1)
        )
        db.executemany(
            "INSERT INTO entries (version, wallet_id, points_delta, merchant_id, vendor, points_before, "
            "points_after, reserved_after, earned_delta, burned_delta, visible, occurred_at) "
            "VALUES (?, ?, ?, 1, 'mage', 0, 0, 0, 0, 0, 1, 0)",
            turns,
        )


def _opened(path: Path) -> Opened:
    """The ledger as this gateway opens it."""
    return Opened(SqliteFile(path))


def _grants(opened: Opened, wallet_id: int) -> list[tuple[Any, ...]]:
    rows = opened.rows(
        "SELECT granted_after, grants_after FROM entries WHERE wallet_id = ? ORDER BY version", (wallet_id,)
    )
    wallets = opened.rows("SELECT granted, grants FROM wallets WHERE id = ?", (wallet_id,))
    return [tuple(row.values()) for row in [*rows, *wallets]]


def test_grants_of_each_wallet_are_counted_where_nobody_counted_them_before(tmp_path: Path) -> None:
    _ledger_of(tmp_path / "ledger.db", 1, {1: (10, -4, 5), 2: (7, 0, 3), 3: ()})

    opened = _opened(tmp_path / "ledger.db")

    assert _grants(opened, 1) == [(10, 1), (10, 1), (15, 2), (15, 2)]
    assert _grants(opened, 2) == [(7, 1), (7, 1), (10, 2), (10, 2)]
    assert _grants(opened, 3) == [(0, 0)]
    assert opened.adjust(instruction(JANE, 5)).wallets[0].granted == 20
    opened.close()


@pytest.mark.parametrize("first", [LARGEST_POINTS, LARGEST_POINTS - 1, 2**62])
def test_grants_beyond_64_bits_are_as_many_as_there_can_be(tmp_path: Path, first: int) -> None:
    _ledger_of(tmp_path / "ledger.db", 1, {1: (first, -first, 2**32 - 1, 2**62)})

    opened = _opened(tmp_path / "ledger.db")

    so_far = [first, first, first + 2**32 - 1, first + 2**32 - 1 + 2**62]
    told = [min(granted, LARGEST_POINTS) for granted in so_far]
    assert _grants(opened, 1) == [*zip(told, (1, 1, 2, 3), strict=True), (told[-1], 3)]
    opened.close()


def test_profiles_stay_with_their_customers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    _ledger_of(path, 2, {1: (10,), 2: ()})
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO profiles (wallet_id, first_name, tags) VALUES (1, 'Jane', '[\"vip\"]')")

    opened = _opened(path)

    jane: Customer = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=(JANE,))))
    assert (jane.profile.first_name, jane.profile.last_name, jane.profile.tags) == ("Jane", None, ("vip",))
    opened.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_ledger_of_any_age_is_of_this_one_afterwards(tmp_path: Path, version: int) -> None:
    _ledger_of(tmp_path / "ledger.db", version, {1: (10,)})

    opened = _opened(tmp_path / "ledger.db")
    opened.reopen()

    assert opened.rows("PRAGMA user_version") == [{"user_version": len(MIGRATIONS)}]
    assert opened.available(JANE) == 10
    opened.close()
