"""An adjustment of everyone that is answered first survives a kill: it reaches nobody twice, and everybody."""

import asyncio
import os
import random
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import demo_config, serving
from loyalty_gateway.adjustment import CustomerReference, Merchant
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger_commands.verifying import verify
from stores import Store, on_ledger

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

_CUSTOMERS = 3_000
_DEMO = Merchant(name="demo")
_POINTS = 7
_SALLA = {"authorization": "Bearer demo-salla-token"}
_MAGE = {"authorization": "mage_demo_key"}


def test_a_job_that_is_killed_reaches_everybody_once(store: Store, tmp_path: Path) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    _kill_in_jobs(store, tmp_path, 1, random.Random(SEED))


@pytest.mark.slow
def test_jobs_that_are_killed_50_times_reach_everybody_once(store: Store, tmp_path: Path) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    killed_within = _kill_in_jobs(store, tmp_path, 50, random.Random(SEED))

    assert killed_within > 0


def _kill_in_jobs(store: Store, folder: Path, kills: int, chance: random.Random) -> int:
    """Kills the gateway while jobs are under way, each of which shall reach everybody; how often within one."""
    on_ledger(store, _enrol_many)
    killed_within, keys = 0, list[str]()
    config = demo_config(everyone_at_once=10)
    for _ in range(kills):
        keys.append(f"everyone {len(keys)}")
        with serving(folder, config, "--no-rate-limits", "--ledger", store.url) as served:
            assert _for_everyone(served.url, keys[-1]) == 201
            time.sleep(chance.uniform(0, 0.15))
            served.kill()
        killed_within += bool(store.rows("SELECT 1 FROM jobs WHERE finished_at IS NULL"))
        with serving(folder, config, "--no-rate-limits", "--ledger", store.url) as served:
            again = _for_everyone(served.url, keys[-1])
            one = chance.randrange(_CUSTOMERS)
            answer = httpx.post(
                f"{served.url}/mage/v1/customers/{6_000_000_000 + one}/points",
                json={"adjustment": 1},
                headers=_MAGE,
            )
            _wait_for_jobs(store)
        assert (again, answer.status_code) == (201, 200)
        # Whoever was adjusted meanwhile had the job before that.
        assert answer.json()["data"]["attributes"]["points_before"] >= _POINTS * len(keys)
        _assert_each_once(store, keys)
    assert on_ledger(store, verify)
    return killed_within


async def _enrol_many(ledger: Ledger) -> None:
    await asyncio.gather(
        *(
            ledger.enrol(_DEMO, Enrolment(references=(CustomerReference("shopify", str(6_000_000_000 + number)),)))
            for number in range(_CUSTOMERS)
        )
    )


def _for_everyone(url: str, key: str) -> int:
    body = {
        "select_all": True,
        "points": _POINTS,
        "type": "plus",
        "reason": key,
        "channel_send": [],
        "customers": [],
    }
    headers = _SALLA | {"idempotency-key": key}
    path = "/salla/admin/v2/customers/loyalty/points"
    return httpx.post(url + path, json=body, headers=headers, timeout=30).status_code


def _wait_for_jobs(store: Store) -> None:
    deadline = time.monotonic() + 60
    while store.rows("SELECT 1 FROM jobs WHERE finished_at IS NULL"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _assert_each_once(store: Store, keys: list[str]) -> None:
    told: dict[Any, tuple[int, int, int]] = {
        row["key"]: (row["entries"], row["wallets"], row["points"])
        for row in store.rows(
            "SELECT idempotency_key AS key, count(*) AS entries, count(DISTINCT wallet_id) AS wallets, "
            "min(points_delta) AS points FROM entries WHERE idempotency_key IS NOT NULL GROUP BY idempotency_key"
        )
    }
    customers = len(store.rows("SELECT id FROM wallets"))
    assert told == dict.fromkeys(keys, (customers, customers, _POINTS))
