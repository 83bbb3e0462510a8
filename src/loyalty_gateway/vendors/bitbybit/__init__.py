"""bitbybit: points as strings, a magnitude with a direction, and the wallet in the answer."""

from collections.abc import Mapping
from typing import assert_never

import msgspec

from loyalty_gateway.adjustment import Adjustment, Lifetime, Receipt, customer_reference, whole_points
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, Enrolment, HistoryQuery
from loyalty_gateway.problem import Code, Problem, explain_all
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
from loyalty_gateway.vendors.bitbybit import client, customers, history
from loyalty_gateway.vendors.bitbybit.behaviours import BEHAVIOURS
from loyalty_gateway.vendors.bitbybit.wallet import entry_of, key_of, wallet_of

_SIGN = {"add": 1, "deduct": -1}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """bitbybit has no options."""


def parse_adjust(request: ValidRequest) -> Adjustment:
    """See the published operation; deducting below zero is refused (our default)."""
    body = request.body
    return Adjustment(
        customers=(customer_reference("bitbybit", request.path_values["customerId"]),),
        points_delta=_SIGN[body["direction"]] * whole_points(body["points"]),
        lifetime=Lifetime.EARN_AND_BURN,
        reason=body["reason"],
        metadata=body.get("metadata"),
        # An empty key names no request; taking it for a key would make every other one a replay.
        idempotency_key=body.get("idempotencyKey") or None,
    )


def render_adjust(receipt: Receipt, request: ValidRequest) -> Answer:
    """The wallet and its new entry; counters are strings, ids of the company and the creator are numbers."""
    (entry,), (wallet,) = receipt.entries, receipt.wallets
    customer_id = request.path_values["customerId"]
    return Answer(
        200,
        {
            "data": {
                "wallet": wallet_of(wallet, customer_id),
                "ledger": entry_of(entry, receipt.merchant_id, customer_id),
                "idempotencyKey": key_of(entry),
            }
        },
    )


def render_problem(problem: Problem, _request: Request) -> Answer:
    """``{"error": {"code", "message"}}``, as the vendor's error page has it."""
    status, code, message = _told(problem)
    headers = {"Allow": ", ".join(problem.allow)} if problem.code is Code.WRONG_METHOD else {}
    return Answer(status, {"error": {"code": code, "message": message}}, headers)


def _told(problem: Problem) -> tuple[int, str, str]:
    match problem.code:
        case Code.UNKNOWN_PATH:
            return 404, "NOT_FOUND", "Not found"
        case Code.WRONG_METHOD:
            return 405, "METHOD_NOT_ALLOWED", "Method not allowed"
        case Code.MISSING_CREDENTIALS:
            return 401, "MISSING_API_KEY", "API key is required"
        case Code.INVALID_CREDENTIALS:
            return 401, "INVALID_API_KEY", "API key is not valid"
        case Code.ADDRESS_NOT_ALLOWED:
            return 403, "IP_NOT_ALLOWED", "This IP address may not use the API key"
        case Code.RATE_LIMITED:
            return 429, "RATE_LIMIT_EXCEEDED", "Too many requests. Please retry after the reset period."
        case Code.INSUFFICIENT_SCOPE:
            return 403, "INSUFFICIENT_SCOPE", f"The API key lacks the scope {problem.scope}"
        case Code.BODY_TOO_LARGE:
            return 413, "PAYLOAD_TOO_LARGE", "The request body is too large"
        case Code.UNSUPPORTED_MEDIA_TYPE:
            return 415, "UNSUPPORTED_MEDIA_TYPE", "The request body must be application/json"
        case Code.UNREADABLE:
            return 400, "VALIDATION_ERROR", "The request cannot be read as JSON"
        case Code.INVALID:
            return 400, "VALIDATION_ERROR", explain_all(problem.violations)
        case Code.AMOUNT_OUT_OF_RANGE | Code.BALANCE_OVERFLOW:
            return 400, "VALIDATION_ERROR", "points is too large"
        case Code.KEY_IN_FLIGHT:
            return 409, "CONFLICT", "A request with this idempotency key is being carried out"
        case Code.KEY_REUSED:
            return 400, "VALIDATION_ERROR", "idempotencyKey was used with another request"
        case Code.UNKNOWN_CUSTOMER:
            return 404, "NOT_FOUND", "Customer not found"
        case Code.CUSTOMER_CONFLICT:
            return 409, "CONFLICT", "A customer with this email or phone number exists already"
        case Code.CUSTOMER_EXCLUDED:
            return 403, "CUSTOMER_EXCLUDED", "The customer is excluded from the loyalty programme"
        case Code.TOO_FEW_POINTS:
            return 400, "VALIDATION_ERROR", "Insufficient points"
        case Code.RECORD_BUSY | Code.UNAVAILABLE:
            return 503, "SERVICE_UNAVAILABLE", "Service unavailable. Please retry later."
        case Code.UNFORESEEN:
            return 500, "INTERNAL_ERROR", "Internal server error"
        case never:
            assert_never(never)


def render_budgets(budgets: tuple[Budget, ...], _refusal: Problem | None) -> Mapping[str, str]:
    """The three headers that stand on every answer."""
    (budget,) = budgets
    return {
        "RateLimit-Limit": str(budget.limit.requests),
        "RateLimit-Remaining": str(budget.remaining),
        "RateLimit-Reset": str(budget.resets_in),
    }


def parse_retry_after(headers: Mapping[str, str], _now: float) -> float | None:
    """RateLimit-Reset has seconds."""
    return seconds_in(headers, "ratelimit-reset")


_PER_KEY = RateLimit(name="requests", requests=100, seconds=60, per="credential")

VENDOR = Vendor(
    name="bitbybit",
    title="bitbybit",
    hosts=("api.bitbybit.studio",),
    operations=(
        Operation(
            id="adjustCustomerPoints",
            parse_request=parse_adjust,
            render_response=render_adjust,
            render_request=client.render_adjust,
            parse_response=client.parse_adjust,
            scopes=("customers.write",),
            rate_limits=(_PER_KEY,),
            idempotency_field="idempotencyKey",
        ),
        Operation(
            id="getLoyaltyWallet",
            asks=CustomerQuery,
            parse_request=history.parse_wallet,
            render_response=history.render_wallet,
            render_request=client.render_wallet,
            parse_response=client.parse_wallet,
            scopes=("customers.read",),
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="getLoyaltyPointHistory",
            asks=HistoryQuery,
            parse_request=history.parse_history,
            render_response=history.render_history,
            render_request=client.render_history,
            parse_response=client.parse_history,
            next_request=client.next_history,
            scopes=("customers.read",),
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="createCustomer",
            asks=Enrolment,
            parse_request=customers.parse_create,
            render_response=customers.render_create,
            render_request=client.render_create,
            parse_response=client.parse_create,
            scopes=("customers.write",),
            ignored=customers.IGNORED,
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="getCustomer",
            asks=CustomerQuery,
            parse_request=customers.parse_get,
            render_response=customers.render_get,
            render_request=client.render_get,
            parse_response=client.parse_get,
            scopes=("customers.read",),
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="listCustomers",
            asks=CustomersQuery,
            parse_request=customers.parse_list,
            render_response=customers.render_list,
            render_request=client.render_list,
            parse_response=client.parse_list,
            next_request=client.next_list,
            scopes=("customers.read",),
            rate_limits=(_PER_KEY,),
        ),
    ),
    render_problem=render_problem,
    parse_problem=client.parse_problem,
    namespaces=client.namespaces,
    history_shows=client.history_shows,
    render_budgets=render_budgets,
    parse_retry_after=parse_retry_after,
    credential_forms=(("api_key",),),
    credential_fields={"ApiKeyAuth": "api_key", "BitbybitKeyAuth": "api_key"},
    scopes=("customers.read", "customers.write"),
    options=Options,
    # The vendor's prose and its OpenAPI documents differ in the prefix, and it says that both may be met.
    path_aliases={"/customer/open/v1/": "/customer/api/open/v1/"},
    behaviours=BEHAVIOURS,
)
