"""What was acknowledged survives the end of the process, whichever way it ends."""

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import ROOT, Served, demo_config, serving
from dialects import DIALECTS, Dialect
from stores import PostgresServer, SqliteFile, Store

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

_CLIENTS = 24
_REPLAYS = 5
_KILLS_BETWEEN_VERIFICATIONS = 20


@dataclass(frozen=True)
class Sent:
    dialect: Dialect
    points: int
    key: str
    place: int

    @property
    def reason(self) -> str:
        return f"reason of {self.key}"


@dataclass
class Load:
    """Clients that send adjustments, each with a key of its own, until their server is gone or all is over."""

    chance: random.Random
    answered: dict[str, int] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    def acknowledged(self) -> set[str]:
        return {key for key, status in self.answered.items() if status < 300}

    def unanswered(self) -> list[Sent]:
        return [sent for key, sent in self.sent.items() if key not in self.answered]

    def run(
        self, gateways: Sequence[Served], number: signal.Signals, after: int, ended: Sequence[int] = (0,)
    ) -> int:
        """Sends to all gateways until some have got the signal, ``after`` answers from now.

        Clients of a gateway that has ended turn to one that has not, in half of the cases at once, with the same
        key. Gives how many requests were on their way to those that ended.
        """
        return asyncio.run(self._run(gateways, number, after, ended))

    async def _run(
        self, gateways: Sequence[Served], number: signal.Signals, after: int, ended: Sequence[int]
    ) -> int:
        enough, over = asyncio.Event(), asyncio.Event()
        awaited = len(self.answered) + after
        others = [place for place in range(len(gateways)) if place not in ended]

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(_client(served)) for served in gateways]

            async def send(place: int) -> None:
                while not over.is_set():
                    sent = self._new(place)
                    try:
                        self.answered[sent.key] = (await _ask(clients[place], sent)).status_code
                    except httpx.TransportError:
                        if others and self.chance.random() < 0.5:
                            there = clients[self.chance.choice(others)]
                            self.answered[sent.key] = (await _ask(there, sent)).status_code
                        return
                    if len(self.answered) >= awaited:
                        enough.set()

            sending = [asyncio.create_task(send(client % len(gateways))) for client in range(_CLIENTS)]
            await asyncio.wait_for(enough.wait(), 60)
            # Somewhere between two answers rather than right behind one.
            await asyncio.sleep(self.chance.uniform(0, 0.01))
            on_their_way = sum(sent.place in ended for sent in self.unanswered())
            for place in ended:
                gateways[place].process.send_signal(number)
            # The others go on for a while.
            await asyncio.sleep(self.chance.uniform(0, 0.1) if others else 0)
            if others:
                over.set()
            await asyncio.gather(*sending)
        return on_their_way

    def _new(self, place: int) -> Sent:
        key = f"key {next(self.numbers)}"
        points = self.chance.choice((1, -1)) * self.chance.randint(1, 1_000)
        self.sent[key] = Sent(self.chance.choice(DIALECTS), points, key, place)
        return self.sent[key]

    def again(self, gateways: Sequence[Served], keys: Sequence[str]) -> dict[str, httpx.Response]:
        """The answers to what is sent again with the same key, to any of the gateways."""
        return asyncio.run(self._again(gateways, keys))

    async def _again(self, gateways: Sequence[Served], keys: Sequence[str]) -> dict[str, httpx.Response]:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(_client(served)) for served in gateways]
            answers = [await _ask(self.chance.choice(clients), self.sent[key]) for key in keys]
        return dict(zip(keys, answers, strict=True))


async def _ask(client: httpx.AsyncClient, sent: Sent) -> httpx.Response:
    return await sent.dialect.adjust(client, sent.points, sent.reason, sent.key)


def _client(served: Served) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=_CLIENTS, max_keepalive_connections=_CLIENTS)
    return httpx.AsyncClient(base_url=served.url, limits=limits, timeout=30)


def give_funds(served: Served) -> None:
    """So much to both customers that they can pay every deduction of a run."""
    answer = httpx.post(
        f"{served.url}/salla/admin/v2/customers/loyalty/points",
        json={
            "points": 999_999,
            "type": "plus",
            "reason": "funds",
            "channel_send": [],
            "customers": [748394059, 873874834],
        },
        headers={"authorization": "Bearer demo-salla-token"},
    )
    assert answer.status_code == 201


def effects_in(store: Store) -> dict[str, list[tuple[int, str]]]:
    """The points and reasons of all entries by the key that they came with."""
    effects: dict[str, list[tuple[int, str]]] = {}
    for row in store.rows(
        "SELECT idempotency_key, points_delta, reason FROM entries WHERE idempotency_key IS NOT NULL"
    ):
        effects.setdefault(row["idempotency_key"], []).append((row["points_delta"], row["reason"]))
    return effects


def once(sent: Sent) -> list[tuple[int, str]]:
    return [(sent.points, sent.reason)] * sent.dialect.customers


def assert_clean(store: Store) -> None:
    """The command that holds every wallet against its entries finds nothing."""
    command = [sys.executable, "-m", "loyalty_gateway", "ledger", "verify", "--ledger", store.url]
    verified = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert verified.stdout.endswith("nothing is wrong\n"), verified.stdout + verified.stderr
    assert verified.returncode == 0


def _unfolded(store: Store) -> list[Any]:
    """Wallets that are not the fold of their entries."""
    return store.rows(
        "SELECT w.id FROM wallets w LEFT JOIN entries e ON e.wallet_id = w.id GROUP BY w.merchant_id, w.id "
        "HAVING w.available <> sum(points_delta) OR w.lifetime_earned <> sum(earned_delta) "
        "OR w.lifetime_burned <> sum(burned_delta) OR w.version <> count(*) OR w.version <> max(e.version)"
    )


class _Gateways:
    """Several gateways on one store, each of which may be started anew."""

    def __init__(self, folder: Path, store: Store, how_many: int) -> None:
        self._folders = [folder / f"gateway-{place}" for place in range(how_many)]
        self.store = store
        self._stacks = [ExitStack() for _ in self._folders]
        self.served: list[Served] = []

    def start(self) -> None:
        for folder in self._folders:
            folder.mkdir()
        self.served = self._started(range(len(self._folders)))

    def restart(self, places: Sequence[int]) -> None:
        for place in places:
            self._stacks[place].close()
        for place, served in zip(places, self._started(places), strict=True):
            self.served[place] = served

    def _started(self, places: Sequence[int]) -> list[Served]:
        with ThreadPoolExecutor(len(places)) as pool:
            return list(pool.map(self._start_one, places))

    def _start_one(self, place: int) -> Served:
        started = serving(self._folders[place], demo_config(), "--no-rate-limits", "--ledger", self.store.url)
        return self._stacks[place].enter_context(started)

    def close(self) -> None:
        with ThreadPoolExecutor(len(self._stacks)) as pool:
            list(pool.map(ExitStack.close, self._stacks))


@contextmanager
def _gateways(folder: Path, store: Store, how_many: int) -> Iterator[_Gateways]:
    gateways = _Gateways(folder, store, how_many)
    try:
        gateways.start()
        yield gateways
    finally:
        gateways.close()


@pytest.fixture(params=["sqlite, one gateway", "postgres, one gateway", "postgres, four gateways"])
def crashing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[_Gateways]:
    """Gateways that are to be killed, on a store of their own."""
    if request.param.startswith("sqlite"):
        with _gateways(tmp_path, SqliteFile(tmp_path / "ledger.db"), 1) as gateways:
            yield gateways
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    how_many = 4 if request.param.endswith("four gateways") else 1
    with server.database() as database, _gateways(tmp_path, database, how_many) as gateways:
        yield gateways


def _kill_and_restart(gateways: _Gateways, kills: int, chance: random.Random) -> str:
    """Kills loaded gateways again and again; what is promised is asserted after each restart."""
    store, places = gateways.store, range(len(gateways.served))
    load, lost_answers, on_their_way, killed, verified = Load(chance), 0, 0, 0, 0
    give_funds(gateways.served[0])
    while killed < kills:
        ended = chance.sample(places, min(chance.choice((1, 1, 1, 2, len(places))), len(places), kills - killed))
        on_their_way += load.run(gateways.served, signal.SIGKILL, chance.randint(1, 400), ended)
        killed += len(ended)
        gateways.restart(ended)

        effects = effects_in(store)
        assert [key for key in load.acknowledged() if effects.get(key) != once(load.sent[key])] == []
        unanswered = [sent.key for sent in load.unanswered()]
        assert [key for key in unanswered if effects.get(key, once(load.sent[key])) != once(load.sent[key])] == []
        assert _unfolded(store) == []

        applied = {key for key in unanswered if key in effects}
        replays = chance.sample(sorted(load.acknowledged()), _REPLAYS)
        again = load.again(gateways.served, [*unanswered, *replays])

        load.answered |= {key: again[key].status_code for key in unanswered}
        assert [answer.status_code for answer in again.values() if not answer.is_success] == []
        assert applied | set(replays) <= {key for key, answer in again.items() if _is_replay(answer)}
        assert effects_in(store) == {key: once(sent) for key, sent in load.sent.items()}
        assert _unfolded(store) == []
        lost_answers += len(applied)
        if killed >= verified + _KILLS_BETWEEN_VERIFICATIONS or killed >= kills:
            assert_clean(store)
            verified = killed
    assert {status for status in load.answered.values() if status >= 300} == set()
    assert on_their_way >= killed
    return (
        f"{killed} kills, {len(load.acknowledged())} adjustments acknowledged, {on_their_way} on their way when "
        f"killed, {lost_answers} of them applied without an answer"
    )


def _is_replay(answer: httpx.Response) -> bool:
    return answer.headers.get("idempotency-replayed") == "true"


def test_after_kills_under_load_everything_acknowledged_is_there_exactly_once(crashing: _Gateways) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _kill_and_restart(crashing, 2, random.Random(SEED))


@pytest.mark.slow
def test_after_200_kills_under_load_everything_acknowledged_is_there_exactly_once(
    crashing: _Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    told = _kill_and_restart(crashing, 200, random.Random(SEED))

    with capsys.disabled():
        print(told)  # noqa: T201 - what the run showed


def test_a_gateway_told_to_end_under_load_answers_what_it_has_taken_on(tmp_path: Path) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run
    load = Load(random.Random(SEED))
    with serving(tmp_path, demo_config(), "--no-rate-limits") as served:
        give_funds(served)
        on_their_way = load.run([served], signal.SIGTERM, 300)
        status = served.process.wait(15)
        assert served.process.stderr is not None
        complaints = served.process.stderr.read().decode()

    store = SqliteFile(served.ledger)
    assert on_their_way > 0
    assert set(load.answered.values()) <= {200, 201, 204}
    assert effects_in(store) == {key: once(load.sent[key]) for key in load.answered}
    assert _unfolded(store) == []
    assert (status, complaints) == (0, "")
