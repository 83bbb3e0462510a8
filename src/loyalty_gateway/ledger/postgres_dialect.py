"""PostgreSQL's dialect, and how the ledger's work is run on one of its connections.

Only what the databases that speak PostgreSQL's protocol have too: no advisory locks, no functions of our own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from loyalty_gateway.ledger.statements import Each, Insert, NewIds, Row, Statement, Step, Update, Work
from loyalty_gateway.ledger.tables import TEXT

R = TypeVar("R")

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

_PARAMETER = re.compile(r":([a-z_][a-z_0-9]*)")
_NUL, _ESCAPE = "\x00", "\ufdd0"


class PostgresDialect:
    """See ``Dialect``; a statement locks wallets in the order of their ids, so that no two wait for each other."""

    greatest = "greatest"
    locking_wallets = "ORDER BY w.id FOR UPDATE OF w"
    sharing = "FOR SHARE"
    holding = "FOR UPDATE"
    ids_rise = False
    locking_job = "FOR UPDATE SKIP LOCKED"
    new_entry_id = "nextval('entries_id')"

    def numbers(self, parameter: str) -> str:
        """See ``Dialect.numbers``."""
        return f"(SELECT unnest(CAST({parameter} AS BIGINT[])))"

    def texts(self, parameter: str) -> str:
        """See ``Dialect.texts``."""
        return f"(SELECT unnest(CAST({parameter} AS TEXT[])))"

    def relation(self, columns: Mapping[str, str]) -> str:
        """See ``Dialect.relation``."""
        return f"(SELECT * FROM {_unnested(columns)} AS given ({', '.join(columns)}))"

    def contains(self, text: str, parameter: str, *, ascii_only: bool) -> str:  # noqa: ARG002 - folds all letters
        """See ``Dialect.contains``."""
        return f"strpos(lower({text}), lower({parameter})) > 0"

    def has_element(self, array: str, parameter: str) -> str:
        """See ``Dialect.has_element``."""
        # Elements are compared as they are written, since JSONB has no place for a NUL character.
        return f"{parameter} IN (SELECT CAST(json_array_elements(CAST({array} AS JSON)) AS TEXT))"


async def prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Has the connection keep texts with a NUL character, which PostgreSQL itself cannot, escaped.

    Arrays of texts do not pass this way; ``run`` escapes theirs.
    """
    await connection.set_type_codec(
        "text", schema="pg_catalog", format="binary", encoder=_encoded, decoder=_decoded
    )


def _encoded(text: str) -> bytes:
    return _escaped(text).encode()


def _escaped(text: str) -> str:
    if _NUL in text or _ESCAPE in text:
        return text.replace(_ESCAPE, _ESCAPE * 2).replace(_NUL, _ESCAPE + "0")
    return text


def _decoded(content: bytes) -> str:
    text = content.decode()
    if _ESCAPE not in text:
        return text
    return re.sub(f"{_ESCAPE}(.)", lambda found: _NUL if found[1] == "0" else _ESCAPE, text)


async def run(connection: Connection, work: Work[R]) -> R:
    """What the work gives, done within the connection's transaction."""
    try:
        step = next(work)
        while True:
            step = work.send(await _rows(connection, step))
    except StopIteration as done:
        result: R = done.value
        return result


async def _rows(connection: Connection, step: Step) -> list[Row]:
    match step:
        case Statement(sql, parameters):
            text, names = _numbered(sql)
            rows = await connection.fetch(text, *(_value(parameters[name]) for name in names))
        case Each(_, _, []) | Insert(_, []) | Update(_, []):
            return []
        case Each(sql, columns, given):
            rows = await connection.fetch(sql, *_arrays(columns, given))
        case Insert(table, given):
            sql = _insert(table.name, tuple(table.columns.items()))
            rows = await connection.fetch(sql, *_arrays(table.columns, given))
        case Update(table, given):
            sql = _update(table.name, tuple(table.columns.items()), table.key)
            rows = await connection.fetch(sql, *_arrays(table.columns, given))
        case NewIds(table, how_many):
            rows = await connection.fetch(
                f"SELECT nextval('{table.name}_id') FROM generate_series(1, CAST($1 AS BIGINT))", how_many
            )
    return [tuple(row) for row in rows]


def _value(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    return [_escaped(element) if isinstance(element, str) else element for element in value]


def _arrays(columns: Mapping[str, str], rows: Sequence[Row]) -> Iterator[Sequence[Any]]:
    """The values of each column; ``unnest`` makes rows of them."""
    for kind, values in zip(columns.values(), zip(*rows, strict=True), strict=True):
        yield [value and _escaped(value) for value in values] if kind == TEXT else values


def _unnested(columns: Mapping[str, str]) -> str:
    return f"unnest({', '.join(f'${number}::{kind}[]' for number, kind in enumerate(columns.values(), 1))})"


@lru_cache(maxsize=512)
def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The SQL with numbered parameters, and the names that go with the numbers."""
    names = dict.fromkeys(_PARAMETER.findall(sql))
    numbers = {name: number for number, name in enumerate(names, 1)}
    return _PARAMETER.sub(lambda found: f"${numbers[found[1]]}", sql), tuple(names)


@lru_cache
def _insert(name: str, columns: tuple[tuple[str, str], ...]) -> str:
    kinds = dict(columns)
    return f"INSERT INTO {name} ({', '.join(kinds)}) SELECT * FROM {_unnested(kinds)}"


@lru_cache
def _update(name: str, columns: tuple[tuple[str, str], ...], key: tuple[str, ...]) -> str:
    kinds = dict(columns)
    changes = ", ".join(f"{column} = given.{column}" for column in kinds if column not in key)
    found = " AND ".join(f"{name}.{column} = given.{column}" for column in key)
    return f"UPDATE {name} SET {changes} FROM {_unnested(kinds)} AS given ({', '.join(kinds)}) WHERE {found}"
