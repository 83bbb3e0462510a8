"""Probes of customers and histories: who is found, kept apart, changed, and told page by page."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.contract_run.client import Exchange
from loyalty_gateway.contract_run.probes import Probe, expect_refusal, granted, refused
from loyalty_gateway.contract_run.readings import lacking
from loyalty_gateway.contract_run.stage import MANY, CannotShow, NoWords, Stage, Violated
from loyalty_gateway.customer import (
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    Enrolment,
    Existing,
    HistoryQuery,
)
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldCustomer, ToldCustomers, ToldEntry, ToldHistory, ToldReceipt
from loyalty_gateway.vendor import Operation, Promise, ValidRequest

_BORN: Final = "1990-05-17"
_STEPS: Final = (11, 12, 13)
_FEW: Final = 2
_SAME_MOMENT_MICROSECONDS: Final = 2_000_000
"""What one answer tells to the microsecond, another may tell to the second."""
_MOST_LIST_PAGES: Final = 5


def look_up(stage: Stage, operation: Operation) -> None:
    """The known customer by each name, and whom it tells of; nobody, by a name that nobody has."""
    requests = [
        request
        for name in stage.first
        if (request := operation.said(CustomerQuery(references=(name,)), stage.setup.options)) is not None
    ]
    if not requests:
        raise NoWords(f"{operation.id} looks nobody up")
    for request in requests:
        exchange = granted(stage, operation, request)
        found = stage.found(stage.first, operation, exchange, request)
        if found is None:
            raise Violated("the customer is not found", exchange)
        balance = stage.balance(stage.first)
        if found.wallet.available not in {UNSET, balance}:
            raise Violated(f"the balance is told as {found.wallet.available} instead of {balance}", exchange)
        if missed := lacking(operation, request, stage.first, exchange.answer):
            raise Violated("; ".join(missed), exchange)
    if operation.asks is CustomerQuery:
        _knows_nobody(stage, operation)


def _knows_nobody(stage: Stage, operation: Operation) -> None:
    """Raises Violated where a reading of a customer whom nobody knows is not refused."""
    if stage.setup.enrols:
        return
    name = stage.nobody()
    for query in (CustomerQuery(references=(name,)), *stage.histories(name)):
        request = operation.said(query, stage.setup.options) if isinstance(query, operation.asks) else None
        if request is not None:
            refused(stage, operation, request, Problem(Code.UNKNOWN_CUSTOMER))
            return


def conflict(stage: Stage, operation: Operation) -> None:
    """A known customer's name for a new customer, or beside the name of another known one."""
    if operation.asks is not Enrolment:
        raise NoWords(f"{operation.id} enrols nobody")
    for request in _conflicting(stage, operation):
        exchange = stage.ask(operation, request)
        expect_refusal(stage, operation, exchange, Problem(Code.CUSTOMER_CONFLICT), request)
        return
    raise NoWords(f"{operation.id} cannot ask for what is somebody else's")


def _conflicting(stage: Stage, operation: Operation) -> Iterator[ValidRequest]:
    wishes = [Enrolment(references=(one,), existing=Existing.REFUSE) for one in stage.first]
    if len(stage.setup.customers) > 1:
        wishes += [
            Enrolment(references=(one, other), existing=Existing.UPDATE)
            for one in stage.first
            for other in stage.second
            if one.namespace != other.namespace
        ]
    for wish in wishes:
        request = operation.said(wish, stage.setup.options)
        meant = None if request is None else operation.parse_request(request)
        if request is None or not isinstance(meant, Enrolment):
            continue
        met = [one for one in stage.setup.customers[:2] if set(one) & set(meant.references)]
        if len(met) > 1 or (met and meant.existing is Existing.REFUSE):
            yield request


def update(stage: Stage, operation: Operation) -> None:
    """A day of birth is told, read again, and taken back to what it was."""
    if operation.asks is not CustomerUpdate:
        raise NoWords(f"{operation.id} changes nobody")
    name = stage.name(stage.first)
    given, back = (
        stage.said(operation, CustomerUpdate(customer=name, changes={"date_of_birth": day}))
        for day in (_BORN, None)
    )
    before = stage.looked_up(stage.first).profile
    was = before.get("date_of_birth")
    if was is not None:
        back = stage.said(operation, CustomerUpdate(customer=name, changes={"date_of_birth": was}))
    stage.to_undo.append((operation, back))
    for request, day in ((given, _BORN), (back, was)):
        exchange = granted(stage, operation, request)
        shown = stage.found(stage.first, operation, exchange, request)
        for profile in (ToldCustomer() if shown is None else shown).profile, stage.looked_up(stage.first).profile:
            for field, value in {**before, "date_of_birth": day}.items():
                if field in profile and _day(profile[field]) != _day(value):
                    raise Violated(f"{field} is {profile[field]!r} instead of {value!r}", exchange)
    stage.to_undo.remove((operation, back))


def _day(value: object) -> object:
    """A day that may be told with a time."""
    return value[:10] if isinstance(value, str) else value


def history_pages(stage: Stage, operation: Operation) -> None:
    """Three adjustments, and the pages in which they stand, in each order that can be asked for."""
    readings = list(_readings(stage, operation))
    if not readings:
        raise NoWords(f"{operation.id} tells no history")
    made = list(_made(stage))
    unread: CannotShow | None = None
    for request, meant in readings:
        try:
            entries, exchange = _paged(stage, operation, request, meant)
        except CannotShow as error:
            unread = error
        else:
            if off := _off(entries if meant.newest_first else entries[::-1], made):
                raise Violated(off, exchange)
    if operation.asks is HistoryQuery:
        _knows_nobody(stage, operation)
    if unread is not None:
        raise unread


def _made(stage: Stage) -> Iterator[ToldEntry]:
    """Three adjustments, and what is told of each when it is made, the balance that it left in any case."""
    balance = stage.balance(stage.first)
    for points in _STEPS:
        operation, request, exchange = stage.moved(points, stage.first)
        balance += points
        told = None
        # Whether that answer can be read is another promise.
        with suppress(Violated):
            told = stage.told(operation, exchange, request)
        entry = told.entry if isinstance(told, ToldReceipt) else ToldEntry()
        yield msgspec.structs.replace(entry, points_after=balance)


def _off(entries: list[ToldEntry], made: list[ToldEntry]) -> str:
    """What is wrong with a history, the newest entry first, in which these stand; nothing where nothing is."""
    ours = entries[: len(made)]
    seen, expected = [one.points_delta for one in ours], list(reversed(_STEPS))
    if seen != expected:
        return f"adjustments stand in the history as {seen} instead of {expected}, the newest first"
    ids = [one.id for one in entries if one.id is not UNSET]
    if len(set(ids)) != len(ids):
        return "an entry stands on two pages"
    for one, before in zip(ours, reversed(made), strict=True):
        if one.points_after not in {UNSET, before.points_after}:
            return f"an entry tells a balance of {one.points_after} instead of {before.points_after}"
        if isinstance(one.occurred_at, int) and isinstance(before.occurred_at, int):
            apart = abs(one.occurred_at - before.occurred_at)
            if apart > _SAME_MOMENT_MICROSECONDS:
                return f"an entry tells a moment {apart / 1_000_000:.0f} s from what was told when it was made"
    return ""


def _readings(stage: Stage, operation: Operation) -> Iterator[tuple[ValidRequest, HistoryQuery]]:
    """How the operation is asked for a history of one customer in each order, and what that means."""
    known = set()
    for newest_first, limit in ((True, _FEW), (False, MANY), (False, None)):
        query = HistoryQuery(customer=stage.name(stage.first), limit=limit, newest_first=newest_first)
        request = operation.said(query, stage.setup.options)
        meant = None if request is None else operation.parse_request(request)
        is_whole = isinstance(meant, HistoryQuery) and meant.limit != 0 and meant.newest_first not in known
        if request is not None and isinstance(meant, HistoryQuery) and is_whole:
            known.add(meant.newest_first)
            yield request, meant


def _paged(
    stage: Stage, operation: Operation, request: ValidRequest, meant: HistoryQuery
) -> tuple[list[ToldEntry], Exchange | None]:
    """Entries of one page after another, some of the newest, or all; and the last page."""
    entries: list[ToldEntry] = []
    exchange = None
    for exchange, told in stage.pages(operation, request):
        page = told.entries if isinstance(told, ToldHistory) else ()
        if meant.limit is not None and len(page) > meant.limit:
            raise Violated(f"a page of {meant.limit} has {len(page)} entries", exchange)
        entries += page
        # Of lines that nobody here wrote nothing is known, and the newest are ours.
        if meant.newest_first and (missed := lacking(operation, request, stage.first, exchange.answer)):
            raise Violated("; ".join(missed), exchange)
        if meant.newest_first and len(entries) > len(_STEPS):
            break
    return entries, exchange


def list_pages(stage: Stage, operation: Operation) -> None:
    """Customers one by one; whoever came once does not come again."""
    if operation.asks is not CustomersQuery:
        raise NoWords(f"{operation.id} lists nobody")
    request: ValidRequest | None = stage.said(operation, CustomersQuery(limit=1))
    names: list[object] = []
    for _ in range(_MOST_LIST_PAGES):
        if request is None:
            break
        exchange = granted(stage, operation, request)
        told = stage.told(operation, exchange, request)
        page, total = (told.customers, told.total) if isinstance(told, ToldCustomers) else ((), UNSET)
        if len(page) > 1:
            raise Violated(f"a page of 1 has {len(page)} customers", exchange)
        if any(one.references in names for one in page if one.references):
            raise Violated("a customer stands on two pages", exchange)
        names += [one.references for one in page]
        request = operation.next_request(exchange.answer, request)
        if isinstance(total, int) and (total < len(names) or (request is None and total > len(names))):
            raise Violated(f"{total} customers are told of in all, and {len(names)} are listed", exchange)
    if len(names) < min(2, len(stage.setup.customers)):
        raise Violated(f"the list ended after {len(names)} customers", exchange)


PEOPLE: Final[Mapping[Promise, tuple[str, Probe]]] = {
    Promise.LOOK_UP: (
        "a customer is found by each of their names, and told of as the vendor tells of everybody",
        look_up,
    ),
    Promise.CONFLICT: ("what is one customer's name is not another's", conflict),
    Promise.UPDATE: ("an update changes what it names and leaves the rest", update),
    Promise.HISTORY_PAGES: ("the history comes in its order, page by page", history_pages),
    Promise.LIST_PAGES: ("customers are listed page by page, nobody twice", list_pages),
}
"""The promises about operations that know customers."""
