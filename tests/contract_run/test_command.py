"""``loyalty-gateway contract`` as a person and a pipeline use it."""

import json
import os
import re
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
import yaml
from spoiling import Answered, Asked, Gateway, SpoiledApp, listening
from test_wrong_servers import unhurried
from typer.testing import CliRunner, Result
from wrong_servers import right

from conftest import ROOT
from loyalty_gateway.app import create_app
from loyalty_gateway.cli import commands
from loyalty_gateway.config import parse_config
from loyalty_gateway.contract_run import behaviours
from loyalty_gateway.contract_run.reports import FORMATS
from loyalty_gateway.contract_run.stage import Stage
from loyalty_gateway.contract_run.verdict import Check, NotCovered, Outcome, Report, Score, plain
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Operation, Promise, Vendor, discover


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "config.yaml").write_text(yaml.safe_dump(unhurried(folder / "ledger.db")), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Iterator[str]:
    """The gateway, which here tells clients what they sent for a key."""

    async def tells_secrets(asked: Asked, gateway: Gateway) -> Answered:
        answer = await right(asked, gateway)
        if answer.status != 401:
            return answer
        return answer.telling({"message": f"{asked.headers} is not demo-api-key, demo-guid, demo-access-token"})

    config = parse_config(unhurried(folder / "ledger.db"), vendors, {})
    with listening(SpoiledApp(create_app(config, vendors, contracts=contracts), tells_secrets)) as address:
        yield address


@pytest.fixture(scope="module")
def upright(folder: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Iterator[str]:
    """The gateway as it is."""
    config = parse_config(unhurried(folder / "upright.db"), vendors, {})
    with listening(create_app(config, vendors, contracts=contracts)) as address:
        yield address


def _contract(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(commands, ["contract", *arguments, "--config", str(folder / "config.yaml")])


def _held(folder: Path, address: str, *more: str) -> Result:
    operation = ("--operation", "fetchCustomerDetails", "--seed", "3", "--seconds", "300", "--rounds", "1")
    return _contract(folder, "yotpo", "--url", f"{address}/yotpo", *operation, *more)


@pytest.fixture(scope="module")
def reports(folder: Path, address: str) -> dict[str, str]:
    """What each kind of file says, and what a person reads, under ``told``."""
    path = folder / "report.json"
    told = _held(folder, address, "--report", "json", "--output", str(path))
    assert told.exit_code == 1, told.output
    values = json.loads(path.read_text(encoding="utf-8"))
    return {kind: made(values) for kind, made in FORMATS.items()} | {"told": told.output}


def test_a_person_reads_the_scores_and_what_was_not_covered(reports: dict[str, str]) -> None:
    told = reports["told"]

    for part in (
        "as published",
        "with overlay",
        "parity",
        "our default",
        "Not covered",
        "seed 3",
        "moves points of",
    ):
        assert part in told
    assert re.search(r"fetchCustomerDetails: \d+ statuses, \d+ keywords", told)
    assert re.search(r"\d+ behaviours: not among the operations asked for", told)
    assert re.search(r"operations: .*createOrUpdateCustomer", told)


def test_what_was_not_covered_is_told_in_full_if_asked_for(folder: Path, address: str) -> None:
    told = _held(folder, address, "--verbose").output

    assert "statuses of fetchCustomerDetails: " in told
    assert "our default: A busy record" not in told
    assert "seen in clients: A busy record is 423. (it cannot be seen from outside" in told


@pytest.mark.parametrize("name", sorted(discover()))
def test_an_address_without_the_path_that_the_vendors_own_has_is_told(
    folder: Path, upright: str, contracts: dict[str, Contract], name: str
) -> None:
    own = urlsplit(next(iter(contracts[name].operations.values())).server_url).path
    alone = ("--operation", next(iter(contracts[name].operations)), "--seconds", "1", "--rounds", "1")

    whole = _contract(folder, name, "--url", f"{upright}/{name}{own}", *alone)
    short = _contract(folder, name, "--url", f"{upright}/{name}", *alone)

    assert "own address ends in" not in whole.output
    assert (f"own address ends in {own}," in short.output) == bool(own)


def test_the_summary_of_a_server_that_holds_fits_on_a_screen(folder: Path, upright: str) -> None:
    told = _contract(folder, "yotpo", "--url", f"{upright}/yotpo", "--seconds", "300", "--rounds", "0")

    assert told.exit_code == 0, told.output
    assert len(told.output.splitlines()) <= 40


def test_no_credential_is_told_anywhere(reports: dict[str, str]) -> None:
    secrets = ("demo-api-key", "demo-guid", "demo-access-token")

    found = {(kind, secret) for kind, text in reports.items() for secret in secrets if secret in text}

    assert found == set()
    assert "***" in reports["json"]


def test_the_json_report_has_both_scores_and_every_check(reports: dict[str, str]) -> None:
    report: dict[str, Any] = json.loads(reports["json"])

    assert report["scores"].keys() >= {"conformance_as_published", "conformance_with_overlay", "parity"}
    assert {check["outcome"] for check in report["checks"]} <= {"held", "violated", "no verdict", "not covered"}
    assert all(check["told"] for check in report["checks"] if check["outcome"] in {"violated", "no verdict"})
    assert {one["action"].split()[0] for one in report["decisions"]} == {"yotpo.overlay.yaml"}


def test_the_junit_report_counts_what_it_lists(reports: dict[str, str]) -> None:
    root = ET.fromstring(reports["junit"])
    suites = root.findall("testsuite")

    assert set(root.attrib) == {"name", "tests", "failures", "errors", "time"}
    assert [suite.get("name") for suite in suites] == ["conformance", "parity"]
    for suite in suites:
        cases = suite.findall("testcase")
        assert int(suite.attrib["tests"]) == len(cases)
        assert all(case.get("classname") and case.get("name") for case in cases)
        for kind, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[kind]) == sum(case.find(element) is not None for case in cases)


def test_the_sarif_report_points_each_result_at_its_rule(reports: dict[str, str]) -> None:
    log = json.loads(reports["sarif"])
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]

    assert log["version"] == "2.1.0"
    assert run["results"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        # Of another kind than fail a result has no level.
        assert (result["kind"] == "fail") is (result["level"] == "error")
        assert result["kind"] in {"fail", "open"}
        assert result["message"]["text"]
    assert {one["ruleId"] for one in run["properties"]["notCovered"]} <= {rule["id"] for rule in rules}


def test_the_sarif_report_points_at_the_line_of_the_operation(reports: dict[str, str]) -> None:
    (run,) = json.loads(reports["sarif"])["runs"]
    (result,) = [one for one in run["results"] if one["ruleId"] == "conformance/body/fetchCustomerDetails"] or [
        next(one for one in run["results"] if one["ruleId"].endswith("/fetchCustomerDetails"))
    ]

    place = result["locations"][0]["physicalLocation"]

    lines = (ROOT / place["artifactLocation"]["uri"]).read_text(encoding="utf-8").splitlines()
    start = place["region"]["startLine"]
    assert lines[start - 1].strip() == "get:"
    assert any("operationId: fetchCustomerDetails" in line for line in lines[start : start + 5])


def test_the_page_needs_nothing_beside_it(reports: dict[str, str]) -> None:
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(", reports["html"])
    assert "Parity with the vendor" in reports["html"]


def test_a_report_without_a_file_stands_alone_on_standard_output(folder: Path, address: str) -> None:
    told = _held(folder, address, "--report", "json")

    assert json.loads(told.stdout)["vendor"] == "yotpo"
    assert "Scores" in told.stderr


def test_a_server_that_is_not_there_gets_no_verdict(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]

    told = _contract(folder, "salla", "--url", f"http://127.0.0.1:{port}/salla/admin/v2", "--seconds", "60")

    assert told.exit_code == 2
    assert "no connection can be made" in told.stderr


def test_a_run_that_is_told_to_end_gives_points_back(
    folder: Path, upright: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told_to_end(stage: Stage, _operation: Operation) -> None:
        stage.move(3, stage.first)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setitem(behaviours.PROBES, Promise.ADDITION, ("an addition", told_to_end))
    heard = signal.getsignal(signal.SIGTERM)

    told = _contract(folder, "mage", "--url", f"{upright}/mage", "--rounds", "0")

    assert told.exit_code == 2
    assert "the run was broken off" in told.stderr
    with sqlite3.connect(folder / "upright.db") as ledger:
        assert ledger.execute("SELECT available FROM wallets WHERE id = 1").fetchall() == [(0,)]
    assert signal.getsignal(signal.SIGTERM) is heard


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nobody", "--url", "http://x"), "no such vendor"),
        (("mage", "--url", "ftp://x"), "must read like https://api.example.com"),
        (("mage", "--url", "http://me:secret-without-a-name@x"), "without credentials"),
        (("mage", "--url", "http://x?token=secret-without-a-name"), "without credentials or a query"),
        (("mage", "--url", "http://[::1"), "must read like https://api.example.com"),
        (("mage", "--url", "http://x:99999"), "must read like https://api.example.com"),
        (("mage", "--url", "http://x", "--report", "json", "--output", "no/such/folder/x"), "cannot be written"),
        (("mage", "--url", "http://x", "--operation", "dance"), "must be one of: adjustPoints"),
        (("mage", "--url", "http://x", "--credentials", "secret-without-a-name"), "each must be key=value"),
        (("mage", "--url", "http://x", "--credentials", "guid=x"), "a credential of mage is api_key"),
        (("mage", "--url", "http://x", "--customer", "jane"), "must be namespace:value"),
        (("mage", "--url", "http://x", "--customer", "salla:7"), "a customer known by shopify or email"),
        (("mage", "--url", "http://x", "--report", "pdf"), "must be one of: junit, sarif, json, html"),
        (("mage", "--url", "http://x", "--output", "file"), "needs --report"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(arguments: tuple[str, ...], says: str, folder: Path) -> None:
    told = _contract(folder, *arguments)

    assert told.exit_code == 2
    assert says in told.stderr
    assert "secret-without-a-name" not in told.output


def test_credentials_and_customers_may_be_given_instead_of_the_configuration(folder: Path, address: str) -> None:
    given = ("--credentials", "app_key=demo-app-key", "--credentials", "access_token=demo-access-token")
    who = ("--customer", "shopify:6789012346,email:omar@example.com")
    operation = ("--operation", "retrieveStoreCustomerDetails", "--seconds", "300", "--rounds", "0")

    told = _contract(folder, "yotpo", "--url", f"{address}/yotpo", *given, *who, *operation)

    assert "This moves points of shopify:6789012346," in told.output
    assert "shopify:6789012346 has the points of before" in told.output


def test_with_credentials_and_customers_no_configuration_is_needed(tmp_path: Path, address: str) -> None:
    given = ("--credentials", "app_key=demo-app-key", "--credentials", "access_token=demo-access-token")
    operation = ("--operation", "retrieveStoreCustomerDetails", "--seconds", "300", "--rounds", "0")
    url = ("--url", f"{address}/yotpo")

    told = _contract(tmp_path, "yotpo", *url, *given, "--customer", "shopify:6789012346", *operation)
    without = _contract(tmp_path, "yotpo", *url, *given, *operation)

    assert "This moves points of shopify:6789012346," in told.output
    assert (without.exit_code, "cannot be read" in without.stderr) == (2, True)


def test_a_credential_that_is_a_word_of_the_report_breaks_no_report(reports: dict[str, str]) -> None:
    report = Report(
        vendor="mage",
        title="Mage",
        url="http://held",
        seed=1,
        seconds=1,
        requests=1,
        checks=(
            Check(
                id="conformance/body/x",
                score=Score.CONFORMANCE,
                promise="held",
                outcome=Outcome.HELD,
                told="held",
                exchange={
                    "request": "GET /",
                    "headers": {},
                    "body": None,
                    "answer": "x" * 1_996 + 'se/cret"' + "x",
                    "status": 200,
                },
            ),
        ),
        decisions=(),
        not_covered=NotCovered(operations=(), statuses={}, keywords={}),
        notes=("held",),
    )

    values = plain(report, ('se/cret"', "held"))

    (check,) = values["checks"]
    assert (check["outcome"], check["told"], values["notes"], values["url"]) == (
        "held",
        "***",
        ["***"],
        "http://***",
    )
    assert check["exchange"]["answer"] == "x" * 1_996 + "***x"
    assert all(made(values) for kind, made in FORMATS.items() if kind in reports)


def test_without_schemathesis_a_sentence_says_what_to_install(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "schemathesis", None)

    told = _held(folder, address)

    assert told.exit_code == 2
    assert "loyalty-gateway[contract]" in told.stderr
