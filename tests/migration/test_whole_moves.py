"""A whole move with clients at work throughout, and one step back: nothing is lost, nothing is doubled."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from bench import SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION, Bench, NewBench, benches

from loyalty_gateway.ledger.moving import Stage
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor
from stores import PostgresDatabase

_CLIENTS = 4
_PAUSE_SECONDS = 0.03
# However slow the machine is, there are moments at which nothing is under way for a customer.
_PAUSES_A_REQUEST = 2
_MOST_TRIES = 60
_MOST_RUNS = 10
_LONGEST_SECONDS = 30

Say = Callable[[httpx.AsyncClient, int, int, str], "asyncio.Future[httpx.Response]"]


@pytest.fixture
def new_bench(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract], monkeypatch: pytest.MonkeyPatch
) -> NewBench:
    return benches(tmp_path, vendors, contracts, monkeypatch)


async def _salla(client: httpx.AsyncClient, customer: int, points: int, key: str) -> httpx.Response:
    return await client.post(
        "/salla/admin/v2/customers/loyalty/points",
        json={
            "points": abs(points),
            "type": "plus" if points > 0 else "minus",
            "reason": key,
            "channel_send": [],
            "customers": [(748394059, 873874834)[customer]],
        },
        headers={"authorization": "Bearer demo-salla-token", "idempotency-key": key},
    )


async def _yotpo(client: httpx.AsyncClient, customer: int, points: int, key: str) -> httpx.Response:
    return await client.post(
        "/yotpo/api/v2/points/adjust",
        json={
            "customer_email": ("jane@example.com", "omar@example.com")[customer],
            "point_adjustment_amount": points,
            "history_title": key,
        },
        headers={"x-guid": "demo-guid", "x-api-key": "demo-api-key", "idempotency-key": key},
    )


class Traffic:
    """Clients that add and deduct, and ask again with the same key where they were told to."""

    def __init__(self, bench: Bench, client: httpx.AsyncClient) -> None:
        self._say = _salla if bench.vendor == "salla" else _yotpo
        self._client = client
        self._going = True
        self.applied: list[list[int]] = [[], []]
        self.failures: list[str] = []
        self._tasks = [asyncio.create_task(self._client_at_work(number)) for number in range(_CLIENTS)]

    async def _client_at_work(self, number: int) -> None:
        turn = 0
        while self._going:
            turn += 1
            customer, key = (number + turn) % 2, f"key-{number}-{turn}"
            # No deduction is larger than what its own client added before.
            points = -(3 + number) if turn % 3 == 0 else 10 + number
            began = time.monotonic()
            response = await self._say(self._client, customer, points, key)
            pause = max(_PAUSE_SECONDS, _PAUSES_A_REQUEST * (time.monotonic() - began))
            if response.is_success:
                self.applied[customer].append(points)
                if turn % 7 == 0:
                    again = await self._say(self._client, customer, points, key)
                    assert again.headers.get("idempotency-replayed") == "true", again.text
            else:
                self.failures.append(f"{response.status_code} {response.text}")
            await asyncio.sleep(pause)

    async def for_a_while(self, seconds: float = 0.6) -> None:
        """Goes on so long, and has done something then."""
        before = sum(map(len, self.applied))
        await asyncio.sleep(seconds)
        async with asyncio.timeout(_LONGEST_SECONDS):
            while sum(map(len, self.applied)) == before:  # noqa: ASYNC110 - what clients do, without a word to us
                await asyncio.sleep(0.05)

    async def ended(self) -> None:
        self._going = False
        await asyncio.gather(*self._tasks)


async def _taken_over(bench: Bench) -> None:
    """Whoever was at work all the time is left for another run, which a slow machine may need."""
    for _ in range(_MOST_RUNS):
        done, told = await bench.take_over()
        if done or "busy" not in told:
            break
    assert done, told


async def _reconciled(bench: Bench) -> None:
    for _ in range(_MOST_TRIES):
        clean, told = await bench.reconcile()
        if clean:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(told)


async def _equal(bench: Bench) -> None:
    for _ in range(_MOST_TRIES):
        old, new = bench.balance("old"), bench.balance(bench.new_side)
        if old == new:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"old {old}, new {new}")


async def _moved(bench: Bench) -> Traffic:
    async with bench.servers(), bench.front() as client:
        bench.execute("old", "UPDATE wallets SET available = 500")
        traffic = Traffic(bench, client)
        await traffic.for_a_while()
        await bench.advance()
        await traffic.for_a_while()
        await bench.advance()
        await traffic.for_a_while()
        await _taken_over(bench)
        await _reconciled(bench)
        await bench.advance(percent=50)
        await traffic.for_a_while()
        await _reconciled(bench)
        await bench.advance()
        await traffic.for_a_while()
        await bench.back()
        await traffic.for_a_while()
        await _reconciled(bench)
        await bench.advance()
        await traffic.for_a_while()
        await traffic.ended()
        # What is explained by work that is under way is clean too, so that is waited for.
        await _equal(bench)
        await _reconciled(bench)
        assert bench.balance("old") == bench.balance(bench.new_side) != 0
        await bench.advance()
        return traffic


@pytest.mark.parametrize("backends", [SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def test_a_whole_move_loses_and_doubles_nothing(new_bench: NewBench, backends: dict[str, object]) -> None:
    _moves_wholly(new_bench(backends))


@pytest.mark.parametrize("backends", [SALLA_TO_ENGINE, YOTPO_TO_LOYALTYLION], ids=["here", "upstream"])
def test_a_whole_move_on_postgresql_does_neither(
    new_bench: NewBench, backends: dict[str, object], database: PostgresDatabase
) -> None:
    _moves_wholly(new_bench(backends, database))


def _moves_wholly(bench: Bench) -> None:
    traffic = asyncio.run(_moved(bench))

    assert traffic.failures == []
    for customer, email in enumerate(("jane@example.com", "omar@example.com")):
        expected = 500 + sum(traffic.applied[customer])
        assert [bench.balance(side, email) for side in ("old", bench.new_side)] == [expected, expected]
    assert sorted(bench.moved("old")) == sorted(traffic.applied[0] + traffic.applied[1])
    assert asyncio.run(bench.step(lambda chosen: chosen.move())).stage is Stage.DONE
    assert bench.rows("front", "SELECT * FROM parked_follow_ups") == []
