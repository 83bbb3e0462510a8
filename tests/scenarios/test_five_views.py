"""One customer, five views: whatever was adjusted through whichever vendor, every vendor reads the same ledger."""

from typing import Any, NamedTuple

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Gateway, StartGateway
from stores import NewStore

_JANE = "shopify:6789012345"
_BITBYBIT = "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123"
_MAGE = "/mage/v1/customers/6789012345"
_YOTPO = "/yotpo/api/v2"
_SALLA = "/salla/admin/v2/customers/loyalty/points"
_LION = "/loyaltylion/v2/customers"

_KEYS: dict[str, dict[str, str]] = {
    "bitbybit": {"x-api-key": "bbb_test_demo"},
    "mage": {"authorization": "mage_demo_key"},
    "yotpo": {"x-guid": "demo-guid", "x-api-key": "demo-api-key"},
    "salla": {"authorization": "Bearer demo-salla-token"},
    "loyaltylion": {"authorization": "Bearer pat_demo"},
}


class _Step(NamedTuple):
    """One adjustment in one dialect; ``points`` is signed, ``None`` resets."""

    dialect: str
    points: int | None
    counts: bool


_POINTS = st.integers(-400, 600).filter(bool)
_STEPS = st.lists(
    st.one_of(
        st.builds(
            _Step,
            st.sampled_from(["bitbybit", "mage", "yotpo", "salla", "loyaltylion"]),
            _POINTS,
            st.booleans(),
        ),
        st.builds(_Step, st.just("salla"), st.none(), st.just(True)),
    ),
    min_size=1,
    max_size=12,
)


def _adjust(gateway: Gateway, step: _Step) -> httpx2.Response:
    points = step.points or 0
    magnitude = abs(points)
    path, body = {
        "bitbybit": (
            f"{_BITBYBIT}/points/adjust",
            {"direction": "add" if points > 0 else "deduct", "points": magnitude, "reason": "step"},
        ),
        "mage": (
            f"{_MAGE}/points",
            {"adjustment": points, "note": "step", "update_lifetime_points": step.counts},
        ),
        "yotpo": (
            f"{_YOTPO}/points/adjust",
            {
                "customer_email": "jane@example.com",
                "point_adjustment_amount": points,
                "history_title": "step",
                "apply_adjustment_to_points_earned": step.counts,
            },
        ),
        "salla": (
            _SALLA,
            {
                "points": magnitude or 1,
                "type": "plus" if points > 0 else "minus",
                "reason": "step",
                "channel_send": [],
                "customers": [748394059],
                "reset_points": step.points is None,
            },
        ),
        "loyaltylion": (
            f"{_LION}/6789012345/{'points' if points > 0 else 'remove_points'}",
            {"points": magnitude, "reason": "step"},
        ),
    }[step.dialect]
    return gateway.post(path, body, _KEYS[step.dialect])


def _get(gateway: Gateway, dialect: str, path: str, **query: str) -> Any:
    answer = gateway.client.get(path, params=query, headers=_KEYS[dialect])
    assert answer.status_code == 200, answer.text
    return answer.json()


class _View(NamedTuple):
    """What one vendor tells of Jane; ``None`` is what it does not tell. ``history`` is oldest first."""

    balance: int
    earned: int | None
    burned: int | None
    history: list[int] | None


def _views(gateway: Gateway) -> dict[str, _View]:
    wallet = _get(gateway, "bitbybit", f"{_BITBYBIT}/wallet")["data"]
    ledger = _get(gateway, "bitbybit", f"{_BITBYBIT}/history", limit="100")["data"]
    mage = _get(gateway, "mage", _MAGE)["data"]["attributes"]
    earning = _get(gateway, "mage", f"{_MAGE}/earning-history", **{"page[size]": "100"})["data"]
    yotpo = _get(gateway, "yotpo", f"{_YOTPO}/customers", customer_email="jane@example.com", with_history="true")
    grants = _get(gateway, "salla", _SALLA, customer_id="748394059")["data"]
    (lion,) = _get(gateway, "loyaltylion", _LION, email="jane@")["customers"]
    transactions = _get(gateway, "loyaltylion", f"{_LION}/6789012345/transactions", limit="100")["transactions"]
    return {
        "bitbybit": _View(
            int(wallet["availablePoints"]),
            int(wallet["lifetimeEarnedPoints"]),
            int(wallet["lifetimeBurnedPoints"]),
            [int(entry["pointsDelta"]) for entry in reversed(ledger)],
        ),
        "mage": _View(
            mage["current_points"],
            mage["lifetime_points"],
            mage["redeemed_points"],
            [entry["attributes"]["points"] for entry in reversed(earning)],
        ),
        "yotpo": _View(
            yotpo["points_balance"],
            yotpo["points_earned"],
            None,
            [item["points"] for item in yotpo["history_items"]],
        ),
        "salla": _View(
            sum(grant["points"] - grant["used_points"] for grant in grants),
            None,
            None,
            [grant["points"] for grant in grants],
        ),
        "loyaltylion": _View(
            lion["points_approved"],
            None,
            lion["points_spent"],
            [transaction["points_approved"] for transaction in reversed(transactions)],
        ),
    }


def _by_hand(steps: list[_Step], statuses: list[int]) -> _View:
    """The balance and counters by DESIGN's table, from the steps that were taken."""
    balance = earned = burned = 0
    history = []
    for step, status in zip(steps, statuses, strict=True):
        asked = -balance if step.points is None else step.points
        if asked < -balance and step.dialect != "mage":
            assert status in {400, 422}, step
            continue
        assert status in {200, 201, 204}, step
        taken = max(asked, -balance)
        balance += taken
        history.append(taken)
        if step.points is None:
            continue
        match step.dialect:
            case "mage" | "yotpo" if step.counts:
                earned = max(0, earned + taken)
            case "mage" | "yotpo":
                burned += max(-taken, 0)
            case "loyaltylion":
                earned += max(taken, 0)
            case _:
                earned += max(taken, 0)
                burned += max(-taken, 0)
    return _View(balance, earned, burned, history)


def test_every_vendors_reading_agrees_with_the_ledger(start_gateway: StartGateway, new_store: NewStore) -> None:
    with new_store() as store:
        examples = store.examples(25)

    @settings(max_examples=examples, deadline=None)
    @given(steps=_STEPS)
    def hold_each_reading_against_the_ledger(steps: list[_Step]) -> None:
        with new_store() as store:
            _hold_each_reading_against_the_ledger(start_gateway(store=store), steps)

    hold_each_reading_against_the_ledger()


def _hold_each_reading_against_the_ledger(gateway: Gateway, steps: list[_Step]) -> None:
    statuses = [_adjust(gateway, step).status_code for step in steps]

    expected = _by_hand(steps, statuses)
    wallet = gateway.wallet(_JANE)
    assert expected[:3] == (wallet["available"], wallet["lifetime_earned"], wallet["lifetime_burned"])
    for vendor, view in _views(gateway).items():
        added = [points for points in expected.history or [] if points > 0]
        assert view == _View(
            expected.balance,
            None if view.earned is None else expected.earned,
            None if view.burned is None else expected.burned,
            added if vendor == "salla" else expected.history,
        ), vendor
