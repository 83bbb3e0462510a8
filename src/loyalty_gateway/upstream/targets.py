"""Who a customer is at an upstream: by the references that the ledger has, or by looking there once."""

from typing import NamedTuple

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Merchant
from loyalty_gateway.customer import Customer, CustomerQuery, Customers, CustomersQuery, Enrolment
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldCustomer, ToldCustomers, ToldHistory
from loyalty_gateway.upstream.calls import Calls

_SEARCHED = ("email", "phone")
_MOST_FOUND = 60


class Target(NamedTuple):
    """A customer with the name that the upstream has for them; ``customer`` is the ledger's, where it has one."""

    reference: CustomerReference
    customer: Customer | None

    @property
    def wallet_id(self) -> int:
        """The ledger's number for the customer; 0, which is nobody's, for one that it has not met."""
        return 0 if self.customer is None else self.customer.wallet.id

    @property
    def references(self) -> tuple[CustomerReference, ...]:
        """All names that are known."""
        return (self.reference,) if self.customer is None else self.customer.references


class Targets:
    """Finds customers at one upstream; what had to be looked up there is remembered in the ledger."""

    def __init__(self, calls: Calls, ledger: Ledger) -> None:
        self._calls = calls
        self._ledger = ledger

    async def find(self, merchant: Merchant, reference: CustomerReference) -> Target:
        """Whom the reference means there; raises Problem UNKNOWN_CUSTOMER, or what keeps us from looking."""
        customer = await self._known(merchant, reference)
        if reference.namespace in self._calls.namespaces:
            # It need not have heard of any other of their names.
            return Target(reference, customer)
        return await self._named(merchant, (reference,) if customer is None else customer.references, customer)

    async def of(self, merchant: Merchant, customer: Customer) -> Target:
        """The customer by the upstream's name; raises Problem as ``find`` does."""
        return await self._named(merchant, customer.references, customer)

    async def _named(
        self, merchant: Merchant, references: tuple[CustomerReference, ...], customer: Customer | None
    ) -> Target:
        for namespace in self._calls.namespaces:
            values = sorted(one.value for one in references if one.namespace == namespace)
            if values:
                return Target(CustomerReference(namespace, values[0]), customer)
        for known in references:
            if known.namespace in _SEARCHED and (found := await self._search(known)) is not None:
                return Target(found, await self._remember(merchant, references, found))
        raise Problem(Code.UNKNOWN_CUSTOMER)

    async def _known(self, merchant: Merchant, reference: CustomerReference) -> Customer | None:
        try:
            return await self._ledger.customer(merchant, CustomerQuery(references=(reference,)))
        except Problem as problem:
            if problem.code is not Code.UNKNOWN_CUSTOMER:
                raise
            return None

    async def known(self, merchant: Merchant, query: CustomersQuery) -> Customers:
        """A page of the customers whom the ledger has met."""
        return await self._ledger.customers(merchant, query)

    async def remember(self, merchant: Merchant, target: Target) -> Target:
        """The target with a number of ours; for one whom the upstream knows and the ledger has not met."""
        if target.customer is not None:
            return target
        return Target(target.reference, await self._remember(merchant, (target.reference,), target.reference))

    async def enrolled(
        self, merchant: Merchant, references: tuple[CustomerReference, ...], told: ToldCustomer
    ) -> Target:
        """Whom the upstream has just told of, remembered by these references; raises Problem."""
        named = self._name(told) or references[0]
        return Target(named, await self._remember(merchant, references, named))

    async def _remember(
        self, merchant: Merchant, references: tuple[CustomerReference, ...], found: CustomerReference
    ) -> Customer | None:
        # They are one customer there, so whoever has any of these names here is that one.
        names = tuple(dict.fromkeys(one for one in (*references, found) if one.namespace != OWN_NAMESPACE))
        try:
            enrolled = await self._ledger.enrol(merchant, Enrolment(references=names))
        except Problem as problem:
            if problem.code is not Code.CUSTOMER_CONFLICT:
                raise
            # Two customers of ours would be one there: a person has to tell which is right.
            raise Problem(Code.UNKNOWN_CUSTOMER) from problem
        return enrolled.customer

    async def _search(self, known: CustomerReference) -> CustomerReference | None:
        """The upstream's name for the one customer who has exactly this reference there."""
        queries = (
            CustomersQuery(limit=_MOST_FOUND, containing=known.value, searched=(known.namespace,)),
            CustomersQuery(limit=_MOST_FOUND, containing=known.value, searched=_SEARCHED, searches_names=True),
            CustomerQuery(references=(known,)),
        )
        for query in queries:
            told = await self._calls.read(query)
            if told is None:
                continue
            # The vendor's search may find parts, and similar ones.
            found = {
                name
                for one in told
                for customer in _customers(one)
                if known in customer.references and (name := self._name(customer)) is not None
            }
            return found.pop() if len(found) == 1 else None
        return None

    def _name(self, customer: ToldCustomer) -> CustomerReference | None:
        for namespace in self._calls.namespaces:
            value = customer.value(namespace)
            if value is not None:
                return CustomerReference(namespace, value)
        return None


def _customers(told: object) -> tuple[ToldCustomer, ...]:
    match told:
        case ToldCustomers(customers=customers):
            return customers
        case ToldHistory(customer=customer) | (ToldCustomer() as customer):
            return (customer,)
        case _:
            return ()
