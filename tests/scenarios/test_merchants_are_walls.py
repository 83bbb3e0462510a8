"""Two merchants with the same references and the same idempotency keys never see or move each other's points."""

from typing import Any

import httpx2
import pytest

from conftest import Gateway, StartGateway, demo_config
from stores import Store

_VENDORS = ("bitbybit", "mage", "yotpo", "salla", "loyaltylion")
_REFERENCES = ("shopify:6789012345", "email:jane@example.com", "bitbybit:cust_abc123", "salla:748394059")

_each_vendor = pytest.mark.parametrize("vendor", _VENDORS)


@pytest.fixture
def gateway(start_gateway: StartGateway, store: Store) -> Gateway:
    """The demo merchant, and beside it another one with its very customers and credentials of its own."""
    config = demo_config()
    config["merchants"]["other"] = config["merchants"]["demo"]
    return start_gateway(_with_credentials_of_other(config), store=store)


def _with_credentials_of_other(config: dict[str, Any]) -> dict[str, Any]:
    for vendor in config["vendors"].values():
        vendor["credentials"] += [
            {name: _of_other(name, value) for name, value in credential.items()}
            for credential in vendor["credentials"]
        ]
    return config


def _of_other(name: str, value: Any) -> Any:
    match name:
        case "merchant":
            return "other"
        case "scopes":
            return value
        case _:
            return f"other-{value}"


def _adjust(gateway: Gateway, vendor: str, merchant: str, points: int, key: str | None = None) -> httpx2.Response:
    """Adjusts Jane's points as the merchant's client of the vendor would."""
    own = "" if merchant == "demo" else "other-"
    headers = {} if key is None else {"Idempotency-Key": key}
    match vendor:
        case "bitbybit":
            return gateway.post(
                "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
                {"direction": "add" if points > 0 else "deduct", "points": abs(points), "reason": "r"},
                {"x-api-key": f"{own}bbb_test_demo", **headers},
            )
        case "mage":
            return gateway.post(
                "/mage/v1/customers/jane@example.com/points",
                {"adjustment": points},
                {"authorization": f"{own}mage_demo_key", **headers},
            )
        case "yotpo":
            return gateway.post(
                "/yotpo/api/v2/points/adjust",
                {"customer_email": "jane@example.com", "point_adjustment_amount": points},
                {"x-guid": f"{own}demo-guid", "x-api-key": f"{own}demo-api-key", **headers},
            )
        case "salla":
            return gateway.post(
                "/salla/admin/v2/customers/loyalty/points",
                {
                    "points": abs(points),
                    "type": "plus" if points > 0 else "minus",
                    "reason": "r",
                    "channel_send": [],
                    "customers": [748394059],
                },
                {"authorization": f"Bearer {own}demo-salla-token", **headers},
            )
        case _:
            return gateway.post(
                f"/loyaltylion/v2/customers/6789012345/{'points' if points > 0 else 'remove_points'}",
                {"points": abs(points)},
                {"authorization": f"Bearer {own}pat_demo", **headers},
            )


def _balances(gateway: Gateway) -> tuple[int, int]:
    demo, other = (gateway.wallet(_REFERENCES[0], merchant)["available"] for merchant in ("demo", "other"))
    return demo, other


@pytest.mark.parametrize("reference", _REFERENCES)
def test_the_same_reference_is_another_wallet_at_another_merchant(gateway: Gateway, reference: str) -> None:
    assert gateway.wallet(reference, "demo")["id"] != gateway.wallet(reference, "other")["id"]


@_each_vendor
def test_each_merchants_client_moves_the_points_of_its_own_customer(gateway: Gateway, vendor: str) -> None:
    first = _adjust(gateway, vendor, "demo", 100)
    second = _adjust(gateway, vendor, "other", 7)

    assert first.is_success
    assert second.is_success
    assert _balances(gateway) == (100, 7)


@_each_vendor
def test_nobody_spends_the_points_of_the_other_merchants_customer(gateway: Gateway, vendor: str) -> None:
    _adjust(gateway, vendor, "demo", 100)

    _adjust(gateway, vendor, "other", -60)

    assert _balances(gateway) == (100, 0)


@_each_vendor
def test_the_same_key_of_two_merchants_is_two_keys(gateway: Gateway, vendor: str) -> None:
    first = _adjust(gateway, vendor, "demo", 100, key="adj-1")
    second = _adjust(gateway, vendor, "other", 100, key="adj-1")
    other_payload = _adjust(gateway, vendor, "other", 100, key="adj-2")
    replayed = _adjust(gateway, vendor, "demo", 100, key="adj-1")

    assert [answer.is_success for answer in (first, second, other_payload, replayed)] == [True] * 4
    told = ["idempotency-replayed" in answer.headers for answer in (first, second, other_payload, replayed)]
    assert told == [False, False, False, True]
    assert _balances(gateway) == (100, 200)


@_each_vendor
def test_a_key_that_one_merchant_used_is_free_for_any_payload_of_the_other(gateway: Gateway, vendor: str) -> None:
    _adjust(gateway, vendor, "demo", 100, key="adj-1")

    answer = _adjust(gateway, vendor, "other", 5, key="adj-1")

    assert answer.is_success
    assert _balances(gateway) == (100, 5)


def test_the_same_key_at_two_vendors_of_one_merchant_is_two_keys(gateway: Gateway) -> None:
    answers = [_adjust(gateway, vendor, "demo", 5, key="adj-1") for vendor in _VENDORS]

    assert [answer.is_success for answer in answers] == [True] * len(_VENDORS)
    assert _balances(gateway) == (5 * len(_VENDORS), 0)


@_each_vendor
def test_a_replay_shows_nothing_of_the_other_merchant(gateway: Gateway, vendor: str) -> None:
    for merchant, points in (("demo", 111), ("other", 5)):
        _adjust(gateway, vendor, merchant, points, key="adj-1")

    replayed = _adjust(gateway, vendor, "other", 5, key="adj-1")

    assert replayed.headers["idempotency-replayed"] == "true"
    assert "111" not in replayed.text


@_each_vendor
def test_a_customer_of_the_other_merchant_alone_is_unknown(
    start_gateway: StartGateway, store: Store, vendor: str
) -> None:
    config = demo_config()
    config["merchants"] = {"demo": {}, "other": config["merchants"]["demo"]}
    gateway = start_gateway(config, store=store)

    answer = _adjust(gateway, vendor, "demo", 5)

    assert answer.status_code == (422 if vendor == "salla" else 404)
    assert gateway.entries() == []


@_each_vendor
def test_a_customer_excluded_at_one_merchant_is_served_at_the_other(gateway: Gateway, vendor: str) -> None:
    for merchant in ("demo", "other"):
        _adjust(gateway, vendor, merchant, 10)
    gateway.exclude(_REFERENCES[0])

    refused = _adjust(gateway, vendor, "demo", 5)
    served = _adjust(gateway, vendor, "other", 5)

    assert refused.status_code in {403, 422}
    assert served.is_success
    assert _balances(gateway) == (10, 15)


@pytest.mark.parametrize(("merchant", "balances"), [("demo", (12, 10)), ("other", (10, 12))])
def test_everyone_is_everyone_of_one_merchant(gateway: Gateway, merchant: str, balances: tuple[int, int]) -> None:
    for name in ("demo", "other"):
        _adjust(gateway, "salla", name, 10)
    own = "" if merchant == "demo" else "other-"

    answer = gateway.post(
        "/salla/admin/v2/customers/loyalty/points",
        {"points": 2, "type": "plus", "reason": "r", "channel_send": [], "select_all": True},
        {"authorization": f"Bearer {own}demo-salla-token"},
    )

    assert answer.status_code == 201
    assert _balances(gateway) == balances


@_each_vendor
def test_a_customer_enrolled_by_one_merchant_stays_unknown_to_the_other(
    start_gateway: StartGateway, store: Store, vendor: str
) -> None:
    config = demo_config()
    config["merchants"] = {"demo": {"unknown_customers": "refuse"}, "other": {"unknown_customers": "enrol"}}
    gateway = start_gateway(_with_credentials_of_other(config), store=store)

    enrolled = _adjust(gateway, vendor, "other", 5)
    refused = _adjust(gateway, vendor, "demo", 5)

    assert enrolled.is_success
    assert refused.status_code == (422 if vendor == "salla" else 404)
    assert gateway.rows("SELECT m.name FROM wallets w JOIN merchants m ON m.id = w.merchant_id") == [
        {"name": "other"}
    ]


@_each_vendor
def test_tiers_are_those_of_ones_own_programme(start_gateway: StartGateway, store: Store, vendor: str) -> None:
    config = demo_config()
    tiers = {"demo": ("Gold", 100), "other": ("Pearl", 50)}
    config["merchants"] = {
        merchant: config["merchants"]["demo"] | {"tiers": [{"name": name, "points_required": points}]}
        for merchant, (name, points) in tiers.items()
    }
    gateway = start_gateway(_with_credentials_of_other(config), store=store)

    for merchant in tiers:
        _adjust(gateway, vendor, merchant, 60)

    assert [gateway.wallet(_REFERENCES[0], merchant)["tier"] for merchant in tiers] == [None, "Pearl"]


def test_bitbybit_tells_each_merchant_its_own_company(gateway: Gateway) -> None:
    data = [_adjust(gateway, "bitbybit", merchant, 5).json()["data"] for merchant in ("demo", "other")]

    companies = [(told["wallet"]["companyId"], told["ledger"]["companyId"]) for told in data]
    assert companies[0] != companies[1]
    assert all(wallet == entry for wallet, entry in companies)


@pytest.mark.parametrize(
    ("guid", "api_key"), [("demo-guid", "other-demo-api-key"), ("other-demo-guid", "demo-api-key")]
)
def test_half_of_one_merchants_credentials_and_half_of_the_others_are_none(
    gateway: Gateway, guid: str, api_key: str
) -> None:
    answer = gateway.post(
        "/yotpo/api/v2/points/adjust",
        {"customer_email": "jane@example.com", "point_adjustment_amount": 5},
        {"x-guid": guid, "x-api-key": api_key},
    )

    assert answer.status_code == 401
    assert _balances(gateway) == (0, 0)


def test_no_wallet_ever_holds_an_entry_of_another_merchant(gateway: Gateway) -> None:
    for vendor in _VENDORS:
        for merchant, points in (("demo", 10), ("other", 20)):
            _adjust(gateway, vendor, merchant, points)

    totals = gateway.rows(
        "SELECT m.name, sum(e.points_delta) AS points FROM entries e "
        "JOIN wallets w ON w.id = e.wallet_id AND w.merchant_id = e.merchant_id "
        "JOIN merchants m ON m.id = e.merchant_id GROUP BY m.name ORDER BY m.name"
    )
    assert totals == [{"name": "demo", "points": 50}, {"name": "other", "points": 100}]
