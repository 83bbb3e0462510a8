"""The path of one request, top to bottom: start reading here.

route → authenticate → validate → parse → carry out (adjust, most often) → render → conform → respond. Whatever is
refused on the way is a ``Problem`` and leaves through the vendor's own ``render_problem``. Where the vendor's real
server answers, it is route → authenticate → forward → relay, and both directions are validated behind it.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Protocol, TypeVar, assert_never
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from loyalty_gateway import journal
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
from loyalty_gateway.likeness import fingerprint
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.routing import Paths
from loyalty_gateway.spec import Contract, Defect, OperationContract
from loyalty_gateway.traffic.recorder import Passed, Recorder
from loyalty_gateway.upstream.connections import NotSent, Received, Unclear, Undecodable, answer_of
from loyalty_gateway.upstream.partial import Partial, agreed
from loyalty_gateway.upstream.passthrough import Passthrough
from loyalty_gateway.vendor import Answer, Operation, Request, Task, ValidRequest, Vendor

R = TypeVar("R")

_FAILURES = frozenset({Code.RECORD_BUSY, Code.UNAVAILABLE, Code.UNFORESEEN})
_READINGS = frozenset({CustomerQuery, CustomersQuery, HistoryQuery})
_KEY_HEADER = b"idempotency-key"
_LONGEST_QUERY = 8_192
_MOST_QUERY_FIELDS = 256
_LONG_HISTORY = 1_000
_LONG_BODY = 65_536
_LONGEST_INDEX = 5


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


class Exchange:
    """What is known of one request while it is on its way; told to the journal and the metrics at its end."""

    __slots__ = (
        "ambiguous",
        "budgets",
        "caller",
        "code",
        "contract",
        "defects",
        "error",
        "intent",
        "lost",
        "operation",
        "raw_body",
        "replayed",
        "request",
        "request_defects",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        self.operation: Operation | None = None
        self.contract: OperationContract | None = None
        self.caller: Caller | None = None
        self.budgets: Mapping[str, str] | None = None
        self.raw_body: bytes | None = None
        self.code: Code | None = None
        self.replayed = False
        self.ambiguous = False
        self.intent: int | None = None
        self.lost: tuple[str, ...] = ()
        self.error: Exception | None = None
        self.request_defects: tuple[Defect, ...] = ()
        self.defects: tuple[Defect, ...] = ()


class Endpoint:
    """One vendor's API: an ASGI application without a path prefix (the mount takes it off)."""

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
        metrics: Metrics,
        log: journal.Journal,
        largest_body: int,
        recorder: Recorder | None = None,
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
        self._metrics = metrics
        self._journal = log
        self._largest_body = largest_body
        self._recorder = recorder

    async def handle(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answers one request; ``path`` is the raw path below the vendor's mount."""
        started = perf_counter()
        exchange = Exchange(self._received(scope))
        received: Received | None = None
        aside = _here
        try:
            self._route(exchange, path, scope["query_string"])
            caller = await self._authenticate(exchange, scope, receive)
            backend = self._backends[caller.merchant.name]
            if isinstance(backend, Passthrough):
                received = await self._forward(exchange, backend, scope, receive, path)
            else:
                request = await self._validate(exchange, scope, receive)
                task = self._parse(exchange, request)
                result = await self._carry_out(exchange, backend, caller, request, task)
                aside = _in_thread if _is_long(result) else _here
                answer = await aside(self._render, exchange, result, request)
        except Problem as problem:
            answer = self._refuse(exchange, problem)
        except ClientDisconnect:
            # There is nobody to answer; the status is what web servers write in their logs then.
            self._record(exchange, 499, "client_disconnected", perf_counter() - started)
            return
        except Exception as error:  # noqa: BLE001 - nothing may end the process or show its insides
            exchange.error = error
            answer = self._refuse(exchange, Problem(Code.UNFORESEEN))
        if received is not None:
            sent = received
        else:
            await aside(self._conform, exchange, answer)
            sent = _sent(*await aside(_encoded, answer, exchange), exchange)
        await _respond(send, sent, head=scope["method"] == "HEAD")
        seconds = perf_counter() - started
        if received is not None:
            await self._look_back(exchange, scope, received)
        self._record(exchange, sent.status, exchange.code.value if exchange.code is not None else None, seconds)
        if self._recorder is not None:
            asked = (scope["method"], path, scope["query_string"], scope["headers"], exchange.raw_body)
            self._recorder.take(Passed(self._vendor.name, *asked, sent, seconds))

    def _received(self, scope: Scope) -> Request:
        return Request(
            vendor=self._vendor,
            operation=None,
            method=scope["method"],
            path_values={},
            query={},
            headers={
                name.decode("latin-1"): value.decode("latin-1") if name != _KEY_HEADER else _key(value)
                for name, value in scope["headers"]
            },
            options=self._options,
        )

    def _route(self, exchange: Exchange, path: str, query_string: bytes) -> None:
        request = exchange.request
        match = self._paths.match(request.method, path)
        exchange.operation = self._operations[match.operation_id]
        exchange.contract = self._contracts[match.operation_id]
        exchange.request = Request(
            vendor=request.vendor,
            operation=exchange.operation,
            method=request.method,
            path_values=match.path_values,
            query=_query(query_string) if query_string else {},
            headers=request.headers,
            options=request.options,
        )

    async def _authenticate(self, exchange: Exchange, scope: Scope, receive: Receive) -> Caller:
        operation, contract = _routed(exchange)
        limits = self._rate_limits
        caller = exchange.caller = await self._caller(exchange, scope, receive)
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

    def _tell_unspent(self, exchange: Exchange) -> None:
        """To a caller whom nobody knows, or on a path that nobody knows, the whole budget is told.

        The same goes for whatever is refused before the request was counted.
        """
        if self._rate_limits is not None and (budgets := self._rate_limits.unspent(exchange.operation)):
            exchange.budgets = self._vendor.render_budgets(budgets, None)

    async def _caller(self, exchange: Exchange, scope: Scope, receive: Receive) -> Caller:
        operation, contract = _routed(exchange)
        address = scope["client"][0] if scope.get("client") else ""
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

    async def _validate(self, exchange: Exchange, scope: Scope, receive: Receive) -> ValidRequest:
        _, contract = _routed(exchange)
        request = exchange.request
        raw_body = await self._read_body(exchange, receive) if contract.media_types else b""
        return ValidRequest(
            url=_url(scope, request.headers),
            path_values=request.path_values,
            query=request.query,
            headers=request.headers,
            options=request.options,
            body=self._valid_body(exchange, scope, raw_body),
        )

    def _valid_body(self, exchange: Exchange, scope: Scope, raw_body: bytes) -> Any:
        """The parsed body of a request that keeps the spec, body and all; raises Problem for another."""
        operation, contract = _routed(exchange)
        request = exchange.request
        media_type, body = "", None
        if raw_body:
            media_type = media_type_of(request.headers.get("content-type", ""), contract.media_types)
            body = parse_json(raw_body)
        violations = contract.violations(request, media_type, raw_body, body)
        violations += _differing_keys(scope, body, operation.idempotency_field)
        if violations:
            raise Problem(Code.INVALID, violations=violations)
        return body

    async def _read_body(self, exchange: Exchange, receive: Receive) -> bytes:
        if exchange.raw_body is None:
            exchange.raw_body = await read_body(receive, exchange.request.headers, self._largest_body)
        return exchange.raw_body

    async def _body_of_stranger(self, exchange: Exchange, receive: Receive) -> Any:
        """The parsed body, in which credentials may stand; ``None`` for one that cannot be read."""
        try:
            return parse_json(await self._read_body(exchange, receive))
        except Problem:
            return None

    def _parse(self, exchange: Exchange, request: ValidRequest) -> Task:
        operation, _ = _routed(exchange)
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
                idempotency = _idempotency(_asked(exchange, request), request, None)
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
        asked = _asked(exchange, request)
        instruction = Instruction(
            merchant=caller.merchant,
            vendor=self._vendor.name,
            adjustment=adjustment,
            idempotency=_idempotency(asked, request, adjustment.idempotency_key),
            asked=asked,
        )
        receipt = await backend.adjust(instruction)
        exchange.replayed = receipt.replayed
        if isinstance(receipt, Partial):
            exchange.lost = receipt.lost
        return receipt

    def _render(self, exchange: Exchange, result: Any, request: ValidRequest) -> Answer:
        operation, contract = _routed(exchange)
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
            return _LAST_RESORT

    def _conform(self, exchange: Exchange, answer: Answer) -> None:
        """Points may have moved, so a defect of the answer is recorded, and the answer goes out all the same."""
        if exchange.contract is None:
            return
        try:
            exchange.defects = exchange.contract.defects(exchange.request, answer)
        except Exception as error:  # noqa: BLE001 - a check that fails is a defect too
            exchange.error = exchange.error or error
            exchange.defects = (Defect(location="/", constraint="the check itself failed"),)

    async def _forward(
        self, exchange: Exchange, backend: Passthrough, scope: Scope, receive: Receive, path: str
    ) -> Received:
        """The vendor's own answer; raises Problem UNAVAILABLE where there is none, and asks for it only once."""
        _, contract = _routed(exchange)
        body = await self._read_body(exchange, receive)
        try:
            return await backend.forward(
                contract,
                method=scope["method"],
                path=path,
                query=scope["query_string"],
                headers=list(scope["headers"]),
                body=body,
            )
        except NotSent as fault:
            raise Problem(Code.UNAVAILABLE) from fault
        except Unclear as doubt:
            exchange.ambiguous = True
            raise Problem(Code.UNAVAILABLE) from doubt

    async def _look_back(self, exchange: Exchange, scope: Scope, received: Received) -> None:
        """Holds what was passed on, in both directions, against the spec; the answer is out already."""
        aside = _in_thread if _has_long_body(exchange, received) else _here
        try:
            exchange.request_defects = await aside(self._request_defects, exchange, scope)
            exchange.defects = await aside(self._received_defects, exchange, received)
        except Exception as error:  # noqa: BLE001 - nothing here may be seen from outside
            exchange.error = error

    def _request_defects(self, exchange: Exchange, scope: Scope) -> tuple[Defect, ...]:
        _, contract = _routed(exchange)
        raw_body = (exchange.raw_body or b"") if contract.media_types else b""
        try:
            self._valid_body(exchange, scope, raw_body)
        except Problem as problem:
            found = tuple(map(self._defect, problem.violations))
            return found or (Defect(location="/body", constraint=problem.code.value),)
        return ()

    def _defect(self, violation: Violation) -> Defect:
        """Told without what was sent, of which the names in a body are a part."""
        place = self._contract.place(violation.path) if violation.location == "body" else violation.field
        return Defect(
            location="/" + "/".join(filter(None, (violation.location, place))), constraint=violation.keyword
        )

    def _received_defects(self, exchange: Exchange, received: Received) -> tuple[Defect, ...]:
        _, contract = _routed(exchange)
        if exchange.request.method == "HEAD":
            return ()
        try:
            found = contract.defects(exchange.request, answer_of(received))
        except Undecodable:
            return (Defect(location="/", constraint="its content-encoding cannot be read"),)
        return tuple(
            Defect(location=f"/{self._contract.place(_steps(defect.location))}", constraint=defect.constraint)
            for defect in found
        )

    def _record(self, exchange: Exchange, status: int, code: str | None, seconds: float) -> None:
        operation = exchange.operation.id if exchange.operation is not None else "none"
        vendor = self._vendor.name
        self._metrics.answered(vendor, operation, status, code or "none", seconds)
        if exchange.defects:
            self._metrics.defective(vendor, operation)
        if exchange.request_defects:
            self._metrics.defective_request(vendor, operation)
        caller, error = exchange.caller, exchange.error
        self._journal.write(
            journal.Line(
                time=journal.now(),
                vendor=vendor,
                operation=exchange.operation.id if exchange.operation is not None else None,
                # A method is the client's text unless a path knows it.
                method=exchange.request.method if exchange.operation is not None else None,
                path=exchange.contract.path if exchange.contract is not None else None,
                merchant=caller.merchant.name if caller is not None else None,
                caller=caller.id if caller is not None else None,
                status=status,
                code=code,
                ambiguous=exchange.ambiguous,
                intent=exchange.intent,
                replayed=exchange.replayed,
                lost=list(exchange.lost) or None,
                milliseconds=round(seconds * 1_000, 3),
                error=_named(error) if error is not None else None,
                frames=journal.frames_of(error) if error is not None else None,
                request_defects=[*map(_told, exchange.request_defects)] or None,
                defects=[*map(_told, exchange.defects)] or None,
            )
        )


_LAST_RESORT = Answer(500, {"error": "Internal server error"})
"""For an answer that cannot be made: no vendor's, since the vendor's own could not be."""


def _is_long(result: Any) -> bool:
    return isinstance(result, History) and len(result.entries) > _LONG_HISTORY


def _has_long_body(exchange: Exchange, received: Received) -> bool:
    return len(received.content) + len(exchange.raw_body or b"") > _LONG_BODY


def _steps(location: str) -> list[str | int]:
    """The steps of a place in an answer; a number as large as no index is a name."""
    steps = filter(None, location.split("/"))
    return [int(step) if step.isdecimal() and len(step) <= _LONGEST_INDEX else step for step in steps]


def _told(defect: Defect) -> str:
    return f"{defect.location} {defect.constraint}"


async def _here(work: Callable[..., R], *arguments: Any) -> R:
    return work(*arguments)


async def _in_thread(work: Callable[..., R], *arguments: Any) -> R:
    """Beside the event loop, so that nobody else waits for an answer that takes long to make."""
    return await asyncio.to_thread(work, *arguments)


def _encoded(answer: Answer, exchange: Exchange) -> tuple[Answer, bytes]:
    """The answer with its bytes; the last resort for one that has none."""
    try:
        if answer.text is not None:
            return answer, answer.text.encode()
        return answer, b"" if answer.body is msgspec.UNSET else _encode(answer.body)
    except Exception as error:  # noqa: BLE001 - points may have moved: it must be answered and recorded
        exchange.error = error
        exchange.code = Code.UNFORESEEN
        return _LAST_RESORT, _encode(_LAST_RESORT.body)


def _sent(answer: Answer, content: bytes, exchange: Exchange) -> Received:
    """The answer as it goes out."""
    headers = [(b"content-length", b"%d" % len(content))]
    if content:
        media_type = f"{answer.media_type}; charset=utf-8" if answer.text is not None else answer.media_type
        headers.append((b"content-type", media_type.encode()))
    elif answer.status == 204:
        headers = []
    for told in (answer.headers, exchange.budgets or {}):
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in told.items()]
    if exchange.replayed:
        headers.append((b"idempotency-replayed", b"true"))
    return Received(answer.status, headers, content)


async def _respond(send: Send, sent: Received, *, head: bool) -> None:
    await send({"type": "http.response.start", "status": sent.status, "headers": sent.headers})
    await send({"type": "http.response.body", "body": b"" if head else sent.content})


_encode = msgspec.json.Encoder().encode


def _routed(exchange: Exchange) -> tuple[Operation, OperationContract]:
    assert exchange.operation is not None
    assert exchange.contract is not None
    return exchange.operation, exchange.contract


def _url(scope: Scope, headers: Mapping[str, str]) -> str:
    path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
    return f"{scope['scheme']}://{headers.get('host', '')}{path}"


def _query(query_string: bytes) -> dict[str, str]:
    """The query's fields, of a repeated one the last; raises Problem UNREADABLE for one of absurd size."""
    if len(query_string) > _LONGEST_QUERY or query_string.count(b"&") >= _MOST_QUERY_FIELDS:
        raise Problem(Code.UNREADABLE)
    return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))


def _key(value: bytes) -> str:
    """A key as it would stand in a body, which is in UTF-8; other bytes are read as HTTP has it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _differing_keys(scope: Scope, body: Any, field: str | None) -> tuple[Violation, ...]:
    """A violation where one request carries several keys, in its headers or in its body as well."""
    keys = dict.fromkeys(_key(value) for name, value in scope["headers"] if name == _KEY_HEADER)
    if not keys:
        return ()
    own = body.get(field) if field is not None and isinstance(body, dict) else None
    # An empty key of the body counts as none; one that is no text is another violation.
    told = [*keys, own] if isinstance(own, str) and own and own not in keys else [*keys]
    if len(told) == 1:
        return ()
    return (
        Violation(
            location="header", path=("Idempotency-Key",), keyword="const", expected=told[0], received=told[-1]
        ),
    )


def _asked(exchange: Exchange, request: ValidRequest) -> list[Any]:
    """What the client said: who calls is no part of it, and no secret is kept, not even as a digest."""
    operation, contract = _routed(exchange)
    body = request.body
    if operation.body_credentials and isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in operation.body_credentials}
    path_values = {
        name: value for name, value in request.path_values.items() if name not in operation.path_credentials
    }
    return [contract.method, contract.path, path_values, body]


def _idempotency(asked: list[Any], request: ValidRequest, own_key: str | None) -> Idempotency | None:
    """The request's key, from its body or header, with its fingerprint."""
    key = own_key or request.headers.get("idempotency-key")
    return None if key is None else Idempotency(key, fingerprint(asked))


def _references(task: Task) -> tuple[CustomerReference, ...]:
    """By what an adjustment may enrol somebody."""
    match task:
        case Adjustment(customers=tuple() as customers):
            return customers
        case _:
            return ()


def _named(error: Exception) -> str:
    """The error's type, and its number's name where a store gives one; a message may quote what was sent."""
    name = getattr(error, "sqlite_errorname", None)
    return type(error).__name__ if name is None else f"{type(error).__name__} {name}"
