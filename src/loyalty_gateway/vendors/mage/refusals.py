"""What Mage says when it refuses, and what kind of refusal that is."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import assert_never

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.problem import Code, Problem, explain_all
from loyalty_gateway.vendor import Answer, Operation, Request


def render_problem(problem: Problem, request: Request) -> Answer:
    """A JSON:API error list of one, whose status is a string."""
    status, detail = _said(problem, request.path_values)
    error = {"status": str(status), "title": HTTPStatus(status).phrase, "detail": detail}
    headers = {"Allow": ", ".join(problem.allow)} if problem.code is Code.WRONG_METHOD else {}
    return Answer(status, {"errors": [error]}, headers)


def parse_problem(answer: Answer, operation: Operation) -> Code | None:
    """By the status and the detail of the first error; of an unknown detail the status tells the likeliest."""
    match answer.body:
        case {"errors": [{**error}, *_]}:
            said = answer.status, str(error.get("detail"))
            return _BY_DETAIL.get(said) or _by_status(answer.status, operation)
        case _:
            return None


def _said(problem: Problem, path_values: Mapping[str, str]) -> tuple[int, str]:
    match problem.code:
        case Code.UNKNOWN_PATH:
            return 404, "Resource not found"
        case Code.WRONG_METHOD:
            return 405, "Method not allowed"
        case Code.MISSING_CREDENTIALS:
            return 401, "Missing Authorization header"
        case Code.INVALID_CREDENTIALS:
            return 401, "Invalid API key"
        case Code.ADDRESS_NOT_ALLOWED:
            return 403, "This IP address may not use the API key"
        case Code.RATE_LIMITED:
            return 429, "Rate limit exceeded. Please retry after a short delay."
        case Code.INSUFFICIENT_SCOPE:
            if problem.scope == "read":
                return 403, "This API key cannot perform read operations"
            return 403, "This API key is read-only and cannot perform write operations"
        case Code.BODY_TOO_LARGE:
            return 413, "The request body is too large"
        case Code.UNSUPPORTED_MEDIA_TYPE:
            return 415, "The request body must be application/json"
        case Code.UNREADABLE:
            return 400, "The request cannot be read as JSON"
        case Code.INVALID:
            return 400, explain_all(problem.violations)
        case Code.AMOUNT_OUT_OF_RANGE | Code.BALANCE_OVERFLOW:
            return 400, "adjustment is too large"
        case Code.KEY_IN_FLIGHT:
            return 409, "A request with this idempotency key is being carried out"
        case Code.KEY_REUSED:
            return 422, "The idempotency key was used with another request"
        case Code.UNKNOWN_CUSTOMER:
            return 404, f"Customer '{path_values.get('identifier', '')}' not found"
        case Code.CUSTOMER_CONFLICT:
            return 409, "The customer exists already"
        case Code.CUSTOMER_EXCLUDED:
            return 403, "Customer is excluded from the loyalty programme"
        case Code.TOO_FEW_POINTS:
            return 400, "The customer has too few points"
        case Code.RECORD_BUSY | Code.UNAVAILABLE:
            return 503, "Service temporarily unavailable. Please retry later."
        case Code.UNFORESEEN:
            return 500, "An unexpected error occurred"
        case never:
            assert_never(never)


# Of codes that are said alike the later counts: an amount that was sent is in range, so the balance was too large.
_BY_DETAIL: Mapping[tuple[int, str], Code] = {
    _said(Problem(code, scope=scope), {}): code
    for code in Code
    for scope in ("read", "write")
    # Of these the detail depends on the request.
    if code not in {Code.INVALID, Code.UNKNOWN_CUSTOMER}
}
_BY_STATUS: Mapping[int, Code] = {
    400: Code.INVALID,
    401: Code.INVALID_CREDENTIALS,
    404: Code.UNKNOWN_CUSTOMER,
    405: Code.WRONG_METHOD,
    413: Code.BODY_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    422: Code.INVALID,
    429: Code.RATE_LIMITED,
    500: Code.UNFORESEEN,
    503: Code.UNAVAILABLE,
}


def _by_status(status: int, operation: Operation) -> Code | None:
    adjusts = operation.asks is Adjustment
    match status:
        case 403:
            # The detail for a read-only key is documented, the one for an excluded customer is not.
            return Code.CUSTOMER_EXCLUDED if adjusts else Code.INSUFFICIENT_SCOPE
        case 409:
            return Code.KEY_IN_FLIGHT if adjusts else Code.CUSTOMER_CONFLICT
        case _:
            return _BY_STATUS.get(status)
