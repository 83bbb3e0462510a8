"""A ledger in plain lists and dictionaries: the rules once more, without a database and without the engine."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    OWN_NAMESPACE,
    Adjustment,
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
    Query,
)
from loyalty_gateway.problem import Code, Problem

T = TypeVar("T")

SECOND = 1_000_000


class Enrol(NamedTuple):
    """Asks to have a customer."""

    merchant: Merchant
    asked: Enrolment
    vendor: str
    idempotency: Idempotency | None


class Change(NamedTuple):
    """Asks to change what is known of a customer."""

    merchant: Merchant
    asked: CustomerUpdate


class Read(NamedTuple):
    """Asks to be told something."""

    merchant: Merchant
    asked: Query


Task = Instruction | Enrol | Change
Done = Receipt | Enrolled | Customer


class Kept(NamedTuple):
    """What is remembered with an idempotency key."""

    fingerprint: bytes
    outcome: Receipt | Enrolled
    at: int


Key = tuple[str, str, str]
"""A merchant, a vendor, and what the client calls the key."""

_Named = tuple[str, CustomerReference]
_Decided = tuple[Wallet, Entry]


class Book:
    """The ledger as it is promised to be: one task after another, everything looked for by looking at everything.

    Wallets and entries are numbered from 1 in the order in which they come to be, whosever they are.
    """

    def __init__(self, *, keep_keys_seconds: int) -> None:
        self.keep_keys = keep_keys_seconds * SECOND
        self.merchants: list[str] = []
        self.wallets: dict[int, Wallet] = {}
        self.references: dict[_Named, int] = {}
        self.profiles: dict[int, Profile] = {}
        self.entries: list[Entry] = []
        self.keys: dict[Key, Kept] = {}
        self._numbers_told = 0

    # What is asked for

    def at_once(self, tasks: Sequence[Task], now: int) -> list[Done | Code]:
        """What comes of tasks that arrive together: one key is in flight for the first of them only."""
        # Nobody can know the number of a customer who is made at this moment.
        self._numbers_told = len(self.wallets)
        in_flight = set[Key]()
        outcomes: list[Done | Code] = []
        for task in tasks:
            key = key_of(task)
            if key in in_flight:
                outcomes.append(Code.KEY_IN_FLIGHT)
                continue
            if key is not None:
                in_flight.add(key)
            outcomes.append(_settled(self._once, task, now))
        return outcomes

    def told(self, read: Read) -> Customer | Customers | History | Code:
        """What is told to somebody who reads."""
        self._numbers_told = len(self.wallets)
        match read.asked:
            case CustomerQuery() as query:
                return _settled(self._first_of, read.merchant, query)
            case CustomersQuery() as query:
                return self._customers(read.merchant, query)
            case HistoryQuery() as query:
                return _settled(self._history, read.merchant, query)

    def _once(self, task: Task, now: int) -> Done:
        self._merchant_id(task.merchant)
        if isinstance(task, Change):
            return self._update(task.merchant, task.asked, now)
        key = key_of(task)
        if key is None or task.idempotency is None:
            return self._carried_out(task, now)
        kept = self.keys.get(key)
        if kept is not None and not self.is_old(kept.at, now):
            if kept.fingerprint != task.idempotency.fingerprint:
                raise Problem(Code.KEY_REUSED)
            return msgspec.structs.replace(kept.outcome, replayed=True)
        outcome = self._carried_out(task, now)
        self.keys[key] = Kept(task.idempotency.fingerprint, outcome, now)
        return outcome

    def _carried_out(self, task: Instruction | Enrol, now: int) -> Receipt | Enrolled:
        if isinstance(task, Enrol):
            return self._enrol(task.merchant, task.asked, now)
        if isinstance(task.adjustment.customers, Everyone):
            return self._adjust_everyone(task, now)
        return self._adjust_listed(task, task.adjustment.customers, now)

    # Adjusting

    def _adjust_everyone(self, asked: Instruction, now: int) -> Receipt:
        addressed = [wallet for wallet in self._wallets_of(asked.merchant) if not wallet.excluded]
        outcomes = [_settled(_decided, wallet, asked, now) for wallet in addressed]
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Code)]
        if refusals:
            raise Problem(min(refusals, key=list(Code).index))
        self._keep(outcome for outcome in outcomes if not isinstance(outcome, Code))
        return Receipt(merchant_id=self._merchant_id(asked.merchant), count=len(outcomes))

    def _adjust_listed(self, asked: Instruction, listed: Iterable[CustomerReference], now: int) -> Receipt:
        addressed: dict[int, tuple[CustomerReference, Wallet]] = {}
        newcomers: dict[CustomerReference, int] = {}
        for reference in listed:
            wallet = self._found(asked.merchant, reference)
            if wallet is None:
                if not asked.merchant.enrols_unknown_customers or reference.namespace == OWN_NAMESPACE:
                    raise Problem(Code.UNKNOWN_CUSTOMER)
                number = newcomers.setdefault(reference, len(self.wallets) + len(newcomers) + 1)
                wallet = self._blank(number, asked.merchant, now)
            addressed.setdefault(wallet.id, (reference, wallet))
        decided = [_decided(wallet, asked, now) for _, wallet in addressed.values()]
        self.references |= {(asked.merchant.name, reference): number for reference, number in newcomers.items()}
        entries = self._keep(decided)
        return Receipt(
            merchant_id=self._merchant_id(asked.merchant),
            count=len(entries),
            entries=tuple(entries),
            wallets=tuple(self.wallets[number] for number in addressed),
            customers=tuple(
                self._named(reference, number, asked.adjustment.named_by)
                for number, (reference, _) in addressed.items()
            ),
        )

    def _named(self, addressed: CustomerReference, number: int, namespace: str | None) -> CustomerReference:
        """How an answer names the customer: in the namespace, where they have a name there."""
        if addressed.namespace == namespace:
            return addressed
        names = [one for one in self._references_of(number) if one.namespace == namespace]
        return min(names, key=lambda one: one.value, default=addressed)

    def _keep(self, decided: Iterable[_Decided]) -> list[Entry]:
        kept = []
        for wallet, entry in decided:
            self.wallets[wallet.id] = wallet
            kept.append(msgspec.structs.replace(entry, id=len(self.entries) + 1))
            self.entries.append(kept[-1])
        return kept

    # Enrolling and changing

    def _enrol(self, merchant: Merchant, asked: Enrolment, now: int) -> Enrolled:
        every = dict.fromkeys((*asked.references, *asked.attached))
        owners = {reference: self._found(merchant, reference) for reference in every}
        if any(not reference.value.strip() for reference in every):
            raise Problem(Code.UNKNOWN_CUSTOMER)
        known = {owner.id for one in asked.references if (owner := owners[one]) is not None}
        if len(known) > 1 or (known and asked.existing is Existing.REFUSE):
            raise Problem(Code.CUSTOMER_CONFLICT)
        if any(owner is not None and owner.id not in known for owner in owners.values()):
            raise Problem(Code.CUSTOMER_CONFLICT)
        lacking = [reference for reference, owner in owners.items() if owner is None]
        if any(reference.namespace == OWN_NAMESPACE for reference in lacking):
            raise Problem(Code.CUSTOMER_CONFLICT)
        if not known:
            wallet = self._blank(len(self.wallets) + 1, merchant, now)
            self.wallets[wallet.id] = wallet
            self.references |= {(merchant.name, reference): wallet.id for reference in lacking}
            self.profiles[wallet.id] = msgspec.structs.replace(Profile(), **asked.changes)
            return Enrolled(customer=self.customer(merchant, wallet.id), is_new=True)
        (number,) = known
        before = self.customer(merchant, number)
        if asked.refuses_excluded and before.wallet.excluded:
            raise Problem(Code.CUSTOMER_EXCLUDED)
        if asked.existing is Existing.UPDATE:
            for namespace in {one.namespace for one in lacking}.intersection(asked.replaces):
                self.references = {
                    named: owner
                    for named, owner in self.references.items()
                    if owner != number or named[1].namespace != namespace
                }
            self.profiles[number] = msgspec.structs.replace(before.profile, **asked.changes)
        else:
            lacking = [one for one in lacking if one.namespace not in {own.namespace for own in before.references}]
        self.references |= {(merchant.name, reference): number for reference in lacking}
        return Enrolled(customer=self._touched(merchant, before, now), is_new=False)

    def _update(self, merchant: Merchant, asked: CustomerUpdate, now: int) -> Customer:
        wallet = self._found(merchant, asked.customer)
        if wallet is None:
            raise Problem(Code.UNKNOWN_CUSTOMER)
        before = self.customer(merchant, wallet.id)
        if asked.excluded is not None:
            self.wallets[wallet.id] = msgspec.structs.replace(wallet, excluded=asked.excluded)
        self.profiles[wallet.id] = msgspec.structs.replace(before.profile, **asked.changes)
        return self._touched(merchant, before, now)

    def _touched(self, merchant: Merchant, before: Customer, now: int) -> Customer:
        """The customer, changed at this moment if at all."""
        number = before.wallet.id
        if self.customer(merchant, number) != before:
            updated_at = max(now, before.wallet.updated_at + 1)
            self.wallets[number] = msgspec.structs.replace(self.wallets[number], updated_at=updated_at)
        return self.customer(merchant, number)

    # Reading

    def customer(self, merchant: Merchant, number: int) -> Customer:
        """The customer with the number, whom there is."""
        wallet = self.wallets[number]
        return Customer(
            wallet=wallet,
            references=tuple(sorted(self._references_of(number), key=str)),
            profile=self.profiles.get(number, Profile()),
            tier=_tier(wallet.lifetime_earned, merchant.tiers),
        )

    def _first_of(self, merchant: Merchant, query: CustomerQuery) -> Customer:
        for reference in query.references:
            wallet = self._found(merchant, reference)
            if wallet is not None:
                return self.customer(merchant, wallet.id)
        raise Problem(Code.UNKNOWN_CUSTOMER)

    def _customers(self, merchant: Merchant, query: CustomersQuery) -> Customers:
        matching = [
            customer
            for wallet in self._wallets_of(merchant)
            if _matches(customer := self.customer(merchant, wallet.id), query)
        ]
        matching.sort(key=lambda one: (_ORDERED_BY[query.order](one.wallet), one.wallet.id))
        if query.descending:
            matching.reverse()
        page = [customer for customer in matching if _is_behind(customer.wallet, query)][query.offset :]
        return Customers(
            customers=tuple(page[: query.limit]),
            has_more=len(page) > query.limit,
            total=len(matching) if query.counts else None,
        )

    def _history(self, merchant: Merchant, query: HistoryQuery) -> History:
        if isinstance(query.customer, Everyone):
            shown = {wallet.id for wallet in self._wallets_of(merchant)}
        elif (wallet := self._found(merchant, query.customer)) is not None:
            shown = {wallet.id}
        else:
            raise Problem(Code.UNKNOWN_CUSTOMER)
        entries = [entry for entry in self.entries if entry.wallet_id in shown and _is_shown(entry, query)]
        if query.by_points:
            entries.sort(key=lambda entry: (entry.points_delta, entry.id))
        entries = (entries[::-1] if query.newest_first else entries)[query.offset :]
        page = entries[: query.limit]
        return History(
            entries=tuple(page),
            has_more=len(page) < len(entries),
            customers={number: self.customer(merchant, number) for number in shown},
        )

    # Who is who

    def _found(self, merchant: Merchant, reference: CustomerReference) -> Wallet | None:
        """Whom the reference names; the ledger's own names are the numbers of the merchant's wallets."""
        if reference.namespace == OWN_NAMESPACE:
            own = {str(wallet.id): wallet for wallet in self._wallets_of(merchant)}
            found = own.get(reference.value)
            return found if found is not None and found.id <= self._numbers_told else None
        number = self.references.get((merchant.name, reference))
        return None if number is None else self.wallets[number]

    def _wallets_of(self, merchant: Merchant) -> list[Wallet]:
        if merchant.name not in self.merchants:
            return []
        merchant_id = self._merchant_id(merchant)
        return [wallet for wallet in self.wallets.values() if wallet.merchant_id == merchant_id]

    def _references_of(self, number: int) -> list[CustomerReference]:
        return [reference for (_, reference), owner in self.references.items() if owner == number]

    def _merchant_id(self, merchant: Merchant) -> int:
        if merchant.name not in self.merchants:
            self.merchants.append(merchant.name)
        return self.merchants.index(merchant.name) + 1

    def _blank(self, number: int, merchant: Merchant, now: int) -> Wallet:
        return Wallet(
            id=number,
            merchant_id=self._merchant_id(merchant),
            available=0,
            reserved=0,
            lifetime_earned=0,
            lifetime_burned=0,
            version=0,
            excluded=False,
            tier=None,
            created_at=now,
            updated_at=now,
            last_entry_at=None,
        )

    # What the ledger is free to decide

    def number_entries(self, order: Sequence[tuple[int, int]]) -> None:
        """Takes over in which order, by wallets and versions, the ledger numbered its entries.

        It is free where everybody is adjusted at once; receipts hold it to the order of everything else.
        """
        places = {place: number for number, place in enumerate(order, 1)}
        self.entries = sorted(
            (
                msgspec.structs.replace(entry, id=places.get((entry.wallet_id, entry.version), entry.id))
                for entry in self.entries
            ),
            key=lambda entry: entry.id,
        )

    def forget_keys(self, kept: Iterable[Key], now: int) -> None:
        """Forgets those beside ``kept`` that are old; the ledger chooses when it does so."""
        still = set(kept)
        self.keys = {key: one for key, one in self.keys.items() if key in still or not self.is_old(one.at, now)}

    def is_old(self, at: int, now: int) -> bool:
        """Whether a key of this moment counts no more."""
        return now - at > self.keep_keys


def key_of(task: Task) -> Key | None:
    """The task's key, if it has one."""
    if isinstance(task, Change) or task.idempotency is None:
        return None
    return task.merchant.name, task.vendor, task.idempotency.key


def _settled(work: Callable[..., T], *given: Any) -> T | Code:
    """What the work gives, or what it was refused for."""
    try:
        return work(*given)
    except Problem as problem:
        return problem.code


# Points


def _decided(wallet: Wallet, asked: Instruction, now: int) -> _Decided:
    """The wallet after the adjustment, and its entry, whose number is still open; raises Problem."""
    adjustment = asked.adjustment
    if wallet.excluded:
        raise Problem(Code.CUSTOMER_EXCLUDED)
    delta = _effective(wallet.available, adjustment)
    added, taken = max(delta, 0), max(-delta, 0)
    earned, burned = wallet.lifetime_earned, wallet.lifetime_burned
    match adjustment.lifetime:
        case Lifetime.EARN_AND_BURN:
            earned, burned = earned + added, burned + taken
        case Lifetime.EARN_ONLY:
            earned += added
        case Lifetime.NET_EARNED:
            earned = max(0, earned + delta)
        case Lifetime.BURN_ONLY:
            burned += taken
        case Lifetime.UNTOUCHED:
            pass
    granted, grants = wallet.granted + added, wallet.grants + (1 if added else 0)
    available, version = wallet.available + delta, wallet.version + 1
    if any(points > LARGEST_POINTS for points in (available, earned, burned, granted)):
        raise Problem(Code.BALANCE_OVERFLOW)
    moment = max(now, wallet.updated_at + 1)
    tier = _tier(earned, asked.merchant.tiers)
    return (
        msgspec.structs.replace(
            wallet,
            available=available,
            lifetime_earned=earned,
            lifetime_burned=burned,
            granted=granted,
            grants=grants,
            version=version,
            tier=tier.name if tier else None,
            updated_at=moment,
            last_entry_at=moment,
        ),
        Entry(
            id=0,
            wallet_id=wallet.id,
            version=version,
            vendor=asked.vendor,
            points_delta=delta,
            points_asked=adjustment.points_delta,
            points_before=wallet.available,
            points_after=available,
            reserved_after=wallet.reserved,
            earned_delta=earned - wallet.lifetime_earned,
            burned_delta=burned - wallet.lifetime_burned,
            granted_after=granted,
            grants_after=grants,
            reason=adjustment.reason,
            metadata=adjustment.metadata,
            notify=adjustment.notify,
            visible=adjustment.visible,
            idempotency_key=asked.idempotency.key if asked.idempotency else None,
            occurred_at=moment,
        ),
    )


def _effective(available: int, adjustment: Adjustment) -> int:
    asked = -available if adjustment.points_delta is None else adjustment.points_delta
    if available + asked >= 0:
        return asked
    if adjustment.overdraft is Overdraft.FLOOR:
        return -available
    raise Problem(Code.TOO_FEW_POINTS)


def _tier(earned: int, tiers: Iterable[Tier]) -> Tier | None:
    return max(
        (tier for tier in tiers if tier.points_required <= earned),
        key=lambda tier: tier.points_required,
        default=None,
    )


# Questions

_ORDERED_BY: dict[CustomerOrder, Callable[[Wallet], int]] = {
    CustomerOrder.NUMBER: lambda wallet: wallet.id,
    CustomerOrder.UPDATED: lambda wallet: wallet.updated_at,
    CustomerOrder.AVAILABLE: lambda wallet: wallet.available,
    CustomerOrder.EARNED: lambda wallet: wallet.lifetime_earned,
    CustomerOrder.BURNED: lambda wallet: wallet.lifetime_burned,
}


def _matches(customer: Customer, query: CustomersQuery) -> bool:
    wallet, profile = customer.wallet, customer.profile
    return (
        (query.containing is None or _is_in(query.containing, _searched(customer, query)))
        and (query.excluded is None or wallet.excluded is query.excluded)
        and set(query.tags) <= set(profile.tags)
        and (not query.sources or profile.source in query.sources)
        and _is_between(query.created_from, wallet.created_at, query.created_until)
        and _is_between(query.updated_from, wallet.updated_at, query.updated_until)
    )


def _searched(customer: Customer, query: CustomersQuery) -> list[str]:
    values = [one.value for one in customer.references if one.namespace in query.searched]
    profile = customer.profile
    return [*values, f"{profile.first_name or ''} {profile.last_name or ''}".strip(" ")][
        : None if query.searches_names else len(values)
    ]


def _is_in(text: str, searched: Iterable[str]) -> bool:
    return any(text.casefold() in one.casefold() for one in searched)


def _is_between(first: int | None, moment: int, last: int | None) -> bool:
    return (first is None or moment >= first) and (last is None or moment <= last)


def _is_behind(wallet: Wallet, query: CustomersQuery) -> bool:
    if query.after is None:
        return True
    here, there = (wallet.updated_at, wallet.id), (query.after_updated or 0, query.after)
    if query.after_updated is None:
        here, there = (0, wallet.id), (0, query.after)
    return here < there if query.descending else here > there


def _is_shown(entry: Entry, query: HistoryQuery) -> bool:
    return (
        (query.only is not Only.ADDED or entry.points_delta > 0)
        and (query.only is not Only.DEDUCTED or entry.points_delta < 0)
        and (query.after is None or entry.id > query.after)
        and (query.before is None or entry.id < query.before)
        and _is_between(query.since, entry.occurred_at, query.until)
    )
