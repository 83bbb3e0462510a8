"""Whether what was read from an answer is what the answer was made of."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Receipt, Tier
from loyalty_gateway.customer import Customer, Customers, Enrolled, History
from loyalty_gateway.told import (
    Told,
    ToldCustomer,
    ToldCustomers,
    ToldEnrolment,
    ToldEntry,
    ToldHistory,
    ToldReceipt,
    ToldWallet,
)

_DAY = 86_400_000_000
_SECOND = 1_000_000
_TIMES = {"created_at", "updated_at", "last_entry_at", "occurred_at"}
_DAYS = {"created_at"}


def untruths(told: Told | None, result: Any, addressed: Iterable[CustomerReference] = ()) -> list[str]:
    """What is told otherwise than it is; times may be told without their fractions of a second.

    When a customer came may be told as a day, which is its first moment. A customer who was ``addressed`` by
    some name may be told by it, if that is not the ledger's own.
    """
    names = {str(one) for one in addressed if one.namespace != OWN_NAMESPACE}
    return [what for what in _untruths(told, result) if what.removeprefix("reference ") not in names]


def _untruths(told: Told | None, result: Any) -> list[str]:
    match told, result:
        case None, _:
            wrong = []
        case ToldReceipt(), Receipt():
            wrong = _untrue_receipt(told, result)
        case ToldEnrolment(), Enrolled():
            differs = told.is_new is not UNSET and told.is_new != result.is_new
            wrong = [*_untrue_customer(told.customer, result.customer), *(["is_new"] if differs else [])]
        case ToldCustomer(), Customer():
            wrong = _untrue_customer(told, result)
        case ToldHistory(), Customer():
            wrong = _untrue_customer(told.customer, result)
        case ToldCustomer(), History():
            (customer,) = result.customers.values()
            wrong = _untrue_customer(told, customer)
        case ToldCustomers(), Customers():
            wrong = _untrue_list(told, result)
        case ToldHistory(), History():
            wrong = _untrue_history(told, result)
        case _:
            wrong = [f"{type(told).__name__} of a {type(result).__name__}"]
    return wrong


def _untrue_receipt(told: ToldReceipt, receipt: Receipt) -> list[str]:
    if len(receipt.entries) != 1:
        return [] if told == ToldReceipt() else ["tells of one where there were others"]
    return [
        *_untrue_entry(told.entry, receipt.entries[0]),
        *_untrue_wallet(told.customer.wallet, receipt.wallets[0]),
        *_untrue_names(told.customer, set(receipt.customers)),
    ]


def _untrue_list(told: ToldCustomers, result: Customers) -> list[str]:
    if len(told.customers) != len(result.customers):
        return ["not as many customers as there are"]
    wrong = [] if told.total is UNSET or told.total == result.total else ["total"]
    pairs = zip(told.customers, _in_told_order(told, result), strict=True)
    return [*wrong, *(what for one, customer in pairs for what in _untrue_customer(one, customer))]


def _in_told_order(told: ToldCustomers, result: Customers) -> list[Customer]:
    """Customers as they are told; a page that was read backwards is told the other way round."""
    customers = list(result.customers)
    if any(_untrue_customer(one, customer) for one, customer in zip(told.customers, customers, strict=True)):
        customers.reverse()
    return customers


def _untrue_history(told: ToldHistory, result: History) -> list[str]:
    if len(told.entries) != len(result.entries):
        return ["not as many entries as there are"]
    entries = list(result.entries)
    if any(_untrue_entry(one, entry) for one, entry in zip(told.entries, entries, strict=True)):
        entries.reverse()
    wrong = [what for one, entry in zip(told.entries, entries, strict=True) for what in _untrue_entry(one, entry)]
    if told.customer != ToldCustomer():
        (customer,) = result.customers.values()
        wrong += _untrue_customer(told.customer, customer)
    for one, entry in zip(told.entries, entries, strict=True):
        if isinstance(one.customer, ToldCustomer):
            wrong += _untrue_customer(one.customer, result.customers[entry.wallet_id])
    return wrong


def _untrue_customer(told: ToldCustomer, customer: Customer) -> list[str]:
    profile = [
        f"profile.{name}" for name, value in told.profile.items() if value != getattr(customer.profile, name)
    ]
    return [
        *profile,
        *_untrue_wallet(told.wallet, customer.wallet),
        *_untrue_names(told, set(customer.references)),
    ]


def _untrue_names(told: ToldCustomer, names: set[CustomerReference]) -> list[str]:
    """Names that are not the customer's; the ledger's own is a name in that ledger alone, and is not told."""
    return [f"reference {one}" for one in told.references if one not in names or one.namespace == OWN_NAMESPACE]


def _untrue_wallet(told: ToldWallet, wallet: Any) -> list[str]:
    return [f"wallet.{name}" for name in _untrue_fields(told, wallet)]


def _untrue_entry(told: ToldEntry, entry: Any) -> list[str]:
    told = msgspec.structs.replace(told, customer=UNSET, spent=UNSET)
    named = msgspec.structs.replace(told, id=UNSET, idempotency_key=UNSET)
    wrong = [f"entry.{name}" for name in _untrue_fields(named, entry)]
    if told.id is not UNSET and told.id != str(entry.id):
        wrong.append("entry.id")
    if entry.idempotency_key is not None and told.idempotency_key not in {UNSET, entry.idempotency_key}:
        wrong.append("entry.idempotency_key")
    return wrong


def _untrue_fields(told: msgspec.Struct, actual: Any) -> Iterator[str]:
    for name, value in msgspec.structs.asdict(told).items():
        if value is UNSET:
            continue
        real = getattr(actual, name)
        if name in _TIMES and value is not None and real is not None:
            is_its_day = name in _DAYS and value == real - real % _DAY
            if abs(value - real) >= _SECOND and not is_its_day:
                yield name
        elif value != real:
            yield name


def variants(result: Any) -> Iterator[tuple[str, Any]]:
    """The result with one thing about it changed, and what that is; numbers that count rows stay."""
    match result:
        case Receipt(entries=(entry,), wallets=(wallet,)):
            yield from _within(result, "entries", _changed(entry, _ENTRY))
            yield from _within(result, "wallets", _changed(wallet, _WALLET))
        case Enrolled(customer=customer):
            yield "is_new", msgspec.structs.replace(result, is_new=not result.is_new)
            for what, other in variants(customer):
                yield what, msgspec.structs.replace(result, customer=other)
        case Customer():
            yield from _customers(result)
        case Customers(customers=(first, *rest)):
            yield from _within(result, "customers", variants(first), rest)
        case History():
            for entry in result.entries[:1]:
                yield from _within(result, "entries", _changed(entry, _ENTRY), result.entries[1:])
            yield from _with_other_customers(result)


def _with_other_customers(history: History) -> Iterator[tuple[str, History]]:
    for number, customer in history.customers.items():
        for what, other in variants(customer):
            # The version counts the entries, of which a history tells a page.
            if what != "version":
                yield what, msgspec.structs.replace(history, customers={**history.customers, number: other})


def _within(
    result: msgspec.Struct, field: str, firsts: Iterator[tuple[str, Any]], rest: Iterable[Any] = ()
) -> Iterator[tuple[str, Any]]:
    for what, first in firsts:
        yield what, msgspec.structs.replace(result, **{field: (first, *rest)})


def _customers(customer: Customer) -> Iterator[tuple[str, Customer]]:
    for what, wallet in _changed(customer.wallet, _WALLET):
        tier = Tier(name=wallet.tier, points_required=500) if what == "tier" else customer.tier
        yield what, msgspec.structs.replace(customer, wallet=wallet, tier=tier)
    for what, profile in _changed(customer.profile, _PROFILE):
        yield what, msgspec.structs.replace(customer, profile=profile)
    yield "tier", msgspec.structs.replace(customer, tier=Tier(name="Diamond", points_required=1))
    for reference in customer.references:
        others = tuple(one for one in customer.references if one != reference)
        yield f"without {reference.namespace}", msgspec.structs.replace(customer, references=others)


_WALLET: Mapping[str, Any] = {
    "available": 17,
    "reserved": 17,
    "lifetime_earned": 17,
    "lifetime_burned": 17,
    "version": 17,
    "tier": "Diamond",
    "excluded": None,
    "created_at": _DAY,
    "updated_at": _DAY,
}
_ENTRY: Mapping[str, Any] = {
    "points_delta": 17,
    "points_asked": 17,
    "points_before": 17,
    "points_after": 17,
    "reserved_after": 17,
    "reason": "something else",
    "metadata": {"another": 1},
    "occurred_at": _DAY,
}
_PROFILE: Mapping[str, Any] = {
    "first_name": "Somebody",
    "last_name": "Else",
    "date_of_birth": "1977-07-07",
    "tags": ("other",),
}


def _changed(whole: Any, fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        before = getattr(whole, name)
        if name in _TIMES:
            after: Any = before + value
        elif name == "excluded":
            after = not before
        else:
            after = value
        if after != before:
            yield name, msgspec.structs.replace(whole, **{name: after})


_FREE = {"metadata", "properties"}
"""What a client may fill as it likes."""


def without_each(value: Any) -> Iterator[Any]:
    """The JSON value without one of its fields, wherever in it that is."""
    match value:
        case dict():
            for name, child in value.items():
                yield {other: value[other] for other in value if other != name}
                for changed in without_each(child) if name not in _FREE else ():
                    yield {**value, name: changed}
        case [first, *rest]:
            for changed in without_each(first):
                yield [changed, *rest]
