"""What a request asks of whom, read before the endpoint does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from loyalty_gateway.adjustment import Adjustment, CustomerReference
from loyalty_gateway.body import parse_json
from loyalty_gateway.customer import CustomerQuery, CustomerUpdate, Enrolment, HistoryQuery
from loyalty_gateway.problem import Problem
from loyalty_gateway.routing import MOUNTED_PATH, Paths
from loyalty_gateway.vendor import Operation, Request, Task, ValidRequest, Vendor


@dataclass(kw_only=True)
class ReceivedRequest:
    """A request as it arrived at a vendor.

    ``path`` is the raw one below the vendor's mount; ``body`` its JSON, ``None`` for one that is none;
    ``customers`` are those it names. ``status`` is what was answered, ``None`` where nothing was; ``fault``
    what was done wrong by order. Where a failed assertion
    shows it, it shows nothing in which a credential travels.
    """

    vendor: str
    operation: str | None
    method: str
    path: str = field(repr=False)
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    body: Any = field(repr=False)
    customers: tuple[CustomerReference, ...] = ()
    status: int | None = None
    fault: str | None = None


class Reading:
    """Reads the requests of one vendor as far as they can be read; none of them is refused here."""

    def __init__(self, vendor: Vendor, options: Any, paths: Paths) -> None:
        self.vendor = vendor
        self._options = options
        self._paths = paths
        self._operations = {operation.id: operation for operation in vendor.operations}

    def read(self, scope: Scope, content: bytes) -> tuple[ReceivedRequest, Request]:
        """The request for whoever tests, and as the vendor's own refusals are told of it."""
        path = scope[MOUNTED_PATH]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        operation, path_values = self._match(scope["method"], path)
        valid = ValidRequest(
            path_values=path_values, query=query, headers=headers, options=self._options, body=_json(content)
        )
        received = ReceivedRequest(
            vendor=self.vendor.name,
            operation=None if operation is None else operation.id,
            method=scope["method"],
            path=path,
            query=query,
            headers=headers,
            content=content,
            body=valid.body,
            customers=() if operation is None else _customers(operation, valid),
        )
        request = Request(
            vendor=self.vendor,
            operation=operation,
            method=received.method,
            path_values=path_values,
            query=query,
            headers=headers,
            options=self._options,
        )
        return received, request

    def _match(self, method: str, path: str) -> tuple[Operation | None, dict[str, str]]:
        try:
            match = self._paths.match(method, path)
        except Problem:
            return None, {}
        return self._operations[match.operation_id], match.path_values


def _json(content: bytes) -> Any:
    try:
        return parse_json(content) if content else None
    except Problem:
        return None


def _customers(operation: Operation, request: ValidRequest) -> tuple[CustomerReference, ...]:
    try:
        return _named(operation.parse_request(request))
    except Exception:  # noqa: BLE001 - it was not validated, so a translator may raise anything
        return ()


def _named(task: Task) -> tuple[CustomerReference, ...]:
    match task:
        case Adjustment(customers=tuple() as customers):
            return customers
        case CustomerQuery() | Enrolment():
            return task.references
        case CustomerUpdate():
            return (task.customer,)
        case HistoryQuery(customer=CustomerReference() as customer):
            return (customer,)
        case _:
            return ()
