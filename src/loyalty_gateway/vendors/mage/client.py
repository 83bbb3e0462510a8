"""Mage as its clients see it: what is asked of the vendor's server, and what its answers tell."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, spelt
from loyalty_gateway.customer import (
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    Enrolment,
    HistoryQuery,
    Only,
    page_at,
)
from loyalty_gateway.moment import microseconds_of
from loyalty_gateway.told import (
    ToldCustomer,
    ToldCustomers,
    ToldEnrolment,
    ToldEntry,
    ToldHistory,
    ToldReceipt,
    ToldWallet,
    names_here,
    told,
    told_fields,
    told_names,
    told_or_none,
)
from loyalty_gateway.vendor import Answer, ValidRequest
from loyalty_gateway.vendors.mage.customers import DATES, IS_EXCLUDED, ORDERS, day, excludes_tier
from loyalty_gateway.vendors.mage.history import APPROVED
from loyalty_gateway.vendors.mage.resource import customer_of, page

_LARGEST_PAGE = 100
_SHOPIFY_ID = re.compile(r"[0-9]{1,19}")
_SORTED_BY = {order: name for name, order in ORDERS.items()}
_STATUS = {excluded: status for status, excluded in IS_EXCLUDED.items()}


def namespaces(_options: Any) -> tuple[str, ...]:
    """A customer is named by Shopify id or by email."""
    return ("shopify", "email")


def history_shows(_adjustment: Adjustment) -> bool:
    """The earning history does not carry the note."""
    return False


# What is asked.


def render_adjust(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """One customer, by signed points; a reset has no words here."""
    customers, points_delta = adjustment.customers, adjustment.points_delta
    if isinstance(customers, Everyone) or len(customers) != 1 or not points_delta:
        return None
    identifier = _identifier(customers[0])
    if identifier is None or not identifier.strip():
        return None
    note = {} if adjustment.reason is None else {"note": adjustment.reason}
    return ValidRequest(
        path_values={"identifier": identifier},
        body={
            "adjustment": points_delta,
            **note,
            "update_lifetime_points": adjustment.lifetime.moves_earned(points_delta),
            "send_email": "email" in adjustment.notify,
        },
        options=options,
    )


def render_get(query: CustomerQuery, options: Any) -> ValidRequest | None:
    """The first customer whom an identifier can name."""
    named = (identifier for one in query.references if (identifier := _identifier(one)) is not None)
    identifier = next(named, None)
    return None if identifier is None else ValidRequest(path_values={"identifier": identifier}, options=options)


def render_customers(query: CustomersQuery, options: Any) -> ValidRequest | None:
    """A page of customers, found by a part of the email address or by their status; no other filter has words."""
    begins_within = (query.after, query.after_updated)
    bounds = (query.created_from, query.created_until, query.updated_from, query.updated_until)
    asked = _page(query.limit, query.offset)
    if (
        asked is None
        or query.order not in _SORTED_BY
        or any(bound is not None for bound in (*begins_within, *bounds))
        or query.tags
        or query.sources
        or (query.containing and "email" not in query.searched)
    ):
        return None
    asked["sort"] = _direction(descending=query.descending) + _SORTED_BY[query.order]
    if query.containing:
        asked["filter[email]"] = query.containing
    if query.excluded is not None:
        asked["filter[loyalty_status]"] = _STATUS[query.excluded]
    return ValidRequest(query=asked, options=options)


def render_enroll(enrolment: Enrolment, options: Any) -> ValidRequest | None:
    """The customer with a Shopify id; whoever is enrolled already stays as they are, and the answer says so."""
    digits = (one.value for one in enrolment.references if one.namespace == "shopify")
    identifier = next((value for value in digits if _SHOPIFY_ID.fullmatch(value)), None)
    return None if identifier is None else ValidRequest(body={"shopify_customer_id": identifier}, options=options)


def render_update(update: CustomerUpdate, options: Any) -> ValidRequest | None:
    """The dates and the exclusion that are to change; ``None`` where it is only something else."""
    identifier = _identifier(update.customer)
    body = {name: update.changes[name] for name in DATES if name in update.changes}
    if update.excluded is not None:
        body["is_excluded"] = update.excluded
    if identifier is None or (update.changes and not body):
        return None
    return ValidRequest(path_values={"identifier": identifier}, body=body, options=options)


def render_history(query: HistoryQuery, options: Any) -> ValidRequest | None:
    """A page of one customer's entries whose points were given; there are no bounds but the page's."""
    identifier = None if isinstance(query.customer, Everyone) else _identifier(query.customer)
    asked = _page(query.limit, query.offset)
    bounds = (query.after, query.before, query.since, query.until)
    if (
        identifier is None
        or asked is None
        or query.only is not Only.ALL
        or any(bound is not None for bound in bounds)
    ):
        return None
    asked["filter[status]"] = APPROVED
    asked["sort"] = _direction(descending=query.newest_first) + ("points" if query.by_points else "created_at")
    return ValidRequest(path_values={"identifier": identifier}, query=asked, options=options)


def _identifier(reference: CustomerReference) -> str | None:
    """What means this customer to Mage; ``None`` where it would mean nobody or another one."""
    identifier = spelt(reference)
    return identifier if identifier and customer_of(identifier) == reference else None


def _page(limit: int | None, offset: int) -> dict[str, str] | None:
    begun = page_at(offset=offset, limit=limit, largest=_LARGEST_PAGE)
    return None if begun is None else {"page[number]": str(begun[0]), "page[size]": str(begun[1])}


def _direction(*, descending: bool) -> str:
    return "-" if descending else ""


# What is told.


def parse_adjust(answer: Answer, _request: ValidRequest) -> ToldReceipt:
    """The balance before and after; the points that were asked for can be more than the difference."""
    data = answer.body.get("data", {})
    given = data.get("attributes", {})
    points_before, points_after = told(given, "points_before", int), told(given, "points_after", int)
    return ToldReceipt(
        entry=ToldEntry(
            points_delta=UNSET
            if points_before is UNSET or points_after is UNSET
            else points_after - points_before,
            points_asked=told(given, "adjustment", int),
            points_before=points_before,
            points_after=points_after,
            reason=told_or_none(given, "note", str),
        ),
        customer=ToldCustomer(
            references=_names(data, given), wallet=ToldWallet(available=told(given, "current_points", int))
        ),
    )


def parse_get(answer: Answer, request: ValidRequest) -> ToldCustomer:
    """The customer; a tier that was asked to be left out is not told."""
    return _customer(answer.body["data"], with_tier=not excludes_tier(request))


def parse_customers(answer: Answer, _request: ValidRequest) -> ToldCustomers:
    """A page of customers, and how many there are in all."""
    return ToldCustomers(
        customers=tuple(_customer(one) for one in answer.body["data"]),
        total=told(answer.body.get("meta", {}), "total", int),
    )


def parse_enroll(answer: Answer, _request: ValidRequest) -> ToldEnrolment:
    """The customer, who is new where the status says so."""
    return ToldEnrolment(customer=_customer(answer.body["data"]), is_new=answer.status == 201)


def parse_update(answer: Answer, _request: ValidRequest) -> ToldCustomer:
    """The customer after the change."""
    return _customer(answer.body["data"])


def parse_history(answer: Answer, _request: ValidRequest) -> ToldHistory:
    """The entries whose points were given; those pending and rejected moved none."""
    return ToldHistory(entries=tuple(_entry(one) for one in answer.body["data"] if _is_approved(one)))


def next_page(answer: Answer, request: ValidRequest) -> ValidRequest | None:
    """The page with the next number, up to the last."""
    number, _ = page(request.query)
    if number >= int(answer.body["meta"]["total_pages"]):
        return None
    return request.asking({"page[number]": str(number + 1)})


def _customer(resource: Mapping[str, Any], *, with_tier: bool = True) -> ToldCustomer:
    given = resource.get("attributes", {})
    born = told_or_none(given, "date_of_birth", day)
    return ToldCustomer(
        references=_names(resource, given),
        profile=told_fields(given, first_name="first_name", last_name="last_name")
        | ({} if born is UNSET else {"date_of_birth": born}),
        wallet=ToldWallet(
            available=told(given, "current_points", int),
            lifetime_earned=told(given, "lifetime_points", int),
            lifetime_burned=told(given, "redeemed_points", int),
            excluded=told(given, "loyalty_status", IS_EXCLUDED.__getitem__),
            tier=told_or_none(given, "vip_tier", _tier_name) if with_tier else UNSET,
            created_at=told(given, "created_at", microseconds_of),
            updated_at=told(given, "updated_at", microseconds_of),
        ),
    )


def _names(resource: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[CustomerReference, ...]:
    """What the identifier and the email address name; where there is no Shopify id, they are the same."""
    identifier = str(given.get("shopify_customer_id") or resource.get("id") or "")
    named = (customer_of(identifier),) if identifier else ()
    return names_here((*named, *told_names(("email", given.get("email")))))


def _tier_name(tier: Mapping[str, Any]) -> str:
    return str(tier["name"])


def _is_approved(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("attributes", {}).get("status", APPROVED) == APPROVED)


def _entry(entry: Mapping[str, Any]) -> ToldEntry:
    given = entry.get("attributes", {})
    given_at = told(given, "points_given_at", microseconds_of)
    return ToldEntry(
        id=told(entry, "id", str),
        points_delta=told(given, "points", int),
        occurred_at=told(given, "created_at", microseconds_of) if given_at is UNSET else given_at,
    )
