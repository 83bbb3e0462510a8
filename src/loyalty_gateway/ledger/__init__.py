"""The ledger: what a store of wallets and entries promises, whichever database keeps them."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from loyalty_gateway.adjustment import Idempotency, Instruction, Merchant, Receipt
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
from loyalty_gateway.ledger.statements import Dialect, Work

R = TypeVar("R")


class Ledger(Protocol):
    """A durable store of wallets, append-only entries and profiles.

    Every method may raise Problem UNAVAILABLE (the store cannot be reached or written), and those that write
    RECORD_BUSY (somebody else holds it); nothing has happened then. Only where a disk or a server fails within the
    commit itself may what was refused as UNAVAILABLE be found there later: a key settles it, since asking again is
    then a replay. What only reads waits for no write, sees every write that was acknowledged before it, and is one
    snapshot.
    """

    async def open(self) -> None:
        """Makes the store ready, bringing its schema up; raises ConfigurationError where that cannot be."""

    async def close(self) -> None:
        """Carries out what waits, then lets go of the store."""

    async def adjust(
        self, instruction: Instruction, *, still: Callable[[Dialect, int], Work[bool]] | None = None
    ) -> Receipt:
        """Carries out an adjustment once, durably, before it returns.

        ``still`` is called with the merchant's number in the transaction that carries it out; unless that gives
        true, the adjustment is refused as RECORD_BUSY.

        One of everyone that is of very many wallets is durably accepted instead, at a place in each wallet's
        history, and carried out behind; nobody can tell by what the ledger shows.

        Raises:
            Problem: UNKNOWN_CUSTOMER, CUSTOMER_EXCLUDED, TOO_FEW_POINTS, BALANCE_OVERFLOW, KEY_IN_FLIGHT,
                KEY_REUSED; no wallet has moved then.
        """

    async def enrol(
        self,
        merchant: Merchant,
        enrolment: Enrolment,
        *,
        vendor: str = "",
        idempotency: Idempotency | None = None,
    ) -> Enrolled:
        """Has a customer with these references, made when absent; once for each idempotency key of a vendor.

        Raises:
            Problem: CUSTOMER_CONFLICT where the references belong to different customers already, an attached one
                to another customer, or any to somebody where the enrolment refuses that; CUSTOMER_EXCLUDED,
                KEY_IN_FLIGHT, KEY_REUSED.
        """

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer:
        """The customer after the change; raises Problem UNKNOWN_CUSTOMER."""

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer:
        """The customer asked for; raises Problem UNKNOWN_CUSTOMER."""

    async def customers(self, merchant: Merchant, query: CustomersQuery) -> Customers:
        """The page of customers asked for."""

    async def history(self, merchant: Merchant, query: HistoryQuery) -> History:
        """The page of a history asked for; raises Problem UNKNOWN_CUSTOMER."""

    async def look(self, work: Callable[[Dialect], Work[R]], *, merchant: Merchant | None = None) -> R:
        """What reading work gives, done in one snapshot; for commands that look at the ledger as a whole.

        Where the work raises Behind, the merchant's job reaches those wallets first, and the work begins anew;
        without a merchant, Behind is raised.
        """

    async def change(
        self, merchant: Merchant, work: Callable[[Dialect, int, int], Work[R]], *, is_small: bool = False
    ) -> R:
        """What work gives, called with the merchant's number and the moment, and done in one durable transaction.

        What a transaction that was broken off came to is to be seen from what it wrote. Work that ``is_small``
        shares its transaction with what else waits; it raises Problem only before it has written anything.
        """

    async def ready(self) -> bool:
        """Whether the store answers, and can be written as far as is known."""
