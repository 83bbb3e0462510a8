"""Generated histories of a ledger, held against one kept in plain lists and dictionaries."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import msgspec
import pytest
from book import Book, Change, Enrol, Key, Read, Task
from hypothesis import seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from opened import SECOND, Opened, instruction

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
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger.verify import Finding, check_keys, check_strays, check_wallets
from loyalty_gateway.problem import Problem
from stores import NewStore, Rows, Store

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

KEEP_KEYS_SECONDS = 100
EVERYONE_AT_MOST = 4

TIERS = (Tier(name="silver", points_required=20), Tier(name="gold", points_required=100))
MERCHANTS = (
    Merchant(name="plain"),
    Merchant(name="tiered", tiers=TIERS),
    Merchant(name="enrolling", tiers=TIERS, enrols_unknown_customers=True),
)
STRANGER = Merchant(name="stranger")
"""Asks, and never wrote anything."""

NAMESPACES = ("shopify", "email")
REFERENCES = tuple(
    CustomerReference(namespace, value) for namespace in NAMESPACES for value in ("jane", "omar", "zoë")
)
OWN = tuple(CustomerReference(OWN_NAMESPACE, str(number)) for number in range(1, 10))
"""The ledger's own names, by the book's numbers; some of them nobody's, or another merchant's."""
ODD = (
    CustomerReference(OWN_NAMESPACE, "x"),
    CustomerReference(OWN_NAMESPACE, "01"),
    CustomerReference("shopify", " "),
    CustomerReference("email", "somebody else"),
)

# What is asked

merchants = st.sampled_from(MERCHANTS)
vendors = st.sampled_from(["mage", "salla"])
reference = st.sampled_from([*REFERENCES * 5, *OWN, *ODD])
references = st.lists(reference, min_size=1, max_size=3).map(tuple)
amounts = st.sampled_from(
    [*range(-30, 61), *[None] * 15, *[LARGEST_POINTS, LARGEST_POINTS - 30, -LARGEST_POINTS] * 2]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)


def _keys(kind: bytes) -> st.SearchStrategy[Idempotency | None]:
    fingerprints = st.sampled_from([kind, kind, kind, b"another"])
    return st.none() | st.builds(Idempotency, key=st.sampled_from("kq"), fingerprint=fingerprints)


@st.composite
def _instructions(draw: st.DrawFn) -> Instruction:
    asked = instruction(
        draw(references | references | references | st.just(Everyone.EVERYONE)),
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
enrolments = st.builds(
    Enrol,
    merchants,
    st.builds(
        Enrolment,
        references=references,
        attached=st.just(()) | st.lists(reference, max_size=2).map(tuple),
        replaces=st.sampled_from([(), ("email",), ("shopify", "email")]),
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
tasks: st.SearchStrategy[Task] = st.one_of(_instructions(), _instructions(), enrolments, updates)

# What is looked at; of numbers and times only the places are drawn, among those that there are.

place = st.none() | st.tuples(st.integers(0, 30), st.sampled_from([-1, 0, 0, 1]))
_TIMES = ("created_from", "created_until", "updated_from", "updated_until", "since", "until")
_ENTRIES = ("after", "before")


@st.composite
def _lists(draw: st.DrawFn) -> dict[str, Any]:
    containing = draw(st.none() | st.sampled_from(["", "jane", "MAR", "ZOË", "oë", "e o", "نو", "%", "r 1"]))
    tests = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "excluded": st.booleans(),
                "tags": tags,
                "sources": st.lists(sources, max_size=2).map(tuple),
                "created_from": place,
                "created_until": place,
                "updated_from": place,
                "updated_until": place,
            },
        )
    )
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
    bounded = {"after": place, "before": place, "since": place, "until": place, "only": st.sampled_from(Only)}
    counted = {
        "offset": st.integers(0, 9),
        "only": st.sampled_from([Only.ALL, Only.ADDED]),
        "by_points": st.booleans(),
    }
    customer = draw(st.just(Everyone.EVERYONE) | reference)
    is_counted = customer is not Everyone.EVERYONE and draw(st.booleans())
    chosen = draw(st.fixed_dictionaries({}, optional=counted if is_counted else bounded))
    return chosen | {
        "customer": customer,
        "limit": draw(st.none() | st.integers(1, 5)),
        "newest_first": draw(st.booleans()),
    }


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
        self.opened = Opened(store, keep_keys_seconds=KEEP_KEYS_SECONDS, everyone_at_most=EVERYONE_AT_MOST)
        self.stack.callback(self.opened.close)
        self.book = Book(keep_keys_seconds=KEEP_KEYS_SECONDS, everyone_at_most=EVERYONE_AT_MOST)
        self.names = _tables(store)
        self.look()
        for merchant in MERCHANTS:
            for one in REFERENCES[:2]:
                self.carry_out([Enrol(merchant, Enrolment(references=(one,)), "mage", None)])

    def teardown(self) -> None:
        self.stack.close()

    # Steps

    @rule(asked=st.lists(tasks, min_size=1, max_size=5))
    def carry_out(self, asked: list[Task]) -> None:
        before, entries = self.tables, len(self.tables["entries"])
        expected = self.book.at_once(asked, self.opened.clock.now)
        given = [self.in_ledgers_numbers(task) for task in asked]

        outcomes = self.opened.run(_all(_carried_out(self.opened.ledger, task) for task in given))

        self.look()
        assert [self.in_books_numbers(outcome) for outcome in outcomes] == expected
        assert self.tables["entries"][:entries] == before["entries"]
        if all(_changes_nothing(outcome) for outcome in outcomes):
            assert self.tables == self.without_forgotten(before)
        self.forget()

    @rule(merchant=st.sampled_from([*MERCHANTS, STRANGER]), asked=st.lists(looked_for, min_size=1, max_size=4))
    def read(self, merchant: Merchant, asked: list[CustomerQuery | dict[str, Any]]) -> None:
        before = self.tables
        reads = [Read(merchant, self.placed(query)) for query in asked]
        expected = [self.book.told(read) for read in reads]
        given = [self.in_ledgers_numbers(read) for read in reads]

        outcomes = self.opened.run(_all(_read(self.opened.ledger, read) for read in given))

        self.look()
        for outcome, told in zip(map(self.in_books_numbers, outcomes), expected, strict=True):
            if isinstance(outcome, History) and isinstance(told, History):
                # Of the merchant's customers, those are needed whose entries are shown; others may be.
                assert {entry.wallet_id for entry in outcome.entries} <= outcome.customers.keys()
                assert outcome.customers.items() <= told.customers.items()
                assert outcome == msgspec.structs.replace(told, customers=outcome.customers)
            else:
                assert outcome == told
        assert self.tables == before

    @rule(seconds=st.sampled_from([1, 40, 99, 101, -1, -30, -150]))
    def set_the_clock(self, seconds: int) -> None:
        self.opened.clock.now += seconds * SECOND

    @rule()
    def reopen(self) -> None:
        before = self.tables

        self.opened.reopen()

        self.look()
        assert self.tables == before

    # What holds after every step

    @invariant()
    def every_wallet_is_the_fold_of_its_entries(self) -> None:
        assert [what for wallet in self.tables["wallets"] for what in _broken(wallet, self.tables["entries"])] == []

    @invariant()
    def verify_finds_nothing(self) -> None:
        assert self.opened.run(self.opened.ledger.look(_findings)) == []

    @invariant()
    def the_ledger_holds_what_the_book_holds(self) -> None:
        book, tables = self.book, self.tables
        merchants = {row["id"]: row["name"] for row in tables["merchants"]}

        assert [_wallet(row, self.wallets) for row in tables["wallets"]] == list(book.wallets.values())
        assert [_entry(row, self.wallets, self.entries) for row in tables["entries"]] == book.entries
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
        self.tables = {
            name: sorted(self.opened.rows(f"SELECT * FROM {name}"), key=_order) for name in self.names
        }
        wallets, entries = self.tables["wallets"], self.tables["entries"]
        self.wallets = {row["id"]: number for number, row in enumerate(wallets, 1)}
        self.entries = {row["id"]: number for number, row in enumerate(entries, 1)}
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

    # Numbers

    def placed(self, query: CustomerQuery | dict[str, Any]) -> CustomerQuery | CustomersQuery | HistoryQuery:
        """The query with numbers and times that stand in the book, or right beside."""
        if isinstance(query, CustomerQuery):
            return query
        wallets = list(self.book.wallets.values())
        times = sorted({wallet.created_at for wallet in wallets} | {wallet.updated_at for wallet in wallets})
        numbers = [entry.id for entry in self.book.entries] or [1]
        placed = query | {name: _at(times, query[name]) for name in _TIMES if name in query}
        placed |= {name: _at(numbers, query[name]) for name in _ENTRIES if name in query}
        if "behind" not in placed:
            return HistoryQuery(**placed)
        behind = placed.pop("behind")
        if behind is not None:
            wallet = wallets[behind[0] % len(wallets)]
            placed["after"] = wallet.id
            if placed["order"] is CustomerOrder.UPDATED:
                placed["after_updated"] = wallet.updated_at + behind[1]
        return CustomersQuery(**placed)

    def in_ledgers_numbers(self, asked: Any) -> Any:
        """The same, as it is to be asked of the ledger."""
        replace, own = msgspec.structs.replace, self.in_ledgers_numbers
        match asked:
            case tuple() if not hasattr(asked, "_replace"):
                return tuple(own(one) for one in asked)
            case CustomerReference(OWN_NAMESPACE, value) if value.isdigit() and value[0] != "0":
                return CustomerReference(OWN_NAMESPACE, str(_number(self.wallets, int(value))))
            case Instruction():
                customers = own(asked.adjustment.customers)
                return replace(asked, adjustment=replace(asked.adjustment, customers=customers))
            case Enrol() | Change() | Read():
                return asked._replace(asked=own(asked.asked))
            case Enrolment():
                return replace(asked, references=own(asked.references), attached=own(asked.attached))
            case CustomerUpdate():
                return replace(asked, customer=own(asked.customer))
            case CustomerQuery():
                return replace(asked, references=own(asked.references))
            case CustomersQuery(after=int(after)):
                return replace(asked, after=_number(self.wallets, after))
            case HistoryQuery():
                bounds = {name: _number(self.entries, getattr(asked, name)) for name in _ENTRIES}
                return replace(asked, customer=own(asked.customer), **bounds)
            case _:
                return asked

    def in_books_numbers(self, outcome: Any) -> Any:
        """What the ledger gave, as the book gives it: in its numbers, and a refusal as its code."""
        replace, plain = msgspec.structs.replace, self.in_books_numbers
        match outcome:
            case tuple():
                return tuple(plain(one) for one in outcome)
            case Problem():
                return outcome.code
            case CustomerReference(OWN_NAMESPACE, value) if value.isdigit() and int(value) in self.wallets:
                return CustomerReference(OWN_NAMESPACE, str(self.wallets[int(value)]))
            case Wallet():
                return replace(outcome, id=self.wallets[outcome.id])
            case Entry():
                return replace(outcome, id=self.entries[outcome.id], wallet_id=self.wallets[outcome.wallet_id])
            case Customer():
                return replace(outcome, wallet=plain(outcome.wallet))
            case Enrolled():
                return replace(outcome, customer=plain(outcome.customer))
            case Receipt():
                parts = {name: plain(getattr(outcome, name)) for name in ("entries", "wallets", "customers")}
                return replace(outcome, **parts)
            case Customers():
                return replace(outcome, customers=plain(outcome.customers))
            case History():
                customers = {self.wallets[number]: plain(one) for number, one in outcome.customers.items()}
                return replace(outcome, entries=plain(outcome.entries), customers=customers)
            case BaseException():
                raise outcome
            case _:
                return outcome


_FAR = 10**15
"""Larger than any number that a ledger gives here."""


def _number(numbers: Mapping[int, int], number: int | None) -> int | None:
    """The ledger's number for one of the book's; one that the book has not is nobody's there either."""
    if number is None or number <= 0:
        return number
    ledgers = list(numbers)
    return ledgers[number - 1] if number <= len(ledgers) else _FAR + number


def _at(there: Sequence[int], place: tuple[int, int] | None) -> int | None:
    return None if place is None else there[place[0] % len(there)] + place[1]


# Asking the ledger


async def _all(works: Any) -> list[Any]:
    return await asyncio.gather(*works, return_exceptions=True)


def _carried_out(ledger: Ledger, task: Task) -> Awaitable[Any]:
    match task:
        case Enrol(merchant, asked, vendor, idempotency):
            return ledger.enrol(merchant, asked, vendor=vendor, idempotency=idempotency)
        case Change(merchant, asked):
            return ledger.update(merchant, asked)
        case _:
            return ledger.adjust(task)


def _read(ledger: Ledger, read: Read) -> Awaitable[Any]:
    match read.asked:
        case CustomerQuery():
            return ledger.customer(read.merchant, read.asked)
        case CustomersQuery():
            return ledger.customers(read.merchant, read.asked)
        case _:
            return ledger.history(read.merchant, read.asked)


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


def _wallet(row: dict[str, Any], wallets: Mapping[int, int]) -> Wallet:
    return Wallet(**(row | {"id": wallets[row["id"]], "excluded": row["excluded"] == 1}))


def _entry(row: dict[str, Any], wallets: Mapping[int, int], entries: Mapping[int, int]) -> Entry:
    values = {name: value for name, value in row.items() if name != "merchant_id"}
    values["id"], values["wallet_id"] = entries[row["id"]], wallets[row["wallet_id"]]
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

    _run(new_store, examples=60, steps=25)


@pytest.mark.slow
def test_any_of_many_long_histories_of_a_ledger_is_the_books(
    new_store: NewStore, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _run(new_store, examples=2_000, steps=40)
