"""Lists of customers and histories, however they are asked for: held against a naive reading of all rows."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import DEMO, JANE, JANES_EMAIL, OMAR, OTHER, Opened, instruction

from loyalty_gateway.adjustment import CustomerReference, Entry, Everyone
from loyalty_gateway.customer import (
    CustomerOrder,
    Customers,
    CustomersQuery,
    Enrolment,
    HistoryQuery,
    Only,
)
from stores import NewStore, Store


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    opened = Opened(store)
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    yield opened
    opened.close()


def _customers(opened: Opened, **query: Any) -> Customers:
    found: Customers = opened.run(opened.ledger.customers(DEMO, CustomersQuery(**({"limit": 100} | query))))
    return found


# Histories


@st.composite
def _queries(draw: st.DrawFn) -> HistoryQuery:
    bounds = st.none() | st.integers(0, 45)
    bounded: dict[str, Any] = {
        "after": draw(bounds),
        "before": draw(bounds),
        "since": draw(bounds.map(lambda second: second and _second(second))),
        "until": draw(bounds.map(lambda second: second and _second(second))),
        "only": draw(st.sampled_from(Only)),
    }
    offset = {
        "offset": draw(st.integers(0, 45)),
        "only": draw(st.sampled_from([Only.ALL, Only.ADDED])),
        "by_points": draw(st.booleans()),
    }
    askable: list[CustomerReference | Everyone] = [JANE, OMAR, Everyone.EVERYONE]
    customer = draw(st.sampled_from(askable))
    chosen = offset if customer is not Everyone.EVERYONE and draw(st.booleans()) else bounded
    return HistoryQuery(
        customer=customer, limit=draw(st.none() | st.integers(1, 8)), newest_first=draw(st.booleans()), **chosen
    )


def _second(number: int) -> int:
    return 1_700_000_000_000_000 + number * 1_000_000


@pytest.fixture(scope="module")
def told(new_store: NewStore) -> Iterator[tuple[Opened, list[Entry]]]:
    """A ledger with 40 entries of two customers, among those of another merchant; and the entries."""
    with new_store() as store:
        opened = Opened(store)
        opened.enrol(JANE)
        opened.enrol(OMAR)
        opened.enrol(JANE, merchant=OTHER)
        entries: list[Entry] = []
        for number in range(40):
            opened.clock.now = _second(number + 1)
            points = -3 if number % 5 == 4 else number + 10
            entries += opened.adjust(instruction(OMAR if number % 3 == 1 else JANE, points)).entries
            opened.adjust(instruction(JANE, 1, merchant=OTHER))
        yield opened, entries
        opened.close()


def test_a_page_of_a_history_is_what_a_look_at_every_entry_gives(told: tuple[Opened, list[Entry]]) -> None:
    opened, entries = told

    @settings(deadline=None, max_examples=opened.store.examples(150))
    @given(query=_queries())
    def hold_against_a_look_at_every_entry(query: HistoryQuery) -> None:
        _hold_against_a_look_at_every_entry(opened, entries, query)

    hold_against_a_look_at_every_entry()


def _hold_against_a_look_at_every_entry(opened: Opened, entries: list[Entry], query: HistoryQuery) -> None:
    wallets: dict[Any, int | None] = {JANE: 1, OMAR: 2, Everyone.EVERYONE: None}
    wallet_id = wallets[query.customer]
    expected = [
        entry
        for entry in entries
        if wallet_id in {None, entry.wallet_id}
        and (query.after is None or entry.id > query.after)
        and (query.before is None or entry.id < query.before)
        and (query.since is None or entry.occurred_at >= query.since)
        and (query.until is None or entry.occurred_at <= query.until)
        and (query.only is not Only.ADDED or entry.points_delta > 0)
        and (query.only is not Only.DEDUCTED or entry.points_delta < 0)
    ]
    if query.by_points:
        expected = sorted(expected, key=lambda entry: (entry.points_delta, entry.id))
    expected = (expected[::-1] if query.newest_first else expected)[query.offset :]

    history = opened.run(opened.ledger.history(DEMO, query))

    assert list(history.entries) == expected[: query.limit]
    assert history.has_more == (query.limit is not None and len(expected) > query.limit)
    assert {entry.wallet_id for entry in history.entries} <= set(history.customers)


# Customers


_PEOPLE = (
    ("ann@example.com", "Ann", "Ögren", 30, ("vip", "eu")),
    ("bob@example.org", "Bob", None, 10, ("vip",)),
    ("cem@example.com", None, "Öztürk", 20, ()),
    ("dee@sample.com", "Dee", "Bobson", 20, ("eu",)),
)


@pytest.fixture
def people(opened: Opened) -> Opened:
    for index, (email, first, last, points, tags) in enumerate(_PEOPLE):
        opened.clock.now += 1_000_000
        reference = CustomerReference("email", email)
        changes = {"first_name": first, "last_name": last, "tags": tags, "source": "shop" if index % 2 else "api"}
        opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(reference,), changes=changes)))
        opened.adjust(instruction(reference, points))
    opened.enrol(CustomerReference("email", "ann@example.com"), merchant=OTHER)
    return opened


def _numbers(page: Customers) -> list[int]:
    return [customer.wallet.id for customer in page.customers]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"descending": False}, [1, 2, 3, 4, 5, 6]),
        ({"after": 4}, [3, 2, 1]),
        ({"after": 4, "descending": False}, [5, 6]),
        ({"offset": 2, "limit": 2}, [4, 3]),
        ({"order": CustomerOrder.AVAILABLE}, [3, 6, 5, 4, 2, 1]),
        ({"order": CustomerOrder.EARNED, "descending": False}, [1, 2, 4, 5, 6, 3]),
        ({"order": CustomerOrder.BURNED}, [6, 5, 4, 3, 2, 1]),
        ({"order": CustomerOrder.UPDATED}, [6, 5, 4, 3, 2, 1]),
        ({"containing": "EXAMPLE.com", "searched": ("email",)}, [5, 3, 1]),
        ({"containing": "öz", "searched": ("email",)}, []),
        ({"containing": "öz", "searched": ("email",), "searches_names": True}, [5]),
        ({"containing": "dee bob", "searches_names": True}, [6]),
        ({"containing": "%", "searched": ("email",)}, []),
        ({"tags": ("vip",)}, [4, 3]),
        ({"tags": ("vip", "eu")}, [3]),
        ({"sources": ("shop",)}, [6, 4]),
        ({"sources": ("shop", "api")}, [6, 5, 4, 3]),
        ({"sources": ("sho", "' OR 1")}, []),
        ({"excluded": True}, []),
    ],
)
def test_customers_are_filtered_and_sorted(people: Opened, query: dict[str, Any], expected: list[int]) -> None:
    page = _customers(people, **query)

    assert _numbers(page) == expected


@pytest.mark.parametrize("time", ["created", "updated"])
def test_customers_are_bounded_by_times_that_belong_to_the_range(people: Opened, time: str) -> None:
    times = {
        number: getattr(customer.wallet, f"{time}_at")
        for number, customer in zip(range(6, 0, -1), _customers(people).customers, strict=True)
    }

    page = _customers(people, **{f"{time}_from": times[4], f"{time}_until": times[5]})

    assert _numbers(page) == [5, 4]
