"""What was acknowledged survives the end of the process, whichever way it ends."""

import asyncio
import os
import random
import secrets
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import Served, demo_config, serving
from dialects import DIALECTS, Dialect

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

_CLIENTS = 24


@dataclass(frozen=True)
class Sent:
    dialect: Dialect
    points: int
    key: str

    @property
    def reason(self) -> str:
        return f"reason of {self.key}"


@dataclass
class Load:
    """Clients that send adjustments, each with a key of its own, until the server is gone."""

    chance: random.Random
    answered: dict[str, int] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    def acknowledged(self) -> set[str]:
        return {key for key, status in self.answered.items() if status < 300}

    def unanswered(self) -> list[Sent]:
        return [sent for key, sent in self.sent.items() if key not in self.answered]

    def run(self, served: Served, number: signal.Signals, after: int) -> int:
        """Sends until the process has got the signal, ``after`` answers from now; how many were on their way."""
        return asyncio.run(self._run(served, number, after))

    async def _run(self, served: Served, number: signal.Signals, after: int) -> int:
        enough, awaited = asyncio.Event(), len(self.answered) + after
        async with _client(served) as client:
            clients = [asyncio.create_task(self._send(client, enough, awaited)) for _ in range(_CLIENTS)]
            await asyncio.wait_for(enough.wait(), 60)
            # Somewhere between two answers rather than right behind one.
            await asyncio.sleep(self.chance.uniform(0, 0.01))
            on_their_way = len(self.unanswered())
            served.process.send_signal(number)
            await asyncio.gather(*clients)
        return on_their_way

    async def _send(self, client: httpx.AsyncClient, enough: asyncio.Event, awaited: int) -> None:
        while True:
            key = f"key {next(self.numbers)}"
            points = self.chance.choice((1, -1)) * self.chance.randint(1, 1_000)
            sent = Sent(self.chance.choice(DIALECTS), points, key)
            self.sent[key] = sent
            try:
                answer = await sent.dialect.adjust(client, sent.points, sent.reason, sent.key)
            except httpx.TransportError:
                return
            self.answered[key] = answer.status_code
            if len(self.answered) >= awaited:
                enough.set()

    def retry(self, served: Served) -> list[httpx.Response]:
        """Sends again, with the same key, what no answer came to."""
        return asyncio.run(self._retry(served))

    async def _retry(self, served: Served) -> list[httpx.Response]:
        async with _client(served) as client:
            answers = []
            for sent in self.unanswered():
                answer = await sent.dialect.adjust(client, sent.points, sent.reason, sent.key)
                self.answered[sent.key] = answer.status_code
                answers.append(answer)
            return answers


def _client(served: Served) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=_CLIENTS, max_keepalive_connections=_CLIENTS)
    return httpx.AsyncClient(base_url=served.url, limits=limits, timeout=30)


def _give_funds(served: Served) -> None:
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


def _effects(path: Path) -> dict[str, list[tuple[int, str]]]:
    """The points and reasons of all entries by the key that they came with."""
    effects: dict[str, list[tuple[int, str]]] = {}
    with closing(sqlite3.connect(path)) as db:
        for key, points, reason in db.execute(
            "SELECT idempotency_key, points_delta, reason FROM entries WHERE idempotency_key IS NOT NULL"
        ):
            effects.setdefault(key, []).append((points, reason))
    return effects


def _unfolded(path: Path) -> list[Any]:
    """Wallets that are not the fold of their entries."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT w.id FROM wallets w LEFT JOIN entries e ON e.wallet_id = w.id GROUP BY w.id "
            "HAVING w.available <> sum(points_delta) OR w.lifetime_earned <> sum(earned_delta) "
            "OR w.lifetime_burned <> sum(burned_delta) OR w.version <> count(*) OR w.version <> max(e.version)"
        ).fetchall()


def _once(sent: Sent) -> list[tuple[int, str]]:
    return [(sent.points, sent.reason)] * sent.dialect.customers


def _kill_and_restart(folder: Path, kills: int, chance: random.Random) -> str:
    """Kills a loaded gateway again and again; what is promised is asserted after each restart."""
    load, lost_answers, on_their_way = Load(chance), 0, 0
    with serving(folder, demo_config(), "--no-rate-limits") as served:
        _give_funds(served)
        on_their_way += load.run(served, signal.SIGKILL, chance.randint(1, 400))
    for kill in range(1, kills + 1):
        with serving(folder, demo_config(), "--no-rate-limits") as served:
            effects = _effects(served.ledger)
            assert [key for key in load.acknowledged() if effects.get(key) != _once(load.sent[key])] == []
            unanswered = load.unanswered()
            assert [sent.key for sent in unanswered if effects.get(sent.key, _once(sent)) != _once(sent)] == []
            assert _unfolded(served.ledger) == []
            lost_answers += sum(sent.key in effects for sent in unanswered)

            again = load.retry(served)

            effects = _effects(served.ledger)
            assert [answer.status_code for answer in again if not answer.is_success] == []
            assert {key: sorted(told) for key, told in effects.items()} == {
                key: _once(sent) for key, sent in load.sent.items()
            }
            assert _unfolded(served.ledger) == []
            if kill < kills:
                on_their_way += load.run(served, signal.SIGKILL, chance.randint(1, 400))
    assert {status for status in load.answered.values() if status >= 300} == set()
    assert on_their_way >= kills
    return (
        f"{kills} kills, {len(load.acknowledged())} adjustments acknowledged, {on_their_way} on their way when "
        f"killed, {lost_answers} of them applied without an answer"
    )


def test_after_kills_under_load_everything_acknowledged_is_there_exactly_once(tmp_path: Path) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _kill_and_restart(tmp_path, 3, random.Random(SEED))


@pytest.mark.slow
def test_after_50_kills_under_load_everything_acknowledged_is_there_exactly_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    told = _kill_and_restart(tmp_path, 50, random.Random(SEED))

    with capsys.disabled():
        print(told)  # noqa: T201 - what the run showed


def test_a_gateway_told_to_end_under_load_answers_what_it_has_taken_on(tmp_path: Path) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run
    load = Load(random.Random(SEED))
    with serving(tmp_path, demo_config(), "--no-rate-limits") as served:
        _give_funds(served)
        on_their_way = load.run(served, signal.SIGTERM, 300)
        status = served.process.wait(15)
        assert served.process.stderr is not None
        complaints = served.process.stderr.read().decode()

    effects = _effects(served.ledger)
    assert on_their_way > 0
    assert set(load.answered.values()) <= {200, 201, 204}
    assert effects == {key: _once(load.sent[key]) for key in load.answered}
    assert _unfolded(served.ledger) == []
    assert (status, complaints) == (0, "")
