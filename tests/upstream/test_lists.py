"""Lists at a vendor that adjusts one customer at a time, answered before they are carried out."""

import time
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from conftest import Gateway, StartGateway, demo_config

_PATH = "/salla/admin/v2/customers/loyalty/points"
_HEADERS = {"authorization": "Bearer demo-salla-token"}
_LIST = {
    "points": 5,
    "type": "plus",
    "reason": "Thanks",
    "channel_send": [],
    "customers": [748394059, 873874834],
}
_PATIENCE_SECONDS = 30


class _Line(httpx.AsyncBaseTransport):
    """The way to the gateway behind, which can be cut."""

    def __init__(self, client: TestClient) -> None:
        self._way = httpx.ASGITransport(app=client.app)
        self.is_cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("no way there", request=request)
        return await self._way.handle_async_request(request)


@pytest.fixture
def behind(start_gateway: StartGateway) -> Gateway:
    return start_gateway()


@pytest.fixture
def line(behind: Gateway) -> _Line:
    return _Line(behind.client)


@pytest.fixture
def front(start_gateway: StartGateway, line: _Line) -> Gateway:
    config = demo_config()
    config["vendors"]["salla"]["backend"] = {
        "upstream": {
            "vendor": "mage",
            "url": "http://behind/mage",
            "credentials": {"api_key": "mage_demo_key"},
            "list_at_once": 1,
            "patience_seconds": 0.01,
        }
    }
    return start_gateway(config, transport=line)


def _until_settled(front: Gateway) -> list[dict[str, Any]]:
    """All intents, once none is left to be settled."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        intents = front.rows("SELECT id, parent, state FROM intents ORDER BY id")
        if all(one["state"] in {"done", "refused", "parked"} for one in intents):
            return intents
        time.sleep(0.05)
    pytest.fail(f"not settled: {intents}")


def test_a_list_that_meets_an_outage_is_carried_out_behind_it_for_everybody_once(
    front: Gateway, behind: Gateway, line: _Line
) -> None:
    line.is_cut = True
    answer = front.post(_PATH, _LIST, _HEADERS | {"idempotency-key": "k"})
    time.sleep(1.2)
    during = front.rows("SELECT state FROM intents WHERE parent IS NOT NULL")
    line.is_cut = False
    intents = _until_settled(front)
    again = front.post(_PATH, _LIST, _HEADERS | {"idempotency-key": "k"})

    assert (answer.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert {one["state"] for one in during} <= {"waiting", "open"}
    assert [one["state"] for one in intents] == ["done"] * 3
    assert [entry["points_delta"] for entry in behind.entries()] == [5, 5]


def test_a_list_of_which_some_are_refused_is_left_to_a_person_and_never_carried_out_again(
    front: Gateway, behind: Gateway
) -> None:
    behind.exclude("salla:873874834")

    first = front.post(_PATH, _LIST, _HEADERS)
    intents = _until_settled(front)
    again = front.post(_PATH, _LIST, _HEADERS)

    assert (first.status_code, again.status_code) == (201, 503)
    assert [one["state"] for one in intents] == ["parked", "done", "refused"]
    assert [entry["points_delta"] for entry in behind.entries()] == [5]
