"""What a vendor's answer tells its client, in nobody's dialect, as far as it does.

``UNSET`` is what an answer does not tell, which is other than telling that there is nothing (``None``). Points are
whole and signed, times are microseconds since the epoch, UTC.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, customer_reference

R = TypeVar("R")


def told(fields: Mapping[str, Any], name: str, read: Callable[[Any], R]) -> R | UnsetType:
    """What a field says; ``UNSET`` where it is absent or null."""
    value = fields.get(name)
    return UNSET if value is None else read(value)


def told_or_none(fields: Mapping[str, Any], name: str, read: Callable[[Any], R]) -> R | UnsetType | None:
    """What a field says in which null says that there is nothing; ``UNSET`` where it is absent."""
    return None if name in fields and fields[name] is None else told(fields, name, read)


def told_names(*named: tuple[str, Any]) -> tuple[CustomerReference, ...]:
    """References by namespace, of the names that are told."""
    return names_here(
        customer_reference(namespace, str(name)) for namespace, name in named if name not in {None, ""}
    )


def names_here(references: Iterable[CustomerReference]) -> tuple[CustomerReference, ...]:
    """References without doubles, and without those that are a ledger's own.

    What reads as a ledger's own number was given by another server, and here it would mean somebody else.
    """
    return tuple(dict.fromkeys(one for one in references if one.namespace != OWN_NAMESPACE))


def told_fields(fields: Mapping[str, Any], **names: str) -> dict[str, object]:
    """Fields of a profile, by the names under which an answer tells them; null says that there is nothing."""
    return {ours: fields[theirs] for ours, theirs in names.items() if theirs in fields}


class ToldWallet(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's points; see ``Wallet`` for each."""

    available: int | UnsetType = UNSET
    reserved: int | UnsetType = UNSET
    lifetime_earned: int | UnsetType = UNSET
    lifetime_burned: int | UnsetType = UNSET
    version: int | UnsetType = UNSET
    excluded: bool | UnsetType = UNSET
    tier: str | UnsetType | None = UNSET
    created_at: int | UnsetType = UNSET
    updated_at: int | UnsetType = UNSET
    last_entry_at: int | UnsetType | None = UNSET


class ToldCustomer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer: the names that are told, fields of the profile by name, and the wallet."""

    references: tuple[CustomerReference, ...] = ()
    profile: Mapping[str, object] = {}
    wallet: ToldWallet = ToldWallet()

    def value(self, namespace: str) -> str | None:
        """The customer's name in a namespace, the first in order where several are told."""
        return min((one.value for one in self.references if one.namespace == namespace), default=None)


class ToldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a history; see ``Entry``.

    ``id`` is the vendor's own, as text. ``spent`` are those of its points that deductions have used up.
    """

    id: str | UnsetType = UNSET
    points_delta: int | UnsetType = UNSET
    points_asked: int | UnsetType | None = UNSET
    points_before: int | UnsetType = UNSET
    points_after: int | UnsetType = UNSET
    reserved_after: int | UnsetType = UNSET
    spent: int | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    metadata: Mapping[str, object] | UnsetType | None = UNSET
    idempotency_key: str | UnsetType = UNSET
    occurred_at: int | UnsetType = UNSET
    customer: ToldCustomer | UnsetType = UNSET


class ToldReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an adjustment came to; both are empty where the answer tells no more than that it was carried out."""

    entry: ToldEntry = ToldEntry()
    customer: ToldCustomer = ToldCustomer()


class ToldEnrolment(msgspec.Struct, frozen=True, kw_only=True):
    """The customer who was enrolled, and whether that made them."""

    customer: ToldCustomer
    is_new: bool | UnsetType = UNSET


class ToldCustomers(msgspec.Struct, frozen=True, kw_only=True):
    """A page of customers; ``total`` counts those of all pages."""

    customers: tuple[ToldCustomer, ...]
    total: int | UnsetType = UNSET


class ToldHistory(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a history, and the customer whose it is as far as the answer tells."""

    entries: tuple[ToldEntry, ...]
    customer: ToldCustomer = ToldCustomer()


Told = ToldReceipt | ToldEnrolment | ToldCustomer | ToldCustomers | ToldHistory
"""What the answer to a request tells, by what was asked."""
