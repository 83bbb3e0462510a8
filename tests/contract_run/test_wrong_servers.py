"""A right server is accused of nothing; of servers that break one promise each, that promise is named."""

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
import wrong_servers
from spoiling import Answered, Asked, Gateway, Spoil, SpoiledApp, answering, hanging_up, leave, listening, trickle
from wrong_servers import WRONG_SERVERS, WrongServer

from conftest import NOT_TRACED, demo_config
from loyalty_gateway.app import create_app
from loyalty_gateway.config import Config, parse_config
from loyalty_gateway.contract_run import behaviours, people, stage
from loyalty_gateway.contract_run.client import LimitUsedUp, OutOfTime
from loyalty_gateway.contract_run.run import BrokenOff, run
from loyalty_gateway.contract_run.setup import Wish, prepare
from loyalty_gateway.contract_run.stage import CannotShow, Stage
from loyalty_gateway.contract_run.verdict import Outcome, Report, Score
from loyalty_gateway.customer import CustomerUpdate
from loyalty_gateway.journal import Journal
from loyalty_gateway.spec import Contract
from loyalty_gateway.spec.judge import Spoken
from loyalty_gateway.vendor import Operation, Promise, Shown, Vendor, discover

Held = Callable[..., Report]


def unhurried(ledger: Path) -> dict[str, Any]:
    """The demo configuration with rate limits that are told, and that nobody reaches."""
    config = demo_config(ledger=f"sqlite:///{ledger}")
    config["server"]["rate_limits"] = True
    for served in config["vendors"].values():
        served["rate_limits"] = dict.fromkeys(served["rate_limits"], "100000/60s")
    return config


def _url(address: str, vendor: Vendor, contract: Contract) -> str:
    server = next(iter(contract.operations.values())).server_url
    return f"{address}/{vendor.name}{urlsplit(server).path}"


@pytest.fixture
def hold(tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Iterator[Held]:
    """Holds the gateway behind a spoiler against a vendor's contract."""
    with ExitStack() as stack:

        def held(
            name: str, spoil: Spoil, *operations: str, rounds: int = 1, seconds: float = 300, seed: int = 7
        ) -> Report:
            config: Config = parse_config(unhurried(tmp_path / "ledger.db"), vendors, {})
            app = create_app(config, vendors, journal=Journal(io.BytesIO()), contracts=contracts)
            address = stack.enter_context(listening(SpoiledApp(app, spoil)))
            url = _url(address, vendors[name], contracts[name])
            setup = prepare(config, vendors[name], contracts[name], url, Wish(operations=operations))
            return run(setup, seconds=seconds, seed=seed, rounds=rounds, on_progress=lambda *_: None)

        yield held


def _accused(report: Report) -> list[str]:
    return [
        f"{check.id}: {check.told} {json.dumps(check.exchange, ensure_ascii=False)}"
        for check in report.checks
        if check.outcome in {Outcome.VIOLATED, Outcome.NO_VERDICT}
    ]


@pytest.mark.parametrize("vendor", sorted(discover()))
def test_the_gateway_passes_its_own_contract_run(vendor: str, hold: Held) -> None:
    report = hold(vendor, wrong_servers.right)

    assert _accused(report) == []
    assert report.exit_status == 0
    print(f"{vendor}: published {report.as_published}, overlay {report.conformance}, parity {report.parity}")  # noqa: T201 - both scores are shown
    assert report.conformance.held > report.as_published.held
    assert report.parity.held > 12
    assert report.decisions
    assert report.not_covered.operations == ()
    assert all("has the points of before" in note for note in report.notes)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("vendor", sorted(discover()))
def test_whatever_is_generated_a_right_server_is_accused_of_nothing_and_knows_its_customers_as_before(
    vendor: str, seed: int, hold: Held, tmp_path: Path
) -> None:
    report = hold(vendor, wrong_servers.right, rounds=6, seed=seed)

    assert _accused(report) == []
    assert report.exit_status == 0
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        known = {
            f"{namespace}:{value}"
            for namespace, value in ledger.execute(
                "SELECT namespace, value FROM customer_references WHERE wallet_id < 3"
            )
        }
    customers = demo_config()["merchants"]["demo"]["customers"]
    assert known == {f"{space}:{name}" for customer in customers for space, name in customer["references"].items()}


@pytest.mark.parametrize("vendor", sorted(discover()))
def test_what_shows_a_behaviour_is_a_request_that_the_vendor_has(vendor: str, vendors: dict[str, Vendor]) -> None:
    known = {operation.id for operation in vendors[vendor].operations}
    shown = [shown for behaviour in vendors[vendor].behaviours for shown in behaviour.shown_by]

    assert {one.operation for one in shown if isinstance(one, Shown)} <= known
    assert sum(isinstance(one, Promise) for one in shown) > 5


_SALLA_ALWAYS = pytest.mark.parametrize(
    "vendor", [pytest.param(one, marks=[] if one == "salla" else [pytest.mark.slow]) for one in sorted(discover())]
)
"""Salla tells the oldest first alone, and bounds how many points one request moves."""
Paid = Callable[[list[int]], None]


@pytest.fixture
def paid(tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Paid:
    """Moves the first customer's points, in the ledger of ``hold``, before there is a run."""

    def pay(points: list[int]) -> None:
        config = parse_config(unhurried(tmp_path / "ledger.db"), vendors, {})
        app = create_app(config, vendors, journal=Journal(io.BytesIO()), contracts=contracts)
        with listening(app) as address, httpx.Client(headers={"authorization": "mage_demo_key"}) as client:
            for one in points:
                url = f"{address}/mage/v1/customers/6789012345/points"
                client.post(url, json={"adjustment": one}).raise_for_status()

    return pay


@_SALLA_ALWAYS
def test_a_right_server_is_not_accused_of_a_long_history(
    vendor: str, hold: Held, paid: Paid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_MOST_PAGES", 1)
    monkeypatch.setattr(stage, "MANY", 10)
    monkeypatch.setattr(people, "MANY", 10)
    monkeypatch.setattr(people, "_FEW", 4)
    paid([1] * 25)

    report = hold(vendor, wrong_servers.right, rounds=0)

    assert _accused(report) == []
    told = {one.outcome for one in report.checks if "too long to be read" in one.told}
    assert told <= {Outcome.NOT_COVERED}
    assert told or vendor != "salla"


@_SALLA_ALWAYS
def test_a_right_server_is_not_accused_of_a_rich_customer(vendor: str, hold: Held, paid: Paid) -> None:
    paid([1_234_567])

    report = hold(vendor, wrong_servers.right, rounds=0)

    assert _accused(report) == []
    assert all("has the points of before" in note for note in report.notes)


def test_an_overlay_action_is_named_only_if_it_decided(hold: Held, contracts: dict[str, Contract]) -> None:
    report = hold("loyaltylion", wrong_servers.right, "customers.addPointsToCustomer", rounds=0)

    targets = {action.where: action.target for action in contracts["loyaltylion"].document.actions}
    decided = [targets[decision.action] for decision in report.decisions]
    assert any("['/v2/customers/{merchant_id}/points'].post.responses['201']" in target for target in decided)
    assert not any("birthday" in target or "'type'" in target for target in decided)
    assert len(decided) < len(targets) / 2
    (as_published,) = [
        check for check in report.checks if check.id.startswith("conformance/body/customers.addPoints")
    ]
    assert (as_published.as_published, as_published.outcome) == (Outcome.VIOLATED, Outcome.HELD)


def _parts(check: str) -> set[str]:
    """What a check is about; a behaviour may rest on several promises."""
    score, _, promises = check.partition("#")[0].partition("/")
    return {f"{score}/{promise}" for promise in promises.split("+")}


_ALWAYS = 12
"""So many of the wrong servers are found out in every run of the tests, and all of them in the slow suite."""


@NOT_TRACED
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(one, id=one.spoil.__name__, marks=[] if number < _ALWAYS else [pytest.mark.slow])
        for number, one in enumerate(WRONG_SERVERS)
    ],
)
def test_a_broken_promise_is_named_and_none_that_is_kept(wrong: WrongServer, hold: Held) -> None:
    report = hold(wrong.vendor, wrong.spoil, wrong.operation, rounds=wrong.rounds)

    violated = [_parts(one.id) for one in report.checks if one.outcome is Outcome.VIOLATED]
    broken = {wrong.found_by, *wrong.breaks_too}
    assert [sorted(parts) for parts in violated if not parts & broken] == [], _accused(report)
    assert broken - set().union(*violated) == set()
    assert report.exit_status == 1


@pytest.mark.parametrize(("counts", "outcome"), [(True, Outcome.HELD), (False, Outcome.VIOLATED)])
def test_a_server_that_lets_every_request_through_is_found_out(
    counts: bool,  # noqa: FBT001
    outcome: Outcome,
    tmp_path: Path,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
) -> None:
    raw = unhurried(tmp_path / "ledger.db")
    raw["vendors"]["mage"]["rate_limits"] = {"requests": "40/2s"}
    told = parse_config(raw, vendors, {})
    raw["server"]["rate_limits"] = counts
    app = create_app(parse_config(raw, vendors, {}), vendors, journal=Journal(io.BytesIO()), contracts=contracts)
    with listening(app) as address:
        url = _url(address, vendors["mage"], contracts["mage"])
        setup = prepare(told, vendors["mage"], contracts["mage"], url, Wish(operations=("getCustomer",)))

        report = run(setup, seconds=300, seed=7, rounds=0, on_progress=lambda *_: None)

    (check,) = [one for one in report.checks if "rate_limited" in one.id]
    assert check.outcome is outcome, check.told


@pytest.mark.parametrize(("vendor", "operation"), [("mage", "getCustomer"), ("salla", "List-Customers")])
def test_a_refusal_for_a_limit_that_nobody_told_of_is_waited_for(
    vendor: str, operation: str, tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    raw = unhurried(tmp_path / "ledger.db")
    served = raw["vendors"][vendor]
    served["rate_limits"] = dict.fromkeys(served["rate_limits"], "10/1s")
    counting = parse_config(raw, vendors, {})
    raw["server"]["rate_limits"] = False
    untold = parse_config(raw, vendors, {})
    refused: list[Answered] = []

    async def watched(asked: Asked, gateway: Gateway) -> Answered:
        answer = await gateway(asked)
        if answer.status == 429:
            refused.append(answer)
        return answer

    app = create_app(counting, vendors, journal=Journal(io.BytesIO()), contracts=contracts)
    with listening(SpoiledApp(app, watched)) as address:
        url = _url(address, vendors[vendor], contracts[vendor])
        setup = prepare(untold, vendors[vendor], contracts[vendor], url, Wish(operations=(operation,)))

        report = run(setup, seconds=60, seed=7, rounds=0, on_progress=lambda *_: None)

    assert _accused(report) == []
    assert report.exit_status == 0
    assert refused
    assert report.seconds > len(refused) / 2


def test_who_was_excluded_is_let_in_again(hold: Held, tmp_path: Path) -> None:
    report = hold("mage", wrong_servers.takes_the_excluded, "adjustPoints", rounds=0)

    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM wallets WHERE excluded").fetchone() == (0,)
    assert report.exit_status == 1


def test_a_server_that_can_do_nothing_now_and_then_is_asked_again(hold: Held) -> None:
    numbers = count(1)

    async def busy_at_times(asked: Asked, gateway: Gateway) -> Answered:
        if next(numbers) % 9 == 0:
            error = {"status": "503", "title": "Service Unavailable", "detail": "Try again"}
            return Answered(503).telling({"errors": [error]})
        return await gateway(asked)

    report = hold("mage", busy_at_times, "adjustPoints", rounds=0)

    assert _accused(report) == []
    assert report.exit_status == 0


def test_a_server_that_can_do_nothing_however_often_it_is_asked_is_named(hold: Held) -> None:
    async def down_for_some(asked: Asked, gateway: Gateway) -> Answered:
        if isinstance(asked.json, dict) and asked.json.get("adjustment") == 100_003:
            error = {"status": "503", "title": "Service Unavailable", "detail": "Try again"}
            return Answered(503, {"retry-after": "120"}).telling({"errors": [error]})
        return await gateway(asked)

    report = hold("mage", down_for_some, "adjustPoints", rounds=0)

    violated = {one.id for one in report.checks if one.outcome is Outcome.VIOLATED}
    assert "conformance/server-errors/adjustPoints" in violated


def test_an_open_door_is_found_where_no_balance_can_be_read(hold: Held) -> None:
    async def open_and_blind(asked: Asked, gateway: Gateway) -> Answered:
        if asked.method == "GET":
            return Answered(500).telling({"message": "no"})
        return await gateway(replace(asked, headers={**asked.headers, "authorization": "mage_demo_key"}))

    report = hold("mage", open_and_blind, "adjustPoints", rounds=0)

    violated = set().union(*(_parts(one.id) for one in report.checks if one.outcome is Outcome.VIOLATED))
    assert {"parity/missing_credentials", "parity/wrong_credentials"} <= violated


def test_as_published_too_a_valid_request_has_to_be_taken(hold: Held) -> None:
    report = hold("loyaltylion", wrong_servers.refuses_the_admitted, "customers.listCustomers", rounds=0)

    (check,) = [one for one in report.checks if "/valid-requests/" in one.id]
    assert (check.outcome, check.as_published) == (Outcome.VIOLATED, Outcome.VIOLATED)


def test_where_the_limit_is_used_up_nothing_is_begun(hold: Held) -> None:
    async def used_up(_asked: Asked, _gateway: Gateway) -> Answered:
        return Answered(429, {"retry-after": "31"}).telling({"message": "Too many"})

    with pytest.raises(LimitUsedUp, match="31 s"):
        hold("salla", used_up, "List-Customers", rounds=0, seconds=60)


def test_a_request_with_two_keys_is_rightly_refused(hold: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_two_keys(stage: Stage, operation: Operation) -> Iterator[Spoken]:
        plain = stage.spoken(operation, stage.plain(operation))
        yield msgspec.structs.replace(
            plain,
            headers={"idempotency-key": stage.fresh("one")},
            body={**plain.body, operation.idempotency_field: stage.fresh("other")},
        )

    monkeypatch.setattr("loyalty_gateway.contract_run.run.examples", with_two_keys)

    report = hold("bitbybit", wrong_servers.right, "adjustCustomerPoints", rounds=0)

    assert _accused(report) == []


@pytest.mark.parametrize(
    ("vendor", "operation"), [("mage", "updateCustomer"), ("loyaltylion", "customers.updateCustomer")]
)
def test_a_profile_that_a_generated_request_changed_is_given_back(
    vendor: str, operation: str, hold: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def born_otherwise(stage: Stage, asked: Operation) -> Iterator[Spoken]:
        update = CustomerUpdate(customer=stage.name(stage.first), changes={"date_of_birth": "1980-01-31"})
        yield stage.spoken(asked, stage.said(asked, update))

    monkeypatch.setattr("loyalty_gateway.contract_run.run.examples", born_otherwise)
    monkeypatch.setitem(behaviours.PROBES, Promise.UPDATE, ("an update", _nothing))

    report = hold(vendor, wrong_servers.right, operation, rounds=0)

    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        born = ledger.execute("SELECT date_of_birth FROM profiles").fetchall()
    assert [day for (day,) in born if day is not None] == []
    assert born
    assert report.is_given_back


def _nothing(_stage: Stage, _operation: Operation) -> None:
    raise CannotShow("nothing")


def test_of_two_ways_of_a_vendor_the_one_that_is_configured_is_asked_for(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    raw = unhurried(tmp_path / "ledger.db")
    raw["vendors"]["yotpo"]["options"] = {"missing_store_customer": 404}
    config = parse_config(raw, vendors, {})
    with listening(create_app(config, vendors, journal=Journal(io.BytesIO()), contracts=contracts)) as address:
        url = _url(address, vendors["yotpo"], contracts["yotpo"])
        wish = Wish(operations=("retrieveStoreCustomerDetails",))
        setup = prepare(config, vendors["yotpo"], contracts["yotpo"], url, wish)

        report = run(setup, seconds=60, seed=7, rounds=0, on_progress=lambda *_: None)

    assert _accused(report) == []
    outcomes = {one.promise.partition(" ")[0]: one.outcome for one in report.checks if one.score is Score.PARITY}
    assert outcomes["missing_store_customer:"] is Outcome.HELD


def test_a_server_that_hangs_up_gets_no_verdict(
    vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    config: Config = parse_config(unhurried(Path("none.db")), vendors, {})
    with hanging_up() as address:
        url = _url(address, vendors["salla"], contracts["salla"])
        setup = prepare(config, vendors["salla"], contracts["salla"], url, Wish(operations=("List-Customers",)))

        report = run(setup, seconds=60, seed=7, rounds=0, on_progress=lambda *_: None)

    started = {check.outcome for check in report.checks} - {Outcome.NOT_COVERED}
    assert started == {Outcome.NO_VERDICT}
    assert report.exit_status == 2


def _parity(report: Report) -> set[Outcome]:
    return {check.outcome for check in report.checks if check.score is Score.PARITY} - {Outcome.NOT_COVERED}


def test_a_probe_that_time_ends_has_no_verdict(hold: Held) -> None:
    report = hold("salla", wrong_servers.Silent(answered=3), "List-Customers", rounds=0, seconds=2)

    assert _parity(report) == {Outcome.NO_VERDICT}
    assert report.exit_status == 2


@pytest.mark.parametrize(
    "vendor", [pytest.param(one, marks=[] if one == "mage" else [pytest.mark.slow]) for one in sorted(discover())]
)
def test_a_right_server_that_is_slow_is_accused_of_nothing_in_a_short_run(vendor: str, hold: Held) -> None:
    report = hold(vendor, wrong_servers.slowly, seconds=4)

    assert _accused(report) == []
    assert report.exit_status == 0


def test_a_server_that_refuses_for_ever_for_its_rate_gets_no_verdict(hold: Held) -> None:
    report = hold("salla", wrong_servers.refuses_for_ever, "List-Customers", rounds=0, seconds=6)

    assert _parity(report) == {Outcome.NO_VERDICT}
    (status,) = [check for check in report.checks if check.id == "conformance/status/List-Customers"]
    assert status.count > 0


def test_where_balances_are_refused_what_rests_on_them_has_no_verdict(hold: Held) -> None:
    report = hold("mage", wrong_servers.forgets_balances, "adjustPoints", rounds=0)

    found = {one.id.split("#")[0]: one.outcome for one in report.checks if one.score is Score.PARITY}
    assert found["parity/overdraft"] is Outcome.NO_VERDICT
    assert all("points could not be given back" in note or "could not be read" in note for note in report.notes)


def test_an_answer_without_an_end_is_no_answer(hold: Held) -> None:
    report = hold("salla", wrong_servers.tells_too_much, "List-Customers", rounds=0, seconds=4)

    assert _parity(report) == {Outcome.NO_VERDICT}
    assert any("longer than" in check.told for check in report.checks)


@pytest.mark.parametrize("answer", [trickle, leave])
def test_a_run_ends_with_a_report_where_answers_do_not(
    answer: Callable[..., bool], vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    config: Config = parse_config(unhurried(Path("none.db")), vendors, {})
    with answering(answer) as address:
        url = _url(address, vendors["salla"], contracts["salla"])
        setup = prepare(config, vendors["salla"], contracts["salla"], url, Wish(operations=("List-Customers",)))

        report = run(setup, seconds=3, seed=7, rounds=0, on_progress=lambda *_: None)

    assert Outcome.HELD not in _parity(report)
    assert report.exit_status in {1, 2}


def test_a_probe_that_breaks_down_has_no_verdict_and_points_are_given_back(
    hold: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_down(stage: Stage, _operation: Operation) -> None:
        stage.move(3, stage.first)
        raise KeyError

    monkeypatch.setitem(behaviours.PROBES, Promise.ADDITION, ("an addition", breaks_down))

    report = hold("mage", wrong_servers.right, "adjustPoints", rounds=0)

    (check,) = [one for one in report.checks if one.id.startswith("parity/addition")]
    assert (check.outcome, "KeyError" in check.told) == (Outcome.NO_VERDICT, True)
    assert all("has the points of before" in note for note in report.notes)


def test_points_are_given_back_where_a_run_breaks_off(
    hold: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def points() -> list[int]:
        with sqlite3.connect(tmp_path / "ledger.db") as ledger:
            return [row[0] for row in ledger.execute("SELECT available FROM wallets ORDER BY 1")]

    monkeypatch.setitem(behaviours.PROBES, Promise.DEDUCTION, ("a deduction", _interrupted))
    with pytest.raises(BrokenOff, match="has the points of before"):
        hold("mage", wrong_servers.right, "adjustPoints", rounds=0)

    assert points() == [0, 0]


def _interrupted(stage: Stage, _operation: Operation) -> None:
    stage.move(3, stage.first)
    raise KeyboardInterrupt


def test_what_was_shown_in_part_for_want_of_time_is_not_said_to_hold(
    hold: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_no_time(_stage: Stage, _operation: Operation) -> None:
        raise OutOfTime

    for promise in (Promise.OVERDRAFT, Promise.ADDITION, Promise.REPLAY):
        monkeypatch.setitem(behaviours.PROBES, promise, ("a probe", has_no_time))

    report = hold("mage", wrong_servers.right, "adjustPoints", rounds=0)

    parts = {Promise.OVERDRAFT.value, Promise.ADDITION.value, Promise.REPLAY.value}
    found = [one for one in report.checks if parts & {*one.id.removeprefix("parity/").split("#")[0].split("+")}]
    assert {one.outcome for one in found} == {Outcome.NOT_COVERED}
    assert report.exit_status == 0
