"""Stages go one step on and one back, and whoever is in one stays there when it grows."""

import asyncio
from pathlib import Path

import pytest
from bench import SALLA_TO_ENGINE, NewBench, benches
from hypothesis import given
from hypothesis import strategies as st

from loyalty_gateway.ledger.moving import Move, Stage
from loyalty_gateway.migration import commands
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


_START = Move(merchant="demo", vendor="salla")


def _at(stage: Stage, percent: int = 100) -> Move:
    return Move(merchant="demo", vendor="salla", stage=stage, percent=percent)


def test_the_stages_follow_one_another() -> None:
    move, passed = _START, [_START.stage]

    while move.stage is not Stage.DONE:
        move = move.advanced(percent=None, customers=())
        passed.append(move.stage)

    assert passed == [Stage.OBSERVE, Stage.SHADOW, Stage.MIRROR, Stage.LEAD, Stage.DONE]


def test_every_step_on_can_be_taken_back() -> None:
    for before in (Stage.OBSERVE, Stage.SHADOW, Stage.MIRROR, Stage.LEAD):
        advanced = _at(before).advanced(percent=None, customers=())

        back = advanced.taken_back(percent=None)

        assert back == _at(before)


def test_there_is_nothing_behind_the_last_stage_and_before_the_first() -> None:
    with pytest.raises(ConfigurationError, match="is done"):
        _at(Stage.DONE).advanced(percent=None, customers=())
    with pytest.raises(ConfigurationError, match="no stage before"):
        _START.taken_back(percent=None)


def test_a_part_goes_first_and_the_others_stay_in_the_stage_before() -> None:
    move = _at(Stage.MIRROR).advanced(percent=30, customers=())

    stages = [move.stage_of(number) for number in range(1, 1_001)]

    assert 200 < stages.count(Stage.LEAD) < 400
    assert set(stages) == {Stage.LEAD, Stage.MIRROR}


@given(number=st.integers(1, 2**62), percents=st.lists(st.integers(1, 100), min_size=2, max_size=6))
def test_growing_never_moves_anybody_back(number: int, percents: list[int]) -> None:
    grown = [_at(Stage.LEAD, percent).stage_of(number) for percent in sorted(percents)]

    assert grown == sorted(grown, key=lambda stage: stage.place)


@given(number=st.integers(1, 2**62), percent=st.integers(0, 100))
def test_the_same_customers_are_chosen_whatever_the_stage(number: int, percent: int) -> None:
    chosen = [_at(stage, percent).stage_of(number) is stage for stage in Stage if stage is not Stage.OBSERVE]

    assert len(set(chosen)) == 1


def test_two_moves_choose_differently() -> None:
    other = Move(merchant="other", vendor="salla", stage=Stage.LEAD, percent=50)

    chosen = [_at(Stage.LEAD, 50).stage_of(number) is other.stage_of(number) for number in range(1, 101)]

    assert not all(chosen)


def test_named_customers_go_first_and_stay_when_a_percentage_follows() -> None:
    named = _at(Stage.MIRROR).advanced(percent=None, customers=[7])

    grown = named.advanced(percent=1, customers=())

    assert [named.stage_of(number) for number in (7, 8)] == [Stage.LEAD, Stage.MIRROR]
    assert grown.stage_of(7) is Stage.LEAD


def test_whom_the_ledger_has_not_met_is_chosen_with_everybody_only() -> None:
    stages = [_at(Stage.LEAD, percent).stage_of(0) for percent in (99, 100)]

    assert stages == [Stage.MIRROR, Stage.LEAD]


def test_fewer_can_be_kept_but_not_more_and_more_can_be_taken_but_not_fewer() -> None:
    half = _at(Stage.LEAD, 50)

    assert half.taken_back(percent=20).percent == 20
    with pytest.raises(ConfigurationError, match="go back to fewer"):
        half.taken_back(percent=60)
    with pytest.raises(ConfigurationError, match="advance to more"):
        half.advanced(percent=40, customers=())


def test_who_when_and_why_are_kept_for_each_change(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def changed() -> str:
        await bench.advance(percent=10)
        await bench.advance()
        await bench.back()
        return await bench.status()

    told = asyncio.run(changed()).splitlines()

    assert told[0] == "demo, salla: observe"
    assert [line.split(" ", 3)[3] for line in told[1:4]] == [
        "shadow 10 %, Ann: a test",
        "shadow 100 %, Ann: a test",
        "observe 100 %, Ann: a test",
    ]


def test_a_reason_has_to_be_given(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def silent() -> None:
        await bench.step(lambda chosen: commands.take_back(chosen, percent=None, who="", why=" ", out=None))  # type: ignore[arg-type]

    async def advanced_then_silent() -> None:
        await bench.advance()
        await silent()

    with pytest.raises(ConfigurationError, match="--why"):
        asyncio.run(advanced_then_silent())


def test_a_list_of_customers_nobody_knows_is_refused_with_its_line(new_bench: NewBench, tmp_path: Path) -> None:
    bench, file = new_bench(SALLA_TO_ENGINE), tmp_path / "who.txt"
    file.write_text("salla:748394059\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="line 1: the ledger has no customer salla:748394059"):
        asyncio.run(bench.advance(customers=file))
