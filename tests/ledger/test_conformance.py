"""Every store keeps every promise of the suite, and the suite would notice if one did not."""

import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from broken import BREAKAGES, NOTHING_BROKEN, Breakage, broken_store
from conformance import CHECKS, Check, with_customers
from opened import Opened

from loyalty_gateway.problem import ConfigurationError, Problem
from stores import SqliteFile, Store

_NOTICED = (AssertionError, Problem, TimeoutError, ValueError, sqlite3.Error, ConfigurationError)
"""How a check ends that does not find what was promised; anything else is a mistake of the check or the fault."""


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    opened = with_customers(Opened(store))
    yield opened
    opened.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_store_keeps_the_promise(opened: Opened, check: Check) -> None:
    check(opened)


class Suite:
    """Carries checks out on broken stores, each on one of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)
        template = SqliteFile(folder / "template.db")
        Opened(template).close()
        self._template = template.path.read_bytes()

    def notices(self, check: Check, breakage: Breakage) -> bool:
        """Whether the check fails where this is broken."""
        path = self._folder / f"{next(self._numbers)}.db"
        with broken_store(path, self._template, breakage) as store:
            opened = Opened(store, patience=breakage.patience)
            try:
                check(with_customers(opened))
            except _NOTICED:
                return True
            finally:
                opened.close()
        return False


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    return Suite(tmp_path_factory.mktemp("broken"))


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_a_broken_store_is_noticed(suite: Suite, breakage: Breakage) -> None:
    unnoticed = [check.__name__ for check in breakage.caught_by if not suite.notices(check, breakage)]

    assert breakage.caught_by
    assert unnoticed == []


def test_every_check_counts() -> None:
    counted = {check.__name__ for breakage in BREAKAGES for check in breakage.caught_by}

    assert [check.__name__ for check in CHECKS if check.__name__ not in counted] == []
    assert len(counted) == len(CHECKS) >= 60
    assert len({breakage.name for breakage in BREAKAGES}) == len(BREAKAGES) >= 12


def test_what_breaks_the_stores_breaks_nothing_by_itself(suite: Suite) -> None:
    noticed = [check.__name__ for check in CHECKS if suite.notices(check, NOTHING_BROKEN)]

    assert noticed == []


@pytest.mark.slow
def test_no_fault_is_so_gross_that_nearly_every_check_notices_it(suite: Suite) -> None:
    noticed = {breakage.name: sum(suite.notices(check, breakage) for check in CHECKS) for breakage in BREAKAGES}

    for name, checks in noticed.items():
        print(f"{checks:3} of {len(CHECKS)} checks notice: {name}")  # noqa: T201 - shown with -s
    assert [name for name, checks in noticed.items() if checks > len(CHECKS) * 2 / 3] == []
