"""Customers, lists and histories read from the ledger: held against a naive reading of all its rows."""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import DEMO, JANE, JANES_EMAIL, NOBODY, OMAR, OTHER, Opened, instruction

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Entry, Everyone, Tier
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
    CustomerQuery,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Enrolled,
    Enrolment,
    Existing,
    History,
    HistoryQuery,
    Only,
    Profile,
)
from loyalty_gateway.problem import Code, Problem
from stores import NewStore, Store


@pytest.fixture
def opened(store: Store) -> Iterator[Opened]:
    opened = Opened(store)
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    yield opened
    opened.close()


def _history(opened: Opened, **query: Any) -> History:
    asked = HistoryQuery(**({"customer": JANE, "limit": None} | query))
    history: History = opened.run(opened.ledger.history(DEMO, asked))
    return history


def _customer(opened: Opened, *references: CustomerReference) -> Customer:
    found: Customer = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=references)))
    return found


def _customers(opened: Opened, **query: Any) -> Customers:
    found: Customers = opened.run(opened.ledger.customers(DEMO, CustomersQuery(**({"limit": 100} | query))))
    return found


def _code(opened: Opened, work: Any) -> Code:
    with pytest.raises(Problem) as refused:
        opened.run(work)
    return refused.value.code


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

    @settings(deadline=None, max_examples=opened.store.examples(300))
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


def test_a_history_comes_with_the_customer_of_the_same_moment(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))

    history = _history(opened)

    assert history.customers[1].wallet.available == sum(entry.points_delta for entry in history.entries) == 10
    assert history.customers[1].references == (JANES_EMAIL, JANE)


def test_a_history_of_nobody_is_refused(opened: Opened) -> None:
    asked = HistoryQuery(customer=NOBODY, limit=1)

    assert _code(opened, opened.ledger.history(DEMO, asked)) is Code.UNKNOWN_CUSTOMER
    assert _code(opened, opened.ledger.history(OTHER, asked)) is Code.UNKNOWN_CUSTOMER


def test_a_merchant_whom_the_ledger_never_met_has_an_empty_history(opened: Opened) -> None:
    asked = HistoryQuery(customer=Everyone.EVERYONE, limit=1)

    assert opened.run(opened.ledger.history(OTHER, asked)) == History(entries=(), has_more=False, customers={})


def test_a_read_sees_every_write_acknowledged_before_it(opened: Opened) -> None:
    for points in range(1, 50):
        receipt = opened.adjust(instruction(JANE, points))

        assert _customer(opened, JANE).wallet == receipt.wallets[0]


def test_a_read_waits_for_no_write(opened: Opened) -> None:
    with opened.store.uncommitted("UPDATE wallets SET available = 5"):
        assert _customer(opened, JANE).wallet.available == 0


def test_a_read_of_several_tables_sees_one_moment_while_others_write(opened: Opened) -> None:
    asked = HistoryQuery(customer=Everyone.EVERYONE, limit=None)

    async def adjust(done: asyncio.Event) -> None:
        while not done.is_set():
            await asyncio.gather(*(opened.ledger.adjust(instruction(one, 1)) for one in (JANE, OMAR)))

    async def read() -> list[History]:
        done = asyncio.Event()
        writing = asyncio.create_task(adjust(done))
        found = [history for _ in range(40) for history in await asyncio.gather(*_asked())]
        done.set()
        await writing
        return found

    def _asked() -> list[Awaitable[History]]:
        return [opened.ledger.history(DEMO, asked) for _ in range(3)]

    # So many that others write while they are read.
    opened.at_once(*(instruction(one, 1) for _ in range(500) for one in (JANE, OMAR)))
    histories = opened.run(read())

    assert len({len(history.entries) for history in histories}) > 10
    for history in histories:
        for wallet_id, customer in history.customers.items():
            told = sum(entry.points_delta for entry in history.entries if entry.wallet_id == wallet_id)
            assert customer.wallet.available == told


# Customers


def test_a_customer_is_found_by_the_first_reference_that_somebody_has(opened: Opened) -> None:
    assert _customer(opened, NOBODY, JANES_EMAIL, OMAR).wallet.id == 1
    assert _customer(opened, CustomerReference(OWN_NAMESPACE, "2")).references == (OMAR,)


@pytest.mark.parametrize("number", ["3", "0", "-1", "x", "1 OR 1=1", ""])
def test_a_number_that_no_customer_of_the_merchant_has_is_nobody(opened: Opened, number: str) -> None:
    opened.enrol(JANE, merchant=OTHER)
    asked = CustomerQuery(references=(CustomerReference(OWN_NAMESPACE, number),))

    assert _code(opened, opened.ledger.customer(DEMO, asked)) is Code.UNKNOWN_CUSTOMER


def test_a_customer_comes_with_the_merchants_tier_for_the_points_that_were_earned(opened: Opened) -> None:
    bronze, gold = Tier(name="Bronze", points_required=0), Tier(name="Gold", points_required=10)
    merchant = msgspec.structs.replace(DEMO, tiers=(bronze, gold))
    opened.adjust(instruction(JANE, 10))
    ledger, asked = opened.ledger, CustomerQuery(references=(JANE,))

    customers = [
        opened.run(ledger.customer(merchant, asked)),
        opened.run(ledger.enrol(merchant, Enrolment(references=(JANE,)))).customer,
        opened.run(ledger.update(merchant, CustomerUpdate(customer=JANE, changes={}))),
        *opened.run(ledger.history(merchant, HistoryQuery(customer=JANE, limit=1))).customers.values(),
        *opened.run(ledger.customers(merchant, CustomersQuery(limit=2))).customers,
    ]

    assert [customer.tier for customer in customers] == [gold, gold, gold, gold, bronze, gold]
    assert _customer(opened, JANE).tier is None


def test_an_adjustment_may_name_the_customer_by_number(opened: Opened) -> None:
    own = CustomerReference(OWN_NAMESPACE, "1")

    receipt = opened.adjust(instruction((own, JANE), 10))

    assert (receipt.count, receipt.wallets[0].id) == (1, 1)


def test_a_number_is_never_enrolled(opened: Opened) -> None:
    own = CustomerReference(OWN_NAMESPACE, "77")
    enrolling = Enrolment(references=(own,))

    assert _code(opened, opened.ledger.enrol(DEMO, enrolling)) is Code.CUSTOMER_CONFLICT


@pytest.mark.parametrize(
    ("existing", "is_kept"), [(Existing.KEEP, True), (Existing.UPDATE, False)], ids=["keep", "update"]
)
def test_enrolling_somebody_again_keeps_or_changes_the_profile(
    opened: Opened, existing: Existing, *, is_kept: bool
) -> None:
    first = Enrolment(references=(NOBODY,), changes={"first_name": "Noor", "tags": ("vip",)})
    again = Enrolment(references=(NOBODY,), changes={"first_name": "N."}, existing=existing)
    made: Enrolled = opened.run(opened.ledger.enrol(DEMO, first))

    found: Enrolled = opened.run(opened.ledger.enrol(DEMO, again))

    assert (made.is_new, found.is_new) == (True, False)
    assert found.customer.profile == Profile(first_name="Noor" if is_kept else "N.", tags=("vip",))
    assert (found.customer.wallet.updated_at > made.customer.wallet.updated_at) != is_kept


def test_enrolling_somebody_again_can_be_refused(opened: Opened) -> None:
    again = Enrolment(references=(JANE,), existing=Existing.REFUSE)

    assert _code(opened, opened.ledger.enrol(DEMO, again)) is Code.CUSTOMER_CONFLICT


def test_an_attached_reference_finds_nobody(opened: Opened) -> None:
    phone, number = CustomerReference("phone", "+966500000000"), CustomerReference("phone", "+966500000001")
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(JANE,), attached=(phone,))))

    again = _code(opened, opened.ledger.enrol(DEMO, Enrolment(references=(OMAR,), attached=(phone,))))
    new = _code(opened, opened.ledger.enrol(DEMO, Enrolment(references=(NOBODY,), attached=(phone,))))
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(NOBODY,), attached=(number,))))

    assert (again, new) == (Code.CUSTOMER_CONFLICT, Code.CUSTOMER_CONFLICT)
    assert _customer(opened, phone) == _customer(opened, JANE)
    assert _customer(opened, number) == _customer(opened, NOBODY)


def test_a_reference_takes_the_place_of_an_earlier_one_where_the_enrolment_says_so(opened: Opened) -> None:
    new = CustomerReference("email", "jane.doe@example.com")
    further = CustomerReference("salla", "7")
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(JANE, CustomerReference("salla", "8")))))

    enrolling = Enrolment(references=(JANE, new, further), replaces=("email", "shopify"), existing=Existing.UPDATE)
    changed: Enrolled = opened.run(opened.ledger.enrol(DEMO, enrolling))

    names = [str(reference) for reference in changed.customer.references]
    assert names == ["email:jane.doe@example.com", "salla:7", "salla:8", str(JANE)]
    assert not changed.is_new
    assert _code(opened, opened.ledger.customer(DEMO, CustomerQuery(references=(JANES_EMAIL,)))) is (
        Code.UNKNOWN_CUSTOMER
    )


def test_an_update_changes_what_it_names_and_nothing_else(opened: Opened) -> None:
    opened.run(opened.ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={"last_name": "Doe"})))
    before = _customer(opened, JANE)

    update = CustomerUpdate(customer=JANE, changes={"date_of_birth": "1990-05-17"}, excluded=True)
    after: Customer = opened.run(opened.ledger.update(DEMO, update))

    assert after == _customer(opened, JANE)
    assert after.profile == Profile(last_name="Doe", date_of_birth="1990-05-17")
    assert after.wallet.excluded
    assert after.wallet.updated_at > before.wallet.updated_at
    assert opened.refusal(instruction(JANE, 1)) is Code.CUSTOMER_EXCLUDED


def test_an_update_of_nobody_is_refused(opened: Opened) -> None:
    update = CustomerUpdate(customer=NOBODY, changes={}, excluded=True)

    assert _code(opened, opened.ledger.update(DEMO, update)) is Code.UNKNOWN_CUSTOMER


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


@pytest.mark.parametrize("descending", [True, False])
def test_a_page_may_begin_behind_a_customer_in_the_order_of_changes(people: Opened, *, descending: bool) -> None:
    people.execute("UPDATE wallets SET updated_at = ? WHERE id IN (2, 3, 5)", (_second(1),))
    asked: dict[str, Any] = {"order": CustomerOrder.UPDATED, "descending": descending}
    numbers = _numbers(_customers(people, **asked))

    walked: list[int] = []
    place: dict[str, int] = {}
    while (page := _customers(people, limit=2, **asked, **place)).customers:
        walked += _numbers(page)
        last = page.customers[-1].wallet
        place = {"after": last.id, "after_updated": last.updated_at}

    assert walked == numbers == ([6, 4, 5, 3, 2, 1] if descending else [1, 2, 3, 5, 4, 6])


def test_a_page_tells_whether_there_is_more_and_how_many_match_in_all(people: Opened) -> None:
    first, last = _customers(people, limit=4, counts=True), _customers(people, limit=4, offset=4, counts=True)

    assert (first.has_more, last.has_more) == (True, False)
    assert (first.total, last.total) == (6, 6)
    assert _customers(people, limit=4).total is None


# The store


def test_reading_a_ledger_that_is_not_open_is_unavailable(store: Store) -> None:
    async def read_unopened() -> None:
        await store.ledger().customers(DEMO, CustomersQuery(limit=1))

    with pytest.raises(Problem) as refused:
        asyncio.run(read_unopened())

    assert refused.value.code is Code.UNAVAILABLE


def test_reading_without_a_table_is_unavailable_until_it_is_back(opened: Opened) -> None:
    asked = HistoryQuery(customer=JANE, limit=1)
    opened.execute("ALTER TABLE entries RENAME TO hidden")

    refused = _code(opened, opened.ledger.history(DEMO, asked))
    opened.execute("ALTER TABLE hidden RENAME TO entries")

    assert refused is Code.UNAVAILABLE
    assert opened.run(opened.ledger.history(DEMO, asked)).entries == ()
