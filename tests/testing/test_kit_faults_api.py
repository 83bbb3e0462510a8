"""``/-/admin/faults``: there only where it is configured, and for whoever has the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import Gateway, StartGateway, demo_config, serving
from loyalty_gateway.config import parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor

TOKEN = "a-token-for-these-tests"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
FAULTS = "/-/admin/faults"
ADJUST = "/mage/v1/customers/6789012345/points"
CLIENT = {"authorization": "mage_demo_key"}


@pytest.fixture
def tested(start_gateway: StartGateway) -> Gateway:
    return start_gateway(demo_config(testing={"faults": True}, admin={"token": TOKEN}))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, demo_config(testing={"faults": True}, admin={"token": TOKEN})) as gateway:
        yield gateway.url


def test_by_default_nobody_can_order_a_fault(gateway: Gateway) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = gateway.client.request(method, FAULTS, headers=ADMIN)

        assert answer.status_code == 404
        assert answer.text == gateway.client.get("/-/nothing").text


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer other", f"Basic {TOKEN}", TOKEN], ids=str)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_whoever_has_not_the_token_orders_nothing(tested: Gateway, method: str, token: str) -> None:
    answer = tested.client.request(method, FAULTS, headers={"authorization": token}, json={"does": "status"})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert tested.client.get(FAULTS, headers=ADMIN).json() == {"faults": []}


def test_a_token_that_is_easily_guessed_is_refused_at_start(vendors: dict[str, Vendor]) -> None:
    with pytest.raises(ConfigurationError, match=r"testing\.faults"):
        parse_config(demo_config(testing={"faults": True}), vendors, {})


def test_faults_are_ordered_told_done_and_taken_back(tested: Gateway) -> None:
    ordered = tested.post(FAULTS, {"does": "status", "vendor": "mage", "times": None}, ADMIN)
    tested.post(FAULTS, {"does": "reset", "vendor": "salla"}, ADMIN)
    refused = tested.post(ADJUST, {"adjustment": 5}, CLIENT)
    told = tested.client.get(FAULTS, headers=ADMIN).json()["faults"]

    assert (ordered.status_code, ordered.json()) == (201, {"number": 1})
    assert refused.status_code == 503
    assert [(one["number"], one["fault"]["does"], one["done"]) for one in told] == [
        (1, "status", 1),
        (2, "reset", 0),
    ]

    taken_back = [tested.client.delete(f"{FAULTS}/1", headers=ADMIN).status_code for _ in range(2)]

    assert taken_back == [204, 404]
    assert tested.post(ADJUST, {"adjustment": 5}, CLIENT).status_code == 200
    assert tested.client.delete(FAULTS, headers=ADMIN).status_code == 204
    assert tested.client.get(FAULTS, headers=ADMIN).json() == {"faults": []}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'{"does": "harm"}', b'{"does": "reset", "vendor": "x"}', b'{"does": "reset", "a": 1}'],
)
def test_an_order_that_makes_no_sense_is_refused(tested: Gateway, body: bytes) -> None:
    answer = tested.post(FAULTS, headers=ADMIN, content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_gateways_other_paths_are_as_they_were(tested: Gateway) -> None:
    assert tested.client.get("/-/live").json() == {"live": True}
    assert tested.client.get("/-/admin/faulty", headers=ADMIN).status_code == 404


@pytest.mark.parametrize("number", ["0", "x", "-1", "1" * 5_000])
def test_a_number_that_no_fault_has_is_not_found(tested: Gateway, number: str) -> None:
    assert tested.client.delete(f"{FAULTS}/{number}", headers=ADMIN).status_code == 404


def test_an_endless_order_is_refused(tested: Gateway) -> None:
    assert tested.post(FAULTS, headers=ADMIN, content=b" " * 100_000).status_code == 413


def test_a_gateway_that_is_served_loses_answers_and_connections_by_order(served: str) -> None:
    for does in ("timeout", "reset"):
        order = {"does": does, "vendor": "mage", "after_effect": True}
        assert httpx.post(served + FAULTS, headers=ADMIN, json=order).status_code == 201

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(served + ADJUST, headers=CLIENT, json={"adjustment": 5}, timeout=0.3)
    with pytest.raises(httpx.ReadError):
        httpx.post(served + ADJUST, headers=CLIENT, json={"adjustment": 5})

    answer = httpx.post(served + ADJUST, headers=CLIENT, json={"adjustment": 5})
    assert answer.json()["data"]["attributes"]["points_after"] == 15
