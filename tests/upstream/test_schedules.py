"""Whatever goes wrong in whatever order: no points move twice, and none move unaccounted."""

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from faulty import UPSTREAMS
from schedules import run

from conftest import NOT_TRACED
from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import Intent, Outcome
from loyalty_gateway.ledger.statements import Statement, Work
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream import calls, connections, intents, lists, settling
from loyalty_gateway.upstream.connections import Unclear
from loyalty_gateway.upstream.intents import Intents
from loyalty_gateway.upstream.server import Server
from loyalty_gateway.upstream.settling import Settling
from loyalty_gateway.vendor import Answer, Operation, ValidRequest, Vendor

pytestmark = NOT_TRACED

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""
EACH = 2_000


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits for long, and nobody writes of each fault."""
    monkeypatch.setattr(calls, "_BETWEEN_SECONDS", 0.0)
    monkeypatch.setattr(intents, "_LOOK_AGAIN_SECONDS", 0.003)
    monkeypatch.setattr(settling, "_EVERY_SECONDS", 0.005)
    monkeypatch.setattr(connections, "_PAUSE_SECONDS", 0.02)
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: it is not the disk that is tested."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_points_move_once_whatever_goes_wrong(
    folder: Path, vendor: str, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    print(f"LOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    told = run(folder, vendor, 12, vendors, contracts, SEED)

    assert told.findings == []
    assert told.counts["schedules"] == 12


# What would be wrong, and is noticed.


def _asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is unclear is asked for again."""
    send = Server.send

    async def sent(
        self: Server, operation: Operation, request: ValidRequest, may_send: Callable[[], bool] = lambda: True
    ) -> Answer:
        try:
            return await send(self, operation, request, may_send)
        except Unclear:
            return await send(self, operation, request, may_send)

    monkeypatch.setattr(Server, "send", sent)


def _takes_hanging_up_for_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that hangs up is taken not to have read the request, as the transport has it."""
    monkeypatch.setattr(connections, "_NO_CONNECTION", aiohttp.ClientConnectionError)


def _writes_down_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """An intent is written down with what came of it."""
    write_down, settle, numbers = Intents.write_down, Intents.settle, count(10**9)

    async def not_yet(
        self: Intents,
        intents: Sequence[Intent],
        _merchant: Merchant,
        *,
        is_ours: bool = True,
        still: object = None,
    ) -> tuple[list[Intent], bool]:
        assert is_ours
        assert still is None
        numbered = [msgspec.structs.replace(intent, id=next(numbers), merchant_id=1) for intent in intents]
        self.hold([intent.id for intent in numbered], time.monotonic())
        return numbered, True

    async def now(self: Intents, intent: Intent, outcome: Outcome, merchant: Merchant) -> None:
        (written,), _ = await write_down(self, [intent], merchant)
        await settle(self, written, outcome, merchant)

    monkeypatch.setattr(Intents, "write_down", not_yet)
    monkeypatch.setattr(Intents, "settle", now)


def _begins_parts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a list is not said to be begun before it is asked for."""

    def opened(_intent_id: int, *, owner: str, now: int, due_at: int) -> Work[bool]:
        assert owner
        assert now < due_at
        return bool((yield Statement("SELECT 1")))

    monkeypatch.setattr(lists, "open_part", opened)


def _settles_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the history does not show yet counts as not carried out."""
    init = Settling.__init__

    def hasty(
        self: Settling,
        backend: Any,
        server: Server,
        ledger: Ledger,
        merchants: Mapping[str, Merchant],
        _: float,
    ) -> None:
        init(self, backend, server, ledger, merchants, 0.0)

    monkeypatch.setattr(Settling, "__init__", hasty)


@pytest.mark.parametrize(
    ("wrong", "vendor", "kinds"),
    [
        (_asks_again, "yotpo", {"moved twice"}),
        (_asks_again, "mage", {"moved twice"}),
        (_takes_hanging_up_for_no_connection, "loyaltylion", {"moved twice"}),
        (_writes_down_afterwards, "yotpo", {"unaccounted"}),
        (_begins_parts_again, "loyaltylion", {"moved twice"}),
        (_settles_at_once, "yotpo", {"unaccounted"}),
    ],
)
def test_a_gateway_with_one_fault_breaks_a_promise_that_is_noticed(  # noqa: PLR0917 - fixtures
    folder: Path,
    wrong: Callable[[pytest.MonkeyPatch], None],
    vendor: str,
    kinds: set[str],
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong(monkeypatch)

    told = run(folder, vendor, 400, vendors, contracts, 7, until=kinds)

    assert kinds <= {kind for kind, _ in told.findings}


@pytest.mark.slow
@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_points_move_once_in_many_schedules_whatever_goes_wrong(
    folder: Path,
    vendor: str,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with capsys.disabled():
        print(f"\nLOYALTY_GATEWAY_SEED={SEED}")  # noqa: T201 - to repeat the run

    told = run(folder, vendor, EACH, vendors, contracts, SEED)

    with capsys.disabled():
        print(f"{vendor}: {told}")  # noqa: T201 - what the run showed
    assert told.findings == []
    assert told.counts["schedules"] == EACH
