"""The commands, as a user runs them: in a process of their own."""

import fcntl
import inspect
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from starlette.applications import Starlette
from typer.testing import Result

from conftest import ROOT, command, demo_config, serving
from loyalty_gateway.cli.serving import serve
from loyalty_gateway.config import CredentialConfig
from test_bad_input import CASES, Case, every
from test_config import held_by

_MAGE = next(case for case in CASES if case.vendor == "mage")


def _ask(url: str, case: Case) -> int:
    return httpx2.post(url + case.url, json=dict(case.body), headers=dict(case.headers)).status_code


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "loyalty_gateway", *arguments],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | environment,
    )


def _mage_alone(**overrides: Any) -> dict[str, Any]:
    """The demo with one vendor, which starts faster."""
    config = demo_config()
    return config | {"vendors": {"mage": config["vendors"]["mage"]}} | overrides


def _config(folder: Path, **overrides: Any) -> Path:
    path = folder / "x.yaml"
    config = _mage_alone(ledger=f"sqlite:///{folder / 'x.db'}") | overrides
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _assert_told(ended: subprocess.CompletedProcess[str] | Result, *told: str) -> None:
    """The command failed with one sentence for people."""
    assert (ended.exit_code if isinstance(ended, Result) else ended.returncode) == 2
    assert all(part in ended.stderr for part in told), ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_until_it_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path, _mage_alone()) as served:
        status = _ask(served.url, _MAGE)

        served.process.send_signal(number)
        code = served.process.wait(15)
        assert served.process.stderr is not None
        told = served.process.stderr.read()

    assert (status, code, told) == (200, 0, b"")
    (line,) = [json.loads(line) for line in served.log.read_text(encoding="utf-8").splitlines()]
    assert (line["vendor"], line["status"]) == ("mage", 200)


def test_a_request_under_way_is_answered_before_serve_stops(tmp_path: Path) -> None:
    with serving(tmp_path, _mage_alone()) as served:
        host, _, port = served.url.removeprefix("http://").partition(":")
        body = json.dumps(_MAGE.body).encode()
        head = f"POST {_MAGE.url} HTTP/1.1\r\nhost: {host}\r\nauthorization: mage_demo_key\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\nexpect: 100-continue\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode())
            # The interim answer tells that the request has been taken up.
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            served.process.send_signal(signal.SIGTERM)
            connection.sendall(body)
            answer = connection.recv(10_000)
        code = served.process.wait(15)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert code == 0


def test_a_second_gateway_on_the_same_file_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, _mage_alone()) as served:
        second = _run("serve", "--config", str(tmp_path / "config.yaml"), "--port", "0")
        status = _ask(served.url, _MAGE)
        verified = _run("ledger", "verify", "--config", str(tmp_path / "config.yaml"))
        process = served.process.pid
        served.kill()
        third = _run("ledger", "verify", "--config", str(tmp_path / "config.yaml"))

    _assert_told(second, f"ledger: sqlite:///{served.ledger}: process {process} serves it")
    assert status == 200
    assert [ended.stdout for ended in (verified, third)] == ["2 wallets, 1 entries: nothing is wrong\n"] * 2
    with serving(tmp_path, _mage_alone()) as served:
        assert _ask(served.url, _MAGE) == 200
        second = _run("serve", "--config", str(tmp_path / "config.yaml"), "--port", "0")
    _assert_told(second, f": process {served.process.pid} serves it")


def _entries(path: Path) -> int:
    db = sqlite3.connect(path)
    (count,) = db.execute("SELECT count(*) FROM entries").fetchone()
    db.close()
    return int(count)


def test_the_command_line_stands_instead_of_the_file(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    config = _mage_alone()
    config["server"]["rate_limits"] = True
    config["vendors"]["mage"]["rate_limits"] = {"requests": "1/60s"}

    with serving(
        tmp_path, config, "--ledger", f"sqlite:///{elsewhere}", "--host", "127.0.0.2", "--no-rate-limits"
    ) as served:
        statuses = [_ask(served.url, _MAGE) for _ in range(2)]

    assert served.url.startswith("http://127.0.0.2:")
    assert statuses == [200, 200]
    assert (_entries(elsewhere), served.ledger.exists()) == (2, False)


def test_the_shipped_configuration_serves_every_vendor_from_any_directory(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "loyalty_gateway",
        "serve",
        "--config",
        str(ROOT / "config.yaml"),
        "--port",
        "0",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None

    url = process.stderr.readline().decode().split()[-1]
    statuses = [_ask(url, case) for case in CASES]
    process.send_signal(signal.SIGTERM)

    assert process.wait(15) == 0
    process.stderr.close()
    assert statuses == [case.success for case in CASES]
    # The ledger of that file is relative to the working directory.
    assert _entries(tmp_path / "loyalty.db") == len(CASES)


def test_a_port_in_use_is_told_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        ended = _run("serve", "--config", str(_config(tmp_path)), "--port", port)

    _assert_told(ended, f"127.0.0.1:{port}: cannot listen there: ", "in use")
    assert not (tmp_path / "x.db").exists()


def test_a_host_that_is_not_ours_is_told_in_one_sentence(tmp_path: Path) -> None:
    ended = command("serve", "--config", _config(tmp_path), "--host", "192.0.2.1", "--port", "0")

    _assert_told(ended, "192.0.2.1:0: cannot listen there: ")


@pytest.mark.parametrize("port", ["-1", "65536", "73536"])
def test_a_port_that_cannot_be_is_told_in_one_sentence(tmp_path: Path, port: str) -> None:
    ended = command("serve", "--config", _config(tmp_path), "--port", port)

    _assert_told(ended, "--port: must be between 0 and 65535")


def test_a_name_of_several_addresses_is_served_at_one_of_them_at_least(tmp_path: Path) -> None:
    with serving(tmp_path, _mage_alone(), "--host", "localhost") as served:
        status = _ask(served.url, _MAGE)

    assert status == 200


@pytest.mark.parametrize(("proxies", "status"), [([], 403), (["192.0.2.0/24"], 403), (["127.0.0.0/8"], 200)])
def test_an_address_that_a_proxy_tells_counts_from_trusted_ones_only(
    tmp_path: Path, proxies: list[str], status: int
) -> None:
    config = _mage_alone()
    config["server"]["trusted_proxies"] = proxies
    config["vendors"]["mage"]["credentials"][0]["networks"] = ["198.51.100.0/24"]

    with serving(tmp_path, config) as served:
        told = replace(_MAGE, headers={**_MAGE.headers, "x-forwarded-for": "203.0.113.9, 198.51.100.1"})

        assert _ask(served.url, told) == status


def test_a_reader_of_the_lines_that_stalls_holds_up_neither_requests_nor_the_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4_096)
    command = [sys.executable, "-m", "loyalty_gateway", "serve", "--config", str(_config(tmp_path)), "--port", "0"]
    process = subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert process.stderr is not None

    url = process.stderr.readline().decode().split()[-1]
    with httpx2.Client(timeout=5) as client:
        statuses = {client.get(f"{url}/-/live").status_code for _ in range(600)}
    process.send_signal(signal.SIGTERM)
    code = process.wait(5)
    told = process.stderr.read()
    process.stderr.close()
    os.close(reading)

    assert (statuses, code, told) == ({200}, 0, b"")


def test_a_gateway_whose_output_is_closed_serves_all_the_same(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m loyalty_gateway serve --config {_config(tmp_path)} --port 0 >&-"
    process = subprocess.Popen(["sh", "-c", command], stderr=subprocess.PIPE)
    assert process.stderr is not None

    url = process.stderr.readline().decode().split()[-1]
    status = _ask(url, _MAGE)
    time.sleep(0.2)
    metrics = httpx2.get(f"{url}/-/metrics").text
    process.send_signal(signal.SIGTERM)
    code = process.wait(5)
    told = process.stderr.read()
    process.stderr.close()

    assert (status, code, told) == (200, 0, b"")
    assert "loyalty_gateway_journal_lines_dropped_total 1.0" in metrics


def test_nothing_that_serves_holds_a_credential_in_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _config(tmp_path)
    held: list[Any] = []

    def run(serving: Coroutine[Any, Any, None]) -> None:
        for caller in inspect.stack(0)[1:]:
            if caller.filename == __file__:
                break
            held.append(caller.frame.f_locals)
        held.append(inspect.getcoroutinelocals(serving))
        serving.close()

    monkeypatch.setattr("uvloop.run", run)
    serve(config=path, port=0)

    kept = list(held_by(*held))
    assert [thing for thing in kept if isinstance(thing, Starlette)]
    assert [thing for thing in kept if isinstance(thing, CredentialConfig)] == []
    assert "mage_demo_key" not in [thing for thing in kept if isinstance(thing, str)]


def test_a_ledger_of_a_newer_gateway_is_told_in_one_sentence(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "x.db")
    db.execute("PRAGMA user_version = 99")
    db.close()

    ended = command("serve", "--config", _config(tmp_path), "--port", "0")

    _assert_told(ended, "schema version 99", "use a newer gateway")


def test_a_ledger_that_is_no_database_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)

    ended = command("serve", "--config", _config(tmp_path), "--port", "0")

    _assert_told(ended, "x.db", "cannot be opened")


def test_a_ledger_in_a_folder_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    config = _config(tmp_path, ledger=f"sqlite:///{tmp_path}/absent/x.db")

    ended = command("serve", "--config", config, "--port", "0")

    _assert_told(ended, "absent/x.db", "cannot be opened")


@pytest.mark.parametrize("name", ["serve", "check"])
def test_a_bad_key_ends_every_command_with_its_path(tmp_path: Path, name: str) -> None:
    config = _config(tmp_path, server={"port": "eighty"})

    _assert_told(command(name, "--config", config), "x.yaml: server.port")


def test_an_absent_configuration_ends_the_command_with_its_name(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.yaml")

    _assert_told(command("check", "--config", absent), absent, "cannot be read")


def test_a_variable_of_the_environment_reaches_the_configuration(tmp_path: Path) -> None:
    config = str(_config(tmp_path, ledger="${LEDGER_OF_TEST}"))

    ended = _run("check", "--config", config, LEDGER_OF_TEST="redis://x")

    _assert_told(ended, "ledger: must be sqlite:///FILE or postgresql://HOST/DATABASE, not redis:")


def test_a_broken_overlay_ends_check_with_the_place(tmp_path: Path) -> None:
    action = {
        "target": "$.paths['/nowhere']",
        "description": "why",
        "x-evidence": {"tag": "our default", "source": "a test"},
        "update": {"x": 1},
    }
    (tmp_path / "further.yaml").write_text(
        yaml.safe_dump({"overlay": "1.0.0", "actions": [action]}), encoding="utf-8"
    )
    config = _mage_alone()
    config["vendors"]["mage"]["overlays"] = [str(tmp_path / "further.yaml")]

    ended = command("check", "--config", _config(tmp_path, vendors=config["vendors"]))

    _assert_told(ended, "further.yaml actions[0]: changes nothing", "$.paths['/nowhere']")


@every(tuple({case.vendor: case for case in CASES}.values()))
def test_check_lists_the_vendor_and_its_operations(checked: str, case: Case) -> None:
    operations = [one.operation for one in CASES if one.vendor == case.vendor]

    rows = [line for line in checked.splitlines() if f" {case.vendor} " in line]

    assert len([row for row in rows if any(f" {operation} " in row for operation in operations)]) == len(
        operations
    )


def test_check_says_which_overlay_action_answers_each_defect_of_salla(checked: str) -> None:
    _, _, defects = checked.partition("Published defects")
    defects, _, _ = defects.partition("Overlay actions applied")

    rows = [line for line in defects.splitlines() if " salla " in line]

    assert len(rows) >= 6
    assert all("salla.overlay.yaml actions[" in row for row in rows)
    for what in ("'examples'", "reset_point", "no address", "operationId", "'data' is a required property"):
        assert [row for row in rows if what in row]


def test_check_that_is_piped_is_never_cut(checked: str) -> None:
    assert "…" not in checked
    assert "a third party's notes of a live answer" in checked


@pytest.fixture(scope="module")
def ledgers() -> set[Path]:
    """Those that stand beside the shipped configuration before any check."""
    return set(ROOT.glob("*.db"))


@pytest.fixture(scope="module")
def checked(ledgers: set[Path]) -> str:
    assert all(path.suffix == ".db" for path in ledgers)
    ended = _run("check", COLUMNS="40")
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_check_opens_no_ledger(checked: str, ledgers: set[Path]) -> None:
    assert checked
    assert set(ROOT.glob("*.db")) == ledgers


def test_help_names_the_commands() -> None:
    told = _run("--help").stdout

    assert "serve" in told
    assert "check" in told
