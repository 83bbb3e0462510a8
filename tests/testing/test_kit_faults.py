"""Faults on demand: each does what it says, to the requests it is for and no others."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
from kit_client import ask, enrol_jane

from conftest import StartGateway
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.testing.faults import Faults, Kind
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.vendor import Vendor, discover

VENDORS = sorted(discover())


@pytest.fixture
def gateway(loyalty_gateway: Gateway) -> Gateway:
    enrol_jane(loyalty_gateway)
    return loyalty_gateway


def points(gateway: Gateway) -> int:
    return gateway.wallet(shopify="6789012345").available


def points_in_the_end(gateway: Gateway) -> int:
    """On a busy machine the client may give up before the vendor is done."""
    deadline = time.monotonic() + 10
    while not points(gateway) and time.monotonic() < deadline:
        time.sleep(0.01)
    return points(gateway)


def test_a_delay_is_one_whether_before_the_effect_or_after_it(gateway: Gateway) -> None:
    gateway.faults.delay("mage", 0.2)
    gateway.faults.delay("mage", 0.2, after_effect=True)

    for points_after in (10, 20):
        started = time.monotonic()
        answer = ask(gateway)

        assert time.monotonic() - started >= 0.2
        assert answer.json()["data"]["attributes"]["points_after"] == points_after


def test_a_timeout_comes_after_the_effect(gateway: Gateway) -> None:
    gateway.faults.timeout("mage")

    with pytest.raises(httpx.ReadTimeout):
        ask(gateway, timeout=0.2)

    assert points_in_the_end(gateway) == 10
    assert gateway.requests[-1].status is None


def test_a_timeout_ends_with_a_reset_where_the_client_waits_for_long(gateway: Gateway) -> None:
    gateway.faults.timeout("mage", seconds=0.05, after_effect=False)

    with pytest.raises(httpx.ReadError):
        ask(gateway)

    assert points(gateway) == 0


@pytest.mark.parametrize(("after_effect", "moved"), [(False, 0), (True, 10)])
def test_a_connection_is_reset_before_the_effect_or_after_it(
    gateway: Gateway,
    after_effect: bool,  # noqa: FBT001 - a parameter of the test
    moved: int,
) -> None:
    gateway.faults.reset("mage", after_effect=after_effect)

    with pytest.raises(httpx.ReadError) as caught:
        ask(gateway)

    assert ConnectionResetError in set(causes(caught.value))
    assert points(gateway) == moved


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_malformed_body_is_no_json_after_the_effect(gateway: Gateway, vendor: str) -> None:
    gateway.faults.malformed(vendor)

    answer = ask(gateway, vendor)

    assert answer.is_success
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert points(gateway) == 10


def test_a_fault_is_for_the_nth_request_and_so_many_after_it(gateway: Gateway) -> None:
    gateway.faults.status("mage", nth=2, times=2)

    statuses = [ask(gateway).status_code for _ in range(5)]

    assert statuses == [200, 503, 503, 200, 200]


def test_a_fault_without_an_end_lasts_until_it_is_taken_back(gateway: Gateway) -> None:
    number = gateway.faults.status("mage", times=None)

    assert [ask(gateway).status_code for _ in range(3)] == [503, 503, 503]
    assert gateway.faults.clear(number)
    assert ask(gateway).status_code == 200
    assert not gateway.faults.clear(number)


def test_faults_for_the_same_requests_are_done_one_after_another(gateway: Gateway) -> None:
    gateway.faults.status("mage", 500)
    gateway.faults.status("mage", 503)

    assert [ask(gateway).status_code for _ in range(3)] == [500, 503, 200]


def test_a_fault_is_for_one_vendor_or_all(gateway: Gateway) -> None:
    gateway.faults.status("mage")

    assert [ask(gateway, vendor).is_success for vendor in VENDORS] == [vendor != "mage" for vendor in VENDORS]

    gateway.faults.status(times=None)

    assert [ask(gateway, vendor).status_code for vendor in VENDORS] == [503] * len(VENDORS)


def test_a_fault_is_for_one_operation(gateway: Gateway) -> None:
    gateway.faults.status("mage", operation="adjustPoints")
    read = f"{gateway.url('mage')}/v1/customers/6789012345"

    assert httpx.get(read, headers=gateway.headers("mage")).status_code == 200
    assert ask(gateway).status_code == 503


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_fault_is_for_one_customer_by_the_name_in_the_request(gateway: Gateway, vendor: str) -> None:
    ask(gateway, vendor)
    jane = gateway.requests[-1].customers[0]

    gateway.faults.status(vendor, customer=f"{jane.namespace}:somebody-else")
    gateway.faults.status(vendor, 500, customer=str(jane))

    assert ask(gateway, vendor).status_code == 500
    assert ask(gateway, vendor).is_success


def test_a_request_that_breaks_the_contract_has_its_faults_too(gateway: Gateway) -> None:
    gateway.faults.status("mage")
    url = f"{gateway.url('mage')}/v1/customers/6789012345/points"

    headers = {**gateway.headers("mage"), "content-type": "application/json"}
    statuses = [httpx.post(url, headers=headers, content=b"{").status_code for _ in range(2)]

    assert statuses == [503, 400]


@pytest.mark.parametrize(
    "order",
    [
        {"does": "status", "vendor": "mages"},
        {"does": "status", "vendor": "mage", "operation": "adjust"},
        {"does": "status", "customer": "jane"},
        {"does": "status", "status": 200},
        {"does": "status", "nth": 0},
        {"does": "status", "often": 3},
        {"does": "rate_limit", "after_effect": True},
        {"does": "status", "code": "nonsense"},
        {"does": "status", "code": "unknown_customer", "status": 404},
        {"does": "rate_limit", "code": "rate_limited"},
    ],
    ids=str,
)
def test_a_fault_that_cannot_be_done_is_refused_when_it_is_ordered(
    vendors: dict[str, Vendor], order: dict[str, Any]
) -> None:
    faults = Faults(vendors.values())
    does = order.pop("does")

    with pytest.raises(ConfigurationError):
        getattr(faults, does)(**order)

    assert faults.ordered() == []


def test_there_is_a_method_for_every_kind_of_fault(vendors: dict[str, Vendor]) -> None:
    faults = Faults(vendors.values())

    for kind in get_args(Kind):
        getattr(faults, kind)()

    assert [one.fault.does for one in faults.ordered()] == list(get_args(Kind))


def test_without_a_configuration_for_testing_nothing_stands_before_the_endpoint(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty_gateway.testing.received.Reading.read", None)
    gateway = start_gateway()

    answer = gateway.post(
        "/mage/v1/customers/6789012345/points", {"adjustment": 5}, {"authorization": "mage_demo_key"}
    )

    assert answer.status_code == 200


def causes(error: BaseException | None) -> Iterator[type[BaseException]]:
    while error is not None:
        yield type(error)
        error = error.__cause__ or error.__context__
