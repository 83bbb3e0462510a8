"""Two gateways, one of which goes by a stage that has passed: what they are asked for is done at one side."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias, cast

import pytest
from bench import SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, Opened, benches

from loyalty_gateway.adjustment import Adjustment, Everyone, Instruction, Lifetime
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor
from stores import Store

Asking: TypeAlias = Callable[[Opened], Coroutine[Any, Any, Any]]


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


@pytest.fixture(params=[SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def bench(request: pytest.FixtureRequest, new_bench: NewBench, store: Store) -> Bench:
    return new_bench(request.param, store)


class Held:
    """Another gateway, which has decided at which side a request is done and gets no further for a while."""

    def __init__(self, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
        self._has_decided = asyncio.Event()
        self._may_go_on = asyncio.Event()
        self._opened = opened
        backend, parts = opened.backend, opened.backend.parts
        for upstream in (parts.old, parts.new):
            if upstream is not None:
                monkeypatch.setattr(upstream, "adjust", self._later(upstream.adjust))
        here = Delegate(opened.ledger, self._later(opened.ledger.adjust))
        monkeypatch.setattr(backend, "parts", parts._replace(ledger=cast("Ledger", here)))

    def _later(self, adjust: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def adjust_later(*asked: Any, **more: Any) -> Any:
            self._has_decided.set()
            await self._may_go_on.wait()
            return await adjust(*asked, **more)

        return adjust_later

    async def asked(self, ask: Asking, meanwhile: Callable[[], Awaitable[Any]]) -> Any:
        """What it answers, when something has been done since it decided."""
        answer = asyncio.create_task(ask(self._opened))
        await self._has_decided.wait()
        await meanwhile()
        self._may_go_on.set()
        return await answer


class Delegate:
    """A ledger whose ``adjust`` is another one."""

    def __init__(self, ledger: Ledger, adjust: Callable[..., Awaitable[Any]]) -> None:
        self._ledger = ledger
        self.adjust = adjust

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


async def _ready_to_go_on(bench: Bench, opened: Opened, points: int) -> None:
    await opened.adjust(points)
    await opened.quiet()
    if (await bench.step(lambda chosen: chosen.move())).stage is Stage.MIRROR:
        assert (await bench.take_over())[0]
    assert (await bench.reconcile())[0]


def _step_from(bench: Bench, stage: Stage) -> Callable[[], Awaitable[str]]:
    return bench.advance if stage is Stage.MIRROR else bench.back


@pytest.mark.parametrize("stage", [Stage.MIRROR, Stage.LEAD])
def test_a_retry_at_another_gateway_is_not_carried_out_at_the_other_side(
    bench: Bench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def adjusted(opened: Opened) -> None:
        await _ready_to_go_on(bench, opened, 50)

        async def meanwhile() -> None:
            await _step_from(bench, stage)()
            assert not (await opened.adjust(5, "once")).replayed

        async with bench.another(opened) as another:
            again = await Held(another, monkeypatch).asked(lambda held: held.adjust(5, "once"), meanwhile)
        assert again.replayed
        await opened.quiet()

    bench.run_at_stage(adjusted, stage)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (55, 55)


@pytest.mark.parametrize("stage", [Stage.MIRROR, Stage.LEAD])
def test_points_are_not_spent_at_both_sides(bench: Bench, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def adjusted(opened: Opened) -> None:
        await _ready_to_go_on(bench, opened, 50)

        async def meanwhile() -> None:
            await _step_from(bench, stage)()
            await opened.adjust(-40, "here")

        async with bench.another(opened) as another:
            with pytest.raises(Problem) as found:
                await Held(another, monkeypatch).asked(lambda held: held.adjust(-40, "there"), meanwhile)
        assert found.value.code is Code.TOO_FEW_POINTS
        await opened.quiet()

    bench.run_at_stage(adjusted, stage)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (10, 10)
    assert bench.rows("front", "SELECT * FROM parked_follow_ups") == []


def test_everyone_is_adjusted_at_the_side_that_leads_by_then(
    new_bench: NewBench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench(SALLA_TO_ENGINE, store)

    async def adjusted(opened: Opened) -> None:
        await _ready_to_go_on(bench, opened, 50)
        for_all = Adjustment(
            customers=Everyone.EVERYONE, points_delta=5, lifetime=Lifetime.EARN_AND_BURN, reason="all"
        )
        asked = Instruction(merchant=bench.merchant, vendor="salla", adjustment=for_all)
        async with bench.another(opened) as another:
            await Held(another, monkeypatch).asked(lambda held: held.backend.adjust(asked), bench.back)
        await opened.quiet()
        assert bench.rows("front", "SELECT * FROM entries WHERE vendor = 'salla' AND reason = 'all'") == []

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert [bench.balance(side, "omar@example.com") for side in ("old", "front")] == [5, 5]
