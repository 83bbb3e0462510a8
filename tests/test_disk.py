"""A SQLite ledger's disk that is full, or that may only be read: unavailable, nothing half-written, recovery."""

import asyncio
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from conftest import Served, demo_config, serving
from load import SEED, Load, assert_clean, effects_in, give_funds, is_replay, once
from stores import SqliteFile, opened_ledgers
from test_bad_input import CASES, Case, in_voice


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False)
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return mounted.returncode == 0


_MAY_MOUNT = os.geteuid() == 0 and _may_mount()
"""Root may, unless confined; else a process that may not write stands for a disk that takes nothing."""

_MAGE = tuple(case for case in CASES if case.vendor == "mage")
_JANE = "/mage/v1/customers/6789012345"
_MAGES_KEY = {"authorization": "mage_demo_key"}


def _mage_alone() -> dict[str, Any]:
    """The demo with one vendor, which starts faster."""
    config = demo_config()
    return config | {"vendors": {"mage": config["vendors"]["mage"]}}


@contextmanager
def _mounted(folder: Path, *what: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir(exist_ok=True)
    if not _MAY_MOUNT:
        yield folder
        return
    subprocess.run(["mount", *what, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def _full(disk: Path, served: Served) -> Iterator[None]:
    """Meanwhile there is no room left, to the last byte."""
    if not _MAY_MOUNT:
        soft, hard = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
        _forbid_writing(served)
        yield
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
        return
    filler = disk / "filler"
    for piece in (bytes(65_536), b"x"):
        with filler.open("ab", buffering=0) as growing, suppress(OSError):
            while True:
                growing.write(piece)
    yield
    filler.unlink()


def _break_down(disk: Path, served: Served) -> None:
    """Has the system find a fault in it, from which on it may only be read, also by those who have files open."""
    if not _MAY_MOUNT:
        _forbid_writing(served)
        return
    find = ["findmnt", "-n", "-o", "SOURCE", str(disk)]
    found = subprocess.run(find, check=True, capture_output=True, text=True).stdout
    Path("/sys/fs/ext4", Path(found.strip()).name, "trigger_fs_error").write_text("a fault", encoding="utf-8")


def _forbid_writing(served: Served) -> None:
    _, hard = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (0, hard))


def _statuses(client: httpx2.Client, *paths: str) -> list[int]:
    return [client.get(path, headers=_MAGES_KEY).status_code for path in paths]


def _ask_all(client: httpx2.Client, cases: Sequence[Case]) -> list[httpx2.Response]:
    def ask(case: Case) -> httpx2.Response:
        headers = {"content-type": "application/json", **case.headers}
        return client.post(case.url, content=case.raw(), headers=headers)

    with ThreadPoolExecutor(len(cases)) as pool:
        return list(pool.map(ask, cases))


def _use_up_what_is_left(served: Served) -> None:
    """Adjusts until nothing more goes into the room that the ledger's own files have."""
    deadline = time.monotonic() + 30
    with httpx2.Client(base_url=served.url, timeout=30) as client:
        while any(answer.is_success for answer in _ask_all(client, CASES)) or _statuses(client, "/-/ready") == [
            200
        ]:
            assert time.monotonic() < deadline


def _assert_refused_and_still_read(served: Served, cases: Sequence[Case]) -> None:
    with httpx2.Client(base_url=served.url, timeout=30) as client:
        answers = _ask_all(client, cases)
        statuses = _statuses(client, "/-/live", "/-/ready", _JANE)

    assert [answer.status_code for answer in answers] == [503] * len(cases)
    assert all(in_voice(case.vendor, answer) for case, answer in zip(cases, answers, strict=True))
    assert statuses == [200, 503, 200]


def _assert_served(served: Served, cases: Sequence[Case]) -> None:
    with httpx2.Client(base_url=served.url, timeout=30) as client:
        answers = _ask_all(client, cases)
        statuses = _statuses(client, "/-/live", "/-/ready", _JANE)

    assert [answer.status_code for answer in answers] == [case.success for case in cases]
    assert statuses == [200, 200, 200]


def test_a_gateway_on_a_full_disk_refuses_reads_on_and_recovers_when_there_is_room(tmp_path: Path) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run
    load = Load(random.Random(SEED))

    # The lines about requests are on that disk too.
    with (
        _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=16m", "none") as disk,
        serving(disk, demo_config(), "--no-rate-limits") as served,
    ):
        give_funds(served)

        def fill_and_make_room() -> None:
            with _full(disk, served):
                _use_up_what_is_left(served)
                _assert_refused_and_still_read(served, CASES)
            _assert_served(served, CASES)

        load.run_while([served], fill_and_make_room, load.chance.randint(1, 300))

        store = SqliteFile(served.ledger)
        assert set(load.answered.values()) == {200, 201, 204, 503}
        assert effects_in(store) == {key: once(load.sent[key]) for key in load.acknowledged()}
        again = load.again([served], load.refused())
        assert [answer.status_code for answer in again.values() if not answer.is_success] == []
        assert [key for key, answer in again.items() if is_replay(answer)] == []
        assert effects_in(store) == {key: once(sent) for key, sent in load.sent.items()}
        assert_clean(store)


def test_a_disk_that_may_only_be_read_from_now_on_refuses_writing_and_keeps_what_was_acknowledged(
    tmp_path: Path,
) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as made:
        made.truncate(16 << 20)
    if _MAY_MOUNT:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)

    with _mounted(disk, "-o", "loop,errors=remount-ro", str(image)), serving(disk, _mage_alone()) as served:
        _assert_served(served, _MAGE)
        store = SqliteFile(served.ledger)
        before = store.rows("SELECT * FROM entries"), store.rows("SELECT * FROM wallets")
        # Not under load: a sync that this interrupts is told as done by the system, whatever became of it.
        _break_down(disk, served)
        _assert_refused_and_still_read(served, _MAGE)
        served.kill()
    with _mounted(disk, "-o", "loop", str(image)):
        after = store.rows("SELECT * FROM entries"), store.rows("SELECT * FROM wallets")
        assert_clean(store)
        with serving(disk, _mage_alone()) as served:
            _assert_served(served, _MAGE)

    assert after == before


_NOT_ABOVE_THE_RULES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""What makes a command of root's, who may write everything, heed what a file permits."""


async def _made(file: SqliteFile) -> None:
    async with opened_ledgers(file, 1):
        pass


@pytest.mark.parametrize("protected", ["file", "folder"])
def test_a_ledger_that_may_only_be_read_is_told_in_one_sentence(tmp_path: Path, protected: str) -> None:
    folder, config = tmp_path / "folder", tmp_path / "config.yaml"
    ledger = folder / "ledger.db"
    folder.mkdir()
    asyncio.run(_made(SqliteFile(ledger)))
    config.write_text(yaml.safe_dump(_mage_alone() | {"ledger": f"sqlite:///{ledger}"}), encoding="utf-8")
    path = {"file": ledger, "folder": folder}[protected]
    path.chmod(path.stat().st_mode & ~0o222)

    ended = subprocess.run(
        [
            *(_NOT_ABOVE_THE_RULES if os.geteuid() == 0 else ()),
            *(sys.executable, "-m", "loyalty_gateway", "serve", "--config", str(config), "--port", "0"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    path.chmod(0o755)

    assert ended.returncode == 2
    assert f"ledger: sqlite:///{ledger}: cannot be opened: " in ended.stderr
    assert re.search("readonly database|Permission denied", ended.stderr)
    assert ended.stderr.count("\n") == 1
