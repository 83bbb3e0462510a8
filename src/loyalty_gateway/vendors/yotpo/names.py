"""By what Yotpo's requests name a customer: the shop's id, the email, the phone number, the till's account."""

from collections.abc import Mapping
from typing import Any

from loyalty_gateway.adjustment import CustomerReference, customer_reference
from loyalty_gateway.customer import sought

TILL = "pos_account"
"""The namespace of accounts at the point of sale."""


def adjusting(id_namespace: str) -> tuple[tuple[str, str], ...]:
    """The fields that name a customer whose points are adjusted, with their namespaces; the first counts."""
    return ("customer_id", id_namespace), ("customer_email", "email")


def looking_up(id_namespace: str) -> tuple[tuple[str, str], ...]:
    """The fields that name a customer who is looked up, with their namespaces; the first counts."""
    return (*adjusting(id_namespace), ("phone_number", "phone"), ("pos_account_id", TILL))


def named(names: Mapping[str, Any], id_namespace: str) -> CustomerReference | None:
    """Whom the first of the names that is not blank means; as when adjusting, the id comes before the email."""
    for field, namespace in looking_up(id_namespace):
        name = told(names, field)
        if name is not None:
            return customer_reference(namespace, _as_meant(field, name))
    return None


def _as_meant(field: str, name: str) -> str:
    match field:
        case "phone_number":
            return phone(name)
        case "customer_email":
            return sought(name, email=True)
        case _:
            return name


def phone(number: str) -> str:
    """A phone number as it is kept; a plus that was not percent-encoded arrives as a space."""
    return f"+{number[1:]}" if number.startswith(" ") else number


def told(fields: Mapping[str, Any], field: str) -> str | None:
    """The field as text; ``None`` where it is absent, null or blank."""
    value = fields.get(field)
    if value is None:
        return None
    name = text(value)
    return name if name.strip() else None


def text(identifier: str | float) -> str:
    """An id as text; clients send numbers too."""
    return identifier if isinstance(identifier, str) else str(int(identifier))
