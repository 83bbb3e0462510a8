"""Finding customers, whoever enrolled them: by what any vendor tells of them, and by nothing less."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config

_KEYS: dict[str, dict[str, str]] = {
    "bitbybit": {"x-api-key": "bbb_test_demo"},
    "mage": {"authorization": "mage_demo_key"},
    "yotpo": {"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
    "salla": {"authorization": "Bearer demo-salla-token"},
    "loyaltylion": {"authorization": "Bearer pat_demo"},
}
_BITBYBIT = "/bitbybit/customer/api/open/v1"
_SALLA = "/salla/admin/v2/customers"


def _post(gateway: Gateway, vendor: str, path: str, body: Any, **headers: str) -> httpx2.Response:
    return gateway.post(path, body, _KEYS[vendor] | headers)


def _get(gateway: Gateway, vendor: str, path: str) -> httpx2.Response:
    return gateway.client.get(path, headers=_KEYS[vendor])


_ENROL: dict[str, Callable[[Gateway], httpx2.Response]] = {
    "bitbybit": lambda gateway: _post(
        gateway, "bitbybit", f"{_BITBYBIT}/customers", {"email": "zoe@example.com", "phoneNumber": "+62811"}
    ),
    "mage": lambda gateway: _post(gateway, "mage", "/mage/v1/customers", {"shopify_customer_id": "77"}),
    "mage, by adjusting": lambda gateway: _post(
        gateway, "mage", "/mage/v1/customers/zoe@example.com/points", {"adjustment": 1}
    ),
    "yotpo": lambda gateway: _post(
        gateway, "yotpo", "/yotpo/api/v2/customers", {"email": "zoe@example.com", "id": "shop-1"}
    ),
    "yotpo, by adjusting": lambda gateway: _post(
        gateway,
        "yotpo",
        "/yotpo/api/v2/points/adjust",
        {"customer_email": "zoe@example.com", "point_adjustment_amount": 1},
    ),
    "salla, by adjusting": lambda gateway: _post(
        gateway,
        "salla",
        f"{_SALLA}/loyalty/points",
        {"points": 1, "type": "plus", "reason": "gift", "channel_send": [], "customers": [7_000]},
    ),
    "loyaltylion, by adjusting": lambda gateway: _post(
        gateway, "loyaltylion", "/loyaltylion/v2/customers/77/points", {"points": 1}
    ),
}

# How each vendor lists customers, what it calls each, and how that name is adjusted.
_LISTED: dict[str, tuple[str, str, str]] = {
    "bitbybit": (f"{_BITBYBIT}/customers", "data", "id"),
    "mage": ("/mage/v1/customers", "data", "id"),
    "salla": (_SALLA, "data", "id"),
    "loyaltylion": ("/loyaltylion/v2/customers", "customers", "merchant_id"),
}
_ADJUST: dict[str, Callable[[Gateway, Any], httpx2.Response]] = {
    "bitbybit": lambda gateway, name: _post(
        gateway,
        "bitbybit",
        f"{_BITBYBIT}/loyalty/customers/{name}/points/adjust",
        {"direction": "add", "points": 5, "reason": "gift"},
    ),
    "mage": lambda gateway, name: _post(gateway, "mage", f"/mage/v1/customers/{name}/points", {"adjustment": 5}),
    "salla": lambda gateway, name: _post(
        gateway,
        "salla",
        f"{_SALLA}/loyalty/points",
        {"points": 5, "type": "plus", "reason": "gift", "channel_send": [], "customers": [name]},
    ),
    "loyaltylion": lambda gateway, name: _post(
        gateway, "loyaltylion", f"/loyaltylion/v2/customers/{name}/points", {"points": 5}
    ),
}


@pytest.mark.parametrize("enrolling", _ENROL)
@pytest.mark.parametrize("listing", _LISTED)
def test_a_name_that_a_list_tells_leads_back_to_that_customer(
    start_gateway: StartGateway, enrolling: str, listing: str
) -> None:
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    gateway = start_gateway(config)
    assert _ENROL[enrolling](gateway).status_code in {200, 201}
    path, key, name = _LISTED[listing]

    names = [customer[name] for customer in _get(gateway, listing, path).json()[key]]
    statuses = {_ADJUST[listing](gateway, one).status_code for one in names}

    assert len(set(names)) == 3
    assert statuses <= {200, 201}
    gained = gateway.rows("SELECT wallet_id, points_delta FROM entries WHERE points_delta = 5 ORDER BY wallet_id")
    assert gained == [{"wallet_id": number, "points_delta": 5} for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("vendor", "path"),
    [
        ("bitbybit", f"{_BITBYBIT}/customers?search=%20"),
        ("bitbybit", f"{_BITBYBIT}/customers?tags=,"),
        ("bitbybit", f"{_BITBYBIT}/customers?source=%20,"),
        ("mage", "/mage/v1/customers?filter[email]=%20"),
        ("salla", f"{_SALLA}?keyword=%20"),
        ("loyaltylion", "/loyaltylion/v2/customers?email=%20"),
    ],
)
def test_a_blank_search_finds_nobody_rather_than_everybody(gateway: Gateway, vendor: str, path: str) -> None:
    assert _get(gateway, vendor, path).status_code in {400, 422}


@pytest.mark.parametrize("spelt", ["1_0", "%D9%A1", "%201", "1%20", "0x1", "1e0", "1.0"])
@pytest.mark.parametrize(
    ("vendor", "path"),
    [
        ("bitbybit", f"{_BITBYBIT}/customers?limit="),
        ("bitbybit", f"{_BITBYBIT}/loyalty/customers/cust_abc123/history?limit="),
        ("mage", "/mage/v1/customers?page[number]="),
        ("salla", f"{_SALLA}?page="),
        ("loyaltylion", "/loyaltylion/v2/transactions?limit="),
    ],
)
def test_a_number_is_spelt_in_digits(gateway: Gateway, vendor: str, path: str, spelt: str) -> None:
    assert _get(gateway, vendor, path + spelt).status_code in {400, 422}
    assert _get(gateway, vendor, path + "10").status_code == 200


@pytest.mark.parametrize(
    ("vendor", "path"),
    [
        ("bitbybit", f"{_BITBYBIT}/customers?search=jane+tag@example.com"),
        ("mage", "/mage/v1/customers?filter[email]=Jane+tag@example.com"),
        ("loyaltylion", "/loyaltylion/v2/customers?email=jane+tag@example.com"),
    ],
)
def test_a_plus_in_an_email_may_be_left_as_it_is(gateway: Gateway, vendor: str, path: str) -> None:
    _post(gateway, "yotpo", "/yotpo/api/v2/customers", {"email": "jane+tag@example.com"})

    (found,) = _get(gateway, vendor, path).json()[_LISTED[vendor][1]]

    assert "jane+tag@example.com" in str(found)


# Repeated enrolments


@pytest.mark.parametrize(
    ("vendor", "path", "body", "other"),
    [
        ("bitbybit", f"{_BITBYBIT}/customers", {"email": "zoe@example.com"}, {"email": "ann@example.com"}),
        ("mage", "/mage/v1/customers", {"shopify_customer_id": "77"}, {"shopify_customer_id": "78"}),
        ("yotpo", "/yotpo/api/v2/customers", {"email": "zoe@example.com"}, {"email": "ann@example.com"}),
    ],
)
def test_an_enrolment_that_is_sent_again_with_its_key_is_answered_as_before(
    gateway: Gateway, vendor: str, path: str, body: dict[str, str], other: dict[str, str]
) -> None:
    key = {"idempotency-key": "one"}

    first = _post(gateway, vendor, path, body, **key)
    again = _post(gateway, vendor, path, body, **key)
    reused = _post(gateway, vendor, path, other, **key)

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert reused.status_code in {400, 409, 422}
    assert len(gateway.rows("SELECT * FROM wallets")) == 3
    assert 'answer_defects_total{operation="' not in gateway.metrics()


def test_a_resource_with_flat_fields_beside_it_is_refused_by_every_operation_of_mages(gateway: Gateway) -> None:
    enrolled = _post(
        gateway,
        "mage",
        "/mage/v1/customers",
        {"data": {"attributes": {"shopify_customer_id": "77"}}, "shopify_customer_id": "78"},
    )
    updated = gateway.client.put(
        "/mage/v1/customers/6789012345",
        json={"data": {"attributes": {}}, "is_excluded": True},
        headers=_KEYS["mage"],
    )

    assert (enrolled.status_code, updated.status_code) == (400, 400)
    assert len(gateway.rows("SELECT * FROM wallets WHERE excluded = 0")) == 2


def test_an_update_that_changes_nothing_is_no_change(gateway: Gateway) -> None:
    before = gateway.wallet("shopify:6789012345")

    for body in ({}, {"is_excluded": False}, {"date_of_birth": None}):
        answer = gateway.client.put("/mage/v1/customers/6789012345", json=body, headers=_KEYS["mage"])
        assert answer.status_code == 200

    assert gateway.wallet("shopify:6789012345") == before
