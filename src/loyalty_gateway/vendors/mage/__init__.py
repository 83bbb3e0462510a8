"""Mage Loyalty: signed adjustments in JSON:API, floored at zero."""

from collections.abc import Mapping

import msgspec

from loyalty_gateway.adjustment import (
    Adjustment,
    Lifetime,
    Overdraft,
    Receipt,
    spelt,
    whole_points,
)
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, CustomerUpdate, Enrolment, HistoryQuery
from loyalty_gateway.problem import Problem
from loyalty_gateway.vendor import (
    Answer,
    Budget,
    Operation,
    RateLimit,
    ValidRequest,
    Vendor,
)
from loyalty_gateway.vendors.mage import client, customers, history
from loyalty_gateway.vendors.mage.behaviours import BEHAVIOURS
from loyalty_gateway.vendors.mage.refusals import parse_problem, render_problem
from loyalty_gateway.vendors.mage.resource import attributes, customer_of

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
    identifier = spelt(customer)
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
            render_request=client.render_adjust,
            parse_response=client.parse_adjust,
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
            render_request=client.render_get,
            parse_response=client.parse_get,
            scopes=("read",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="listCustomers",
            asks=CustomersQuery,
            parse_request=customers.parse_list,
            render_response=customers.render_list,
            render_request=client.render_customers,
            parse_response=client.parse_customers,
            next_request=client.next_page,
            scopes=("read",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="enrollCustomer",
            asks=Enrolment,
            parse_request=customers.parse_enroll,
            render_response=customers.render_enroll,
            render_request=client.render_enroll,
            parse_response=client.parse_enroll,
            scopes=("write",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="updateCustomer",
            asks=CustomerUpdate,
            parse_request=customers.parse_update,
            render_response=customers.render_update,
            render_request=client.render_update,
            parse_response=client.parse_update,
            scopes=("write",),
            rate_limits=_RATE_LIMITS,
        ),
        Operation(
            id="listEarningHistory",
            asks=HistoryQuery,
            parse_request=history.parse_list,
            render_response=history.render_list,
            render_request=client.render_history,
            parse_response=client.parse_history,
            next_request=client.next_page,
            scopes=("read",),
            rate_limits=_RATE_LIMITS,
        ),
    ),
    render_problem=render_problem,
    parse_problem=parse_problem,
    namespaces=client.namespaces,
    history_shows=client.history_shows,
    render_budgets=render_budgets,
    credential_forms=(("api_key",),),
    credential_fields={"ApiKey": "api_key"},
    scopes=("read", "write"),
    options=Options,
    behaviours=BEHAVIOURS,
)
