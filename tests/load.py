"""Clients that send adjustments, each with a key of its own, and what a ledger must show of them afterwards."""

import asyncio
import io
import os
import random
import secrets
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
from rich.console import Console

from conftest import Served
from dialects import DIALECTS, Dialect
from loyalty_gateway.ledger_commands.verifying import verify
from stores import Store, opened_ledgers

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

_CLIENTS = 24


@dataclass(frozen=True)
class Sent:
    dialect: Dialect
    points: int
    key: str
    place: int

    @property
    def reason(self) -> str:
        return f"reason of {self.key}"


@dataclass
class Load:
    """What clients have sent, and the status of the last answer to each; what is sent again keeps its key."""

    chance: random.Random
    answered: dict[str, int] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: count(1))

    def acknowledged(self) -> set[str]:
        return {key for key, status in self.answered.items() if status < 300}

    def refused(self) -> list[str]:
        return [key for key, status in self.answered.items() if status >= 300]

    def unanswered(self) -> list[str]:
        return [key for key in self.sent if key not in self.answered]

    def assert_exactly_once(self, store: Store) -> set[str]:
        """Everything acknowledged is there once, and nothing else is there more often; gives what is there."""
        effects = effects_in(store)
        assert [key for key in self.acknowledged() if effects.get(key) != once(self.sent[key])] == []
        assert [key for key in set(self.sent) & set(effects) if effects[key] != once(self.sent[key])] == []
        assert set(effects) <= set(self.sent)
        return set(effects)

    def run(
        self, gateways: Sequence[Served], number: signal.Signals, after: int, ended: Sequence[int] = (0,)
    ) -> int:
        """Sends to all gateways until some have got the signal, ``after`` answers from now.

        Clients of a gateway that has ended turn to one that has not, in half of the cases at once, with the same
        key. Gives how many requests were on their way to those that ended.
        """
        return asyncio.run(self._run(gateways, number, after, ended))

    async def _run(
        self, gateways: Sequence[Served], number: signal.Signals, after: int, ended: Sequence[int]
    ) -> int:
        enough, over = asyncio.Event(), asyncio.Event()
        awaited = len(self.answered) + after
        others = [place for place in range(len(gateways)) if place not in ended]

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(_client(served)) for served in gateways]

            async def send(place: int) -> None:
                while not over.is_set():
                    sent = self._new(place)
                    try:
                        self.answered[sent.key] = (await _ask(clients[place], sent)).status_code
                    except httpx.TransportError:
                        if others and self.chance.random() < 0.5:
                            there = clients[self.chance.choice(others)]
                            self.answered[sent.key] = (await _ask(there, sent)).status_code
                        return
                    if len(self.answered) >= awaited:
                        enough.set()

            sending = [asyncio.create_task(send(client % len(gateways))) for client in range(_CLIENTS)]
            await asyncio.wait_for(enough.wait(), 60)
            # Somewhere between two answers rather than right behind one.
            await asyncio.sleep(self.chance.uniform(0, 0.01))
            on_their_way = sum(self.sent[key].place in ended for key in self.unanswered())
            for place in ended:
                gateways[place].process.send_signal(number)
            # The others go on for a while.
            await asyncio.sleep(self.chance.uniform(0, 0.1) if others else 0)
            if others:
                over.set()
            await asyncio.gather(*sending)
        return on_their_way

    def run_while(self, gateways: Sequence[Served], happens: Callable[[], None], after: int) -> None:
        """Sends to all gateways while something happens, ``after`` answers from now, and for a while after it."""
        asyncio.run(self._run_while(gateways, happens, after))

    async def _run_while(self, gateways: Sequence[Served], happens: Callable[[], None], after: int) -> None:
        enough, over = asyncio.Event(), asyncio.Event()
        awaited = len(self.answered) + after

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(_client(served)) for served in gateways]

            async def send(place: int) -> None:
                while not over.is_set():
                    sent = self._new(place)
                    answer = await _ask(clients[place], sent)
                    self.answered[sent.key] = answer.status_code
                    if len(self.answered) >= awaited:
                        enough.set()
                    if answer.status_code == 503:
                        await asyncio.sleep(0.05)

            async with asyncio.TaskGroup() as sending:
                for client in range(_CLIENTS):
                    sending.create_task(send(client % len(gateways)))
                await asyncio.wait_for(enough.wait(), 60)
                await asyncio.sleep(self.chance.uniform(0, 0.01))
                try:
                    await asyncio.to_thread(happens)
                    await asyncio.sleep(0.1)
                finally:
                    over.set()

    def _new(self, place: int) -> Sent:
        key = f"key {next(self.numbers)}"
        points = self.chance.choice((1, -1)) * self.chance.randint(1, 1_000)
        self.sent[key] = Sent(self.chance.choice(DIALECTS), points, key, place)
        return self.sent[key]

    def again(self, gateways: Sequence[Served], keys: Sequence[str]) -> dict[str, httpx.Response]:
        """The answers to what is sent again with the same key, to any of the gateways."""
        return asyncio.run(self._again(gateways, keys))

    async def _again(self, gateways: Sequence[Served], keys: Sequence[str]) -> dict[str, httpx.Response]:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(_client(served)) for served in gateways]
            answers = [await _ask(self.chance.choice(clients), self.sent[key]) for key in keys]
        return dict(zip(keys, answers, strict=True))


async def _ask(client: httpx.AsyncClient, sent: Sent) -> httpx.Response:
    return await sent.dialect.adjust(client, sent.points, sent.reason, sent.key)


def _client(served: Served) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=_CLIENTS, max_keepalive_connections=_CLIENTS)
    return httpx.AsyncClient(base_url=served.url, limits=limits, timeout=30)


def give_funds(served: Served) -> None:
    """So much to both customers that they can pay every deduction of a run."""
    answer = httpx.post(
        f"{served.url}/salla/admin/v2/customers/loyalty/points",
        json={
            "points": 999_999,
            "type": "plus",
            "reason": "funds",
            "channel_send": [],
            "customers": [748394059, 873874834],
        },
        headers={"authorization": "Bearer demo-salla-token"},
    )
    assert answer.status_code == 201


def effects_in(store: Store) -> dict[str, list[tuple[int, str]]]:
    """The points and reasons of all entries by the key that they came with."""
    effects: dict[str, list[tuple[int, str]]] = {}
    for row in store.rows(
        "SELECT idempotency_key, points_delta, reason FROM entries WHERE idempotency_key IS NOT NULL"
    ):
        effects.setdefault(row["idempotency_key"], []).append((row["points_delta"], row["reason"]))
    return effects


def once(sent: Sent) -> list[tuple[int, str]]:
    return [(sent.points, sent.reason)] * sent.dialect.customers


def assert_clean(store: Store) -> None:
    """``ledger verify`` finds nothing."""
    told = io.StringIO()

    async def verified() -> bool:
        async with opened_ledgers(store, 1) as (ledger,):
            return await verify(ledger, Console(file=told))

    assert asyncio.run(verified()), told.getvalue()


def is_replay(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("idempotency-replayed") == "true")
