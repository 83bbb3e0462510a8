"""Stampcard: a signed number of stamps on a member's card."""

from collections.abc import Mapping
from typing import assert_never

import msgspec

from loyalty_gateway.adjustment import Adjustment, Lifetime, Receipt, customer_reference, whole_points
from loyalty_gateway.customer import Customer, CustomerQuery, Customers, CustomersQuery
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.vendor import Answer, Behaviour, Budget, Evidence, Operation, Request, ValidRequest, Vendor


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stampcard has no options."""


def parse_change(request: ValidRequest) -> Adjustment:
    """The sign of the stamps tells the direction; nobody's card goes below zero."""
    return Adjustment(
        customers=(customer_reference("stampcard", request.path_values["member"]),),
        points_delta=whole_points(request.body["stamps"]),
        lifetime=Lifetime.EARN_AND_BURN,
        reason=request.body.get("why"),
    )


def render_change(receipt: Receipt, _request: ValidRequest) -> Answer:
    """The card as it is now."""
    (entry,), (customer,) = receipt.entries, receipt.customers
    return Answer(
        200,
        {
            "member": customer.value,
            "stamps": entry.points_after,
            "changed_by": entry.points_delta,
            "why": entry.reason,
        },
    )


def parse_show(request: ValidRequest) -> CustomerQuery:
    """The member of the path."""
    return CustomerQuery(references=(customer_reference("stampcard", request.path_values["member"]),))


def render_show(customer: Customer, _request: ValidRequest) -> Answer:
    """The card without a change."""
    return Answer(200, {"member": customer.name("stampcard"), "stamps": customer.wallet.available})


def parse_list(request: ValidRequest) -> CustomersQuery:
    """Members by number; ``behind`` is the last one that was told."""
    behind = request.query.get("behind")
    return CustomersQuery(
        limit=int(request.query.get("limit", "10")),
        after=None if behind is None else int(behind),
        descending=request.query.get("newest", "false") == "true",
    )


def render_list(page: Customers, _request: ValidRequest) -> Answer:
    """The members, and behind whom to go on."""
    return Answer(
        200,
        {
            "members": [customer.name("stampcard") for customer in page.customers],
            "behind": page.customers[-1].wallet.id if page.has_more else None,
        },
    )


def render_problem(problem: Problem, _request: Request) -> Answer:
    """``{"fault": {"kind", "places"}}``."""
    places = [violation.field for violation in problem.violations]
    return Answer(_status(problem.code), {"fault": {"kind": problem.code.value, "places": places}})


def _status(code: Code) -> int:  # noqa: PLR0911 - one for each status
    match code:
        case Code.MISSING_CREDENTIALS | Code.INVALID_CREDENTIALS:
            return 401
        case Code.ADDRESS_NOT_ALLOWED | Code.INSUFFICIENT_SCOPE | Code.CUSTOMER_EXCLUDED:
            return 403
        case Code.UNKNOWN_PATH | Code.WRONG_METHOD | Code.UNKNOWN_CUSTOMER:
            return 404
        case Code.KEY_IN_FLIGHT | Code.CUSTOMER_CONFLICT:
            return 409
        case Code.BODY_TOO_LARGE | Code.UNSUPPORTED_MEDIA_TYPE | Code.UNREADABLE | Code.INVALID:
            return 422
        case Code.AMOUNT_OUT_OF_RANGE | Code.BALANCE_OVERFLOW | Code.TOO_FEW_POINTS:
            return 422
        case Code.KEY_REUSED:
            return 422
        case Code.RATE_LIMITED:
            return 429
        case Code.RECORD_BUSY | Code.UNAVAILABLE | Code.UNFORESEEN:
            return 503
        case never:
            assert_never(never)


def render_budgets(_budgets: tuple[Budget, ...], _refusal: Problem | None) -> Mapping[str, str]:
    """Stampcard tells nothing of its limits."""
    return {}


VENDOR = Vendor(
    name="stampcard",
    title="Stampcard",
    hosts=("api.stampcard.example",),
    operations=(
        Operation(
            id="changeStamps",
            parse_request=parse_change,
            render_response=render_change,
            scopes=("stamp",),
            ignored={"print": "the gateway has no printer"},
        ),
        Operation(
            id="showCard",
            asks=CustomerQuery,
            parse_request=parse_show,
            render_response=render_show,
            scopes=("stamp",),
        ),
        Operation(
            id="listCards",
            asks=CustomersQuery,
            parse_request=parse_list,
            render_response=render_list,
            scopes=("stamp",),
        ),
    ),
    render_problem=render_problem,
    render_budgets=render_budgets,
    credential_forms=(("key",),),
    credential_fields={"StampKey": "key"},
    scopes=("stamp",),
    options=Options,
    behaviours=(
        Behaviour("Stamps are signed.", Evidence.DOCUMENTED, "the invented document"),
        Behaviour("A refusal names the places that are wrong.", Evidence.DOCUMENTED, "the invented document"),
        Behaviour("Too few stamps are refused with 422.", Evidence.OUR_DEFAULT, "-"),
    ),
)
