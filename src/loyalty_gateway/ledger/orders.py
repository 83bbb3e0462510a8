"""What a group carries out: adjustments, enrolments and updates, in the order in which they came."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from loyalty_gateway.adjustment import Idempotency, Instruction, Merchant, Receipt
from loyalty_gateway.customer import Customer, CustomerUpdate, Enrolled, Enrolment
from loyalty_gateway.ledger.statements import Dialect, Work


class Registration(NamedTuple):
    """A customer to enrol or to change, of a merchant."""

    merchant: Merchant
    asked: Enrolment | CustomerUpdate
    vendor: str = ""
    idempotency: Idempotency | None = None


class Reach(NamedTuple):
    """Wallets of a merchant that the merchant's unfinished job is to reach now."""

    merchant: Merchant
    wallet_ids: tuple[int, ...]
    vendor: str = ""
    idempotency: Idempotency | None = None


class Note(NamedTuple):
    """Small work that is called with the merchant's number and the moment, as ``Ledger.change`` takes it."""

    merchant: Merchant
    work: Callable[[Dialect, int, int], Work[Any]]
    vendor: str = ""
    idempotency: Idempotency | None = None


class Weighing(NamedTuple):
    """What somebody saw of a merchant's wallets: how many are to be adjusted, and what was the last of all."""

    wallets: int
    last_wallet_id: int
    last_entry_id: int


class Job(NamedTuple):
    """An instruction for everyone that is to be accepted, the wallets having been weighed."""

    instruction: Instruction
    weighing: Weighing

    @property
    def merchant(self) -> Merchant:
        """Whose customers they are."""
        return self.instruction.merchant

    @property
    def vendor(self) -> str:
        """In whose dialect it was asked."""
        return self.instruction.vendor

    @property
    def idempotency(self) -> Idempotency | None:
        """The client's key, if there was one."""
        return self.instruction.idempotency


class Guarded(NamedTuple):
    """An instruction that is carried out only where it is ``still`` wanted, as its own transaction sees it."""

    asked: Instruction | Job
    still: Callable[[Dialect, int], Work[bool]]

    @property
    def merchant(self) -> Merchant:
        """Whose customers they are."""
        return self.asked.merchant

    @property
    def vendor(self) -> str:
        """In whose dialect it was asked."""
        return self.asked.vendor

    @property
    def idempotency(self) -> Idempotency | None:
        """The client's key, if there was one."""
        return self.asked.idempotency


Task = Instruction | Registration | Reach | Job | Note | Guarded
"""One thing to be carried out."""

Done = Receipt | Enrolled | Customer | None | Any
"""What carrying out a task gives; of a note, whatever its work does."""

Outcome = Done | Exception


T = TypeVar("T", bound=Task, covariant=True)  # noqa: PLC0105 - read as the type of a task


class Order(NamedTuple, Generic[T]):
    """A task, and the number of its merchant."""

    task: T
    merchant_id: int


class Overtaken(Exception):  # noqa: N818 - not an error
    """Somebody else wrote what this transaction has read; it is to begin anew."""


class Unweighed(Exception):  # noqa: N818 - not an error
    """An instruction for everyone is of so many wallets that they are to be weighed before the transaction."""


class Behind(Exception):  # noqa: N818 - not an error
    """A job has not reached these wallets, or, where none is named, not all of the merchant's that count."""

    def __init__(self, wallet_ids: tuple[int, ...] = ()) -> None:
        super().__init__(wallet_ids)
        self.wallet_ids = wallet_ids
