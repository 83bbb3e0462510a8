"""Nothing that somebody sent is printed or kept: secrets are planted in every field."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded import Archive, Entry, change_answer, change_request, recorded, write

from conftest import Gateway
from loyalty_gateway.spec import Contract
from loyalty_gateway.traffic.commands import read_exchanges
from loyalty_gateway.traffic.exchange import Exchange, Message
from loyalty_gateway.traffic.har import write_har
from loyalty_gateway.traffic.masking import masked_text
from loyalty_gateway.traffic.ndjson import ndjson_line
from loyalty_gateway.traffic.telling import render_json, render_report
from loyalty_gateway.traffic.traffic import Traffic, Whose, whose_exchanges
from loyalty_gateway.vendor import Vendor

_SECRET = "Qz7-hunter2"


@pytest.fixture
def whose(vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> dict[str, Whose]:
    return whose_exchanges(vendors, contracts, None)


def _planted(value: Any) -> Any:
    """The value with a secret in place of every text, and as another field and its name in every object."""
    match value:
        case dict():
            return {name: _planted(child) for name, child in value.items()} | {_SECRET: _SECRET, "extra": _SECRET}
        case list():
            return [_planted(child) for child in value]
        case str():
            return _SECRET
        case _:
            return value


def _everywhere(entry: Entry) -> Iterator[Entry]:
    """The entry with secrets in one of its parts after the other, and in all of them."""
    whole = copy.deepcopy(entry)
    for spoil in (_in_path, _in_query, _in_headers, _in_method, _in_request, _in_answer, _in_text):
        one = copy.deepcopy(entry)
        for spoilt in (one, whole):
            spoil(spoilt)
        yield one
    yield whole


def _in_path(entry: Entry) -> None:
    url, question, query = entry["request"]["url"].partition("?")
    parts = url.split("/")
    entry["request"]["url"] = "/".join([*parts[:5], _SECRET, *parts[5:], _SECRET]) + question + query


def _in_query(entry: Entry) -> None:
    url, _, query = entry["request"]["url"].partition("?")
    fields = [f"{pair.partition('=')[0]}={_SECRET}" for pair in query.split("&") if pair]
    names = ("api_key", "token", "page", _SECRET)
    entry["request"]["url"] = f"{url}?{'&'.join([*fields, *(f'{name}={_SECRET}' for name in names)])}"


def _in_headers(entry: Entry) -> None:
    for message in (entry["request"], entry["response"]):
        for header in message["headers"]:
            if header["name"].lower() != "content-type":
                header["value"] = _SECRET
        for name in ("cookie", "x-token", _SECRET, "retry-after", "x-ratelimit-limit"):
            message["headers"].append({"name": name, "value": _SECRET})


def _in_method(entry: Entry) -> None:
    entry["request"]["method"] = _SECRET


def _in_request(entry: Entry) -> None:
    if "postData" in entry["request"]:
        change_request(entry, lambda body: body.update(_planted(body)))


def _in_answer(entry: Entry) -> None:
    if entry["response"]["content"]["size"]:
        change_answer(entry, lambda body: body.update(_planted(body)))


def _in_text(entry: Entry) -> None:
    entry["response"]["content"] = {"size": 9, "mimeType": "text/html", "text": f"<b>{_SECRET}</b>"}
    if "postData" in entry["request"]:
        entry["request"]["postData"] = {"mimeType": "text/plain", "text": f"{{{_SECRET}"}


def test_secrets_planted_in_every_field_are_never_printed_or_kept(
    gateway: Gateway, tmp_path: Path, whose: dict[str, Whose]
) -> None:
    archive = recorded(gateway)
    planted = [one for entry in archive["log"]["entries"] for one in _everywhere(entry)]
    traffic = Traffic(whose)
    kept = []
    for exchange in read_exchanges(write({"log": {"entries": planted}}, tmp_path / "a.har")):
        seen = traffic.add(exchange)
        assert seen is not None
        kept.append(seen.whose.redactor.redacted(exchange, seen.path, seen.judged))

    told = _all_that_is_told(traffic, kept, tmp_path)

    assert len(kept) == len(planted)
    assert traffic.report().findings
    found = re.findall(".{0,60}(?:hunter2|Qz7).{0,30}", told, re.IGNORECASE)
    assert found == []


def _all_that_is_told(traffic: Traffic, kept: list[Exchange], folder: Path) -> str:
    with (folder / "told").open("w", encoding="utf-8") as out:
        render_report(traffic.report(), out)
        render_json(traffic.report(), out)
    with (folder / "told").open("ab") as out:
        out.writelines(map(ndjson_line, kept))
        write_har(kept, out)
    return (folder / "told").read_text(encoding="utf-8")


def test_credentials_of_real_traffic_are_not_kept(
    gateway: Gateway, tmp_path: Path, whose: dict[str, Whose]
) -> None:
    traffic = Traffic(whose)
    kept = []
    for exchange in read_exchanges(write(recorded(gateway), tmp_path / "a.har")):
        seen = traffic.add(exchange)
        assert seen is not None
        kept.append(seen.whose.redactor.redacted(exchange, seen.path, seen.judged))

    told = _all_that_is_told(traffic, kept, tmp_path)

    assert not re.search(r"bbb_test|mage_demo|demo-|pat_demo|jane|6789012345|748394059", told, re.IGNORECASE)


def test_what_is_kept_shows_what_it_showed(gateway: Gateway, tmp_path: Path, whose: dict[str, Whose]) -> None:
    archive: Archive = recorded(gateway)
    for entry in archive["log"]["entries"]:
        if "postData" in entry["request"]:
            change_request(entry, lambda body: body.update(colour="blue", points="many"))
    before, after = Traffic(whose), Traffic(whose)
    for exchange in read_exchanges(write(archive, tmp_path / "a.har")):
        seen = before.add(exchange)
        assert seen is not None
        after.add(seen.whose.redactor.redacted(exchange, seen.path, seen.judged))

    shown = [[(found.fingerprint, found.count) for found in one.report().findings] for one in (before, after)]

    assert shown[0]
    assert shown[0] == shown[1]


def test_a_credential_quoted_by_the_name_of_a_field_is_not_told(whose: dict[str, Whose]) -> None:
    traffic = Traffic(whose)
    body = json.dumps({"adjustment": 1, "hunter": 1}).encode()
    headers = (("authorization", "hunter"), ("content-type", "application/json"))

    traffic.add(
        Exchange(
            method="POST",
            url="/mage/v1/customers/1/points",
            request=Message(headers=headers, body=body),
            status=401,
            answer=Message(body=None),
        )
    )

    assert [finding.location for finding in traffic.report().findings] == ["/body/*"]


def test_a_path_that_nobody_documents_tells_only_the_steps_of_documents(
    whose: dict[str, Whose], tmp_path: Path
) -> None:
    traffic = Traffic(whose)
    kept = []
    for path in ("/v1/customers/janedoe/hunter", "/hunter/janedoe", "/v1/janedoe/hunter/points", "/v1/hunter"):
        for vendor in whose:
            exchange = Exchange(
                method="GET", url=f"/{vendor}{path}", request=Message(), status=404, answer=Message()
            )
            seen = traffic.add(exchange)
            assert seen is not None
            kept.append(seen.whose.redactor.redacted(exchange, seen.path, seen.judged))

    told = _all_that_is_told(traffic, kept, tmp_path)

    assert {finding.kind for finding in traffic.report().findings} >= {"undocumented operation"}
    assert re.findall(".{0,60}(?:hunter|janedoe).{0,30}", told, re.IGNORECASE) == []


def test_a_scanner_of_many_paths_makes_few_findings(whose: dict[str, Whose]) -> None:
    traffic = Traffic(whose)

    for first in "abcdefghij":
        for second in "klmnopqrst":
            url = f"/mage/{first}/{second}"
            traffic.add(Exchange(method="GET", url=url, request=Message(), status=404, answer=Message()))

    assert [(one.location, one.count) for one in traffic.report().findings] == [("GET /*/*", 100)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Jane@Example.com", "Aaaa@Aaaaaaa.aaa"),
        ("1f2e-9", "0a0a-0"),
        ("1987-05-04", "2000-01-01"),
        ("1987-05-04T12:30:01.123Z", "2000-01-01T00:00:00.000Z"),
        ("نقاط", "aaaa"),
        ("-42", "-42"),
        ("12345", "10000"),
        ("-987654", "-100000"),
        ("0012345", "0000000"),
        ("true", "true"),
        ("plus", "plus"),
        ("+49 171 5550100", "+00 000 0000000"),
    ],
)
def test_a_text_keeps_its_form_only(text: str, kept: str) -> None:
    masked = masked_text(text, {"plus"})

    assert masked == kept


@pytest.mark.parametrize(
    "query",
    [
        "/loyaltylion/v2/transactions?customer_id=12345",
        "/salla/admin/v2/customers?page=20000",
        "/salla/admin/v2/customers?per_page=99999999999999999999",
        "/loyaltylion/v2/customers?limit=-70000",
    ],
)
def test_a_large_number_in_a_query_keeps_and_breaks_what_it_did(whose: dict[str, Whose], query: str) -> None:
    before, after = Traffic(whose), Traffic(whose)
    exchange = Exchange(method="GET", url=query, request=Message(), status=200, answer=Message(body=None))

    seen = before.add(exchange)
    assert seen is not None
    after.add(seen.whose.redactor.redacted(exchange, seen.path, seen.judged))

    shown = [[(found.location, found.constraint) for found in one.report().findings] for one in (before, after)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("media_type", "body", "kept"),
    [("text/html", b"<h1>Jane</h1>", b"<a0>Aaaa</a0>"), ("application/json", b'{"a":"Jane"}', b'{"a":"Aaaa"}')],
)
def test_bodies_of_an_operation_that_nobody_documents_are_kept_redacted(
    whose: dict[str, Whose], media_type: str, body: bytes, kept: bytes
) -> None:
    message = Message(headers=(("content-type", media_type),), body=body)
    exchange = Exchange(method="POST", url="/yotpo/wishes", request=message, status=404, answer=message)
    seen = Traffic(whose).add(exchange)
    assert seen is not None

    redacted = seen.whose.redactor.redacted(exchange, seen.path, seen.judged)

    assert (redacted.request.body, redacted.answer.body) == (kept, kept)
