"""Stampcard: a signed number of stamps on a member's card."""

from collections.abc import Mapping
from typing import Any, Final, assert_never

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    Adjustment,
    CustomerReference,
    Everyone,
    Lifetime,
    Receipt,
    customer_reference,
    spelt,
    whole_points,
)
from loyalty_gateway.customer import Customer, CustomerOrder, CustomerQuery, Customers, CustomersQuery
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import (
    ToldCustomer,
    ToldCustomers,
    ToldEntry,
    ToldReceipt,
    ToldWallet,
    told,
    told_names,
    told_or_none,
)
from loyalty_gateway.vendor import Answer, Behaviour, Budget, Evidence, Operation, Request, ValidRequest, Vendor

_NAMESPACE: Final = "stampcard"
_LARGEST_PAGE: Final = 50


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stampcard has no options."""


def parse_change(request: ValidRequest) -> Adjustment:
    """The sign of the stamps tells the direction; nobody's card goes below zero."""
    return Adjustment(
        customers=(customer_reference(_NAMESPACE, request.path_values["member"]),),
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
            "member": spelt(customer),
            "stamps": entry.points_after,
            "changed_by": entry.points_delta,
            "why": entry.reason,
        },
    )


def parse_show(request: ValidRequest) -> CustomerQuery:
    """The member of the path."""
    return CustomerQuery(references=(customer_reference(_NAMESPACE, request.path_values["member"]),))


def render_show(customer: Customer, _request: ValidRequest) -> Answer:
    """The card without a change."""
    return Answer(200, {"member": customer.name(_NAMESPACE), "stamps": customer.wallet.available})


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
            "members": [customer.name(_NAMESPACE) for customer in page.customers],
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


# The other direction, in which we are the vendor's client.


def namespaces(_options: Any) -> tuple[str, ...]:
    """A member has one name there."""
    return (_NAMESPACE,)


def history_shows(_adjustment: Adjustment) -> bool:
    """There is no history."""
    return False


def ask_change(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """One member and a signed number of stamps."""
    customers, stamps = adjustment.customers, adjustment.points_delta
    if isinstance(customers, Everyone) or len(customers) != 1 or not stamps or not _is_member(customers[0]):
        return None
    why = {} if adjustment.reason is None else {"why": adjustment.reason}
    return ValidRequest(
        path_values={"member": spelt(customers[0])}, body={"stamps": stamps, **why}, options=options
    )


def hear_change(answer: Answer, request: ValidRequest) -> ToldReceipt:
    """The card, and what became of it."""
    changed_by, stamps = told(answer.body, "changed_by", int), told(answer.body, "stamps", int)
    return ToldReceipt(
        entry=ToldEntry(
            points_delta=changed_by,
            points_before=UNSET if changed_by is UNSET or stamps is UNSET else stamps - changed_by,
            points_after=stamps,
            reason=told_or_none(answer.body, "why", str),
        ),
        customer=hear_show(answer, request),
    )


def ask_show(query: CustomerQuery, options: Any) -> ValidRequest | None:
    """The first customer who is a member."""
    member = next((spelt(one) for one in query.references if _is_member(one)), None)
    return None if member is None else ValidRequest(path_values={"member": member}, options=options)


def hear_show(answer: Answer, _request: ValidRequest) -> ToldCustomer:
    """The member and the stamps."""
    return ToldCustomer(
        references=told_names((_NAMESPACE, answer.body.get("member"))),
        wallet=ToldWallet(available=told(answer.body, "stamps", int)),
    )


def ask_list(query: CustomersQuery, options: Any) -> ValidRequest | None:
    """Members by number; nothing can be sorted, sought or passed over otherwise."""
    plain = CustomersQuery(
        limit=query.limit,
        after=query.after,
        descending=query.descending,
        order=CustomerOrder.NUMBER,
        searched=query.searched,
        searches_names=query.searches_names,
        counts=query.counts,
    )
    if query != plain or query.limit < 1:
        return None
    behind = {} if query.after is None else {"behind": str(query.after)}
    newest = "true" if query.descending else "false"
    asked = {"limit": str(min(query.limit, _LARGEST_PAGE)), "newest": newest, **behind}
    return ValidRequest(query=asked, options=options)


def hear_list(answer: Answer, _request: ValidRequest) -> ToldCustomers:
    """The names of the members."""
    return ToldCustomers(
        customers=tuple(
            ToldCustomer(references=told_names((_NAMESPACE, member))) for member in answer.body["members"]
        )
    )


def ask_further(answer: Answer, request: ValidRequest) -> ValidRequest | None:
    """The members behind the last one."""
    behind = answer.body["behind"]
    if behind is None:
        return None
    return ValidRequest(query={**request.query, "behind": str(behind)}, options=request.options)


def parse_problem(answer: Answer, _operation: Operation) -> Code | None:
    """The kind is the code; of an unknown kind the status tells the likeliest."""
    match answer.body:
        case {"fault": {"kind": kind}}:
            return _KINDS.get(str(kind)) or _BY_STATUS.get(answer.status)
        case _:
            return None


_KINDS: Final = {code.value: code for code in Code}
_BY_STATUS: Final = {
    401: Code.INVALID_CREDENTIALS,
    403: Code.INSUFFICIENT_SCOPE,
    404: Code.UNKNOWN_CUSTOMER,
    409: Code.KEY_IN_FLIGHT,
    422: Code.INVALID,
    429: Code.RATE_LIMITED,
    503: Code.UNAVAILABLE,
}


def _is_member(reference: CustomerReference) -> bool:
    return reference.namespace in {_NAMESPACE, OWN_NAMESPACE}


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
            render_request=ask_change,
            parse_response=hear_change,
            scopes=("stamp",),
            ignored={"print": "the gateway has no printer"},
        ),
        Operation(
            id="showCard",
            asks=CustomerQuery,
            parse_request=parse_show,
            render_response=render_show,
            render_request=ask_show,
            parse_response=hear_show,
            scopes=("stamp",),
        ),
        Operation(
            id="listCards",
            asks=CustomersQuery,
            parse_request=parse_list,
            render_response=render_list,
            render_request=ask_list,
            parse_response=hear_list,
            next_request=ask_further,
            scopes=("stamp",),
        ),
    ),
    render_problem=render_problem,
    parse_problem=parse_problem,
    namespaces=namespaces,
    history_shows=history_shows,
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
