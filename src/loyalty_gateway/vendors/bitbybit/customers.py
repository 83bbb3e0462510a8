"""bitbybit's customers: made with an email address or a phone number, read, and listed in pages."""

from typing import Any

from loyalty_gateway.adjustment import customer_reference
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
    CustomerQuery,
    Customers,
    CustomersQuery,
    Enrolled,
    Enrolment,
    Existing,
    sought,
)
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.vendor import Answer, Behaviour, Evidence, Promise, Shown, ValidRequest

_ORDERS = {"updatedAt": CustomerOrder.UPDATED, "createdAt": CustomerOrder.NUMBER}
_SOURCE = "api"

IGNORED = {
    "imageUrl": "a ledger of points keeps no pictures; answers have null",
    "addresses": "a ledger of points keeps no addresses; answers have none",
}
"""What a new customer may be sent with and is not kept."""


def parse_create(request: ValidRequest) -> Enrolment:
    """A new customer; one whom somebody has already is a conflict (our default)."""
    body = request.body
    contacts = (("email", body.get("email")), ("phone", body.get("phoneNumber")))
    return Enrolment(
        references=tuple(
            customer_reference(namespace, value.strip()) for namespace, value in contacts if value is not None
        ),
        changes={
            "first_name": body.get("firstName"),
            "last_name": body.get("lastName"),
            "tags": tuple(body.get("tags", ())),
            "source": _SOURCE,
        },
        existing=Existing.REFUSE,
    )


def render_create(enrolled: Enrolled, _request: ValidRequest) -> Answer:
    """The customer with the id that was made."""
    customer = enrolled.customer
    return Answer(201, {"data": _customer(customer, customer.name("bitbybit"))})


def parse_get(request: ValidRequest) -> CustomerQuery:
    """The customer of the path."""
    return CustomerQuery(references=(customer_reference("bitbybit", request.path_values["id"]),))


def render_get(customer: Customer, request: ValidRequest) -> Answer:
    """The customer, under the id that was asked for."""
    return Answer(200, {"data": _customer(customer, request.path_values["id"])})


def parse_list(request: ValidRequest) -> CustomersQuery:
    """A page of the customers, those changed last first where nothing else is asked (documented)."""
    query = request.query
    number, limit = _page(request)
    field, _, direction = query.get("sort", "updatedAt:desc").partition(":")
    return CustomersQuery(
        limit=limit,
        offset=(number - 1) * limit,
        order=_ORDERS[field],
        descending=direction == "desc",
        containing=sought(query["search"]) if "search" in query else None,
        searched=("email", "phone"),
        searches_names=True,
        tags=listed(query.get("tags", "")),
        sources=listed(query.get("source", "")),
        counts=True,
    )


def render_list(found: Customers, request: ValidRequest) -> Answer:
    """The page, and how many customers match in all."""
    number, limit = _page(request)
    return Answer(
        200,
        {
            "data": [_customer(customer, customer.name("bitbybit")) for customer in found.customers],
            "meta": {"page": number, "limit": limit, "total": found.total, "hasNextPage": found.has_more},
        },
    )


def _page(request: ValidRequest) -> tuple[int, int]:
    return int(request.query.get("page", "1")), int(request.query.get("limit", "20"))


def listed(text: str) -> tuple[str, ...]:
    """The values between the commas."""
    return tuple(value for part in text.split(",") if (value := part.strip(" \t\r\n")))


def _customer(customer: Customer, customer_id: str) -> dict[str, Any]:
    profile, wallet = customer.profile, customer.wallet
    return {
        "id": customer_id,
        "email": customer.value("email"),
        "phoneNumber": customer.value("phone"),
        "firstName": profile.first_name,
        "lastName": profile.last_name,
        "imageUrl": None,
        "tags": list(profile.tags),
        "addresses": [],
        "createdAt": iso_milliseconds(wallet.created_at),
        "updatedAt": iso_milliseconds(wallet.updated_at),
    }


BEHAVIOURS = (
    Behaviour(
        "A customer is made with an email address or a phone number, and answered with 201.",
        Evidence.DOCUMENTED,
        "create customer page",
        (
            Shown(
                operation="createCustomer",
                body={"email": "contract.{new}@example.com"},
                status=201,
                tells={"/data/email": "contract.{new}@example.com"},
            ),
            Shown(
                operation="createCustomer",
                without=("email",),
                body={"phoneNumber": "+{new}"},
                status=201,
                tells={"/data/phoneNumber": "+{new}"},
            ),
            Shown(operation="createCustomer", without=("email", "phoneNumber"), status=400),
        ),
    ),
    Behaviour(
        "A customer is read by id.",
        Evidence.DOCUMENTED,
        "get customer page",
        (Promise.LOOK_UP, Shown(operation="getCustomer", status=200, tells={"/data/id": "{first:bitbybit}"})),
    ),
    Behaviour(
        "Lists have 20 customers to a page, at most 100, and those changed last come first.",
        Evidence.DOCUMENTED,
        "list customers page",
        (
            Shown(operation="listCustomers", without=("limit",), status=200, tells={"/meta/limit": 20}),
            Shown(operation="listCustomers", query={"limit": "101"}, status=400),
            Shown(operation="createCustomer", body={"email": "contract.{new}@example.com"}, status=201),
            Shown(
                operation="listCustomers",
                query={"limit": "1"},
                without=("sort",),
                status=200,
                tells={"/data/0/email": "contract.{new}@example.com"},
            ),
        ),
    ),
    Behaviour(
        "search finds a part of the name, email address or phone number, in either case of letters.",
        Evidence.DOCUMENTED,
        "list customers page, which leaves open parts and case",
        (
            Shown(
                operation="createCustomer",
                body={"email": "contract.{new}@example.com", "firstName": "Ann{new}"},
                status=201,
            ),
            Shown(
                operation="listCustomers", query={"search": "TRACT.{new}@EX"}, status=200, tells={"/meta/total": 1}
            ),
            Shown(operation="listCustomers", query={"search": "nN{new}"}, status=200, tells={"/meta/total": 1}),
        ),
    ),
    Behaviour(
        "source and tags take several values with commas between them.",
        Evidence.DOCUMENTED,
        "list customers page",
        (
            Shown(
                operation="createCustomer",
                body={"email": "contract.{new}@example.com", "tags": ["a{new}", "b{new}"]},
                status=201,
            ),
            Shown(
                operation="listCustomers",
                query={"source": "web, api", "tags": "a{new},b{new}"},
                status=200,
                tells={"/meta/total": 1},
            ),
        ),
    ),
    Behaviour(
        "A customer is found who has one of the sources and all of the tags.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="createCustomer",
                body={"email": "contract.{new}@example.com", "tags": ["a{new}", "b{new}"]},
                status=201,
            ),
            Shown(
                operation="listCustomers",
                query={"source": "web,api", "tags": "b{new}"},
                status=200,
                tells={"/meta/total": 1},
            ),
            Shown(
                operation="listCustomers", query={"tags": "a{new},c{new}"}, status=200, tells={"/meta/total": 0}
            ),
        ),
    ),
    Behaviour(
        "A customer who is made here has the source api.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="createCustomer",
                body={"email": "contract.{new}@example.com", "tags": ["a{new}", "b{new}"]},
                status=201,
            ),
            Shown(
                operation="listCustomers",
                query={"source": "api", "search": "{new}"},
                status=200,
                tells={"/meta/total": 1},
            ),
        ),
    ),
    Behaviour(
        "sort takes updatedAt and createdAt, with asc or desc; others are 400.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(operation="listCustomers", query={"sort": "createdAt:asc"}, status=200),
            Shown(operation="listCustomers", query={"sort": "points:asc"}, status=400),
        ),
    ),
    Behaviour(
        "A customer who is changed during a walk through pages sorted by updatedAt is on another page afterwards.",
        Evidence.INFERRED,
        "the list is sorted by the last change, by default",
    ),
    Behaviour("Phone numbers are compared letter by letter.", Evidence.OUR_DEFAULT, "-"),
    Behaviour(
        "A page past the last is empty.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="listCustomers", query={"page": "999999"}, status=200, says='"data":[]'),),
    ),
    Behaviour(
        "An email address or phone number that a customer has already is 409 CONFLICT.",
        Evidence.OUR_DEFAULT,
        "-",
        (Promise.CONFLICT,),
    ),
    Behaviour(
        "A customer without an id of bitbybit's has the ledger's own name, wallet_ and a number, for an id; every "
        "operation takes it.",
        Evidence.OUR_DEFAULT,
        "-",
        (
            Shown(
                operation="createCustomer",
                body={"email": "contract.{new}@example.com"},
                status=201,
                looks={"/data/id": "wallet_[0-9]+"},
            ),
            Shown(
                operation="getCustomer",
                path_values={"id": "{last:/data/id}"},
                status=200,
                tells={"/data/email": "contract.{new}@example.com"},
            ),
            Shown(
                operation="getLoyaltyWallet",
                path_values={"customerId": "{last:/data/id}"},
                status=200,
                tells={"/data/availablePoints": "0"},
            ),
        ),
    ),
    Behaviour(
        "imageUrl is null and addresses are empty in every answer.",
        Evidence.OUR_DEFAULT,
        "-",
        (Shown(operation="getCustomer", status=200, tells={"/data/imageUrl": None, "/data/addresses": []}),),
    ),
)
