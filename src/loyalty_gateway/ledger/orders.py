"""What a group carries out: adjustments, enrolments and updates, in the order in which they came."""

from typing import Generic, NamedTuple, TypeVar

from loyalty_gateway.adjustment import Idempotency, Instruction, Merchant, Receipt
from loyalty_gateway.customer import Customer, CustomerUpdate, Enrolled, Enrolment


class Registration(NamedTuple):
    """A customer to enrol or to change, of a merchant."""

    merchant: Merchant
    asked: Enrolment | CustomerUpdate
    vendor: str = ""
    idempotency: Idempotency | None = None


Task = Instruction | Registration
"""One thing to be carried out."""

Done = Receipt | Enrolled | Customer
"""What carrying out a task gives."""

Outcome = Done | Exception


T = TypeVar("T", bound=Task, covariant=True)  # noqa: PLC0105 - read as the type of a task


class Order(NamedTuple, Generic[T]):
    """A task, and the number of its merchant."""

    task: T
    merchant_id: int


class Overtaken(Exception):  # noqa: N818 - not an error
    """Somebody else wrote what this transaction has read; it is to begin anew."""
