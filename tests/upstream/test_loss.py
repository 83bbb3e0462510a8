"""What is lost between a client's dialect and an upstream: computed, told of each request, refused if wanted."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from conftest import demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Lifetime, Overdraft
from loyalty_gateway.app import create_app
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream.asked import asked_of
from loyalty_gateway.upstream.loss import (
    FIELDS,
    HOW,
    Fate,
    LossPolicy,
    Policy,
    fates,
    lost,
    refused,
)
from loyalty_gateway.upstream.matrix import Pair, matrix, phrasebook, plan_of
from loyalty_gateway.vendor import Vendor

_NAMES = ("bitbybit", "loyaltylion", "mage", "salla", "yotpo")
_ASKED = Adjustment(
    customers=(CustomerReference("email", "jane@example.com"),),
    points_delta=-5,
    lifetime=Lifetime.NET_EARNED,
    reason="Thanks",
    metadata={"order": "1"},
    notify=("email",),
    visible=False,
)


@pytest.fixture(scope="module")
def pairs(vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> dict[tuple[str, str], Pair]:
    return {(pair.client, pair.upstream): pair for pair in matrix(vendors, contracts)}


# One adjustment


def _other(**changes: Any) -> Adjustment:
    return msgspec.structs.replace(_ASKED, **changes)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, set()),
        ({"metadata": None, "visible": True, "notify": ()}, {"metadata", "visible", "notify"}),
        ({"reason": "Points adjustment"}, {"reason"}),
        ({"lifetime": Lifetime.BURN_ONLY}, {"lifetime"}),
        ({"overdraft": Overdraft.FLOOR}, set()),
        ({"customers": (CustomerReference("salla", "1"),), "named_by": "shopify", "idempotency_key": "k"}, set()),
    ],
)
def test_what_is_understood_otherwise_is_lost_unless_it_is_brought_about_here(
    changes: dict[str, Any], fields: set[str]
) -> None:
    assert set(lost(_ASKED, _other(**changes))) == fields


@pytest.mark.parametrize(
    ("points_delta", "one", "other", "is_lost"),
    [
        (5, Lifetime.EARN_ONLY, Lifetime.NET_EARNED, False),
        (5, Lifetime.EARN_AND_BURN, Lifetime.UNTOUCHED, True),
        (5, Lifetime.BURN_ONLY, Lifetime.UNTOUCHED, False),
        (-5, Lifetime.EARN_ONLY, Lifetime.UNTOUCHED, False),
        (-5, Lifetime.EARN_ONLY, Lifetime.NET_EARNED, True),
        (-5, Lifetime.EARN_AND_BURN, Lifetime.BURN_ONLY, False),
        (None, Lifetime.UNTOUCHED, Lifetime.EARN_AND_BURN, True),
    ],
)
def test_of_the_lifetime_counters_it_counts_what_becomes_of_them(
    points_delta: int | None, one: Lifetime, other: Lifetime, *, is_lost: bool
) -> None:
    asked, meant = (_other(points_delta=points_delta, lifetime=lifetime) for lifetime in (one, other))

    assert ("lifetime" in lost(asked, meant)) is is_lost


def test_a_reason_that_the_upstream_demands_is_no_loss() -> None:
    assert lost(_other(reason=None), _other(reason="Points adjustment")) == {}


def test_an_overdraft_of_many_customers_in_one_request_is_lost_since_no_balance_is_read() -> None:
    many = tuple(CustomerReference("salla", number) for number in ("1", "2"))
    asked = _other(customers=many)

    assert set(lost(asked, _other(customers=many, overdraft=Overdraft.FLOOR))) == {"overdraft"}


@pytest.mark.parametrize(
    ("policy", "fields"),
    [
        ("record", ()),
        ("refuse", ("lifetime", "notify")),
        (LossPolicy(refuse=("notify", "metadata")), ("notify",)),
        (LossPolicy(refuse=("metadata",)), ()),
    ],
)
def test_a_policy_refuses_all_losses_or_none_or_those_of_its_fields(
    policy: Policy, fields: tuple[str, ...]
) -> None:
    assert refused(policy, ("lifetime", "notify")) == fields


# All pairs


def test_there_is_a_report_for_each_pair(pairs: dict[tuple[str, str], Pair]) -> None:
    assert set(pairs) == {(client, upstream) for client in _NAMES for upstream in _NAMES}


@pytest.mark.parametrize("name", _NAMES)
def test_a_vendors_own_clients_lose_nothing(pairs: dict[tuple[str, str], Pair], name: str) -> None:
    pair = pairs[name, name]

    assert pair.rows
    assert {fate for row in pair.rows for fate in row.outcomes} == {Fate.SURVIVES}
    assert not any(msgspec.structs.astuple(pair.answer))


@pytest.mark.parametrize("client", _NAMES)
@pytest.mark.parametrize("upstream", _NAMES)
def test_additions_and_deductions_can_be_asked_for_everywhere(
    pairs: dict[tuple[str, str], Pair], client: str, upstream: str
) -> None:
    survives = pairs[client, upstream].labels(Fate.SURVIVES)

    assert {"additions", "deductions", "reason"} <= set(survives)


@pytest.mark.parametrize(
    ("client", "upstream", "fate", "part"),
    [
        ("salla", "mage", Fate.EMULATED, "lists"),
        ("salla", "bitbybit", Fate.EMULATED, "everyone"),
        ("salla", "yotpo", Fate.EMULATED, "resets"),
        ("salla", "bitbybit", Fate.LOST, "notice by sms"),
        ("salla", "mage", Fate.LOST, "notice by email (at times)"),
        ("mage", "bitbybit", Fate.EMULATED, "overdrafts floored"),
        ("bitbybit", "mage", Fate.EMULATED, "overdrafts refused"),
        ("bitbybit", "loyaltylion", Fate.LOST, "metadata"),
        ("bitbybit", "loyaltylion", Fate.EMULATED, "key"),
        ("yotpo", "mage", Fate.LOST, "hiding"),
        ("yotpo", "salla", Fate.LOST, "deductions from earned"),
        ("loyaltylion", "salla", Fate.EMULATED, "no reason"),
        ("yotpo", "mage", Fate.SURVIVES, "additions uncounted"),
    ],
)
def test_what_becomes_of_a_part_is_told(
    pairs: dict[tuple[str, str], Pair], client: str, upstream: str, fate: Fate, part: str
) -> None:
    assert part in pairs[client, upstream].labels(fate)


def test_a_loss_has_an_example(pairs: dict[tuple[str, str], Pair]) -> None:
    (row,) = (row for row in pairs["bitbybit", "mage"].rows if row.field == "metadata")

    assert isinstance(row.asked, dict)
    assert row.understood is None


def test_what_an_answer_needs_is_read_back_or_left_out(pairs: dict[tuple[str, str], Pair]) -> None:
    answer = pairs["bitbybit", "loyaltylion"].answer

    assert answer.read_back == ("balance",)
    assert "data.wallet.lifetimeEarnedPoints" in answer.left_out
    assert "data.wallet.availablePoints" not in answer.left_out
    assert pairs["bitbybit", "mage"].answer.read_back == ()


def test_no_answer_is_off_its_contract_for_what_nobody_knows(pairs: dict[tuple[str, str], Pair]) -> None:
    assert {pair.answer.off_contract for pair in pairs.values()} == {()}


@pytest.mark.parametrize("client", _NAMES)
def test_parts_and_fields_agree_on_what_is_lost(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], client: str
) -> None:
    asked = asked_of(vendors[client], contracts[client], msgspec.convert({}, vendors[client].options))
    wrong = []

    for name, vendor in vendors.items():
        book = phrasebook(vendor, contracts[name], msgspec.convert({}, vendor.options))
        for one in asked:
            plan = plan_of(one, book)
            assert plan.said is not None
            assert isinstance(plan.said.meant, Adjustment)
            parts = {part.field for part, fate in fates(one.adjustment, plan) if fate is Fate.LOST}
            if parts != set(lost(one.adjustment, plan.said.meant)):
                wrong.append((name, one))

    assert asked
    assert wrong == []


def test_whatever_is_emulated_is_told_how(pairs: dict[tuple[str, str], Pair]) -> None:
    emulated = {row.part for pair in pairs.values() for row in pair.rows if row.outcomes[-1] is Fate.EMULATED}

    assert emulated
    assert emulated <= set(HOW)


def test_only_what_can_be_lost_is_lost(pairs: dict[tuple[str, str], Pair]) -> None:
    fields = {row.field for pair in pairs.values() for row in pair.rows if Fate.LOST in row.outcomes}

    assert fields == set(FIELDS) - {"overdraft", "reason"}


@pytest.mark.parametrize("name", _NAMES)
def test_requests_made_of_a_document_reach_every_operation_and_keep_the_contract(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], name: str
) -> None:
    vendor = vendors[name]

    asked = asked_of(vendor, contracts[name], msgspec.convert({}, vendor.options))

    assert {one.operation.id for one in asked} == {
        operation.id for operation in vendor.operations if operation.asks is Adjustment
    }
    assert [one.adjustment for one in asked] == [
        one.adjustment for one in asked_of(vendor, contracts[name], msgspec.convert({}, vendor.options))
    ]


# Every call


_UPSTREAMS: dict[str, dict[str, str]] = {
    "bitbybit": {"api_key": "bbb_test_demo"},
    "mage": {"api_key": "mage_demo_key"},
}
_MAGE = {"authorization": "mage_demo_key"}
_BITBYBIT = {"x-api-key": "bbb_test_demo"}
_SALLA = {"authorization": "Bearer demo-salla-token"}
_TO_BITBYBIT = "/bitbybit/customer/api/open/v1/loyalty/customers/cust_abc123/points/adjust"
_NOTED = {"direction": "add", "points": 5, "reason": "Thanks", "metadata": {"order": "1"}}
_LISTED = {
    "points": 5,
    "type": "plus",
    "reason": "Thanks",
    "channel_send": ["sms"],
    "customers": [748394059, 873874834],
}


class _Shim:
    """What a gateway before another one answered, told, and moved there."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response] = []
        self.balance: Any = None
        self.metrics = ""
        self.log = io.BytesIO()

    def lines(self) -> list[dict[str, Any]]:
        told = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in told if line.get("vendor")]


def _shimmed(
    folder: Path,
    vendors: dict[str, Vendor],
    route: tuple[str, str],
    loss: Any,
    *requests: tuple[str, dict[str, str], dict[str, Any]],
) -> _Shim:
    """Sends the requests to a gateway whose upstream is a second one; ``loss`` is the first one's policy."""
    client, upstream = route
    shim = _Shim()

    async def run() -> None:
        behind = create_app(
            parse_config(demo_config(ledger=f"sqlite:///{folder}/behind.db"), vendors, {}),
            vendors,
            journal=Journal(io.BytesIO()),
        )
        config = demo_config(ledger=f"sqlite:///{folder}/before.db")
        chosen = {
            "vendor": upstream,
            "url": f"http://behind/{upstream}",
            "credentials": _UPSTREAMS[upstream],
            "loss": loss,
        }
        config["vendors"][client]["backend"] = {"upstream": chosen}
        before = create_app(
            parse_config(config, vendors, {}),
            vendors,
            journal=Journal(shim.log),
            transport=httpx.ASGITransport(app=behind),
        )
        async with behind.router.lifespan_context(behind), before.router.lifespan_context(before):
            transport = httpx.ASGITransport(app=before)
            async with httpx.AsyncClient(transport=transport, base_url="http://before") as asking:
                for path, headers, body in requests:
                    shim.answers.append(await asking.post(path, headers=headers, json=body))
                shim.metrics = (await asking.get("/-/metrics")).text
            transport = httpx.ASGITransport(app=behind)
            async with httpx.AsyncClient(transport=transport, base_url="http://behind") as asking:
                told = await asking.get("/mage/v1/customers/jane@example.com", headers=_MAGE)
                shim.balance = told.json()["data"]["attributes"]["current_points"]

    asyncio.run(run())
    return shim


def test_a_loss_is_recorded_counted_and_told_in_the_requests_line(
    tmp_path: Path, vendors: dict[str, Vendor]
) -> None:
    plain = {name: value for name, value in _NOTED.items() if name != "metadata"}

    shim = _shimmed(
        tmp_path,
        vendors,
        ("bitbybit", "mage"),
        "record",
        (_TO_BITBYBIT, _BITBYBIT, _NOTED),
        (_TO_BITBYBIT, _BITBYBIT, plain),
    )

    assert [answer.status_code for answer in shim.answers] == [200, 200]
    assert shim.balance == 10
    assert [line.get("lost") for line in shim.lines()] == [["metadata"], None]
    counted = 'loyalty_gateway_losses_total{field="metadata",upstream="mage",vendor="bitbybit"} 1.0'
    assert counted in shim.metrics


@pytest.mark.parametrize("loss", ["refuse", {"refuse": ["lifetime", "metadata"]}])
def test_a_loss_is_refused_where_that_is_wanted_and_nothing_is_moved(
    tmp_path: Path, vendors: dict[str, Vendor], loss: Any
) -> None:
    shim = _shimmed(tmp_path, vendors, ("bitbybit", "mage"), loss, (_TO_BITBYBIT, _BITBYBIT, _NOTED))

    (answer,), (line,) = shim.answers, shim.lines()
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert "metadata" in answer.json()["error"]["message"]
    assert shim.balance == 0
    assert (line["code"], line["lost"]) == ("invalid", ["metadata"])


def test_a_loss_in_another_field_than_those_refused_is_recorded(
    tmp_path: Path, vendors: dict[str, Vendor]
) -> None:
    shim = _shimmed(
        tmp_path, vendors, ("bitbybit", "mage"), {"refuse": ["lifetime"]}, (_TO_BITBYBIT, _BITBYBIT, _NOTED)
    )

    assert [answer.status_code for answer in shim.answers] == [200]
    assert [line["lost"] for line in shim.lines()] == [["metadata"]]


@pytest.mark.parametrize(("loss", "status", "balance"), [("record", 201, 5), ("refuse", 422, 0)])
def test_what_is_lost_of_a_list_that_becomes_single_adjustments_counts_too(
    tmp_path: Path, vendors: dict[str, Vendor], loss: str, status: int, balance: int
) -> None:
    request = ("/salla/admin/v2/customers/loyalty/points", _SALLA, _LISTED)

    shim = _shimmed(tmp_path, vendors, ("salla", "bitbybit"), loss, request)

    assert [answer.status_code for answer in shim.answers] == [status]
    assert shim.balance == balance
    assert [line["lost"] for line in shim.lines()] == [["notify"]]


def test_what_is_lost_of_a_reset_counts_too(tmp_path: Path, vendors: dict[str, Vendor]) -> None:
    body = {"reset_points": True, "type": "minus", "reason": "x", "channel_send": [], "customers": [748394059]}
    request = ("/salla/admin/v2/customers/loyalty/points", _SALLA, body)

    shim = _shimmed(tmp_path, vendors, ("salla", "bitbybit"), "record", request)

    assert [answer.status_code for answer in shim.answers] == [201]
    assert [line["lost"] for line in shim.lines()] == [["lifetime"]]


# The configuration


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("ignore", "vendors.salla.backend.upstream.loss: "),
        (5, "vendors.salla.backend.upstream.loss: "),
        ({"refuse": "metadata"}, "vendors.salla.backend.upstream.loss.refuse: "),
        ({"refuse": ["metadata", 5]}, "vendors.salla.backend.upstream.loss.refuse[1]: "),
        (
            {"refuse": ["metadata", "metdata"]},
            "vendors.salla.backend.upstream.loss.refuse[1]: no such field; there are overdraft, lifetime, ",
        ),
        ({"record": ["metadata"]}, "vendors.salla.backend.upstream.loss"),
    ],
)
def test_a_policy_that_is_none_is_named_by_its_path(vendors: dict[str, Vendor], loss: Any, told: str) -> None:
    config = demo_config()
    chosen = {"vendor": "mage", "url": "http://behind", "credentials": _UPSTREAMS["mage"], "loss": loss}
    config["vendors"]["salla"]["backend"] = {"upstream": chosen}

    with pytest.raises(ConfigurationError) as refusal:
        parse_config(config, vendors, {})

    assert told in str(refusal.value)
