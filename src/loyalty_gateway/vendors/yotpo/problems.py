"""Yotpo's refusals, as they are written and read: two shapes of JSON, and a page for an unknown path."""

from typing import assert_never

from loyalty_gateway.problem import Code, Problem, explain_all
from loyalty_gateway.vendor import Answer, Operation, Request

_NOBODY = "Customer does not exist"
_NOT_FOUND_PAGE = (
    "<!DOCTYPE html>\n<html>\n<head><title>Page not found (404)</title></head>\n"
    "<body><h1>The page you were looking for does not exist.</h1></body>\n</html>\n"
)


def render_problem(problem: Problem, request: Request) -> Answer:
    """``{"error": text}``; an unknown path is an HTML page, also for a method that the path does not know."""
    if problem.code in _PAGES:
        return Answer(404, text=_NOT_FOUND_PAGE, media_type="text/html")
    if problem.code is Code.UNKNOWN_CUSTOMER and _looks_up_store_customer(request):
        if request.options.missing_store_customer == 404:
            return Answer(404, {"errors": [{"message": {"customer": "Could not find customer"}}]})
        return Answer(400, {"error": _NOBODY})
    status, message = _told(problem)
    return Answer(status, {"error": message})


def _looks_up_store_customer(request: Request) -> bool:
    return request.operation is not None and request.operation.id == "retrieveStoreCustomerDetails"


def _told(problem: Problem) -> tuple[int, str]:
    match problem.code:
        case Code.UNKNOWN_PATH | Code.WRONG_METHOD:
            return 404, "Not found"
        case Code.MISSING_CREDENTIALS:
            return 401, "Credentials are missing"
        case Code.INVALID_CREDENTIALS:
            return 401, "Credentials are not valid"
        case Code.ADDRESS_NOT_ALLOWED:
            return 403, "This IP address is not allowed"
        case Code.RATE_LIMITED:
            return 429, "Too many requests"
        case Code.INSUFFICIENT_SCOPE:
            return 403, "These credentials may only read"
        case Code.BODY_TOO_LARGE:
            return 413, "Request body is too large"
        case Code.UNSUPPORTED_MEDIA_TYPE:
            return 415, "Request body must be application/json"
        case Code.UNREADABLE:
            return 422, "Request cannot be read as JSON"
        case Code.INVALID:
            return 422, explain_all(problem.violations)
        case Code.AMOUNT_OUT_OF_RANGE | Code.BALANCE_OVERFLOW:
            return 422, "point_adjustment_amount is too large"
        case Code.KEY_IN_FLIGHT:
            return 409, "A request with this idempotency key is being carried out"
        case Code.KEY_REUSED:
            return 422, "The idempotency key was used with another request"
        case Code.UNKNOWN_CUSTOMER:
            return 404, _NOBODY
        case Code.CUSTOMER_CONFLICT:
            return 422, "Customer details belong to another customer"
        case Code.CUSTOMER_EXCLUDED:
            return 422, "Customer is excluded from the loyalty programme"
        case Code.TOO_FEW_POINTS:
            return 422, "Customer does not have enough points"
        case Code.RECORD_BUSY:
            return 423, "Customer record is busy, please retry"
        case Code.UNAVAILABLE:
            return 503, "Service unavailable, please retry later"
        case Code.UNFORESEEN:
            return 500, "Internal server error"
        case never:
            assert_never(never)


def parse_problem(answer: Answer, _operation: Operation) -> Code | None:
    """By the text where it is known, otherwise by the status; the look-up of nobody has two shapes of its own."""
    match answer.body:
        case {"error": str(message)}:
            return _BY_TEXT.get((answer.status, message)) or _BY_STATUS.get(answer.status)
        case {"errors": [{"message": _}, *_]}:
            return _BY_STATUS.get(answer.status)
        case _:
            is_page = answer.status == 404 and answer.media_type.lower().startswith("text/html")
            return Code.UNKNOWN_PATH if is_page else None


_PAGES = {Code.UNKNOWN_PATH, Code.WRONG_METHOD}
# No amount that the spec admits is out of range by itself: of the codes that are told alike the last is meant.
_BY_TEXT = {_told(Problem(code)): code for code in Code if code not in _PAGES | {Code.INVALID}} | {
    (400, _NOBODY): Code.UNKNOWN_CUSTOMER
}
_BY_STATUS = {
    400: Code.INVALID,
    401: Code.INVALID_CREDENTIALS,
    403: Code.INSUFFICIENT_SCOPE,
    # Paths that nobody knows are told by a page.
    404: Code.UNKNOWN_CUSTOMER,
    409: Code.KEY_IN_FLIGHT,
    413: Code.BODY_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    422: Code.INVALID,
    423: Code.RECORD_BUSY,
    429: Code.RATE_LIMITED,
    500: Code.UNFORESEEN,
    503: Code.UNAVAILABLE,
}
