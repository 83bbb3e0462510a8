"""The vendors at their real hosts, for sync and async clients, without a socket."""

from __future__ import annotations

import asyncio
import inspect
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import respx

from dialects import DIALECTS
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.testing import mock
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.testing.received import ReceivedRequest
from loyalty_gateway.vendor import Vendor, discover

VENDORS = sorted(discover())
URL = "https://api.mageloyalty.com/v1/customers/1/points"
ADD_TEN = {"adjustment": 10}


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_arguments: Any) -> None:
        raise OSError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.mark.parametrize("name", VENDORS)
def test_every_vendor_answers_at_each_of_its_hosts(vendors: dict[str, Vendor], name: str) -> None:
    dialect = next(one for one in DIALECTS if one.name.startswith(name))
    path = dialect.path.removeprefix(f"/{name}")

    with mock(name) as vendor:
        vendor.enrol(shopify="6789012345", email="jane@example.com", bitbybit="cust_abc123", salla="748394059")
        vendor.enrol(salla="873874834")
        answers = [
            httpx.post(f"https://{host}{path}", headers=vendor.headers(), json=dialect.body(10, "Hello"))
            for host in vendors[name].hosts
        ]

        assert [answer.is_success for answer in answers] == [True] * len(vendors[name].hosts)
        assert vendor.wallet(shopify="6789012345").available == 10 * len(answers)
        assert vendor.url().startswith("https://")
        assert httpx.URL(vendor.url()).host in vendors[name].hosts


@mock("mage")
def test_a_decorated_function_is_given_the_vendor(vendor: Gateway, tmp_path: object) -> None:
    vendor.enrol(shopify="1")

    answer = httpx.post(URL, headers=vendor.headers(), json=ADD_TEN)

    assert answer.status_code == 200
    assert tmp_path is not None


@mock("mage")
def test_a_decorated_function_need_not_ask_for_the_vendor() -> None:
    assert httpx.post(URL, json=ADD_TEN).status_code == 401


def test_a_decorated_coroutine_function_stays_one() -> None:
    @mock("mage")
    async def ask(vendor: Gateway, number: int) -> list[int]:
        vendor.enrol(shopify="1")
        async with httpx.AsyncClient(headers=vendor.headers()) as client:
            answers = await asyncio.gather(*[client.post(URL, json=ADD_TEN) for _ in range(number)])
        balances = sorted(answer.json()["data"]["attributes"]["points_after"] for answer in answers)
        assert vendor.wallet(shopify="1").available == balances[-1]
        return balances

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask(number=5)) == [10, 20, 30, 40, 50]
    assert asyncio.run(ask(number=2)) == [10, 20]


def test_what_cannot_be_decorated_is_told() -> None:
    class TestPoints:
        def test_a_promise(self) -> None:
            """It would not be collected any more."""

    def vendor() -> Iterator[None]:
        yield

    async def vendor_of_a_loop() -> AsyncIterator[None]:
        yield

    for kind in (TestPoints, vendor, vendor_of_a_loop):
        with pytest.raises(TypeError, match=f"{kind.__name__} is a (class|generator function)"):
            mock("mage")(kind)


def test_more_calls_than_there_are_threads_wait_at_the_same_time() -> None:
    number = 60

    async def ask() -> int:
        loop, all_are_there = asyncio.get_running_loop(), asyncio.Event()
        with mock("mage") as vendor:
            vendor.faults.delay(times=None, seconds=600)
            noted = vendor.faults.on_request

            def note(request: ReceivedRequest) -> None:
                assert noted is not None
                noted(request)
                if len(vendor.requests) == number:
                    loop.call_soon_threadsafe(all_are_there.set)

            vendor.faults.on_request = note
            async with httpx.AsyncClient(timeout=600) as client:
                waiting = [asyncio.create_task(client.post(URL, json=ADD_TEN)) for _ in range(number)]
                await asyncio.wait_for(all_are_there.wait(), 20)
                for call in waiting:
                    call.cancel()
                ended, _ = await asyncio.wait(waiting)
        return sum(call.cancelled() for call in ended)

    assert asyncio.run(ask()) == number


def test_a_sync_client_within_an_event_loop_is_answered_too() -> None:
    async def ask() -> int:
        async with mock("mage") as vendor:
            vendor.enrol(shopify="1")
            return httpx.post(URL, headers=vendor.headers(), json=ADD_TEN).status_code  # noqa: ASYNC210 - just that

    assert asyncio.run(ask()) == 200


def test_an_event_loop_goes_on_while_the_vendor_takes_its_time() -> None:
    async def ask() -> list[str]:
        done: list[str] = []
        with mock("mage") as vendor:
            vendor.faults.delay(seconds=1.0)

            async def call() -> None:
                async with httpx.AsyncClient() as client:
                    await client.post(URL, json=ADD_TEN)
                done.append("answered")

            call_task = asyncio.create_task(call())
            await asyncio.sleep(0.05)
            done.append("went on")
            await call_task
        return done

    assert asyncio.run(ask()) == ["went on", "answered"]


@pytest.mark.parametrize(
    ("fault", "told", "moved"),
    [("reset", httpx.ReadError, 0), ("timeout", httpx.ReadTimeout, 10), ("delay", httpx.ReadTimeout, 10)],
)
def test_what_comes_instead_of_an_answer_is_told_as_over_a_socket(
    fault: str, told: type[Exception], moved: int
) -> None:
    with mock("mage") as vendor:
        vendor.enrol(shopify="1")
        getattr(vendor.faults, fault)(seconds=30.0, after_effect=moved > 0)

        with pytest.raises(told):
            httpx.post(URL, headers=vendor.headers(), json=ADD_TEN, timeout=0.2)

        # On a busy machine the client may give up before the vendor is done.
        deadline = time.monotonic() + 10
        while vendor.wallet(shopify="1").available != moved and time.monotonic() < deadline:
            time.sleep(0.01)
        assert vendor.wallet(shopify="1").available == moved


def test_each_entering_has_a_ledger_of_its_own() -> None:
    vendors = mock("mage")

    for _ in range(2):
        with vendors as vendor:
            assert vendor.entries() == ()
            vendor.enrol(shopify="1", points=5)


def test_several_vendors_share_one_ledger() -> None:
    with mock("mage", "loyaltylion") as gateway:
        gateway.enrol(shopify="1", points=5)
        answers = [
            httpx.post(URL, headers=gateway.headers("mage"), json=ADD_TEN),
            httpx.post(
                f"{gateway.url('loyaltylion')}/v2/customers/1/points",
                headers=gateway.headers("loyaltylion"),
                json={"points": 3, "reason": "Hello"},
            ),
        ]

        assert [answer.status_code for answer in answers] == [200, 201]
        assert gateway.wallet(shopify="1").available == 18


def test_another_host_is_an_error_unless_somebody_else_mocks_it() -> None:
    with mock("mage"):
        with pytest.raises(respx.models.AllMockedAssertionError, match="no host of a vendor"):
            httpx.get("https://shop.example.com/")

        with respx.mock:
            respx.get("https://shop.example.com/").respond(204)
            assert httpx.get("https://shop.example.com/").status_code == 204


def test_another_host_is_called_where_that_is_wanted() -> None:
    with mock("mage", pass_through=True), pytest.raises(httpx.ConnectError, match="a socket was connected"):
        httpx.get("http://127.0.0.1:9/")


@pytest.mark.parametrize(("outer", "inner"), [(True, False), (False, True), (True, True)])
def test_a_mock_within_another_keeps_its_hosts_whichever_lets_others_out(
    outer: bool,  # noqa: FBT001 - a parameter of the test
    inner: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    with mock("loyaltylion", pass_through=outer) as lion, mock("mage", pass_through=inner):
        assert httpx.post(URL, json=ADD_TEN).status_code == 401
        assert httpx.get(f"{lion.url()}/v2/customers").status_code == 401
        with pytest.raises(httpx.ConnectError, match="a socket was connected"):
            httpx.get("http://127.0.0.1:9/")

    with mock("mage"), pytest.raises(respx.models.AllMockedAssertionError):
        httpx.get(f"{lion.url()}/v2/customers")


def test_behind_the_mock_httpx_is_as_it_was() -> None:
    with mock("mage"):
        pass

    with pytest.raises(httpx.ConnectError, match="a socket was connected"):
        httpx.get("http://127.0.0.1:9/")


def test_a_vendor_that_there_is_not_is_told() -> None:
    with pytest.raises(ConfigurationError, match="mages: no such vendor; there are bitbybit"):
        mock("mages")


def test_without_respx_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "respx", None)
    monkeypatch.delitem(sys.modules, "loyalty_gateway.testing.hosts", raising=False)

    with pytest.raises(ImportError, match=r"pip install 'loyalty-gateway\[testing\]'"):
        mock("mage")
