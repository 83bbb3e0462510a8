"""Mage Loyalty: signed adjustments in JSON:API, floored at zero."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import assert_never

import msgspec

from loyalty_gateway.adjustment import (
    Adjustment,
    Lifetime,
    Overdraft,
    Receipt,
    whole_points,
)
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, CustomerUpdate, Enrolment, HistoryQuery
from loyalty_gateway.problem import Code, Problem, explain_all
from loyalty_gateway.vendor import (
    Answer,
    Behaviour,
    Budget,
    Evidence,
    Operation,
    RateLimit,
    Request,
    ValidRequest,
    Vendor,
)
from loyalty_gateway.vendors.mage import customers, history
from loyalty_gateway.vendors.mage.resource import addressed_as, attributes, customer_of

_RATE_LIMITS = (RateLimit(name="requests", requests=6, seconds=1, per="credential", sliding=True),)


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mage has no options."""


def parse_adjust(request: ValidRequest) -> Adjustment:
    """A flat body or a JSON:API one; the balance floors at zero (documented)."""
    body = attributes(request.body)
    points_delta = whole_points(body["adjustment"])
    return Adjustment(
        customers=(customer_of(request.path_values["identifier"]),),
        points_delta=points_delta,
        lifetime=Lifetime.NET_EARNED if body.get("update_lifetime_points", True) else Lifetime.BURN_ONLY,
        overdraft=Overdraft.FLOOR,
        reason=body.get("note"),
        notify=("email",) if points_delta > 0 and body.get("send_email", True) else (),
        named_by="shopify",
    )


def render_adjust(receipt: Receipt, _request: ValidRequest) -> Answer:
    """The balance before and after; ``adjustment`` is what was asked, also of a floored deduction."""
    (entry,), (customer,) = receipt.entries, receipt.customers
    identifier = addressed_as(customer)
    return Answer(
        200,
        {
            "data": {
                "type": "points_adjustment",
                "id": identifier,
                "attributes": {
                    "shopify_customer_id": identifier,
                    "adjustment": entry.points_asked,
                    "points_before": entry.points_before,
                    "points_after": entry.points_after,
                    "current_points": entry.points_after,
                    "note": entry.reason,
                },
            }
        },
    )


def render_problem(problem: Problem, request: Request) -> Answer:
    """A JSON:API error list of one, whose status is a string."""
    status, detail = _told(problem, request)
    error = {"status": str(status), "title": HTTPStatus(status).phrase, "detail": detail}
    headers = {"Allow": ", ".join(problem.allow)} if problem.code is Code.WRONG_METHOD else {}
    return Answer(status, {"errors": [error]}, headers)


def _told(problem: Problem, request: Request) -> tuple[int, str]:
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
            return 404, f"Customer '{request.path_values.get('identifier', '')}' not found"
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


def render_budgets(_budgets: tuple[Budget, ...], _refusal: Problem | None) -> Mapping[str, str]:
    """Mage documents no rate-limit headers."""
    return {}


VENDOR = Vendor(
    name="mage",
    title="Mage Loyalty",
    hosts=("api.mageloyalty.com",),
    operations=(
        Operation(
            id="adjustPoints",
            parse_request=parse_adjust,
            render_response=render_adjust,
            scopes=("write",),
            rate_limits=_RATE_LIMITS,
            ignored={
                "send_email": "the gateway sends no mail; the wish is kept with the entry (notify)",
            },
        ),
        Operation(
            id="getCustomer",
            asks=CustomerQuery,
            parse_request=customers.parse_get,
            render_response=customers.render_get,
            scopes=("read",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="listCustomers",
            asks=CustomersQuery,
            parse_request=customers.parse_list,
            render_response=customers.render_list,
            scopes=("read",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="enrollCustomer",
            asks=Enrolment,
            parse_request=customers.parse_enroll,
            render_response=customers.render_enroll,
            scopes=("write",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="updateCustomer",
            asks=CustomerUpdate,
            parse_request=customers.parse_update,
            render_response=customers.render_update,
            scopes=("write",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="listEarningHistory",
            asks=HistoryQuery,
            parse_request=history.parse_list,
            render_response=history.render_list,
            scopes=("read",),
            rate_limits=_RATE_LIMITS,
        ),
    ),
    render_problem=render_problem,
    render_budgets=render_budgets,
    credential_forms=(("api_key",),),
    credential_fields={"ApiKey": "api_key"},
    scopes=("read", "write"),
    options=Options,
    behaviours=(
        Behaviour(
            "The key stands in Authorization without a word before it.",
            Evidence.DOCUMENTED,
            "authentication page",
        ),
        Behaviour("A word Bearer before the key is tolerated.", Evidence.INFERRED, "habit of clients"),
        Behaviour("Refusals are JSON:API; status is a string.", Evidence.DOCUMENTED, "error page"),
        Behaviour("A read-only key is refused with 403.", Evidence.DOCUMENTED, "error page"),
        Behaviour("A deduction beyond the balance floors at 0.", Evidence.DOCUMENTED, "adjust points page"),
        Behaviour(
            "update_lifetime_points and send_email default to true; mail goes out on increases only.",
            Evidence.DOCUMENTED,
            "adjust points page",
        ),
        Behaviour("The VIP tier is recalculated.", Evidence.DOCUMENTED, "adjust points page"),
        Behaviour(
            "400 for an adjustment that is missing, zero or no integer.",
            Evidence.DOCUMENTED,
            "adjust points page; texts are ours",
        ),
        Behaviour("An excluded customer is refused with 403.", Evidence.DOCUMENTED, "adjust points page"),
        Behaviour("6 requests a second for each key, sliding.", Evidence.DOCUMENTED, "rate limit page"),
        Behaviour(
            "The customer is named by Shopify id or by email.",
            Evidence.INFERRED,
            "documented on the sibling pages",
        ),
        Behaviour(
            "The answer's id is the Shopify id, also for a customer named by email.",
            Evidence.INFERRED,
            "fields of the answer",
        ),
        Behaviour(
            "A flat body and a JSON:API one are taken.",
            Evidence.INFERRED,
            "documented for updating a customer",
        ),
        Behaviour(
            "adjustment echoes what was asked, also of a floored deduction.",
            Evidence.INFERRED,
            "name of the field",
        ),
        Behaviour("An omitted note is null.", Evidence.INFERRED, "the answer's example has the field"),
        Behaviour(
            "A deduction lowers lifetime points too, never below 0.",
            Evidence.INFERRED,
            "meaning of update_lifetime_points",
        ),
        Behaviour("A body with data and flat fields beside it is refused with 400.", Evidence.OUR_DEFAULT, "-"),
        Behaviour("An identifier of white space is refused with 400.", Evidence.OUR_DEFAULT, "-"),
        Behaviour("A customer without a Shopify id is named as addressed.", Evidence.OUR_DEFAULT, "-"),
        *customers.BEHAVIOURS,
        *history.BEHAVIOURS,
    ),
)
