"""The gateway before a vendor's server, as a passthrough and as a client of its own, beside Prism's proxy."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import servers
from figures import Round, Verdict, added_latency, measure, print_table, print_verdicts, ratio
from machine import peak_memory
from request_and_load import Asked

PASSTHROUGH: Final = "gateway, passthrough"
UPSTREAM: Final = "gateway, upstream"

VENDOR: Final = "yotpo"
CREDENTIALS: Final = {"guid": "demo-guid", "api_key": "demo-api-key"}
# Each customer's request is another one: the same twice at once would be one adjustment to an upstream.
ASKED: Final = Asked(
    "/api/v2/points/adjust",
    {"x-guid": "demo-guid", "x-api-key": "demo-api-key", "content-type": "application/json"},
    '{"customer_email":"c{customer}@example.com","point_adjustment_amount":5,"history_title":"Goodwill gesture"}',
)
_MANY: Final = 64
_LEAST: Final = 2.5
"""How many times as many requests a second the gateway shall answer as Prism's proxy, at 64 connections."""
_MOST_ADDED: Final = 2.0


def compare(folder: Path, connections: Sequence[int], rounds: int, seconds: int, *, quiet_peers: bool) -> None:
    """Prints a table for each number of connections, then the targets."""
    with ExitStack() as stack:
        stub = stack.enter_context(servers.stub(folder, ASKED))
        url = stub.target.url
        limits = {"requests": "100000000/1s", "minute": "100000000/60s"}
        backends = {
            PASSTHROUGH: passing_to(stub),
            UPSTREAM: {
                "upstream": {"vendor": VENDOR, "url": url, "credentials": CREDENTIALS, "rate_limits": limits}
            },
        }
        running = [stub]
        proxy = stack.enter_context(servers.prism_proxy(folder, stub, VENDOR, quiet=quiet_peers))
        running += [] if proxy is None else [proxy]
        running += [
            stack.enter_context(servers.shim(name, folder, VENDOR, CREDENTIALS, backend, ASKED))
            for name, backend in backends.items()
        ]
        measured = {
            count: measure(running, folder, connections=count, rounds=rounds, seconds=seconds)
            for count in connections
        }
        memory = {server.name: peak_memory(server.pid) for server in running}
    names = [server.name for server in running]
    for count, figures in measured.items():
        print_table(figures, count, names, memory)
    print_verdicts(
        [
            verdict
            for count, figures in measured.items()
            for name in backends
            for verdict in verdicts(name, count, figures)
        ]
    )


def passing_to(server: servers.Server) -> dict[str, Any]:
    """The backend that sends everything there."""
    return {"passthrough": {"url": server.target.url}}


def verdicts(name: str, connections: int, rounds: Sequence[Round]) -> Iterator[Verdict]:
    """The targets for one row of the gateway; that against Prism is left out where it did not run."""
    if connections == _MANY and servers.PRISM_PROXY in rounds[0].samples:
        times = ratio(rounds, "rate", name, servers.PRISM_PROXY)
        yield Verdict(
            f"{name}: req/s of {servers.PRISM_PROXY}", f"≥ {_LEAST:.2f}×", f"{times:.2f}×", times >= _LEAST
        )
    if connections == 1:
        added = added_latency(rounds, name, servers.STUB)
        yield Verdict(
            f"{name}: p50 added at 1 connection",
            f"≤ {_MOST_ADDED:.2f} ms",
            f"{added:.2f} ms",
            added <= _MOST_ADDED,
        )
