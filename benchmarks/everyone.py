"""An adjustment of everyone on a ledger of any size: beside bare SQL, and what others notice of it meanwhile."""

import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import servers
from figures import Verdict, print_verdicts
from filled_ledger import fill
from machine import SERVER_CORE, pinned
from request_and_load import FIRST_CUSTOMER, Sample, load

_CONNECTIONS: Final = 64
_POINTS: Final = 5
_LONGEST: Final = 3.0
_LONGEST_P99: Final = 250.0
_TOKEN: Final = "benchmark-token"
_SALLA: Final[dict[str, Any]] = {
    "salla": {
        "credentials": [{"merchant": "demo", "bearer": _TOKEN, "scopes": ["customers.read_write"]}],
        "rate_limits": {"plan": "100000000/1s", "customers": "100000000/1s"},
    }
}
_REQUEST: Final = {
    "select_all": True,
    "points": _POINTS,
    "type": "plus",
    "reason": "for all",
    "channel_send": [],
    "customers": [],
}
# What a person would write who keeps the same two tables, all of it in one transaction.
_BARE: Final = (
    """
    INSERT INTO entries (id, merchant_id, wallet_id, version, vendor, points_delta, points_asked, points_before,
        points_after, reserved_after, earned_delta, burned_delta, granted_after, grants_after, reason, visible,
        occurred_at)
    SELECT (SELECT coalesce(max(id), 0) FROM entries) + row_number() OVER (ORDER BY id), merchant_id, id,
        version + 1, 'salla', :points, :points, available, available + :points, reserved, :points, 0,
        granted + :points, grants + 1, 'for all', 1, max(:now, updated_at + 1)
    FROM wallets WHERE merchant_id = 1 AND excluded = 0
    """,
    """
    UPDATE wallets SET available = available + :points, lifetime_earned = lifetime_earned + :points,
        granted = granted + :points, grants = grants + 1, version = version + 1,
        updated_at = max(:now, updated_at + 1), last_entry_at = max(:now, updated_at + 1)
    WHERE merchant_id = 1 AND excluded = 0
    """,
)


def compare(folder: Path, wallets: int, *, rounds: int) -> None:
    """Prints, for each round, the seconds of bare SQL and of the gateway, alone and with others beside it."""
    filled = folder / "filled.db"
    fill(filled, wallets, wallets)
    alone, beside, worst = [], [], 0.0
    heads = f"{'bare SQL s':>12}{'alone s':>10}{'×':>7}{'with others s':>15}{'×':>7}{'p99 ms':>9}"
    print(f"{f'{wallets:,} wallets':<24}{heads}")
    for index in range(rounds):
        bare = _bare_seconds(_copied(filled, folder / "bare.db"))
        one = _gateway_seconds(_copied(filled, folder / "alone.db"), wallets, others=False)[0]
        other, samples = _gateway_seconds(_copied(filled, folder / "beside.db"), wallets, others=True)
        alone.append(one / bare)
        beside.append(other / bare)
        worst = max([worst, *(sample.p99 for sample in samples)])
        cells = f"{bare:>12.1f}{one:>10.1f}{alone[-1]:>7.2f}{other:>15.1f}{beside[-1]:>7.2f}{worst:>9.1f}"
        print(f"{f'round {index + 1}':<24}{cells}", flush=True)
    print_verdicts(
        [
            *(
                Verdict(
                    f"everyone, {how}: seconds of bare SQL", f"≤ {_LONGEST}×", f"{most:.2f}×", most <= _LONGEST
                )
                for how, most in (("alone", max(alone)), ("with others beside it", max(beside)))
            ),
            Verdict(
                "others meanwhile: p99, the worst two seconds",
                f"≤ {_LONGEST_P99:.0f} ms",
                f"{worst:.1f} ms",
                worst <= _LONGEST_P99,
            ),
        ]
    )


def _copied(filled: Path, to: Path) -> Path:
    """A copy on the disk before anything is measured."""
    for left in (to.with_name(to.name + "-wal"), to.with_name(to.name + "-shm")):
        left.unlink(missing_ok=True)
    shutil.copyfile(filled, to)
    with to.open("rb+") as file:
        os.fsync(file.fileno())
    return to


def _bare_seconds(path: Path) -> float:
    with pinned(SERVER_CORE), closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        values = {"points": _POINTS, "now": time.time_ns() // 1_000}
        started = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        for statement in _BARE:
            db.execute(statement, values)
        db.execute("COMMIT")
        return time.perf_counter() - started


def _gateway_seconds(path: Path, wallets: int, *, others: bool) -> tuple[float, list[Sample]]:
    """Seconds from the request until everybody is reached, and what others saw in every two seconds of it."""
    customers = range(FIRST_CUSTOMER, FIRST_CUSTOMER + wallets)
    with (
        servers.gateway("everyone", path, customers, more_vendors=_SALLA) as server,
        _load(server, path.parent, others) as samples,
    ):
        started = time.perf_counter()
        _ask(server.target.url)
        accepted = time.perf_counter() - started
        while not _is_finished(path):
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        print(f"  accepted after {accepted:.2f} s", flush=True)
    return seconds, samples


def _ask(url: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=60)
    headers = {"authorization": f"Bearer {_TOKEN}", "content-type": "application/json"}
    connection.request("POST", "/salla/admin/v2/customers/loyalty/points", json.dumps(_REQUEST), headers)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    if answer.status != 201:
        raise RuntimeError(f"select_all was answered {answer.status}: {told.decode()}")


def _is_finished(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as db:
        (finished,) = db.execute("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL").fetchone()
    return bool(finished)


@contextmanager
def _load(server: servers.Server, folder: Path, others: bool) -> Iterator[list[Sample]]:  # noqa: FBT001 - whether to
    """Meanwhile others adjust single customers, if they are to."""
    samples: list[Sample] = []
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            samples.append(load(server.target, folder, connections=_CONNECTIONS, seconds=2))

    thread = threading.Thread(target=run)
    if others:
        thread.start()
        time.sleep(1)
    try:
        yield samples
    finally:
        ended.set()
        if others:
            thread.join()
