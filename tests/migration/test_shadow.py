"""Before the new side follows it only says what it would have done, and nobody can tell at either side."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from bench import JANE, SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, Opened, benches

from loyalty_gateway.adjustment import CustomerReference
from loyalty_gateway.customer import CustomerQuery
from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.migration import commands
from loyalty_gateway.migration.comparing import Told, differences
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


@pytest.fixture(params=[SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def bench(request: pytest.FixtureRequest, new_bench: NewBench) -> Bench:
    return new_bench(request.param)


async def _report(bench: Bench) -> str:
    out = io.StringIO()
    await bench.step(lambda chosen: commands.tell_report(chosen, customers=True, out=out))
    return out.getvalue()


def test_at_observe_the_old_side_answers_and_nobody_else_hears_of_it(bench: Bench) -> None:
    before = []

    async def adjusted(opened: Opened) -> None:
        before.append(bench.digest(bench.new_side))
        await opened.adjust(10)
        await opened.adjust(-3)

    bench.run_at_stage(adjusted, Stage.OBSERVE)

    assert bench.moved("old") == [10, -3]
    assert bench.digest(bench.new_side) == before[0]
    assert bench.rows("front", "SELECT * FROM comparisons") == []


def test_shadow_leaves_the_new_side_as_it_was_to_the_last_byte(bench: Bench) -> None:
    before = []

    async def adjusted(opened: Opened) -> None:
        before.append(bench.digest(bench.new_side))
        named = JANE if bench.vendor == "salla" else CustomerReference("email", "jane@example.com")
        await opened.adjust(10)
        await opened.adjust(-3)
        await opened.backend.customer(bench.merchant, CustomerQuery(references=(named,)))

    bench.run_at_stage(adjusted, Stage.SHADOW)

    assert bench.moved("old") == [10, -3]
    assert bench.digest(bench.new_side) == before[0]
    assert len(bench.rows("front", "SELECT * FROM comparisons")) == 3


def test_a_shadow_that_is_down_never_reaches_the_client(new_bench: NewBench) -> None:
    bench = new_bench(YOTPO_TO_LOYALTYLION)

    async def adjusted(opened: Opened) -> None:
        bench.wire.down.add("new")
        await opened.adjust(10)

    bench.run_at_stage(adjusted, Stage.SHADOW)

    assert bench.moved("old") == [10]


def test_what_the_sides_would_refuse_differently_differs_in_money(bench: Bench) -> None:
    told = []

    async def adjusted(opened: Opened) -> None:
        await opened.adjust(10)
        # The old side has 10, the new one, which was not told of them, has none.
        await opened.adjust(-5)
        with pytest.raises(Problem) as found:
            await opened.adjust(-50)
        assert found.value.code is Code.TOO_FEW_POINTS
        await asyncio.sleep(0.5)
        told.append(await _report(bench))

    bench.run_at_stage(adjusted, Stage.SHADOW)

    assert "3 comparisons" in told[0]
    assert "  money refusal: 1\n" in told[0]
    assert "wallet_1: " in told[0]


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ({"entry.points_delta": 5}, {"entry.points_delta": 5}, []),
        ({"entry.points_delta": 5}, {"entry.points_delta": 6}, ["money"]),
        ({"wallet.available": 5}, {"wallet.available": 6}, ["money"]),
        ({"entry.reason": "a"}, {"entry.reason": "b"}, ["different"]),
        ({"entry.reason": "a"}, {}, ["missing"]),
        ({}, {"entry.reason": "a"}, ["extra"]),
        ({"entry.reason": "a", "wallet.available": 1}, {"wallet.available": 2}, ["money", "missing"]),
    ],
)
def test_differences_are_typed_and_money_comes_first(
    old: dict[str, Any], new: dict[str, Any], kinds: list[str]
) -> None:
    found = differences(Told(fields=old), Told(fields=new))

    assert [one["type"] for one in found] == kinds


def test_only_so_many_comparisons_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loyalty_gateway.ledger.moving._KEPT_COMPARISONS", 2)

    async def adjusted(opened: Opened) -> None:
        for points in (1, 2, 3, 4):
            await opened.adjust(points)

    bench.run_at_stage(adjusted, Stage.SHADOW)

    assert [row["number"] for row in bench.rows("front", "SELECT number FROM comparisons")] == [3, 4]
