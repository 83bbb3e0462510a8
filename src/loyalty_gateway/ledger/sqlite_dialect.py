"""SQLite's dialect, and how the ledger's work is run on one of its connections."""

import sqlite3
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from loyalty_gateway.ledger.statements import Each, Insert, NewIds, Row, Statement, Step, Update, Work
from loyalty_gateway.ledger.tables import ENTRIES, INTENTS, JOB_REFUSALS, PROFILES, REFERENCES, WALLETS, Table

R = TypeVar("R")


class SqliteDialect:
    """See ``Dialect``; whoever writes is alone, so nothing has to be locked."""

    greatest = "max"
    locking_wallets = ""
    sharing = ""
    holding = ""
    ids_rise = True
    locking_job = ""
    new_entry_id = ":first_entry_id - 1 + row_number() OVER (ORDER BY id)"

    def numbers(self, parameter: str) -> str:
        """See ``Dialect.numbers``."""
        return f"(SELECT value FROM json_each({parameter}))"

    def texts(self, parameter: str) -> str:
        """See ``Dialect.texts``."""
        return self.numbers(parameter)

    def relation(self, columns: Mapping[str, str]) -> str:
        """See ``Dialect.relation``; it has one row, a prepared statement being cheaper than a table of values."""
        named = ", ".join(f"?{number} AS {name}" for number, name in enumerate(columns, 1))
        return f"(SELECT {named})"

    def contains(self, text: str, parameter: str, *, ascii_only: bool) -> str:
        """See ``Dialect.contains``."""
        # SQLite folds ASCII letters only; a function of ours holds up every other thread.
        if ascii_only:
            return f"instr(lower({text}), lower({parameter})) > 0"
        return f"contains({text}, {parameter})"

    def has_element(self, array: str, parameter: str) -> str:
        """See ``Dialect.has_element``."""
        element = f"json_extract({parameter}, '$')"
        return f"{element} IN (SELECT value FROM json_each({array}))"


def add_functions(db: sqlite3.Connection) -> None:
    """Gives a connection the dialect's own functions."""
    db.create_function("contains", 2, _contains, deterministic=True)


def _contains(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


def run(db: sqlite3.Connection, work: Work[R]) -> R:
    """What the work gives, done within the connection's transaction."""
    try:
        step = next(work)
        while True:
            step = work.send(_rows(db, step))
    except StopIteration as done:
        result: R = done.value
        return result


def _rows(db: sqlite3.Connection, step: Step) -> list[Row]:
    match step:
        case Statement(sql, parameters):
            return db.execute(sql, {name: _value(value) for name, value in parameters.items()}).fetchall()
        case Each(sql, _, rows):
            return [found for row in rows for found in db.execute(sql, row)]
        case Insert(table, rows):
            db.executemany(_INSERTS[table.name], rows)
            return []
        case Update(table, rows):
            db.executemany(_UPDATES[table.name], rows)
            return []
        case NewIds(table, how_many):
            ((largest,),) = db.execute(f"SELECT coalesce(max(id), 0) FROM {table.name}")
            return [(largest + number,) for number in range(1, how_many + 1)]


def _value(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, tuple) else value


def _insert(table: Table) -> str:
    places = ", ".join("?" for _ in table.columns)
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({places})"


def _update(table: Table) -> str:
    numbers = {column: index for index, column in enumerate(table.columns, 1)}
    changes = ", ".join(f"{column} = ?{numbers[column]}" for column in table.columns if column not in table.key)
    found = " AND ".join(f"{column} = ?{numbers[column]}" for column in table.key)
    return f"UPDATE {table.name} SET {changes} WHERE {found}"


# Texts that stay the same are prepared once.
_INSERTS = {
    table.name: _insert(table) for table in (WALLETS, ENTRIES, REFERENCES, PROFILES, JOB_REFUSALS, INTENTS)
}
_UPDATES = {table.name: _update(table) for table in (WALLETS,)}
