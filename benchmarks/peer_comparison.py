"""The gateway, on one hot wallet and on 10,000, beside a bare route and what one would otherwise run."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import servers
from figures import (
    Round,
    Verdict,
    added_latency,
    measure,
    median,
    median_sync,
    print_sync,
    print_table,
    print_verdicts,
    ratio,
)
from filled_ledger import fill
from machine import peak_memory

_MANY: Final = 64
_LEAST: Final = {
    servers.BARE: 0.60,
    servers.FASTAPI: 1.2,
    servers.PRISM: 6.0,
    servers.OPENAPI_CORE: 40.0,
}
"""How many times as many requests a second the gateway shall answer, at 64 connections."""
_LONGEST_P99: Final = 25.0
_MOST_ADDED: Final = 1.0


def compare(folder: Path, connections: Sequence[int], rounds: int, seconds: int, *, quiet_peers: bool) -> None:
    """Prints a table for each number of connections, then the targets."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(servers.bare(folder, quiet=quiet_peers)),
            *stack.enter_context(servers.peers(folder, quiet=quiet_peers)),
        ]
        gateways = []
        for wallets in (1, 10_000):
            ledger = folder / f"{wallets}.db"
            name = f"gateway, {'one hot wallet' if wallets == 1 else f'{wallets:,} wallets'}"
            gateways.append(stack.enter_context(servers.gateway(name, ledger, fill(ledger, wallets))))
        running += gateways
        measured = {
            count: measure(running, folder, connections=count, rounds=rounds, seconds=seconds)
            for count in connections
        }
        memory = {server.name: peak_memory(server.pid) for server in running}
    names = [server.name for server in running]
    for count, figures in measured.items():
        print_table(figures, count, names, memory)
        print_sync(figures)
    print_verdicts(
        [
            verdict
            for count, figures in measured.items()
            for server in gateways
            for verdict in verdicts(server.name, count, figures)
        ]
    )


def verdicts(name: str, connections: int, rounds: Sequence[Round]) -> Iterator[Verdict]:
    """The targets for one row of the gateway; those against a peer that did not run are left out."""
    if connections == _MANY:
        for peer, least in _LEAST.items():
            if peer in rounds[0].samples:
                times = ratio(rounds, "rate", name, peer)
                yield Verdict(f"{name}: req/s of {peer}", f"≥ {least:.2f}×", f"{times:.2f}×", times >= least)
        p99 = median(rounds, "p99", name)
        yield Verdict(f"{name}: p99", f"≤ {_LONGEST_P99:.0f} ms", f"{p99:.2f} ms", p99 <= _LONGEST_P99)
    if connections == 1:
        added, sync = added_latency(rounds, name, servers.BARE), median_sync(rounds)
        what = f"{name}: added at 1 connection, sync {sync:.2f}"
        most = _MOST_ADDED + sync
        yield Verdict(what, f"≤ {most:.2f} ms", f"{added:.2f} ms", added <= most)
