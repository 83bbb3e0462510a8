"""The client against a gateway that answers as bitbybit does; the fixture comes with the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from points_client import PointsClient, Refused, Unclear

import loyalty_gateway.testing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loyalty_gateway.testing.gateway import Gateway


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def client(loyalty_gateway: Gateway, waited: list[float]) -> Iterator[PointsClient]:
    api_key = loyalty_gateway.credentials("bitbybit")["api_key"]
    url = loyalty_gateway.url("bitbybit")

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        loyalty_gateway.clock.advance(seconds)

    with PointsClient(api_key, url=url, timeout=1, sleep=sleep) as client:
        yield client


def test_an_order_gives_its_points(client: PointsClient, loyalty_gateway: Gateway) -> None:
    balance = client.give("cust_ada", 30, order="1001")

    assert balance == 150
    assert loyalty_gateway.wallet(bitbybit="cust_ada").available == 150


def test_every_test_begins_with_the_seeds(client: PointsClient, loyalty_gateway: Gateway) -> None:
    assert client.give("cust_bob", 100, order="1001") == 100
    assert loyalty_gateway.wallet(bitbybit="cust_ada").tier == "Gold"
    assert loyalty_gateway.wallet(bitbybit="cust_bob").tier == "Silver"


@pytest.mark.parametrize("fault", ["timeout", "malformed", "reset"])
def test_an_order_whose_answer_is_lost_gives_its_points_once(
    client: PointsClient, loyalty_gateway: Gateway, fault: str
) -> None:
    getattr(loyalty_gateway.faults, fault)("bitbybit", after_effect=True)

    balance = client.give("cust_bob", 30, order="1001")

    assert balance == 30
    assert [entry.points_delta for entry in loyalty_gateway.entries(bitbybit="cust_bob")] == [30]
    assert [request.fault for request in loyalty_gateway.requests] == [fault, None]


def test_the_client_waits_as_long_as_it_is_told(
    client: PointsClient, loyalty_gateway: Gateway, waited: list[float]
) -> None:
    loyalty_gateway.faults.rate_limit("bitbybit", seconds=7)

    balance = client.give("cust_bob", 30, order="1001")

    assert balance == 30
    assert waited == [7.0]


def test_whoever_is_unknown_is_refused_and_not_asked_for_again(
    client: PointsClient, loyalty_gateway: Gateway
) -> None:
    with pytest.raises(Refused):
        client.give("cust_nobody", 30, order="1001")

    assert [request.status for request in loyalty_gateway.requests] == [404]


def test_an_outage_is_told_as_such(client: PointsClient, loyalty_gateway: Gateway) -> None:
    loyalty_gateway.faults.status("bitbybit", 503, times=None)

    with pytest.raises(Unclear):
        client.give("cust_bob", 30, order="1001")

    assert len(loyalty_gateway.requests) == 3
    assert loyalty_gateway.entries(bitbybit="cust_bob") == ()


def test_production_is_called_at_its_own_address() -> None:
    with loyalty_gateway.testing.mock("bitbybit") as vendor:
        vendor.enrol(bitbybit="cust_eve", points=5)

        with PointsClient(vendor.credentials()["api_key"]) as client:
            balance = client.give("cust_eve", 30, order="1001")

    assert balance == 35
