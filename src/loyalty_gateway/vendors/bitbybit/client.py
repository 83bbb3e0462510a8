"""bitbybit as its clients see it: what is asked of the vendor's server, and what its answers tell."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    Adjustment,
    CustomerReference,
    Everyone,
    spelt,
)
from loyalty_gateway.customer import (
    CustomerOrder,
    CustomerQuery,
    CustomersQuery,
    Enrolment,
    Existing,
    HistoryQuery,
    Only,
    page_at,
    sought,
)
from loyalty_gateway.moment import iso_in_calendar, microseconds_of
from loyalty_gateway.problem import Code
from loyalty_gateway.told import (
    ToldCustomer,
    ToldCustomers,
    ToldEnrolment,
    ToldEntry,
    ToldHistory,
    ToldReceipt,
    ToldWallet,
    told,
    told_fields,
    told_names,
    told_or_none,
)
from loyalty_gateway.vendor import Answer, Operation, ValidRequest
from loyalty_gateway.vendors.bitbybit.customers import listed

_NAMESPACE = "bitbybit"
_NO_REASON = "Points adjustment"
"""For an adjustment without a reason, since the vendor demands one."""
_LARGEST_PAGE = 100
_FILTERS = {Only.ALL: "all", Only.ADDED: "points_added", Only.DEDUCTED: "points_deducted"}
_SEARCHED = {"email", "phone"}
_SORTED_BY = {CustomerOrder.UPDATED: "updatedAt", CustomerOrder.NUMBER: "createdAt"}


def namespaces(_options: Any) -> tuple[str, ...]:
    """A customer has one id there."""
    return (_NAMESPACE,)


def history_shows(_adjustment: Adjustment) -> bool:
    """The reason comes back as the entry's note."""
    return True


# What is asked.


def render_adjust(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """One customer, by a magnitude and a direction; a reset has no words here."""
    customers, points_delta = adjustment.customers, adjustment.points_delta
    if isinstance(customers, Everyone) or len(customers) != 1 or not points_delta or not _is_named(customers[0]):
        return None
    body: dict[str, Any] = {
        "direction": "add" if points_delta > 0 else "deduct",
        "points": abs(points_delta),
        "reason": _NO_REASON if adjustment.reason is None else adjustment.reason,
    }
    if adjustment.metadata is not None:
        body["metadata"] = adjustment.metadata
    if adjustment.idempotency_key is not None:
        body["idempotencyKey"] = adjustment.idempotency_key
    return ValidRequest(path_values={"customerId": spelt(customers[0])}, body=body, options=options)


def render_wallet(query: CustomerQuery, options: Any) -> ValidRequest | None:
    """The wallet of the first customer who has an id there."""
    named = _first_named(query)
    return None if named is None else ValidRequest(path_values={"customerId": named}, options=options)


def render_get(query: CustomerQuery, options: Any) -> ValidRequest | None:
    """The first customer who has an id there."""
    named = _first_named(query)
    return None if named is None else ValidRequest(path_values={"id": named}, options=options)


def render_history(query: HistoryQuery, options: Any) -> ValidRequest | None:
    """The newest entries of one customer, up to a moment; there are no bounds besides."""
    if isinstance(query.customer, Everyone) or not _is_named(query.customer):
        return None
    newest = HistoryQuery(customer=query.customer, limit=query.limit, only=query.only, until=query.until)
    page = page_at(offset=0, limit=query.limit, largest=_LARGEST_PAGE)
    if query != newest or page is None:
        return None
    before = {} if query.until is None else {"before": iso_in_calendar(query.until + 1)}
    return ValidRequest(
        path_values={"customerId": spelt(query.customer)},
        query={"filter": _FILTERS[query.only], "limit": str(page[1]), **before},
        options=options,
    )


def render_create(enrolment: Enrolment, options: Any) -> ValidRequest | None:
    """A new customer with an email address or a phone number."""
    contacts = {one.namespace: one.value for one in enrolment.references}
    if not contacts or not contacts.keys() <= {"email", "phone"} or enrolment.existing is not Existing.REFUSE:
        return None
    given = {
        "email": contacts.get("email"),
        "phoneNumber": contacts.get("phone"),
        "firstName": enrolment.changes.get("first_name"),
        "lastName": enrolment.changes.get("last_name"),
    }
    body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return ValidRequest(body=body | _tags(enrolment.changes.get("tags")), options=options)


def _tags(tags: Any) -> dict[str, list[str]]:
    return {"tags": list(tags)} if tags else {}


def render_list(query: CustomersQuery, options: Any) -> ValidRequest | None:
    """A page of customers, found by a part of what names them, by tags and by sources."""
    page = page_at(offset=query.offset, limit=query.limit, largest=_LARGEST_PAGE)
    if page is None or query.order not in _SORTED_BY or not _is_found_so(query):
        return None
    asked = {
        "page": str(page[0]),
        "limit": str(page[1]),
        "sort": f"{_SORTED_BY[query.order]}:{'desc' if query.descending else 'asc'}",
        # Empty text is in every customer.
        "search": sought(query.containing or ""),
        "tags": ",".join(query.tags),
        "source": ",".join(query.sources),
    }
    return ValidRequest(query={name: value for name, value in asked.items() if value}, options=options)


def _is_found_so(query: CustomersQuery) -> bool:
    """Whether the list has words for all that restricts it; a value with a comma in it would be read as two."""
    bounds = (query.created_from, query.created_until, query.updated_from, query.updated_until)
    return (
        all(bound is None for bound in (*bounds, query.after, query.after_updated, query.excluded))
        and all(listed(",".join(values)) == values for values in (query.tags, query.sources))
        and (not query.containing or query.searches_names or not _SEARCHED.isdisjoint(query.searched))
    )


def _first_named(query: CustomerQuery) -> str | None:
    return next((spelt(one) for one in query.references if _is_named(one)), None)


def _is_named(reference: CustomerReference) -> bool:
    return reference.namespace in {_NAMESPACE, OWN_NAMESPACE}


# What is told.


def parse_adjust(answer: Answer, _request: ValidRequest) -> ToldReceipt:
    """The wallet and its new entry."""
    data = answer.body.get("data", {})
    return ToldReceipt(entry=_entry(data.get("ledger", {})), customer=_owner(data.get("wallet", {})))


def parse_wallet(answer: Answer, _request: ValidRequest) -> ToldCustomer:
    """The wallet."""
    return _owner(answer.body["data"])


def parse_history(answer: Answer, _request: ValidRequest) -> ToldHistory:
    """A page of the history."""
    return ToldHistory(entries=tuple(_entry(one) for one in answer.body["data"]))


def next_history(answer: Answer, request: ValidRequest) -> ValidRequest | None:
    """The entries before the moment that the answer names; raises ValueError where it names none."""
    if not answer.body["pagination"]["hasMore"]:
        return None
    before = answer.body["pagination"]["nextBefore"]
    if before is None:
        raise ValueError("there are more entries, and no way to them")
    return request.asking({"before": before})


def parse_create(answer: Answer, _request: ValidRequest) -> ToldEnrolment:
    """The customer, who is new."""
    return ToldEnrolment(customer=_customer(answer.body["data"]), is_new=True)


def parse_get(answer: Answer, _request: ValidRequest) -> ToldCustomer:
    """The customer, without points."""
    return _customer(answer.body["data"])


def parse_list(answer: Answer, _request: ValidRequest) -> ToldCustomers:
    """A page of customers, and how many there are in all."""
    return ToldCustomers(
        customers=tuple(_customer(one) for one in answer.body["data"]), total=answer.body["meta"]["total"]
    )


def next_list(answer: Answer, request: ValidRequest) -> ValidRequest | None:
    """The page behind the one asked for."""
    asked = int(request.query.get("page", "1"))
    return request.asking({"page": str(asked + 1)}) if answer.body["meta"]["hasNextPage"] else None


def _owner(wallet: Mapping[str, Any]) -> ToldCustomer:
    return ToldCustomer(
        references=told_names((_NAMESPACE, wallet.get("customerId"))),
        wallet=ToldWallet(
            available=told(wallet, "availablePoints", int),
            reserved=told(wallet, "reservedPoints", int),
            lifetime_earned=told(wallet, "lifetimeEarnedPoints", int),
            lifetime_burned=told(wallet, "lifetimeBurnedPoints", int),
            version=told(wallet, "version", int),
            created_at=told(wallet, "createdAt", microseconds_of),
            updated_at=told(wallet, "updatedAt", microseconds_of),
            last_entry_at=told_or_none(wallet, "lastLedgerAt", microseconds_of),
        ),
    )


def _entry(entry: Mapping[str, Any]) -> ToldEntry:
    points_delta, points_after = told(entry, "pointsDelta", int), told(entry, "availableAfter", int)
    return ToldEntry(
        id=told(entry, "id", str),
        points_delta=points_delta,
        points_before=UNSET if points_delta is UNSET or points_after is UNSET else points_after - points_delta,
        points_after=points_after,
        reserved_after=told(entry, "reservedAfter", int),
        reason=told_or_none(entry, "note", str),
        metadata=told_or_none(entry, "metadata", dict),
        idempotency_key=told(entry, "idempotencyKey", str),
        occurred_at=told(entry, "occurredAt", microseconds_of),
    )


def _customer(customer: Mapping[str, Any]) -> ToldCustomer:
    return ToldCustomer(
        references=told_names(
            (_NAMESPACE, customer.get("id")),
            ("email", customer.get("email")),
            ("phone", customer.get("phoneNumber")),
        ),
        profile=told_fields(customer, first_name="firstName", last_name="lastName")
        | ({"tags": tuple(customer["tags"])} if customer.get("tags") is not None else {}),
        wallet=ToldWallet(
            created_at=told(customer, "createdAt", microseconds_of),
            updated_at=told(customer, "updatedAt", microseconds_of),
        ),
    )


def parse_problem(answer: Answer, _operation: Operation) -> Code | None:
    """By the code of the error; of VALIDATION_ERROR and CONFLICT the message tells which."""
    match answer.body:
        case {"error": {"code": str(code), **error}}:
            message = error.get("message")
            return _BY_MESSAGE.get((code, str(message))) or _BY_CODE.get(code)
        case _:
            return None


_BY_CODE = {
    "MISSING_API_KEY": Code.MISSING_CREDENTIALS,
    "INVALID_API_KEY": Code.INVALID_CREDENTIALS,
    "IP_NOT_ALLOWED": Code.ADDRESS_NOT_ALLOWED,
    "RATE_LIMIT_EXCEEDED": Code.RATE_LIMITED,
    "INSUFFICIENT_SCOPE": Code.INSUFFICIENT_SCOPE,
    "METHOD_NOT_ALLOWED": Code.WRONG_METHOD,
    "PAYLOAD_TOO_LARGE": Code.BODY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": Code.UNSUPPORTED_MEDIA_TYPE,
    "VALIDATION_ERROR": Code.INVALID,
    "NOT_FOUND": Code.UNKNOWN_CUSTOMER,
    "CONFLICT": Code.KEY_IN_FLIGHT,
    "CUSTOMER_EXCLUDED": Code.CUSTOMER_EXCLUDED,
    "SERVICE_UNAVAILABLE": Code.UNAVAILABLE,
    "INTERNAL_ERROR": Code.UNFORESEEN,
}
_BY_MESSAGE = {
    ("VALIDATION_ERROR", "Insufficient points"): Code.TOO_FEW_POINTS,
    ("VALIDATION_ERROR", "points is too large"): Code.BALANCE_OVERFLOW,
    ("VALIDATION_ERROR", "idempotencyKey was used with another request"): Code.KEY_REUSED,
    ("VALIDATION_ERROR", "The request cannot be read as JSON"): Code.UNREADABLE,
    ("CONFLICT", "A customer with this email or phone number exists already"): Code.CUSTOMER_CONFLICT,
    ("NOT_FOUND", "Not found"): Code.UNKNOWN_PATH,
}
