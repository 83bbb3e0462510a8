"""Clients of a vendor that add and deduct, and ask again with the same key until they know what came of it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import httpx

_CLIENTS: Final = 6
_PAUSE_SECONDS: Final = 0.03
_BETWEEN_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 30.0


class Customer(NamedTuple):
    """A customer by the names that clients use."""

    email: str
    shopify: str
    salla: str


CUSTOMERS: Final = tuple(
    Customer(f"customer{number}@example.com", str(6_789_012_400 + number), str(748_394_100 + number))
    for number in range(6)
)


class Change(NamedTuple):
    """What one request is to do; the reason is the key, so that it is known in anybody's ledger."""

    key: str
    customer: Customer
    points: int


class Refusal(NamedTuple):
    """An answer that is no success: when it was asked for and when it came."""

    change: Change
    status: int
    told: str
    asked_at: float
    answered_at: float


Say = Callable[[httpx.AsyncClient, Change], Awaitable[httpx.Response]]


async def say_salla(client: httpx.AsyncClient, change: Change) -> httpx.Response:
    return await client.post(
        "/salla/admin/v2/customers/loyalty/points",
        json={
            "points": abs(change.points),
            "type": "plus" if change.points > 0 else "minus",
            "reason": change.key,
            "channel_send": [],
            "customers": [int(change.customer.salla)],
        },
        headers={"authorization": "Bearer demo-salla-token", "idempotency-key": change.key},
    )


async def say_yotpo(client: httpx.AsyncClient, change: Change) -> httpx.Response:
    return await client.post(
        "/yotpo/api/v2/points/adjust",
        json={
            "customer_email": change.customer.email,
            "point_adjustment_amount": change.points,
            "history_title": change.key,
        },
        headers={"x-guid": "demo-guid", "x-api-key": "demo-api-key", "idempotency-key": change.key},
    )


@dataclass
class Traffic:
    """Clients at work from ``begin`` to ``ended``.

    One that is told by a status in ``says_undone`` that nothing was carried out lets it be at times, which must
    then be true. ``busy`` are the statuses by which it is told to ask again.
    """

    url: str
    say: Say
    busy: set[int]
    says_undone: set[int]
    chance: random.Random
    applied: dict[str, Change] = field(default_factory=dict)
    let_be: dict[str, Change] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    broken: int = 0
    replays: int = 0
    _going: bool = True
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def begin(self) -> None:
        self._tasks = [asyncio.create_task(self._at_work(number)) for number in range(_CLIENTS)]

    async def ended(self) -> None:
        """Every client knows what came of all that it asked for."""
        self._going = False
        await asyncio.wait_for(asyncio.gather(*self._tasks), 60)

    async def goes_on(self, answers: int) -> None:
        """Waits until so many more were carried out."""
        wanted = len(self.applied) + answers
        async with asyncio.timeout(60):
            while len(self.applied) < wanted:
                await asyncio.sleep(0.02)
                for task in self._tasks:
                    if task.done():
                        task.result()

    async def _at_work(self, number: int) -> None:
        funds: Counter[Customer] = Counter()
        turn = 0
        async with httpx.AsyncClient(base_url=self.url, timeout=_TIMEOUT_SECONDS) as client:
            while self._going:
                turn += 1
                change = self._next(f"key-{number}-{turn}", funds)
                if await self._carried_out(client, change):
                    funds[change.customer] += change.points
                await asyncio.sleep(_PAUSE_SECONDS)

    def _next(self, key: str, funds: Counter[Customer]) -> Change:
        """No deduction is larger than what its own client has added before."""
        customer = self.chance.choice(CUSTOMERS)
        if funds[customer] and self.chance.random() < 0.4:
            return Change(key, customer, -self.chance.randint(1, funds[customer]))
        return Change(key, customer, self.chance.randint(1, 50))

    async def _carried_out(self, client: httpx.AsyncClient, change: Change) -> bool:
        """Whether it was, which an answer says at last."""
        is_certain = True
        while True:
            asked_at = time.monotonic()
            try:
                response = await self.say(client, change)
            except httpx.TransportError:
                self.broken += 1
                is_certain = False
                await asyncio.sleep(_BETWEEN_SECONDS)
                continue
            if response.is_success:
                self.applied[change.key] = change
                await self._replayed(client, change)
                return True
            self._refused(change, response, asked_at)
            if response.status_code not in self.busy | self.says_undone:
                return False
            if response.status_code in self.says_undone and is_certain and self.chance.random() < 0.3:
                self.let_be[change.key] = change
                return False
            await asyncio.sleep(_BETWEEN_SECONDS)

    async def _replayed(self, client: httpx.AsyncClient, change: Change) -> None:
        """Asks at times for what was answered already."""
        if self.chance.random() > 0.1:
            return
        asked_at = time.monotonic()
        try:
            response = await self.say(client, change)
        except httpx.TransportError:
            return
        if not response.is_success:
            self._refused(change, response, asked_at)
            return
        self.replays += 1
        if response.headers.get("idempotency-replayed") != "true":
            self.failures.append(f"{change}: no replay, {response.text}")

    def _refused(self, change: Change, response: httpx.Response, asked_at: float) -> None:
        status = response.status_code
        self.refusals.append(Refusal(change, status, response.text, asked_at, time.monotonic()))
        if status not in self.busy | self.says_undone:
            self.failures.append(f"{change}: {status} {response.text}")
