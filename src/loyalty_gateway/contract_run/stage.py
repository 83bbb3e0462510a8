"""What every probe needs: tasks said in the vendor's words, balances read, answers compared."""

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime
from loyalty_gateway.contract_run.client import Client, Exchange
from loyalty_gateway.contract_run.likeness import is_success
from loyalty_gateway.contract_run.setup import Customer, Setup
from loyalty_gateway.customer import (
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    Enrolment,
    Existing,
    HistoryQuery,
)
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec.judge import Spoken
from loyalty_gateway.told import Told, ToldCustomer, ToldCustomers, ToldHistory
from loyalty_gateway.upstream.credentials import Presented
from loyalty_gateway.upstream.phrasebook import as_received
from loyalty_gateway.vendor import Answer, Operation, Request, Task, ValidRequest

_MOST_PAGES: Final = 30
MANY: Final = 100
"""So many entries a page has where a history is read to its end, or as many as the vendor lets it have."""
_UNREADABLE: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Violated(Exception):  # noqa: N818 - a finding, not an error of the program
    """What was to hold does not; the message says what was seen."""

    def __init__(self, told: str, exchange: Exchange | None = None) -> None:
        super().__init__(told)
        self.exchange = exchange


class CannotShow(Exception):  # noqa: N818 - not an error of the program
    """Nothing can be said here, for the reason in the message, of whatever the server thinks."""


class NoWords(CannotShow):
    """The vendor's operation cannot say it at all, so that there is nothing to show."""


class NoVerdict(Exception):  # noqa: N818 - not an error of the program
    """A probe that has begun cannot be brought to an end."""


class Stage:
    """The server and the known customers; keys and reasons are made of ``run``, so that runs never share one.

    ``to_undo`` are requests that give back what a probe took away, and that it had no time for.
    """

    def __init__(self, setup: Setup, client: Client, run: str) -> None:
        self.setup = setup
        self.client = client
        self.vendor = setup.vendor
        self._run = run
        self._numbers = iter(range(1, 1_000_000))
        self.namespaces = setup.vendor.namespaces(setup.options)
        self.to_undo: list[tuple[Operation, ValidRequest]] = []
        self._known: dict[Customer, ToldCustomer] = {}
        self._known_at = 0

    # Who

    def name(self, customer: Customer) -> CustomerReference:
        """The customer's name in the vendor's preferred namespace."""
        for namespace in self.namespaces:
            for reference in customer:
                if reference.namespace == namespace:
                    return reference
        raise CannotShow("the customer has no name at this vendor")

    @property
    def first(self) -> Customer:
        """The customer whose points are moved."""
        return self.setup.customers[0]

    @property
    def second(self) -> Customer:
        """Another one; raises CannotShow where only one is known."""
        if len(self.setup.customers) < 2:
            raise CannotShow("only one customer is known")
        return self.setup.customers[1]

    def nobody(self) -> CustomerReference:
        """A name of the same kind as a known one, which nobody has."""
        known = self.name(self.first)
        if self.setup.enrols:
            raise CannotShow("the merchant takes in customers whom nobody knows")
        kind, _, domain = known.value.partition("@")
        digits = known.value.isdigit()
        made = "9" * len(known.value) if digits else f"{kind}-nobody{domain and '@' + domain}"
        return CustomerReference(known.namespace, made)

    def fresh(self, word: str) -> str:
        """Text that this run used nowhere else."""
        return f"{word}-{self._run}-{next(self._numbers)}"

    def new_digits(self) -> str:
        """Digits that nobody has as a name."""
        return f"7{random.SystemRandom().randrange(10**11):011}"

    # Saying

    def adjusting(self) -> list[Operation]:
        """The operations that adjust and can be called."""
        return [
            one for one in self.setup.operations if one.asks is Adjustment and self.setup.access(one) is not None
        ]

    def adjustment(self, points_delta: int | None, *customers: CustomerReference, **more: Any) -> Adjustment:
        """An adjustment of these customers, by default of the first known one."""
        return Adjustment(
            customers=customers or (self.name(self.first),),
            points_delta=points_delta,
            lifetime=Lifetime.EARN_AND_BURN,
            reason=more.pop("reason", "Contract run"),
            **more,
        )

    def said(self, operation: Operation, task: Task) -> ValidRequest:
        """The task as the operation says it; raises NoWords where it cannot, CannotShow where it may not."""
        request = operation.said(task, self.setup.options)
        if request is None:
            raise NoWords(f"{operation.id} has no words for it")
        if not self._is_admitted(operation, request):
            raise CannotShow(f"the document of {operation.id} does not admit what would be asked")
        return request

    def _is_admitted(self, operation: Operation, request: ValidRequest) -> bool:
        """Whether the document admits the request: it may bound how many points one moves."""
        described = self.setup.described(operation)
        raw = b"" if request.body is None else msgspec.json.encode(request.body)
        media_type = described.media_types[0] if raw else ""
        return not described.violations(self.received(operation, request), media_type, raw, request.body)

    def plain(self, operation: Operation) -> ValidRequest:
        """A small request of the operation that keeps the document; the server grants it if it can."""
        name = self.name(self.first)
        tasks: tuple[Task, ...] = (
            self.adjustment(1),
            self.adjustment(-1),
            CustomerQuery(references=self.first),
            *self.histories(name),
            HistoryQuery(customer=Everyone.EVERYONE, limit=20),
            CustomersQuery(limit=10),
            CustomerUpdate(customer=name, changes={"date_of_birth": "1990-05-17"}),
            Enrolment(references=self.first),
            *(Enrolment(references=(one,), existing=Existing.REFUSE) for one in self.first),
            Enrolment(references=self.first, existing=Existing.UPDATE),
        )
        for task in tasks:
            request = operation.said(task, self.setup.options) if isinstance(task, operation.asks) else None
            if request is not None:
                return request
        raise CannotShow(f"{operation.id} cannot be said plainly")

    def histories(self, name: CustomerReference) -> tuple[HistoryQuery, ...]:
        """Ways to ask for a history, of which a vendor has words for one."""
        return (
            HistoryQuery(customer=name, limit=20),
            HistoryQuery(customer=name, limit=MANY, newest_first=False),
            HistoryQuery(customer=name, limit=None, newest_first=False),
        )

    def ask(  # noqa: PLR0913 - what may be wrong with a request
        self,
        operation: Operation,
        request: ValidRequest,
        *,
        access: Presented | None = None,
        raw: bytes | None = None,
        media_type: str | None = None,
        counts: bool = True,
    ) -> Exchange:
        """Sends a request, with credentials that suffice by default; raises CannotShow where there are none."""
        access = access or self.setup.access(operation)
        if access is None:
            raise CannotShow(f"no credential may call {operation.id}")
        return self.client.send(
            operation, self.spoken(operation, request, media_type), access, raw=raw, counts=counts
        )

    def spoken(self, operation: Operation, request: ValidRequest, media_type: str | None = None) -> Spoken:
        """The request as it goes over the wire."""
        kinds = self.setup.described(operation).media_types
        has_body = request.body is not None
        return Spoken(
            path_values=request.path_values,
            query=request.query,
            headers=request.headers,
            media_type=media_type or (kinds[0] if kinds and has_body else ""),
            body=request.body if has_body else UNSET,
        )

    # Understanding

    def received(self, operation: Operation, request: ValidRequest) -> Request:
        """The request as the server gets it."""
        return as_received(self.vendor, operation, self.setup.described(operation), request)

    def told(self, operation: Operation, exchange: Exchange, request: ValidRequest) -> Told | None:
        """What a successful answer tells; raises Violated for one that cannot be read."""
        try:
            return operation.parse_response(exchange.answer, request)
        except _UNREADABLE as error:
            raise Violated("the answer cannot be read as the vendor's", exchange) from error

    def code(self, operation: Operation, answer: Answer) -> Code | None:
        """What a refusal says."""
        try:
            return self.vendor.parse_problem(answer, operation)
        except _UNREADABLE:
            return None

    def refusal(self, operation: Operation, problem: Problem, request: ValidRequest) -> Answer:
        """How the vendor refuses the request for that."""
        return self.vendor.render_problem(problem, self.received(operation, request))

    # Balances

    def balance(self, customer: Customer) -> int:
        """The points that the customer can spend; raises as ``looked_up`` does."""
        available = self.looked_up(customer).wallet.available
        assert isinstance(available, int)
        return available

    def looked_up(self, customer: Customer) -> ToldCustomer:
        """The customer with the balance, who is asked for again only after something else was asked.

        Raises:
            CannotShow: no operation tells that.
            NoVerdict: one is there to tell it, and its answer is no success, unreadable, or about somebody else.
        """
        if self.client.sent != self._known_at:
            self._known.clear()
        if customer not in self._known:
            self._known[customer] = self._looked_up(customer)
            self._known_at = self.client.sent
        return self._known[customer]

    def _looked_up(self, customer: Customer) -> ToldCustomer:
        failed = ""
        for operation in self.vendor.operations:
            if self.setup.access(operation) is None:
                continue
            request = operation.said(CustomerQuery(references=customer), self.setup.options)
            if request is None:
                continue
            exchange = self.ask(operation, request)
            try:
                found = self.found(customer, operation, exchange, request)
            except Violated:
                found = None
            if found is None:
                failed = (
                    failed or f"{operation.id}, asked for the balance, answered {exchange.answer.status} without"
                )
            elif isinstance(found.wallet.available, int):
                return found
        if failed:
            raise NoVerdict(failed)
        raise CannotShow("nothing here tells a balance")

    def found(
        self, customer: Customer, operation: Operation, exchange: Exchange, request: ValidRequest
    ) -> ToldCustomer | None:
        """What an answer tells of the customer; ``None`` where it does not. Raises as ``told`` does."""
        if not is_success(exchange.answer):
            return None
        for one in customers_in(self.told(operation, exchange, request)):
            if not one.references or set(one.references) & set(customer):
                return one
        return None

    def move(self, points_delta: int, customer: Customer) -> None:
        """Adjusts somebody by so much, in parts where the document admits no more; raises as ``moved`` does."""
        try:
            self.moved(points_delta, customer)
        except CannotShow:
            half = points_delta // 2
            if half in {0, points_delta}:
                raise
            self.move(half, customer)
            self.move(points_delta - half, customer)

    def moved(self, points_delta: int, customer: Customer) -> tuple[Operation, ValidRequest, Exchange]:
        """Adjusts somebody by so much at once, by whichever operation can.

        Raises:
            CannotShow: none can, or may.
            NoVerdict: that is refused.
        """
        task = self.adjustment(points_delta, self.name(customer))
        for operation in self.vendor.operations:
            if operation.asks is not Adjustment or self.setup.access(operation) is None:
                continue
            request = operation.said(task, self.setup.options)
            if request is not None and self._is_admitted(operation, request):
                exchange = self.ask(operation, request)
                if not is_success(exchange.answer):
                    raise NoVerdict(f"{points_delta:+} points were refused with {exchange.answer.status}")
                return operation, request, exchange
        raise CannotShow(f"nothing here may move {points_delta:+} points")

    def stock(self, customer: Customer, points: int) -> int:
        """Sees to it that the customer has at least so many points, and gives how many there are."""
        balance = self.balance(customer)
        if balance >= points:
            return balance
        self.move(points - balance, customer)
        return self.balance(customer)

    def pages(self, operation: Operation, request: ValidRequest) -> Iterator[tuple[Exchange, Told | None]]:
        """One page after another, and what it tells.

        Raises:
            Violated: one is refused, or cannot be read.
            CannotShow: there are more than a run can read.
        """
        following: ValidRequest | None = request
        for _ in range(_MOST_PAGES):
            if following is None:
                return
            exchange = self.ask(operation, following)
            if not is_success(exchange.answer):
                raise Violated(f"a page was refused with {exchange.answer.status}", exchange)
            yield exchange, self.told(operation, exchange, following)
            try:
                following = operation.next_request(exchange.answer, following)
            except _UNREADABLE as error:
                raise Violated("the answer does not tell of the next page", exchange) from error
        if following is not None:
            raise CannotShow("the history is too long to be read to its end")


def customers_in(told: Told | None) -> tuple[ToldCustomer, ...]:
    """The customers that an answer tells of, as far as it is about them."""
    match told:
        case ToldCustomers(customers=customers):
            return customers
        case ToldHistory(customer=customer) | (ToldCustomer() as customer):
            return (customer,)
        case _:
            return ()
