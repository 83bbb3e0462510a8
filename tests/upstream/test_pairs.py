"""All pairs of a client's dialect and an upstream, over sockets: asked in one, it happens at the other."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
from pairing import JANE, NADIA, OMAR, UPSTREAMS, Pair, Upstream, both_served, conforming, documented, lines

from conftest import Served
from dialects import BOTH_CUSTOMERS, DIALECTS, Dialect
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor
from stores import SqliteFile

_KEYS = count(1)
_MARK = re.compile(r" \[lg-[A-Z2-7]{16}\]$")
_BITBYBIT = {"x-api-key": "bbb_test_demo"}
_MAGE = {"authorization": "mage_demo_key"}
_YOTPO = {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}
_SALLA = {"authorization": "Bearer demo-salla-token"}
_LOYALTYLION = {"authorization": "Bearer pat_demo"}
_BITBYBIT_PATH = "/bitbybit/customer/api/open/v1"
_SALLA_POINTS = "/salla/admin/v2/customers/loyalty/points"


@dataclass(frozen=True)
class _Gateways:
    front: Served
    back: Served
    asking: httpx.Client
    arranging: httpx.Client


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Gateways]:
    """Both gateways.

    At their end, no answer of either was off its contract and nothing unforeseen happened; nothing waits to be
    settled, and all points are at the upstreams.
    """
    with ExitStack() as stack:
        front, back = stack.enter_context(both_served(tmp_path_factory.mktemp("pairs")))
        with httpx.Client(base_url=front.url) as asking, httpx.Client(base_url=back.url) as arranging:
            yield _Gateways(front, back, asking, arranging)
    told = [*lines(front), *lines(back)]
    ours = SqliteFile(front.ledger)
    assert ours.rows("SELECT * FROM intents WHERE settled_at IS NULL") == []
    assert ours.rows("SELECT * FROM entries") == []
    assert [one for one in told if one.get("defects") or one.get("error") or one["status"] == 500] == []


@pytest.fixture
def upstream(request: pytest.FixtureRequest) -> Upstream:
    chosen: Upstream = request.param
    return chosen


@pytest.fixture
def client(request: pytest.FixtureRequest) -> str:
    """The vendor whose dialect is spoken."""
    if "dialect" in request.fixturenames:
        dialect: Dialect = request.getfixturevalue("dialect")
        return dialect.name.split()[0]
    name: str = request.param
    return name


@pytest.fixture
def pair(
    client: str,
    upstream: Upstream,
    gateways: _Gateways,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
) -> Pair:
    return Pair(
        client=client,
        upstream=upstream,
        asking=gateways.asking,
        arranging=gateways.arranging,
        ledger=SqliteFile(gateways.back.ledger),
        conforms=conforming(vendors, contracts),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever asks for a pair runs for all of them; whatever asks for a dialect, for all of those."""
    if "upstream" in metafunc.fixturenames:
        metafunc.parametrize("upstream", UPSTREAMS, ids=str, indirect=True)
    if "dialect" in metafunc.fixturenames and not any(
        "dialect" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("dialect", DIALECTS, ids=str)


def _key() -> str:
    return f"key-{next(_KEYS)}"


def _changes(pair: Pair, since: int) -> list[tuple[int, str]]:
    """Points and reasons of Jane's entries beyond so many; the reason without the mark that we put behind it."""
    return [(one["points_delta"], _MARK.sub("", one["reason"] or "")) for one in pair.entries()[since:]]


_FLOORS = {"mage"}
_SUCCESS = {"salla": (201, 201), "loyaltylion": (201, 204)}
_TOO_FEW = {"bitbybit": 400, "yotpo": 422, "salla": 400, "loyaltylion": 422}
_KEY_REUSED = {"bitbybit": 400}
_UNKNOWN = {"salla": 422}
_EXCLUDED = {"bitbybit": 403, "mage": 403}


# Adjustments.


def test_an_addition_and_a_deduction_move_the_points_at_the_upstream(pair: Pair, dialect: Dialect) -> None:
    pair.have(10, 10)
    before, entries = pair.count(), len(pair.entries())

    answers = [pair.adjust(dialect, points, f"Because of {points}", _key()) for points in (7, -4)]

    assert tuple(one.status_code for one in answers) == _SUCCESS.get(pair.client, (200, 200))
    assert pair.points() == 13
    assert pair.points(OMAR) == (13 if dialect.customers == 2 else 10)
    assert pair.count() - before == 2 * dialect.customers
    assert _changes(pair, entries) == [(7, "Because of 7"), (-4, "Because of -4")]
    assert not any("idempotency-replayed" in one.headers for one in answers)


def test_a_deduction_beyond_the_balance_is_what_the_clients_vendor_makes_of_it(
    pair: Pair, dialect: Dialect
) -> None:
    pair.have(10, 10)
    before, entries = pair.count(), len(pair.entries())

    answer = pair.adjust(dialect, -25, "too much", _key())

    if pair.client in _FLOORS:
        told = answer.json()["data"]["attributes"]
        assert (answer.status_code, told["points_before"], told["points_after"]) == (200, 10, 0)
        assert (told["adjustment"], told["current_points"]) == (-25, 0)
        assert (pair.points(), pair.count() - before) == (0, 1)
        assert _changes(pair, entries) == [(-10, "too much")]
    else:
        assert answer.status_code == _TOO_FEW[pair.client], answer.text
        assert (pair.points(), pair.points(OMAR), pair.count()) == (10, 10, before)


def test_a_deduction_of_what_there_is_leaves_nothing(pair: Pair, dialect: Dialect) -> None:
    pair.have(10, 10)

    answer = pair.adjust(dialect, -10, "all of it", _key())

    assert answer.is_success, answer.text
    assert pair.points() == 0


@pytest.mark.parametrize("dialect", [BOTH_CUSTOMERS], ids=str)
def test_a_list_of_which_one_has_too_few_points_is_refused_and_moves_nobody(pair: Pair, dialect: Dialect) -> None:
    pair.have(10, 3)
    before = pair.count()

    answer = pair.adjust(dialect, -5, "too much for one", _key())

    assert answer.status_code == 400
    assert (pair.points(), pair.points(OMAR), pair.count()) == (10, 3, before)


@pytest.mark.parametrize("client", ["salla"], indirect=True)
@pytest.mark.parametrize(
    ("whom", "left"),
    [({"customers": [748394059]}, 4), ({"customers": [], "select_all": True}, 0)],
    ids=["one", "everyone"],
)
def test_a_reset_takes_what_there_is_at_the_upstream(pair: Pair, whom: dict[str, Any], left: int) -> None:
    pair.have(9, 4)
    body = {"reset_points": True, "type": "minus", "reason": "over", "channel_send": []} | whom
    before = pair.count()

    first, second = (pair.ask("POST", _SALLA_POINTS, _SALLA, json=body) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert (pair.points(), pair.points(OMAR)) == (0, left)
    # Resetting nothing is an entry at a vendor that knows resets, and nothing to ask for at any other.
    times = 2 if pair.upstream.vendor == "salla" else 1
    assert pair.count() - before == times * (1 if left else 2)


_DOCUMENTED: dict[str, dict[str, Any]] = {
    "bitbybit": {
        "direction": "add",
        "points": 50,
        "reason": "Manual correction",
        "idempotencyKey": "adj_2024_001",
        "metadata": {"ticket": "T-1"},
    },
    "mage": {
        "adjustment": 500,
        "note": "Goodwill gesture after delayed order",
        "update_lifetime_points": True,
        "send_email": True,
    },
    "yotpo loyalty": {
        "customer_email": "jane@example.com",
        "point_adjustment_amount": 50,
        "apply_adjustment_to_points_earned": True,
        "history_title": "Thanks",
        "visible_to_customer": False,
    },
    "yotpo app developer": {
        "customers": {
            "customer_id": "6789012345",
            "customer_email": "jane@example.com",
            "point_adjustment_amount": 50,
            "apply_adjustment_to_points_earned": False,
            "history_title": "Thanks",
            "visible_to_customer": "false",
        }
    },
    "salla list": {
        "points": 900,
        "reset_point": False,
        "type": "plus",
        "reason": "Valid reason text",
        "channel_send": ["email", "sms"],
        "customers": [748394059, 873874834],
    },
    "loyaltylion": {"points": 100, "reason": "Reward for event attendance"},
}
"""The published examples; where a vendor publishes none, every published field."""
_AMOUNTS = {"bitbybit": 50, "mage": 500, "salla list": 900, "loyaltylion": 100}


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one.name in _DOCUMENTED], ids=str)
def test_the_documented_request_moves_the_right_points(pair: Pair, dialect: Dialect) -> None:
    pair.have(1, 1)
    before, points = pair.count(), _AMOUNTS.get(dialect.name, 50)

    answer = pair.adjust(documented(dialect, _DOCUMENTED[dialect.name]), points, "")

    assert answer.is_success, answer.text
    assert pair.points() == 1 + points
    assert pair.count() - before == dialect.customers


def test_the_same_key_is_carried_out_once_and_answered_alike(pair: Pair, dialect: Dialect) -> None:
    pair.have(10, 10)
    before, key = pair.count(), _key()

    first, second = (pair.adjust(dialect, -6, "once", key) for _ in range(2))

    assert pair.count() - before == dialect.customers
    assert pair.points() == 4
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"


def test_another_request_under_a_key_is_refused_and_moves_nobody(pair: Pair, dialect: Dialect) -> None:
    pair.have(10, 10)
    key = _key()
    pair.adjust(dialect, 5, "first", key)
    before = pair.count()

    answer = pair.adjust(dialect, 6, "first", key)

    assert answer.status_code == _KEY_REUSED.get(pair.client, 422), answer.text
    assert (pair.points(), pair.count()) == (15, before)


def test_without_a_key_the_same_request_counts_each_time_once_it_is_settled(pair: Pair, dialect: Dialect) -> None:
    pair.have(10, 10)

    answers = [pair.adjust(dialect, 2, "again") for _ in range(2)]

    assert all(one.is_success for one in answers)
    assert pair.points() == 14


# What an answer tells.


@pytest.mark.parametrize("client", ["bitbybit"], indirect=True)
def test_bitbybits_answer_tells_the_wallet_as_far_as_it_is_known(pair: Pair) -> None:
    pair.have(10)
    bitbybit = next(one for one in DIALECTS if one.name == "bitbybit")

    data = pair.adjust(bitbybit, 5, "Thanks", key := _key()).json()["data"]

    wallet, entry, there = data["wallet"], data["ledger"], pair.wallet(JANE)
    assert (wallet["customerId"], wallet["availablePoints"]) == ("cust_abc123", "15")
    assert (entry["pointsDelta"], entry["availableAfter"], entry["note"]) == ("5", "15", "Thanks")
    assert data["idempotencyKey"] == entry["idempotencyKey"] == key
    if pair.upstream.vendor == "bitbybit":
        known = ("version", "lifetime_earned", "lifetime_burned", "reserved")
        told = ("version", "lifetimeEarnedPoints", "lifetimeBurnedPoints", "reservedPoints")
        assert [wallet[name] for name in told] == [str(there[name]) for name in known]
    else:
        unknown = {"version", "reservedPoints", "lifetimeEarnedPoints", "lifetimeBurnedPoints"}
        assert unknown.isdisjoint(wallet)
        assert "reservedAfter" not in entry


@pytest.mark.parametrize("client", ["mage"], indirect=True)
def test_mages_answer_tells_the_balance_before_and_after_and_the_shopify_id(pair: Pair) -> None:
    pair.have(10)
    mage = next(one for one in DIALECTS if one.name == "mage")

    data = pair.adjust(mage, -4, "Sorry", _key()).json()["data"]

    assert data["id"] == "6789012345"
    assert data["attributes"] == {
        "shopify_customer_id": "6789012345",
        "adjustment": -4,
        "points_before": 10,
        "points_after": 6,
        "current_points": 6,
        "note": "Sorry",
    }


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one.name.startswith("yotpo")], ids=str)
def test_yotpos_answer_is_the_event_with_its_title(pair: Pair, dialect: Dialect) -> None:
    first, second = (pair.adjust(dialect, 1, "Thanks", _key()).json() for _ in range(2))

    assert (first["name"], first["type"], first["referral_id"]) == ("Thanks", "PointsAdjustment", None)
    assert first["customer_id"] == second["customer_id"]
    assert first["id"] < second["id"]


# Who it is about.

_STRANGERS: dict[str, tuple[str, str]] = {
    "bitbybit": ("cust_abc123", "cust_nobody"),
    "mage": ("jane@example.com", "nobody@example.com"),
    "yotpo loyalty": ("jane@example.com", "nobody@example.com"),
    "yotpo app developer": ("6789012345", "1"),
    "salla list": ("748394059", "1"),
    "loyaltylion": ("6789012345", "1"),
}


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one.name in _STRANGERS], ids=str)
def test_a_customer_whom_nobody_knows_is_refused_and_nothing_moves(pair: Pair, dialect: Dialect) -> None:
    known, unknown = _STRANGERS[dialect.name]
    stranger = Dialect(
        name=dialect.name,
        path=dialect.path.replace(known, unknown),
        headers=dialect.headers,
        key_in_body=dialect.key_in_body,
        body=lambda points, reason: _renamed(dialect.body(points, reason), known, unknown),
    )
    before = pair.count()

    answer = pair.adjust(stranger, 5, "to nobody", _key())

    assert answer.status_code == _UNKNOWN.get(pair.client, 404), answer.text
    assert pair.count() == before


def _renamed(body: dict[str, Any], known: str, unknown: str) -> dict[str, Any]:
    renamed = {name: unknown if value == known else value for name, value in body.items()}
    if "customers" in body:
        renamed["customers"] = [int(unknown) if str(one) == known else one for one in body["customers"]]
    return renamed


@pytest.mark.parametrize("dialect", [one for one in DIALECTS if one.name in _STRANGERS], ids=str)
def test_a_customer_excluded_at_the_upstream_is_refused_as_the_clients_vendor_does(
    pair: Pair, dialect: Dialect
) -> None:
    if (pair.client, pair.upstream.vendor) == ("salla", "bitbybit"):
        pytest.skip("bitbybit tells of nobody's exclusion before it refuses, so a list cannot be weighed")
    pair.have(10, 10)
    pair.exclude(excluded=True)
    before = pair.count()

    answer = pair.adjust(dialect, 5, "excluded", _key())

    pair.exclude(excluded=False)
    assert answer.status_code == _EXCLUDED.get(pair.client, 422), answer.text
    assert (pair.points(), pair.points(OMAR), pair.count()) == (10, 10, before)


@pytest.mark.parametrize("client", ["salla"], indirect=True)
def test_of_everyone_whoever_is_excluded_at_the_upstream_is_passed_over(pair: Pair) -> None:
    everyone = next(one for one in DIALECTS if one.name == "salla everyone")
    pair.have(10, 10)
    pair.exclude(excluded=True)

    answer = pair.adjust(everyone, 5, "to all others", _key())

    pair.exclude(excluded=False)
    assert answer.status_code == 201, answer.text
    assert (pair.points(), pair.points(OMAR)) == (10, 15)


# Readings.


@dataclass(frozen=True)
class _Reading:
    """How a vendor's client reads Jane's points; ``told`` finds balances in the answer, or points of entries."""

    client: str
    path: str
    headers: dict[str, str]
    told: Callable[[Any], Any]
    body: dict[str, Any] | None = None
    refused_at: frozenset[str] = frozenset()
    left_out_at: str | None = None

    def ask(self, pair: Pair) -> httpx.Response:
        if self.body is not None:
            return pair.ask("POST", self.path, self.headers, json=self.body)
        return pair.ask("GET", self.path, self.headers)


def _reading(
    client: str,
    path: str,
    headers: dict[str, str],
    told: Callable[[Any], Any],
    *refused_at: str,
    body: dict[str, Any] | None = None,
    left_out_at: str | None = None,
) -> _Reading:
    return _Reading(client, path, headers, told, body, frozenset(refused_at), left_out_at)


_STORE = "/yotpo/loyalty/v3/stores/demo-app-key/customers?access_token=demo-access-token"
_CUSTOMER = f"{_BITBYBIT_PATH}/loyalty/customers/cust_abc123"
_JANE_BY_EMAIL = {"customer_email": "jane@example.com"}

_BALANCES = (
    _reading("bitbybit", f"{_CUSTOMER}/wallet", _BITBYBIT, lambda body: int(body["data"]["availablePoints"])),
    *(
        _reading(
            "mage", f"/mage/v1/customers/{name}", _MAGE, lambda body: body["data"]["attributes"]["current_points"]
        )
        for name in ("6789012345", "jane@example.com")
    ),
    *(
        _reading("yotpo", f"/yotpo/api/v2/customers?{name}", _YOTPO, lambda body: body["points_balance"])
        for name in ("customer_email=jane@example.com", "customer_id=6789012345")
    ),
    _reading(
        "yotpo", _STORE, {}, lambda body: body["customers"]["points_balance"], body={"customers": _JANE_BY_EMAIL}
    ),
    _reading(
        "salla",
        "/salla/admin/v2/customers/748394059?fields[]=total_points",
        _SALLA,
        lambda body: body["data"]["total_points"],
    ),
    _reading(
        "salla",
        f"{_SALLA_POINTS}?customer_id=748394059",
        _SALLA,
        lambda body: sum(one["points"] - one["used_points"] for one in body["data"]),
    ),
    _reading(
        "loyaltylion",
        "/loyaltylion/v2/customers/6789012345/transactions?limit=1",
        _LOYALTYLION,
        lambda body: body["transactions"][0]["customer"]["points_approved"],
        # Deductions are no lines of Salla's history, so there is none that could be told whole.
        "salla",
    ),
    _reading(
        "loyaltylion",
        "/loyaltylion/v2/customers",
        _LOYALTYLION,
        lambda body: body["customers"][-1]["points_approved"],
        # One list has no points, and Yotpo has no list.
        *("bitbybit", "yotpo"),
    ),
    _reading(
        "loyaltylion",
        "/loyaltylion/v2/customers?email=jane@example.com",
        _LOYALTYLION,
        lambda body: body["customers"][0]["points_approved"],
        # Their search looks elsewhere too.
        *("bitbybit", "yotpo", "salla"),
    ),
    _reading(
        "loyaltylion",
        "/loyaltylion/v2/customers?since_id=0",
        _LOYALTYLION,
        lambda body: body["customers"][0]["points_approved"],
        *("bitbybit", "yotpo", "salla"),
    ),
    _reading(
        "mage",
        "/mage/v1/customers?filter[email]=jane",
        _MAGE,
        lambda body: body["data"][0]["attributes"]["current_points"],
        *("bitbybit", "yotpo", "salla"),
    ),
    _reading(
        "mage",
        "/mage/v1/customers",
        _MAGE,
        lambda body: body["data"][-1]["attributes"]["current_points"],
        *("bitbybit", "yotpo"),
    ),
    _reading(
        "salla",
        "/salla/admin/v2/customers?fields[]=total_points",
        _SALLA,
        lambda body: body["data"][1].get("total_points"),
        "yotpo",
        left_out_at="bitbybit",
    ),
)


@pytest.fixture
def moved(pair: Pair) -> list[dict[str, Any]]:
    """Jane's entries at the upstream, which this gateway and others have made; all of them come to her balance."""
    dialect = next(one for one in DIALECTS if one.name.startswith(pair.client))
    if len(pair.entries()) < 3:
        pair.have(7)
    for points, reason in ((11, "Welcome"), (-6, "Order 7")):
        pair.adjust(dialect, points, reason)
    pair.have(pair.points() + 4)
    return pair.entries()


@pytest.mark.parametrize(
    ("client", "reading"),
    [(one.client, one) for one in _BALANCES],
    ids=[one.path.partition("demo-app-key")[0] for one in _BALANCES],
    indirect=["client"],
)
def test_a_balance_is_told_as_the_upstream_has_it_or_not_at_all(
    pair: Pair, reading: _Reading, moved: list[dict[str, Any]]
) -> None:
    answer = reading.ask(pair)

    if pair.upstream.vendor in reading.refused_at:
        assert answer.status_code == 503, answer.text
    else:
        assert answer.status_code == 200, answer.text
        is_known = pair.upstream.vendor != reading.left_out_at
        assert reading.told(answer.json()) == (pair.points() if is_known else None)
        assert pair.points() == sum(one["points_delta"] for one in moved)


_HISTORIES = (
    _reading(
        "bitbybit",
        f"{_CUSTOMER}/history?limit=100",
        _BITBYBIT,
        lambda body: [(int(one["pointsDelta"]), one.get("note", "")) for one in body["data"]],
        "salla",
    ),
    _reading(
        "mage",
        "/mage/v1/customers/6789012345/earning-history?page[size]=100",
        _MAGE,
        lambda body: [(one["attributes"]["points"], "") for one in body["data"]],
        "salla",
    ),
    _reading(
        "yotpo",
        "/yotpo/api/v2/customers?customer_email=jane@example.com&with_history=true",
        _YOTPO,
        lambda body: [(one["points"], one["action"]) for one in reversed(body["history_items"])],
        # Mage's history has no titles, by which clients look for what they did.
        *("salla", "mage"),
    ),
    _reading(
        "yotpo",
        _STORE,
        {},
        lambda body: [(one["points"], one["action"]) for one in reversed(body["customers"]["history_items"])],
        *("salla", "mage"),
        body={"customers": _JANE_BY_EMAIL, "with_history": True},
    ),
    _reading(
        "loyaltylion",
        "/loyaltylion/v2/customers/6789012345/transactions?limit=500",
        _LOYALTYLION,
        lambda body: [(one["points_approved"], one["adjustment"].get("note", "")) for one in body["transactions"]],
        "salla",
    ),
)


@pytest.mark.parametrize(
    ("client", "reading"),
    [(one.client, one) for one in _HISTORIES],
    ids=[one.path.partition("demo-app-key")[0] for one in _HISTORIES],
    indirect=["client"],
)
def test_a_history_is_told_as_the_upstream_has_it_or_not_at_all(
    pair: Pair, reading: _Reading, moved: list[dict[str, Any]]
) -> None:
    answer = reading.ask(pair)

    if pair.upstream.vendor in reading.refused_at:
        assert answer.status_code == 503, answer.text
        return
    assert answer.status_code == 200, answer.text
    told = reading.told(answer.json())
    assert [points for points, _ in told] == [one["points_delta"] for one in reversed(moved)]
    # Nothing of ours is left in what a client reads.
    reasons = [_MARK.sub("", one["reason"]) for one in reversed(moved)]
    hides = reading.client == "mage" or pair.upstream.vendor == "mage"
    assert [reason for _, reason in told] == ([""] * len(moved) if hides else reasons)


@pytest.mark.parametrize("client", ["bitbybit"], indirect=True)
@pytest.mark.parametrize(("only", "sign"), [("points_added", 1), ("points_deducted", -1)])
def test_a_history_of_additions_or_deductions_alone_has_all_of_them_or_is_refused(
    pair: Pair, only: str, sign: int, moved: list[dict[str, Any]]
) -> None:
    answer = pair.ask("GET", f"{_CUSTOMER}/history?limit=100&filter={only}", _BITBYBIT)

    if pair.upstream.vendor == "salla" and sign < 0:
        assert answer.status_code == 503
        return
    told = [int(one["pointsDelta"]) for one in answer.json()["data"]]
    assert told == [one["points_delta"] for one in reversed(moved) if one["points_delta"] * sign > 0]


@pytest.mark.parametrize("client", ["bitbybit"], indirect=True)
def test_a_history_is_walked_page_by_page_without_a_gap(pair: Pair, moved: list[dict[str, Any]]) -> None:
    walked: list[int] = []
    before: str | None = ""
    while before is not None and len(walked) <= len(moved):
        behind = f"&before={before}" if before else ""
        page = pair.ask("GET", f"{_CUSTOMER}/history?limit=2&filter=points_added{behind}", _BITBYBIT).json()
        walked += [int(one["pointsDelta"]) for one in page["data"]]
        before = page["pagination"]["nextBefore"]

    assert walked == [one["points_delta"] for one in reversed(moved) if one["points_delta"] > 0]


@pytest.mark.parametrize("client", ["mage"], indirect=True)
def test_the_pages_of_a_history_are_counted(pair: Pair, moved: list[dict[str, Any]]) -> None:
    answer = pair.ask("GET", "/mage/v1/customers/6789012345/earning-history?page[size]=2", _MAGE)

    if pair.upstream.vendor == "salla":
        assert answer.status_code == 503
        return
    meta = answer.json()["meta"]
    assert (meta["total"], meta["total_pages"]) == (len(moved), -(-len(moved) // 2))


_LISTS = (
    _reading(
        "bitbybit",
        f"{_BITBYBIT_PATH}/customers?sort=createdAt:desc",
        _BITBYBIT,
        lambda body: ([one["id"] for one in body["data"]], body["meta"]["total"]),
        "yotpo",
    ),
    _reading(
        "mage",
        "/mage/v1/customers?page[size]=1",
        _MAGE,
        lambda body: ([one["attributes"]["email"] for one in body["data"]], body["meta"]["total"]),
        *("bitbybit", "yotpo"),
    ),
    _reading(
        "salla",
        "/salla/admin/v2/customers?per_page=1",
        _SALLA,
        lambda body: ([one["id"] for one in body["data"]], body["pagination"]["total"]),
        "yotpo",
    ),
)
_LISTED: dict[str, tuple[list[Any], int]] = {
    "bitbybit": (["cust_def456", "cust_abc123"], 2),
    "mage": (["nadia@example.com"], 3),
    "salla": ([873874834], 2),
}


@pytest.mark.parametrize(
    ("client", "reading"),
    [(one.client, one) for one in _LISTS],
    ids=[one.path for one in _LISTS],
    indirect=["client"],
)
def test_a_list_has_the_customers_by_the_clients_names_and_counts_them(pair: Pair, reading: _Reading) -> None:
    answer = reading.ask(pair)

    if pair.upstream.vendor in reading.refused_at:
        assert answer.status_code == 503, answer.text
    else:
        assert answer.status_code == 200, answer.text
        assert reading.told(answer.json()) == _LISTED[pair.client]


@pytest.mark.parametrize("client", ["loyaltylion"], indirect=True)
@pytest.mark.parametrize("begins", ["", "since_id=0&"])
def test_a_list_is_walked_page_by_page(pair: Pair, begins: str) -> None:
    falls = begins == ""
    can = {"mage", "loyaltylion", *(["salla"] if falls else [])}
    path = f"/loyaltylion/v2/customers?{begins}limit=1"
    cursor: str | None = ""
    walked: list[str] = []
    while cursor is not None and len(walked) < 3:
        answer = pair.ask("GET", f"{path}{cursor}", _LOYALTYLION)
        if pair.upstream.vendor not in can:
            assert answer.status_code == 503
            return
        page = answer.json()
        walked += [one["merchant_id"] for one in page["customers"]]
        cursor = None if page["cursor"]["next"] is None else f"&cursor={page['cursor']['next']}"

    assert walked == (["6789012346", "6789012345"] if falls else ["6789012345", "6789012346"])


_OF_STRANGERS = (
    ("bitbybit", f"{_BITBYBIT_PATH}/loyalty/customers/nobody/wallet", _BITBYBIT, 404),
    ("bitbybit", f"{_BITBYBIT_PATH}/loyalty/customers/nobody/history", _BITBYBIT, 404),
    ("bitbybit", f"{_BITBYBIT_PATH}/customers/nobody", _BITBYBIT, 404),
    ("mage", "/mage/v1/customers/nobody@example.com", _MAGE, 404),
    ("mage", "/mage/v1/customers/1/earning-history", _MAGE, 404),
    ("yotpo", "/yotpo/api/v2/customers?customer_email=nobody@example.com&with_history=true", _YOTPO, 404),
    ("salla", "/salla/admin/v2/customers/1", _SALLA, 404),
    ("salla", f"{_SALLA_POINTS}?customer_id=1", _SALLA, 422),
    ("loyaltylion", "/loyaltylion/v2/customers/1/transactions", _LOYALTYLION, 404),
)


@pytest.mark.parametrize(
    ("client", "path", "headers", "status"),
    _OF_STRANGERS,
    ids=[one[1] for one in _OF_STRANGERS],
    indirect=["client"],
)
def test_readings_of_nobody_are_refused_as_the_clients_vendor_does(
    pair: Pair, path: str, headers: dict[str, str], status: int
) -> None:
    answer = pair.ask("GET", path, headers)

    assert answer.status_code == status, answer.text


# Customers whom the upstream knows and this gateway has yet to meet.


@pytest.mark.parametrize("client", ["mage"], indirect=True)
def test_a_customer_whom_only_the_upstream_knows_is_found_there_and_remembered(pair: Pair) -> None:
    # In a list she is met by the upstream's name for her alone, where it has one.
    listed = pair.ask("GET", "/mage/v1/customers", _MAGE)
    path = f"/mage/v1/customers/{NADIA['email']}"
    before = pair.points(f"email:{NADIA['email']}")

    answers = [pair.ask("POST", f"{path}/points", _MAGE, json={"adjustment": points}) for points in (9, -2)]

    assert listed.status_code in {200, 503}
    assert [one.status_code for one in answers] == [200, 200], answers[0].text
    assert pair.points(f"email:{NADIA['email']}") == before + 7
    assert pair.ask("GET", path, _MAGE).json()["data"]["attributes"]["current_points"] == before + 7


# Customers made and changed.

_CHANGES = (
    ("mage", "PUT", "/mage/v1/customers/6789012345", _MAGE, {"is_excluded": True}),
    (
        "loyaltylion",
        "PATCH",
        "/loyaltylion/v2/customers/6789012345",
        _LOYALTYLION,
        {"customer": {"blocked": True}},
    ),
)


@pytest.mark.parametrize(
    ("client", "method", "path", "headers", "body"),
    _CHANGES,
    ids=[one[0] for one in _CHANGES],
    indirect=["client"],
)
def test_a_customer_is_excluded_where_the_upstream_can_be_asked_for_it(
    pair: Pair, method: str, path: str, headers: dict[str, str], body: dict[str, Any]
) -> None:
    answer = pair.ask(method, path, headers, json=body)

    excluded = pair.wallet(JANE)["excluded"]
    pair.exclude(excluded=False)
    if pair.upstream.vendor in {"mage", "loyaltylion"}:
        assert (answer.status_code, excluded) == (200, 1), answer.text
    else:
        assert (answer.status_code, excluded) == (503, 0)


_ENROLMENTS = (
    ("bitbybit", f"{_BITBYBIT_PATH}/customers", _BITBYBIT, {"email": "ada@example.com", "firstName": "Ada"}, 201),
    ("mage", "/mage/v1/customers", _MAGE, {"shopify_customer_id": "777"}, 201),
    ("yotpo", "/yotpo/api/v2/customers", _YOTPO, {"email": "bo@example.com", "id": "888", "last_name": "B"}, 200),
)


@pytest.mark.parametrize(
    ("client", "path", "headers", "body", "status"),
    _ENROLMENTS,
    ids=[one[0] for one in _ENROLMENTS],
    indirect=["client"],
)
def test_a_customer_is_enrolled_where_the_upstream_says_just_that(
    pair: Pair, path: str, headers: dict[str, str], body: dict[str, Any], status: int
) -> None:
    before = _customers(pair)

    answer = pair.ask("POST", path, headers, json=body)

    can = pair.upstream.vendor == pair.client and "app_key" not in pair.upstream.fields
    assert answer.status_code == (status if can else 503), answer.text
    assert _customers(pair) - before == can


def _customers(pair: Pair) -> int:
    (row,) = pair.rows(
        "SELECT count(*) AS n FROM wallets w JOIN merchants m ON m.id = w.merchant_id WHERE m.name = ?",
        pair.merchant,
    )
    return int(row["n"])
