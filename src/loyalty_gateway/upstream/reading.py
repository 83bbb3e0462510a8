"""What an upstream tells of customers and their points, as the ledger would tell it."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import CustomerReference, Everyone, Merchant
from loyalty_gateway.customer import (
    CustomerOrder,
    CustomerQuery,
    CustomersQuery,
    HistoryQuery,
    Only,
)
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import Told, ToldCustomer, ToldCustomers, ToldEntry, ToldHistory, ToldWallet
from loyalty_gateway.upstream import partial
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.marks import unmarked
from loyalty_gateway.upstream.partial import Counts, Line, Local, Partial
from loyalty_gateway.upstream.phrasebook import Said
from loyalty_gateway.upstream.targets import Target, Targets
from loyalty_gateway.vendor import Task

Say = Callable[[Task], Said | None]
_PAGE: Final = 100
_LOCAL_PAGE: Final = 500


class Reading:
    """Answers queries from one upstream; the numbers of customers are this gateway's own."""

    def __init__(self, calls: Calls, targets: Targets) -> None:
        self._calls = calls
        self._targets = targets

    # One customer

    async def balance(self, target: Target) -> int:
        """The points that the customer can spend there; raises Problem, UNAVAILABLE where nobody tells."""
        async for told in self._telling(target):
            if told.wallet.available is not UNSET:
                return told.wallet.available
        raise Problem(Code.UNAVAILABLE)

    async def standing(self, target: Target) -> ToldWallet:
        """The balance and whether the customer is excluded there, as far as anybody tells; raises Problem."""
        wallet = ToldWallet()
        async for told in self._telling(target):
            wallet = _merged(ToldCustomer(wallet=wallet), told).wallet
            if UNSET not in {wallet.available, wallet.excluded}:
                break
        return wallet

    async def _telling(self, target: Target) -> AsyncIterator[ToldCustomer]:
        """What each of the upstream's operations tells of the customer, one after another."""
        references = tuple(dict.fromkeys((target.reference, *target.references)))
        for way in self._calls.ways(CustomerQuery(references=references)):
            anything, defects = False, list[bool]()
            async for told in self._calls.pages(way, lambda defects=defects: defects.append(True)):  # type: ignore[misc]
                found = _of(told, target.reference)
                anything = anything or found is not None or not _is_blank(told)
                if found is not None:
                    yield found
                    break
            if not anything and not defects and way.operation.asks is HistoryQuery:
                # To whom nothing ever happened.
                yield ToldCustomer(references=(target.reference,), wallet=ToldWallet(available=0))

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Partial:
        """See ``Ledger.customer``."""
        target = await self._first(merchant, query.references)
        told, target = await self.whole(merchant, target)
        return partial.customer(told, local(target))

    async def whole(
        self, merchant: Merchant, target: Target, known: ToldCustomer | None = None
    ) -> tuple[ToldCustomer, Target]:
        """All that is told of the customer, beside what is known already; the target has a number of ours then."""
        whole = _merged(known or ToldCustomer(), ToldCustomer(references=(target.reference,)))
        async for told in self._telling(target):
            whole = _merged(whole, told)
        return whole, await self._targets.remember(merchant, target)

    async def _first(self, merchant: Merchant, references: Sequence[CustomerReference]) -> Target:
        for reference in references:
            try:
                return await self._targets.find(merchant, reference)
            except Problem as problem:
                if problem.code is not Code.UNKNOWN_CUSTOMER:
                    raise
        raise Problem(Code.UNKNOWN_CUSTOMER)

    # Histories

    async def history(self, merchant: Merchant, query: HistoryQuery) -> Partial:
        """See ``Ledger.history``; the whole history is read, and the page is taken from it here."""
        if isinstance(query.customer, Everyone):
            raise Problem(Code.UNAVAILABLE)
        target = await self._targets.find(merchant, query.customer)
        told, target = await self.whole(merchant, target)
        vendor = self._calls.vendor.name
        if query.limit == 0:
            return partial.history([], None, (told, local(target)), vendor=self._calls.vendor.name, has_more=False)
        entries = await self.entries(target.reference)
        if query.only is not Only.ADDED and any(_number(entry.spent) for entry in entries):
            # Something was deducted that is no line there.
            raise Problem(Code.UNAVAILABLE)
        lines, counts = _counted(entries, told.wallet.available)
        page, has_more = _page(lines, query)
        return partial.history(page, counts, (told, local(target)), vendor=vendor, has_more=has_more)

    async def entries(
        self, reference: CustomerReference, on_defect: Callable[[], None] = lambda: None
    ) -> list[ToldEntry]:
        """All that the upstream's history of a customer tells, oldest first, with the marks in it.

        ``on_defect`` is as for ``Calls.pages``.
        """
        said = asked_for_history(self._calls.say, reference)
        if said is None:
            raise Problem(Code.UNAVAILABLE)
        entries = [
            entry
            async for told in self._calls.pages(said, on_defect)
            if isinstance(told, ToldHistory)
            for entry in told.entries
        ]
        newest_first = isinstance(said.meant, HistoryQuery) and said.meant.newest_first
        return entries[::-1] if newest_first else entries

    # Many customers

    async def customers(self, merchant: Merchant, query: CustomersQuery) -> Partial:
        """See ``Ledger.customers``; raises Problem UNAVAILABLE where the upstream cannot be asked for these."""
        said = asked_for_customers(self._calls.say, query)
        if said is None:
            raise Problem(Code.UNAVAILABLE)
        shown: list[tuple[ToldCustomer, Local]] = []
        total: int | None = None
        walked = query.offset
        # There is nobody with the number 0, behind whom all are.
        begun = not query.after
        async for told in self._calls.pages(said):
            if not isinstance(told, ToldCustomers):
                continue
            total = None if told.total is UNSET else told.total
            for one in told.customers:
                walked += 1
                if len(shown) > query.limit:
                    continue
                ours = await self._met(merchant, one)
                if begun:
                    shown.append((one, ours))
                begun = begun or ours.wallet_id == query.after
            if len(shown) > query.limit and (total is not None or not query.counts):
                break
        else:
            # Whoever is not told how many there are has counted them now.
            total = walked if total is None else total
        if not begun or any(_is_passed_over(ours, query) for _, ours in shown):
            # Numbers of ours need not rise as those there do.
            raise Problem(Code.UNAVAILABLE)
        return partial.customers(shown[: query.limit], has_more=len(shown) > query.limit, total=total)

    async def _met(self, merchant: Merchant, told: ToldCustomer) -> Local:
        for namespace in self._calls.namespaces:
            value = told.value(namespace)
            if value is not None:
                target = await self._targets.find(merchant, CustomerReference(namespace, value))
                return local(await self._targets.remember(merchant, target))
        return Local(0, 0, told.references)

    async def everyone(self, merchant: Merchant) -> list[Target]:
        """Every customer of the merchant whom this gateway has met, as the upstream names them."""
        found: list[Target] = []
        after: int | None = None
        while True:
            query = CustomersQuery(limit=_LOCAL_PAGE, after=after, order=CustomerOrder.NUMBER, descending=False)
            page = await self._targets.known(merchant, query)
            taking_part = [customer for customer in page.customers if not customer.wallet.excluded]
            found += [await self._targets.of(merchant, customer) for customer in taking_part]
            if not page.has_more:
                return found
            after = page.customers[-1].wallet.id


def asked_for_history(say: Say, reference: CustomerReference) -> Said | None:
    """A request for the whole history of a customer, page by page."""
    for newest_first, limit in ((False, None), (True, None), (False, _PAGE), (True, _PAGE)):
        query = HistoryQuery(customer=reference, limit=limit, newest_first=newest_first)
        said = say(query)
        if said is not None:
            return said._replace(meant=query)
    return None


def asked_for_customers(say: Say, query: CustomersQuery) -> Said | None:
    """A request for just the customers asked for, from the first of them on."""
    plain = msgspec.structs.replace(query, after=None, after_updated=None, counts=True)
    said = say(plain)
    return said if said is not None and _same(said.meant, plain) else None


def local(target: Target) -> Local:
    """What this gateway knows of the customer by itself."""
    merchant_id = 0 if target.customer is None else target.customer.wallet.merchant_id
    return Local(merchant_id, target.wallet_id, target.references)


def _of(told: Told, reference: CustomerReference) -> ToldCustomer | None:
    """What is told of the customer; lists may have others too."""
    match told:
        case ToldCustomers(customers=customers):
            return next((one for one in customers if reference in one.references), None)
        case ToldHistory(customer=customer) | (ToldCustomer() as customer):
            return None if customer == ToldCustomer() else customer
        case _:
            return None


def _is_blank(told: Told) -> bool:
    return isinstance(told, ToldHistory) and not told.entries


def _merged(one: ToldCustomer, other: ToldCustomer) -> ToldCustomer:
    told = {name: value for name, value in msgspec.structs.asdict(other.wallet).items() if value is not UNSET}
    before = {name: value for name, value in msgspec.structs.asdict(one.wallet).items() if value is not UNSET}
    return ToldCustomer(
        references=tuple(dict.fromkeys((*one.references, *other.references))),
        profile={**other.profile, **one.profile},
        wallet=ToldWallet(**(told | before)),
    )


def _counted(entries: Sequence[ToldEntry], available: Any) -> tuple[list[Line], Counts]:
    """Entries with numbers that rise, the vendor's own where it has such, and balances where they follow."""
    numbers = [int(entry.id) if isinstance(entry.id, str) and entry.id.isdigit() else 0 for entry in entries]
    if any(after <= before for before, after in zip([0, *numbers], numbers, strict=False)):
        numbers = list(range(1, len(entries) + 1))
    # What was spent of the grants is told only where all that was granted is, and comes to the balance.
    spent = [_number(entry.spent) for entry in entries]
    left = sum(_number(entry.points_delta) for entry in entries) - sum(spent)
    granted, grants, lines = 0, 0, []
    for number, entry in zip(numbers, _with_balances(entries, available), strict=True):
        points = max(_number(entry.points_delta), 0)
        granted, grants = granted + points, grants + (points > 0)
        lines.append(Line(number, entry, granted if left == available else None, grants))
    return lines, Counts(len(lines), granted if left == available else None, grants)


def _with_balances(entries: Sequence[ToldEntry], available: Any) -> Iterator[ToldEntry]:
    """The balance behind each entry, where the whole history comes to the balance that is told."""
    deltas = [entry.points_delta for entry in entries]
    is_whole = UNSET not in deltas and available is not UNSET and sum(deltas) == available  # type: ignore[arg-type]
    balance = 0
    for entry in entries:
        reason = unmarked(entry.reason) if isinstance(entry.reason, str) else entry.reason
        entry = msgspec.structs.replace(entry, reason=reason)  # noqa: PLW2901 - the same one
        if is_whole and isinstance(entry.points_delta, int):
            before, balance = balance, balance + entry.points_delta
            entry = msgspec.structs.replace(entry, points_before=before, points_after=balance)  # noqa: PLW2901
        yield entry


def _page(lines: Sequence[Line], query: HistoryQuery) -> tuple[list[Line], bool]:
    """The page that the query asks for, and whether there are more behind it."""
    shown = [line for line in lines if _is_asked(line.number, line.entry, query)]
    if query.by_points:
        shown.sort(key=lambda one: (_number(one.entry.points_delta), one.number))
    if query.newest_first:
        shown.reverse()
    shown = shown[query.offset :]
    if query.limit is None or len(shown) <= query.limit:
        return shown, False
    return shown[: query.limit], True


def _is_asked(number: int, entry: ToldEntry, query: HistoryQuery) -> bool:
    points, moment = _number(entry.points_delta), _number(entry.occurred_at)
    return (
        (query.only is Only.ALL or (points > 0 if query.only is Only.ADDED else points < 0))
        and (query.after is None or number > query.after)
        and (query.before is None or number < query.before)
        and (query.since is None or moment >= query.since)
        and (query.until is None or moment <= query.until)
    )


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _is_passed_over(ours: Local, query: CustomersQuery) -> bool:
    """Whether a page that rises from a number on would not show the customer, whose own is smaller."""
    is_rising = query.order is CustomerOrder.NUMBER and not query.descending
    return is_rising and query.after is not None and ours.wallet_id <= query.after


def _same(meant: Any, asked: CustomersQuery) -> bool:
    """Whether the upstream understands the same customers, in the same order, beginning at the same one."""
    if not isinstance(meant, CustomersQuery):
        return False
    sized = msgspec.structs.replace(asked, limit=meant.limit, counts=meant.counts)
    if not asked.containing:
        # Where nothing is looked for, it does not matter where.
        sized = msgspec.structs.replace(sized, searched=meant.searched, searches_names=meant.searches_names)
    return meant == sized
