"""Customers as CSV files: what ``ledger import`` reads and ``ledger export`` writes."""

import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from loyalty_gateway.adjustment import LARGEST_POINTS, CustomerReference, customer_reference
from loyalty_gateway.ledger.importing import Newcomer, Reject
from loyalty_gateway.problem import ConfigurationError

REFERENCE: Final = "reference."
"""What the columns of references begin with; the namespace follows."""

COLUMNS: Final = ("points", "lifetime_earned", "lifetime_burned", "first_name", "last_name")
"""The columns besides those of references; each may be left out."""

BETWEEN: Final = "|"
"""What stands between several references in one namespace."""

_REFERENCE_COLUMN: Final = re.compile(r"reference\.[a-z][a-z0-9_]*")
_WHOLE: Final = re.compile(r"[0-9]{1,19}")


class CustomerFile:
    """A file of customers, checked as far as its first line tells.

    Raises:
        ConfigurationError: it cannot be read, or has columns that nobody knows or none of references.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as content:
                self.digest = hashlib.file_digest(content, "sha256").hexdigest()
            with path.open(encoding="utf-8-sig", newline="") as content:
                self._header = next(csv.reader(content), [])
                self.lines = sum(1 for _ in csv.reader(content))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigurationError(str(path), f"cannot be read as CSV in UTF-8: {error}") from error
        self._check_header()

    def _check_header(self) -> None:
        for name in self._header:
            if name not in COLUMNS and not _REFERENCE_COLUMN.fullmatch(name):
                what = f"the column {name!r} is none of {REFERENCE}<namespace>, {', '.join(COLUMNS)}"
                raise ConfigurationError(str(self.path), what)
            if self._header.count(name) > 1:
                raise ConfigurationError(str(self.path), f"the column {name} stands twice")
        if not any(name.startswith(REFERENCE) for name in self._header):
            raise ConfigurationError(str(self.path), f"needs a column of references, such as {REFERENCE}email")

    def rows(self, behind: int = 0) -> Iterator[Newcomer | Reject]:
        """The lines behind the first so many, each as what it means or why it means nothing."""
        with self.path.open(encoding="utf-8-sig", newline="") as content:
            lines = csv.reader(content)
            next(lines, None)
            for line, fields in enumerate(lines, 1):
                if line > behind:
                    yield self._meant(line, fields)

    def _meant(self, line: int, fields: list[str]) -> Newcomer | Reject:
        if len(fields) != len(self._header):
            return Reject(line, f"has {len(fields)} fields, the first line has {len(self._header)}")
        row = dict(zip(self._header, fields, strict=True))
        references = _references(row)
        if not references:
            return Reject(line, "names nobody")
        numbers = {name: row.get(name, "").strip() for name in ("points", "lifetime_earned", "lifetime_burned")}
        for name, text in numbers.items():
            if text and not (_WHOLE.fullmatch(text) and int(text) <= LARGEST_POINTS):
                return Reject(line, f"{name} must be a whole number from 0 to {LARGEST_POINTS}")
        available = int(numbers["points"] or 0)
        return Newcomer(
            line=line,
            references=references,
            available=available,
            earned=int(numbers["lifetime_earned"] or available),
            burned=int(numbers["lifetime_burned"] or 0),
            first_name=row.get("first_name", "").strip() or None,
            last_name=row.get("last_name", "").strip() or None,
        )


def _references(row: dict[str, str]) -> tuple[CustomerReference, ...]:
    return tuple(
        customer_reference(name.removeprefix(REFERENCE), value.strip())
        for name, values in row.items()
        if name.startswith(REFERENCE)
        for value in values.split(BETWEEN)
        if value.strip()
    )
