"""A move comes to its end: what waits is found where it is, and what is kept for going back can be given up."""

import asyncio
import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bench import SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, Opened, benches

from loyalty_gateway.ledger.following.claims import claim
from loyalty_gateway.ledger.following.sides import Route
from loyalty_gateway.ledger.following.waiting import waiting_customers
from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.ledger.sqlite_dialect import SqliteDialect
from loyalty_gateway.ledger.statements import Statement
from loyalty_gateway.migration import commands, follower
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor
from stores import SqliteFile, Store


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


@pytest.fixture(params=[SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def bench(request: pytest.FixtureRequest, new_bench: NewBench, store: Store) -> Bench:
    return new_bench(request.param, store)


async def _end(bench: Bench) -> str:
    out = io.StringIO()
    await bench.step_at_sides(
        lambda chosen, parts: commands.end(chosen, parts, who="Ann", why="it is over", out=out)
    )
    return out.getvalue()


def test_a_move_that_is_ended_keeps_nothing_for_a_way_back(bench: Bench) -> None:
    async def ended(opened: Opened) -> None:
        await opened.adjust(10)
        told = await _end(bench)
        assert "ended, the new side is alone and there is no way back any more" in told
        await opened.adjust(5, "behind it")
        assert (await opened.adjust(5, "behind it")).replayed
        told = await bench.status()
        assert f"demo, {bench.vendor}: ended, the new side is alone" in told
        assert "Ann: it is over" in told
        for step in (bench.back, bench.advance):
            with pytest.raises(ConfigurationError, match="no way back any more"):
                await step()

    bench.run_at_stage(ended, Stage.DONE)

    assert bench.balance(bench.new_side) == 15
    assert bench.rows("front", "SELECT id FROM intents WHERE follow = 1") == []
    assert bench.rows("front", "SELECT * FROM followed") == []


def test_only_what_is_done_for_everybody_can_be_ended(bench: Bench) -> None:
    async def refused(_opened: Opened) -> None:
        assert (await bench.reconcile())[0]
        with pytest.raises(ConfigurationError, match="is not done for everybody"):
            await _end(bench)
        await bench.advance(percent=50)
        with pytest.raises(ConfigurationError, match="is not done for everybody"):
            await _end(bench)

    bench.run_at_stage(refused, Stage.LEAD)


_PARKED = (
    "INSERT INTO parked_follow_ups "
    "(merchant_id, vendor, key, wallet_id, side, adjustment, code, state, parked_at) "
    "VALUES (1, 'salla', 'k', 1, 'new', '{}', 'too_few_points', 'parked', 1)"
)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE intents SET follow = 1", "1 adjustments of the old side"),
        ("UPDATE followed SET pending = 3, pending_key = 'k' WHERE wallet_id = 1", "1 balances"),
        (_PARKED, "1 parked follow-ups"),
    ],
)
def test_a_move_is_not_ended_while_anything_of_the_old_side_has_not_come_across(
    new_bench: NewBench, change: str, what: str
) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def refused() -> None:
        async with bench.servers():
            async with bench.front():
                await bench.come_to(Stage.MIRROR)
            async with bench.opened() as opened:
                await opened.adjust(1)
                await opened.quiet()
            async with bench.front():
                await bench.come_to(Stage.DONE)
            bench.execute("front", change)
            with pytest.raises(ConfigurationError, match=what):
                await _end(bench)

    asyncio.run(refused())

    assert bench.rows("front", "SELECT stage FROM migrations") == [{"stage": "done"}]


def test_what_waits_at_done_is_found_without_a_look_at_what_is_kept_for_going_back(new_bench: NewBench) -> None:
    bench = new_bench(YOTPO_TO_LOYALTYLION)

    async def nothing(_opened: Opened) -> None:
        return

    bench.run_at_stage(nothing, Stage.DONE)
    route = Route("yotpo", "old", "new")
    looked = next(waiting_customers(SqliteDialect(), 1, route, sweeps=False, now=0, until=1))
    assert isinstance(looked, Statement)
    assert isinstance(bench.store, SqliteFile)
    with closing(sqlite3.connect(bench.store.path)) as db:
        plan = " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {looked.sql}", looked.parameters))

    assert "intents_to_follow_since (merchant_id=? AND vendor=? AND created_at<?)" in plan


def test_who_is_to_be_tried_later_is_left_alone_until_then(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0

    def counted(*asked: object) -> object:
        nonlocal claims
        claims += 1
        return claim(*asked)  # type: ignore[arg-type]

    async def adjusted(opened: Opened) -> None:
        await opened.adjust(1)
        await opened.quiet()
        monkeypatch.setattr(follower, "_EVERY_SECONDS", 0.02)
        monkeypatch.setattr(follower, "_FIRST_PAUSE_SECONDS", 60.0)
        monkeypatch.setattr(follower, "_LONGEST_PAUSE_SECONDS", 60.0)
        bench.wire.down.add("old")
        await opened.adjust(10)
        async with asyncio.timeout(20):
            while not bench.rows("front", "SELECT 1 FROM followed WHERE tries = 1"):  # noqa: ASYNC110 - as it comes
                await asyncio.sleep(0.02)
        monkeypatch.setattr(follower, "claim", counted)
        for _ in range(3):
            await opened.adjust(10)
            await asyncio.sleep(0.2)

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert claims == 0


def test_another_gateway_leaves_them_alone_too(new_bench: NewBench, store: Store) -> None:
    bench = new_bench(YOTPO_TO_LOYALTYLION, store)

    async def waiting(opened: Opened) -> None:
        await opened.adjust(1)
        await opened.quiet()
        bench.execute("front", "UPDATE followed SET due_at = 9000000000000000, owner = 'another'")
        await opened.adjust(10)
        parts = opened.backend.parts

        async def found(now: int) -> list[int]:
            return await parts.look(
                lambda dialect, merchant_id: waiting_customers(
                    dialect, merchant_id, parts.route, sweeps=False, now=now
                )
            )

        assert (await found(1), await found(9_000_000_000_000_000)) == ([], [1])

    bench.run_at_stage(waiting, Stage.LEAD)
