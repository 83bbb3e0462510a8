"""The gateway beside what one would otherwise run: ``python benchmarks/side_by_side.py``.

All take turns. Servers share one core, the generator (``wrk``) has another. The gateway does all of its work:
credentials, rate limits counted (high enough never to refuse), request and answer checked by the spec, durable
commits on SQLite, metrics. Every server logs as it does by default, to a file; ``--quiet-peers`` takes the peers'
request lines away. With ``--shim``, ``--ledger-of``, ``--postgres``, ``--everyone``, ``--memory`` or ``--start``
one other question is answered instead.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import endurance
import everyone
import large_ledger
import on_postgres
import peer_comparison
import shim
from machine import GENERATOR_CORE, SERVER_CORE


def main() -> None:
    """Reads what is asked for, and measures it in a folder that is gone afterwards."""
    chosen = _arguments().parse_args()
    if not chosen.start and shutil.which("wrk") is None:
        sys.exit("side_by_side.py needs wrk, which makes the load; distributions have it as a package.")
    if SERVER_CORE == GENERATOR_CORE:
        print("There is one core only, shared by servers and generator: ratios flatter whoever is slow.")
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        if chosen.start:
            endurance.start(folder, chosen.rounds)
        elif chosen.memory is not None:
            endurance.memory(folder, chosen.memory)
        elif chosen.postgres:
            on_postgres.compare(folder, rounds=chosen.rounds, seconds=chosen.seconds)
        elif chosen.shim:
            shim.compare(folder, chosen.connections, chosen.rounds, chosen.seconds, quiet_peers=chosen.quiet_peers)
        elif chosen.everyone is not None:
            everyone.compare(folder, chosen.everyone, rounds=chosen.rounds)
        elif chosen.ledger_of is not None:
            large_ledger.compare(folder, *chosen.ledger_of, rounds=chosen.rounds, seconds=chosen.seconds)
        else:
            peer_comparison.compare(
                folder, chosen.connections, chosen.rounds, chosen.seconds, quiet_peers=chosen.quiet_peers
            )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median counts (5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds for each server in each round (5)")
    parser.add_argument("--connections", type=int, nargs="+", default=[64, 1], help="open at once (64 1)")
    parser.add_argument("--quiet-peers", action="store_true", help="the peers write no line for each request")
    parser.add_argument("--folder", type=Path, help="where the ledgers lie (the system's folder for such files)")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--ledger-of",
        type=_size,
        metavar="WALLETS:ENTRIES",
        help="a ledger of that size beside an empty one, such as 1000000:5000000",
    )
    instead.add_argument("--postgres", action="store_true", help="the gateway on PostgreSQL beside SQLite")
    instead.add_argument(
        "--shim", action="store_true", help="the gateway before a vendor's server beside Prism's proxy"
    )
    instead.add_argument(
        "--everyone", type=int, metavar="WALLETS", help="an adjustment of so many wallets at once beside bare SQL"
    )
    instead.add_argument(
        "--memory", type=int, metavar="REQUESTS", help="resident memory at every tenth of so many requests"
    )
    instead.add_argument("--start", action="store_true", help="seconds from the command to the first answer")
    return parser


def _size(text: str) -> tuple[int, int]:
    wallets, _, entries = text.partition(":")
    return int(wallets), int(entries)


if __name__ == "__main__":
    main()
