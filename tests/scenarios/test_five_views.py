"""One customer, five views: whatever was adjusted through whichever vendor, every vendor reads the same ledger."""

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Gateway, StartGateway, demo_config
from stores import NewStore

_JANE = "shopify:6789012345"
_BITBYBIT = "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123"
_MAGE = "/mage/v1/customers/6789012345"
_YOTPO = "/yotpo/api/v2"
_SALLA = "/salla/admin/v2/customers/loyalty/points"
_LION = "/loyaltylion/v2/customers"
_TIERS = [("Bronze", 0), ("Silver", 200), ("Gold", 900)]

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
    everyone: bool = False


_POINTS = st.integers(-400, 600).filter(bool)
_STEPS = st.lists(
    st.one_of(
        st.builds(
            _Step,
            st.sampled_from(["bitbybit", "mage", "yotpo", "salla", "loyaltylion"]),
            _POINTS,
            st.booleans(),
            st.just(value=False),
        ),
        st.builds(_Step, st.just("salla"), st.none() | _POINTS, st.just(True), st.booleans()),
    ),
    min_size=1,
    max_size=45,
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
                "customers": [] if step.everyone else [748394059],
                "select_all": step.everyone,
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
    earned: int | None = None
    burned: int | None = None
    tier: str | None = None
    history: list[int] | None = None


def _views(gateway: Gateway) -> dict[str, _View]:
    """By each vendor's look-ups, lists and histories."""
    wallet = _get(gateway, "bitbybit", f"{_BITBYBIT}/wallet")["data"]
    ledger = _get(gateway, "bitbybit", f"{_BITBYBIT}/history", limit="100")["data"]
    mage = _get(gateway, "mage", _MAGE)["data"]
    (listed,) = _get(gateway, "mage", "/mage/v1/customers", **{"filter[email]": "jane@example.com"})["data"]
    assert listed == mage
    attributes = mage["attributes"]
    earning = _get(gateway, "mage", f"{_MAGE}/earning-history", **{"page[size]": "100"})["data"]
    named = {"customer_email": "jane@example.com"}
    yotpo = _get(gateway, "yotpo", f"{_YOTPO}/customers", **named, with_history="true")
    store = gateway.post(
        "/yotpo/loyalty/v3/stores/demo-app-key/customers?access_token=demo-access-token",
        {"customers": named, "with_history": True},
    )
    assert store.json() == {"customers": yotpo}
    salla = _get(gateway, "salla", "/salla/admin/v2/customers/748394059", **{"fields[]": "total_points"})["data"]
    grants = list(_grants(gateway))
    (lion,) = _get(gateway, "loyaltylion", _LION, email="jane@")["customers"]
    transactions = _get(gateway, "loyaltylion", f"{_LION}/6789012345/transactions", limit="100")["transactions"]
    membership = lion["loyalty_tier_membership"]
    assert salla["total_points"] == sum(grant["points"] - grant["used_points"] for grant in grants)
    return {
        "bitbybit": _View(
            int(wallet["availablePoints"]),
            earned=int(wallet["lifetimeEarnedPoints"]),
            burned=int(wallet["lifetimeBurnedPoints"]),
            history=[int(entry["pointsDelta"]) for entry in reversed(ledger)],
        ),
        "mage": _View(
            attributes["current_points"],
            earned=attributes["lifetime_points"],
            burned=attributes["redeemed_points"],
            tier=None if attributes["vip_tier"] is None else attributes["vip_tier"]["name"],
            history=[entry["attributes"]["points"] for entry in reversed(earning)],
        ),
        "yotpo": _View(
            yotpo["points_balance"],
            earned=yotpo["points_earned"],
            tier=yotpo["vip_tier_name"],
            history=[item["points"] for item in yotpo["history_items"]],
        ),
        "salla": _View(salla["total_points"], history=[grant["points"] for grant in grants]),
        "loyaltylion": _View(
            lion["points_approved"],
            burned=lion["points_spent"],
            tier=None if membership is None else membership["loyalty_tier"]["name"],
            history=[transaction["points_approved"] for transaction in reversed(transactions)],
        ),
    }


def _grants(gateway: Gateway) -> Iterator[dict[str, Any]]:
    """Salla's grants, page after page."""
    for page in count(1):
        answer = _get(gateway, "salla", _SALLA, customer_id="748394059", page=str(page))
        yield from answer["data"]
        if page >= answer["pagination"]["totalPages"]:
            return


def _by_hand(steps: list[_Step], statuses: list[int]) -> _View:
    """The balance, counters and tier by DESIGN's table, from the steps that were taken."""
    balance = omars = earned = burned = 0
    history = []
    for step, status in zip(steps, statuses, strict=True):
        asked = -balance if step.points is None else step.points
        least = min(balance, omars) if step.everyone else balance
        if step.points is not None and asked < -least and step.dialect != "mage":
            assert status in {400, 422}, step
            continue
        assert status in {200, 201, 204}, step
        taken = max(asked, -balance)
        balance += taken
        history.append(taken)
        if step.everyone:
            omars = 0 if step.points is None else omars + step.points
        match step.dialect:
            case _ if step.points is None:
                pass
            case "mage" | "yotpo" if step.counts:
                earned = max(0, earned + taken)
            case "mage" | "yotpo":
                burned += max(-taken, 0)
            case _:
                earned += max(taken, 0)
                burned += max(-taken, 0) if step.dialect != "loyaltylion" else 0
    tier = next((name for name, points in reversed(_TIERS) if earned >= points), None)
    return _View(balance, earned, burned, tier, history)


def test_every_vendors_reading_agrees_with_the_ledger(start_gateway: StartGateway, new_store: NewStore) -> None:
    config = demo_config()
    config["merchants"]["demo"]["tiers"] = [{"name": name, "points_required": points} for name, points in _TIERS]
    with new_store() as store:
        examples = store.examples(12)

    @settings(max_examples=examples, deadline=None)
    @given(steps=_STEPS)
    def hold_each_reading_against_the_ledger(steps: list[_Step]) -> None:
        with new_store() as store:
            _hold_each_reading_against_the_ledger(start_gateway(config, store=store), steps)

    hold_each_reading_against_the_ledger()


def _hold_each_reading_against_the_ledger(gateway: Gateway, steps: list[_Step]) -> None:
    statuses = [_adjust(gateway, step).status_code for step in steps]

    expected = _by_hand(steps, statuses)
    wallet = gateway.wallet(_JANE)
    assert expected[:3] == (wallet["available"], wallet["lifetime_earned"], wallet["lifetime_burned"])
    added = [points for points in expected.history or [] if points > 0]
    for vendor, view in _views(gateway).items():
        assert view == _View(
            expected.balance,
            earned=None if view.earned is None else expected.earned,
            burned=None if view.burned is None else expected.burned,
            tier=expected.tier if vendor in {"mage", "yotpo", "loyaltylion"} else None,
            history=added if vendor == "salla" else expected.history,
        ), vendor
