"""What passes through the gateway is judged behind the requests, and kept within limits."""

import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from recorded import MAGE, READS, SALLA

from conftest import Gateway, StartGateway, command, demo_config, serving
from dialects import DIALECTS
from loyalty_gateway.config import parse_config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract
from loyalty_gateway.traffic.commands import judge_files, write_archive
from loyalty_gateway.traffic.exchange import Exchange, Message
from loyalty_gateway.traffic.findings import Report, Snapshot
from loyalty_gateway.traffic.recorder import Passed, Recorder
from loyalty_gateway.traffic.recordings import Recordings, kept_exchanges, kept_findings
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.upstream.connections import Received
from loyalty_gateway.vendor import Vendor

_TOKEN = "a-token-for-admins"
_ADMIN = {"authorization": f"Bearer {_TOKEN}"}
_DEFECTS = "/-/admin/defects"
_POINTS = "/mage/v1/customers/6789012345/points"


def _config(**recording: Any) -> dict[str, Any]:
    return demo_config(admin={"token": _TOKEN}, recording=recording)


def _report(gateway: Gateway) -> Any:
    answer = gateway.client.get(_DEFECTS, headers=_ADMIN)
    assert answer.status_code == 200
    return answer.json()


def _shown(report: Any) -> list[tuple[str, ...]]:
    return [
        (found["kind"], found["vendor"], found["operation"], found["direction"], found["location"])
        for found in report["findings"]
    ]


def test_what_clients_do_beside_the_document_is_told(start_gateway: StartGateway) -> None:
    gateway = start_gateway(_config())
    gateway.post(_POINTS, {"adjustment": 5, "colour": "blue"}, MAGE)
    gateway.post(_POINTS, {"adjustment": "many"}, MAGE)
    gateway.client.get("/salla/admin/v2/wishes", headers=SALLA)

    report = _report(gateway)

    assert sorted(_shown(report)) == [
        ("undocumented field", "mage", "adjustPoints", "request", "/body/colour"),
        ("undocumented operation", "salla", "-", "request", "GET /admin/v2/*"),
        ("violation", "mage", "adjustPoints", "request", "/body/adjustment"),
    ]
    assert report["exchanges"] == 3


def test_traffic_by_the_document_shows_nothing_and_is_covered(start_gateway: StartGateway) -> None:
    gateway = start_gateway(_config())
    for dialect in DIALECTS:
        gateway.post(dialect.path, dialect.body(5, "a gift"), dialect.headers)
    for path, headers in READS:
        gateway.client.get(path, headers=headers)

    report = _report(gateway)

    assert report["findings"] == []
    assert report["exchanges"] == len(DIALECTS) + len(READS)
    assert {told["operation"]: told["seen"] for told in report["coverage"]}["getLoyaltyWallet"] == {"200": 1}


@pytest.mark.parametrize(
    ("admin", "headers", "status"),
    [
        ({}, _ADMIN, 404),
        ({"token": _TOKEN}, {}, 401),
        ({"token": _TOKEN}, {"authorization": "Bearer another"}, 401),
        ({"token": _TOKEN}, {"authorization": f"Basic {_TOKEN}"}, 401),
        ({"token": _TOKEN}, _ADMIN, 200),
    ],
)
def test_findings_are_told_to_whoever_has_the_token(
    start_gateway: StartGateway, admin: dict[str, str], headers: dict[str, str], status: int
) -> None:
    gateway = start_gateway(demo_config(admin=admin))

    answer = gateway.client.get(_DEFECTS, headers=headers)

    assert answer.status_code == status
    assert gateway.client.post(_DEFECTS, headers=headers).status_code == 404


def test_without_recording_there_is_nothing_to_tell(start_gateway: StartGateway) -> None:
    gateway = start_gateway(_config(findings=False))

    answer = gateway.client.get(_DEFECTS, headers=_ADMIN)

    assert answer.status_code == 404


@pytest.fixture
def recorder(vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Iterator[tuple[Recorder, list[int]]]:
    """A recorder that judges nothing yet, and the exchanges that it dropped."""
    dropped: list[int] = []
    traffic = Traffic(whose_exchanges(vendors, contracts, None))
    recorder = Recorder(traffic, None, keeps_exchanges=False, on_not_judged=lambda: dropped.append(1))
    yield recorder, dropped
    recorder.close()


def _passed(body: bytes = b'{"adjustment":1,"colour":2}') -> Passed:
    headers = [(b"content-type", b"application/json"), (b"authorization", b"a-key")]
    sent = Received(404, [(b"content-type", b"application/json")], b"{}")
    return Passed("mage", "POST", "/v1/customers/1/points", b"", headers, body, sent, 0.001)


def test_what_does_not_fit_the_queue_is_dropped_and_counted(recorder: tuple[Recorder, list[int]]) -> None:
    recording, dropped = recorder

    for _ in range(1_500):
        recording.take(_passed())

    recording.start()
    report = _when_all_are_judged(recording, 1_000)
    assert report.exchanges + report.not_judged == 1_500
    assert report.not_judged == len(dropped) == 500


def _when_all_are_judged(recording: Recorder, count: int) -> Report:
    until = time.monotonic() + 60
    while (report := recording.report()).exchanges < count and time.monotonic() < until:
        pass
    return report


def test_large_bodies_fill_the_queue_by_their_size(recorder: tuple[Recorder, list[int]]) -> None:
    recording, dropped = recorder

    for _ in range(10):
        recording.take(_passed(b"x" * 1_000_000))

    assert len(dropped) == 3


@pytest.mark.parametrize("part", ["path", "query", "headers", "answer's headers"])
def test_all_that_waits_fills_the_queue_by_its_size(recorder: tuple[Recorder, list[int]], part: str) -> None:
    recording, dropped = recorder
    long = [(b"x-long", b"x" * 1_000_000)]
    passed = {
        "path": _passed()._replace(path="/" + "x" * 1_000_000),
        "query": _passed()._replace(query=b"x" * 1_000_000),
        "headers": _passed()._replace(headers=long),
        "answer's headers": _passed()._replace(sent=Received(404, long, b"{}")),
    }[part]

    for _ in range(10):
        recording.take(passed)

    assert len(dropped) == 3


def test_what_was_judged_makes_room_again(recorder: tuple[Recorder, list[int]]) -> None:
    recording, dropped = recorder
    large = _passed()._replace(query=b"x" * 5_000_000)
    recording.start()

    for count in (1, 2):
        recording.take(large)
        _when_all_are_judged(recording, count)

    assert dropped == []


def test_requests_go_on_while_an_exchange_is_judged(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def judge(*_: object) -> None:
        begun.set()
        may_end.wait(60)

    monkeypatch.setattr(Traffic, "add", judge)
    gateway = start_gateway(_config())

    statuses = [gateway.post(_POINTS, {"adjustment": 1}, MAGE).status_code]
    began = begun.wait(60)
    statuses += [gateway.post(_POINTS, {"adjustment": 1}, MAGE).status_code for _ in range(3)]
    was_free = may_end.is_set()
    may_end.set()

    assert (began, was_free) == (True, False)
    assert statuses == [200] * 4


def test_an_exchange_that_cannot_be_judged_ends_nothing(recorder: tuple[Recorder, list[int]]) -> None:
    recording, _ = recorder
    broken: Any = "no bytes"
    recording.take(_passed()._replace(headers=[(broken, b"")]))
    recording.take(_passed())

    recording.start()

    assert recording.report().exchanges == 1


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/mage/v1/customers/1/points", "POST /*/v1/customers/*/points"),
        ("//x/v1/customers/1/points", "POST //*/v1/customers/*/points"),
        ("//v1/customers/1/points", "POST //v1/customers/*/points"),
        ("//[v1", "POST //*"),
        ("/v1/customers/1/points#x", "POST /v1/customers/*/*"),
    ],
)
def test_a_path_that_the_gateway_saw_is_taken_as_it_is(
    recorder: tuple[Recorder, list[int]], path: str, location: str
) -> None:
    recording, _ = recorder
    recording.take(_passed()._replace(path=path))

    recording.start()

    report = recording.report()
    assert [(found.kind, found.location) for found in report.findings] == [("undocumented operation", location)]
    assert report.others == 0


def test_findings_outlive_the_process_in_the_folder(start_gateway: StartGateway, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    for _ in range(2):
        gateway = start_gateway(_config(folder=str(folder)))
        gateway.post(_POINTS, {"adjustment": 5, "colour": "blue"}, MAGE)
        gateway.client.__exit__()

    findings = kept_findings(folder).report({}).findings

    assert [(found.location, found.count) for found in findings] == [("/body/colour", 2)]
    assert [*kept_exchanges(folder, _raise)] == []


def _raise(error: Exception) -> None:
    raise error


def _kept(body: bytes = b"", time: float = 0) -> Exchange:
    message = Message(body=body)
    return Exchange(time=time, method="GET", url="/", request=message, status=200, answer=message)


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_line_that_was_never_ended_is_left_out_of_the_archive_and_counted(tmp_path: Path) -> None:
    folder, archive = tmp_path / "recordings", tmp_path / "kept.har"
    for _ in range(2):
        recordings = Recordings(folder, 1_000_000)
        recordings.open()
        recordings.keep(_kept())
        recordings.keep(_kept())
        recordings.close()
    first = min(folder.iterdir())
    first.write_bytes(first.read_bytes()[:-20])

    told = command("defects", "--folder", folder, "--har", archive)

    assert told.stdout == f"3 exchanges written to {archive}; 1 line could not be read\n", told.stderr
    assert len(json.loads(archive.read_text(encoding="utf-8"))["log"]["entries"]) == 3


def test_an_archive_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    archive = tmp_path / "kept.har"
    archive.write_text("earlier", encoding="utf-8")
    monkeypatch.setattr("loyalty_gateway.traffic.commands.write_har", fails)

    with pytest.raises(ConfigurationError, match="No space left"):
        write_archive(tmp_path, archive)

    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [
        ("kept.har", "earlier")
    ]


def test_several_gateways_share_one_folder_and_its_size(tmp_path: Path) -> None:
    seen = {"mage": {f"operation{number}": {"200": 1} for number in range(400)}}
    gateways = [Recordings(tmp_path, 80_000) for _ in range(3)]
    for number, gateway in enumerate(gateways):
        gateway._run += str(number)  # noqa: SLF001 - each is a process of its own
        gateway.open()

    for time_of_it in range(300):
        for gateway in gateways:
            gateway.keep(_kept(b"x" * 200, time_of_it))
    for gateway in gateways:
        gateway.save(Snapshot(exchanges=1, seen=seen))
        gateway.close()

    assert _size_of(tmp_path) <= 80_000
    assert kept_findings(tmp_path).report({}).exchanges == len(gateways)


def test_exchanges_are_kept_on_when_another_gateway_takes_their_file_away(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, 1_000_000)
    recordings.keep(_kept(time=1))
    recordings.save(Snapshot())
    for path in tmp_path.iterdir():
        path.unlink()
    recordings.save(Snapshot())

    recordings.keep(_kept(time=2))

    recordings.close()
    assert [exchange.time for exchange in kept_exchanges(tmp_path, _raise)] == [2]


def test_a_file_that_another_gateway_takes_away_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        (tmp_path / f"exchanges-{number:020}-1-000001.ndjson").write_bytes(b"\n" * 10_000)
    recordings = Recordings(tmp_path, 80_000)
    stat_of = Path.stat
    taken: list[Path] = []

    def taken_away(path: Path, **how: bool) -> os.stat_result:
        if "000005-1" in path.name and not taken:
            taken.append(path)
            path.unlink()
        return stat_of(path, **how)

    monkeypatch.setattr(Path, "stat", taken_away)
    recordings.save(Snapshot())

    assert len(taken) == 1
    assert caplog.records == []
    assert _size_of(tmp_path) <= 80_000


def test_a_folder_that_is_gone_again_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "recordings"
    recordings = Recordings(folder, 1_000_000)

    for _ in range(2):
        recordings.save(Snapshot())
        recordings.save(Snapshot())
        recordings.open()
        recordings.save(Snapshot())
        shutil.rmtree(folder)

    assert len(caplog.records) == 2


def test_exchanges_are_kept_redacted_and_written_as_an_archive(
    start_gateway: StartGateway, tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    folder, archive = tmp_path / "recordings", tmp_path / "kept.har"
    gateway = start_gateway(_config(folder=str(folder), exchanges=True))
    gateway.post(_POINTS, {"adjustment": 5, "colour": "blue", "note": "for Jane"}, MAGE)
    gateway.client.get("/mage/v1/customers/jane%40example.com", headers=MAGE)
    gateway.client.__exit__()

    count, unreadable = write_archive(folder, archive)

    report = judge_files([archive], Traffic(whose_exchanges(vendors, contracts, None)))
    assert (count, unreadable) == (report.exchanges, 0) == (2, 0)
    assert [found.location for found in report.findings] == ["/body/colour"]
    for path in (*folder.iterdir(), archive):
        text = path.read_text(encoding="utf-8").lower()
        assert not [secret for secret in ("jane", "mage_demo_key", "6789012345", "blue") if secret in text]


def test_only_the_gateways_user_may_read_what_is_kept(start_gateway: StartGateway, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    gateway = start_gateway(_config(folder=str(folder), exchanges=True))
    gateway.post(_POINTS, {"adjustment": 5}, MAGE)
    gateway.client.__exit__()

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}

    assert modes == {0o700, 0o600}


def test_the_oldest_exchanges_go_when_there_are_too_many(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, 80_000)
    recordings.open()
    for number in range(1_000):
        message = Message(body=b"x" * 500)
        recordings.keep(Exchange(time=number, method="GET", url="/", request=message, status=200, answer=message))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 80_000
    recordings.close()

    kept = [exchange.time for exchange in kept_exchanges(tmp_path, _raise)]

    assert kept == [float(number) for number in range(1_000 - len(kept), 1_000)]
    assert len(kept) > 30


def test_findings_of_many_runs_are_kept_up_to_the_size(tmp_path: Path) -> None:
    seen = {"mage": {f"operation{number}": {"200": 1} for number in range(100)}}
    for _ in range(60):
        recordings = Recordings(tmp_path, 80_000)
        recordings.open()
        recordings.save(Snapshot(exchanges=1, seen=seen))

    size = sum(path.stat().st_size for path in tmp_path.iterdir())

    assert 40_000 < size <= 80_000


def test_a_folder_that_cannot_be_made_is_told_at_the_start(start_gateway: StartGateway, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"recording\.folder"):
        start_gateway(_config(folder=str(tmp_path / "file" / "below")))


def test_a_folder_that_is_gone_holds_up_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recordings = Recordings(tmp_path / "gone", 1_000_000)
    message = Message()

    for _ in range(2):
        recordings.keep(Exchange(method="GET", url="/", request=message, status=200, answer=message))
        recordings.save(Snapshot())

    assert [record.getMessage() for record in caplog.records] == [
        f"recording.folder: {tmp_path / 'gone'} cannot be written: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"admin": {"token": "short"}}, "admin.token"),
        ({"recording": {"exchanges": True}}, "recording.exchanges"),
        ({"recording": {"exchanges": True, "findings": False, "folder": "x"}}, "recording.exchanges"),
        ({"recording": {"largest_bytes": 10}}, "recording.largest_bytes"),
        ({"recording": {"wishes": 1}}, "recording"),
    ],
)
def test_a_bad_key_is_named(vendors: dict[str, Vendor], keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_config(demo_config(**keys), vendors, {})

    assert told in refusal.value.where


def test_the_command_asks_a_gateway_or_reads_its_folder(tmp_path: Path) -> None:
    folder, archive = tmp_path / "recordings", tmp_path / "kept.har"
    with serving(tmp_path, _config(folder=str(folder), exchanges=True)) as gateway:
        httpx2.post(f"{gateway.url}{_POINTS}", json={"adjustment": 5, "colour": 1}, headers=MAGE)
        asked = command("defects", "--url", gateway.url, "--token", _TOKEN, "--json")
        refused = command("defects", "--url", gateway.url, "--token", "another token")

    read = command("defects", "--config", tmp_path / "config.yaml", "--json")
    written = command("defects", "--folder", folder, "--har", archive)

    assert (asked.exit_code, refused.exit_code, read.exit_code, written.exit_code) == (1, 2, 1, 0)
    assert "the token is another" in refused.stderr
    assert (
        _shown(json.loads(asked.stdout))
        == _shown(json.loads(read.stdout))
        == [("undocumented field", "mage", "adjustPoints", "request", "/body/colour")]
    )
    assert len(json.loads(archive.read_text(encoding="utf-8"))["log"]["entries"]) == 1


def test_what_an_overlay_of_the_configuration_declares_is_covered(tmp_path: Path) -> None:
    folder, overlay = tmp_path / "recordings", tmp_path / "further.yaml"
    action = {
        "target": "$.paths['/v1/customers/{identifier}'].get.responses",
        "description": "why",
        "x-evidence": {"tag": "our default", "source": "a test"},
        "update": {"418": {"description": "a teapot"}},
    }
    overlay.write_text(json.dumps({"overlay": "1.0.0", "actions": [action]}), encoding="utf-8")
    config = _config(folder=str(folder))
    config["vendors"]["mage"]["overlays"] = [str(overlay)]
    (tmp_path / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    recordings = Recordings(folder, 1_000_000)
    recordings.open()
    recordings.save(Snapshot(exchanges=1, seen={"mage": {"getCustomer": {"200": 1}}}))

    told = command("defects", "--config", tmp_path / "config.yaml", "--json")

    assert told.exit_code == 0, told.stderr
    coverage = {one["operation"]: one["not_seen"] for one in json.loads(told.stdout)["coverage"]}
    assert "418" in coverage["getCustomer"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--folder", "nowhere"),
        ("--folder", "nowhere", "--har", os.devnull),
        ("--config", "nowhere"),
        ("--url", "http://127.0.0.1:9", "--token", "some token"),
    ],
)
def test_the_command_ends_with_2_where_nothing_can_be_told(arguments: tuple[str, ...]) -> None:
    told = command("defects", *arguments)

    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.count("\n") == 1


def test_an_archive_of_a_gateway_that_is_asked_is_refused() -> None:
    told = command("defects", "--url", "http://127.0.0.1:9", "--token", "some token", "--har", os.devnull)

    assert (told.exit_code, told.stdout) == (2, "")
    assert "not together with --url" in told.stderr
