"""Salla as its clients see it: what is asked of the vendor's server, and what its answers tell."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import UNSET, UnsetType

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone
from loyalty_gateway.customer import CustomerOrder, CustomerQuery, CustomersQuery, HistoryQuery, Only
from loyalty_gateway.problem import Code
from loyalty_gateway.told import (
    ToldCustomer,
    ToldCustomers,
    ToldEntry,
    ToldHistory,
    ToldReceipt,
    ToldWallet,
    names_here,
    told,
    told_fields,
    told_names,
)
from loyalty_gateway.vendor import Answer, Operation, ValidRequest
from loyalty_gateway.vendors.salla.customers import NAMESPACE, customer_numbered, numbered, spelling
from loyalty_gateway.vendors.salla.dates import day_beginning, day_ending, day_told, moment_told
from loyalty_gateway.vendors.salla.pages import page_query

_NO_REASON: Final = "Points adjustment"
"""For an adjustment without a reason, since the vendor demands one."""
_CHANNELS: Final = ("email", "sms", "mobile")
_SEARCHED: Final = {"email", "phone"}
_WITH_POINTS: Final = {"fields[]": "total_points"}
"""The balance is told of a customer only where it is asked for."""


def namespaces(_options: Any) -> tuple[str, ...]:
    """A customer has one number there."""
    return (NAMESPACE,)


def history_shows(adjustment: Adjustment) -> bool:
    """Only what was granted is a line, in the history of a customer: a deduction or a reset is none."""
    return not isinstance(adjustment.customers, Everyone) and (adjustment.points_delta or 0) > 0


# What is asked.


def render_adjust(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """Numbered customers or everyone, by a magnitude and a type or by a reset."""
    addressed, moved = _addressed(adjustment.customers), _moved(adjustment.points_delta)
    if addressed is None or moved is None:
        return None
    body: dict[str, Any] = {
        **moved,
        "reason": _NO_REASON if adjustment.reason is None else adjustment.reason,
        "channel_send": [channel for channel in adjustment.notify if channel in _CHANNELS],
        **addressed,
    }
    return ValidRequest(body=body, options=options)


def _addressed(customers: tuple[CustomerReference, ...] | Everyone) -> dict[str, Any] | None:
    if isinstance(customers, Everyone):
        # The list is required as published, and is empty beside everyone.
        return {"customers": [], "select_all": True}
    numbers = [number for customer in customers if (number := numbered(customer)) is not None]
    return {"customers": numbers} if numbers and len(numbers) == len(customers) else None


def _moved(points_delta: int | None) -> dict[str, Any] | None:
    if points_delta is None:
        # Without points, so that a server that did not know the flag would refuse and move nothing.
        return {"reset_points": True, "type": "minus"}
    if points_delta == 0:
        return None
    return {"points": abs(points_delta), "type": "plus" if points_delta > 0 else "minus"}


def render_history(query: HistoryQuery, options: Any) -> ValidRequest | None:
    """One customer's grants, oldest first; deductions are no lines, and nothing bounds the history."""
    bounds = (query.after, query.before, query.since, query.until)
    if (
        isinstance(query.customer, Everyone)
        or query.newest_first
        or query.by_points
        or query.only is Only.DEDUCTED
        or any(bound is not None for bound in bounds)
    ):
        return None
    customer, page = spelling(query.customer), page_query(limit=query.limit, offset=query.offset)
    if customer is None or page is None:
        return None
    return ValidRequest(query={"customer_id": customer, **page}, options=options)


def render_details(query: CustomerQuery, options: Any) -> ValidRequest | None:
    """The first customer who has a number there, with the balance."""
    numbers = (spelling(one) for one in query.references if numbered(one) is not None)
    number = next(filter(None, numbers), None)
    if number is None:
        return None
    return ValidRequest(path_values={"customer": number}, query=_WITH_POINTS, options=options)


def render_list(query: CustomersQuery, options: Any) -> ValidRequest | None:
    """A page of customers, newest first, by a keyword and whole days of enrolment, with their balances."""
    page, days = page_query(limit=query.limit, offset=query.offset), _days(query)
    if page is None or days is None or not _is_listed_so(query):
        return None
    keyword = {"keyword": query.containing} if query.containing and _keyword(query) else {}
    return ValidRequest(query={**page, **keyword, **days, **_WITH_POINTS}, options=options)


def _is_listed_so(query: CustomersQuery) -> bool:
    """Whether the list has this order, and words for all that restricts it."""
    bounds = (query.after, query.after_updated, query.updated_from, query.updated_until, query.excluded)
    return (
        query.order is CustomerOrder.NUMBER
        and query.descending
        and not query.tags
        and not query.sources
        and all(bound is None for bound in bounds)
        and (not _keyword(query) or query.searches_names or not _SEARCHED.isdisjoint(query.searched))
    )


def _keyword(query: CustomersQuery) -> str:
    """What is looked for; empty text is in every customer, and Salla has no words for white space."""
    return (query.containing or "").strip(" \t\r\n")


def _days(query: CustomersQuery) -> dict[str, str] | None:
    """The bounds as days; ``None`` where one is within a day."""
    days: dict[str, str] = {}
    for name, bound, day_of in (
        ("date_from", query.created_from, day_beginning),
        ("date_to", query.created_until, day_ending),
    ):
        day = None if bound is None else day_of(bound)
        if day is not None:
            days[name] = day
        elif bound is not None:
            return None
    return days


# What is told.


def parse_adjust(_answer: Answer, _request: ValidRequest) -> ToldReceipt:
    """That it was carried out, and no more."""
    return ToldReceipt()


def parse_history(answer: Answer, _request: ValidRequest) -> ToldHistory:
    """A page of grants; where it is the only one, what is left of them all is the balance."""
    entries = tuple(_grant(one) for one in answer.body.get("data") or ())
    balance = _balance(entries, answer.body.get("pagination") or {})
    return ToldHistory(entries=entries, customer=ToldCustomer(wallet=ToldWallet(available=balance)))


def _grant(grant: Mapping[str, Any]) -> ToldEntry:
    return ToldEntry(
        points_delta=told(grant, "points", _number),
        spent=told(grant, "used_points", _number),
        reason=_text(grant["notes"]) if "notes" in grant else UNSET,
        occurred_at=told(grant, "created_at", moment_told),
    )


def _balance(entries: tuple[ToldEntry, ...], paging: Mapping[str, Any]) -> int | UnsetType:
    left = [
        entry.points_delta - entry.spent
        for entry in entries
        if isinstance(entry.points_delta, int) and isinstance(entry.spent, int)
    ]
    place = tuple(told(paging, name, _number) for name in ("currentPage", "totalPages", "total"))
    return sum(left) if place == (1, 1, len(left)) and len(left) == len(entries) else UNSET


def parse_details(answer: Answer, _request: ValidRequest) -> ToldCustomer:
    """The customer, with the balance where it was asked for."""
    return _customer(answer.body.get("data") or {})


def parse_list(answer: Answer, _request: ValidRequest) -> ToldCustomers:
    """A page of customers, and how many there are in all."""
    return ToldCustomers(
        customers=tuple(_customer(one) for one in answer.body.get("data") or ()),
        total=told(answer.body.get("pagination") or {}, "total", _number),
    )


def next_page(answer: Answer, request: ValidRequest) -> ValidRequest | None:
    """The page behind the one asked for, whichever the answer says that it is, so that there is an end."""
    asked = int(request.query.get("page", 1))
    last = told(answer.body.get("pagination") or {}, "totalPages", _number)
    if last is UNSET or asked >= last:
        return None
    return request.asking({"page": str(asked + 1)})


def _customer(customer: Mapping[str, Any]) -> ToldCustomer:
    number = told(customer, "id", _number)
    numbers = () if number is UNSET else (customer_numbered(number),)
    names = told_names(("email", customer.get("email")), ("phone", _phone(customer)))
    texts = told_fields(customer, first_name="first_name", last_name="last_name")
    days = told_fields(customer, date_of_birth="birthday")
    profile = {name: _text(text) for name, text in texts.items()} | {
        name: day_told(day) for name, day in days.items()
    }
    return ToldCustomer(
        references=names_here((*numbers, *names)),
        profile={name: value for name, value in profile.items() if value is not UNSET},
        wallet=ToldWallet(
            available=told(customer, "total_points", _number),
            excluded=told(customer, "is_blocked", _truth),
            updated_at=told(customer, "updated_at", moment_told),
        ),
    )


def _phone(customer: Mapping[str, Any]) -> str | None:
    """The number with its country's code; without one it could be anybody's."""
    code, number = told(customer, "mobile_code", _number), told(customer, "mobile", _number)
    return None if code is UNSET or number is UNSET else f"+{code}{number}"


def _number(value: Any) -> int | UnsetType:
    """A whole number, which may come as text; what is none tells nothing."""
    match value:
        case bool():
            return UNSET
        case int():
            return value
        case float() if value.is_integer():
            return int(value)
        case str() if found := _WHOLE.fullmatch(value.strip()):
            return int(found[1])
        case _:
            return UNSET


_WHOLE: Final = re.compile(r"([+-]?[0-9]{1,20})(?:\.0*)?", re.ASCII)


def _text(value: Any) -> str | None:
    """Text, which may come as a number; where it is empty there is none."""
    return None if value is None or value == "" else str(value)


def _truth(value: Any) -> bool | UnsetType:
    return _TRUTHS.get(str(value).lower(), UNSET)


_TRUTHS: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}


# What is refused.


def parse_problem(answer: Answer, operation: Operation) -> Code | None:
    """By the status; of 401 and 404 the error's code tells which, of 422 the fields with what is said of them."""
    match answer.status, answer.body:
        case 400, {"success": False, "error": {}}:
            # The only 400 that is known to be sent; of reads there is none.
            return Code.TOO_FEW_POINTS if operation.asks is Adjustment else None
        case 401, {"success": False, "error": dict(error)}:
            return _unauthorized(error)
        case 404, {"success": False, "error": dict(error)}:
            is_customer = str(error.get("code")) == "404" and operation.asks is not CustomersQuery
            return Code.UNKNOWN_CUSTOMER if is_customer else Code.UNKNOWN_PATH
        case 422, {"success": False, "error": {"fields": dict(fields)}}:
            return _invalid(fields, operation)
        case status, {"success": False, "error": {}}:
            return _BY_STATUS.get(status)
        case _:
            return None


_BY_STATUS: Final = {
    403: Code.ADDRESS_NOT_ALLOWED,
    405: Code.WRONG_METHOD,
    409: Code.KEY_IN_FLIGHT,
    413: Code.BODY_TOO_LARGE,
    415: Code.UNSUPPORTED_MEDIA_TYPE,
    422: Code.INVALID,
    429: Code.RATE_LIMITED,
    500: Code.UNFORESEEN,
    503: Code.UNAVAILABLE,
}


def _unauthorized(error: Mapping[str, Any]) -> Code:
    if error.get("code") == "Invalid-token":
        return Code.MISSING_CREDENTIALS
    return Code.INSUFFICIENT_SCOPE if "scope" in str(error.get("message")) else Code.INVALID_CREDENTIALS


def _invalid(fields: Mapping[str, Any], operation: Operation) -> Code:
    """By the field, where it is the only one and is there: a missing one is the fault of the request alone."""
    # An element of a list may be told by its place in it.
    names = {name.partition(".")[0] for name in fields}
    messages = [message for told_of in fields.values() for message in _messages(told_of)]
    if len(names) != 1 or any(_says(message, _MISSING) for message in messages):
        return Code.INVALID
    (name,) = names
    if name == _CUSTOMER_FIELDS.get(operation.asks):
        return Code.UNKNOWN_CUSTOMER
    return _BY_FIELD.get(name, Code.INVALID) if all(_says(one, _NOT_VALID) for one in messages) else Code.INVALID


def _messages(told_of: Any) -> Iterable[str]:
    return map(str, told_of) if isinstance(told_of, list) else (str(told_of),)


def _says(message: str, words: tuple[str, ...]) -> bool:
    return any(word in message for word in words)


_MISSING: Final = ("مطلوب", "required")
_NOT_VALID: Final = ("غير صالح", "invalid")
_CUSTOMER_FIELDS: Final[Mapping[type, str]] = {Adjustment: "customers", HistoryQuery: "customer_id"}
_BY_FIELD: Final = {
    "points": Code.AMOUNT_OUT_OF_RANGE,
    "Idempotency-Key": Code.KEY_REUSED,
    "body": Code.UNREADABLE,
}
