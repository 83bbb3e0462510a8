"""By which of their names a customer is asked for at an upstream."""

from typing import Any

import httpx
import pytest

from conftest import Gateway, StartGateway, demo_config

EMAIL, ID = "nadia@example.com", "6789012347"


def _config(*customers: dict[str, str], **overrides: Any) -> dict[str, Any]:
    config = demo_config(**overrides)
    config["merchants"]["demo"]["customers"] = [{"references": one} for one in customers]
    return config


@pytest.fixture
def behind(start_gateway: StartGateway) -> Gateway:
    """It knows its customer by email only."""
    return start_gateway(_config({"email": EMAIL}))


@pytest.fixture
def front(start_gateway: StartGateway, behind: Gateway) -> Gateway:
    """It knows another name as well."""
    config = _config({"email": EMAIL, "shopify": ID})
    config["vendors"]["yotpo"]["backend"] = {
        "upstream": {
            "vendor": "yotpo",
            "url": "http://behind/yotpo",
            "credentials": {"guid": "demo-guid", "api_key": "demo-api-key"},
        }
    }
    return start_gateway(config, transport=httpx.ASGITransport(app=behind.client.app))


def _adjusted(front: Gateway, customer: dict[str, str]) -> Any:
    return front.post(
        "/yotpo/api/v2/points/adjust",
        {**customer, "point_adjustment_amount": 5},
        {"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
    )


def test_by_the_name_that_the_client_says(front: Gateway, behind: Gateway) -> None:
    answer = _adjusted(front, {"customer_email": EMAIL})

    assert answer.status_code == 200
    assert [entry["points_delta"] for entry in behind.entries()] == [5]


def test_a_name_that_the_upstream_does_not_know_is_an_unknown_customer(front: Gateway, behind: Gateway) -> None:
    answer = _adjusted(front, {"customer_id": ID})

    assert answer.status_code == 404
    assert behind.entries() == []
