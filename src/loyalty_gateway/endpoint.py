"""The path of one request, top to bottom: start reading here.

route → authenticate → validate → parse → carry out (adjust, most often) → render → conform → respond. Whatever is
refused on the way is a ``Problem`` and leaves through the vendor's own ``render_problem``. Where the vendor's real
server answers, it is route → authenticate → forward → relay, and both directions are validated behind it.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Protocol, TypeVar, assert_never

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Idempotency,
    Instruction,
    Merchant,
    Receipt,
)
from loyalty_gateway.authentication import Authenticator, Caller, authorize
from loyalty_gateway.body import media_type_of, parse_json, read_body
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
from loyalty_gateway.exchange import Exchange
from loyalty_gateway.idempotency import asked_in, idempotency_of
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.relay import forward, look_back
from loyalty_gateway.response import LAST_RESORT, encoded, outgoing, respond
from loyalty_gateway.routing import Paths
from loyalty_gateway.spec import Contract, Defect
from loyalty_gateway.upstream.connections import Received
from loyalty_gateway.upstream.partial import Partial, agreed
from loyalty_gateway.upstream.passthrough import Passthrough
from loyalty_gateway.validation import valid_body
from loyalty_gateway.vendor import Answer, Task, ValidRequest, Vendor
from loyalty_gateway.witness import Witness

R = TypeVar("R")

_FAILURES = frozenset({Code.RECORD_BUSY, Code.UNAVAILABLE, Code.UNFORESEEN})
_READINGS = frozenset({CustomerQuery, CustomersQuery, HistoryQuery})
_LONG_HISTORY = 1_000


class Backend(Protocol):
    """Where a task is carried out; see ``Ledger`` for each. What is known in part only is given as ``Partial``."""

    async def adjust(self, instruction: Instruction) -> Receipt | Partial: ...  # noqa: D102
    async def enrol(  # noqa: D102
        self, merchant: Merchant, enrolment: Enrolment, *, vendor: str, idempotency: Idempotency | None
    ) -> Enrolled | Partial: ...
    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer | Partial: ...  # noqa: D102
    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer | Partial: ...  # noqa: D102
    async def customers(self, merchant: Merchant, query: CustomersQuery) -> Customers | Partial: ...  # noqa: D102
    async def history(self, merchant: Merchant, query: HistoryQuery) -> History | Partial: ...  # noqa: D102


class Endpoint:
    """One vendor's API; its ``handle`` is an ASGI application without a path prefix (the mount takes it off)."""

    def __init__(  # noqa: PLR0913 - the parts of a request's path
        self,
        *,
        vendor: Vendor,
        options: msgspec.Struct,
        contract: Contract,
        paths: Paths,
        authenticator: Authenticator,
        rate_limits: RateLimits | None,
        backends: Mapping[str, Backend | Passthrough],
        witness: Witness,
        largest_body: int,
    ) -> None:
        self._vendor = vendor
        self._options = options
        self._contract = contract
        self._contracts = contract.operations
        self._operations = {operation.id: operation for operation in vendor.operations}
        self._paths = paths
        self._authenticator = authenticator
        self._rate_limits = rate_limits
        self._backends = backends
        self._witness = witness
        self._largest_body = largest_body

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = perf_counter()
        exchange = Exchange(self._vendor, self._options, scope)
        received: Received | None = None
        aside = _here
        try:
            self._route(exchange)
            caller = await self._authenticate(exchange, receive)
            backend = self._backends[caller.merchant.name]
            if isinstance(backend, Passthrough):
                received = await forward(backend, exchange, await self._read_body(exchange, receive))
            else:
                request = await self._validate(exchange, receive)
                task = self._parse(exchange, request)
                result = await self._carry_out(exchange, backend, caller, request, task)
                aside = _in_thread if _is_long(result) else _here
                answer = await aside(self._render, exchange, result, request)
        except Problem as problem:
            answer = self._refuse(exchange, problem)
        except ClientDisconnect:
            self._witness.abandoned(exchange, perf_counter() - started)
            return
        except Exception as error:  # noqa: BLE001 - nothing may end the process or show its insides
            exchange.error = error
            answer = self._refuse(exchange, Problem(Code.UNFORESEEN))
        if received is not None:
            sent = received
        else:
            await aside(self._conform, exchange, answer)
            sent = outgoing(*await aside(encoded, answer, exchange), exchange)
        await respond(send, sent, head=scope["method"] == "HEAD")
        seconds = perf_counter() - started
        if received is not None:
            await look_back(exchange, received, self._contract)
        self._witness.exchanged(exchange, sent, seconds)

    def _route(self, exchange: Exchange) -> None:
        match = self._paths.match(exchange.request.method, exchange.path)
        operation_id = match.operation_id
        exchange.route_to(self._operations[operation_id], self._contracts[operation_id], match.path_values)

    async def _authenticate(self, exchange: Exchange, receive: Receive) -> Caller:
        operation, contract = exchange.routed
        limits = self._rate_limits
        caller = exchange.caller = await self._caller(exchange, receive)
        if isinstance(self._backends[caller.merchant.name], Passthrough):
            # The vendor itself counts, and tells what is left.
            exchange.budgets = {}
        elif limits is not None and operation.rate_limits:
            budgets, refusal = limits.spend(operation, caller)
            exchange.budgets = self._vendor.render_budgets(budgets, refusal)
            if refusal is not None:
                raise refusal
        authorize(caller, operation, contract)
        return caller

    async def _caller(self, exchange: Exchange, receive: Receive) -> Caller:
        operation, contract = exchange.routed
        client = exchange.scope.get("client")
        address = client[0] if client else ""
        try:
            return self._authenticator.authenticate(exchange.request, contract, address)
        except Problem as problem:
            if problem.code is not Code.MISSING_CREDENTIALS or not operation.body_credentials:
                raise
        # A form, in which older clients send them, is refused as such: its credentials are never looked at.
        if content_type := exchange.request.headers.get("content-type"):
            media_type_of(content_type, contract.media_types)
        body = await self._body_of_stranger(exchange, receive)
        return self._authenticator.authenticate_by_body(body, operation, address)

    async def _body_of_stranger(self, exchange: Exchange, receive: Receive) -> Any:
        """The parsed body, in which credentials may stand; ``None`` for one that cannot be read."""
        try:
            return parse_json(await self._read_body(exchange, receive))
        except Problem:
            return None

    async def _read_body(self, exchange: Exchange, receive: Receive) -> bytes:
        if exchange.raw_body is None:
            exchange.raw_body = await read_body(receive, exchange.request.headers, self._largest_body)
        return exchange.raw_body

    async def _validate(self, exchange: Exchange, receive: Receive) -> ValidRequest:
        _, contract = exchange.routed
        request = exchange.request
        raw_body = await self._read_body(exchange, receive) if contract.media_types else b""
        return ValidRequest(
            url=exchange.url,
            path_values=request.path_values,
            query=request.query,
            headers=request.headers,
            options=request.options,
            body=valid_body(exchange, raw_body),
        )

    def _parse(self, exchange: Exchange, request: ValidRequest) -> Task:
        operation, _ = exchange.routed
        task = operation.parse_request(request)
        # Nobody is named by nothing; where unknown customers are enrolled, it would become somebody.
        if not all(reference.value.strip() for reference in _references(task)):
            raise Problem(Code.UNKNOWN_CUSTOMER)
        return task

    async def _carry_out(
        self, exchange: Exchange, backend: Backend, caller: Caller, request: ValidRequest, task: Task
    ) -> Any:
        merchant = caller.merchant
        match task:
            case Adjustment():
                return await self._adjust(exchange, backend, caller, request, task)
            case CustomerQuery():
                return await backend.customer(merchant, task)
            case CustomersQuery():
                return await backend.customers(merchant, task)
            case HistoryQuery():
                return await backend.history(merchant, task)
            case Enrolment():
                idempotency = idempotency_of(request, asked_in(request, *exchange.routed))
                enrolled = await backend.enrol(merchant, task, vendor=self._vendor.name, idempotency=idempotency)
                exchange.replayed = enrolled.replayed
                return enrolled
            case CustomerUpdate():
                return await backend.update(merchant, task)
            case never:
                assert_never(never)

    async def _adjust(
        self,
        exchange: Exchange,
        backend: Backend,
        caller: Caller,
        request: ValidRequest,
        adjustment: Adjustment,
    ) -> Any:
        asked = asked_in(request, *exchange.routed)
        instruction = Instruction(
            merchant=caller.merchant,
            vendor=self._vendor.name,
            adjustment=adjustment,
            idempotency=idempotency_of(request, asked, adjustment.idempotency_key),
            asked=asked,
        )
        receipt = await backend.adjust(instruction)
        exchange.replayed = receipt.replayed
        if isinstance(receipt, Partial):
            exchange.lost = receipt.lost
        return receipt

    def _render(self, exchange: Exchange, result: Any, request: ValidRequest) -> Answer:
        operation, contract = exchange.routed
        if not isinstance(result, Partial):
            return operation.render_response(result, request)
        answer = agreed(
            lambda whole: operation.render_response(whole, request),
            result,
            lambda answer: not contract.defects(exchange.request, answer),
        )
        if operation.asks in _READINGS and contract.defects(exchange.request, answer):
            # What the vendor's clients have to be told, nobody knows; nothing happened that could be hidden so.
            raise Problem(Code.UNAVAILABLE)
        return answer

    def _refuse(self, exchange: Exchange, problem: Problem) -> Answer:
        exchange.code = problem.code
        exchange.lost = problem.lost
        exchange.intent = problem.intent
        exchange.ambiguous = exchange.ambiguous or problem.intent is not None
        if problem.code in _FAILURES and isinstance(problem.__cause__, Exception):
            exchange.error = exchange.error or problem.__cause__
        try:
            if exchange.budgets is None:
                self._tell_unspent(exchange)
            return self._vendor.render_problem(problem, exchange.request)
        except Exception as error:  # noqa: BLE001 - a vendor that cannot tell a problem is a problem itself
            exchange.error = error
            return LAST_RESORT

    def _tell_unspent(self, exchange: Exchange) -> None:
        """To a caller whom nobody knows, or on a path that nobody knows, the whole budget is told.

        The same goes for whatever is refused before the request was counted.
        """
        if self._rate_limits is not None and (budgets := self._rate_limits.unspent(exchange.operation)):
            exchange.budgets = self._vendor.render_budgets(budgets, None)

    def _conform(self, exchange: Exchange, answer: Answer) -> None:
        """Points may have moved, so a defect of the answer is recorded, and the answer goes out all the same."""
        if exchange.contract is None:
            return
        try:
            exchange.defects = exchange.contract.defects(exchange.request, answer)
        except Exception as error:  # noqa: BLE001 - a check that fails is a defect too
            exchange.error = exchange.error or error
            exchange.defects = (Defect(location="/", constraint="the check itself failed"),)


def _references(task: Task) -> tuple[CustomerReference, ...]:
    """By what an adjustment may enrol somebody."""
    match task:
        case Adjustment(customers=tuple() as customers):
            return customers
        case _:
            return ()


def _is_long(result: Any) -> bool:
    return isinstance(result, History) and len(result.entries) > _LONG_HISTORY


async def _here(work: Callable[..., R], *arguments: Any) -> R:
    return work(*arguments)


async def _in_thread(work: Callable[..., R], *arguments: Any) -> R:
    """Beside the event loop, so that nobody else waits for an answer that takes long to make."""
    return await asyncio.to_thread(work, *arguments)
