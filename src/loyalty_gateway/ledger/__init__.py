"""The ledger: what a store of wallets and entries promises, whichever database keeps them."""

from typing import Protocol

from loyalty_gateway.adjustment import CustomerReference, Instruction, Merchant, Receipt


class Ledger(Protocol):
    """A durable store of wallets and append-only entries.

    Every method may raise Problem UNAVAILABLE (the store cannot be reached or written) or RECORD_BUSY
    (somebody else holds it); nothing has happened then.
    """

    async def open(self) -> None:
        """Makes the store ready, bringing its schema up; raises ConfigurationError where that cannot be."""

    async def close(self) -> None:
        """Carries out what waits, then lets go of the store."""

    async def enrol(self, merchant: Merchant, references: tuple[CustomerReference, ...]) -> int:
        """The wallet of the customer with these references, made when absent.

        References that nobody has yet are added to the customer who has the others.

        Raises:
            ConfigurationError: two of the references belong to different customers already.
        """

    async def adjust(self, instruction: Instruction) -> Receipt:
        """Carries out an adjustment once, durably, before it returns.

        Raises:
            Problem: UNKNOWN_CUSTOMER, CUSTOMER_EXCLUDED, TOO_FEW_POINTS, BALANCE_OVERFLOW, TOO_MANY_CUSTOMERS,
                KEY_IN_FLIGHT, KEY_REUSED; no wallet has moved then.
        """

    async def ready(self) -> bool:
        """Whether the store answers."""
