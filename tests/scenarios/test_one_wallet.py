"""One customer, five dialects, one wallet."""

import pytest

from conftest import Gateway, StartGateway
from stores import Store


@pytest.fixture
def gateway(start_gateway: StartGateway, store: Store) -> Gateway:
    return start_gateway(store=store)


def test_five_dialects_move_one_wallet(gateway: Gateway) -> None:
    answers = [
        gateway.post(
            "/mage/v1/customers/6789012345/points", {"adjustment": 500}, {"authorization": "mage_demo_key"}
        ),
        gateway.post(
            "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
            {"direction": "deduct", "points": 50, "reason": "correction"},
            {"x-api-key": "bbb_test_demo"},
        ),
        gateway.post(
            "/loyaltylion/v2/customers/6789012345/points", {"points": 100}, {"authorization": "Bearer pat_demo"}
        ),
        gateway.post(
            "/yotpo/api/v2/points/adjust",
            {"customer_email": "jane@example.com", "point_adjustment_amount": -25},
            {"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
        ),
        gateway.post(
            "/salla/admin/v2/customers/loyalty/points",
            {"points": 100, "type": "plus", "reason": "gift", "channel_send": [], "customers": [748394059]},
            {"authorization": "Bearer demo-salla-token"},
        ),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 201, 200, 201]
    assert gateway.wallet("shopify:6789012345")["available"] == 625
    assert [entry["points_delta"] for entry in gateway.entries()] == [500, -50, 100, -25, 100]


def test_a_configured_email_that_went_to_somebody_else_keeps_nobody_from_being_served(
    start_gateway: StartGateway, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    key = {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}
    for saved in (
        {"id": "6789012345", "email": "jane@new.example.com"},
        {"id": "77", "email": "jane@example.com"},
    ):
        gateway.post("/yotpo/api/v2/customers", saved, key)

    again = start_gateway(store=gateway.store, ledger=gateway.store.ledger())

    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("demo: shopify:6789012345, email:jane@example.com")
    found = [
        again.client.get("/yotpo/api/v2/customers", params={"customer_email": email}, headers=key).json()
        for email in ("jane@new.example.com", "jane@example.com")
    ]
    assert [customer["third_party_id"] for customer in found] == ["6789012345", "77"]
