"""Balances are taken over exactly, both sides are held against each other, and nobody goes on without that."""

import asyncio
import csv
from pathlib import Path

import pytest
from bench import JANE, OMAR, SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, Opened, benches

from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.migration import importing
from loyalty_gateway.problem import ConfigurationError
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


def _give(bench: Bench, side: str, points: int, customer: int = 1) -> None:
    """Somebody changes a balance past the gateway."""
    bench.execute(side, f"UPDATE wallets SET available = {points} WHERE id = {customer}")


# Importing


def test_an_import_sets_the_new_balances_to_the_old_ones_and_no_counter_here(bench: Bench) -> None:
    async def imported(_opened: Opened) -> None:
        _give(bench, "old", 70)
        _give(bench, "old", 30, 2)
        done, told = await bench.take_over()
        assert done
        assert told == "batch first: 2 set\n"

    bench.run_at_stage(imported, Stage.MIRROR)

    rows = bench.rows(bench.new_side, "SELECT available, lifetime_earned FROM wallets ORDER BY id")
    assert [row["available"] for row in rows] == [70, 30]
    # A vendor whose additions always count has no words for one that does not.
    assert bench.vendor != "salla" or [row["lifetime_earned"] for row in rows] == [0, 0]


def test_a_second_run_of_a_batch_does_no_more(bench: Bench) -> None:
    async def imported(_opened: Opened) -> None:
        _give(bench, "old", 70)
        await bench.take_over()
        _give(bench, "old", 90)
        done, told = await bench.take_over()
        assert done
        assert told == "batch first: 2 known\n"
        assert bench.balance(bench.new_side) == 70
        await bench.take_over("another")

    bench.run_at_stage(imported, Stage.MIRROR)

    assert bench.balance(bench.new_side) == 90


def test_an_import_that_was_broken_off_goes_on_where_it_stood(bench: Bench) -> None:
    async def imported(_opened: Opened) -> None:
        _give(bench, "old", 70)
        _give(bench, "old", 30, 2)
        await bench.take_over()
        # As if the first run had come to the first customer only.
        bench.execute("front", "UPDATE followed SET batch = NULL WHERE wallet_id = 2")
        _give(bench, "old", 35, 2)
        done, told = await bench.take_over()
        assert done
        assert told == "batch first: 1 known, 1 set\n"

    bench.run_at_stage(imported, Stage.MIRROR)

    assert bench.balance(bench.new_side, "omar@example.com") == 35


def test_an_import_while_points_move_is_exact(bench: Bench) -> None:
    async def imported(opened: Opened) -> None:
        _give(bench, "old", 1_000)
        going = True

        async def traffic() -> None:
            number = 0
            while going:
                number += 1
                await opened.adjust(7 if number % 2 else -3, f"t{number}")
                await asyncio.sleep(0.03)

        moving = asyncio.create_task(traffic())
        for batch in ("a", "b", "c"):
            await bench.take_over(batch)
        going = False
        await moving
        await opened.quiet()

    bench.run_at_stage(imported, Stage.MIRROR)

    assert bench.balance(bench.new_side) == bench.balance("old") != 0


def test_customers_of_the_old_list_are_met_and_a_conflict_is_left_and_told(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def imported(_opened: Opened) -> None:
        # At the old side somebody has Jane's number there and Omar's email address.
        bench.execute("old", "DELETE FROM customer_references WHERE value = 'omar@example.com'")
        bench.execute("old", "UPDATE customer_references SET value = 'omar@example.com' WHERE namespace = 'email'")
        bench.execute(
            "old",
            "INSERT INTO wallets (id, merchant_id, available, created_at, updated_at) VALUES (9, 1, 40, 1, 1)",
        )
        bench.execute("old", "INSERT INTO customer_references VALUES (1, 'salla', '555', 9)")
        done, told = await bench.take_over()
        assert not done
        assert "salla:748394059" in told
        assert ": conflict" in told

    bench.run_at_stage(imported, Stage.MIRROR)

    assert bench.balance("front", "555") == 40


def test_an_import_from_a_side_that_is_away_leaves_everybody_and_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_PAUSES_SECONDS", ())

    async def imported(_opened: Opened) -> None:
        bench.wire.down = {"old"}
        done, told = await bench.take_over()
        assert not done
        has_list = bench.vendor == "salla"
        assert ("the old side's list: unavailable: unread" in told) == has_list
        assert "2 refused" in told
        bench.wire.down = set()
        await asyncio.sleep(0.3)
        assert (await bench.take_over())[0]

    bench.run_at_stage(imported, Stage.MIRROR)


def test_an_import_is_refused_where_the_new_side_leads(bench: Bench) -> None:
    async def imported(_opened: Opened) -> None:
        with pytest.raises(ConfigurationError, match="the new side leads"):
            await bench.take_over()

    bench.run_at_stage(imported, Stage.LEAD)


def test_lead_refuses_what_nobody_took_over_until_it_is(new_bench: NewBench) -> None:
    bench = new_bench(SALLA_TO_ENGINE)

    async def led(opened: Opened) -> None:
        _give(bench, "old", 50, 2)
        bench.execute("front", "DELETE FROM followed WHERE wallet_id = 2")
        # Omar was never taken over; the first that is asked for him sees to that.
        await opened.adjust(-20, None, OMAR)
        await opened.adjust(5, None, JANE)
        await opened.quiet()

    bench.run_at_stage(led, Stage.LEAD)

    assert bench.balance("front", "omar@example.com") == bench.balance("old", "omar@example.com") == 30


# Reconciling


def test_alike_sides_are_equal(bench: Bench, tmp_path: Path) -> None:
    async def reconciled(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        clean, told = await bench.reconcile(tmp_path / "all.csv")
        assert clean
        assert "is clean: 2 equal, 0 explained, 0 different, 0 unread" in told

    bench.run_at_stage(reconciled, Stage.MIRROR)

    with (tmp_path / "all.csv").open(encoding="utf-8") as content:
        rows = list(csv.DictReader(content))
    assert [(row["customer"], row["kind"], row["old"], row["new"]) for row in rows] == [
        ("wallet_1", "equal", "10", "10"),
        ("wallet_2", "equal", "0", "0"),
    ]


def test_what_waits_to_follow_explains_its_amount_and_no_more(new_bench: NewBench) -> None:
    bench = new_bench(YOTPO_TO_LOYALTYLION)

    async def reconciled(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        # It is done at the old side, and another gateway is about to bring it over.
        bench.execute("front", "UPDATE followed SET owner = 'another', due_at = 9000000000000000")
        await opened.adjust(5)
        clean, told = await bench.reconcile()
        assert clean
        assert "1 equal, 1 explained, 0 different" in told
        _give(bench, "new", 11)
        clean, told = await bench.reconcile()
        assert not clean
        assert "1 different" in told

    bench.run_at_stage(reconciled, Stage.MIRROR)


def test_what_is_not_settled_explains_its_amount(bench: Bench) -> None:
    async def reconciled(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        bench.execute("front", "UPDATE intents SET settled_at = NULL, state = 'parked', outcome = NULL")
        _give(bench, bench.new_side, 0)
        clean, told = await bench.reconcile()
        assert clean
        assert "1 equal, 1 explained, 0 different" in told

    bench.run_at_stage(reconciled, Stage.MIRROR)


def test_a_difference_that_nothing_explains_is_one(bench: Bench) -> None:
    async def reconciled(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        _give(bench, "old", 11)
        clean, told = await bench.reconcile()
        assert not clean
        assert "wallet_1: different, old 11, new 10" in told

    bench.run_at_stage(reconciled, Stage.MIRROR)


def test_a_side_that_cannot_be_read_makes_it_fail(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_PAUSES_SECONDS", (0.01, 0.02))

    async def reconciled(_opened: Opened) -> None:
        bench.wire.down.add("old")
        clean, told = await bench.reconcile()
        assert not clean
        assert "2 unread" in told or "3 unread" in told

    bench.run_at_stage(reconciled, Stage.MIRROR)


# Going on


def test_mirror_wants_no_reconciliation(bench: Bench) -> None:
    async def advanced(_opened: Opened) -> None:
        assert "mirror" in await bench.advance()

    bench.run_at_stage(advanced, Stage.SHADOW)


def test_lead_is_refused_without_a_reconciliation(bench: Bench) -> None:
    async def advanced(_opened: Opened) -> None:
        with pytest.raises(ConfigurationError, match="never held against each other"):
            await bench.advance()

    bench.run_at_stage(advanced, Stage.MIRROR)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE reconciliations SET started_at = started_at - 90000000000", "older than 24 hours"),
        ("UPDATE reconciliations SET finished_at = NULL", "did not come to its end"),
        ("UPDATE reconciliations SET unread = 3", "of 3 customers a side told nothing"),
        ("UPDATE reconciliations SET different = 2", "found 2 customers different"),
        ("UPDATE migrations SET staged_at = staged_at + 60000000", "from before the move came to mirror"),
    ],
)
def test_lead_is_refused_with_a_reconciliation_that_shows_nothing(bench: Bench, change: str, why: str) -> None:
    async def advanced(_opened: Opened) -> None:
        assert (await bench.take_over())[0]
        assert (await bench.reconcile())[0]
        bench.execute("front", change)
        with pytest.raises(ConfigurationError, match=why):
            await bench.advance()

    bench.run_at_stage(advanced, Stage.MIRROR)


def test_done_is_refused_as_lead_is_and_a_larger_part_too(bench: Bench) -> None:
    async def advanced(opened: Opened) -> None:
        await opened.adjust(10)
        await opened.quiet()
        assert (await bench.reconcile())[0]
        await bench.advance(percent=50)
        with pytest.raises(ConfigurationError, match="from before the move came to lead"):
            await bench.advance(percent=60)
        assert (await bench.reconcile())[0]
        await bench.advance()
        _give(bench, "old", 99)
        assert not (await bench.reconcile())[0]
        with pytest.raises(ConfigurationError, match="found 1 customers different"):
            await bench.advance()

    bench.run_at_stage(advanced, Stage.MIRROR)


def test_going_back_is_never_refused(bench: Bench) -> None:
    async def went_back(_opened: Opened) -> None:
        bench.execute("front", "DELETE FROM reconciliations")
        bench.wire.down.update({"old", "new"})
        for stage in ("lead", "mirror", "shadow", "observe"):
            assert f"demo, {bench.vendor}: {stage}" in await bench.back()

    bench.run_at_stage(went_back, Stage.DONE)


def test_a_part_is_led_by_the_new_side_and_the_others_by_the_old_one(new_bench: NewBench, tmp_path: Path) -> None:
    bench = new_bench(SALLA_TO_ENGINE)
    file = tmp_path / "who.txt"
    file.write_text("salla:748394059\n\n", encoding="utf-8")

    async def adjusted(opened: Opened) -> None:
        assert (await bench.take_over())[0]
        assert (await bench.reconcile())[0]
        await bench.advance(customers=file)
        bench.wire.down.add("old")
        await opened.adjust(10, None, JANE)
        bench.wire.down.clear()
        await opened.adjust(20, None, OMAR)
        # A list of both is one request, which the side takes that leads for everybody.
        await opened.adjust(1, "list", JANE, OMAR)
        await opened.quiet()

    bench.run_at_stage(adjusted, Stage.MIRROR)

    assert [bench.balance(side) for side in ("old", "front")] == [11, 11]
    assert [bench.balance(side, "omar@example.com") for side in ("old", "front")] == [21, 21]
