"""Whether a request costs more on a large ledger than on an empty one."""

import os
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import servers
from figures import Verdict, measure, print_table, print_verdicts, ratio
from filled_ledger import fill
from machine import peak_memory

_CONNECTIONS: Final = 64
_VISITED: Final = 10_000
_LEAST: Final = 0.9


def compare(folder: Path, wallets: int, entries: int, *, rounds: int, seconds: int) -> None:
    """Prints the table of an empty ledger and a large one, the latter visited in three ways.

    The same number of customers is visited in both: in the large one those next to each other, whose rows share
    pages as in the empty one, which says what the size costs; and those far apart, each with pages of its own,
    which the disk has to keep one by one. That all of them are visited is a row of its own.
    """
    empty, near, far, whole = (folder / f"{name}.db" for name in ("empty", "near", "far", "whole"))
    visited = min(_VISITED, wallets)
    few = fill(empty, visited)
    started = time.perf_counter()
    many = fill(near, wallets, entries)
    print(f"{wallets:,} wallets and {entries:,} entries written in {time.perf_counter() - started:.0f} s")
    _copy(near, far)
    _copy(near, whole)
    size = f"{wallets:,} wallets"
    with ExitStack() as stack:
        running = [
            stack.enter_context(servers.gateway(name, ledger, customers))
            for name, ledger, customers in (
                ("empty ledger", empty, few),
                (f"{size}, {visited:,} neighbours", near, many[:visited]),
                (f"{size}, {visited:,} far apart", far, many[:: wallets // visited]),
                (f"{size}, all visited", whole, many),
            )
        ]
        figures = measure(running, folder, connections=_CONNECTIONS, rounds=rounds, seconds=seconds)
        memory = {server.name: peak_memory(server.pid) for server in running}
    names = [server.name for server in running]
    print_table(figures, _CONNECTIONS, names, memory)
    ratios = {name: ratio(figures, "rate", name, names[0]) for name in names[1:]}
    print_verdicts(
        [
            Verdict(f"{name}: req/s of the {names[0]}", f"≥ {_LEAST:.2f}×", f"{times:.2f}×", times >= _LEAST)
            for name, times in ratios.items()
        ]
    )


def _copy(ledger: Path, to: Path) -> None:
    """A copy within the kernel, on the disk before anything is measured."""
    shutil.copyfile(ledger, to)
    with to.open("rb+") as file:
        os.fsync(file.fileno())
