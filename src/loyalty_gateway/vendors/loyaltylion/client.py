"""LoyaltyLion as its clients see it: what is asked of the vendor's server, and what its answers tell."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UnsetType

from loyalty_gateway.adjustment import OWN_NAMESPACE, Adjustment, CustomerReference, Everyone, spelt
from loyalty_gateway.customer import (
    CustomerOrder,
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    HistoryQuery,
    page_at,
    sought,
)
from loyalty_gateway.moment import iso_in_calendar, microseconds_of
from loyalty_gateway.problem import Code
from loyalty_gateway.told import (
    ToldCustomer,
    ToldCustomers,
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
from loyalty_gateway.vendors.loyaltylion import refusals
from loyalty_gateway.vendors.loyaltylion.pages import LARGEST_PAGE

_SORTED_BY: Final = {CustomerOrder.NUMBER: "id", CustomerOrder.UPDATED: "updated_at"}
_LARGEST_NUMBER: Final = 2**53 - 1


def namespaces(options: Any) -> tuple[str, ...]:
    """A customer is named by the id that the merchant's shop gave."""
    return (options.customer_namespace,)


def history_shows(_adjustment: Adjustment) -> bool:
    """The reason comes back as the note of the transaction's adjustment."""
    return True


# What is asked.


def render_add(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """More points for one customer."""
    points_delta = adjustment.points_delta
    return None if points_delta is None else _moving(points_delta, adjustment, options)


def render_remove(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """Fewer points for one customer; a reset has no words here."""
    points_delta = adjustment.points_delta
    return None if points_delta is None else _moving(-points_delta, adjustment, options)


def _moving(points: int, adjustment: Adjustment, options: Any) -> ValidRequest | None:
    customers = adjustment.customers
    if points <= 0 or isinstance(customers, Everyone) or len(customers) != 1:
        return None
    merchant_id = _merchant_id(customers[0], options)
    # Who is called by white space alone is asked about, but gets no points.
    if merchant_id is None or merchant_id.isspace():
        return None
    body = {"points": points} | ({} if adjustment.reason is None else {"reason": adjustment.reason})
    return ValidRequest(path_values={"merchant_id": merchant_id}, body=body, options=options)


def render_update(update: CustomerUpdate, options: Any) -> ValidRequest | None:
    """The birthday and whether the customer is blocked, where the update is about either."""
    merchant_id = _merchant_id(update.customer, options)
    wanted = {"birthday": update.changes["date_of_birth"]} if "date_of_birth" in update.changes else {}
    if update.excluded is not None:
        wanted["blocked"] = update.excluded
    if merchant_id is None or (update.changes and not wanted):
        return None
    return ValidRequest(path_values={"merchant_id": merchant_id}, body={"customer": wanted}, options=options)


def render_list(query: CustomersQuery | CustomerQuery, options: Any) -> ValidRequest | None:
    """A page of customers; of those asked for by name, the ones in whose email address theirs stands."""
    if isinstance(query, CustomerQuery):
        email = next((one.value for one in query.references if one.namespace == "email"), "")
        return ValidRequest(query=_limit(None) | {"email": email}, options=options) if email else None
    order, page = _order(query), page_at(offset=query.offset, limit=query.limit, largest=LARGEST_PAGE)
    if order is None or page is None:
        return None
    number, size = page
    asked = order | {"limit": str(size)} | _bounds("created_at", query.created_from, query.created_until)
    asked |= _bounds("updated_at", query.updated_from, query.updated_until)
    if query.offset:
        asked["page"] = str(number)
    if query.containing is not None:
        # What stands elsewhere is not looked at, so less would be found than was asked for.
        in_emails_alone = query.searched == ("email",) and not query.searches_names
        if not in_emails_alone or not sought(query.containing):
            return None
        asked["email"] = query.containing
    return ValidRequest(query=asked, options=options)


def _order(query: CustomersQuery) -> dict[str, str] | None:
    """How the list is sorted and where it begins; behind a customer it rises by the numbers."""
    if query.after is None:
        field = _SORTED_BY.get(query.order)
        direction = "desc" if query.descending else "asc"
        return None if field is None else {"sort_field": field, "sort_direction": direction}
    rises = query.order is CustomerOrder.NUMBER and not query.descending
    return {"since_id": str(query.after)} if rises and query.after <= _LARGEST_NUMBER else None


def render_history_of_customer(query: HistoryQuery | CustomerQuery, options: Any) -> ValidRequest | None:
    """One customer's transactions, of which the newest alone tells how the customer stands."""
    names = query.references if isinstance(query, CustomerQuery) else (query.customer,)
    ids = (_merchant_id(one, options) for one in names if isinstance(one, CustomerReference))
    merchant_id = next((one for one in ids if one is not None), None)
    asked = _limit(1) if isinstance(query, CustomerQuery) else _history(query)
    if merchant_id is None or asked is None:
        return None
    return ValidRequest(path_values={"merchant_id": merchant_id}, query=asked, options=options)


def render_history_of_all(query: HistoryQuery, options: Any) -> ValidRequest | None:
    """All transactions, or those of the customer with this number of the vendor's own."""
    asked = _history(query)
    if asked is None:
        return None
    if isinstance(query.customer, CustomerReference):
        number = query.customer.value
        if query.customer.namespace != OWN_NAMESPACE or int(number) > _LARGEST_NUMBER:
            return None
        asked["customer_id"] = number
    return ValidRequest(query=asked, options=options)


def _history(query: HistoryQuery) -> dict[str, str] | None:
    """Newest first, or rising behind an entry; what lies before one is reached by cursors alone."""
    asked = _limit(query.limit) | _bounds("created_at", query.since, query.until)
    if query.before is not None or query.offset or query.by_points:
        return None
    if query.newest_first:
        return asked if query.after is None else None
    # A list rises behind an id alone, and behind 0 there are all.
    after = query.after or 0
    return asked | {"since_id": str(after)} if after <= _LARGEST_NUMBER else None


def _merchant_id(reference: CustomerReference, options: Any) -> str | None:
    is_named = reference.namespace in {options.customer_namespace, OWN_NAMESPACE}
    return spelt(reference) or None if is_named else None


def _limit(limit: int | None) -> dict[str, str]:
    return {"limit": str(LARGEST_PAGE if limit is None else min(max(limit, 1), LARGEST_PAGE))}


def _bounds(field: str, first: int | None, last: int | None) -> dict[str, str]:
    bounds = {f"{field}_min": first, f"{field}_max": last}
    return {name: iso_in_calendar(moment) for name, moment in bounds.items() if moment is not None}


# What is told.


def parse_adjusted(_answer: Answer, _request: ValidRequest) -> ToldReceipt:
    """That it was carried out; the body is empty."""
    return ToldReceipt()


def parse_update(answer: Answer, request: ValidRequest) -> ToldCustomer:
    """The customer as they are now."""
    return _customer(answer.body["customer"], request.options)


def parse_list(answer: Answer, request: ValidRequest) -> ToldCustomers:
    """A page of customers."""
    return ToldCustomers(customers=tuple(_customer(one, request.options) for one in answer.body["customers"]))


def parse_history_of_customer(answer: Answer, request: ValidRequest) -> ToldHistory:
    """A page of the customer's transactions, each of which tells how the customer stands."""
    entries = _entries(answer, request)
    owners = (one.customer for one in entries if isinstance(one.customer, ToldCustomer))
    return ToldHistory(entries=entries, customer=next(owners, ToldCustomer()))


def parse_history_of_all(answer: Answer, request: ValidRequest) -> ToldHistory:
    """A page of transactions, each with its customer."""
    return ToldHistory(entries=_entries(answer, request))


def next_page(answer: Answer, request: ValidRequest) -> ValidRequest | None:
    """The page to which the cursor leads, which carries the filters with it."""
    cursor = (answer.body.get("cursor") or {}).get("next")
    if not cursor:
        return None
    limit = {"limit": request.query["limit"]} if "limit" in request.query else {}
    return ValidRequest(path_values=request.path_values, query={"cursor": cursor} | limit, options=request.options)


def _entries(answer: Answer, request: ValidRequest) -> tuple[ToldEntry, ...]:
    return tuple(_entry(one, request.options) for one in answer.body["transactions"])


def _entry(transaction: Mapping[str, Any], options: Any) -> ToldEntry:
    return ToldEntry(
        id=told(transaction, "id", str),
        points_delta=told(transaction, "points_approved", int),
        # What is no adjustment has no note.
        reason=told_or_none(transaction.get("adjustment") or {}, "note", str),
        occurred_at=told(transaction, "created_at", microseconds_of),
        customer=told(transaction, "customer", lambda customer: _customer(customer, options)),
    )


def _customer(customer: Mapping[str, Any], options: Any) -> ToldCustomer:
    """A customer in full, or the few fields that a transaction tells."""
    namespace = options.customer_namespace
    return ToldCustomer(
        references=told_names(
            (namespace, customer.get("merchant_id")),
            *((namespace, linked) for linked in customer.get("linked_merchant_ids") or ()),
            ("email", customer.get("email")),
        ),
        profile=told_fields(customer.get("properties") or {}, first_name="first_name", last_name="last_name")
        | told_fields(customer, date_of_birth="birthday"),
        wallet=ToldWallet(
            available=told(customer, "points_approved", int),
            lifetime_burned=told(customer, "points_spent", int),
            excluded=told(customer, "blocked", bool),
            tier=told_or_none(customer, "loyalty_tier_membership", _tier),
            created_at=told(customer, "created_at", microseconds_of),
            updated_at=told(customer, "updated_at", microseconds_of),
        ),
    )


def _tier(membership: Mapping[str, Any]) -> str | UnsetType:
    return told(membership.get("loyalty_tier") or {}, "name", str)


def parse_problem(answer: Answer, operation: Operation) -> Code | None:
    """By the text, whichever of the two families it is told in; else by the status alone."""
    match answer.body:
        case {"error": {"message": refusals.INVALID} as error} if answer.status == _INVALID:
            return _invalid(error.get("details"))
        case {"error": {"message": str(text)} | str(text)}:
            refused = _BY_TEXT.get(text) if answer.status < _FAILED else None
            return refused or _by_status(answer.status, operation)
        case _:
            return None


def _invalid(details: Any) -> Code:
    match details:
        case None:
            return Code.UNREADABLE
        case refusals.TOO_MANY_POINTS:
            return Code.BALANCE_OVERFLOW
        case _:
            return Code.INVALID


def _by_status(status: int, operation: Operation) -> Code | None:
    if status == _NOT_FOUND and operation.asks is CustomersQuery:
        return Code.UNKNOWN_PATH
    return _BY_STATUS.get(status)


_INVALID: Final = 400
_NOT_FOUND: Final = 404
_FAILED: Final = 500
_BY_TEXT: Final = {
    refusals.ADDRESS_NOT_ALLOWED: Code.ADDRESS_NOT_ALLOWED,
    refusals.NOT_FOUND: Code.UNKNOWN_PATH,
    refusals.CUSTOMER_NOT_FOUND: Code.UNKNOWN_CUSTOMER,
    refusals.KEY_IN_FLIGHT: Code.KEY_IN_FLIGHT,
    refusals.KEY_REUSED: Code.KEY_REUSED,
    refusals.CUSTOMER_BLOCKED: Code.CUSTOMER_EXCLUDED,
    refusals.TOO_FEW_POINTS: Code.TOO_FEW_POINTS,
    refusals.CUSTOMER_EXISTS: Code.CUSTOMER_CONFLICT,
}
"""Of the statuses of these texts only some are documented, so any refusal that says one is taken at its word."""
_BY_STATUS: Final = {
    400: Code.INVALID,
    401: Code.INVALID_CREDENTIALS,
    403: Code.INSUFFICIENT_SCOPE,
    404: Code.UNKNOWN_CUSTOMER,
    409: Code.KEY_IN_FLIGHT,
    413: Code.BODY_TOO_LARGE,
    422: Code.INVALID,
    429: Code.RATE_LIMITED,
    500: Code.UNFORESEEN,
    503: Code.UNAVAILABLE,
}
