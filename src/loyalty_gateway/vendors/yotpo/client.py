"""Yotpo as its clients see it: what is asked of the vendor's server, and what its answers tell."""

from collections.abc import Iterable, Mapping
from datetime import date
from operator import not_
from typing import Any

from msgspec import UNSET, UnsetType

from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    Adjustment,
    CustomerReference,
    Everyone,
    customer_reference,
    spelt,
)
from loyalty_gateway.customer import CustomerQuery, Enrolment, Existing, HistoryQuery
from loyalty_gateway.moment import microseconds_of
from loyalty_gateway.told import (
    ToldCustomer,
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
from loyalty_gateway.vendor import Answer, ValidRequest
from loyalty_gateway.vendors.yotpo import names
from loyalty_gateway.vendors.yotpo.customers import UNTITLED, unwrapped
from loyalty_gateway.vendors.yotpo.names import TILL, text


def namespaces(options: Any) -> tuple[str, ...]:
    """Points are adjusted by the shop's id or the email."""
    return tuple(namespace for _, namespace in names.adjusting(options.customer_id_namespace))


def history_shows(adjustment: Adjustment) -> bool:
    """The title comes back as the action of the item; what is not visible may be left out there."""
    return adjustment.visible


# What is asked.


def render_adjust(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """One customer on the Loyalty API, where the title may be left out."""
    title = {} if adjustment.reason is None else {"history_title": adjustment.reason}
    return _adjusting(adjustment, title | {"visible_to_customer": adjustment.visible}, options)


def render_store_adjust(adjustment: Adjustment, options: Any) -> ValidRequest | None:
    """One customer on the App Developer API, which demands a title and spells truth as a word."""
    title = UNTITLED if adjustment.reason is None else adjustment.reason
    visible = "true" if adjustment.visible else "false"
    return _adjusting(adjustment, {"history_title": title, "visible_to_customer": visible}, options)


def _adjusting(adjustment: Adjustment, shown: dict[str, Any], options: Any) -> ValidRequest | None:
    customers, points_delta = adjustment.customers, adjustment.points_delta
    if isinstance(customers, Everyone) or len(customers) != 1 or points_delta is None:
        return None
    named = _addressed(customers[0], options)
    if named is None:
        return None
    amount = {
        "point_adjustment_amount": points_delta,
        "apply_adjustment_to_points_earned": adjustment.lifetime.moves_earned(points_delta),
    }
    return ValidRequest(body=named | amount | shown, options=options)


def _addressed(customer: CustomerReference, options: Any) -> dict[str, str] | None:
    """The field that names the customer; one of white space names nobody."""
    value = spelt(customer)
    for field, namespace in names.adjusting(options.customer_id_namespace):
        if value.strip() and customer_reference(namespace, value) == customer:
            return {field: value}
    return None


def render_fetch(query: CustomerQuery | HistoryQuery, options: Any) -> ValidRequest | None:
    """One customer on the Loyalty API, with the whole history or none of it."""
    named = _looked_up(query, options)
    if named is None:
        return None
    return ValidRequest(query=named | ({"with_history": "true"} if _wants_history(query) else {}), options=options)


def render_retrieve(query: CustomerQuery | HistoryQuery, options: Any) -> ValidRequest | None:
    """One customer on the App Developer API, with the whole history or none of it."""
    named = _looked_up(query, options)
    if named is None:
        return None
    body = {"customers": named} | ({"with_history": True} if _wants_history(query) else {})
    return ValidRequest(body=body, options=options)


def _looked_up(query: CustomerQuery | HistoryQuery, options: Any) -> dict[str, str] | None:
    match query:
        case CustomerQuery(references=references):
            return _first_named(references, options)
        case HistoryQuery(customer=CustomerReference() as customer, limit=None | 0):
            plain = HistoryQuery(customer=customer, limit=query.limit, newest_first=False)
            return _first_named((customer,), options) if query == plain else None
        case _:
            return None


def _first_named(references: Iterable[CustomerReference], options: Any) -> dict[str, str] | None:
    """The field that names the first customer who can be looked up, and is read as nobody else's name."""
    id_namespace = options.customer_id_namespace
    for reference in references:
        for field, _ in names.looking_up(id_namespace):
            named = {field: spelt(reference)}
            if names.named(named, id_namespace) == reference:
                return named
    return None


def _wants_history(query: CustomerQuery | HistoryQuery) -> bool:
    return isinstance(query, HistoryQuery) and query.limit is None


def render_save(enrolment: Enrolment, options: Any) -> ValidRequest | None:
    """A customer with an email, who is updated if they are there; nothing else can be wished for here."""
    found_by = {one.namespace: spelt(one) for one in reversed(enrolment.references)}
    besides = {one.namespace: spelt(one) for one in reversed((*enrolment.references, *enrolment.attached))}
    if enrolment.existing is not Existing.UPDATE or not found_by.get("email", "").strip():
        return None
    given = {
        "id": found_by.get(options.customer_id_namespace, found_by.get(OWN_NAMESPACE)),
        "email": found_by["email"],
        "phone_number": besides.get("phone"),
        "pos_account_id": besides.get(TILL),
        "first_name": enrolment.changes.get("first_name"),
        "last_name": enrolment.changes.get("last_name"),
        "tags": _tags(enrolment.changes.get("tags")),
        "opt_in": True if enrolment.refuses_excluded else None,
    }
    return ValidRequest(body={name: value for name, value in given.items() if value is not None}, options=options)


def _tags(tags: Any) -> str | None:
    """Tags with commas between them; empty text takes all away. One with a comma in it cannot be said."""
    if tags is None:
        return None
    said = [tag for tag in tags if tag.strip() and "," not in tag]
    return ",".join(said) if said or not tags else None


# What is told.


def parse_adjust(answer: Answer, _request: ValidRequest) -> ToldReceipt:
    """The event row, which tells no balance; the customer's number in it is the vendor's own and no name."""
    event = answer.body if isinstance(answer.body, dict) else {}
    return ToldReceipt(
        entry=ToldEntry(
            id=told(event, "id", text),
            reason=_reason(event, "name"),
            occurred_at=told(event, "created_at", microseconds_of),
        )
    )


def parse_customer(answer: Answer, request: ValidRequest) -> ToldCustomer | ToldHistory | None:
    """The customer, in the wrapper or without, and the history where the answer has it."""
    shown = unwrapped(answer.body) if isinstance(answer.body, dict) else None
    if not isinstance(shown, dict):
        return None
    customer, items = _customer(shown, request.options.customer_id_namespace), shown.get("history_items")
    return customer if items is None else ToldHistory(entries=tuple(map(_entry, items)), customer=customer)


def parse_save(answer: Answer, request: ValidRequest) -> ToldEnrolment | None:
    """The customer; whether they are new is not told."""
    if not isinstance(answer.body, dict):
        return None
    return ToldEnrolment(customer=_customer(answer.body, request.options.customer_id_namespace))


def _customer(customer: Mapping[str, Any], id_namespace: str) -> ToldCustomer:
    return ToldCustomer(
        references=told_names(
            # The vendor's own misspelling may stand alone.
            (id_namespace, names.told(customer, "third_party_id") or names.told(customer, "thirty_party_id")),
            ("email", names.told(customer, "email")),
            ("phone", names.told(customer, "phone_number")),
            (TILL, names.told(customer, "pos_account_id")),
        ),
        profile=told_fields(customer, first_name="first_name", last_name="last_name") | _birthday(customer),
        wallet=ToldWallet(
            available=told(customer, "points_balance", int),
            lifetime_earned=told(customer, "points_earned", int),
            excluded=told(customer, "opt_in", not_),
            tier=told_or_none(customer, "vip_tier_name", str),
            created_at=told(customer, "opted_in_at", microseconds_of),
        ),
    )


def _birthday(customer: Mapping[str, Any]) -> dict[str, object]:
    """The date of birth; a birthday of which a part is not known is none."""
    match [customer.get(part, UNSET) for part in ("birthday_year", "birthday_month", "birth_day")]:
        case [None, None, None]:
            return {"date_of_birth": None}
        case [int(year), int(month), int(day)]:
            try:
                return {"date_of_birth": date(year, month, day).isoformat()}
            except ValueError:
                return {}
        case _:
            return {}


def _entry(item: Mapping[str, Any]) -> ToldEntry:
    return ToldEntry(
        points_delta=told(item, "points", int),
        reason=_reason(item, "action"),
        occurred_at=told(item, "created_at", microseconds_of),
    )


def _reason(shown: Mapping[str, Any], field: str) -> str | UnsetType | None:
    """The title; the one that stands for none is none."""
    title = told_or_none(shown, field, str)
    return None if title == UNTITLED else title
