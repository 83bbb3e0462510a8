"""What a move is made of: the merchant, its two sides, and the ledger's outbox between them."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Merchant
from loyalty_gateway.customer import Customer, CustomerQuery
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.following.sides import MovingCustomer, Route, Side
from loyalty_gateway.ledger.following.standing import Standing, standing, wallet_id_of
from loyalty_gateway.ledger.moving import merchant_number
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.backend import UpstreamBackend

R = TypeVar("R")


class Parts(NamedTuple):
    """A merchant's move in a vendor's dialect; ``new`` is ``None`` where the points come into the ledger here."""

    merchant: Merchant
    vendor: str
    old: UpstreamBackend
    new: UpstreamBackend | None
    ledger: Ledger

    @property
    def route(self) -> Route:
        """The names by which the ledger knows it."""
        return Route(self.vendor, self.old.name, None if self.new is None else self.new.name)

    def upstream(self, side: Side) -> UpstreamBackend | None:
        """The side's upstream; ``None`` for the ledger here."""
        return self.old if side is Side.OLD else self.new

    def moving(self, merchant_id: int, wallet_id: int) -> MovingCustomer:
        """The customer as they move, of the merchant's number and their own."""
        return MovingCustomer(merchant_id, self.route, wallet_id)

    async def look(self, work: Callable[[Dialect, int], Work[R]]) -> R:
        """What reading work gives, called with the merchant's number."""

        def read(dialect: Dialect) -> Work[R]:
            merchant_id = yield from merchant_number(dialect, self.merchant.name)
            return (yield from work(dialect, merchant_id))

        return await self.ledger.look(read, merchant=self.merchant)

    async def change(self, work: Callable[[Dialect, int, int], Work[R]]) -> R:
        """What work gives in one durable transaction, called with the merchant's number and the moment."""
        return await self.ledger.change(self.merchant, work)

    async def look_at(self, wallet_id: int, work: Callable[[Dialect, MovingCustomer], Work[R]]) -> R:
        """What reading work gives, called with a customer."""
        return await self.look(lambda dialect, merchant_id: work(dialect, self.moving(merchant_id, wallet_id)))

    async def change_for(self, wallet_id: int, work: Callable[[Dialect, MovingCustomer, int], Work[R]]) -> R:
        """What work gives in one durable transaction, called with a customer and the moment."""
        return await self.change(
            lambda dialect, merchant_id, now: work(dialect, self.moving(merchant_id, wallet_id), now)
        )

    async def number(self, reference: CustomerReference) -> int:
        """The customer's number; 0 for one whom the ledger has not met."""
        return await self.look(lambda dialect, merchant_id: wallet_id_of(dialect, merchant_id, reference))

    async def standing(self, wallet_id: int) -> Standing:
        """How it stands with a customer."""
        return await self.look_at(wallet_id, standing)

    async def customer(self, wallet_id: int) -> Customer:
        """A customer of the ledger."""
        return await self.ledger.customer(self.merchant, CustomerQuery(references=(own_reference(wallet_id),)))

    async def balance(self, side: Side, wallet_id: int) -> int | None:
        """The points that the customer can spend at a side; ``None`` where it does not know them.

        Raises:
            Problem: it cannot be told now.
        """
        upstream = self.upstream(side)
        if upstream is None:
            return (await self.customer(wallet_id)).wallet.available
        try:
            return await upstream.reading.balance(
                await upstream.targets.find(self.merchant, own_reference(wallet_id))
            )
        except Problem as problem:
            if problem.code is Code.UNKNOWN_CUSTOMER:
                return None
            raise


def own_reference(wallet_id: int) -> CustomerReference:
    """The ledger's own name for a customer."""
    return CustomerReference(OWN_NAMESPACE, str(wallet_id))
