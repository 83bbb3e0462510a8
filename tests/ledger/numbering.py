"""The numbers of wallets and entries, which every ledger gives in its own way, put into those of another."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from book import Change, Enrol, Read

from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    Adjustment,
    CustomerReference,
    Entry,
    Instruction,
    Receipt,
    Wallet,
)
from loyalty_gateway.customer import (
    Customer,
    CustomerQuery,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Enrolled,
    Enrolment,
    History,
    HistoryQuery,
)

_WITHIN: Final[Mapping[type, Sequence[str]]] = {
    Instruction: ("adjustment",),
    Adjustment: ("customers",),
    Enrolment: ("references", "attached"),
    CustomerUpdate: ("customer",),
    CustomerQuery: ("references",),
    HistoryQuery: ("customer",),
    Customer: ("wallet",),
    Enrolled: ("customer",),
    Receipt: ("entries", "wallets", "customers"),
    Customers: ("customers",),
    History: ("entries", "customers"),
}
"""Where there are values with numbers."""

_OF_WALLETS: Final[Mapping[type, Sequence[str]]] = {
    Wallet: ("id",),
    Entry: ("wallet_id",),
    CustomersQuery: ("after",),
}
_OF_ENTRIES: Final[Mapping[type, Sequence[str]]] = {Entry: ("id",), HistoryQuery: ("after", "before")}

_FAR: Final = 10**15
"""Larger than any number that a ledger gives in a test."""


class Numbering(NamedTuple):
    """How numbers change: those of wallets, and those of entries."""

    wallet: Callable[[int], int]
    entry: Callable[[int], int]

    def __call__(self, value: Any) -> Any:
        """The same value with its numbers changed."""
        match value:
            case CustomerReference(namespace=namespace, value=text):
                is_own = namespace == OWN_NAMESPACE and text.isdigit() and not text.startswith("0")
                return CustomerReference(namespace, str(self.wallet(int(text)))) if is_own else value
            case Enrol() | Change() | Read():
                return value._replace(asked=self(value.asked))
            case tuple():
                return tuple(self(one) for one in value)
            case dict():
                return {self.wallet(number): self(one) for number, one in value.items()}
        kind = type(value)
        changes = {name: self(getattr(value, name)) for name in _WITHIN.get(kind, ())}
        for fields, changed in ((_OF_WALLETS, self.wallet), (_OF_ENTRIES, self.entry)):
            for name in fields.get(kind, ()):
                number = getattr(value, name)
                changes[name] = None if number is None else changed(number)
        if kind is Wallet:
            # Which entry is the last one is for `ledger verify` to hold.
            changes["last_entry_id"] = 0
        return msgspec.structs.replace(value, **changes) if changes else value


def numbers(rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """The rank of each row's id, from 1."""
    return {row["id"]: rank for rank, row in enumerate(rows, 1)}


def number_of(ranks: Mapping[int, int], rank: int) -> int:
    """The number that has a rank; where nobody has that, it is nobody's number either."""
    if rank <= 0:
        return rank
    ordered = list(ranks)
    return ordered[rank - 1] if rank <= len(ordered) else _FAR + rank
