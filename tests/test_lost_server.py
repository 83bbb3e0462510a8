"""A PostgreSQL server that is killed beneath served gateways: they say so in each vendor's voice, and recover."""

import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx2
import pytest

from conftest import Served, demo_config, serving
from load import SEED, Load, assert_clean, effects_in, give_funds, is_replay, once
from stores import PostgresDatabase, PostgresServer
from test_bad_input import CASES, Case, in_voice

_BOUND_SECONDS = 30.0
_READS = (
    ("bitbybit", "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/wallet"),
    ("mage", "/mage/v1/customers/6789012345"),
    ("yotpo", "/yotpo/api/v2/customers?customer_email=jane@example.com"),
    ("salla", "/salla/admin/v2/customers/748394059"),
    ("loyaltylion", "/loyaltylion/v2/customers?email=jane@example.com"),
)
_HEADERS = {case.vendor: case.headers for case in reversed(CASES) if case.headers}


class _Asked:
    """A served gateway, asked everything that a client may ask and what its operator does."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._client = httpx2.Client(base_url=served.url, timeout=_BOUND_SECONDS)

    def own(self) -> tuple[int, int]:
        """The statuses of liveness and readiness."""
        live, ready = (self._client.get(path) for path in ("/-/live", "/-/ready"))
        return live.status_code, ready.status_code

    def everything(self) -> list[tuple[str, httpx2.Response]]:
        """The vendors' answers to every adjustment, and to one question each."""
        with ThreadPoolExecutor(len(CASES) + len(_READS)) as pool:
            answers = pool.map(self._adjust, CASES), pool.map(self._read, _READS)
            return [answer for each in answers for answer in each]

    def _adjust(self, case: Case) -> tuple[str, httpx2.Response]:
        headers = {"content-type": "application/json", **case.headers}
        return case.vendor, self._client.post(case.url, content=case.raw(), headers=headers)

    def _read(self, read: tuple[str, str]) -> tuple[str, httpx2.Response]:
        vendor, path = read
        return vendor, self._client.get(path, headers=_HEADERS[vendor])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _BOUND_SECONDS
        while self.own() != (200, 200):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def close(self) -> None:
        self._client.close()


@pytest.fixture(params=[1, 2], ids=["one gateway", "two gateways"])
def served(request: pytest.FixtureRequest, tmp_path: Path, database: PostgresDatabase) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        gateways = []
        for place in range(request.param):
            folder = tmp_path / f"gateway-{place}"
            folder.mkdir()
            started = serving(folder, demo_config(), "--no-rate-limits", "--ledger", database.url)
            gateways.append(stack.enter_context(started))
        yield gateways


def _lose_the_server(
    postgres: PostgresServer,
    database: PostgresDatabase,
    served: list[Served],
    away: Sequence[float],
    chance: random.Random,
) -> str:
    """Kills the loaded gateways' server, which is away for so many seconds each time, or a little longer.

    What is promised is asserted each time.
    """
    load, applied_and_refused, refused = Load(chance), 0, 0
    asked = [_Asked(gateway) for gateway in served]
    give_funds(served[0])

    def lose(seconds: float) -> None:
        with postgres.away(outright=True):
            time.sleep(seconds)
            for one in asked:
                assert one.own() == (200, 503)
                answers = one.everything()
                assert {answer.status_code for _, answer in answers} == {503}
                assert all(in_voice(vendor, answer) for vendor, answer in answers)
        for one in asked:
            one.wait_until_ready()
            assert [answer.status_code for _, answer in one.everything() if not answer.is_success] == []

    for seconds in away:
        load.run_while(served, partial(lose, seconds), chance.randint(1, 400))
        unapplied = load.refused()
        applied = load.assert_exactly_once(database).intersection(unapplied)

        again = load.again(served, unapplied)

        assert set(load.answered.values()) == {200, 201, 204, 503}
        load.answered |= {key: answer.status_code for key, answer in again.items()}
        assert load.refused() == []
        assert applied <= {key for key, answer in again.items() if is_replay(answer)}
        assert effects_in(database) == {key: once(sent) for key, sent in load.sent.items()}
        applied_and_refused += len(applied)
        refused += len(unapplied)
    for one in asked:
        one.close()
    assert_clean(database)
    return (
        f"{len(away)} times without a server, {len(load.sent)} adjustments, {refused} refused and sent again, "
        f"{applied_and_refused} of them had been applied"
    )


@pytest.mark.parametrize("served", [1], indirect=True, ids=["one gateway"])
def test_a_gateway_whose_server_is_killed_says_so_and_recovers_with_it_and_nothing_is_lost_or_doubled(
    postgres: PostgresServer, database: PostgresDatabase, served: list[Served]
) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _lose_the_server(postgres, database, served, [0], random.Random(SEED))


@pytest.mark.slow
def test_gateways_whose_server_is_killed_50_times_lose_nothing_and_apply_nothing_twice(
    postgres: PostgresServer, database: PostgresDatabase, served: list[Served], capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    # What is in doubt is waited for some seconds: the server comes back before that, or behind it.
    told = _lose_the_server(postgres, database, served, [0, 0, 0, 1, 7] * 10, random.Random(SEED))

    with capsys.disabled():
        print(told)  # noqa: T201 - what the run showed
