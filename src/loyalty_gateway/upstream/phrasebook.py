"""A vendor's operations as words for tasks: which of them can say one, and what it is understood as."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.customer import Query
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import OperationContract
from loyalty_gateway.upstream.marks import marked
from loyalty_gateway.vendor import Operation, Request, Task, ValidRequest, Vendor


class Said(NamedTuple):
    """A task as one of the vendor's operations says it, and what comes of saying it so."""

    operation: Operation
    request: ValidRequest
    meant: Task


class Phrasebook:
    """The operations of one vendor; ``options`` are the vendor's own, as the merchant there has them."""

    def __init__(
        self,
        vendor: Vendor,
        operations: Sequence[Operation],
        contract: Callable[[Operation], OperationContract],
        options: msgspec.Struct,
    ) -> None:
        self.vendor = vendor
        self.namespaces = vendor.namespaces(options)
        self.contract = contract
        self._operations = operations
        self._options = options

    def say(self, task: Task) -> Said | None:
        """The task as the first operation says it that can; ``None`` where none can.

        Raises:
            Problem: AMOUNT_OUT_OF_RANGE where the vendor's spec forbids what would be sent.
        """
        for operation in self._operations:
            request = operation.said(task, self._options)
            if request is not None:
                self._check(operation, request)
                return Said(operation, request, operation.parse_request(request))
        return None

    def ways(self, query: Query) -> list[Said]:
        """Every operation's way of asking for it."""
        ways = []
        for operation in self._operations:
            request = operation.said(query, self._options)
            if request is not None:
                ways.append(Said(operation, request, query))
        return ways

    def known_again(self, said: Said, asked: Adjustment, mark: str, *, marks: bool) -> Said:
        """The same request with what it is known by there: the vendor's own key, or a mark in the reason."""
        if said.operation.idempotency_field is not None:
            key = asked.idempotency_key or mark
            return self.say(msgspec.structs.replace(asked, idempotency_key=key)) or said
        if not marks or not self.vendor.history_shows(asked):
            return said
        reason = marked(asked.reason, mark)
        try:
            return self.say(msgspec.structs.replace(asked, idempotency_key=None, reason=reason)) or said
        except Problem:
            # A reason may be as long as the vendor takes; it is not cut for the mark's sake.
            return said

    def _check(self, operation: Operation, request: ValidRequest) -> None:
        contract = self.contract(operation)
        raw_body = b"" if request.body is None else msgspec.json.encode(request.body)
        media_type = contract.media_types[0] if raw_body else ""
        if contract.violations(self.as_received(operation, request), media_type, raw_body, request.body):
            raise Problem(Code.AMOUNT_OUT_OF_RANGE)

    def as_received(self, operation: Operation, request: ValidRequest) -> Request:
        """The request as the vendor's server gets it."""
        return as_received(self.vendor, operation, self.contract(operation), request)


def as_received(
    vendor: Vendor, operation: Operation, contract: OperationContract, request: ValidRequest
) -> Request:
    """The request as a server gets it; what credentials stand in its path is of no account."""
    placeholders = dict.fromkeys(operation.path_credentials, "x")
    return Request(
        vendor=vendor,
        operation=operation,
        method=contract.method,
        path_values={**placeholders, **request.path_values},
        query=request.query,
        headers=request.headers,
        options=request.options,
    )
