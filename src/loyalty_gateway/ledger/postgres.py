"""The ledger in PostgreSQL, for several gateways at once: every group of adjustments one transaction."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn, TypeAlias, TypeVar
from uuid import uuid4

import asyncpg
from asyncpg.transaction import Transaction

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.ledger.group import Terms, carry_out
from loyalty_gateway.ledger.groups import Gauges
from loyalty_gateway.ledger.jobs import Chunk, advance, is_any_unfinished
from loyalty_gateway.ledger.keys import forget_keys
from loyalty_gateway.ledger.orders import Outcome, Overtaken, Task
from loyalty_gateway.ledger.postgres_dialect import Connection, PostgresDialect, prepare, run
from loyalty_gateway.ledger.postgres_schema import MIGRATIONS
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger.stored import SECOND, StoredLedger
from loyalty_gateway.problem import Code, ConfigurationError, Problem

R = TypeVar("R")

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_DIALECT: Final = PostgresDialect()
_WRITERS: Final = 2
_READERS: Final = 4
_CONNECT_SECONDS: Final = 5.0
_COMMAND_SECONDS: Final = 60.0
_MIGRATION_SECONDS: Final = 86_400.0
_SETTLE_SECONDS: Final = 5.0
_ATTEMPTS: Final = 6
_FORGET_KEYS_EVERY_SECONDS: Final = 60
_FORGET_KEYS_AT_ONCE: Final = 5_000
_FORGET_GATEWAYS_AFTER_SECONDS: Final = 7 * 86_400

_NO_URL: Final = (
    "is not understood; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
    "in which / and other marks of a password are escaped (%2F)"
)

# A gateway that stands still while it holds wallets must not hold up the others for ever.
_SETTINGS: Final = {"lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s"}

_OVERTAKEN: Final = (
    Overtaken,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
)
_LOST: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)
_MISTAKES: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)


class _InDoubt(Exception):  # noqa: N818 - not known to be an error
    """The connection was lost while a transaction was being committed."""


class PostgresLedger(StoredLedger):
    """A ``Ledger`` in a PostgreSQL database, which other gateways may use at the same time.

    Args:
        url: ``postgresql://user:password@host:port/database``.
        keep_keys_seconds: see ``StoredLedger``, as of the others.
        everyone_at_once:
        runs_jobs:
        gauges:
        clock:
    """

    def __init__(  # noqa: PLR0913 - each with a default
        self,
        url: str,
        *,
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
        self._url = url
        self._name = uuid4().hex
        self._forget_keys_at = 0
        self._writers: Pool | None = None
        self._readers: Pool | None = None
        self._is_failing = False

    async def _open(self) -> None:
        try:
            self._writers = await self._pool(_WRITERS)
            self._readers = await self._pool(_READERS)
            async with _held(self._writers) as connection:
                await _migrate(connection)
                await connection.execute(
                    "DELETE FROM gateways WHERE seen_at < $1",
                    self._clock() - _FORGET_GATEWAYS_AFTER_SECONDS * SECOND,
                )
        except BaseException as error:
            await self._close()
            if isinstance(error, ValueError):
                # What is wrong with the URL may be its password, so nothing of it is told.
                raise ConfigurationError("ledger: postgresql", _NO_URL) from None
            if isinstance(error, (*_LOST, asyncpg.PostgresError)):
                what = f"cannot be opened: {type(error).__name__}: {error}"
                raise ConfigurationError("ledger: postgresql", what) from error
            raise

    async def _close(self) -> None:
        pools, self._writers, self._readers = (self._writers, self._readers), None, None
        for pool in pools:
            if pool is not None:
                await pool.close()

    async def ready(self) -> bool:
        """See ``Ledger.ready``."""
        try:
            if self._readers is None:
                return False
            async with _snapshot(self._readers) as connection:
                await connection.fetch("SELECT 1 FROM wallets LIMIT 1")
            if self._is_failing:
                await self._transaction(_write_nothing)
        except (*_LOST, TimeoutError, asyncpg.PostgresError, _InDoubt):
            return False
        return True

    async def _pool(self, size: int) -> Pool:
        return await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=size,
            init=prepare,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings=_SETTINGS,
            statement_cache_size=512,
        )

    async def _write(self, merchant: Merchant, work: Callable[[Dialect, int, int], Work[R]]) -> R:
        try:
            merchant_id = await self._merchant_id(merchant)
            result: R = await self._again(
                lambda connection: run(connection, work(_DIALECT, merchant_id, self._clock()))
            )
        except (*_LOST, TimeoutError, asyncpg.PostgresError, _InDoubt) as error:
            self._refuse(error)
        return result

    async def _advance(self, at_most: int) -> Chunk | None:
        if not await self._read(is_any_unfinished, is_long=False):
            return None
        try:
            chunk: Chunk | None = await self._again(
                lambda connection: run(connection, advance(_DIALECT, at_most=at_most, now=self._clock()))
            )
        except (*_LOST, TimeoutError, asyncpg.PostgresError, _InDoubt) as error:
            self._refuse(error)
        return chunk

    async def _read(self, work: Callable[[Dialect], Work[R]], *, is_long: bool) -> R:  # noqa: ARG002 - all alike here
        if self._readers is None:
            raise Problem(Code.UNAVAILABLE)
        try:
            async with _snapshot(self._readers) as connection:
                return await run(connection, work(_DIALECT))
        except (*_LOST, TimeoutError, asyncpg.PostgresError) as error:
            self._refuse(error)

    async def _carry_out(self, tasks: Sequence[Task]) -> Sequence[Outcome]:
        """One outcome each; a fault that only one task causes refuses only that one."""
        try:
            known = [(task, await self._merchant_id(task.merchant)) for task in tasks]
            outcomes: Sequence[Outcome] = await self._again(
                lambda connection: self._carry_out_group(connection, known), is_group=True
            )
        except Exception as error:  # noqa: BLE001 - told to whom it concerns
            is_mistake = not isinstance(error, (*_LOST, TimeoutError, asyncpg.PostgresError, _InDoubt, Overtaken))
            if len(tasks) > 1 and (is_mistake or isinstance(error, (*_MISTAKES, *_OVERTAKEN))):
                return [outcome for one in tasks for outcome in await self._carry_out([one])]
            failure = error if is_mistake else self._failure(error)
            return [failure for _ in tasks]
        await self._forget_old_keys()
        return outcomes

    async def _carry_out_group(self, connection: Connection, tasks: Sequence[tuple[Task, int]]) -> list[Outcome]:
        terms = Terms(now=self._clock(), keep_keys=self._keep_keys, everyone_at_once=self._everyone_at_once)
        return await run(connection, carry_out(_DIALECT, tasks, terms))

    async def _again(self, work: Callable[[Connection], Any], *, is_group: bool = False) -> Any:
        """What the work gives in a transaction of its own, begun anew while somebody else comes between."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._transaction(work, is_group=is_group)
            except _OVERTAKEN:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError

    async def _transaction(self, work: Callable[[Connection], Any], *, is_group: bool = False) -> Any:
        if self._writers is None:
            raise Problem(Code.UNAVAILABLE)
        async with _begun(self._writers, isolation="read_committed") as (connection, transaction):
            try:
                result = await work(connection)
                group = await self._signed(connection) if is_group and _wrote(result) else None
            except BaseException:
                with suppress(*_LOST):
                    await transaction.rollback()
                raise
            try:
                await transaction.commit()
            except (*_LOST, TimeoutError, asyncpg.StatementCompletionUnknownError) as error:
                if not is_group or (group is not None and not await self._was_committed(group)):
                    raise _InDoubt from error
        self._is_failing = False
        return result

    async def _signed(self, connection: Connection) -> str:
        """Has this gateway's row tell, once the transaction is committed, that this group was; gives its name."""
        group = uuid4().hex
        await connection.execute(
            "INSERT INTO gateways (name, last_group, seen_at) VALUES ($1, $2, $3) ON CONFLICT (name) "
            "DO UPDATE SET last_group = excluded.last_group, seen_at = excluded.seen_at",
            self._name,
            group,
            self._clock(),
        )
        return group

    async def _was_committed(self, group: str) -> bool:
        """Whether the group that a lost connection was committing is there, once the server can tell."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline and self._writers is not None:
            try:
                async with _held(self._writers) as connection, connection.transaction():
                    # Written, and not only read, so that it waits for the end of the lost transaction, even of the
                    # first one, whose row nobody else can see yet.
                    last = await connection.fetchval(
                        "INSERT INTO gateways (name, last_group, seen_at) VALUES ($1, '', $2) "
                        "ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at RETURNING last_group",
                        self._name,
                        self._clock(),
                    )
                    return bool(last == group)
            except (*_LOST, TimeoutError, asyncpg.PostgresError):
                await asyncio.sleep(0.1)
        return False

    async def _merchant_id(self, merchant: Merchant) -> int:
        known = self._merchant_ids.get(merchant.name)
        if known is None:
            known = self._merchant_ids[merchant.name] = await self._again(
                lambda connection: _met_merchant_id(connection, merchant)
            )
        return known

    async def _forget_old_keys(self) -> None:
        now = self._clock()
        if now < self._forget_keys_at:
            return
        before = now - self._keep_keys
        try:
            forgotten = await self._again(
                lambda connection: run(connection, forget_keys(before=before, at_most=_FORGET_KEYS_AT_ONCE))
            )
        except (*_LOST, TimeoutError, asyncpg.PostgresError, _InDoubt):
            # The group before has been committed, and is answered so; they are forgotten after another one.
            return
        if forgotten < _FORGET_KEYS_AT_ONCE:
            self._forget_keys_at = now + _FORGET_KEYS_EVERY_SECONDS * SECOND

    def _failure(self, error: BaseException) -> Exception:
        """What a failed write is told as; a row that breaks a constraint is a mistake of ours, not the store's."""
        if isinstance(error, _MISTAKES) and not isinstance(error, asyncpg.UniqueViolationError):
            return error
        self._is_failing = True
        is_busy = isinstance(error, (*_OVERTAKEN, asyncpg.LockNotAvailableError))
        problem = Problem(Code.RECORD_BUSY if is_busy else Code.UNAVAILABLE)
        problem.__cause__ = error
        return problem

    def _refuse(self, error: BaseException) -> NoReturn:
        raise self._failure(error) from error


def _wrote(outcomes: Sequence[Outcome]) -> bool:
    """Whether any of a group's tasks may have changed something."""
    return not all(isinstance(one, Exception) or getattr(one, "replayed", False) for one in outcomes)


@asynccontextmanager
async def _held(pool: Pool) -> AsyncIterator[Connection]:
    """A connection; that it is lost when it is given back changes nothing any more."""
    connection = await pool.acquire(timeout=_CONNECT_SECONDS)
    try:
        yield connection
    finally:
        with suppress(*_LOST, asyncpg.PostgresError):
            await pool.release(connection)


@asynccontextmanager
async def _begun(pool: Pool, **kind: Any) -> AsyncIterator[tuple[Connection, Transaction]]:
    """A connection with a transaction on it; one that the server ended while it was idle is replaced."""
    for is_last in (False, True):
        async with _held(pool) as connection:
            transaction = connection.transaction(**kind)
            try:
                await transaction.start()
            except _LOST:
                with suppress(asyncpg.InterfaceError):
                    connection.terminate()
                if is_last:
                    raise
                continue
            yield connection, transaction
            return


@asynccontextmanager
async def _snapshot(pool: Pool) -> AsyncIterator[Connection]:
    """A connection that reads one moment."""
    async with _begun(pool, isolation="repeatable_read", readonly=True) as (connection, transaction):
        try:
            yield connection
        finally:
            with suppress(*_LOST):
                await transaction.rollback()


async def _write_nothing(connection: Connection) -> None:
    """The smallest write there is, which changes nothing."""
    await connection.execute("UPDATE schema_versions SET version = version WHERE version = 1")


async def _met_merchant_id(connection: Connection, merchant: Merchant) -> int:
    """The number of a merchant, who gets one at the first meeting."""
    find, meet = (
        "SELECT id FROM merchants WHERE name = $1",
        "INSERT INTO merchants (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
    )
    known = await connection.fetchval(find, merchant.name)
    if known is None:
        await connection.execute(meet, merchant.name)
        known = await connection.fetchval(find, merchant.name)
    return int(known)


async def _migrate(connection: Connection) -> None:
    """Brings the schema up; several gateways may do so at once, and one of them applies each migration."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_versions "
                "(version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)"
            )
            break
        except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
            # Somebody else makes it at the same moment.
            if attempt == _ATTEMPTS:
                raise
    version = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_versions")
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            "ledger: postgresql",
            f"has schema version {version}, this gateway knows up to {len(MIGRATIONS)}; use a newer gateway",
        )
    for number, migration in enumerate(MIGRATIONS, 1):
        async with connection.transaction():
            # Whoever writes the row first applies the migration, which takes its time on a large ledger; the
            # others wait for that, and pass it over.
            await connection.execute("SET LOCAL lock_timeout = 0")
            first = await connection.fetchval(
                "INSERT INTO schema_versions (version, applied_at) VALUES ($1, $2) "
                "ON CONFLICT (version) DO NOTHING RETURNING version",
                number,
                time.time_ns() // 1_000,
                timeout=_MIGRATION_SECONDS,
            )
            if first is not None:
                await connection.execute(migration, timeout=_MIGRATION_SECONDS)
