"""Adjusting everyone in SQL does to each wallet what the engine's rules do to it alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opened import START, Opened, instruction

from loyalty_gateway import engine
from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    Entry,
    Everyone,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Receipt,
    Tier,
    Wallet,
)
from loyalty_gateway.problem import Code, Problem

numbers = st.one_of(
    st.integers(0, 30),
    st.sampled_from([LARGEST_POINTS - less for less in (0, 1, 20)]),
    st.integers(0, LARGEST_POINTS),
)
amounts = st.one_of(numbers, numbers.map(lambda points: -points))
times = st.integers(START - 3, START + 3)
wallets = st.lists(
    st.fixed_dictionaries(
        {
            "available": numbers,
            "reserved": numbers,
            "lifetime_earned": numbers,
            "lifetime_burned": numbers,
            "granted": numbers,
            "grants": st.integers(0, 2**31),
            "version": st.integers(0, 3),
            "excluded": st.sampled_from([False, False, True]),
            "tier": st.sampled_from([None, "tier 0", "bygone"]),
            "created_at": times,
            "updated_at": times,
            "last_entry_at": st.none() | times,
        }
    ),
    max_size=5,
)
tiers = st.lists(numbers, unique=True, max_size=3).map(
    lambda thresholds: tuple(
        Tier(name=f"tier {index}", points_required=points) for index, points in enumerate(sorted(thresholds))
    )
)
merchant_names = map("merchant {}".format, count())


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    opened = Opened(tmp_path_factory.mktemp("everyone") / "ledger.db")
    yield opened
    opened.close()


@pytest.mark.parametrize("lifetime", Lifetime, ids=lambda lifetime: lifetime.value)
@pytest.mark.parametrize("asks", [*Overdraft, "reset"], ids=str)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=wallets, points=amounts, tiers=tiers)
def test_everyone_at_once_is_everyone_one_by_one(  # noqa: PLR0917 - the families and the generated values
    opened: Opened,
    asks: Any,
    lifetime: Lifetime,
    told: list[dict[str, Any]],
    points: int,
    tiers: tuple[Tier, ...],
) -> None:
    merchant = Merchant(name=next(merchant_names), tiers=tiers)
    before = _put(opened.path, merchant, told)
    asked = instruction(
        Everyone.EVERYONE,
        None if asks == "reset" else points,
        "k",
        merchant=merchant,
        lifetime=lifetime,
        overdraft=asks if isinstance(asks, Overdraft) else Overdraft.REFUSE,
        reason="for all",
        metadata={"a": 1},
        notify=("email",),
        visible=False,
    )
    first_entry_id = opened.rows("SELECT coalesce(max(id), 0) + 1 AS id FROM entries")[0]["id"]
    after, entries, refusals = _one_by_one(before, asked, first_entry_id)

    (outcome,) = opened.at_once(asked)

    if refusals:
        assert isinstance(outcome, Problem)
        assert outcome.code is min(refusals, key=list(Code).index)
        assert _wallets(opened, merchant) == before
        assert _entries(opened, first_entry_id) == []
    else:
        assert isinstance(outcome, Receipt)
        assert outcome.count == len(entries)
        assert _wallets(opened, merchant) == after
        assert _entries(opened, first_entry_id) == entries


def _one_by_one(
    wallets: list[Wallet], asked: Instruction, first_entry_id: int
) -> tuple[list[Wallet], list[Entry], set[Code]]:
    after, entries, refusals = list[Wallet](), list[Entry](), set[Code]()
    for wallet in wallets:
        if wallet.excluded:
            after.append(wallet)
            continue
        try:
            moved, entry = engine.decide(
                wallet,
                asked.adjustment,
                vendor=asked.vendor,
                tiers=asked.merchant.tiers,
                entry_id=first_entry_id + len(entries),
                now=START,
                idempotency_key="k",
            )
        except Problem as problem:
            refusals.add(problem.code)
        else:
            after.append(moved)
            entries.append(entry)
    return after, entries, refusals


def _put(path: Path, merchant: Merchant, told: list[dict[str, Any]]) -> list[Wallet]:
    """Wallets in any state at all, put there behind the ledger's back."""
    with closing(sqlite3.connect(path)) as db, db:
        merchant_id = db.execute("INSERT INTO merchants (name) VALUES (?)", (merchant.name,)).lastrowid
        assert merchant_id is not None
        placed = []
        for values in told:
            columns = {"merchant_id": merchant_id} | values
            wallet_id = db.execute(
                f"INSERT INTO wallets ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                tuple(columns.values()),
            ).lastrowid
            placed.append(Wallet(id=wallet_id or 0, **columns))
            # Its earlier entries, so that versions can clash if they are counted wrongly.
            db.executemany(
                "INSERT INTO entries (merchant_id, wallet_id, version, vendor, points_delta, points_before, "
                "points_after, reserved_after, earned_delta, burned_delta, visible, occurred_at) "
                "VALUES (?, ?, ?, 'mage', 0, 0, 0, 0, 0, 0, 1, 0)",
                [(merchant_id, wallet_id, version) for version in range(1, values["version"] + 1)],
            )
    return placed


def _wallets(opened: Opened, merchant: Merchant) -> list[Wallet]:
    rows = opened.rows(
        "SELECT * FROM wallets WHERE merchant_id = (SELECT id FROM merchants WHERE name = ?) ORDER BY id",
        (merchant.name,),
    )
    return [Wallet(**(row | {"excluded": row["excluded"] == 1})) for row in rows]


def _entries(opened: Opened, first_entry_id: int) -> list[Entry]:
    entries = []
    for row in opened.rows("SELECT * FROM entries WHERE id >= ? ORDER BY id", (first_entry_id,)):
        del row["merchant_id"]
        row["metadata"] = msgspec.json.decode(row["metadata"])
        row["notify"] = tuple(msgspec.json.decode(row["notify"]))
        entries.append(Entry(**(row | {"visible": row["visible"] == 1})))
    return entries
