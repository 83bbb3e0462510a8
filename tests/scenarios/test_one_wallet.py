"""One customer, five dialects, one wallet."""

from conftest import Gateway


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
