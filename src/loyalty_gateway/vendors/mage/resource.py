"""What Mage's operations share: how a customer is named, how a body is read, how a list is paged."""

from collections.abc import Mapping
from typing import Any

from loyalty_gateway.adjustment import CustomerReference, customer_reference
from loyalty_gateway.customer import Customer


def attributes(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a flat body or of a JSON:API one."""
    fields: dict[str, Any] = body["data"]["attributes"] if "data" in body else body
    return fields


def customer_of(identifier: str) -> CustomerReference:
    """Whom an identifier means: an email address has an @, a Shopify id has none."""
    return customer_reference("email" if "@" in identifier else "shopify", identifier)


def identifier_of(customer: Customer) -> str:
    """The customer's Shopify id; without one what else names the customer to ``customer_of``."""
    return customer.value("shopify") or customer.value("email") or customer.name("shopify")


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """The number of the page asked for, from 1, and its size."""
    return int(query.get("page[number]", 1)), int(query.get("page[size]", 20))


def page_meta(query: Mapping[str, str], total: int) -> dict[str, int]:
    """What is told beside a page of a list of ``total``."""
    number, size = page(query)
    return {"total": total, "page": number, "per_page": size, "total_pages": -(-total // size)}
