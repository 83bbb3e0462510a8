"""What those who run the gateway see of it: liveness, readiness, metrics, and a line for each request."""

import asyncio
import io
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from conftest import Gateway, StartGateway, demo_config
from loyalty_gateway.app import create_app
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal, Line
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Answer, Vendor
from stores import SqliteFile
from test_bad_input import CASES, Case, every

_MAGE = next(case for case in CASES if case.vendor == "mage")


@pytest.fixture
def funded(gateway: Gateway) -> Gateway:
    gateway.set_available("shopify:6789012345", 1_000)
    return gateway


def _samples(gateway: Gateway, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric by its labels' values."""
    return {
        tuple(
            sample.labels[label] for label in ("vendor", "operation", "status", "code") if label in sample.labels
        ): sample.value
        for family in text_string_to_metric_families(gateway.metrics())
        for sample in family.samples
        if sample.name == name
    }


def _lines(gateway: Gateway) -> list[dict[str, Any]]:
    """All request lines; ends the gateway, which writes what it still holds."""
    gateway.client.__exit__()
    return gateway.lines()


def test_a_gateway_is_live_and_ready(gateway: Gateway) -> None:
    live, ready = gateway.client.get("/-/live"), gateway.client.get("/-/ready")

    assert (live.status_code, live.json()) == (200, {"live": True})
    assert (ready.status_code, ready.json()) == (200, {"ready": True})


def test_a_gateway_whose_ledger_fails_is_live_and_not_ready_until_it_is_back(gateway: Gateway) -> None:
    db = sqlite3.connect(gateway.ledger)
    db.execute("ALTER TABLE wallets RENAME TO elsewhere")

    failing = [gateway.client.get(path) for path in ("/-/live", "/-/ready")]
    db.execute("ALTER TABLE elsewhere RENAME TO wallets")
    db.close()

    assert [answer.status_code for answer in failing] == [200, 503]
    assert failing[1].json() == {"ready": False}
    assert gateway.client.get("/-/ready").status_code == 200


@pytest.mark.parametrize("path", ["/-/live", "/-/ready", "/-/metrics"])
def test_our_own_paths_answer_reading_methods_only(gateway: Gateway, path: str) -> None:
    statuses = [gateway.client.request(method, path).status_code for method in ("GET", "HEAD", "POST", "DELETE")]

    assert statuses == [200, 200, 404, 404]


@pytest.mark.parametrize("path", ["/-/", "/-/nothing", "/-/live/", "/-/metrics/x", "/-"])
def test_an_unknown_path_of_ours_is_not_found(gateway: Gateway, path: str) -> None:
    assert gateway.client.get(path).status_code == 404


@every()
def test_requests_are_counted_by_vendor_operation_status_and_code(funded: Gateway, case: Case) -> None:
    case.send(funded)
    case.send(funded)
    unreadable = case.send(funded, b"{").status_code
    case.unauthenticated().send(funded)
    unknown = replace(case, path=case.path + "/more").send(funded).status_code

    assert _samples(funded, "loyalty_gateway_requests_total") == {
        (case.vendor, case.operation, str(case.success), "none"): 2,
        (case.vendor, case.operation, str(unreadable), "unreadable"): 1,
        (case.vendor, case.operation, "401", "missing_credentials"): 1,
        (case.vendor, "none", str(unknown), "unknown_path"): 1,
    }


def test_latency_is_counted_by_vendor_and_operation(funded: Gateway) -> None:
    for case in CASES:
        case.send(funded)

    counts = _samples(funded, "loyalty_gateway_request_seconds_count")
    sums = _samples(funded, "loyalty_gateway_request_seconds_sum")

    assert counts == {(case.vendor, case.operation): 1 for case in CASES}
    assert all(0 < seconds < 5 for seconds in sums.values())


def test_groups_are_counted_with_their_sizes(funded: Gateway) -> None:
    (before,) = _samples(funded, "loyalty_gateway_group_size_sum").values()
    for _ in range(3):
        _MAGE.send(funded)

    # The two customers of the configuration were enrolled in groups of their own.
    assert before == 2
    assert _samples(funded, "loyalty_gateway_group_size_count") == {(): 5}
    assert _samples(funded, "loyalty_gateway_group_size_sum") == {(): 5}
    assert _samples(funded, "loyalty_gateway_waiting_adjustments") == {(): 0}


def test_no_text_of_a_client_becomes_a_label(funded: Gateway) -> None:
    for word in ("aaaa", "bbbb"):
        replace(_MAGE, path=f"/mage/{word}").send(funded)
        funded.client.request(word.upper(), _MAGE.path)
        replace(_MAGE, path=f"/{word}/x").send(funded)

    assert not re.search("aaaa|bbbb", funded.metrics(), re.IGNORECASE)
    assert set(_samples(funded, "loyalty_gateway_requests_total")) == {
        ("mage", "none", "404", "unknown_path"),
        ("mage", "none", "405", "wrong_method"),
        ("none", "none", "404", "unknown_path"),
        ("none", "none", "200", "none"),
    }


@every()
def test_each_request_is_one_line_with_what_it_came_to(funded: Gateway, case: Case) -> None:
    case.send(funded, **{"idempotency-key": "a"})
    case.send(funded, **{"idempotency-key": "a"})
    refused = case.send(funded, b"{").status_code

    lines = _lines(funded)

    times = [(line.pop("time"), line.pop("milliseconds")) for line in lines]
    assert times == sorted(times, key=lambda pair: pair[0])
    assert all(milliseconds > 0 for _, milliseconds in times)
    placeholders = re.sub("6789012345|cust_abc123|demo-app-key", "{}", case.path.removeprefix(f"/{case.vendor}"))
    for line in lines:
        assert re.sub(r"\{\w+\}", "{}", line.pop("path")) == placeholders
        assert re.fullmatch(rf"vendors\.{case.vendor}\.credentials\[\d\]", line.pop("caller"))
    common = {"vendor": case.vendor, "operation": case.operation, "method": "POST", "merchant": "demo"}
    assert lines == [
        {**common, "status": case.success},
        {**common, "status": case.success, "replayed": True},
        {**common, "status": refused, "code": "unreadable"},
    ]


@every()
def test_no_secret_and_nothing_sent_stands_in_a_line_a_metric_or_a_refusal(funded: Gateway, case: Case) -> None:
    marks = {
        "authorization": "Bearer hush-header",
        "x-api-key": "hush-key",
        "x-guid": "hush-guid",
        "cookie": "hush",
    }
    spoilt = [
        case.send(funded),
        replace(case, **case.wrong).send(funded),
        replace(case, headers=marks, query="access_token=hush-token&api_key=hush-query&guid=hush-guid").send(
            funded
        ),
        case.send(funded, b'{"hush-field": "hush-value"}'),
        case.with_body(**{case.amount: "hush-amount", case.text: ["hush-text"]}).send(funded),
        case.send(funded, **{"content-type": "hush/type", "idempotency-key": "hush-idempotency"}),
        replace(case, path=f"{case.path}/hush-path").send(funded),
        funded.client.request("HUSH", case.url, headers=marks),
        case.send(funded, **{"idempotency-key": "hush" * 100}),
    ]
    told = funded.metrics() + json.dumps(_lines(funded)) + "".join(str(answer.headers) for answer in spoilt)
    own = [*case.headers.values(), case.query.partition("=")[2], "demo-app-key"]

    assert "hush" not in told.lower()
    assert not [secret for secret in own if secret and secret in told + "".join(answer.text for answer in spoilt)]
    # The name of an unknown field is what its refusal is about; no value ever is.
    assert not re.search("hush-(?!field)", "".join(answer.text for answer in spoilt))


@pytest.fixture
def defective(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> Iterator[dict[str, Gateway]]:
    """Gateways of vendors that move points and then answer what their specs do not know."""
    with ExitStack() as stack:
        gateways = {}
        for what, answer in {
            "body": Answer(200, {"data": {"type": "points_adjustment", "id": 5}}),
            "status": Answer(299, {"data": "hush-value"}),
            "nothing": Answer(200),
        }.items():
            mage = vendors["mage"]
            adjusting, *others = mage.operations
            wrong = msgspec.structs.replace(adjusting, render_response=lambda *_, answer=answer: answer)
            served = {"mage": msgspec.structs.replace(mage, operations=(wrong, *others))}
            path = tmp_path / f"{what}.db"
            raw = demo_config(ledger=f"sqlite:///{path}")
            raw["vendors"] = {"mage": raw["vendors"]["mage"]}
            log = io.BytesIO()
            app = create_app(parse_config(raw, served, {}), served, journal=Journal(log), contracts=contracts)
            gateways[what] = Gateway(client=stack.enter_context(TestClient(app)), store=SqliteFile(path), log=log)
        yield gateways


@pytest.mark.parametrize(
    ("what", "status", "content", "defects"),
    [
        (
            "body",
            200,
            b'{"data":{"type":"points_adjustment","id":5}}',
            ["/data/attributes required", "/data/id type"],
        ),
        ("status", 299, b'{"data":"hush-value"}', ["/ status 299 is not declared"]),
        ("nothing", 200, b"", ["/ a declared body is missing"]),
    ],
)
def test_an_answer_that_breaks_the_spec_is_sent_counted_and_told(
    defective: dict[str, Gateway], what: str, status: int, content: bytes, defects: list[str]
) -> None:
    gateway = defective[what]

    answer = _MAGE.send(gateway)

    assert (answer.status_code, answer.content) == (status, content)
    assert gateway.wallet("shopify:6789012345")["available"] == 5
    assert _samples(gateway, "loyalty_gateway_answer_defects_total") == {("mage", "adjustPoints"): 1}
    line, _ = _lines(gateway)
    assert (line["status"], sorted(line["defects"])) == (status, defects)
    assert b"hush" not in gateway.log.getvalue()


@every()
def test_answers_that_keep_the_spec_count_no_defect(funded: Gateway, case: Case) -> None:
    case.send(funded)
    case.send(funded, b"{")
    case.unauthenticated().send(funded)

    assert _samples(funded, "loyalty_gateway_answer_defects_total") == {}
    assert not [line for line in _lines(funded) if "defects" in line]


class _Heard(io.BytesIO):
    """A stream that tells when something arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = threading.Event()

    def flush(self) -> None:
        super().flush()
        self.arrived.set()


def _logging_to(
    stream: io.BytesIO, vendors: dict[str, Vendor], contracts: dict[str, Contract], folder: Path
) -> TestClient:
    config = parse_config(demo_config(ledger=f"sqlite:///{folder / 'x.db'}"), vendors, {})
    return TestClient(create_app(config, vendors, journal=Journal(stream), contracts=contracts))


def test_a_line_is_written_soon_without_any_further_request(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path
) -> None:
    stream = _Heard()

    with _logging_to(stream, vendors, contracts, tmp_path) as client:
        client.get("/mage/v1")

        assert stream.arrived.wait(5)
        assert json.loads(stream.getvalue())["code"] == "unknown_path"


class _Full(io.BytesIO):
    """A stream on a full disk."""

    def write(self, _: Any) -> int:
        raise OSError(28, "No space left on device")


def test_requests_go_on_where_no_line_can_be_written(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path
) -> None:
    with _logging_to(_Full(), vendors, contracts, tmp_path) as client:
        # More than are collected before they are written at once.
        statuses = [client.get("/mage/v1").status_code for _ in range(600)]

    assert set(statuses) == {404}


_SHOP = "https://shop.example.com"


def _told(line: dict[str, Any]) -> dict[str, Any]:
    """A line without its times."""
    return {name: value for name, value in line.items() if name not in {"time", "milliseconds"}}


@pytest.mark.parametrize(
    "path", ["/hush", "/", "/-/hush", "/-/live/hush", "/hush/v1/customers/1/points?hush=hush"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HUSH"])
def test_a_request_to_nobody_is_one_line_without_its_path(gateway: Gateway, method: str, path: str) -> None:
    gateway.client.request(method, path, headers={"authorization": "hush"})

    assert _samples(gateway, "loyalty_gateway_requests_total") == {("none", "none", "404", "unknown_path"): 1}
    line, _ = _lines(gateway)
    assert _told(line) == {"status": 404, "code": "unknown_path"}
    assert b"hush" not in gateway.log.getvalue().lower()


def test_requests_to_our_own_paths_are_told_and_counted_under_no_vendor(gateway: Gateway) -> None:
    gateway.client.get("/-/live?hush")
    gateway.client.head("/-/ready")
    gateway.client.delete("/-/live")
    gateway.metrics()

    counts = _samples(gateway, "loyalty_gateway_requests_total")
    lines = _lines(gateway)
    assert counts == {("none", "none", "200", "none"): 3, ("none", "none", "404", "unknown_path"): 1}
    assert [_told(line) for line in lines[:4]] == [
        {"method": "GET", "path": "/-/live", "status": 200},
        {"method": "HEAD", "path": "/-/ready", "status": 200},
        {"status": 404, "code": "unknown_path"},
        {"method": "GET", "path": "/-/metrics", "status": 200},
    ]


def test_a_gateway_that_is_not_ready_says_so_in_its_line(gateway: Gateway) -> None:
    db = sqlite3.connect(gateway.ledger)
    db.execute("ALTER TABLE wallets RENAME TO elsewhere")
    db.close()

    gateway.client.get("/-/ready")

    (line,) = _lines(gateway)
    assert _told(line) == {"method": "GET", "path": "/-/ready", "status": 503, "code": "unavailable"}


@pytest.mark.parametrize(("origin", "status"), [(_SHOP, 200), ("https://hush.example.com", 400)])
def test_a_preflight_is_told_and_counted_under_no_vendor(
    start_gateway: StartGateway, origin: str, status: int
) -> None:
    config = demo_config()
    config["vendors"]["mage"]["cors_origins"] = [_SHOP]
    gateway = start_gateway(config)

    gateway.client.options("/mage/hush", headers={"origin": origin, "access-control-request-method": "POST"})

    assert _samples(gateway, "loyalty_gateway_requests_total") == {("none", "none", str(status), "none"): 1}
    line, _ = _lines(gateway)
    assert _told(line) == {"method": "OPTIONS", "status": status}
    assert b"hush" not in gateway.log.getvalue()


class _Stalled(io.BytesIO):
    """A stream whose reader takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.reads = threading.Event()

    def write(self, content: Any) -> int:
        self.asked.set()
        assert self.reads.wait(30)
        return super().write(content)


def _line(number: int) -> Line:
    return Line(time=number, status=200, milliseconds=0)


def test_a_reader_that_stalls_costs_lines_which_are_counted_and_no_time() -> None:
    stream, dropped = _Stalled(), list[int]()

    async def write(count: int) -> Journal:
        journal = Journal(stream)
        journal.on_dropped = dropped.append
        for number in range(count):
            journal.write(_line(number))
            if number == 511:
                assert stream.asked.wait(5)
        return journal

    begun = time.monotonic()
    # One batch is being written, and so many wait; what comes then is dropped.
    journal = asyncio.run(write(300 * 512))
    stalled = time.monotonic() - begun
    journal.close()
    closed = time.monotonic() - begun - stalled
    stream.reads.set()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "journal"]
    thread.join(5)

    numbers = [json.loads(line)["time"] for line in stream.getvalue().splitlines()]
    assert stalled < 5
    assert 0.9 < closed < 3
    assert sum(dropped) == 300 * 512 - len(numbers)
    assert numbers == list(range(257 * 512))


def _lines_dropped(client: TestClient) -> float:
    (count,) = re.findall(
        r"(?m)^loyalty_gateway_journal_lines_dropped_total (\S+)$", client.get("/-/metrics").text
    )
    return float(count)


def test_lines_that_are_dropped_are_counted(
    vendors: dict[str, Vendor], contracts: dict[str, Contract], tmp_path: Path
) -> None:
    with _logging_to(_Full(), vendors, contracts, tmp_path) as client:
        for _ in range(600):
            client.get("/mage/v1")
        # The thread that writes needs a moment.
        deadline = time.monotonic() + 10
        while (dropped := _lines_dropped(client)) < 600 and time.monotonic() < deadline:
            time.sleep(0.01)

    assert dropped >= 600


def test_a_stream_that_takes_a_part_at_a_time_or_nothing_yet_gets_every_line_whole() -> None:
    class Slow(io.BytesIO):
        turn = 0

        def write(self, content: Any) -> int:
            self.turn += 1
            return None if self.turn % 3 == 0 else super().write(bytes(content[:7]))  # type: ignore[return-value]

    stream = Slow()

    async def write() -> None:
        journal = Journal(stream)
        for number in range(5):
            journal.write(_line(number))
        journal.close()

    asyncio.run(write())

    assert [json.loads(line)["time"] for line in stream.getvalue().splitlines()] == list(range(5))
