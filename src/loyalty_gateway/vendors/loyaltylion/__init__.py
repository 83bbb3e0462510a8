"""LoyaltyLion: the path is the sign, success is an empty body, refusals come in two families."""

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from loyalty_gateway.adjustment import (
    Adjustment,
    Lifetime,
    Receipt,
    whole_points,
)
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, CustomerUpdate, HistoryQuery
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.vendor import (
    Answer,
    Budget,
    Operation,
    RateLimit,
    Request,
    ValidRequest,
    Vendor,
)
from loyalty_gateway.vendors.loyaltylion import client, customers, pages, refusals, transactions
from loyalty_gateway.vendors.loyaltylion.behaviours import BEHAVIOURS

_LONGEST_NAME = 100


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a merchant may need otherwise: the namespace in which ``merchant_id`` is looked up."""

    customer_namespace: str = "shopify"


def parse_add(request: ValidRequest) -> Adjustment:
    """Adds points, which count as earned."""
    return Adjustment(
        customers=(customers.addressed(request),),
        points_delta=whole_points(request.body["points"]),
        lifetime=Lifetime.EARN_ONLY,
        reason=request.body.get("reason"),
    )


def parse_remove(request: ValidRequest) -> Adjustment:
    """Removes points, no more than there are; what was earned or spent in a lifetime stays."""
    return Adjustment(
        customers=(customers.addressed(request),),
        points_delta=-whole_points(request.body["points"]),
        lifetime=Lifetime.EARN_ONLY,
        reason=request.body.get("reason"),
    )


def render_add(_receipt: Receipt, _request: ValidRequest) -> Answer:
    """201 with zero bytes."""
    return Answer(201)


def render_remove(_receipt: Receipt, _request: ValidRequest) -> Answer:
    """204."""
    return Answer(204)


def render_problem(problem: Problem, _request: Request) -> Answer:
    """``{"error": {"message", "details"}}`` or ``{"error": text}``, by the status."""
    match problem.code:
        case Code.INVALID:
            return _invalid(_details(problem.violations))
        case Code.AMOUNT_OUT_OF_RANGE | Code.BALANCE_OVERFLOW:
            return _invalid(refusals.TOO_MANY_POINTS)
        case Code.UNSUPPORTED_MEDIA_TYPE | Code.UNREADABLE:
            return _message(400, refusals.INVALID)
        case Code.MISSING_CREDENTIALS | Code.INVALID_CREDENTIALS:
            return _message(401, refusals.NOT_AUTHENTICATED)
        case Code.ADDRESS_NOT_ALLOWED:
            return _message(403, refusals.ADDRESS_NOT_ALLOWED)
        case Code.INSUFFICIENT_SCOPE:
            return _message(403, f"The API key needs the scope {problem.scope}")
        case Code.RATE_LIMITED:
            return _message(429, "Too many requests")
        case Code.BODY_TOO_LARGE:
            return _message(413, "The request body is too large")
        case Code.RECORD_BUSY | Code.UNAVAILABLE:
            return _message(503, "Service unavailable")
        case Code.UNFORESEEN:
            return _message(500, "Internal server error")
        case Code.UNKNOWN_PATH | Code.WRONG_METHOD:
            return Answer(404, {"error": refusals.NOT_FOUND})
        case Code.UNKNOWN_CUSTOMER:
            return Answer(404, {"error": refusals.CUSTOMER_NOT_FOUND})
        case Code.KEY_IN_FLIGHT:
            return Answer(409, {"error": refusals.KEY_IN_FLIGHT})
        case Code.KEY_REUSED:
            return Answer(422, {"error": refusals.KEY_REUSED})
        case Code.CUSTOMER_EXCLUDED:
            return Answer(422, {"error": refusals.CUSTOMER_BLOCKED})
        case Code.TOO_FEW_POINTS:
            return Answer(422, {"error": refusals.TOO_FEW_POINTS})
        case Code.CUSTOMER_CONFLICT:
            return Answer(422, {"error": refusals.CUSTOMER_EXISTS})
        case never:
            assert_never(never)


def _message(status: int, message: str) -> Answer:
    return Answer(status, {"error": {"message": message}})


def _invalid(details: Mapping[str, str]) -> Answer:
    return Answer(400, {"error": {"message": refusals.INVALID, "details": details}})


def _details(violations: tuple[Violation, ...]) -> dict[str, str]:
    """One text for each field: of a wrong type before all else, as the vendor's validator looks at it first."""
    details: dict[str, str] = {}
    for violation in sorted(violations, key=lambda one: one.keyword != "type"):
        details.setdefault(_field(violation), _detail(violation))
    return details


def _field(violation: Violation) -> str:
    return _shortened(violation.field or "body")


def _shortened(name: str) -> str:
    """An unknown key is told back, but not a page of it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"


def _detail(violation: Violation) -> str:
    """The words of the vendor's validator (inferred): zod's."""
    match violation.keyword:
        case "required":
            return f"Invalid input: expected {_expected(violation.expected or 'object')}, received undefined"
        case "type" if violation.expected is None and violation.field in pages.NUMBERS:
            # What is in a query cannot even be read as a number.
            return "Invalid input: expected number, received NaN"
        case "type" if violation.expected is None:
            return "Invalid input"
        case "type" if violation.expected == "integer" and isinstance(violation.received, float):
            return "Invalid input: expected int, received number"
        case "type":
            return f"Invalid input: expected {_expected(violation.expected)}, received {_kind(violation.received)}"
        case "minimum":
            return f"Too small: expected number to be >={violation.expected}"
        case "maximum":
            return f"Too big: expected number to be <={violation.expected}"
        case "enum":
            return f"Invalid option: expected one of {'|'.join(map(_quoted, violation.expected))}"
        case "format" if violation.expected == "date":
            return "Invalid ISO date"
        case "additionalProperties":
            return f'Unrecognized key: "{_shortened(str(violation.path[-1]))}"'
        case _:
            return "Invalid input"


def _quoted(option: str) -> str:
    return f'"{option}"'


def _expected(schema_type: Any) -> str:
    first = schema_type[0] if isinstance(schema_type, list) else schema_type
    return "number" if first == "integer" else str(first)


def _kind(value: Any) -> str:
    """What JavaScript calls the type of a JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def render_budgets(_budgets: tuple[Budget, ...], _refusal: Problem | None) -> Mapping[str, str]:
    """LoyaltyLion documents no rate-limit headers."""
    return {}


_PER_KEY = RateLimit(name="requests", requests=20, seconds=1, per="credential")

VENDOR = Vendor(
    name="loyaltylion",
    title="LoyaltyLion",
    hosts=("api.loyaltylion.com",),
    operations=(
        Operation(
            id="customers.addPointsToCustomer",
            parse_request=parse_add,
            render_response=render_add,
            render_request=client.render_add,
            parse_response=client.parse_adjusted,
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="customers.removePointsFromCustomer",
            parse_request=parse_remove,
            render_response=render_remove,
            render_request=client.render_remove,
            parse_response=client.parse_adjusted,
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="customers.listCustomers",
            asks=CustomersQuery,
            also_says=(CustomerQuery,),
            parse_request=customers.parse_list,
            render_response=customers.render_list,
            render_request=client.render_list,
            parse_response=client.parse_list,
            next_request=client.next_page,
            opaque=("cursor",),
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="customers.updateCustomer",
            asks=CustomerUpdate,
            parse_request=customers.parse_update,
            render_response=customers.render_update,
            render_request=client.render_update,
            parse_response=client.parse_update,
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="customers.updateCustomerWithPut",
            asks=CustomerUpdate,
            parse_request=customers.parse_update,
            render_response=customers.render_update,
            render_request=client.render_update,
            parse_response=client.parse_update,
            rate_limits=(_PER_KEY,),
        ),
        Operation(
            id="customers.listTransactionsForCustomer",
            asks=HistoryQuery,
            also_says=(CustomerQuery,),
            parse_request=transactions.parse_of_customer,
            render_response=transactions.render_of_customer,
            render_request=client.render_history_of_customer,
            parse_response=client.parse_history_of_customer,
            next_request=client.next_page,
            opaque=("cursor",),
            rate_limits=(_PER_KEY,),
            ignored={"type": transactions.TYPE_IGNORED},
        ),
        Operation(
            id="transactions.listTransactions",
            asks=HistoryQuery,
            parse_request=transactions.parse_of_all,
            render_response=transactions.render_of_all,
            render_request=client.render_history_of_all,
            parse_response=client.parse_history_of_all,
            next_request=client.next_page,
            opaque=("cursor",),
            rate_limits=(_PER_KEY,),
            ignored={"type": transactions.TYPE_IGNORED},
        ),
    ),
    render_problem=render_problem,
    parse_problem=client.parse_problem,
    namespaces=client.namespaces,
    history_shows=client.history_shows,
    render_budgets=render_budgets,
    credential_forms=(("bearer",), ("token", "secret")),
    credential_fields={"ProgramApiKey": "bearer", "SiteTokenSecret": "token:secret"},
    scopes=("read_customers", "write_customers"),
    options=Options,
    behaviours=BEHAVIOURS,
)
