"""Rounds of measurements, and the tables made of them.

A ratio is the median of the rounds' ratios, each to a neighbour in the same round: what slows the machine down for
a while slows both.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from machine import sync_time
from request_and_load import Sample, load
from servers import Server

_WARM_UP_SECONDS = 3


class Round(NamedTuple):
    """One turn of every server, and the disk's own sync time in milliseconds beside it."""

    samples: Mapping[str, Sample]
    sync: float


class Verdict(NamedTuple):
    """A target with what was measured."""

    what: str
    wanted: str
    measured: str
    met: bool


def measure(
    servers: Sequence[Server], folder: Path, *, connections: int, rounds: int, seconds: int
) -> list[Round]:
    """So many rounds; every other one goes through the servers backwards, so that no place in it is better."""
    for server in servers:
        load(server.target, folder, connections=connections, seconds=_WARM_UP_SECONDS)
    return [
        Round(
            samples={
                server.name: load(server.target, folder, connections=connections, seconds=seconds)
                for server in (servers if index % 2 == 0 else reversed(servers))
            },
            sync=sync_time(folder),
        )
        for index in range(rounds)
    ]


def median(rounds: Sequence[Round], field: str, name: str) -> float:
    """A figure of one server, the median over the rounds."""
    return statistics.median(_figure(one, field, name) for one in rounds)


def ratio(rounds: Sequence[Round], field: str, name: str, base: str) -> float:
    """How a figure of one server stands to the same of another."""
    return statistics.median(_figure(one, field, name) / _figure(one, field, base) for one in rounds)


def _figure(one: Round, field: str, name: str) -> float:
    figure: float = getattr(one.samples[name], field)
    return figure


def added_latency(rounds: Sequence[Round], name: str, base: str) -> float:
    """Milliseconds by which the median latency of one server exceeds another's."""
    return statistics.median(one.samples[name].p50 - one.samples[base].p50 for one in rounds)


def median_sync(rounds: Sequence[Round]) -> float:
    """Milliseconds."""
    return statistics.median(one.sync for one in rounds)


def print_table(
    rounds: Sequence[Round], connections: int, names: Sequence[str], memory: Mapping[str, float]
) -> None:
    """All figures, each also as a ratio to the first server's."""
    base = names[0]
    counted = f"{connections} connection{'s' if connections > 1 else ''}, × of {base}"
    print(f"\n{counted:<38}{'req/s':>8}{'×':>8}{'p50 ms':>9}{'×':>8}{'p99 ms':>9}{'×':>8}{'peak MB':>9}{'×':>8}")
    for name in names:
        cells = [f"{name:<38}"]
        for field, shown in (("rate", "{:>8.0f}"), ("p50", "{:>9.2f}"), ("p99", "{:>9.2f}")):
            cells.append(shown.format(median(rounds, field, name)) + f"{ratio(rounds, field, name, base):>8.2f}")
        print(*cells, f"{memory[name]:>9.0f}{memory[name] / memory[base]:>8.2f}", sep="")


def print_sync(rounds: Sequence[Round]) -> None:
    """The part of an answer's time that belongs to the disk."""
    print(f"{'the disk itself, to keep four pages':<54}{median_sync(rounds):>9.2f}")


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """The targets with what was measured and whether each is met."""
    print(f"\n{'target':<58}{'wanted':>14}{'measured':>11}  met")
    for verdict in verdicts:
        print(
            f"{verdict.what:<58}{verdict.wanted:>14}{verdict.measured:>11}  {'yes' if verdict.met else 'NO'}",
            flush=True,
        )
