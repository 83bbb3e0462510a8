"""What one side did follows at the other: once, in order, whatever breaks in between."""

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from bench import JANE, OMAR, SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, Opened, benches

from loyalty_gateway.customer import CustomerQuery
from loyalty_gateway.ledger.following import here
from loyalty_gateway.ledger.following.sides import Side
from loyalty_gateway.ledger.following.waiting import waiting_customers
from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.migration import follower, taking_over
from loyalty_gateway.migration.commands import settle_follow_up
from loyalty_gateway.migration.stages import Stages
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream.partial import Partial
from loyalty_gateway.vendor import Vendor


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


@pytest.fixture(params=[SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def bench(request: pytest.FixtureRequest, new_bench: NewBench) -> Bench:
    return new_bench(request.param)


class Rounds:
    """Has whoever follows look around without a pause, at everything each time, and counts how often that was."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._passed = 0

        def looked(*asked: Any, **more: Any) -> Any:
            assert more["sweeps"]
            found = yield from waiting_customers(*asked, **more)
            self._passed += 1
            return found

        monkeypatch.setattr(follower, "_EVERY_SECONDS", 0.02)
        monkeypatch.setattr(follower, "_SWEEP_SECONDS", 0.0)
        monkeypatch.setattr(follower, "waiting_customers", looked)

    async def pass_by(self, rounds: int) -> None:
        """Waits until it has looked so often, and for what that brought about."""
        passed = self._passed + rounds
        async with asyncio.timeout(30):
            while self._passed < passed:  # noqa: ASYNC110 - what the gateway does, without a word to us
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)


def test_at_mirror_the_old_side_leads_and_the_new_one_follows(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        for points in (100, -30, 5):
            await opened.adjust(points)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (75, 75)


def test_at_lead_the_new_side_leads_and_the_old_one_follows(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        for points in (100, -30, 5):
            await opened.adjust(points)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert bench.moved(bench.new_side) == [100, -30, 5]
    assert bench.moved("old") == [100, -30, 5]


def test_what_is_begun_by_a_stage_that_has_passed_meanwhile_follows_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def adjusted(opened: Opened) -> None:
        await opened.adjust(100)
        monkeypatch.setattr(Stages, "fresh_seconds", 60.0)
        await opened.adjust(5)
        await bench.advance()
        assert (await bench.take_over())[0]
        await opened.adjust(7)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.SHADOW)

    assert bench.balance("old") == bench.balance(bench.new_side) == 112


def test_what_follows_follows_in_order(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        await opened.adjust(1)
        await opened.quiet()
        opened.bench.wire.down.add("new")
        for points in (100, -60, -40, 3):
            await opened.adjust(points)
        opened.bench.wire.down.clear()
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert bench.moved(bench.new_side)[-4:] == [100, -60, -40, 3]


def test_a_new_side_that_is_down_never_reaches_the_client_before_it_leads(new_bench: NewBench) -> None:
    bench = new_bench(YOTPO_TO_LOYALTYLION)

    async def adjusted(opened: Opened) -> None:
        opened.bench.wire.down.add("new")
        for points in (10, 20):
            await opened.adjust(points)
        assert await opened.beyond(Side.OLD) > 0
        opened.bench.wire.down.clear()
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert (bench.balance("old"), bench.balance("new")) == (30, 30)


def test_an_old_side_that_is_down_never_reaches_the_client_once_the_new_one_leads(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        opened.bench.wire.down.add("old")
        for points in (10, 20):
            await opened.adjust(points)
        opened.bench.wire.down.clear()
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (30, 30)


def test_at_done_the_new_side_is_alone_and_going_back_brings_the_old_one_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch)

    async def adjusted(opened: Opened) -> None:
        await opened.adjust(50)
        await rounds.pass_by(5)
        assert bench.balance("old") == 0
        await bench.back()
        await opened.adjust(1)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.DONE)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (51, 51)


def test_what_waits_for_the_old_side_when_a_move_is_done_reaches_it_still(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds(monkeypatch)

    async def adjusted(opened: Opened) -> None:
        assert (await bench.reconcile())[0]
        opened.bench.wire.down.add("old")
        await opened.adjust(30)
        await bench.advance()
        await opened.adjust(4)
        opened.bench.wire.down.clear()
        async with asyncio.timeout(30):
            while bench.balance("old") != 30:  # noqa: ASYNC110 - what the gateway does, without a word to us
                await asyncio.sleep(0.05)
        await rounds.pass_by(5)

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (30, 34)


def test_going_back_from_lead_to_mirror_loses_nothing(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        bench.wire.down.add("old")
        await opened.adjust(50)
        bench.wire.down.clear()
        await bench.back()
        # The old side leads again, and knows of the 50 that were there a moment ago.
        await opened.adjust(-40)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (10, 10)


def test_where_the_one_that_is_to_lead_cannot_hear_of_all_the_other_one_goes_on(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        bench.wire.down.add("old")
        await opened.adjust(50)
        await bench.back()
        await opened.adjust(-40)
        bench.wire.down.clear()
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (10, 10)


@pytest.mark.parametrize("stage", [Stage.MIRROR, Stage.LEAD])
def test_a_retry_after_a_step_gets_the_outcome_of_the_first_try(bench: Bench, stage: Stage) -> None:
    async def adjusted(opened: Opened) -> None:
        await opened.adjust(10, "once")
        if stage is Stage.MIRROR:
            await opened.quiet()
            assert (await bench.take_over())[0]
            assert (await bench.reconcile())[0]
            await bench.advance()
        else:
            await bench.back()
        again = await opened.adjust(10, "once")
        assert again.replayed
        await opened.quiet()

    bench.run_at_stage(adjusted, stage)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (10, 10)


def test_a_retry_while_the_first_try_waits_is_not_carried_out_at_the_other_side(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        bench.wire.down.add("old")
        await opened.adjust(50)
        await bench.back()
        # The first try waits for the old side to hear of the 50; meanwhile the new one leads again.
        first = asyncio.create_task(opened.adjust(5, "once"))
        await asyncio.sleep(0.1)
        bench.execute("front", "UPDATE migrations SET stage = 'lead'")
        again = await opened.adjust(5, "once")
        assert [(await first).replayed, again.replayed] == [False, True]
        bench.wire.down.clear()
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (55, 55)


def test_the_same_request_without_a_key_joins_the_one_under_way(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def adjusted(opened: Opened) -> None:
        bench.wire.slow_seconds = 0.3
        await asyncio.gather(opened.adjust(5), opened.adjust(5))
        bench.wire.slow_seconds = 0.0
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert (bench.balance("old"), bench.balance("front")) == (5, 5)


def test_what_waits_to_follow_is_there_after_a_crash(bench: Bench) -> None:
    async def crashed() -> None:
        async with bench.servers():
            async with bench.front():
                await bench.come_to(Stage.LEAD)
            bench.wire.down.add("old")
            async with bench.opened() as opened:
                await opened.adjust(10)
                await opened.adjust(5)
            bench.wire.down.clear()
            async with bench.opened() as opened:
                await opened.quiet()

    asyncio.run(crashed())

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (15, 15)


@pytest.mark.parametrize("stage", [Stage.MIRROR, Stage.LEAD])
def test_a_crash_between_following_and_remembering_that_doubles_nothing(
    bench: Bench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("the machine is gone")

    async def crashed() -> None:
        async with bench.servers():
            async with bench.front():
                await bench.come_to(stage)
            async with bench.opened() as opened:
                await opened.adjust(1)
                await opened.quiet()
                with monkeypatch.context() as broken:
                    broken.setattr(follower, "followed_up", crash)
                    broken.setattr(here, "followed_up", crash)
                    await opened.adjust(10)
                    await asyncio.sleep(0.5)
            # Whoever held the customer is gone, and its lease would have to pass.
            bench.execute("front", "UPDATE followed SET owner = NULL, due_at = 0")
            async with bench.opened() as opened:
                await opened.quiet()

    asyncio.run(crashed())

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (11, 11)
    assert bench.moved("old") == [1, 10]


def test_a_lost_answer_of_the_follower_doubles_nothing(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def adjusted(opened: Opened) -> None:
        bench.wire.deaf.add("old")
        await opened.adjust(10)
        await asyncio.sleep(0.5)
        bench.wire.deaf.clear()
        await opened.quiet(20)

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance("front")) == (10, 10)


def test_a_reset_follows_as_the_points_it_took(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        await opened.adjust(70)
        await opened.adjust(None)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (0, 0)


def test_each_customer_of_a_list_follows(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def adjusted(opened: Opened) -> None:
        await opened.adjust(10, "list", JANE, OMAR)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert [bench.balance(side, "omar@example.com") for side in ("old", "front")] == [10, 10]


def test_what_is_refused_is_parked_and_tried_again_when_a_person_wants_that(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def adjusted(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        # Somebody took points at the old vendor, past the gateway.
        bench.execute("old", "UPDATE wallets SET available = 0")
        await opened.adjust(-10)
        await opened.quiet()
        told = await bench.status()
        assert "-10 points for wallet_1 at the old side, parked (too_few_points)" in told
        assert not (await bench.reconcile())[0]
        bench.execute("old", "UPDATE wallets SET available = 10")
        key = told.split("follow-up ")[1].split(":")[0]
        await bench.step(lambda chosen: settle_follow_up(chosen, key=key, retries=True, out=io.StringIO()))
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance("front")) == (0, 0)
    assert bench.rows("front", "SELECT * FROM parked_follow_ups") == []


def test_what_followed_does_not_come_back(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        assert (await bench.reconcile())[0]
        await bench.advance()
        await opened.adjust(20)
        await opened.quiet()
        await bench.back()
        await opened.adjust(30)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert bench.moved("old") == [10, 20, 30]
    assert (bench.balance("old"), bench.balance(bench.new_side)) == (60, 60)


def test_a_read_right_after_an_adjustment_shows_it_whatever_was_changed_between(bench: Bench) -> None:
    async def read(opened: Opened) -> None:
        reference = JANE if bench.vendor == "salla" else JANE.__class__("email", "jane@example.com")
        shown = []
        for change in (bench.back, None):
            await opened.adjust(10)
            if change is not None:
                await change()
            customer = await opened.backend.customer(bench.merchant, CustomerQuery(references=(reference,)))
            shown.append((customer.one if isinstance(customer, Partial) else customer).wallet.available)
        assert shown == [10, 20]

    bench.run_at_stage(read, Stage.LEAD)


def test_a_deduction_that_the_leader_refuses_is_refused_and_follows_nowhere(bench: Bench) -> None:
    async def refused(opened: Opened) -> None:
        with pytest.raises(Problem) as found:
            await opened.adjust(-10)
        assert found.value.code is Code.TOO_FEW_POINTS
        await opened.quiet()

    bench.run_at_stage(refused, Stage.MIRROR)

    assert bench.moved("old") == []


def test_somebody_new_at_the_old_side_is_taken_over_before_the_new_one_leads_for_them(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)
    newcomer = JANE.__class__("salla", "555")

    async def adjusted(opened: Opened) -> None:
        bench.execute(
            "old",
            "INSERT INTO wallets (id, merchant_id, available, created_at, updated_at) VALUES (9, 1, 40, 1, 1)",
        )
        bench.execute("old", "INSERT INTO customer_references VALUES (1, 'salla', '555', 9)")
        await opened.adjust(2, "new", newcomer)
        await asyncio.sleep(0.5)

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert [bench.balance(side, "555") for side in ("old", "front")] == [42, 42]


def test_nothing_is_asked_for_twice_while_what_came_of_it_is_not_known(new_bench: NewBench) -> None:
    bench = new_bench(YOTPO_TO_LOYALTYLION)

    async def adjusted(opened: Opened) -> None:
        await opened.adjust(1)
        await opened.quiet()
        before = bench.wire.changes["new"]
        bench.wire.deaf.add("new")
        await opened.adjust(10)
        await asyncio.sleep(1.0)
        assert bench.wire.changes["new"] == before + 1
        bench.wire.deaf.clear()
        await opened.quiet(20)

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert (bench.balance("old"), bench.balance("new")) == (11, 11)
    assert {Code.RECORD_BUSY, Code.UNAVAILABLE} <= taking_over.PASSES
