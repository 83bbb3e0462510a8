"""Generated histories of a ledger, held against one kept in plain lists and dictionaries."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar

import msgspec
import pytest
from book import Book, Change, Enrol, Key, Read, Task, key_of
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from numbering import Numbering, number_of, numbers
from opened import SECOND, Opened, instruction

from conftest import NOT_TRACED
from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    OWN_NAMESPACE,
    CustomerReference,
    Entry,
    Everyone,
    Idempotency,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Receipt,
    Tier,
    Wallet,
)
from loyalty_gateway.customer import (
    CustomerOrder,
    CustomerQuery,
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
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger.verify import Finding, check_keys, check_strays, check_wallets
from loyalty_gateway.problem import Problem
from stores import NewStore, Rows, Store

pytestmark = NOT_TRACED

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

KEEP_KEYS_SECONDS = 100

TIERS = (Tier(name="silver", points_required=20), Tier(name="gold", points_required=100))
MERCHANTS = (
    Merchant(name="plain"),
    Merchant(name="tiered", tiers=TIERS),
    Merchant(name="enrolling", tiers=TIERS, enrols_unknown_customers=True),
)
STRANGER = Merchant(name="stranger")
"""Asks, and never wrote anything."""

NAMESPACES = ("shopify", "email", "phone")
REFERENCES = tuple(
    CustomerReference(namespace, value) for namespace in NAMESPACES for value in ("jane", "omar", "zoë")
)
KNOWN = (REFERENCES[0:4:3], REFERENCES[1:2], REFERENCES[5:6])
"""The references of the customers whom every merchant has from the beginning."""
OWN = tuple(CustomerReference(OWN_NAMESPACE, str(number)) for number in range(1, 11))
"""The ledger's own names, by the book's numbers; some of them nobody's, or another merchant's."""
ODD = (
    CustomerReference(OWN_NAMESPACE, "x"),
    CustomerReference(OWN_NAMESPACE, "01"),
    CustomerReference("email", "somebody else"),
)
BLANK = CustomerReference("shopify", " ")
"""Nobody can be enrolled so; adjustments of such a one are refused before they come to a ledger."""

# What is asked

merchants = st.sampled_from(MERCHANTS)
vendors = st.sampled_from(["mage", "salla"])
reference = st.sampled_from([*KNOWN[0] * 12, *KNOWN[1] * 12, *KNOWN[2] * 12, *REFERENCES * 2, *OWN, *ODD])
references = st.lists(reference, min_size=1, max_size=3).map(tuple)
amounts = st.sampled_from(
    [*range(-30, 61), *[None] * 15, *[LARGEST_POINTS, LARGEST_POINTS - 30, -LARGEST_POINTS] * 2]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


def _keys(kind: bytes) -> st.SearchStrategy[Idempotency | None]:
    """Keys that come again and again, mostly with the same request; what is of another kind is another."""
    once = [Idempotency(key, fingerprint) for key in "kq" for fingerprint in (kind, kind, kind, b"not " + kind)]
    return st.sampled_from([*[None] * 8, *once])


@st.composite
def _instructions(draw: st.DrawFn) -> Instruction:
    asked = instruction(
        Everyone.EVERYONE if draw(st.sampled_from([False, False, False, True])) else draw(references),
        draw(amounts),
        merchant=draw(merchants),
        vendor=draw(vendors),
        lifetime=draw(st.sampled_from(Lifetime)),
        overdraft=draw(st.sampled_from(Overdraft)),
        reason=draw(st.none() | texts),
        metadata=draw(st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 3))),
        notify=draw(st.sampled_from([(), ("email",), ("sms", "email")])),
        visible=draw(st.booleans()),
        named_by=draw(st.none() | st.sampled_from(NAMESPACES)),
    )
    return msgspec.structs.replace(asked, idempotency=draw(_keys(b"an adjustment")))


names = st.none() | st.sampled_from(["Jane", "ZOË", "نور", "O'Mar 100%"])
tags = st.lists(st.sampled_from(["vip", "VIP", "né", '"']), max_size=2, unique=True).map(tuple)
sources = st.sampled_from(["pos", "web"])
changes: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {},
    optional={
        "first_name": names,
        "last_name": names,
        "date_of_birth": st.none() | st.just("1990-02-28"),
        "anniversary_date": st.none() | st.just("2020-02-29"),
        "tags": tags,
        "source": st.none() | sources,
    },
)
to_enrol = st.sampled_from([*REFERENCES * 4, *OWN[:3], *ODD, BLANK])
enrolments = st.builds(
    Enrol,
    merchants,
    st.builds(
        Enrolment,
        references=st.lists(to_enrol, min_size=1, max_size=3).map(tuple),
        attached=st.just(()) | st.lists(to_enrol, max_size=2).map(tuple),
        replaces=st.sampled_from([(), ("email",), ("shopify", "email", "phone")]),
        changes=changes,
        existing=st.sampled_from(Existing),
        refuses_excluded=st.booleans(),
    ),
    vendors,
    _keys(b"an enrolment"),
)
updates = st.builds(
    Change,
    merchants,
    st.builds(
        CustomerUpdate, customer=reference, changes=changes, excluded=st.sampled_from([None, False, False, True])
    ),
)

# What is looked for; of numbers and times only the places are drawn, among those that there are.

place = st.none() | st.tuples(st.integers(0, 40), st.sampled_from([-1, 0, 0, 1]))
_TIMES = ("since", "until")
_CUSTOMERS_TIMES = ("created_from", "created_until", "updated_from", "updated_until")
_ENTRIES = ("after", "before")

_TESTS: Sequence[tuple[str, st.SearchStrategy[Any]]] = (
    ("excluded", st.booleans()),
    ("tags", tags),
    ("sources", st.lists(sources, max_size=2).map(tuple)),
    ("created_from", place),
    ("created_until", place),
    ("updated_from", place),
    ("updated_until", place),
)


@st.composite
def _lists(draw: st.DrawFn) -> dict[str, Any]:
    containing = draw(st.none() | st.sampled_from(["", "jane", "MAR", "ZOË", "oë", "e o", "نو", "%", "r 1"]))
    tests = {name: draw(test) for name, test in draw(st.lists(st.sampled_from(_TESTS), max_size=2, unique=True))}
    order = draw(st.sampled_from(CustomerOrder))
    return tests | {
        "order": order,
        "behind": draw(place) if order in {CustomerOrder.NUMBER, CustomerOrder.UPDATED} else None,
        "limit": draw(st.integers(1, 5)),
        "offset": draw(st.just(0) | st.integers(0, 4)),
        "descending": draw(st.booleans()),
        "containing": containing,
        "searched": () if containing is None else draw(st.sampled_from([NAMESPACES, ("email",), ()])),
        "searches_names": containing is not None and draw(st.booleans()),
        "counts": draw(st.booleans()),
    }


@st.composite
def _histories(draw: st.DrawFn) -> dict[str, Any]:
    customer = draw(st.sampled_from([Everyone.EVERYONE, None, None, None])) or draw(reference)
    if customer is Everyone.EVERYONE or draw(st.booleans()):
        chosen = {name: draw(place) for name in (*_ENTRIES, *_TIMES)} | {"only": draw(st.sampled_from(Only))}
    else:
        chosen = {
            "offset": draw(st.sampled_from([0, 1, 1, 2, 3, 7])),
            "only": draw(st.sampled_from([Only.ALL, Only.ADDED])),
            "by_points": draw(st.sampled_from([False, False, True])),
        }
    return chosen | {
        "customer": customer,
        "limit": draw(st.none() | st.integers(1, 5)),
        "newest_first": draw(st.booleans()),
    }


readers = st.sampled_from([*MERCHANTS * 3, STRANGER])
looked_for = st.builds(CustomerQuery, references=references) | _lists() | _histories()


class Histories(RuleBasedStateMachine):
    """A ledger and a book that are told and asked the same, step by step.

    The ledger's numbers may have gaps, so what it is asked and what it gives are put into the book's numbers.
    """

    new_store: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()

    @initialize()
    def begin(self) -> None:
        store = self.stack.enter_context(self.new_store())
        self.opened = Opened(store, keep_keys_seconds=KEEP_KEYS_SECONDS)
        self.stack.callback(self.opened.close)
        self.book = Book(keep_keys_seconds=KEEP_KEYS_SECONDS)
        self.names = _tables(store)
        self.verified: dict[str, Rows] = {}
        self.keyed: list[Task] = []
        self.look()
        self.hold(
            [Enrol(one, Enrolment(references=known), "mage", None) for known in KNOWN for one in MERCHANTS]
            # Points that were not earned, so that lifetime points can be too few from the beginning.
            + [
                instruction(Everyone.EVERYONE, points, merchant=one, lifetime=Lifetime.UNTOUCHED)
                for points in (30, -5, 15)
                for one in MERCHANTS
            ]
        )

    def teardown(self) -> None:
        self.stack.close()

    # Steps

    @rule(asked=st.lists(_instructions(), min_size=1, max_size=8))
    def adjust(self, asked: list[Task]) -> None:
        self.hold(asked)

    @rule(asked=st.lists(enrolments | updates, min_size=1, max_size=4))
    def register(self, asked: list[Task]) -> None:
        self.hold(asked)

    @rule(asked=st.lists(_instructions() | enrolments | updates, min_size=2, max_size=8))
    def adjust_and_register(self, asked: list[Task]) -> None:
        self.hold(asked)

    @precondition(lambda self: self.keyed)
    @rule(number=st.integers(0, 5), seconds=st.sampled_from([0, 0, 100, 101]))
    def ask_again(self, number: int, seconds: int) -> None:
        self.opened.clock.now += seconds * SECOND
        self.hold([self.keyed[-1 - number % len(self.keyed)]])

    def hold(self, asked: Sequence[Task]) -> None:
        """Has tasks that arrive together carried out on both sides."""
        before, entries = self.tables, len(self.tables["entries"])
        expected = self.book.at_once(asked, self.opened.clock.now)
        given = [self.to_ledger(task) for task in asked]

        outcomes = self.opened.run(_all(_carried_out(self.opened.ledger, task) for task in given))

        self.look()
        self.keyed += [task for task in asked if key_of(task) is not None]
        assert [self.plain(outcome) for outcome in outcomes] == expected
        assert self.tables["entries"][:entries] == before["entries"]
        if all(_changes_nothing(outcome) for outcome in outcomes):
            assert self.tables == self.without_forgotten(before)
        self.forget()

    @rule(merchant=readers, asked=st.lists(looked_for, min_size=2, max_size=8))
    def read(self, merchant: Merchant, asked: list[CustomerQuery | dict[str, Any]]) -> None:
        before = self.tables
        reads = [Read(merchant, self.placed(query)) for query in asked]
        expected = [self.book.told(read) for read in reads]
        given = [self.to_ledger(read) for read in reads]

        outcomes = self.opened.run(_all(_read(self.opened.ledger, read) for read in given))

        self.look()
        for outcome, told in zip(map(self.plain, outcomes), expected, strict=True):
            if isinstance(outcome, History) and isinstance(told, History):
                # Of the merchant's customers, those are needed whose entries are shown; others may be.
                assert {entry.wallet_id for entry in outcome.entries} <= outcome.customers.keys()
                assert outcome.customers.items() <= told.customers.items()
                assert outcome == msgspec.structs.replace(told, customers=outcome.customers)
            else:
                assert outcome == told
        assert self.tables == before

    @rule(seconds=st.sampled_from([1, 40, 60, 100, -1, -30, -150]), reopens=st.sampled_from([False, False, True]))
    def set_the_clock(self, seconds: int, *, reopens: bool) -> None:
        self.opened.clock.now += seconds * SECOND
        if reopens:
            self.reopen()

    def reopen(self) -> None:
        before = self.tables

        self.opened.reopen()

        self.look()
        assert self.tables == before

    # What holds after every step

    @invariant()
    def every_wallet_is_the_fold_of_its_entries(self) -> None:
        assert [
            what for wallet in self.tables["wallets"] for what in _broken(wallet, self.tables["entries"])
        ] == []

    @invariant()
    def verify_finds_nothing(self) -> None:
        if self.tables != self.verified:
            assert self.opened.run(self.opened.ledger.look(_findings)) == []
            self.verified = self.tables

    @invariant()
    def the_ledger_holds_what_the_book_holds(self) -> None:
        book, tables = self.book, self.tables
        merchants = {row["id"]: row["name"] for row in tables["merchants"]}

        assert [self.to_book(_wallet(row)) for row in tables["wallets"]] == list(book.wallets.values())
        assert [self.to_book(_entry(row)) for row in tables["entries"]] == book.entries
        assert {
            (merchants[row["merchant_id"]], CustomerReference(row["namespace"], row["value"])): self.wallets[
                row["wallet_id"]
            ]
            for row in tables["customer_references"]
        } == book.references
        profiles = {self.wallets[row["wallet_id"]]: _profile(row) for row in tables["profiles"]}
        assert [profiles.get(number, Profile()) for number in book.wallets] == [
            book.profiles.get(number, Profile()) for number in book.wallets
        ]

    @invariant()
    def the_keys_of_what_took_effect_are_kept(self) -> None:
        assert {
            key: (row["fingerprint"], row["created_at"]) for key, row in self.kept_keys(self.tables).items()
        } == {key: (kept.fingerprint, kept.at) for key, kept in self.book.keys.items()}

    # The ledger's contents

    def look(self) -> None:
        """Takes in all tables, and how the ledger numbered what is in them."""
        self.tables = {name: sorted(self.opened.rows(f"SELECT * FROM {name}"), key=_order) for name in self.names}
        wallets, entries = self.tables["wallets"], self.tables["entries"]
        self.wallets, self.entries = numbers(wallets), numbers(entries)
        self.to_book = Numbering(self.wallets.__getitem__, self.entries.__getitem__)
        self.to_ledger = Numbering(partial(number_of, self.wallets), partial(number_of, self.entries))
        self.book.number_entries([(self.wallets[row["wallet_id"]], row["version"]) for row in entries])

    def kept_keys(self, tables: Mapping[str, Rows]) -> dict[Key, dict[str, Any]]:
        merchants = {row["id"]: row["name"] for row in tables["merchants"]}
        return {
            (merchants[row["merchant_id"]], row["vendor"], row["key"]): row for row in tables["idempotency_keys"]
        }

    def forget(self) -> None:
        self.book.forget_keys(self.kept_keys(self.tables), self.opened.clock.now)

    def without_forgotten(self, before: dict[str, Rows]) -> dict[str, Rows]:
        """The tables as they were, without keys that were old enough to be forgotten, and have been."""
        still = self.tables["idempotency_keys"]
        kept = [
            row
            for row in before["idempotency_keys"]
            if row in still or not self.book.is_old(row["created_at"], self.opened.clock.now)
        ]
        return before | {"idempotency_keys": kept}

    # What is asked, and what comes of it

    def plain(self, outcome: Any) -> Any:
        """What the ledger gave, as the book gives it: in its numbers, and a refusal as its code."""
        if isinstance(outcome, Problem):
            return outcome.code
        if isinstance(outcome, BaseException):
            raise outcome
        return self.to_book(outcome)

    def placed(self, query: CustomerQuery | dict[str, Any]) -> CustomerQuery | CustomersQuery | HistoryQuery:
        """The query with numbers and times that stand in the book, or right beside."""
        if isinstance(query, CustomerQuery):
            return query
        wallets = list(self.book.wallets.values())
        times = {
            _CUSTOMERS_TIMES: [moment for wallet in wallets for moment in (wallet.created_at, wallet.updated_at)],
            _TIMES: [entry.occurred_at for entry in self.book.entries],
            _ENTRIES: [entry.id for entry in self.book.entries],
        }
        placed = query | {
            name: _at(there, query[name]) for named, there in times.items() for name in named if name in query
        }
        if "behind" not in placed:
            return HistoryQuery(**placed)
        behind = placed.pop("behind")
        if behind is not None:
            wallet = wallets[behind[0] % len(wallets)]
            placed["after"] = wallet.id
            if placed["order"] is CustomerOrder.UPDATED:
                placed["after_updated"] = wallet.updated_at + behind[1]
        return CustomersQuery(**placed)


def _at(there: Sequence[int], place: tuple[int, int] | None) -> int | None:
    return None if place is None else there[place[0] % len(there)] + place[1]


# Asking the ledger


async def _all(works: Iterable[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*works, return_exceptions=True)


async def _carried_out(ledger: Ledger, task: Task) -> Any:
    match task:
        case Enrol(merchant, asked, vendor, idempotency):
            return await ledger.enrol(merchant, asked, vendor=vendor, idempotency=idempotency)
        case Change(merchant, asked):
            return await ledger.update(merchant, asked)
        case _:
            return await ledger.adjust(task)


async def _read(ledger: Ledger, read: Read) -> Any:
    match read.asked:
        case CustomerQuery():
            return await ledger.customer(read.merchant, read.asked)
        case CustomersQuery():
            return await ledger.customers(read.merchant, read.asked)
        case _:
            return await ledger.history(read.merchant, read.asked)


def _changes_nothing(outcome: Any) -> bool:
    return isinstance(outcome, Problem) or (isinstance(outcome, Receipt | Enrolled) and outcome.replayed)


# Looking in


def _tables(store: Store) -> list[str]:
    """The names of all tables that there are."""
    if store.url.startswith("sqlite:"):
        found = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    else:
        found = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    return sorted(row["name"] for row in store.rows(found))


def _order(row: dict[str, Any]) -> Any:
    """Rows come by their numbers, where they have one."""
    return row.get("id", 0), repr(row)


def _wallet(row: dict[str, Any]) -> Wallet:
    return Wallet(**(row | {"excluded": row["excluded"] == 1}))


def _entry(row: dict[str, Any]) -> Entry:
    values = {name: value for name, value in row.items() if name != "merchant_id"}
    values["metadata"] = None if row["metadata"] is None else msgspec.json.decode(row["metadata"])
    values["notify"] = () if row["notify"] is None else tuple(msgspec.json.decode(row["notify"]))
    return Entry(**(values | {"visible": row["visible"] == 1}))


def _profile(row: dict[str, Any]) -> Profile:
    values = {name: value for name, value in row.items() if name not in {"merchant_id", "wallet_id"}}
    return Profile(**(values | {"tags": tuple(msgspec.json.decode(row["tags"]))}))


def _broken(wallet: dict[str, Any], entries: Rows) -> list[str]:
    """What is not so in a wallet that is the fold of its entries, or in those, which are a chain."""
    broken: list[str] = []
    points = earned = burned = version = last_at = 0
    for entry in entries:
        if entry["wallet_id"] != wallet["id"]:
            continue
        version += 1
        earned, burned = earned + entry["earned_delta"], burned + entry["burned_delta"]
        holds = {
            "versions count": entry["version"] == version,
            "points_before is where the one before ended": entry["points_before"] == points,
            "points_after is what follows": entry["points_after"] == points + entry["points_delta"],
            "points are never below zero": entry["points_after"] >= 0,
            "lifetime points are never below zero": min(earned, burned) >= 0,
            "times rise": entry["occurred_at"] > last_at,
            "it is the merchant's": entry["merchant_id"] == wallet["merchant_id"],
        }
        broken += [f"entry {entry['id']}: {what}" for what, is_so in holds.items() if not is_so]
        points, last_at = entry["points_after"], entry["occurred_at"]
    folded = {
        "available": points,
        "lifetime_earned": earned,
        "lifetime_burned": burned,
        "version": version,
        "last_entry_at": last_at or None,
    }
    return broken + [f"wallet {wallet['id']}: {name}" for name, is_ in folded.items() if wallet[name] != is_]


def _findings(dialect: Dialect) -> Work[list[Finding]]:
    """What ``ledger verify`` finds, in pages so small that there are several."""
    findings = list((yield from check_strays(dialect)))
    place: tuple[int, int] | None = (0, 0)
    while place is not None:
        page = yield from check_wallets(dialect, place, 4)
        findings += page.findings
        place = page.last
    key: tuple[int, str, str] | None = (0, "", "")
    while key is not None:
        told, key = yield from check_keys(dialect, key, 4)
        findings += told
    return findings


def _run(new_store: NewStore, *, examples: int, steps: int) -> None:
    here = seed(SEED)(type("HistoriesHere", (Histories,), {"new_store": staticmethod(new_store)}))
    with new_store() as store:
        examples = store.examples(examples)
    run_state_machine_as_test(
        here, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_any_history_of_a_ledger_is_the_books(new_store: NewStore) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _run(new_store, examples=25, steps=25)


@pytest.mark.slow
def test_any_of_many_long_histories_of_a_ledger_is_the_books(
    new_store: NewStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _run(new_store, examples=1_000, steps=40)
