"""The domain's values: who, how many points, by which rules, and what came of it.

Points are whole and signed 64-bit. Times are microseconds since the epoch, UTC.
"""

import enum
import re
from typing import Any, Final

import msgspec

from loyalty_gateway.problem import Code, Problem

LARGEST_POINTS: Final = 2**63 - 1
"""No balance, counter or amount goes beyond this in either direction."""

OWN_NAMESPACE: Final = "wallet"
"""The namespace of the ledger's own customer numbers; every customer has a name in it."""


class CustomerReference(msgspec.Struct, frozen=True, array_like=True):
    """One name of a customer: a namespace (``shopify``, ``email``, …) and a value in it."""

    namespace: str
    value: str

    def __str__(self) -> str:
        return f"{self.namespace}:{self.value}"


_OWN_NAME: Final = re.compile(r"wallet_([1-9][0-9]{0,17})")


def own_name(number: int) -> str:
    """What a customer is called whom a vendor never named."""
    return f"wallet_{number}"


def customer_reference(namespace: str, value: str) -> CustomerReference:
    """The reference in its canonical form: an email address means the same in any case.

    The ledger's own name for a customer means that one in every namespace, so that nobody else can be called so.
    """
    if namespace == "email":
        return CustomerReference(namespace, value.strip().lower())
    own = _OWN_NAME.fullmatch(value)
    return CustomerReference(namespace, value) if own is None else CustomerReference(OWN_NAMESPACE, own[1])


def spelt(reference: CustomerReference) -> str:
    """The reference as the text that ``customer_reference`` reads as the same, in whichever namespace."""
    return own_name(int(reference.value)) if reference.namespace == OWN_NAMESPACE else reference.value


def whole_points(number: float) -> int:
    """A whole number as an integer, ``5.0`` being 5; raises Problem AMOUNT_OUT_OF_RANGE beyond 64 bits."""
    points = int(number)
    if not -LARGEST_POINTS <= points <= LARGEST_POINTS:
        raise Problem(Code.AMOUNT_OUT_OF_RANGE)
    return points


class Everyone(enum.Enum):
    """All customers of the merchant, those excluded passed over."""

    EVERYONE = "everyone"


class Overdraft(enum.Enum):
    """What a deduction larger than the balance does."""

    REFUSE = "refuse"
    FLOOR = "floor"


class Lifetime(enum.Enum):
    """How an amount that took effect moves the lifetime counters."""

    EARN_AND_BURN = "earn_and_burn"
    """An addition was earned, a deduction was burned."""
    EARN_ONLY = "earn_only"
    """An addition was earned, a deduction counts nowhere."""
    NET_EARNED = "net_earned"
    """The earned counter follows the amount in both directions, never below zero."""
    BURN_ONLY = "burn_only"
    """A deduction was burned, an addition counts nowhere."""
    UNTOUCHED = "untouched"
    """Neither counter moves."""

    def moves_earned(self, points_delta: int) -> bool:
        """Whether the earned counter follows this amount, which is what a vendor's single flag is about.

        A deduction that was burned leaves it alone, and with it the tier.
        """
        match self:
            case Lifetime.NET_EARNED:
                return True
            case Lifetime.EARN_AND_BURN | Lifetime.EARN_ONLY:
                return points_delta > 0
            case Lifetime.BURN_ONLY | Lifetime.UNTOUCHED:
                return False


class Adjustment(msgspec.Struct, frozen=True, kw_only=True):
    """One request to change points, in nobody's dialect.

    ``points_delta`` is signed; ``None`` resets the available points to zero. A list of customers is one atomic
    adjustment. ``named_by`` is the namespace in which the answer names the customer, where that can differ
    from the one addressed. ``notify`` lists the channels through which the client asked to tell the customer.
    """

    customers: tuple[CustomerReference, ...] | Everyone
    points_delta: int | None
    lifetime: Lifetime
    overdraft: Overdraft = Overdraft.REFUSE
    reason: str | None = None
    metadata: dict[str, Any] | None = None
    notify: tuple[str, ...] = ()
    visible: bool = True
    named_by: str | None = None
    idempotency_key: str | None = None


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """A VIP tier: reached with ``points_required`` lifetime points."""

    name: str
    points_required: int


class Merchant(msgspec.Struct, frozen=True, kw_only=True):
    """The shop whose programme it is; ``tiers`` ascend by ``points_required``."""

    name: str
    enrols_unknown_customers: bool = False
    tiers: tuple[Tier, ...] = ()


class Idempotency(msgspec.Struct, frozen=True):
    """The client's key and the fingerprint of the request that came with it."""

    key: str
    fingerprint: bytes


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment with all that a backend needs to carry it out."""

    merchant: Merchant
    vendor: str
    adjustment: Adjustment
    idempotency: Idempotency | None = None
    asked: Any = None
    """What the client said, in its vendor's words: by that a request without a key is known again."""


class Wallet(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's points as they stand; always the fold of the wallet's entries.

    ``grants`` counts the entries that added points, ``granted`` is their sum: what is spent of each follows
    from these, oldest first, without a look at any other entry.
    """

    id: int
    merchant_id: int
    available: int
    reserved: int
    lifetime_earned: int
    lifetime_burned: int
    granted: int = 0
    grants: int = 0
    version: int
    excluded: bool
    tier: str | None
    created_at: int
    updated_at: int
    last_entry_at: int | None
    last_entry_id: int = 0
    job: int = 0
    """The last of the merchant's adjustments of everyone which were put off that has reached it."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger; never changed once written.

    ``points_delta`` is what took effect; ``points_asked`` is what the client wanted (``None`` for a reset).
    ``granted_after`` and ``grants_after`` are the wallet's with this entry.
    """

    id: int
    wallet_id: int
    version: int
    vendor: str
    points_delta: int
    points_asked: int | None
    points_before: int
    points_after: int
    reserved_after: int
    earned_delta: int
    burned_delta: int
    granted_after: int = 0
    grants_after: int = 0
    reason: str | None
    metadata: dict[str, Any] | None
    notify: tuple[str, ...]
    visible: bool
    idempotency_key: str | None
    occurred_at: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What carrying out an adjustment gives.

    ``entries``, ``wallets`` (as they are afterwards) and ``customers`` (as the answer names them) go together,
    one each for every customer addressed; they are empty for everyone at once, where ``count`` tells how many.
    """

    merchant_id: int
    count: int
    entries: tuple[Entry, ...] = ()
    wallets: tuple[Wallet, ...] = ()
    customers: tuple[CustomerReference, ...] = ()
    replayed: bool = False
