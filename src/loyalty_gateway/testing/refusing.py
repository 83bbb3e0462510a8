"""How a vendor refuses by order: which of its refusals is meant, and what stands in it."""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.authentication import needed_scopes
from loyalty_gateway.customer import CustomerUpdate, Enrolment
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.spec import Contract
from loyalty_gateway.testing.faults import Fault
from loyalty_gateway.testing.received import ReceivedRequest
from loyalty_gateway.vendor import Answer, Budget, Request, Vendor

_UNAVAILABLE: Final = 503
_PAGE: Final = "<html><head><title>{status}</title></head><body>{status}</body></html>"


class Refusing:
    """Refuses requests of one vendor."""

    def __init__(self, vendor: Vendor, contract: Contract) -> None:
        self._vendor = vendor
        self._contract = contract

    def answer(self, fault: Fault, request: Request, received: ReceivedRequest, now: float) -> Answer:
        """The refusal that was ordered, as the vendor tells it at ``now`` in epoch seconds."""
        if fault.does == "rate_limit":
            return self._told(Code.RATE_LIMITED, fault, request, received, now)
        if fault.code is not None:
            return self._told(fault.code, fault, request, received, now)
        status = _UNAVAILABLE if fault.status is None else fault.status
        for code in self._likeliest(request, received):
            answer = self._told(code, fault, request, received, now)
            if answer.status == status:
                return answer
        # As something that stands before a vendor tells what the vendor itself never does.
        return Answer(status, text=_PAGE.format(status=status), media_type="text/html")

    def _likeliest(self, request: Request, received: ReceivedRequest) -> Iterator[Code]:
        """Every code; those first that a status means most often, where such a request can be refused so."""
        asked = None if request.operation is None else request.operation.asks
        yield Code.INVALID_CREDENTIALS
        yield Code.INVALID
        if self._scope(request):
            yield Code.INSUFFICIENT_SCOPE
        if received.customers:
            yield Code.UNKNOWN_CUSTOMER
        if asked is Adjustment:
            yield Code.CUSTOMER_EXCLUDED
        if asked in {Enrolment, CustomerUpdate}:
            yield Code.CUSTOMER_CONFLICT
        yield from Code

    def _told(self, code: Code, fault: Fault, request: Request, received: ReceivedRequest, now: float) -> Answer:
        problem = Problem(
            code,
            violations=(_violation(request, received),),
            scope=self._scope(request),
            retry_after=max(1, math.ceil(fault.lasts)),
        )
        answer = self._vendor.render_problem(problem, request)
        limits = () if request.operation is None else request.operation.rate_limits
        if code is not Code.RATE_LIMITED or not limits:
            return answer
        budgets = tuple(
            Budget(limit=limit, remaining=0, resets_at=now + problem.retry_after, now=now) for limit in limits
        )
        headers = {**answer.headers, **self._vendor.render_budgets(budgets, problem)}
        return msgspec.structs.replace(answer, headers=headers)

    def _scope(self, request: Request) -> str:
        """The first scope that the operation needs; the empty string where it needs none."""
        if request.operation is None:
            return ""
        return next(iter(needed_scopes(request.operation, self._contract.operations[request.operation.id])), "")


def _violation(request: Request, received: ReceivedRequest) -> Violation:
    """One of the first field that was sent, so that there is one to tell of."""
    for location, sent in (("body", received.body), ("query", request.query), ("path", request.path_values)):
        if isinstance(sent, Mapping) and sent:
            return Violation(location=location, path=(next(iter(sent)),), keyword="type")
    return Violation(location="body", path=(), keyword="type")
