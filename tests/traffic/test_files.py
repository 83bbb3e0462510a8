"""Recordings as tools write them: what they leave out is not missed, and what cannot be read ends nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recorded import Archive, recorded, spoilt, write

from conftest import Gateway, command
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.traffic.commands import judge_files, read_exchanges
from loyalty_gateway.traffic.findings import Report
from loyalty_gateway.traffic.ndjson import ndjson_line
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.vendor import Vendor

Judging = Callable[[Archive], Report]

_MAGE = 1


@pytest.fixture
def archive(gateway: Gateway) -> Archive:
    return recorded(gateway)


@pytest.fixture
def judged(tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Judging:
    """What is found in an archive."""

    def judge(archive: Archive) -> Report:
        path = write(archive, tmp_path / "traffic.har")
        return judge_files([path], Traffic(whose_exchanges(vendors, contracts, None)))

    return judge


def _with_a_finding(archive: Archive) -> Archive:
    return spoilt(archive, _MAGE, lambda entry: entry["response"].update(status=418))


@pytest.mark.parametrize(
    "unknown",
    [
        {"bodySize": -1},
        {},
        {"bodySize": None},
        {"bodySize": 16, "postData": {"mimeType": "application/json", "text": None}},
        {"bodySize": -1, "postData": {"mimeType": "application/json", "text": ""}},
        {"bodySize": 16},
    ],
)
def test_a_body_whose_size_nobody_tells_is_not_missed(
    archive: Archive, judged: Judging, unknown: dict[str, Any]
) -> None:
    entry = archive["log"]["entries"][_MAGE]
    del entry["request"]["bodySize"], entry["request"]["postData"], entry["response"]["content"]
    entry["request"].update(unknown)

    report = judged(archive)

    assert report.findings == []


def test_a_body_that_is_known_to_be_empty_is_missed(archive: Archive, judged: Judging) -> None:
    request = archive["log"]["entries"][_MAGE]["request"]
    del request["postData"]
    request["bodySize"] = 0

    (finding,) = judged(archive).findings

    assert (finding.kind, finding.direction, finding.location) == ("violation", "request", "/body")
    assert finding.constraint == "required"


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("request", {"bodySize": None}),
        ("request", {"headers": None}),
        (
            "request",
            {"headers": [{"name": "content-type", "value": "application/json"}, {"name": "x", "value": None}]},
        ),
        ("response", {"headers": None}),
        ("response", {"status": 200.0}),
        ("response", {"content": {"size": None, "mimeType": "application/json"}}),
        ("response", {"content": None}),
    ],
)
def test_an_archive_may_have_null_for_what_its_tool_did_not_know(
    archive: Archive, judged: Judging, part: str, changed: dict[str, Any]
) -> None:
    archive["log"]["entries"][_MAGE][part].update(changed)

    report = judged(archive)

    assert (report.findings, report.unreadable) == ([], 0)
    assert report.exchanges == len(archive["log"]["entries"])


@pytest.mark.parametrize("kind", ["har", "ndjson"])
def test_an_entry_that_cannot_be_read_is_counted_and_ends_nothing(
    archive: Archive, tmp_path: Path, kind: str
) -> None:
    path = write(_with_a_finding(archive), tmp_path / "a.har")
    if kind == "har":
        whole = json.loads(path.read_text(encoding="utf-8"))
        whole["log"]["entries"].insert(0, {"request": 5})
        write(whole, path)
    else:
        lines = [*map(ndjson_line, read_exchanges(path))]
        path = tmp_path / "a.ndjson"
        path.write_bytes(b"".join((b"no JSON\n", *lines)))

    told, shown = command("traffic", path, "--json"), command("traffic", path)

    report = json.loads(told.stdout)
    assert (told.exit_code, len(report["findings"]), report["unreadable"]) == (1, 1, 1)
    assert "1 that could not be read" in shown.stdout


def test_a_file_of_which_nothing_can_be_read_is_told_with_its_first_place(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("a story\nof two lines\n", encoding="utf-8")

    told = command("traffic", path)

    assert (told.exit_code, told.stdout) == (2, "")
    assert f"{path} line 1: is no exchange" in told.stderr


def test_a_time_that_no_calendar_has_ends_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"method":"GET","url":"/mage/","time":1e300,"answer":{"status":200}}', encoding="utf-8")

    told = command("traffic", path)

    assert told.exit_code == 1
    assert "undocumented operation" in told.stdout


def test_requests_that_were_never_answered_are_passed_over(archive: Archive, judged: Judging) -> None:
    archive["log"]["entries"][0]["response"]["status"] = 0

    report = judged(archive)

    assert report.exchanges == len(archive["log"]["entries"]) - 1


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.har", b"", "is empty"),
        ("a.har", b"{", "is no HTTP Archive"),
        ("a.har", b'{"log":{"entries":[{"request":{}}]}}', r"entries\[0\]: is no entry"),
        (
            "a.har",
            b'{"log":{"entries":[{"request":{"method":"GET","url":"/"},"response":%s}]}}'
            % b'{"status":200,"content":{"text":"%","encoding":"base64","size":1}}',
            "base64 is broken",
        ),
        (
            "a.ndjson",
            b'{"method":"GET","url":"/mage/","answer":{"status":200}}\nno JSON\n',
            "line 2: is no exchange",
        ),
        ("a.ndjson", b"\xff\xfe\n", "line 1: is no exchange"),
        ("missing.har", None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_place(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=told):
        [*read_exchanges(path)]


def test_an_archive_may_begin_with_a_byte_order_mark(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "a.har"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(archive).encode())

    exchanges = [*read_exchanges(path)]

    assert len(exchanges) == len(archive["log"]["entries"])


def test_a_finding_names_the_place_of_its_example(archive: Archive, tmp_path: Path) -> None:
    lines = (
        '{"method":"GET","url":"/mage/v1/customers/1","answer":{"status":418,"body":null}}\n',
        '{"method":"GET","url":"/salla/admin/v2/wishes","answer":{"status":404}}\n',
    )
    har, ndjson = write(_with_a_finding(archive), tmp_path / "a.har"), tmp_path / "b.ndjson"
    ndjson.write_text("\n" + "".join(lines), encoding="utf-8")

    told, shown = command("traffic", har, ndjson, "--json"), command("traffic", har, ndjson)

    entry = len(archive["log"]["entries"])
    places = [f"{har} log.entries[{entry}]", f"{ndjson} line 2", f"{ndjson} line 3"]
    assert sorted(found["example"]["where"] for found in json.loads(told.stdout)["findings"]) == places
    assert [place for place in places if f"({place})" not in shown.stdout] == []


def test_a_file_of_which_a_part_cannot_be_read_is_not_in_order(tmp_path: Path) -> None:
    file = tmp_path / "shop.ndjson"
    good = '{"url": "/mage/v1/customers/1", "method": "GET", "answer": {"status": 404, "body": null}}'
    file.write_text(f"{good}\nno exchange\n", encoding="utf-8")

    told = command("traffic", file, "--json")

    report = json.loads(told.stdout)
    assert (told.exit_code, report["findings"], report["unreadable"]) == (1, [], 1)
