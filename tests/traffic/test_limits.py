"""Whatever anybody sends, little of it is told and kept, it is judged soon, and it hides nothing of others."""

import itertools
import json
import os
import shutil
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loyalty_gateway.spec import Contract
from loyalty_gateway.traffic import redaction
from loyalty_gateway.traffic.exchange import Exchange, Message
from loyalty_gateway.traffic.findings import Finding, Snapshot
from loyalty_gateway.traffic.recorder import Passed, Recorder
from loyalty_gateway.traffic.recordings import Recordings, kept_exchanges, kept_findings
from loyalty_gateway.traffic.redaction import Example
from loyalty_gateway.traffic.traffic import Traffic, whose_exchanges
from loyalty_gateway.upstream.connections import Received
from loyalty_gateway.vendor import Vendor

_JSON = (("content-type", "application/json"),)
_LARGEST = 80_000
_SHARE = _LARGEST // 8


@pytest.fixture
def traffic(vendors: dict[str, Vendor], contracts: dict[str, Contract]) -> Traffic:
    return Traffic(whose_exchanges(vendors, contracts, None))


@pytest.fixture
def recorder(traffic: Traffic) -> Iterator[Recorder]:
    recorder = Recorder(traffic, None, keeps_exchanges=False, on_not_judged=lambda: None)
    yield recorder
    recorder.close()


def _exchange(method: str, url: str, body: Any = None, answer: Any = None) -> Exchange:
    return Exchange(
        method=method,
        url=url,
        request=Message(headers=_JSON, body=b"" if body is None else json.dumps(body).encode()),
        status=200,
        answer=Message(headers=_JSON, body=None if answer is None else json.dumps(answer).encode()),
    )


def _names(count: int) -> list[str]:
    """Names that read like names, none of which any document knows."""
    letters = itertools.product(string.ascii_lowercase, repeat=3)
    return [f"x_{''.join(three)}" for three in itertools.islice(letters, count)]


def test_paths_of_any_length_are_one_short_finding(traffic: Traffic) -> None:
    for length in range(100, 5_000, 100):
        traffic.add(_exchange("GET", f"/mage/{'/' * length}"))
        traffic.add(_exchange("GET", f"/mage/{'v1/' * length}"))

    findings = traffic.report().findings

    assert len(findings) == 2
    assert all(len(found.location) <= 200 and len(found.example.path) <= 200 for found in findings)


def test_a_long_customer_makes_no_long_example(traffic: Traffic) -> None:
    traffic.add(_exchange("GET", f"/mage/v1/customers/{'x' * 60_000}?colour=blue"))

    (finding,) = traffic.report().findings

    assert finding.location == "/query/colour"
    assert len(finding.example.path) <= 201


def test_of_a_message_with_many_unknown_names_few_are_told_and_what_it_breaks(traffic: Traffic) -> None:
    body = {"adjustment": "many"} | dict.fromkeys(_names(500), 1)
    query = "&".join(f"{name}=1" for name in _names(500))

    traffic.add(_exchange("POST", f"/mage/v1/customers/1/points?{query}", body))

    findings = traffic.report().findings
    assert [found.location for found in findings if found.kind == "violation"] == ["/body/adjustment"]
    assert 30 <= len(findings) <= 100


def test_many_of_one_place_leave_room_for_others(traffic: Traffic) -> None:
    earned = [{"id": str(number), "type": "earning", "colour": 1, "attributes": {}} for number in range(500)]

    traffic.add(_exchange("GET", "/mage/v1/customers/1/earning-history", answer={"data": earned, "wishes": 1}))

    locations = {found.location for found in traffic.report().findings if found.kind == "undocumented field"}
    assert locations == {"/body/data/*/colour", "/body/wishes"}


def test_the_credentials_of_an_exchange_are_looked_for_once(
    traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Exchange] = []
    look_for = redaction._secrets  # noqa: SLF001 - what takes long where there are many

    def counted(exchange: Exchange, keys: frozenset[str]) -> Iterator[str]:
        looked.append(exchange)
        return look_for(exchange, keys)

    monkeypatch.setattr(redaction, "_secrets", counted)

    traffic.add(_exchange("POST", "/mage/v1/customers/1/points", dict.fromkeys(_names(20), 1)))

    assert len(traffic.report().findings) > 20
    assert len(looked) == 1


def test_whoever_makes_up_fields_takes_no_room_from_others(traffic: Traffic) -> None:
    for name in _names(1_500):
        traffic.add(_exchange("GET", f"/mage/v1/customers?{name}=1"))
        traffic.add(_exchange("GET", f"/loyaltylion/v2/customers?{name}=1"))

    traffic.add(_exchange("GET", "/loyaltylion/v2/customers", answer={"customers": [], "colour": "blue"}))

    report = traffic.report()
    fields = [found for found in report.findings if found.kind == "undocumented field"]
    assert [found.location for found in fields if found.direction == "answer"] == ["/body/colour"]
    assert len(fields) < 500
    assert report.not_kept + sum(found.count for found in fields) == 3_001


def _passed(body: bytes, answer: bytes = b"{}") -> Passed:
    headers = [(b"content-type", b"application/json")]
    return Passed(
        "mage", "POST", "/v1/customers/1/points", b"size=1", headers, body, Received(404, headers, answer), 0.001
    )


@pytest.mark.parametrize("side", ["request", "answer"])
def test_a_long_body_is_not_judged_and_counted(recorder: Recorder, side: str) -> None:
    body = json.dumps(dict.fromkeys(_names(500), 1) | {"adjustment": 1, "note": "x" * 70_000}).encode()
    recorder.take(_passed(body) if side == "request" else _passed(b'{"adjustment":1}', body))

    recorder.start()

    report = recorder.report()
    locations = [(found.direction, found.location) for found in report.findings]
    assert ("request", "/query/size") in locations
    assert [one for one in locations if one[0] == side and one[1].startswith("/body")] == []
    assert (report.exchanges, report.not_judged) == (1, 1)


def test_an_exchange_that_takes_long_holds_up_the_others_for_a_moment(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Traffic, "add", lambda *_: time.sleep(0.1))
    monkeypatch.setattr(recorder._hurry, "wait", pauses.append)  # noqa: SLF001 - how long it would wait
    recorder.take(_passed(b"{}"))

    recorder.start()
    recorder.close()

    assert len(pauses) == 1
    assert 0.1 < pauses[0] <= 2


def _finding(number: int) -> Finding:
    example = Example(method="GET", path="/v1/*", status=404)
    return Finding(
        fingerprint=str(number),
        kind="undocumented field",
        vendor="mage",
        operation="getCustomer",
        direction="request",
        location=f"/query/{number:0100}",
        constraint="",
        count=number,
        exchanges=0,
        first_seen=0,
        last_seen=0,
        example=example,
    )


def _kept(body: bytes = b"", at: float = 0) -> Exchange:
    message = Message(body=body)
    return Exchange(time=at, method="GET", url="/", request=message, status=200, answer=message)


def _raise(error: Exception) -> None:
    raise error


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_of_more_findings_than_a_file_may_have_those_seen_most_are_kept(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, _LARGEST)

    recordings.save(Snapshot(exchanges=7, not_kept=5, findings=[_finding(number) for number in range(1, 500)]))

    findings = kept_findings(tmp_path)
    report = findings.report({})
    assert _SHARE // 2 < _size_of(tmp_path) <= _SHARE
    assert [found.count for found in report.findings] == [*range(499, 499 - len(report.findings), -1)]
    assert report.not_kept + sum(found.count for found in report.findings) == 5 + sum(range(500))


def test_the_size_is_kept_while_findings_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    replace = Path.replace

    def sized(new: Path, path: Path) -> Path:
        sizes.append(_size_of(tmp_path))
        return replace(new, path)

    monkeypatch.setattr(Path, "replace", sized)
    recordings = Recordings(tmp_path, _LARGEST)
    findings = [_finding(number) for number in range(1, 500)]

    for _ in range(500):
        recordings.keep(_kept(b"x" * 200))
        recordings.save(Snapshot(findings=findings))

    recordings.close()
    assert _LARGEST // 2 < max(sizes) <= _LARGEST


def test_an_exchange_that_is_larger_than_a_file_may_be_is_left_out(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, _LARGEST)

    for at in (1, 2, 3):
        recordings.keep(_kept(b"x" * _SHARE if at == 2 else b"x", at))

    recordings.close()
    assert [exchange.time for exchange in kept_exchanges(tmp_path, _raise)] == [1, 3]


def test_what_a_killed_gateway_was_writing_is_taken_away_and_what_another_writes_is_not(tmp_path: Path) -> None:
    killed, writing = tmp_path / "findings-1-1.new", tmp_path / "findings-2-2.new"
    for path in (killed, writing):
        path.write_bytes(b"{")
    os.utime(killed, (0, 0))

    Recordings(tmp_path, _LARGEST).open()

    assert [*tmp_path.iterdir()] == [writing]


def test_what_other_gateways_are_writing_counts(tmp_path: Path) -> None:
    (tmp_path / "findings-2-2.new").write_bytes(b" " * (_LARGEST // 2))
    recordings = Recordings(tmp_path, _LARGEST)

    for _ in range(500):
        recordings.keep(_kept(b"x" * 200))

    recordings.close()
    assert _size_of(tmp_path) <= _LARGEST


def test_a_disk_that_is_full_at_the_end_is_told_and_ends_nothing(
    traffic: Traffic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        def write(self, _: bytes) -> None: ...

        def flush(self) -> None: ...

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    recordings = Recordings(tmp_path / "recordings", _LARGEST)
    recorder = Recorder(traffic, recordings, keeps_exchanges=True, on_not_judged=lambda: None)
    recorder.take(_passed(b"{}"))
    monkeypatch.setattr("loyalty_gateway.traffic.recordings._private", lambda _: Full())
    monkeypatch.setattr(Recordings, "save", lambda *_: None)

    recorder.start()
    recorder.close()

    shutil.rmtree(tmp_path / "recordings")
    assert [record.getMessage() for record in caplog.records] == [
        f"recording.folder: {tmp_path / 'recordings'} cannot be written: No space left on device"
    ]
