"""The old side's list, however long it is and however often it bids us wait; one without an end is given up."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from bench import SALLA_TO_ENGINE, Bench, NewBench, Opened, benches

from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.migration.importing import listed
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor

Answering = Callable[[httpx.Request], Awaitable[httpx.Response]]


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


@pytest.fixture
def bench(new_bench: NewBench) -> Bench:
    return new_bench(SALLA_TO_ENGINE)


def _answer_lists(bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: Answering) -> None:
    """Has something else than the old side answer who its customers are."""
    others = bench.wire.handle_async_request

    async def handle(request: httpx.Request) -> httpx.Response:
        is_list = request.method == "GET" and request.url.path.endswith("/customers")
        return await (answer if is_list else others)(request)

    monkeypatch.setattr(bench.wire, "handle_async_request", handle)


def _page(number: int, last: int) -> httpx.Response:
    paging = {"count": 1, "total": last, "perPage": 1, "currentPage": number, "totalPages": last, "links": {}}
    customer = {"id": 100_000 + number, "first_name": f"Customer {number}"}
    told = {"status": 200, "success": True, "data": [customer], "pagination": paging}
    return httpx.Response(200, content=json.dumps(told), headers={"content-type": "application/json"})


def test_every_page_of_a_very_long_list_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        return _page(int(request.url.params.get("page", 1)), 620)

    async def read(opened: Opened) -> None:
        _answer_lists(bench, monkeypatch, answer)
        numbers = [one.references[0].value async for one in listed(opened.backend.parts)]
        assert numbers == [str(100_000 + number) for number in range(1, 621)]

    bench.run_at_stage(read, Stage.SHADOW)


@pytest.mark.parametrize("stays", [1, 7])
def test_a_list_whose_page_stays_the_same_is_given_up_soon_and_is_not_clean(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, stays: int
) -> None:
    asked = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return _page(min(int(request.url.params.get("page", 1)), stays), 620)

    async def reconciled(_opened: Opened) -> None:
        _answer_lists(bench, monkeypatch, answer)
        clean, told = await bench.reconcile()
        assert not clean
        assert "the old side's list: unread, old None, new None unavailable" in told

    bench.run_at_stage(reconciled, Stage.MIRROR)

    assert asked < 5 * (stays + 1)


def test_a_list_that_bids_us_wait_is_waited_for_page_by_page(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = bench.wire.handle_async_request
    refusals = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal refusals
        if refusals:
            refusals -= 1
            return httpx.Response(429, json={"status": 429, "success": False, "error": {"message": "later"}})
        return await others(request)

    async def both(_opened: Opened) -> None:
        nonlocal refusals
        _answer_lists(bench, monkeypatch, answer)
        refusals = 4
        done, told = await bench.take_over()
        assert done, told
        refusals = 4
        clean, told = await bench.reconcile()
        assert clean, told
        assert refusals == 0

    bench.run_at_stage(both, Stage.MIRROR)
