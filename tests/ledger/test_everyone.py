"""Adjusting everyone in SQL does to each wallet what the engine's rules do to it alone."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
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
from loyalty_gateway.ledger.tables import WALLETS
from loyalty_gateway.problem import Code, Problem
from stores import NewStore

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
            "last_entry_id": st.just(0),
            "job": st.just(0),
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
wallet_ids, entry_ids = count(1), count(1)


@pytest.fixture(scope="module")
def opened(new_store: NewStore) -> Iterator[Opened]:
    with new_store() as store:
        opened = Opened(store)
        yield opened
        opened.close()


@pytest.mark.parametrize("lifetime", Lifetime, ids=lambda lifetime: lifetime.value)
@pytest.mark.parametrize("asks", [*Overdraft, "reset"], ids=str)
def test_everyone_at_once_is_everyone_one_by_one(opened: Opened, asks: Any, lifetime: Lifetime) -> None:
    @settings(deadline=None, max_examples=opened.store.examples(40))
    @given(told=wallets, points=amounts, tiers=tiers)
    def hold_against_the_engine(told: list[dict[str, Any]], points: int, tiers: tuple[Tier, ...]) -> None:
        merchant = Merchant(name=next(merchant_names), tiers=tiers)
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
        _hold_against_the_engine(opened, asked, told)

    hold_against_the_engine()


def _hold_against_the_engine(opened: Opened, asked: Instruction, told: list[dict[str, Any]]) -> None:
    merchant = asked.merchant
    before = _put(opened, merchant, told)
    after, entries, refusals = _one_by_one(before, asked)

    (outcome,) = opened.at_once(asked)

    if refusals:
        assert isinstance(outcome, Problem)
        assert outcome.code is min(refusals, key=list(Code).index)
        assert _wallets(opened, merchant) == before
        assert _entries(opened, merchant) == []
    else:
        assert isinstance(outcome, Receipt)
        assert outcome.count == len(entries)
        assert _wallets(opened, merchant) == after
        assert _entries(opened, merchant) == entries


def _one_by_one(wallets: list[Wallet], asked: Instruction) -> tuple[list[Wallet], list[Entry], set[Code]]:
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
                entry_id=len(entries) + 1,
                now=START,
                idempotency_key="k",
            )
        except Problem as problem:
            refusals.add(problem.code)
        else:
            after.append(_unnumbered(moved))
            entries.append(entry)
    return after, entries, refusals


def _put(opened: Opened, merchant: Merchant, told: list[dict[str, Any]]) -> list[Wallet]:
    """Wallets in any state at all, put there behind the ledger's back."""
    opened.execute("INSERT INTO merchants (name) VALUES (?)", (merchant.name,))
    (found,) = opened.rows("SELECT id FROM merchants WHERE name = ?", (merchant.name,))
    rows = [{"id": next(wallet_ids), "merchant_id": found["id"]} | values for values in told]
    opened.execute_each(
        f"INSERT INTO wallets ({', '.join(WALLETS.columns)}) VALUES ({', '.join('?' * len(WALLETS.columns))})",
        [[_kept(row[column]) for column in WALLETS.columns] for row in rows],
    )
    # Their earlier entries, so that versions can clash if they are counted wrongly.
    opened.execute_each(
        "INSERT INTO entries (id, merchant_id, wallet_id, version, vendor, points_delta, points_before, "
        "points_after, reserved_after, earned_delta, burned_delta, granted_after, grants_after, visible, "
        "occurred_at) VALUES (?, ?, ?, ?, 'mage', 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)",
        [
            (-next(entry_ids), found["id"], row["id"], version)
            for row in rows
            for version in range(1, row["version"] + 1)
        ],
    )
    return [Wallet(**row) for row in rows]


def _kept(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _wallets(opened: Opened, merchant: Merchant) -> list[Wallet]:
    rows = opened.rows(
        "SELECT * FROM wallets WHERE merchant_id = (SELECT id FROM merchants WHERE name = ?) ORDER BY id",
        (merchant.name,),
    )
    return [_unnumbered(Wallet(**(row | {"excluded": row["excluded"] == 1}))) for row in rows]


def _unnumbered(wallet: Wallet) -> Wallet:
    """The ids of entries are the ledger's to give."""
    return msgspec.structs.replace(wallet, last_entry_id=0)


def _entries(opened: Opened, merchant: Merchant) -> list[Entry]:
    """The entries that the ledger made; each id is told as its wallet's rank."""
    rows = opened.rows(
        "SELECT * FROM entries WHERE id > 0 AND merchant_id = (SELECT id FROM merchants WHERE name = ?) "
        "ORDER BY wallet_id",
        (merchant.name,),
    )
    assert len({row["id"] for row in rows}) == len(rows)
    entries = []
    for rank, row in enumerate(rows, start=1):
        del row["merchant_id"]
        told = {
            "id": rank,
            "metadata": msgspec.json.decode(row["metadata"]),
            "notify": tuple(msgspec.json.decode(row["notify"])),
            "visible": row["visible"] == 1,
        }
        entries.append(Entry(**(row | told)))
    return entries
