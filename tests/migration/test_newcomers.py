"""Whom the new side has led for before they were taken over: nobody is locked out, and what they did goes back."""

import asyncio
import io
from pathlib import Path

import pytest
from bench import SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, Opened, benches

from loyalty_gateway.adjustment import CustomerReference
from loyalty_gateway.customer import CustomerQuery
from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.migration import follower
from loyalty_gateway.migration.commands import settle_follow_up
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream.partial import Partial
from loyalty_gateway.vendor import Vendor
from stores import Store

_FUNDS = 40
_LONGEST_SECONDS = 20


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


@pytest.fixture(params=[SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def bench(request: pytest.FixtureRequest, new_bench: NewBench, store: Store) -> Bench:
    return new_bench(request.param, store)


def _newcomer(bench: Bench) -> CustomerReference:
    return CustomerReference(*(("salla", "555") if bench.vendor == "salla" else ("email", "zoe@example.com")))


def _known_at(bench: Bench, side: str) -> None:
    """Somebody with points turns up at a side, past the gateway."""
    bench.execute(
        side,
        f"INSERT INTO wallets (id, merchant_id, available, created_at, updated_at) VALUES (9, 1, {_FUNDS}, 1, 1)",
    )
    for one in (CustomerReference("shopify", "5550"), _newcomer(bench)):
        bench.execute(side, f"INSERT INTO customer_references VALUES (1, '{one.namespace}', '{one.value}', 9)")


def _balances(bench: Bench) -> list[int]:
    return [bench.balance(side, _newcomer(bench).value) for side in ("old", bench.new_side)]


async def _retry(bench: Bench, key: str) -> None:
    await bench.step(lambda chosen: settle_follow_up(chosen, key=key, retries=True, out=io.StringIO()))


async def _until_alike(bench: Bench, balance: int) -> None:
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            while _balances(bench) != [balance, balance]:  # noqa: ASYNC110 - what the gateway does
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(_balances(bench)) from None


def test_whom_the_new_side_has_alone_is_served_and_what_waits_is_parked_until_the_old_one_knows_them(
    bench: Bench,
) -> None:
    async def adjusted(opened: Opened) -> None:
        _known_at(bench, bench.new_side)
        for number in range(3):
            await opened.adjust(2, f"alone-{number}", _newcomer(bench))
        async with asyncio.timeout(_LONGEST_SECONDS):
            while (told := await bench.status()).count("unknown_customer") < 3:  # noqa: ASYNC110 - as it comes
                await asyncio.sleep(0.05)
        assert bench.balance(bench.new_side, _newcomer(bench).value) == _FUNDS + 6
        clean, held = await bench.reconcile()
        assert not clean
        assert "unknown at the old side, and a follow-up is parked" in held
        _known_at(bench, "old")
        for line in told.splitlines():
            if "follow-up" in line:
                await _retry(bench, line.split("follow-up ")[1].split(":")[0])
        await _until_alike(bench, _FUNDS + 6)
        clean, held = await bench.reconcile()
        assert clean, held

    bench.run_at_stage(adjusted, Stage.LEAD)


def test_whom_the_new_side_has_alone_does_not_keep_a_move_from_being_done(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        _known_at(bench, bench.new_side)
        await opened.adjust(2, "alone", _newcomer(bench))
        async with asyncio.timeout(_LONGEST_SECONDS):
            while "follow-up" not in (told := await bench.status()):  # noqa: ASYNC110 - as it comes
                await asyncio.sleep(0.05)
        key = told.split("follow-up ")[1].split(":")[0]
        await bench.step(lambda chosen: settle_follow_up(chosen, key=key, retries=False, out=io.StringIO()))
        clean, held = await bench.reconcile()
        assert clean, held
        assert "1 explained" in held

    bench.run_at_stage(adjusted, Stage.LEAD)


def test_whom_the_new_side_has_alone_is_found_before_they_are_adjusted(bench: Bench) -> None:
    async def read(opened: Opened) -> None:
        _known_at(bench, bench.new_side)
        for _ in range(2):
            query = CustomerQuery(references=(_newcomer(bench),))
            customer = await opened.backend.customer(bench.merchant, query)
            found = customer.one if isinstance(customer, Partial) else customer
            assert found.wallet.available == _FUNDS

    bench.run_at_stage(read, Stage.LEAD)


@pytest.mark.parametrize("steps", [1, 2])
def test_who_came_when_a_move_was_done_goes_back_with_all_they_did(bench: Bench, steps: int) -> None:
    async def adjusted(opened: Opened) -> None:
        _known_at(bench, "old")
        _known_at(bench, bench.new_side)
        await opened.adjust(2, "done", _newcomer(bench))
        for _ in range(steps):
            await bench.back()
        for number in range(3):
            await opened.adjust(2, f"back-{number}", _newcomer(bench))
        await _until_alike(bench, _FUNDS + 8)
        clean, told = await bench.reconcile()
        assert clean, told

    bench.run_at_stage(adjusted, Stage.DONE)


def test_who_came_when_a_move_was_done_is_brought_back_without_another_word(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_SWEEP_SECONDS", 0.0)

    async def adjusted(opened: Opened) -> None:
        _known_at(bench, "old")
        _known_at(bench, bench.new_side)
        await opened.adjust(2, "done", _newcomer(bench))
        await bench.back()
        await _until_alike(bench, _FUNDS + 2)

    bench.run_at_stage(adjusted, Stage.DONE)


def test_what_waits_for_the_old_side_when_more_are_done_reaches_it_still(bench: Bench) -> None:
    async def adjusted(opened: Opened) -> None:
        assert (await bench.reconcile())[0]
        await bench.advance(percent=1)
        move = await bench.step(lambda chosen: chosen.move())
        assert move.stage_of(1) is Stage.LEAD
        assert (await bench.reconcile())[0]
        opened.bench.wire.down.add("old")
        await opened.adjust(30)
        await bench.advance()
        await opened.adjust(4)
        opened.bench.wire.down.clear()
        async with asyncio.timeout(_LONGEST_SECONDS):
            while bench.balance("old") != 30:  # noqa: ASYNC110 - what the gateway does, without a word to us
                await asyncio.sleep(0.05)

    bench.run_at_stage(adjusted, Stage.LEAD)

    assert (bench.balance("old"), bench.balance(bench.new_side)) == (30, 34)
