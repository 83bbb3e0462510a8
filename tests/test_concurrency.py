"""Many requests at once against a served gateway."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count, cycle, islice
from typing import Any

import httpx
import pytest

from conftest import Served, demo_config, serving
from dialects import BOTH_CUSTOMERS, DIALECTS, Dialect

_numbers = count(1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), demo_config(), "--no-rate-limits") as served:
        yield served


def _rows(served: Served, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(served.ledger)) as db:
        return db.execute(statement, parameters).fetchall()


def _balances(served: Served) -> dict[str, int]:
    return dict(
        _rows(
            served,
            "SELECT r.value, w.available FROM wallets w JOIN customer_references r ON r.wallet_id = w.id "
            "WHERE r.namespace = 'salla'",
        )
    )


def _at_once(served: Served, requests: list[tuple[Dialect, int, str, str]]) -> list[httpx.Response]:
    async def send_all() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=len(requests))
        async with httpx.AsyncClient(base_url=served.url, limits=limits, timeout=30) as client:
            return await asyncio.gather(
                *(dialect.adjust(client, points, reason, key) for dialect, points, reason, key in requests)
            )

    return asyncio.run(send_all())


def _give_funds(served: Served, points: int) -> None:
    (answer,) = _at_once(served, [(BOTH_CUSTOMERS, points, "funds", f"key {next(_numbers)}")])
    assert answer.status_code == 201


@pytest.mark.parametrize("points", [7, -7], ids=["added", "deducted"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_one_adjustment_sent_50_times_at_once_with_one_key_is_applied_once(
    served: Served, dialect: Dialect, points: int
) -> None:
    _give_funds(served, 100)
    before = _balances(served)
    key = f"key {next(_numbers)}"

    answers = _at_once(served, [(dialect, points, "the same", key)] * 50)

    effects = _rows(served, "SELECT points_delta FROM entries WHERE idempotency_key = ?", key)
    after = _balances(served)
    assert effects == [(points,)] * dialect.customers
    assert sorted(after[customer] - before[customer] for customer in after) == sorted(
        [points] * dialect.customers + [0] * (2 - dialect.customers)
    )
    assert {answer.status_code for answer in answers if not answer.is_success} <= {409}
    first = [answer for answer in answers if answer.is_success and "idempotency-replayed" not in answer.headers]
    assert len(first) == 1


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_whoever_was_told_in_flight_gets_the_first_answer_again_later(served: Served, dialect: Dialect) -> None:
    key = f"key {next(_numbers)}"
    (first, *_) = (
        answer for answer in _at_once(served, [(dialect, 7, "the same", key)] * 10) if answer.is_success
    )

    (again,) = _at_once(served, [(dialect, 7, "the same", key)])

    assert again.headers["idempotency-replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)


def test_the_balance_is_the_sum_of_200_adjustments_at_once_by_five_vendors(served: Served) -> None:
    _give_funds(served, 100_000)
    before = _balances(served)
    amounts = [number if number % 3 else -number for number in range(1, 201)]
    dialects = list(islice(cycle(DIALECTS), 200))

    answers = _at_once(
        served,
        [
            (dialect, points, "r", f"key {next(_numbers)}")
            for dialect, points in zip(dialects, amounts, strict=True)
        ],
    )

    after = _balances(served)
    assert [answer.status_code for answer in answers if not answer.is_success] == []
    assert after["748394059"] - before["748394059"] == sum(amounts)
    assert after["873874834"] - before["873874834"] == sum(
        points for dialect, points in zip(dialects, amounts, strict=True) if dialect.customers == 2
    )


def test_requests_at_once_share_their_commits(served: Served) -> None:
    _at_once(served, [(BOTH_CUSTOMERS, 1, "r", f"key {next(_numbers)}") for _ in range(200)])

    counted = dict(
        line.rsplit(" ", 1) for line in httpx.get(f"{served.url}/-/metrics").text.splitlines() if line[0] != "#"
    )
    assert float(counted["loyalty_gateway_group_size_sum"]) > float(counted["loyalty_gateway_group_size_count"])
