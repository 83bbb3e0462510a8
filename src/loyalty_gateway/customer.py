"""Customers: who they are beside their points, and what can be asked about them.

Times are microseconds since the epoch, UTC; dates are ``YYYY-MM-DD``.
"""

import enum
from collections.abc import Mapping

import msgspec

from loyalty_gateway.adjustment import CustomerReference, Entry, Everyone, Tier, Wallet, own_name


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What vendors let clients keep of a customer; ``None`` and empty is what nobody told."""

    first_name: str | None = None
    last_name: str | None = None
    date_of_birth: str | None = None
    anniversary_date: str | None = None
    tags: tuple[str, ...] = ()
    source: str | None = None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as the ledger has it; ``tier`` is the merchant's for the points that were earned."""

    wallet: Wallet
    references: tuple[CustomerReference, ...]
    profile: Profile
    tier: Tier | None = None

    def value(self, namespace: str) -> str | None:
        """The customer's name in a namespace, the first in order where there are several."""
        return min((one.value for one in self.references if one.namespace == namespace), default=None)

    def name(self, namespace: str) -> str:
        """The customer's name in a namespace, or the ledger's own for one that has none there."""
        return self.value(namespace) or own_name(self.wallet.id)


def sought(text: str, *, email: bool = False) -> str:
    """What a query looks for; within an email address, a space was a plus that nobody percent-encoded."""
    trimmed = text.strip(" \t\r\n")
    return trimmed.replace(" ", "+") if email or "@" in text else trimmed


def page_at(*, offset: int, limit: int | None, largest: int) -> tuple[int, int] | None:
    """The page that begins behind ``offset``, by its number, from 1, and its size; ``None`` for an empty one.

    Pages have at most ``largest`` and begin at multiples of their size, so this one may be shorter than ``limit``;
    further ones lead on.
    """
    longest = largest if limit is None else min(limit, largest)
    size = max((size for size in range(1, longest + 1) if offset % size == 0), default=None)
    return None if size is None else (offset // size + 1, size)


class Existing(enum.Enum):
    """What enrolling does with a customer whom somebody enrolled before."""

    REFUSE = "refuse"
    KEEP = "keep"
    """They stay as they are, and get references in those namespaces only where they have none."""
    UPDATE = "update"
    """They get the references and the changes."""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """One request to have a customer with these references.

    References that nobody has yet are added to the customer who has the others. ``attached`` are added too, but
    find nobody: one that is somebody else's is a conflict. In the namespaces that it ``replaces``, a reference
    that is added takes the place of the customer's earlier ones. ``changes`` are fields of the profile, by name.
    ``refuses_excluded`` is for a request that says of the customer that they take part.
    """

    references: tuple[CustomerReference, ...]
    attached: tuple[CustomerReference, ...] = ()
    replaces: tuple[str, ...] = ()
    changes: Mapping[str, object] = {}
    existing: Existing = Existing.KEEP
    refuses_excluded: bool = False


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """The customer, and whether the enrolment made it."""

    customer: Customer
    is_new: bool
    replayed: bool = False


class CustomerUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """One request to change what is known of a customer: fields of the profile, or the exclusion."""

    customer: CustomerReference
    changes: Mapping[str, object]
    excluded: bool | None = None


class CustomerQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for one customer, by the first of the references that somebody has."""

    references: tuple[CustomerReference, ...]


class CustomerOrder(enum.Enum):
    """By what a list of customers is sorted; customers alike come in the order of their numbers."""

    NUMBER = "number"
    UPDATED = "updated"
    AVAILABLE = "available"
    EARNED = "earned"
    BURNED = "burned"


class CustomersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a page of the merchant's customers.

    ``containing`` is text within a value of one of the namespaces ``searched``, or within a name where
    ``searches_names``; letters mean the same in either case. ``after`` is the number of the customer behind
    which the page begins, in the order asked for: ``CustomerOrder.NUMBER``, or ``UPDATED`` where ``after_updated``
    tells when that customer was last changed. ``offset`` counts customers passed over. A customer matches who has
    all of the ``tags`` and one of the ``sources``. Times are bounds that belong to the range.
    """

    limit: int
    offset: int = 0
    after: int | None = None
    after_updated: int | None = None
    order: CustomerOrder = CustomerOrder.NUMBER
    descending: bool = True
    containing: str | None = None
    searched: tuple[str, ...] = ()
    searches_names: bool = False
    excluded: bool | None = None
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    created_from: int | None = None
    created_until: int | None = None
    updated_from: int | None = None
    updated_until: int | None = None
    counts: bool = False


class Customers(msgspec.Struct, frozen=True, kw_only=True):
    """A page of customers; ``total`` counts all that match, where that was asked for."""

    customers: tuple[Customer, ...]
    has_more: bool
    total: int | None = None


class Only(enum.Enum):
    """Which entries a history shows."""

    ALL = "all"
    ADDED = "added"
    DEDUCTED = "deducted"


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for a page of one customer's history, or of everyone's, in the order of the entries' ids.

    The page lies between the entries ``after`` and ``before``, by their ids and both excluded, and between the
    times ``since`` and ``until``, both included. ``limit`` ``None`` gives all there is. ``offset`` passes over
    entries of one customer, counted from the end at which the page begins; it goes with no other bound, nor
    with ``Only.DEDUCTED``. ``by_points`` sorts one customer's entries by the points that took effect instead, the
    largest first with ``newest_first``, and those alike by their ids; it goes with ``offset`` only, and its cost
    is that of the whole history.
    """

    customer: CustomerReference | Everyone
    limit: int | None
    newest_first: bool = True
    only: Only = Only.ALL
    after: int | None = None
    before: int | None = None
    since: int | None = None
    until: int | None = None
    offset: int = 0
    by_points: bool = False


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a history, with the customers of its entries, by number, as they were at the same moment."""

    entries: tuple[Entry, ...]
    has_more: bool
    customers: dict[int, Customer]


Query = CustomerQuery | CustomersQuery | HistoryQuery
"""What only reads."""
