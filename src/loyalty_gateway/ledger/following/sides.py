"""The two sides of a move, who moves between them, and what is to follow from one to the other."""

import enum
from typing import Final, NamedTuple

from loyalty_gateway.adjustment import Adjustment

FOREVER: Final = 2**62
"""A time that does not come, in microseconds since the epoch."""

OF_MOVE: Final = "merchant_id = :merchant_id AND vendor = :vendor"
"""Which rows of a table are a move's."""

OF_CUSTOMER: Final = f"{OF_MOVE} AND wallet_id = :wallet_id"
"""Which of them are a customer's; ``MovingCustomer.named`` has the values."""


class Side(enum.StrEnum):
    """One of the two backends of a move."""

    OLD = "old"
    NEW = "new"

    @property
    def other(self) -> "Side":
        """The side that follows this one."""
        return Side.NEW if self is Side.OLD else Side.OLD


class Route(NamedTuple):
    """A merchant's move: by its vendor, and the upstreams' names; ``new`` is ``None`` for the ledger here."""

    vendor: str
    old: str
    new: str | None

    def upstream(self, side: Side) -> str | None:
        """The name of the side's upstream; ``None`` for the ledger here."""
        return self.old if side is Side.OLD else self.new

    def side(self, upstream: str) -> Side:
        """The side at which this upstream stands."""
        return Side.OLD if upstream == self.old else Side.NEW


class MovingCustomer(NamedTuple):
    """A customer of the ledger in a merchant's move."""

    merchant_id: int
    route: Route
    wallet_id: int

    @property
    def named(self) -> dict[str, object]:
        """The values by which the ledger's tables know them."""
        return {"merchant_id": self.merchant_id, "vendor": self.route.vendor, "wallet_id": self.wallet_id}


class FollowUp(NamedTuple):
    """One adjustment that is ``to`` follow at a side, as it took effect at the other.

    ``source`` is the intent's number, or the entry's version.
    """

    key: str
    to: Side
    source: int
    adjustment: Adjustment
    is_parked: bool = False
