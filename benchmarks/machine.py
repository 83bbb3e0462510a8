"""What a measurement needs of the machine: a core for each side, resident memory, and the disk's own sync time."""

import contextlib
import os
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE: Final = _CORES[0]
GENERATOR_CORE: Final = _CORES[-1]

_SYNCED_BYTES: Final = 16_384
_SYNCED_FILE_BYTES: Final = 1 << 22


@contextlib.contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started meanwhile stay on this core."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CORES)


def peak_memory(pid: int) -> float:
    """The largest resident memory that the process ever had, in MB."""
    return _status(pid, "VmHWM")


def memory(pid: int) -> float:
    """Its resident memory now, in MB."""
    return _status(pid, "VmRSS")


def _status(pid: int, name: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1]) * 1_024 / 1e6


def sync_time(folder: Path, times: int = 200) -> float:
    """The median milliseconds of writing to a file in this folder and having the disk keep it.

    Four pages, which is about what one adjustment writes, into a file of the write-ahead log's size that is there
    already, as that log is written to again and again.
    """
    path = folder / "sync"
    taken = []
    with path.open("w+b", buffering=0) as file:
        file.write(os.urandom(_SYNCED_FILE_BYTES))
        os.fsync(file.fileno())
        content = os.urandom(_SYNCED_BYTES)
        for index in range(times):
            file.seek(index * _SYNCED_BYTES % _SYNCED_FILE_BYTES)
            started = time.perf_counter()
            file.write(content)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - started) * 1_000)
    path.unlink()
    return statistics.median(taken)
