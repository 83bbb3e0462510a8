"""The rules of points, held against a wallet kept by hand, over generated sequences of adjustments."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conftest import Gateway
from loyalty_gateway import engine
from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    Adjustment,
    CustomerReference,
    Entry,
    Lifetime,
    Overdraft,
    Tier,
    Wallet,
)
from loyalty_gateway.problem import Code, Problem

JANE = CustomerReference("shopify", "6789012345")
START = 1_700_000_000_000_000

# What n points that took effect do: (earned, burned) of an addition, (earned, burned) of a deduction.
COUNTERS = {
    Lifetime.EARN_AND_BURN: ((+1, 0), (0, +1)),
    Lifetime.EARN_ONLY: ((+1, 0), (0, 0)),
    Lifetime.NET_EARNED: ((+1, 0), (-1, 0)),
    Lifetime.BURN_ONLY: ((0, 0), (0, +1)),
    Lifetime.UNTOUCHED: ((0, 0), (0, 0)),
}

amounts = st.one_of(
    st.integers(-100, 100),
    st.sampled_from([sign * (LARGEST_POINTS - less) for sign in (1, -1) for less in (0, 1, 50)]),
    st.integers(-LARGEST_POINTS, LARGEST_POINTS),
)
adjustments = st.builds(
    Adjustment,
    customers=st.just((JANE,)),
    points_delta=st.none() | amounts,
    lifetime=st.sampled_from(Lifetime),
    overdraft=st.sampled_from(Overdraft),
    reason=st.none() | st.text(max_size=5),
    visible=st.booleans(),
)
clocks = st.integers(-5, 5)
tiers = st.lists(st.integers(0, 300) | amounts.filter(lambda n: n >= 0), unique=True, max_size=4).map(
    lambda thresholds: tuple(
        Tier(name=f"tier {index}", points_required=points) for index, points in enumerate(sorted(thresholds))
    )
)
programmes = st.lists(st.tuples(adjustments, clocks), min_size=1, max_size=12)

Step = tuple[Wallet, Adjustment, Wallet, Entry | Code]
"""The wallet before, what was asked, the wallet after, and the entry or the refusal."""


def blank_wallet(**known: Any) -> Wallet:
    values: dict[str, Any] = {
        "id": 1,
        "merchant_id": 1,
        "available": 0,
        "reserved": 0,
        "lifetime_earned": 0,
        "lifetime_burned": 0,
        "version": 0,
        "excluded": False,
        "tier": None,
        "created_at": START,
        "updated_at": START,
        "last_entry_at": None,
    }
    return Wallet(**(values | known))


def carried_out(
    programme: list[tuple[Adjustment, int]], tiers: tuple[Tier, ...] = (), wallet: Wallet | None = None
) -> list[Step]:
    """The steps of a programme: adjustments, each with the microseconds that the clock moved before it."""
    wallet, now, steps = wallet or blank_wallet(), START, list[Step]()
    for number, (adjustment, moved) in enumerate(programme, start=1):
        now += moved
        before = wallet
        try:
            wallet, outcome = engine.decide(
                before, adjustment, vendor="mage", tiers=tiers, entry_id=number, now=now, idempotency_key="k"
            )
        except Problem as problem:
            steps.append((before, adjustment, before, problem.code))
        else:
            steps.append((before, adjustment, wallet, outcome))
    return steps


def entries_of(steps: list[Step]) -> list[Entry]:
    return [outcome for *_, outcome in steps if isinstance(outcome, Entry)]


def by_hand(balance: dict[str, int], adjustment: Adjustment) -> dict[str, int] | Code:
    """What an adjustment makes of available, earned, burned and granted points, reckoned without the engine."""
    asked = adjustment.points_delta if adjustment.points_delta is not None else -balance["available"]
    if asked < -balance["available"] and adjustment.overdraft is Overdraft.REFUSE:
        return Code.TOO_FEW_POINTS
    taken = max(asked, -balance["available"])
    earned, burned = COUNTERS[adjustment.lifetime][0 if taken >= 0 else 1]
    after = {
        "available": balance["available"] + taken,
        "earned": max(0, balance["earned"] + earned * abs(taken)),
        "burned": balance["burned"] + burned * abs(taken),
        "granted": balance["granted"] + max(taken, 0),
    }
    return Code.BALANCE_OVERFLOW if max(after.values()) >= 2**63 else after


@settings(deadline=None)
@given(programmes)
def test_a_wallet_holds_what_a_wallet_kept_by_hand_holds(programme: list[tuple[Adjustment, int]]) -> None:
    balance = {"available": 0, "earned": 0, "burned": 0, "granted": 0}

    for _, adjustment, wallet, outcome in carried_out(programme):
        expected = by_hand(balance, adjustment)
        if isinstance(expected, Code):
            assert outcome is expected
        else:
            assert isinstance(outcome, Entry)
            balance = expected
        held = (wallet.available, wallet.lifetime_earned, wallet.lifetime_burned, wallet.granted)
        assert held == tuple(balance.values())


@settings(deadline=None)
@given(programmes)
def test_no_number_of_a_wallet_is_ever_negative_or_beyond_64_bits(programme: list[tuple[Adjustment, int]]) -> None:
    for *_, wallet, _ in carried_out(programme):
        for number in (wallet.available, wallet.lifetime_earned, wallet.lifetime_burned, wallet.reserved):
            assert 0 <= number <= 2**63 - 1


@settings(deadline=None)
@given(programmes)
def test_each_entry_starts_where_the_one_before_ended(programme: list[tuple[Adjustment, int]]) -> None:
    entries = entries_of(carried_out(programme))

    assert [entry.points_before for entry in entries] == [0, *(entry.points_after for entry in entries)][:-1]
    assert all(entry.points_before + entry.points_delta == entry.points_after for entry in entries)


@settings(deadline=None)
@given(programmes)
def test_the_version_counts_the_entries(programme: list[tuple[Adjustment, int]]) -> None:
    steps = carried_out(programme)

    entries = entries_of(steps)

    assert [entry.version for entry in entries] == list(range(1, len(entries) + 1))
    assert steps[-1][2].version == len(entries)


@settings(deadline=None)
@given(programmes)
def test_a_wallet_is_the_fold_of_its_entries(programme: list[tuple[Adjustment, int]]) -> None:
    steps = carried_out(programme)

    entries, wallet = entries_of(steps), steps[-1][2]

    assert wallet.available == sum(entry.points_delta for entry in entries)
    assert wallet.lifetime_earned == sum(entry.earned_delta for entry in entries)
    assert wallet.lifetime_burned == sum(entry.burned_delta for entry in entries)
    assert wallet.granted == sum(max(entry.points_delta, 0) for entry in entries)
    assert wallet.grants == sum(entry.points_delta > 0 for entry in entries)
    assert wallet.last_entry_at == (entries[-1].occurred_at if entries else None)
    assert wallet.updated_at == (entries[-1].occurred_at if entries else START)


@settings(deadline=None)
@given(programmes)
def test_times_strictly_increase_whatever_the_clock_does(programme: list[tuple[Adjustment, int]]) -> None:
    times = [START, *(entry.occurred_at for entry in entries_of(carried_out(programme)))]

    assert all(earlier < later for earlier, later in pairwise(times))


@given(st.integers(2, 10**9))
def test_an_entry_has_the_time_of_the_clock_once_that_is_later(moved: int) -> None:
    ((*_, outcome),) = carried_out(
        [(Adjustment(customers=(JANE,), points_delta=1, lifetime=Lifetime.EARN_ONLY), moved)]
    )

    assert isinstance(outcome, Entry)
    assert outcome.occurred_at == START + moved


@settings(deadline=None)
@given(programmes, tiers)
def test_the_tier_is_the_highest_whose_threshold_the_lifetime_points_reach(
    programme: list[tuple[Adjustment, int]], tiers: tuple[Tier, ...]
) -> None:
    for *_, wallet, outcome in carried_out(programme, tiers):
        reached = [tier.name for tier in tiers if tier.points_required <= wallet.lifetime_earned]
        if isinstance(outcome, Entry):
            assert wallet.tier == (reached[-1] if reached else None)


@pytest.mark.parametrize("points_delta", [50, -50])
@pytest.mark.parametrize("lifetime", Lifetime)
def test_an_amount_is_said_to_move_the_earned_counter_where_it_does(lifetime: Lifetime, points_delta: int) -> None:
    earned = engine.earned_after(1_000, points_delta, lifetime)

    assert lifetime.moves_earned(points_delta) is (earned != 1_000)


def _asking(points: int, lifetime: Lifetime) -> Adjustment:
    return Adjustment(customers=(JANE,), points_delta=points, lifetime=lifetime)


@settings(deadline=None)
@given(adjustments, st.integers(0, LARGEST_POINTS), st.integers(0, LARGEST_POINTS))
@example(_asking(-11, Lifetime.UNTOUCHED), 10, 0)
@example(_asking(LARGEST_POINTS - 9, Lifetime.UNTOUCHED), 10, 0)
@example(_asking(1, Lifetime.EARN_ONLY), 10, LARGEST_POINTS)
@example(_asking(-1, Lifetime.BURN_ONLY), 10, LARGEST_POINTS)
def test_exactly_what_cannot_be_is_refused_and_gives_neither_wallet_nor_entry(
    adjustment: Adjustment, available: int, counted: int
) -> None:
    wallet = blank_wallet(available=available, lifetime_earned=counted, lifetime_burned=counted)
    expected = by_hand({"available": available, "earned": counted, "burned": counted, "granted": 0}, adjustment)

    ((*_, outcome),) = carried_out([(adjustment, 1)], wallet=wallet)

    assert (outcome if isinstance(outcome, Code) else None) == (expected if isinstance(expected, Code) else None)


@given(adjustments)
def test_an_excluded_customer_is_refused_before_anything_else(adjustment: Adjustment) -> None:
    wallet = blank_wallet(excluded=True, lifetime_earned=LARGEST_POINTS, lifetime_burned=LARGEST_POINTS)

    with pytest.raises(Problem) as refused:
        engine.decide(wallet, adjustment, vendor="mage", tiers=(), entry_id=1, now=START)

    assert refused.value.code is Code.CUSTOMER_EXCLUDED


@settings(deadline=None)
@given(programmes)
def test_an_entry_tells_what_was_asked_beside_what_took_effect(programme: list[tuple[Adjustment, int]]) -> None:
    for _, adjustment, wallet, outcome in carried_out(programme):
        if isinstance(outcome, Entry):
            assert outcome.points_asked == adjustment.points_delta
            assert (outcome.wallet_id, outcome.vendor, outcome.idempotency_key) == (wallet.id, "mage", "k")
            assert (outcome.reason, outcome.visible) == (adjustment.reason, adjustment.visible)


@given(adjustments, st.integers(0, LARGEST_POINTS))
def test_reserved_points_stay_as_they_are(adjustment: Adjustment, reserved: int) -> None:
    ((*_, wallet, _),) = carried_out([(adjustment, 1)], wallet=blank_wallet(reserved=reserved))

    assert wallet.reserved == reserved


MAGE = ("/mage/v1/customers/6789012345/points", {"authorization": "mage_demo_key"})
BITBYBIT = (
    "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust",
    {"x-api-key": "bbb_test_demo"},
)
YOTPO = ("/yotpo/api/v2/points/adjust", {"x-guid": "demo-guid", "x-api-key": "demo-api-key"})
SALLA = ("/salla/admin/v2/customers/loyalty/points", {"authorization": "Bearer demo-salla-token"})
LOYALTYLION = ("/loyaltylion/v2/customers/6789012345/points", {"authorization": "Bearer pat_demo"})
LOYALTYLION_REMOVE = ("/loyaltylion/v2/customers/6789012345/remove_points", LOYALTYLION[1])


def _yotpo(amount: int, *, counts: bool) -> dict[str, Any]:
    return {
        "customer_email": "jane@example.com",
        "point_adjustment_amount": amount,
        "apply_adjustment_to_points_earned": counts,
    }


def _salla(**asked: Any) -> dict[str, Any]:
    return {"points": 30, "type": "plus", "reason": "r", "channel_send": [], "customers": [748394059]} | asked


@pytest.mark.parametrize(
    ("asked", "body", "available", "earned", "burned"),
    [
        pytest.param(BITBYBIT, {"direction": "add", "points": 30, "reason": "r"}, 30, 30, 0, id="bitbybit add"),
        pytest.param(
            BITBYBIT, {"direction": "deduct", "points": 30, "reason": "r"}, -30, 0, 30, id="bitbybit deduct"
        ),
        pytest.param(SALLA, _salla(), 30, 30, 0, id="salla plus"),
        pytest.param(SALLA, _salla(type="minus"), -30, 0, 30, id="salla minus"),
        pytest.param(SALLA, _salla(reset_points=True), -100, 0, 0, id="salla reset"),
        pytest.param(LOYALTYLION, {"points": 30}, 30, 30, 0, id="loyaltylion add"),
        pytest.param(LOYALTYLION_REMOVE, {"points": 30}, -30, 0, 0, id="loyaltylion remove"),
        pytest.param(MAGE, {"adjustment": 30}, 30, 30, 0, id="mage + by default"),
        pytest.param(MAGE, {"adjustment": -30}, -30, -30, 0, id="mage - by default"),
        pytest.param(MAGE, {"adjustment": 30, "update_lifetime_points": True}, 30, 30, 0, id="mage + true"),
        pytest.param(MAGE, {"adjustment": -30, "update_lifetime_points": True}, -30, -30, 0, id="mage - true"),
        pytest.param(
            MAGE, {"adjustment": -80, "update_lifetime_points": True}, -80, -60, 0, id="mage - never below 0"
        ),
        pytest.param(MAGE, {"adjustment": 30, "update_lifetime_points": False}, 30, 0, 0, id="mage + false"),
        pytest.param(MAGE, {"adjustment": -30, "update_lifetime_points": False}, -30, 0, 30, id="mage - false"),
        pytest.param(
            MAGE, {"adjustment": -900, "update_lifetime_points": False}, -100, 0, 100, id="mage floored - false"
        ),
        pytest.param(MAGE, {"adjustment": -900}, -100, -60, 0, id="mage floored - true"),
        pytest.param(YOTPO, _yotpo(30, counts=True), 30, 30, 0, id="yotpo + true"),
        pytest.param(YOTPO, _yotpo(-30, counts=True), -30, -30, 0, id="yotpo - true"),
        pytest.param(YOTPO, _yotpo(-80, counts=True), -80, -60, 0, id="yotpo - never below 0"),
        pytest.param(YOTPO, _yotpo(30, counts=False), 30, 0, 0, id="yotpo + false"),
        pytest.param(YOTPO, _yotpo(-30, counts=False), -30, 0, 30, id="yotpo - false"),
    ],
)
def test_lifetime_counters_move_as_each_vendor_means_them(
    *,
    gateway: Gateway,
    asked: tuple[str, dict[str, str]],
    body: dict[str, Any],
    available: int,
    earned: int,
    burned: int,
) -> None:
    path, headers = asked
    gateway.post(MAGE[0], {"adjustment": 60}, MAGE[1])
    gateway.post(MAGE[0], {"adjustment": 40, "update_lifetime_points": False}, MAGE[1])

    answer = gateway.post(path, body, headers)

    assert answer.is_success
    wallet = gateway.wallet("shopify:6789012345")
    assert wallet["available"] == 100 + available
    assert (wallet["lifetime_earned"], wallet["lifetime_burned"]) == (60 + earned, burned)
