"""A client of every vendor, for tests of what a test's gateway answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from dialects import DIALECTS, Dialect
from loyalty_gateway.spec import Contract
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.vendor import Answer, Request, Vendor


def dialect_of(vendor: str) -> Dialect:
    return next(one for one in DIALECTS if one.name.startswith(vendor))


def enrol_jane(gateway: Gateway) -> None:
    """And whoever else stands in the requests of ``ask``."""
    gateway.enrol(shopify="6789012345", email="jane@example.com", bitbybit="cust_abc123", salla="748394059")
    gateway.enrol(salla="873874834")


def ask(gateway: Gateway, vendor: str = "mage", customer: str = "6789012345", **more: Any) -> httpx.Response:
    """Adds ten points."""
    dialect = dialect_of(vendor)
    path = dialect.path.removeprefix(f"/{vendor}").removeprefix("/admin/v2").replace("jane@example.com", customer)
    sent = {"headers": gateway.headers(vendor), "json": dialect.body(10, "Hello")} | more
    return httpx.post(gateway.url(vendor) + path, **sent)


def defects(vendor: Vendor, contract: Contract, operation: str | None, answer: httpx.Response) -> list[Any]:
    """What of the answer breaks the vendor's document."""
    assert operation is not None
    known = next(one for one in vendor.operations if one.id == operation)
    headers: Mapping[str, str] = dict(answer.headers)
    request = Request(
        vendor=vendor, operation=known, method="POST", path_values={}, query={}, headers={}, options=None
    )
    told = Answer(answer.status_code, answer.json(), headers)
    return list(contract.operations[operation].defects(request, told))
