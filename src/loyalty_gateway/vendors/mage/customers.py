"""Mage's customers: one by Shopify id or email, pages of them, enrolling and updating."""

from typing import Any

from loyalty_gateway.adjustment import Tier, customer_reference
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
    CustomerQuery,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Enrolled,
    Enrolment,
    sought,
)
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.vendor import Answer, ValidRequest
from loyalty_gateway.vendors.mage.resource import attributes, customer_of, identifier_of, page, page_meta

ORDERS = {
    "created_at": CustomerOrder.NUMBER,
    "points": CustomerOrder.AVAILABLE,
    "lifetime_points": CustomerOrder.EARNED,
    "redeemed_points": CustomerOrder.BURNED,
}
IS_EXCLUDED = {"member": False, "excluded": True}
DATES = ("date_of_birth", "anniversary_date")
# Programs write truth in many ways into a query; these are the ones that the spec's boolean takes.
_TRUE = {"true", "t", "yes", "y", "on", "1"}


def parse_get(request: ValidRequest) -> CustomerQuery:
    """The customer of the path."""
    return CustomerQuery(references=(customer_of(request.path_values["identifier"]),))


def render_get(customer: Customer, request: ValidRequest) -> Answer:
    """The customer; ``exclude_vip=true`` makes the tier null (documented)."""
    return Answer(200, {"data": _resource(customer, with_tier=not excludes_tier(request))})


def excludes_tier(request: ValidRequest) -> bool:
    """Whether the tier was asked to be left out."""
    return request.query.get("exclude_vip", "false").lower() in _TRUE


def parse_list(request: ValidRequest) -> CustomersQuery:
    """A page of the customers, the newest first where nothing else is asked (documented)."""
    number, size = page(request.query)
    sort = request.query.get("sort", "-created_at")
    status = request.query.get("filter[loyalty_status]")
    email = request.query.get("filter[email]")
    return CustomersQuery(
        limit=size,
        offset=(number - 1) * size,
        order=ORDERS[sort.removeprefix("-")],
        descending=sort.startswith("-"),
        containing=None if email is None else sought(email, email=True),
        searched=("email",),
        excluded=None if status is None else IS_EXCLUDED[status],
        counts=True,
    )


def render_list(found: Customers, request: ValidRequest) -> Answer:
    """The page, and how many there are in all."""
    return Answer(
        200,
        {
            "data": [_resource(customer) for customer in found.customers],
            "meta": page_meta(request.query, found.total or 0),
        },
    )


def parse_enroll(request: ValidRequest) -> Enrolment:
    """The Shopify id, as text or as a number; a customer who is enrolled already stays as they are."""
    identifier = attributes(request.body)["shopify_customer_id"]
    digits = identifier if isinstance(identifier, str) else str(int(identifier))
    return Enrolment(references=(customer_reference("shopify", digits),))


def render_enroll(enrolled: Enrolled, _request: ValidRequest) -> Answer:
    """201 for a new customer, 200 for one who was enrolled already (documented)."""
    return Answer(201 if enrolled.is_new else 200, {"data": _resource(enrolled.customer)})


def parse_update(request: ValidRequest) -> CustomerUpdate:
    """The fields that the body names; a date of null is taken away (documented)."""
    given = attributes(request.body)
    return CustomerUpdate(
        customer=customer_of(request.path_values["identifier"]),
        changes={name: day(given[name]) for name in DATES if name in given},
        excluded=given.get("is_excluded"),
    )


def render_update(customer: Customer, _request: ValidRequest) -> Answer:
    """The customer after the change."""
    return Answer(200, {"data": _resource(customer)})


def day(date: str | None) -> str | None:
    """The day of a date that may have a time."""
    # A birthday is the day that was written, wherever on earth it began.
    return None if date is None else date[:10]


def _resource(customer: Customer, *, with_tier: bool = True) -> dict[str, Any]:
    wallet, profile = customer.wallet, customer.profile
    identifier = identifier_of(customer)
    born = profile.date_of_birth
    return {
        "type": "customer",
        "id": identifier,
        "attributes": {
            "shopify_customer_id": identifier,
            "email": customer.value("email"),
            "first_name": profile.first_name,
            "last_name": profile.last_name,
            "current_points": wallet.available,
            "lifetime_points": wallet.lifetime_earned,
            "redeemed_points": wallet.lifetime_burned,
            "loyalty_status": "excluded" if wallet.excluded else "member",
            "date_of_birth": None if born is None else f"{born}T00:00:00.000Z",
            "referral_url": None,
            "referral_code": None,
            "vip_tier": _tier(customer.tier) if with_tier and customer.tier is not None else None,
            "points_expire_at": None,
            "created_at": iso_milliseconds(wallet.created_at),
            "updated_at": iso_milliseconds(wallet.updated_at),
        },
    }


def _tier(tier: Tier) -> dict[str, Any]:
    return {
        "id": tier.name,
        "name": tier.name,
        "points_required": tier.points_required,
        "points_multiplier": 1,
        "badge_image_url": None,
        "badge_color": None,
    }
