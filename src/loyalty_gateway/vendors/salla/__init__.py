"""Salla: lists of customers or everyone, a reset in three spellings, Arabic unless English is asked for."""

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Everyone,
    Lifetime,
    Receipt,
    whole_points,
)
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, HistoryQuery
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.vendor import (
    Answer,
    Budget,
    Operation,
    RateLimit,
    Request,
    ValidRequest,
    Vendor,
    seconds_in,
)
from loyalty_gateway.vendors.salla import client, customers, history
from loyalty_gateway.vendors.salla.behaviours import BEHAVIOURS
from loyalty_gateway.vendors.salla.language import in_language as _in_language

_SIGN = {"plus": 1, "minus": -1}
_RESET = ("reset_points", "reset_point", "rest_point")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Salla has no options."""


def parse_adjust(request: ValidRequest) -> Adjustment:
    """One adjustment for all customers listed, or for everyone; a reset needs no points and moves no counter."""
    body = request.body
    resets = any(body.get(spelling) is True for spelling in _RESET)
    return Adjustment(
        customers=Everyone.EVERYONE if body.get("select_all") is True else _customers(body["customers"]),
        points_delta=None if resets else _SIGN[body["type"]] * whole_points(body["points"]),
        lifetime=Lifetime.UNTOUCHED if resets else Lifetime.EARN_AND_BURN,
        reason=body["reason"],
        notify=tuple(body["channel_send"]),
    )


def _customers(ids: list[int | float | str]) -> tuple[CustomerReference, ...]:
    """The customers by their number, written as a number or as a string of digits."""
    return tuple(customers.customer_numbered(int(number)) for number in ids)


def render_adjust(_receipt: Receipt, request: ValidRequest) -> Answer:
    """201 with a message; Salla tells neither balances nor how many were adjusted."""
    message = _in_language(
        request.headers, "تم تحديث نقاط الولاء للعملاء بنجاح", "Loyalty points updated successfully"
    )
    return Answer(201, {"status": 201, "success": True, "data": {"code": 201, "message": message}})


def render_problem(problem: Problem, request: Request) -> Answer:
    """The envelope with status, success and error; what is wrong with a field is told below that field."""
    status, error = _told_by_reads(problem, request) or _told(problem, request.headers)
    headers = {"Allow": ", ".join(problem.allow)} if problem.code is Code.WRONG_METHOD else {}
    return Answer(status, {"status": status, "success": False, "error": error}, headers)


def _told_by_reads(problem: Problem, request: Request) -> tuple[int, dict[str, Any]] | None:
    """An unknown customer where a request asks for one, whose own field says so; ``None`` for all else."""
    asked = None if request.operation is None else request.operation.asks
    if problem.code is not Code.UNKNOWN_CUSTOMER:
        return None
    if asked is HistoryQuery:
        return 422, _fields({"customer_id": [_invalid("customer_id", request.headers)]})
    if asked is CustomerQuery:
        arabic = "المحتوى الذي تحاول الوصول اليه غير متوفر"
        english = "The content you are trying to access is no longer available"
        return 404, {"code": 404, "message": _in_language(request.headers, arabic, english)}
    return None


def _told(problem: Problem, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    def told(code: str, arabic: str, english: str) -> dict[str, Any]:
        return {"code": code, "message": _in_language(headers, arabic, english)}

    def invalid(*fields: str) -> dict[str, Any]:
        return _fields({field: [_invalid(field, headers)] for field in fields})

    match problem.code:
        case Code.UNKNOWN_PATH:
            return 404, told("error", "المحتوى الذي تحاول الوصول اليه غير متوفر", "The content is not available")
        case Code.WRONG_METHOD:
            return 405, told("error", "طريقة الطلب غير مدعومة", "The method is not supported")
        case Code.MISSING_CREDENTIALS:
            return 401, {"code": "Invalid-token", "message": "please provide a valid API Key"}
        case Code.INVALID_CREDENTIALS:
            return 401, {"code": "Unauthorized", "message": "The access token is invalid"}
        case Code.ADDRESS_NOT_ALLOWED:
            return 403, told("error", "ليس لديك صلاحية", "You have no permission")
        case Code.RATE_LIMITED:
            return 429, told("too_many_requests", "عدد الطلبات كبير جدا", "Too many requests")
        case Code.INSUFFICIENT_SCOPE:
            message = f"The access token should have access to one of those scopes: {problem.scope}"
            return 401, {"code": "Unauthorized", "message": message}
        case Code.BODY_TOO_LARGE:
            return 413, told("error", "حجم الطلب كبير جدا", "The request is too large")
        case Code.UNSUPPORTED_MEDIA_TYPE:
            return 415, told("error", "نوع المحتوى غير مدعوم", "The media type is not supported")
        case Code.UNREADABLE:
            return 422, invalid("body")
        case Code.INVALID:
            return 422, _fields(_messages(problem.violations, headers))
        case Code.AMOUNT_OUT_OF_RANGE | Code.BALANCE_OVERFLOW:
            return 422, invalid("points")
        case Code.KEY_IN_FLIGHT:
            return 409, told("error", "الطلب قيد التنفيذ", "The request is being carried out")
        case Code.KEY_REUSED:
            return 422, invalid("Idempotency-Key")
        case Code.UNKNOWN_CUSTOMER | Code.CUSTOMER_EXCLUDED | Code.CUSTOMER_CONFLICT:
            return 422, invalid("customers")
        case Code.TOO_FEW_POINTS:
            message = _in_language(
                headers, "حدث خطأ أثناء تحديث نقاط الولاء للعملاء", "The loyalty points could not be updated"
            )
            return 400, {"message": message}
        case Code.RECORD_BUSY | Code.UNAVAILABLE:
            return 503, told("error", "الخدمة غير متوفرة حاليا", "The service is unavailable")
        case Code.UNFORESEEN:
            return 500, told("error", "حدث خطأ غير متوقع", "An unexpected error occurred")
        case never:
            assert_never(never)


def _messages(violations: tuple[Violation, ...], headers: Mapping[str, str]) -> dict[str, list[str]]:
    messages: dict[str, list[str]] = {}
    for violation in violations:
        # An element of a list is told below the list, as in the documented example.
        field = str(violation.path[0]) if violation.path else "body"
        message = _missing(field, headers) if violation.keyword == "required" else _invalid(field, headers)
        told = messages.setdefault(field, [])
        if message not in told:
            told.append(message)
    return messages


def _fields(messages: dict[str, list[str]]) -> dict[str, Any]:
    return {"code": "error", "message": "alert.invalid_fields", "fields": messages}


def _missing(field: str, headers: Mapping[str, str]) -> str:
    name = field.replace("_", " ")
    return _in_language(headers, f"حقل {name} مطلوب.", f"The {name} field is required.")


def _invalid(field: str, headers: Mapping[str, str]) -> str:
    name = field.replace("_", " ")
    return _in_language(headers, f"حقل {name} غير صالح", f"The {name} field is invalid")


def render_budgets(budgets: tuple[Budget, ...], refusal: Problem | None) -> Mapping[str, str]:
    """The limit with the least left, on every answer; when to come back, once it is exceeded.

    Of limits with as little left the one that lasts longest is told, which is the one that a refusal waits for.
    """
    tightest = min(budgets, key=lambda budget: (budget.remaining, -budget.resets_at))
    headers = {
        "X-RateLimit-Limit": str(tightest.limit.requests),
        "X-RateLimit-Remaining": str(tightest.remaining),
    }
    if refusal is None:
        return headers
    return headers | {
        "X-RateLimit-Reset": str(round(tightest.resets_at)),
        "Retry-After": str(refusal.retry_after),
    }


def parse_retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """X-RateLimit-Reset has epoch seconds; Retry-After, which comes with it, is the better one."""
    resets_at = seconds_in(headers, "x-ratelimit-reset")
    return None if resets_at is None else resets_at - now


_PLAN = RateLimit(name="plan", requests=720, seconds=60, per="merchant")
_CUSTOMERS = RateLimit(name="customers", requests=500, seconds=600, per="merchant")

VENDOR = Vendor(
    name="salla",
    title="Salla",
    hosts=("api.salla.dev",),
    operations=(
        Operation(
            id="updateCustomerLoyaltyPoints",
            parse_request=parse_adjust,
            render_response=render_adjust,
            render_request=client.render_adjust,
            parse_response=client.parse_adjust,
            scopes=("customers.read_write",),
            rate_limits=(_PLAN, _CUSTOMERS),
            ignored={
                "points": "a reset sets 0 whatever points says; otherwise they are honoured",
                "type": "a reset sets 0 whatever type says; otherwise it is honoured",
                "channel_send": "the gateway sends no messages; the channels are kept with the entry (notify)",
            },
        ),
        Operation(
            id="Customer-Loyalty-Points",
            asks=HistoryQuery,
            parse_request=history.parse_history,
            render_response=history.render_history,
            render_request=client.render_history,
            parse_response=client.parse_history,
            next_request=client.next_page,
            scopes=("customers.read",),
            rate_limits=(_PLAN, _CUSTOMERS),
        ),
        Operation(
            id="List-Customers",
            asks=CustomersQuery,
            parse_request=customers.parse_list,
            render_response=customers.render_list,
            render_request=client.render_list,
            parse_response=client.parse_list,
            next_request=client.next_page,
            scopes=("customers.read",),
            rate_limits=(_PLAN, _CUSTOMERS),
            ignored={"fields[]": customers.EXTRA_FIELDS_IGNORED},
        ),
        Operation(
            id="Customer-Details",
            asks=CustomerQuery,
            parse_request=customers.parse_details,
            render_response=customers.render_details,
            render_request=client.render_details,
            parse_response=client.parse_details,
            scopes=("customers.read",),
            rate_limits=(_PLAN, _CUSTOMERS),
            ignored={"fields[]": customers.EXTRA_FIELDS_IGNORED},
        ),
    ),
    render_problem=render_problem,
    parse_problem=client.parse_problem,
    namespaces=client.namespaces,
    history_shows=client.history_shows,
    render_budgets=render_budgets,
    parse_retry_after=parse_retry_after,
    credential_forms=(("bearer",),),
    credential_fields={"bearer": "bearer"},
    scopes=("customers.read", "customers.read_write"),
    options=Options,
    behaviours=BEHAVIOURS,
)
