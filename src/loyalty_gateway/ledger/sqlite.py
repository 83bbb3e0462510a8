"""The embedded ledger: one SQLite file, one writer thread, every group of adjustments one durable commit."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from loyalty_gateway.adjustment import CustomerReference, Instruction, Merchant, Receipt
from loyalty_gateway.ledger.groups import Gauges, Groups, Outcome
from loyalty_gateway.ledger.sqlite_group import Group
from loyalty_gateway.ledger.sqlite_schema import MIGRATIONS
from loyalty_gateway.problem import Code, ConfigurationError, Problem

R = TypeVar("R")

SECOND: Final = 1_000_000
"""Microseconds."""

_BUSY_TIMEOUT_SECONDS: Final = 2.0
_FORGET_KEYS_EVERY_SECONDS: Final = 60
_FORGET_KEYS_AT_ONCE: Final = 5_000


class SqliteLedger:
    """A ``Ledger`` in one SQLite file.

    Args:
        path: of the file, made when absent.
        keep_keys_seconds: how long an idempotency key is remembered.
        everyone_at_most: the most wallets that one adjustment of everyone reaches.
        gauges: is told the size of each group.
        clock: microseconds since the epoch.
    """

    def __init__(
        self,
        path: str,
        *,
        keep_keys_seconds: float = 86_400,
        everyone_at_most: int = 100_000,
        gauges: Gauges | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._path = path
        self._keep_keys = round(keep_keys_seconds * SECOND)
        self._everyone_at_most = everyone_at_most
        self._clock = clock
        self._forget_keys_at = 0
        self._merchant_ids: dict[str, int] = {}
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._groups = Groups(self._carry_out_in_writer, gauges)
        self._db: sqlite3.Connection | None = None
        self._closed = False

    async def open(self) -> None:
        """See ``Ledger.open``."""
        await self._in_writer(self._open)
        self._groups.start()

    async def close(self) -> None:
        """See ``Ledger.close``."""
        if self._closed:
            return
        self._closed = True
        await self._groups.close()
        await self._in_writer(self._close)
        self._writer.shutdown()

    async def enrol(self, merchant: Merchant, references: tuple[CustomerReference, ...]) -> int:
        """See ``Ledger.enrol``."""
        if self._closed:
            raise Problem(Code.UNAVAILABLE)
        return await self._in_writer(lambda: self._enrol(merchant, references))

    async def adjust(self, instruction: Instruction) -> Receipt:
        """See ``Ledger.adjust``."""
        return await self._groups.join(instruction)

    async def ready(self) -> bool:
        """See ``Ledger.ready``."""
        if self._closed:
            return False
        try:
            await self._in_writer(lambda: self._connection().execute("SELECT 1 FROM wallets LIMIT 1").fetchone())
        except (sqlite3.Error, Problem):
            return False
        return True

    async def _in_writer(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _open(self) -> None:
        try:
            self._db = _connect(self._path)
            _migrate(self._db, self._path)
        except sqlite3.Error as error:
            raise ConfigurationError(f"ledger: sqlite:///{self._path}", f"cannot be opened: {error}") from error

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise Problem(Code.UNAVAILABLE)
        return self._db

    def _enrol(self, merchant: Merchant, references: tuple[CustomerReference, ...]) -> int:
        try:
            merchant_id = self._merchant_id(merchant)
            return self._transaction(lambda group: group.enrol(merchant_id, references))
        except sqlite3.DatabaseError as error:
            raise _problem(error) from error

    async def _carry_out_in_writer(self, instructions: Sequence[Instruction]) -> Sequence[Outcome]:
        return await self._in_writer(lambda: self._carry_out(instructions))

    def _carry_out(self, instructions: Sequence[Instruction]) -> list[Outcome]:
        """One outcome each; a fault that only one instruction causes refuses only that one."""
        try:
            merchant_ids = [self._merchant_id(one.merchant) for one in instructions]
            pairs = list(zip(instructions, merchant_ids, strict=True))
            return self._transaction(lambda group: [_attempt(group, *pair) for pair in pairs])
        except sqlite3.OperationalError as error:
            return [_problem(error) for _ in instructions]
        except Exception as error:  # noqa: BLE001 - told to whom it concerns
            if len(instructions) > 1:
                return [outcome for one in instructions for outcome in self._carry_out([one])]
            return [_problem(error) if isinstance(error, sqlite3.DatabaseError) else error]

    def _transaction(self, work: Callable[[Group], R]) -> R:
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            now = self._clock()
            group = Group(db, now, keys_since=now - self._keep_keys, everyone_at_most=self._everyone_at_most)
            result = work(group)
            group.write()
            self._forget_old_keys(db, now)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return result

    def _forget_old_keys(self, db: sqlite3.Connection, now: int) -> None:
        if now < self._forget_keys_at:
            return
        forgotten = db.execute(
            "DELETE FROM idempotency_keys WHERE (merchant_id, vendor, key) IN "
            "(SELECT merchant_id, vendor, key FROM idempotency_keys WHERE created_at < ? LIMIT ?)",
            (now - self._keep_keys, _FORGET_KEYS_AT_ONCE),
        ).rowcount
        if forgotten < _FORGET_KEYS_AT_ONCE:
            self._forget_keys_at = now + _FORGET_KEYS_EVERY_SECONDS * SECOND

    def _merchant_id(self, merchant: Merchant) -> int:
        known = self._merchant_ids.get(merchant.name)
        if known is not None:
            return known
        db = self._connection()
        db.execute("INSERT INTO merchants (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (merchant.name,))
        (merchant_id,) = db.execute("SELECT id FROM merchants WHERE name = ?", (merchant.name,)).fetchone()
        self._merchant_ids[merchant.name] = merchant_id
        return int(merchant_id)


def _attempt(group: Group, instruction: Instruction, merchant_id: int) -> Outcome:
    try:
        return group.carry_out(instruction, merchant_id)
    except Problem as problem:
        return problem


def _problem(error: sqlite3.DatabaseError) -> Problem:
    busy = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    return Problem(Code.RECORD_BUSY if busy else Code.UNAVAILABLE)


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def _migrate(db: sqlite3.Connection, path: str) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"ledger: sqlite:///{path}",
            f"has schema version {version}, this gateway knows up to {len(MIGRATIONS)}; use a newer gateway",
        )
    db.execute("BEGIN EXCLUSIVE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";\n"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {max(version, len(MIGRATIONS))}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
