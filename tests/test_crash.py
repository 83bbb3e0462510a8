"""What was acknowledged survives the end of the process, whichever way it ends."""

import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import Served, demo_config, serving
from load import SEED, Load, assert_clean, effects_in, give_funds, is_replay, once
from stores import PostgresServer, SqliteFile, Store

_REPLAYS = 5
_KILLS_BETWEEN_VERIFICATIONS = 20


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


def _kill_and_restart(gateways: _Gateways, kills: int, chance: random.Random, at_most: int = 400) -> str:
    """Kills loaded gateways again and again, each time after so many answers at most.

    What is promised is asserted after each restart.
    """
    store, places = gateways.store, range(len(gateways.served))
    load, lost_answers, on_their_way, killed, verified = Load(chance), 0, 0, 0, 0
    give_funds(gateways.served[0])
    while killed < kills:
        ended = chance.sample(places, min(chance.choice((1, 1, 1, 2, len(places))), len(places), kills - killed))
        on_their_way += load.run(gateways.served, signal.SIGKILL, chance.randint(1, at_most), ended)
        killed += len(ended)
        gateways.restart(ended)

        there = load.assert_exactly_once(store)
        unanswered = load.unanswered()
        applied = there.intersection(unanswered)
        acknowledged = sorted(load.acknowledged())
        replays = chance.sample(acknowledged, min(len(acknowledged), _REPLAYS))
        again = load.again(gateways.served, [*unanswered, *replays])

        load.answered |= {key: again[key].status_code for key in unanswered}
        assert [answer.status_code for answer in again.values() if not answer.is_success] == []
        assert applied | set(replays) <= {key for key, answer in again.items() if is_replay(answer)}
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


def test_after_kills_under_load_everything_acknowledged_is_there_exactly_once(crashing: _Gateways) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _kill_and_restart(crashing, 2, random.Random(SEED), at_most=150)


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
