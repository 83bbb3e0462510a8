"""One gateway over its life: how soon it answers first, and what memory it holds after many requests."""

import statistics
from pathlib import Path
from typing import Final

import servers
from figures import Verdict, print_verdicts
from filled_ledger import fill
from machine import memory as resident_memory
from request_and_load import load

_CONFIG = Path(__file__).parents[1] / "config.yaml"
_JANE: Final = range(6_789_012_345, 6_789_012_346)
_LONGEST_START: Final = 1.5
_MOST_MEMORY: Final = 150
_MOST_GROWTH: Final = 1.0
"""MB; what an allocator may move by without anything being kept."""
_STEPS: Final = 10


def start(folder: Path, rounds: int) -> None:
    """Prints the seconds from the command to the first adjustment's answer, all five vendors configured."""
    seconds = [
        servers.seconds_to_first_answer(_CONFIG, folder / f"start-{index}.db", _JANE) for index in range(rounds)
    ]
    print("seconds to the first answer:", *(f"{one:.2f}" for one in seconds))
    median = statistics.median(seconds)
    print_verdicts(
        [Verdict("start to first answer", f"≤ {_LONGEST_START} s", f"{median:.2f} s", median <= _LONGEST_START)]
    )


def memory(folder: Path, requests: int) -> None:
    """Prints the resident memory of one gateway on 10,000 wallets at every tenth of so many requests."""
    ledger = folder / "memory.db"
    print(f"{'requests':>12}{'resident MB':>13}")
    with servers.gateway("memory", ledger, fill(ledger, 10_000)) as server:
        held, answered = [], 0
        for step in range(_STEPS + 1):
            # The generator counts seconds and not requests, so that a step ends a little later than its number.
            while answered < requests * step // _STEPS:
                answered += load(server.target, folder, connections=64, seconds=1).answered
            held.append(resident_memory(server.pid))
            print(f"{answered:>12,}{held[-1]:>13.1f}", flush=True)
    last, growth = held[-1], held[-1] - held[_STEPS // 2]
    print_verdicts(
        [
            Verdict("resident at the end", f"≤ {_MOST_MEMORY} MB", f"{last:.1f} MB", last <= _MOST_MEMORY),
            Verdict(
                "growth over the second half", f"≤ {_MOST_GROWTH} MB", f"{growth:.1f} MB", growth <= _MOST_GROWTH
            ),
        ]
    )
