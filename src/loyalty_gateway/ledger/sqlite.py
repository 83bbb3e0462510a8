"""The embedded ledger: one SQLite file, one writer thread, every group of adjustments one durable commit."""

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar, cast

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.ledger.group import Terms, carry_out
from loyalty_gateway.ledger.groups import Gauges
from loyalty_gateway.ledger.jobs import Chunk, advance, is_any_unfinished
from loyalty_gateway.ledger.keys import forget_keys
from loyalty_gateway.ledger.orders import Outcome, Task
from loyalty_gateway.ledger.short_reads import ShortReads
from loyalty_gateway.ledger.sqlite_dialect import SqliteDialect, add_functions, run
from loyalty_gateway.ledger.sqlite_schema import MIGRATIONS
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger.stored import SECOND, StoredLedger
from loyalty_gateway.problem import Code, ConfigurationError, Problem

R = TypeVar("R")

_BUSY_TIMEOUT_SECONDS: Final = 2.0
_LOCK_SECONDS: Final = 0.1
"""How long the lock is asked for: somebody may be looking, for a moment, whether it is held."""
_BESIDE_BUSY_TIMEOUT_MILLISECONDS: Final = 10_000
"""Who works beside the process that serves waits longer: that one writes most of the time."""
_FORGET_KEYS_EVERY_SECONDS: Final = 60
_FORGET_KEYS_AT_ONCE: Final = 5_000
_LONG_READERS: Final = 2
_WRITER_CACHE_KIBIBYTES: Final = 16_000
_DIALECT: Final = SqliteDialect()


class SqliteLedger(StoredLedger):
    """A ``Ledger`` in one SQLite file.

    Args:
        path: of the file, made when absent.
        alone: whether another ledger that is to be alone with the file keeps this one from opening.
        keep_keys_seconds: see ``StoredLedger``, as of the others.
        everyone_at_once:
        runs_jobs:
        gauges:
        clock:
    """

    def __init__(  # noqa: PLR0913 - each with a default
        self,
        path: str,
        *,
        alone: bool = False,
        keep_keys_seconds: float = 86_400,
        everyone_at_once: int = 10_000,
        runs_jobs: bool = True,
        gauges: Gauges | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        super().__init__(
            keep_keys_seconds=keep_keys_seconds,
            everyone_at_once=everyone_at_once,
            runs_jobs=runs_jobs,
            gauges=gauges,
            clock=clock,
        )
        self._path = path
        self._alone = alone
        self._lock: TextIO | None = None
        self._forget_keys_at = 0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-writer")
        self._db: sqlite3.Connection | None = None
        self._closed = False
        self._is_failing = False
        self._short_reads: ShortReads[Callable[[sqlite3.Connection], Any]] = ShortReads(self._in_snapshot)
        # What reads much has threads of its own, so that nobody who reads little waits behind it.
        self._long_readers = ThreadPoolExecutor(max_workers=_LONG_READERS, thread_name_prefix="ledger-long-reader")
        self._reader_connections: list[sqlite3.Connection] = []
        self._reader = threading.local()

    async def close(self) -> None:
        """See ``Ledger.close``."""
        if not self._closed:
            self._closed = True
            await super().close()

    async def ready(self) -> bool:
        """See ``Ledger.ready``."""
        try:
            await self._in_reader(_probe, is_long=False)
            if self._is_failing:
                await self._in_writer(self._try_to_write)
        except Problem:
            return False
        return True

    async def _open(self) -> None:
        await self._in_writer(self._connect)

    async def _close(self) -> None:
        await self._in_writer(self._disconnect)
        self._writer.shutdown()
        self._short_reads.close()
        self._long_readers.shutdown()
        for connection in self._reader_connections:
            connection.close()

    async def _read(self, work: Callable[[Dialect], Work[R]], *, is_long: bool) -> R:
        return await self._in_reader(lambda db: run(db, work(_DIALECT)), is_long=is_long)

    async def _write(self, merchant: Merchant, work: Callable[[Dialect, int, int], Work[R]]) -> R:
        if self._closed:
            raise Problem(Code.UNAVAILABLE)

        def changed() -> R:
            merchant_id = self._merchant_id(merchant)
            return self._transaction(lambda db, now: run(db, work(_DIALECT, merchant_id, now)))

        return await self._in_writer(lambda: self._told(changed))

    async def _advance(self, at_most: int) -> Chunk | None:
        def advanced() -> Chunk | None:
            # Without a transaction, which would keep others from writing whenever there is nothing to do.
            if not run(self._connection(), is_any_unfinished(_DIALECT)):
                return None
            # Chunks of two processes, one after another, would leave a third no moment to write.
            if not self._alone and _is_served(self._path):
                return None
            return self._transaction(lambda db, now: run(db, advance(_DIALECT, at_most=at_most, now=now)))

        return await self._in_writer(lambda: self._told(advanced))

    async def _carry_out(self, tasks: Sequence[Task]) -> Sequence[Outcome]:
        return await self._in_writer(lambda: self._carry_out_all(tasks))

    def _told(self, work: Callable[[], R]) -> R:
        """What the work gives; what fails in the database is told as a Problem."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            raise self._failure(error) from error

    async def _in_reader(self, work: Callable[[sqlite3.Connection], R], *, is_long: bool) -> R:
        if self._db is None or self._closed:
            raise Problem(Code.UNAVAILABLE)
        if is_long:
            return await asyncio.get_running_loop().run_in_executor(self._long_readers, self._in_snapshot, work)
        return cast("R", await self._short_reads.join(work))

    def _in_snapshot(self, work: Callable[[sqlite3.Connection], R]) -> R:
        try:
            db = self._reader_connection()
            db.execute("BEGIN")
            try:
                return work(db)
            finally:
                db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            # Reading waits for nobody, so nobody can be holding it up.
            raise Problem(Code.UNAVAILABLE) from error

    def _reader_connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._reader, "connection", None)
        if db is None:
            db = self._reader.connection = _connect(self._path)
            db.execute("PRAGMA query_only = ON")
            add_functions(db)
            self._reader_connections.append(db)
        return db

    def _try_to_write(self) -> None:
        self._told(lambda: self._transaction(_rewrite_version))

    async def _in_writer(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _connect(self) -> None:
        try:
            if self._alone:
                self._lock = _locked(self._path)
            self._db = _connect(self._path)
            self._db.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIBIBYTES}")
            if not self._alone:
                self._db.execute(f"PRAGMA busy_timeout = {_BESIDE_BUSY_TIMEOUT_MILLISECONDS}")
            _migrate(self._db, self._path, alone=self._alone)
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(f"ledger: sqlite:///{self._path}", f"cannot be opened: {error}") from error

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock is not None:
            self._lock.close()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise Problem(Code.UNAVAILABLE)
        return self._db

    def _carry_out_all(self, tasks: Sequence[Task]) -> list[Outcome]:
        """One outcome each; a fault that only one task causes refuses only that one."""
        try:
            # Before the transaction, since what it undoes must not be remembered.
            known = [(task, self._merchant_id(task.merchant)) for task in tasks]
            return self._transaction(lambda db, now: self._carry_out_group(db, now, known))
        except sqlite3.OperationalError as error:
            # The store itself: trying again for each would only make everybody wait.
            problem = self._failure(error)
            return [problem for _ in tasks]
        except Exception as error:  # noqa: BLE001 - told to whom it concerns
            if len(tasks) > 1:
                return [outcome for one in tasks for outcome in self._carry_out_all([one])]
            return [self._failure(error) if isinstance(error, sqlite3.DatabaseError) else error]

    def _carry_out_group(
        self, db: sqlite3.Connection, now: int, tasks: Sequence[tuple[Task, int]]
    ) -> list[Outcome]:
        terms = Terms(now=now, keep_keys=self._keep_keys, everyone_at_once=self._everyone_at_once)
        outcomes = run(db, carry_out(_DIALECT, tasks, terms))
        self._forget_old_keys(db, now)
        return outcomes

    def _transaction(self, work: Callable[[sqlite3.Connection, int], R]) -> R:
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db, self._clock())
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        self._is_failing = False
        return result

    def _failure(self, error: sqlite3.DatabaseError) -> Exception:
        """What a failed write is told as; a row that breaks a constraint is a mistake of ours, not the store's."""
        if isinstance(error, sqlite3.IntegrityError):
            return error
        self._is_failing = True
        return _problem(error)

    def _forget_old_keys(self, db: sqlite3.Connection, now: int) -> None:
        if now < self._forget_keys_at:
            return
        forgotten = run(db, forget_keys(before=now - self._keep_keys, at_most=_FORGET_KEYS_AT_ONCE))
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


def _probe(db: sqlite3.Connection) -> None:
    """Reads something, to see whether that is possible."""
    db.execute("SELECT 1 FROM wallets LIMIT 1").fetchone()


def _problem(error: sqlite3.DatabaseError) -> Problem:
    # The module's own errors, of a statement that is wrong or a connection that is closed, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    is_busy = code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    problem = Problem(Code.RECORD_BUSY if is_busy else Code.UNAVAILABLE)
    problem.__cause__ = error
    return problem


def _rewrite_version(db: sqlite3.Connection, _now: int) -> None:
    """The smallest write there is, which changes nothing."""
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        path,
        timeout=_BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    (journal_mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal_mode != "wal":
        raise ConfigurationError(f"ledger: sqlite:///{path}", "cannot keep a write-ahead log; is it a local file?")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    # A page that many adjustments change is written back once for all of them; the log may take 16 MB before.
    db.execute("PRAGMA wal_autocheckpoint = 4000")
    return db


def _locked(path: str) -> TextIO:
    """A file beside the ledger that this process has to itself until it ends, however it ends."""
    lock = _lock_of(path).open("a+", encoding="utf-8")
    deadline = time.monotonic() + _LOCK_SECONDS
    while not (is_ours := _taken(lock, fcntl.LOCK_EX)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if not is_ours:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        what = f"process {holder} serves it; one process serves a file, several share a postgresql:// ledger"
        raise ConfigurationError(f"ledger: sqlite:///{path}", what) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _is_served(path: str) -> bool:
    """Whether another process has the ledger to itself, as far as serving goes."""
    try:
        with _lock_of(path).open(encoding="utf-8") as lock:
            return not _taken(lock, fcntl.LOCK_SH)
    except OSError:
        # There is none, or it cannot be asked; transactions keep two processes apart all the same.
        return False


def _lock_of(path: str) -> Path:
    """The lock of the file itself, by whichever name it was called."""
    return Path(f"{Path(path).resolve()}.lock")


def _taken(lock: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _migrate(db: sqlite3.Connection, path: str, *, alone: bool) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"ledger: sqlite:///{path}",
            f"has schema version {version}, this gateway knows up to {len(MIGRATIONS)}; use a newer gateway",
        )
    if version == len(MIGRATIONS) and not alone:
        # Whoever serves tries all the same, to see at start whether the file can be written.
        return
    if not alone and _is_served(path):
        what = (
            "is served by a process of an earlier version; stop that first, so that the ledger can be brought up"
        )
        raise ConfigurationError(f"ledger: sqlite:///{path}", what)
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
