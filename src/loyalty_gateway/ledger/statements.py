"""What the ledger asks of a database, whichever it is.

The ledger's work is written as generators: they yield statements and are sent their rows. Each store runs them on
connections of its own, so that all stores keep the same promises by the same code.
"""

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from loyalty_gateway.ledger.tables import Table

R = TypeVar("R")

Row = Sequence[Any]


class Statement(NamedTuple):
    """SQL with named parameters (``:name``).

    Whole numbers, texts, bytes and ``None`` are its values, and tuples of whole numbers or texts.
    """

    sql: str
    parameters: Mapping[str, Any] = {}


class Each(NamedTuple):
    """SQL for each of many rows of values, which it finds in its dialect's ``relation`` of their columns."""

    sql: str
    columns: Mapping[str, str]
    rows: Sequence[Row]


class Insert(NamedTuple):
    """New rows of a table, each with the values of its columns in their order."""

    table: Table
    rows: Sequence[Row]


class Update(NamedTuple):
    """Rows of a table as they are to be, with the values of all columns in their order; the key finds each."""

    table: Table
    rows: Sequence[Row]


class NewIds(NamedTuple):
    """Asks for ids that no row of the table has, in rising order."""

    table: Table
    how_many: int


Step = Statement | Each | Insert | Update | NewIds

Work = Generator[Step, list[Row], R]
"""Yields steps, is sent the rows of each, and gives what came of it."""


class Dialect(Protocol):
    """Where the databases' SQL differs."""

    greatest: str
    """The function that gives the largest of its arguments."""

    locking_wallets: str
    """What ends a SELECT whose wallets, called ``w``, nobody else may change before the transaction ends."""

    sharing: str
    """What ends a SELECT of a row that nobody may change before the transaction ends; others may share it."""

    holding: str
    """What ends a SELECT of a row that nobody else may change or share before the transaction ends."""

    locking_job: str
    """What ends a SELECT of a job with which nobody else may carry on meanwhile; without those of others."""

    new_entry_id: str
    """An id for each row of a SELECT from wallets; ``:first_entry_id`` is one that is free."""

    ids_rise: bool
    """Whether new ids are always larger than those that there are, as those of several nodes need not be."""

    def numbers(self, parameter: str) -> str:
        """A subquery of the whole numbers in a parameter that is a tuple of them."""

    def texts(self, parameter: str) -> str:
        """A subquery of the texts in a parameter that is a tuple of them."""

    def relation(self, columns: Mapping[str, str]) -> str:
        """The table of the rows of an ``Each``, with these columns, named with their types."""

    def contains(self, text: str, parameter: str, *, ascii_only: bool) -> str:
        """Whether a text has another, perhaps of ASCII only, within it, in either case of letters."""

    def has_element(self, array: str, parameter: str) -> str:
        """Whether a text that is a JSON array has an element, which is given as JSON too."""


def only(rows: list[Row]) -> Row:
    """The one row that there is."""
    (row,) = rows
    return row
