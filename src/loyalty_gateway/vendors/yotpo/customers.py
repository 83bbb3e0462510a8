"""Yotpo's customers: looked up on both surfaces, created and updated on one, always told as the same object."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from loyalty_gateway.adjustment import Entry, customer_reference
from loyalty_gateway.customer import Customer, Enrolled, Enrolment, Existing, History, HistoryQuery
from loyalty_gateway.moment import iso_milliseconds
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.vendor import Answer, ValidRequest
from loyalty_gateway.vendors.yotpo.names import TILL, named, phone, told

UNTITLED = "Points adjustment"
"""What an entry without a title is called."""

_Asking = tuple[Mapping[str, Any], ...]
# A query may spell truth in many ways; these are the ones that the spec's boolean takes.
_TRUE = {True, "true", "t", "yes", "y", "on", "1"}


def parse_fetch(request: ValidRequest) -> HistoryQuery:
    """The customer named in the query; raises Problem INVALID where nobody is named."""
    return _query(request, request.query, (request.query,))


def render_fetch(history: History, request: ValidRequest) -> Answer:
    """The customer, with what the query asks for besides."""
    return Answer(200, _with_extras(history, request, (request.query,)))


def parse_retrieve(request: ValidRequest) -> HistoryQuery:
    """The customer named in the body, in its wrapper or without."""
    body, names = request.body, unwrapped(request.body)
    return _query(request, names, (body, names))


def render_retrieve(history: History, request: ValidRequest) -> Answer:
    """The customer in the wrapper, with what the body asks for besides."""
    asking = (request.body, unwrapped(request.body))
    return Answer(200, {"customers": _with_extras(history, request, asking)})


def parse_save(request: ValidRequest) -> Enrolment:
    """The customer with this id or this email, created when absent.

    Details take the place of earlier ones, which is how an email is changed (documented); what is absent, null
    or blank is left as it is.
    """
    body = request.body
    id_namespace: str = request.options.customer_id_namespace
    named_by = [
        customer_reference(namespace, name)
        for namespace, name in ((id_namespace, told(body, "id")), ("email", told(body, "email")))
        if name is not None
    ]
    number = told(body, "phone_number")
    attached = [
        customer_reference(namespace, name)
        for namespace, name in (
            ("phone", None if number is None else phone(number)),
            (TILL, told(body, "pos_account_id")),
        )
        if name is not None
    ]
    changes: dict[str, object] = {
        name: told(body, name) for name in ("first_name", "last_name") if told(body, name) is not None
    }
    tags = body.get("tags")
    if tags is not None:
        changes["tags"] = tuple(dict.fromkeys(tag.strip() for tag in tags.split(",") if tag.strip()))
    return Enrolment(
        references=tuple(named_by),
        attached=tuple(attached),
        replaces=(id_namespace, "email", "phone", TILL),
        changes=changes,
        existing=Existing.UPDATE,
        refuses_excluded=body.get("opt_in") is True,
    )


def render_save(enrolled: Enrolled, request: ValidRequest) -> Answer:
    """The customer; clients take 200 for a new one too."""
    return Answer(200, _customer(enrolled.customer, request.options.customer_id_namespace))


def unwrapped(body: dict[str, Any]) -> dict[str, Any]:
    """The customer, out of the wrapper if it came in it."""
    if "customers" not in body:
        return body
    names: dict[str, Any] = body["customers"]
    return names


def _query(request: ValidRequest, names: Mapping[str, Any], asking: _Asking) -> HistoryQuery:
    """One customer with the whole history, oldest first, or with none of it."""
    customer = named(names, request.options.customer_id_namespace)
    if customer is None:
        violation = Violation(location="query", path=("customer_email",), keyword="required")
        raise Problem(Code.INVALID, violations=(violation,))
    return HistoryQuery(customer=customer, limit=None if _wants(asking, "with_history") else 0, newest_first=False)


def _wants(asking: _Asking, switch: str) -> bool:
    values = (fields.get(switch, False) for fields in asking)
    return any((value.lower() if isinstance(value, str) else value) in _TRUE for value in values)


def _with_extras(history: History, request: ValidRequest, asking: _Asking) -> dict[str, Any]:
    (customer,) = history.customers.values()
    shown = _customer(customer, request.options.customer_id_namespace)
    if _wants(asking, "with_referral_code"):
        shown["referral_code"] = None
    if _wants(asking, "with_history"):
        shown["history_items"] = [_item(entry) for entry in history.entries]
    return shown


def _customer(customer: Customer, id_namespace: str) -> dict[str, Any]:
    wallet, profile = customer.wallet, customer.profile
    identifier = customer.value(id_namespace)
    born = None if profile.date_of_birth is None else date.fromisoformat(profile.date_of_birth)
    return {
        "total_spend_cents": 0,
        "total_purchases": 0,
        "last_purchase_at": None,
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "phone_number": customer.value("phone"),
        "perks_redeemed": 0,
        "email": customer.value("email"),
        "points_balance": wallet.available,
        "points_earned": wallet.lifetime_earned,
        "last_seen_at": None,
        # The vendor's own misspelling: clients read either.
        "thirty_party_id": identifier,
        "third_party_id": identifier,
        "pos_account_id": customer.value(TILL),
        "has_store_account": False,
        "credit_balance": "$0",
        "credit_balance_in_customer_currency": "$0",
        "opt_in": not wallet.excluded,
        "opted_in_at": _day(wallet.created_at),
        "points_expire_at": None,
        "next_points_expire_on": None,
        "next_points_expire_amount": None,
        "birthday_month": None if born is None else born.month,
        "birth_day": None if born is None else born.day,
        "birthday_year": None if born is None else born.year,
        "vip_tier_name": None if customer.tier is None else customer.tier.name,
        "vip_tier_entry_date": None,
        "vip_tier_expiration": None,
        "vip_tier_actions_completed": None,
        "vip_tier_maintenance_requirements": None,
        "vip_tier_upgrade_requirements": None,
    }


def _item(entry: Entry) -> dict[str, Any]:
    occurred_at = iso_milliseconds(entry.occurred_at)
    return {
        "created_at": occurred_at,
        "completed_at": occurred_at,
        "date": occurred_at[:10],
        # Clients search the history for a reference that they put into the title.
        "action": title(entry),
        "points": entry.points_delta,
        "status": "Approved",
    }


def title(entry: Entry) -> str:
    """What the entry is called: its title, which may be empty, or the one that stands for none."""
    return UNTITLED if entry.reason is None else entry.reason


def _day(microseconds: int) -> str:
    return iso_milliseconds(microseconds)[:10]
