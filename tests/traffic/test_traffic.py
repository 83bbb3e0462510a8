"""Recorded traffic: what was planted in it is found, and nothing else."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import (
    Archive,
    Entry,
    change_answer,
    change_request,
    recorded,
    spoilt,
    write,
)

from conftest import Gateway, command
from loyalty_gateway.spec import Contract, OperationContract
from loyalty_gateway.traffic.commands import judge_files, read_exchanges
from loyalty_gateway.traffic.findings import Finding, Findings, Report
from loyalty_gateway.traffic.har import write_har
from loyalty_gateway.traffic.ndjson import ndjson_line
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.vendor import Vendor

Judging = Callable[..., Report]

_BITBYBIT, _MAGE, _YOTPO, _STORE, _SALLA, _EVERYONE, _LION = range(7)
_WALLET, _HISTORY, _CUSTOMERS, _MAGE_CUSTOMER, _EARNED, _DETAILS, _DETAILS_BY_QUERY = range(7, 14)
_SALLA_CUSTOMERS, _SALLA_CUSTOMER, _SALLA_POINTS, _LION_CUSTOMERS, _LION_HISTORY = range(14, 19)


@pytest.fixture
def archive(gateway: Gateway) -> Archive:
    return recorded(gateway)


@pytest.fixture
def judged(tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Judging:
    """What is found in an archive."""

    def judge(archive: Archive, only: str = "") -> Report:
        path = write(archive, tmp_path / "traffic.har")
        return judge_files([path], Traffic(whose_exchanges(vendors, contracts, None), only))

    return judge


def _request(change: Callable[[Any], Any]) -> Callable[[Entry], None]:
    return lambda entry: change_request(entry, change)


def _answer(change: Callable[[Any], Any]) -> Callable[[Entry], None]:
    return lambda entry: change_answer(entry, change)


def _url(old: str, new: str) -> Callable[[Entry], None]:
    def change(entry: Entry) -> None:
        assert old in entry["request"]["url"]
        entry["request"]["url"] = entry["request"]["url"].replace(old, new)

    return change


def _status(status: int) -> Callable[[Entry], None]:
    return lambda entry: entry["response"].update(status=status)


def _media_type(entry: Entry) -> None:
    entry["request"]["headers"] = [
        header for header in entry["request"]["headers"] if header["name"] != "content-type"
    ]
    entry["request"]["postData"]["mimeType"] = "text/plain"


def _no_json(entry: Entry) -> None:
    entry["request"]["postData"]["text"] = '{"points": 5'


def _no_body(entry: Entry) -> None:
    entry["response"]["content"] = {"size": 0, "mimeType": "application/json", "text": ""}


# What is planted, where, and what must be found: kind, operation, direction, location, constraint.
_PLANTED: dict[str, tuple[int, Callable[[Entry], None], tuple[str, str, str, str, str]]] = {
    "a path that nobody knows": (
        _MAGE,
        _url("/points", "/wishes"),
        ("undocumented operation", "-", "request", "POST /v1/customers/*/*", ""),
    ),
    "a method that the path has not": (
        _WALLET,
        lambda entry: entry["request"].update(method="DELETE"),
        (
            "undocumented operation",
            "-",
            "request",
            "DELETE /customer/api/open/v1/loyalty/customers/*/wallet",
            "",
        ),
    ),
    "a field where the schema is closed": (
        _LION,
        _request(lambda body: body.update(colour="blue")),
        ("undocumented field", "customers.addPointsToCustomer", "request", "/body/colour", ""),
    ),
    "a field where the schema is open": (
        _MAGE,
        _request(lambda body: body.update(colour="blue")),
        ("undocumented field", "adjustPoints", "request", "/body/colour", ""),
    ),
    "a field of the query": (
        _SALLA_CUSTOMERS,
        _url("?", "?colour=blue&"),
        ("undocumented field", "List-Customers", "request", "/query/colour", ""),
    ),
    "a field deep in an answer": (
        _EARNED,
        _answer(lambda body: body["data"][0]["attributes"].update(colour="blue")),
        ("undocumented field", "listEarningHistory", "answer", "/body/data/*/attributes/colour", ""),
    ),
    "a field within an answer's alternative": (
        _MAGE_CUSTOMER,
        _answer(
            lambda body: body["data"]["attributes"].update(
                vip_tier={
                    "id": "1",
                    "name": "Gold",
                    "points_required": 5,
                    "points_multiplier": 1,
                    "badge_image_url": None,
                    "badge_color": None,
                    "colour": "blue",
                }
            )
        ),
        ("undocumented field", "getCustomer", "answer", "/body/data/attributes/vip_tier/colour", ""),
    ),
    "a status": (
        _LION,
        _status(418),
        ("undocumented status", "customers.addPointsToCustomer", "answer", "/status", "418"),
    ),
    "a field that is missing in a request": (
        _SALLA,
        _request(lambda body: body.pop("reason")),
        ("violation", "updateCustomerLoyaltyPoints", "request", "/body/reason", "required"),
    ),
    "a field that is missing in an answer": (
        _MAGE,
        _answer(lambda body: body["data"]["attributes"].pop("points_before")),
        ("violation", "adjustPoints", "answer", "/body/data/attributes/points_before", "required"),
    ),
    "text for a number": (
        _YOTPO,
        _request(lambda body: body.update(point_adjustment_amount="many")),
        ("violation", "adjustPoints", "request", "/body/point_adjustment_amount", "type"),
    ),
    "a number for text": (
        _WALLET,
        _answer(lambda body: body["data"].update(version=3)),
        ("violation", "getLoyaltyWallet", "answer", "/body/data/version", "type"),
    ),
    "a word that is not listed": (
        _BITBYBIT,
        _request(lambda body: body.update(direction="sideways")),
        ("violation", "adjustCustomerPoints", "request", "/body/direction", "enum"),
    ),
    "a number beyond its bounds": (
        _BITBYBIT,
        _request(lambda body: body.update(points=0)),
        ("violation", "adjustCustomerPoints", "request", "/body/points", "minimum"),
    ),
    "a list's item of the wrong type": (
        _SALLA,
        _request(lambda body: body.update(customers=[748394059, True])),
        ("violation", "updateCustomerLoyaltyPoints", "request", "/body/customers/*", "type"),
    ),
    "a query that is no number": (
        _LION_CUSTOMERS,
        _url("limit=1", "limit=few"),
        ("violation", "customers.listCustomers", "request", "/query/limit", "type"),
    ),
    "a query that is missing": (
        _SALLA_POINTS,
        _url("?customer_id=748394059", ""),
        ("violation", "Customer-Loyalty-Points", "request", "/query/customer_id", "required"),
    ),
    "another media type": (
        _MAGE,
        _media_type,
        ("violation", "adjustPoints", "request", "/body", "unsupported_media_type"),
    ),
    "a body that is no JSON": (
        _MAGE,
        _no_json,
        ("violation", "adjustPoints", "request", "/body", "unreadable"),
    ),
    "an answer without its body": (
        _MAGE,
        _no_body,
        ("violation", "adjustPoints", "answer", "/body", "a declared body is missing"),
    ),
}


def _told(finding: Finding) -> tuple[str, str, str, str, str]:
    return finding.kind, finding.operation, finding.direction, finding.location, finding.constraint


def test_real_traffic_shows_nothing(archive: Archive, judged: Judging) -> None:
    report = judged(archive)

    assert report.findings == []
    assert report.exchanges == len(archive["log"]["entries"])


@pytest.mark.parametrize("planted", _PLANTED)
def test_what_was_planted_is_found_and_nothing_else(archive: Archive, judged: Judging, planted: str) -> None:
    index, spoil, expected = _PLANTED[planted]

    report = judged(spoilt(archive, index, spoil))

    assert [_told(finding) for finding in report.findings] == [expected]
    assert report.findings[0].count == 1


def test_all_that_was_planted_in_one_archive_is_found_and_nothing_else(archive: Archive, judged: Judging) -> None:
    for index, spoil, _ in _PLANTED.values():
        archive = spoilt(archive, index, spoil)

    report = judged(archive)

    assert sorted(_told(finding) for finding in report.findings) == sorted(told for *_, told in _PLANTED.values())


def test_a_finding_tells_how_often_it_was_seen_and_when_first_and_last(archive: Archive, judged: Judging) -> None:
    index, spoil, _ = _PLANTED["a field where the schema is open"]
    for second in (50, 40, 45):
        archive = spoilt(archive, index, spoil)
        archive["log"]["entries"][-1]["startedDateTime"] = f"2026-01-01T00:00:{second}.000Z"

    (finding,) = judged(archive).findings

    assert (finding.count, finding.exchanges) == (3, 4)
    assert math.isclose(finding.last_seen - finding.first_seen, 10)


def test_a_finding_has_the_same_fingerprint_in_every_run(archive: Archive, judged: Judging) -> None:
    index, spoil, _ = _PLANTED["a status"]

    runs = {judged(spoilt(archive, index, spoil)).findings[0].fingerprint for _ in range(2)}

    assert len(runs) == 1


def test_coverage_tells_statuses_that_were_seen_and_those_that_were_not(archive: Archive, judged: Judging) -> None:
    coverage = {(told.vendor, told.operation): told for told in judged(archive).coverage}

    assert coverage["mage", "getCustomer"].seen == {"200": 1, "404": 1}
    assert "500" in coverage["mage", "getCustomer"].not_seen
    assert coverage["mage", "updateCustomer"].seen == {}


def test_a_vendor_is_known_by_its_real_host(archive: Archive, judged: Judging, vendors: dict[str, Vendor]) -> None:
    hosts = {name: vendor.hosts[0] for name, vendor in vendors.items()}
    for entry in archive["log"]["entries"]:
        mount = entry["request"]["url"].split("/")[3]
        entry["request"]["url"] = entry["request"]["url"].replace(
            f"http://127.0.0.1:8000/{mount}", f"https://{hosts[mount]}"
        )

    report = judged(archive)

    assert (report.findings, report.others) == ([], 0)
    assert {told.vendor for told in report.coverage} == set(vendors)


def test_exchanges_of_nobody_are_counted_and_left_alone(archive: Archive, judged: Judging) -> None:
    strangers = ("https://shop.example.com/cart", "https://[broken", "data:image/png;base64,AAAA")
    for index, url in enumerate(strangers):
        archive["log"]["entries"][index]["request"]["url"] = url
    archive["log"]["entries"][3]["request"]["method"] = "OPTIONS"

    report = judged(archive)

    assert (report.findings, report.others) == ([], 4)


def test_a_vendor_may_be_named_for_a_server_anywhere(archive: Archive, judged: Judging) -> None:
    entries = [entry for entry in archive["log"]["entries"] if ":8000/mage/" in entry["request"]["url"]]
    entries[0]["request"]["url"] = entries[0]["request"]["url"].replace("/mage/", "/")

    report = judged({"log": {"entries": entries}}, "mage")

    assert (report.findings, report.others, report.exchanges) == ([], 0, len(entries))


def test_bodies_that_were_not_recorded_are_not_missed(archive: Archive, judged: Judging) -> None:
    for entry in archive["log"]["entries"]:
        entry["response"]["content"].pop("text")
        entry["response"]["content"].pop("encoding", None)
        entry["request"].pop("postData", None)

    report = judged(archive)

    assert report.findings == []


def test_a_check_that_fails_is_a_finding_and_ends_nothing(
    archive: Archive, judged: Judging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError

    monkeypatch.setattr(OperationContract, "defects", fails)

    report = judged(archive)

    assert {(found.location, found.constraint) for found in report.findings} == {("/", "the check itself failed")}
    assert sum(found.count for found in report.findings) == report.exchanges


@pytest.mark.parametrize("kind", ["har", "ndjson"])
def test_a_recording_that_was_read_and_written_shows_the_same(  # noqa: PLR0917 - fixtures
    archive: Archive,
    judged: Judging,
    tmp_path: Path,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
    kind: str,
) -> None:
    for index, spoil, _ in _PLANTED.values():
        archive = spoilt(archive, index, spoil)
    before = judged(archive)
    exchanges = [*read_exchanges(tmp_path / "traffic.har")]

    again = tmp_path / f"again.{kind}"
    with again.open("wb") as file:
        if kind == "har":
            write_har(exchanges, file)
        else:
            file.writelines(map(ndjson_line, exchanges))

    after = judge_files([again], Traffic(whose_exchanges(vendors, contracts, None)))
    assert [(_told(finding), finding.count) for finding in after.findings] == [
        (_told(finding), finding.count) for finding in before.findings
    ]


def test_findings_are_kept_up_to_a_number_of_each_kind_of_an_operation_and_counted_beyond_it(
    archive: Archive, vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path
) -> None:
    for index, spoil, _ in _PLANTED.values():
        archive = spoilt(archive, index, spoil)
    path = write(archive, tmp_path / "a.har")
    whole, traffic = (Traffic(whose_exchanges(vendors, contracts, None)) for _ in range(2))
    traffic.findings = Findings(most=1)

    all_of_them, report = judge_files([path], whole), judge_files([path], traffic)

    rooms = {_room(found) for found in all_of_them.findings}
    assert sorted(map(_room, report.findings)) == sorted(rooms)
    assert report.not_kept == len(_PLANTED) - len(rooms) > 0

    merged = Findings(most=1)
    for _ in range(2):
        merged.merge(traffic.findings.snapshot())

    assert [found.count for found in merged.report({}).findings] == [2] * len(rooms)
    assert merged.not_kept == 2 * report.not_kept


def _room(finding: Finding) -> tuple[str, str, str, str]:
    return finding.kind, finding.vendor, finding.operation, finding.direction


@pytest.mark.parametrize(("planted", "status"), [(None, 0), ("a status", 1)])
def test_the_command_ends_with_1_where_there_is_a_finding(
    archive: Archive, tmp_path: Path, planted: str | None, status: int
) -> None:
    if planted is not None:
        index, spoil, _ = _PLANTED[planted]
        archive = spoilt(archive, index, spoil)

    told = command("traffic", write(archive, tmp_path / "a.har"), "--json")

    assert told.exit_code == status, told.stderr
    assert len(json.loads(told.stdout)["findings"]) == status


def test_the_command_prints_tables(archive: Archive, tmp_path: Path) -> None:
    index, spoil, _ = _PLANTED["a field where the schema is open"]
    path = write(spoilt(archive, index, spoil), tmp_path / "a.har")

    told = command("traffic", path, "--vendor", "mage")

    assert told.exit_code == 1
    assert "undocumented field: request /body/colour" in told.stdout


@pytest.mark.parametrize("entries", [0, 2])
def test_the_command_ends_with_2_where_it_judged_nothing(archive: Archive, tmp_path: Path, entries: int) -> None:
    strangers = archive["log"]["entries"][:entries]
    for entry in strangers:
        entry["request"]["url"] = "https://shop.example.com/cart"

    told = command("traffic", write({"log": {"entries": strangers}}, tmp_path / "a.har"))

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"nothing was judged: {entries} exchanges" in told.stderr


@pytest.mark.parametrize("arguments", [("missing.har",), ("missing.har", "--vendor", "nobody")])
def test_the_command_ends_with_2_for_what_cannot_be_read(arguments: tuple[str, ...]) -> None:
    told = command("traffic", *arguments)

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1
