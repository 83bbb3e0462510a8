"""LoyaltyLion's customers: the list with its filters, and what may be changed of one."""

from typing import Any, Final

from loyalty_gateway.adjustment import CustomerReference, Tier, customer_reference
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Profile,
    sought,
)
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Promise, Shown, ValidRequest
from loyalty_gateway.vendors.loyaltylion import pages
from loyalty_gateway.vendors.loyaltylion.moments import from_moment, until_moment

_FILTERS: Final = (
    *("limit", "since_id", "page", "sort_field", "sort_direction", "email"),
    *("created_at_min", "created_at_max", "updated_at_min", "updated_at_max"),
)


def addressed(request: ValidRequest) -> CustomerReference:
    """Whom the path names: LoyaltyLion's ``merchant_id`` is the customer's id at the merchant."""
    return customer_reference(request.options.customer_namespace, request.path_values["merchant_id"])


def parse_list(request: ValidRequest) -> CustomersQuery:
    """A page of the programme's customers."""
    asked = _asked(request)
    # On the way back to since_id one more is looked for, which tells whether there is any before it.
    returns = asked.backwards and asked.since_id is not None
    return CustomersQuery(
        limit=asked.limit + returns,
        offset=(asked.page - 1) * asked.limit,
        after=asked.since_id if asked.last_id is None else asked.last_id,
        after_updated=asked.last_updated_at,
        order=CustomerOrder.UPDATED if asked.by_changes else CustomerOrder.NUMBER,
        descending=asked.rising == asked.backwards,
        containing=None if asked.email is None else sought(asked.email, email=True),
        searched=("email",),
        created_from=from_moment(asked.created_at_min, "created_at_min"),
        created_until=until_moment(asked.created_at_max, "created_at_max"),
        updated_from=from_moment(asked.updated_at_min, "updated_at_min"),
        updated_until=until_moment(asked.updated_at_max, "updated_at_max"),
    )


def _asked(request: ValidRequest) -> pages.Asked:
    return pages.asked(request, "customers", _FILTERS)


def render_list(customers: Customers, request: ValidRequest) -> Answer:
    """200 with the customers and the cursors, which the Link header has too."""
    asked = _asked(request)
    within = [one for one in customers.customers if one.wallet.id > (asked.since_id or 0)]
    shown = within[: asked.limit]
    if asked.backwards:
        shown.reverse()
    cursors = pages.cursors(
        asked,
        [pages.Place(one.wallet.id, one.wallet.updated_at if asked.by_changes else None) for one in shown],
        has_more=len(within) > asked.limit or (customers.has_more and len(within) == len(customers.customers)),
    )
    namespace: str = request.options.customer_namespace
    body = {"customers": [_shown(customer, namespace) for customer in shown], "cursor": cursors}
    return Answer(200, body, pages.link(request, cursors))


def parse_update(request: ValidRequest) -> CustomerUpdate:
    """A birthday told or taken back, and whether the customer is blocked; what is left out stays."""
    wanted = request.body["customer"]
    return CustomerUpdate(
        customer=addressed(request),
        changes={"date_of_birth": wanted["birthday"]} if "birthday" in wanted else {},
        excluded=wanted.get("blocked"),
    )


def render_update(customer: Customer, request: ValidRequest) -> Answer:
    """200 with the customer."""
    return Answer(200, {"customer": _shown(customer, request.options.customer_namespace)})


def _shown(customer: Customer, namespace: str) -> dict[str, Any]:
    wallet = customer.wallet
    merchant_id = customer.name(namespace)
    others = {one.value for one in customer.references if one.namespace == namespace} - {merchant_id}
    return {
        "id": wallet.id,
        "merchant_id": merchant_id,
        "email": customer.value("email"),
        "points_approved": wallet.available,
        "points_pending": 0,
        "points_spent": wallet.lifetime_burned,
        "properties": _properties(customer.profile),
        "metadata": {},
        "rewards_claimed": 0,
        "blocked": wallet.excluded,
        "guest": False,
        "enrolled": True,
        "enrolled_at": iso_milliseconds(wallet.created_at),
        "referral_id": None,
        "referred_by": None,
        "loyalty_tier_membership": None if customer.tier is None else _membership(customer.tier),
        "insights_segment": None,
        "birthday": customer.profile.date_of_birth,
        "referral_url": None,
        "created_at": iso_milliseconds(wallet.created_at),
        "updated_at": iso_milliseconds(wallet.updated_at),
        "linked_merchant_ids": sorted(others),
    }


def _properties(profile: Profile) -> dict[str, str]:
    told = {"first_name": profile.first_name, "last_name": profile.last_name}
    names = {key: name for key, name in told.items() if name}
    return {"name": " ".join(names.values()), **names} if names else {}


def _membership(tier: Tier) -> dict[str, Any]:
    return {
        "started_at": None,
        "expires_at": None,
        "manual": False,
        "loyalty_tier": {
            "id": None,
            "name": tier.name,
            "number": None,
            "default": False,
            "hidden": False,
            "lower_bound": str(tier.points_required),
            "upper_bound": None,
            "position": None,
        },
    }


_CUSTOMERS = "https://developers.loyaltylion.com/api/resources/customers"

BEHAVIOURS = (
    Behaviour(
        "email finds the customers in whose email the text stands.",
        Evidence.DOCUMENTED,
        f"{_CUSTOMERS}; that case makes no difference is inferred",
        (
            Shown(
                operation="customers.listCustomers",
                query={"email": "{part:email}"},
                status=200,
                says="{first:email}",
            ),
        ),
    ),
    Behaviour("In email a space means a plus that was not percent-encoded.", Evidence.OUR_DEFAULT, "-"),
    Behaviour(
        "points_approved is the balance and points_spent a lifetime counter.",
        Evidence.OBSERVED,
        "by a client's author, who compared both with the vendor's own report",
        (
            Promise.DEDUCTION,
            Promise.LIFETIME,
        ),
    ),
    Behaviour(
        "points_pending is always 0.",
        Evidence.OUR_DEFAULT,
        "points count at once",
        (
            Shown(
                operation="customers.listCustomers",
                query={"email": "{first:email}"},
                after=(1,),
                status=200,
                tells={"/customers/0/points_pending": 0},
            ),
        ),
    ),
    Behaviour(
        "PATCH and PUT change what they name of a customer and leave the rest.",
        Evidence.DOCUMENTED,
        f"update customer page for PATCH; {_CUSTOMERS} for PUT",
        (Promise.UPDATE,),
    ),
    Behaviour(
        "A birthday of null takes the birthday away.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="customers.updateCustomer",
                body={"customer": {"birthday": None}},
                status=200,
                tells={"/customer/birthday": None},
            ),
        ),
    ),
    Behaviour(
        "Every customer is enrolled, since being created, and no guest.",
        Evidence.OUR_DEFAULT,
        "no others are kept",
        (
            Shown(
                operation="customers.listCustomers",
                query={"email": "{first:email}"},
                status=200,
                tells={
                    "/customers/0/enrolled": True,
                    "/customers/0/guest": False,
                    "/customers/0/enrolled_at": "{last:/customers/0/created_at}",
                },
            ),
        ),
    ),
    Behaviour(
        "A tier is told by its name, where clients look for it; its numbers and dates are null.",
        Evidence.OUR_DEFAULT,
        "the keys are those of the customers page",
    ),
    Behaviour(
        "properties has the customer's name, in whole and in parts, as far as it is known.",
        Evidence.SEEN_IN_CLIENTS,
        "a client's recorded customer",
    ),
    Behaviour(
        "linked_merchant_ids are further ids that the same customer has in the shop.",
        Evidence.INFERRED,
        "the name of the field",
    ),
    Behaviour(
        "A customer without an id in the shop has wallet_ and the ledger's number, which every path takes.",
        Evidence.OUR_DEFAULT,
        "-",
    ),
)
