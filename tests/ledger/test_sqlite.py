"""What only the SQLite ledger promises: of its file, its disk and whoever else holds it."""

import asyncio
import fcntl
import os
import re
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
from opened import DEMO, JANE, JANES_EMAIL, NOBODY, OMAR, Opened, codes, instruction, unfolded

from loyalty_gateway.adjustment import Everyone
from loyalty_gateway.customer import CustomerQuery
from loyalty_gateway.ledger import sqlite
from loyalty_gateway.ledger.sqlite import SqliteLedger
from loyalty_gateway.ledger.sqlite_schema import MIGRATIONS
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from stores import SqliteFile


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    return SqliteFile(tmp_path / "ledger.db")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for whoever holds the file a moment only."""
    monkeypatch.setattr(sqlite, "_BESIDE_BUSY_TIMEOUT_MILLISECONDS", 100)


@pytest.fixture
def opened(file: SqliteFile) -> Iterator[Opened]:
    """A ledger with Jane, who has two references, and Omar, who has one."""
    opened = Opened(file)
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    yield opened
    opened.close()


def test_every_commit_waits_for_the_disk_and_readers_never_wait_for_it(opened: Opened) -> None:
    assert isinstance(opened.ledger, SqliteLedger)
    own = opened.ledger._db  # noqa: SLF001 - whether it syncs is a property of the connection that writes
    assert own is not None

    assert own.execute("PRAGMA synchronous").fetchone() == (2,)
    assert own.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert opened.rows("PRAGMA journal_mode") == [{"journal_mode": "wal"}]


def test_a_ledger_of_a_newer_gateway_is_refused_untouched(opened: Opened, file: SqliteFile) -> None:
    opened.close_ledger()
    opened.execute("PRAGMA user_version = 99")

    with pytest.raises(ConfigurationError, match="schema version 99") as refused:
        opened.run(SqliteLedger(str(file.path)).open())

    assert str(file.path) in refused.value.where
    assert opened.rows("PRAGMA user_version") == [{"user_version": 99}]


def test_a_gateway_starts_while_somebody_looks_whether_the_file_is_served(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    lock = Path(f"{path}.lock")
    lock.touch()

    async def open_while_looking(looking: TextIO) -> None:
        ledger = SqliteLedger(str(path), alone=True)
        fcntl.flock(looking, fcntl.LOCK_SH)
        opening = asyncio.create_task(ledger.open())
        await asyncio.sleep(0.03)
        fcntl.flock(looking, fcntl.LOCK_UN)
        await opening
        await ledger.close()

    with lock.open(encoding="utf-8") as looking:
        asyncio.run(open_while_looking(looking))

    assert lock.read_text(encoding="utf-8") == str(os.getpid())


def test_a_file_is_served_once_by_whichever_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "alias.db").symlink_to(tmp_path / "ledger.db")

    async def open_twice() -> None:
        one, other = (SqliteLedger(str(tmp_path / name), alone=True) for name in ("ledger.db", "alias.db"))
        await one.open()
        try:
            await other.open()
        finally:
            await one.close()
            await other.close()

    with pytest.raises(ConfigurationError, match="serves it"):
        asyncio.run(open_twice())


def test_a_ledger_that_an_earlier_gateway_serves_is_not_brought_up_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    asyncio.run(_opened_and_closed(SqliteLedger(str(path), alone=True)))
    with closing(sqlite3.connect(path)) as db, Path(f"{path}.lock").open(encoding="utf-8") as lock:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigurationError, match="an earlier version; stop that first"):
            asyncio.run(_opened_and_closed(SqliteLedger(str(path))))


async def _opened_and_closed(ledger: SqliteLedger) -> None:
    try:
        await ledger.open()
    finally:
        await ledger.close()


@pytest.mark.parametrize("path", ["", "absent/ledger.db", "text.db"])
def test_a_ledger_that_cannot_be_opened_is_a_configuration_error_that_names_it(tmp_path: Path, path: str) -> None:
    (tmp_path / "text.db").write_text("This is no database. " * 100, encoding="utf-8")

    with pytest.raises(ConfigurationError) as refused:
        asyncio.run(SqliteLedger(str(tmp_path / path)).open())

    assert str(tmp_path / path) in refused.value.where


def test_a_ledger_made_before_grants_were_counted_is_brought_up(file: SqliteFile) -> None:
    with closing(sqlite3.connect(file.path)) as db, db:
        db.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
        db.execute("INSERT INTO merchants (id, name) VALUES (1, 'demo')")
        for wallet_id, points in ((1, (10, -4, 5)), (2, ())):
            db.execute(
                "INSERT INTO wallets (id, merchant_id, available, version, created_at, updated_at) "
                "VALUES (?, 1, ?, ?, 0, 0)",
                (wallet_id, sum(points), len(points)),
            )
            for version, delta in enumerate(points, start=1):
                db.execute(
                    "INSERT INTO entries (merchant_id, wallet_id, version, vendor, points_delta, points_before, "
                    "points_after, reserved_after, earned_delta, burned_delta, visible, occurred_at) "
                    "VALUES (1, ?, ?, 'mage', ?, 0, 0, 0, 0, 0, 1, ?)",
                    (wallet_id, version, delta, version),
                )

    opened = Opened(file)

    assert opened.rows("SELECT granted_after, grants_after FROM entries ORDER BY id") == [
        {"granted_after": 10, "grants_after": 1},
        {"granted_after": 10, "grants_after": 1},
        {"granted_after": 15, "grants_after": 2},
    ]
    assert opened.rows("SELECT granted, grants FROM wallets ORDER BY id") == [
        {"granted": 15, "grants": 2},
        {"granted": 0, "grants": 0},
    ]
    opened.close()


@contextmanager
def _no_room_behind(path: Path) -> Iterator[None]:
    """No file of this process can grow beyond this one, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("customers", [JANE, (JANE, OMAR), Everyone.EVERYONE], ids=["one", "list", "everyone"])
def test_a_ledger_on_a_full_disk_is_unavailable_until_there_is_room(
    opened: Opened, file: SqliteFile, customers: Any
) -> None:
    with _no_room_behind(file.path.with_name("ledger.db-wal")):
        refusals = codes(opened.at_once(instruction(customers, 10, "k"), instruction(OMAR, 10)))

    assert refusals == [Code.UNAVAILABLE, Code.UNAVAILABLE]
    assert opened.deltas() == []
    assert not opened.adjust(instruction(customers, 10, "k")).replayed
    opened.reopen()
    assert opened.available(JANE) == 10
    assert unfolded(opened) == []


@pytest.mark.parametrize("customers", [JANE, (JANE, OMAR), Everyone.EVERYONE], ids=["one", "list", "everyone"])
def test_a_ledger_that_may_only_be_read_for_a_while_is_unavailable_for_writing(
    opened: Opened, customers: Any
) -> None:
    assert isinstance(opened.ledger, SqliteLedger)
    own = opened.ledger._db  # noqa: SLF001 - a file that was open when it was protected stays writable
    assert own is not None
    before = opened.contents()

    own.execute("PRAGMA query_only = ON")
    refusals = codes(opened.at_once(instruction(customers, 10, "k"), instruction(OMAR, 10)))
    ready = [opened.run(opened.ledger.ready())]
    jane = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=(JANE,))))
    kept = opened.contents()
    own.execute("PRAGMA query_only = OFF")
    ready.append(opened.run(opened.ledger.ready()))

    assert refusals == [Code.UNAVAILABLE, Code.UNAVAILABLE]
    assert ready == [False, True]
    assert jane.wallet.available == 0
    assert kept == before
    assert not opened.adjust(instruction(customers, 10, "k")).replayed
    assert unfolded(opened) == []


@pytest.mark.usefixtures("impatient")
def test_a_ledger_that_somebody_else_holds_is_busy_and_then_at_hand_again(
    opened: Opened, file: SqliteFile
) -> None:
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    refusals = codes(opened.at_once(instruction(JANE, 10, "k"), instruction(OMAR, 10)))
    ready = [opened.run(opened.ledger.ready())]
    other.execute("ROLLBACK")
    other.close()
    ready.append(opened.run(opened.ledger.ready()))

    assert refusals == [Code.RECORD_BUSY, Code.RECORD_BUSY]
    assert ready == [False, True]
    assert opened.deltas() == []
    assert not opened.adjust(instruction(JANE, 10, "k")).replayed


@pytest.mark.usefixtures("impatient")
def test_enrolling_in_a_ledger_that_somebody_else_holds_is_busy(opened: Opened, file: SqliteFile) -> None:
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Problem) as refused:
        opened.enrol(NOBODY)
    other.close()

    assert refused.value.code is Code.RECORD_BUSY


@pytest.mark.parametrize(
    ("found", "index"),
    [
        (
            "customer_references WHERE merchant_id = 1 AND wallet_id IN (SELECT value FROM json_each('[1]'))",
            "references",
        ),
        ("entries e WHERE merchant_id = 1 AND wallet_id = 1 AND version <= 5 ORDER BY version DESC", "entries"),
        ("entries e WHERE merchant_id = 1 AND wallet_id <= 5 AND (wallet_id, version) > (1, 0)", "entries"),
    ],
)
def test_what_is_one_customers_is_found_by_the_customer_however_many_there_are(
    opened: Opened, found: str, index: str
) -> None:
    plan = " ".join(row["detail"] for row in opened.rows(f"EXPLAIN QUERY PLAN SELECT wallet_id FROM {found}"))

    assert re.search(rf"INDEX {index}_of_wallet \(merchant_id=\? AND \(?wallet_id", plan), plan
