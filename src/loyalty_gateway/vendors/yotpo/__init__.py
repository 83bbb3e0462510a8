"""Yotpo Loyalty & Referrals: two live surfaces over the same points, and answers without a balance."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Lifetime,
    Receipt,
    customer_reference,
    whole_points,
)
from loyalty_gateway.customer import CustomerQuery, Enrolment, HistoryQuery
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import Problem
from loyalty_gateway.vendor import (
    Answer,
    Budget,
    Operation,
    RateLimit,
    ValidRequest,
    Vendor,
    seconds_in,
)
from loyalty_gateway.vendors.yotpo import client, customers, problems
from loyalty_gateway.vendors.yotpo.behaviours import BEHAVIOURS
from loyalty_gateway.vendors.yotpo.names import text

_WRAPPERS = ("customers", "points", "adjustment")
_AMOUNT = "point_adjustment_amount"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a merchant may need otherwise.

    ``customer_id_namespace``: where ``customer_id`` is looked up. ``applies_to_points_earned``: what counts
    where a request does not say ``apply_adjustment_to_points_earned``. ``missing_store_customer``: the status
    with which the App Developer API's look-up tells that nobody has this name, each with a body of its own.
    """

    customer_id_namespace: str = "shopify"
    applies_to_points_earned: bool = True
    missing_store_customer: Literal[400, 404] = 400


def parse_adjust(request: ValidRequest) -> Adjustment:
    """Both surfaces; a balance that would fall below zero is refused (seen in clients)."""
    body, options = _bare(request.body), request.options
    counts = body.get("apply_adjustment_to_points_earned", options.applies_to_points_earned)
    return Adjustment(
        customers=(_customer(body, options),),
        points_delta=whole_points(body[_AMOUNT]),
        lifetime=Lifetime.NET_EARNED if counts else Lifetime.BURN_ONLY,
        reason=body.get("history_title"),
        visible=body.get("visible_to_customer", True) not in {False, "false"},
    )


def _bare(body: dict[str, Any]) -> dict[str, Any]:
    """The adjustment itself, out of its wrapper if it came in one."""
    if _AMOUNT not in body:
        for wrapper in _WRAPPERS:
            if wrapper in body:
                wrapped: dict[str, Any] = body[wrapper]
                return wrapped
    return body


def _customer(body: dict[str, Any], options: Options) -> CustomerReference:
    if "customer_id" in body:
        return customer_reference(options.customer_id_namespace, text(body["customer_id"]))
    return customer_reference("email", body["customer_email"])


def render_adjust(receipt: Receipt, _request: ValidRequest) -> Answer:
    """The event row; clients read the balance from the customer afterwards."""
    (entry,) = receipt.entries
    occurred_at = iso_milliseconds(entry.occurred_at)
    return Answer(
        200,
        {
            "id": entry.id,
            "name": customers.title(entry),
            "type": "PointsAdjustment",
            "merchant_id": receipt.merchant_id,
            "customer_id": entry.wallet_id,
            "referral_id": None,
            "created_at": occurred_at,
            "updated_at": occurred_at,
        },
    )


def render_budgets(budgets: tuple[Budget, ...], _refusal: Problem | None) -> Mapping[str, str]:
    """The Loyalty API tells its limit; the App Developer API documents no headers."""
    match budgets:
        case (second, minute):
            return {
                "ratelimit-limit": str(second.limit.requests),
                "ratelimit-remaining": str(second.remaining),
                "ratelimit-reset": str(second.resets_in),
                "x-ratelimit-limit-minute": str(minute.limit.requests),
                "x-ratelimit-remaining-minute": str(minute.remaining),
            }
        case _:
            return {}


def parse_retry_after(headers: Mapping[str, str], _now: float) -> float | None:
    """That of the second's limit; when the minute's starts anew is not told, nor are the App Developer API's."""
    return seconds_in(headers, "ratelimit-reset")


_IGNORED = {
    "customer_email": "where customer_id is sent as well, that alone names the customer",
}
_LOYALTY_LIMITS = (
    RateLimit(name="requests", requests=10, seconds=1, per="merchant"),
    RateLimit(name="minute", requests=600, seconds=60, per="merchant"),
)
_STORE_LIMITS = (RateLimit(name="store_requests", requests=100, seconds=60, per="credential"),)
# As in the query: older clients call the account's guid its merchant id.
_BODY_CREDENTIALS = {"merchant_id": "guid", "api_key": "api_key"}
_NO_REFERRALS = "there are no referrals here, so the code is null"
_PHONE_AS_WRITTEN = "a phone number is kept and compared as it is written"

VENDOR = Vendor(
    name="yotpo",
    title="Yotpo Loyalty & Referrals",
    hosts=("loyalty.yotpo.com", "developers.yotpo.com", "app.swellrewards.com"),
    operations=(
        Operation(
            id="adjustPoints",
            parse_request=parse_adjust,
            render_response=render_adjust,
            render_request=client.render_adjust,
            parse_response=client.parse_adjust,
            scopes=("write",),
            ignored=_IGNORED,
            rate_limits=_LOYALTY_LIMITS,
            body_credentials=_BODY_CREDENTIALS,
        ),
        Operation(
            id="adjustStorePoints",
            parse_request=parse_adjust,
            render_response=render_adjust,
            render_request=client.render_store_adjust,
            parse_response=client.parse_adjust,
            scopes=("write",),
            ignored=_IGNORED,
            rate_limits=_STORE_LIMITS,
            path_credentials=("app_key",),
        ),
        Operation(
            id="fetchCustomerDetails",
            asks=HistoryQuery,
            also_says=(CustomerQuery,),
            parse_request=customers.parse_fetch,
            render_response=customers.render_fetch,
            render_request=client.render_fetch,
            parse_response=client.parse_customer,
            scopes=("read",),
            ignored={"with_referral_code": _NO_REFERRALS, "country_iso_code": _PHONE_AS_WRITTEN},
            rate_limits=_LOYALTY_LIMITS,
        ),
        Operation(
            id="createOrUpdateCustomer",
            asks=Enrolment,
            parse_request=customers.parse_save,
            render_response=customers.render_save,
            render_request=client.render_save,
            parse_response=client.parse_save,
            scopes=("write",),
            ignored={
                "country_iso_code": _PHONE_AS_WRITTEN,
                "opt_in": "whoever is in the ledger takes part; anything else is refused",
                "opted_in_at": "whoever is in the ledger takes part since they were enrolled",
            },
            rate_limits=_LOYALTY_LIMITS,
            body_credentials=_BODY_CREDENTIALS,
        ),
        Operation(
            id="retrieveStoreCustomerDetails",
            asks=HistoryQuery,
            also_says=(CustomerQuery,),
            parse_request=customers.parse_retrieve,
            render_response=customers.render_retrieve,
            render_request=client.render_retrieve,
            parse_response=client.parse_customer,
            scopes=("read",),
            ignored={"with_referral_code": _NO_REFERRALS},
            rate_limits=_STORE_LIMITS,
            path_credentials=("app_key",),
        ),
    ),
    render_problem=problems.render_problem,
    parse_problem=problems.parse_problem,
    namespaces=client.namespaces,
    history_shows=client.history_shows,
    render_budgets=render_budgets,
    parse_retry_after=parse_retry_after,
    credential_forms=(("guid", "api_key"), ("app_key", "access_token")),
    credential_fields={
        "GuidHeader": "guid",
        "ApiKeyHeader": "api_key",
        "GuidQuery": "guid",
        "ApiKeyQuery": "api_key",
        # Older clients call the account's guid its merchant id.
        "MerchantIdQuery": "guid",
        "AccessToken": "access_token",
    },
    scopes=("read", "write"),
    options=Options,
    behaviours=BEHAVIOURS,
)
