"""Generated schedules of adjustments, faults, retries and crashes before an honest vendor, and their oracle."""

import asyncio
import json
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import httpx
from faulty import HTML, pointed, told_by

from conftest import demo_config
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Instruction, Lifetime, Merchant
from loyalty_gateway.app import create_app
from loyalty_gateway.config import parse_config
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.journal import Journal
from loyalty_gateway.ledger.sqlite import SqliteLedger
from loyalty_gateway.problem import Code
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import Vendor

R = TypeVar("R")

SETTLE_SECONDS: Final = 3_600
_DEMO: Final = Merchant(name="demo")
_FUNDS: Final = 40
_MARK: Final = re.compile(r" \[(lg-[A-Z2-7]{16})\]$")
_UNDONE: Final = " (undone)"
_UNSETTLED: Final = "('open', 'unclear', 'waiting')"


class _Silent(Journal):
    def write(self, line: Any) -> None:
        """Nobody reads it."""


# The shim, which can die.


class Life:
    """One process of the shim, as far as it can be seen: from its start until it ends or dies."""

    def __init__(self) -> None:
        self.is_dead = False
        self.died = asyncio.Event()
        self._left: int | None = None

    def dies_in(self, points: int) -> None:
        """Dies at the so manieth moment from now on at which it waits for its ledger to write or for the vendor.

        Between two of these nothing changes that outlives it, however often it reads.
        """
        self._left = points

    def die(self) -> None:
        """From here on nothing it does has an effect."""
        self.is_dead = True
        self.died.set()

    async def point(self) -> None:
        """A moment at which it may die."""
        if self._left is not None and not self.is_dead:
            self._left -= 1
            if self._left <= 0:
                self.die()
        self.go_on()

    def go_on(self) -> None:
        """Beyond here the dead do not come."""
        if self.is_dead:
            raise asyncio.CancelledError


class _MortalLedger(SqliteLedger):
    def __init__(self, path: Path, life: Life) -> None:
        super().__init__(str(path), runs_jobs=False)
        self._life = life

    async def _in_writer(self, work: Callable[[], R]) -> R:
        await self._life.point()
        result = await super()._in_writer(work)
        await self._life.point()
        return result

    async def _in_reader(self, work: Any, *, is_long: bool) -> Any:
        self._life.go_on()
        result = await super()._in_reader(work, is_long=is_long)
        self._life.go_on()
        return result

    def bury(self) -> None:
        """Lets go of the file, as the system does for the dead."""
        for threads in (self._writer, self._long_readers):
            threads.shutdown()
        self._short_reads.close()
        for connection in (*self._reader_connections, *filter(None, [self._db])):
            connection.close()


# The vendor, which is honest, and the way there, which is not.


class Vendors:
    """A gateway that plays the vendors, and the faults on the way to it."""

    def __init__(self, app: Any, vendor: Vendor) -> None:
        self._app = httpx.ASGITransport(app=app)
        self._vendor = vendor
        self.chance = random.Random(0)
        self.rate = 0.0
        self.faults: Counter[str] = Counter()
        self._late: list[httpx.Request] = []
        self._under_way: set[asyncio.Task[Any]] = set()
        self._refusals = {
            "401": told_by(vendor, Code.INVALID_CREDENTIALS, 401),
            "403": told_by(vendor, Code.INSUFFICIENT_SCOPE, 403),
            "404": told_by(vendor, Code.UNKNOWN_PATH, 404),
            "422": told_by(vendor, Code.INVALID, 422),
            "429": told_by(vendor, Code.RATE_LIMITED, 429, ("retry-after", "0")),
            "503": told_by(vendor, Code.UNAVAILABLE, 503),
        }

    async def exchange(self, request: httpx.Request) -> httpx.Response:
        """Carries the request out and answers, or does something else."""
        await request.aread()
        if self.chance.random() >= self.rate:
            return await self._forward(request)
        name = self.chance.choice((*_FAULTS, *self._refusals))
        self.faults[name] += 1
        if name in self._refusals:
            fault = self._refusals[name]
            told = dict([*fault.headers, ("content-type", fault.media_type)])
            return httpx.Response(fault.status, headers=told, content=fault.body.encode())
        return await self._broken(name, request)

    async def _broken(self, name: str, request: httpx.Request) -> httpx.Response:
        what, _, effect = name.partition(", ")
        if effect == "after":
            await self._forward(request)
        elif effect == "late":
            self._late.append(request)
        match what:
            case "no connection":
                raise httpx.ConnectError("refused")
            case "silence":
                raise httpx.ReadTimeout("silence")
            case "hangs up":
                # So does the transport in service tell of it.
                raise httpx.ConnectTimeout("") from aiohttp.ServerDisconnectedError()
            case "breaks off":
                raise httpx.ReadError("broken off") from aiohttp.ClientPayloadError()
            case "page":
                return httpx.Response(200, headers={"content-type": "text/html"}, content=HTML.encode())
            case "off the contract":
                return httpx.Response(200, json={"greeting": [1]})
            case _:
                return httpx.Response(500, json={"oops": True})

    async def _forward(self, request: httpx.Request) -> httpx.Response:
        """Goes on whoever waits for it: the vendor does not die with the shim."""
        task = asyncio.create_task(self._carried_out(request))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _carried_out(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        content = await answer.aread()
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)

    @property
    def under_way(self) -> set[asyncio.Task[Any]]:
        """What the vendor is at."""
        return set(self._under_way)

    async def catch_up(self) -> None:
        """Whatever is on its way arrives."""
        while self._under_way or self._late:
            late, self._late = self._late, []
            for request in late:
                await self._carried_out(request)
            if self._under_way:
                await asyncio.wait(set(self._under_way))


_FAULTS: Final = (
    "no connection",
    "silence, before",
    "silence, after",
    "silence, late",
    "hangs up, before",
    "hangs up, after",
    "hangs up, late",
    "breaks off, after",
    "page, before",
    "page, after",
    "off the contract, after",
    "off the contract, before",
    "500, before",
    "500, after",
)


class _Way(httpx.AsyncBaseTransport):
    def __init__(self, vendors: Vendors, life: Life) -> None:
        self._vendors = vendors
        self._life = life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._life.point()
        try:
            return await self._vendors.exchange(request)
        finally:
            await self._life.point()


# What clients ask.


@dataclass(frozen=True)
class Person:
    """A customer by the names that vendors have for them."""

    number: int

    @property
    def references(self) -> tuple[CustomerReference, ...]:
        names = {"shopify": self.shopify, "email": self.email, "bitbybit": self.bitbybit, "salla": self.salla}
        return tuple(CustomerReference(namespace, value) for namespace, value in names.items())

    @property
    def shopify(self) -> str:
        return str(7_000_000_000 + self.number)

    @property
    def email(self) -> str:
        return f"person{self.number}@example.com"

    @property
    def bitbybit(self) -> str:
        return f"cust_{self.number}"

    @property
    def salla(self) -> str:
        return str(800_000_000 + self.number)


@dataclass
class Asked:
    """One request of a client, which may be sent several times."""

    client: str
    people: tuple[Person, ...]
    points: int
    reason: str
    key: str | None
    sent: int = 0
    statuses: list[int] = field(default_factory=list)

    async def send(self, client: httpx.AsyncClient) -> None:
        """Sends it, and notes what is answered; nothing where nobody lives to answer."""
        path, body, headers = _SAYS[self.client](self.people, self.points, self.reason)
        if self.key is not None:
            if self.client == "bitbybit":
                body["idempotencyKey"] = self.key
            else:
                headers = {**headers, "idempotency-key": self.key}
        self.sent += 1
        answer = await client.post(path, json=body, headers=headers)
        self.statuses.append(answer.status_code)


_Said = tuple[str, dict[str, Any], dict[str, str]]
_SIGNED: Final = {True: "plus", False: "minus"}


def _bitbybit(people: Sequence[Person], points: int, reason: str) -> _Said:
    body = {"direction": "add" if points > 0 else "deduct", "points": abs(points), "reason": reason}
    path = f"/bitbybit/customer/api/open/v1/loyalty/customers/{people[0].bitbybit}/points/adjust"
    return path, body, {"x-api-key": "bbb_test_demo"}


def _mage(people: Sequence[Person], points: int, reason: str) -> _Said:
    body = {"adjustment": points, "note": reason}
    return f"/mage/v1/customers/{people[0].email}/points", body, {"authorization": "mage_demo_key"}


def _yotpo(people: Sequence[Person], points: int, reason: str) -> _Said:
    body = {"customer_email": people[0].email, "point_adjustment_amount": points, "history_title": reason}
    return "/yotpo/api/v2/points/adjust", body, {"x-guid": "demo-guid", "x-api-key": "demo-api-key"}


def _salla(people: Sequence[Person], points: int, reason: str) -> _Said:
    body = {
        "points": abs(points),
        "type": _SIGNED[points > 0],
        "reason": reason,
        "channel_send": [],
        "customers": [int(one.salla) for one in people],
    }
    return "/salla/admin/v2/customers/loyalty/points", body, {"authorization": "Bearer demo-salla-token"}


def _loyaltylion(people: Sequence[Person], points: int, reason: str) -> _Said:
    path = f"/loyaltylion/v2/customers/{people[0].shopify}/{'points' if points > 0 else 'remove_points'}"
    return path, {"points": abs(points), "reason": reason}, {"authorization": "Bearer pat_demo"}


_SAYS: Final[Mapping[str, Callable[[Sequence[Person], int, str], _Said]]] = {
    "bitbybit": _bitbybit,
    "mage": _mage,
    "yotpo": _yotpo,
    "salla": _salla,
    "loyaltylion": _loyaltylion,
}


# The schedules.


@dataclass
class Told:
    """What a run showed; ``findings`` are broken promises, by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        return f"{told}; {len(self.findings)} broken promises"


class Run:
    """Schedules before one vendor, one after another; the shim lives on from one to the next unless it dies."""

    def __init__(
        self,
        folder: Path,
        vendor: str,
        vendors: Mapping[str, Vendor],
        contracts: Mapping[str, Contract],
        seed: int,
    ) -> None:
        self._folder = folder
        self._vendor = vendor
        self._all = vendors
        self._contracts = contracts
        self._seed = seed
        self._path = folder / f"shim-{vendor}.db"
        self._life = Life()
        self._ledger: _MortalLedger | None = None
        self._client: httpx.AsyncClient | None = None
        self._end: asyncio.Event = asyncio.Event()
        self._lifespan: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[Any]] = set()
        self.told = Told()

    async def schedules(self, number: int, until: AbstractSet[str]) -> Told:
        """Runs so many of them, or until promises of these kinds are found broken."""
        config = demo_config(ledger=f"sqlite:///{self._folder / 'vendors.db'}")
        self._there = SqliteLedger(str(self._folder / "vendors.db"), runs_jobs=False)
        app = create_app(
            parse_config(config, self._all, {}),
            self._all,
            journal=_Silent(),
            ledger=self._there,
            contracts=self._contracts,
        )
        async with app.router.lifespan_context(app):
            self._vendors = Vendors(app, self._all[self._vendor])
            self._others = asyncio.all_tasks()
            await self._start()
            # The shim's file is looked at as an operator does.
            with (
                closing(_opened(self._path)) as self._here,
                closing(_opened(self._folder / "vendors.db")) as self._entries,
            ):
                for index in range(number):
                    await self._schedule(index)
                    if until and until <= {kind for kind, _ in self.told.findings}:
                        break
            await self._stop()
        return self.told

    # Its life

    async def _start(self) -> None:
        life = self._life = Life()
        config = demo_config(ledger=f"sqlite:///{self._path}")
        backend = pointed(self._vendor, "http://vendor", settle_seconds=SETTLE_SECONDS, patience_seconds=0.01)
        for chosen in config["vendors"].values():
            chosen["backend"] = backend
        ledger = self._ledger = _MortalLedger(self._path, life)
        app = create_app(
            parse_config(config, self._all, {}),
            self._all,
            journal=_Silent(),
            ledger=ledger,
            contracts=self._contracts,
            transport=_Way(self._vendors, life),
        )
        started, end = asyncio.Event(), asyncio.Event()

        async def lived() -> None:
            async with app.router.lifespan_context(app):
                started.set()
                await end.wait()

        self._end, self._lifespan = end, asyncio.create_task(lived())
        await started.wait()
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shim")

    async def _stop(self) -> None:
        self._end.set()
        assert self._lifespan is not None
        await self._lifespan

    async def _bury(self) -> None:
        """What is left of a dead shim goes, without a word to its ledger."""
        self._life.die()
        while left := asyncio.all_tasks() - self._others - self._vendors.under_way - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.01)
        assert self._ledger is not None
        self._ledger.bury()
        self.told.counts["crashes"] += 1

    # One schedule

    async def _schedule(self, index: int) -> None:
        chance = self._chance = random.Random(f"{self._seed} {self._vendor} {index}")
        self._vendors.chance = chance
        people = tuple(Person(2 * index + one) for one in range(2))
        await self._enrol(people)
        (first,) = self._here.execute("SELECT COALESCE(MAX(id), 0) FROM intents").fetchone()
        asked: list[Asked] = []
        self._vendors.rate = chance.choice((0.0, 0.15, 0.4))
        for step in range(chance.randint(2, 6)):
            await self._step(f"{index}.{step}", people, asked)
        self._vendors.rate = 0.0
        await self._settle(index)
        for one in asked:
            if one.key is not None and chance.random() < 0.5:
                self.told.counts["last retries"] += 1
                await one.send(self._the_client)
        await self._settle(index)
        self._judge(index, first, people, asked)
        self.told.counts["schedules"] += 1

    @property
    def _the_client(self) -> httpx.AsyncClient:
        assert self._client is not None
        return self._client

    async def _enrol(self, people: Sequence[Person]) -> None:
        assert self._ledger is not None
        for one in people:
            for ledger in (self._there, self._ledger):
                await ledger.enrol(_DEMO, Enrolment(references=one.references))
            adjustment = Adjustment(
                customers=one.references[:1], points_delta=_FUNDS, lifetime=Lifetime.EARN_AND_BURN, reason="funds"
            )
            await self._there.adjust(Instruction(merchant=_DEMO, vendor="mage", adjustment=adjustment))

    async def _step(self, name: str, people: Sequence[Person], asked: list[Asked]) -> None:
        chance = self._chance
        kind = chance.choices(
            ("new", "again", "identical at once", "several at once", "time passes"), (8, 5, 3, 3, 2)
        )[0]
        self.told.counts[kind] += 1
        if kind == "time passes":
            await self._vendors.catch_up()
            self._pass_time()
            return
        if kind == "again" and asked:
            sending = [chance.choice(asked)] * chance.choice((1, 1, 2))
        elif kind == "several at once":
            sending = [self._new(f"{name}.{number}", people) for number in range(chance.randint(2, 3))]
        else:
            sending = [self._new(name, people)] * (chance.randint(2, 3) if kind == "identical at once" else 1)
        asked += [one for one in {id(one): one for one in sending}.values() if one not in asked]
        dies = chance.random() < 0.25
        if dies:
            self._life.dies_in(chance.randint(1, 16))
        await self._send(sending)
        if dies:
            await self._bury()
            await self._start()

    async def _send(self, sending: Sequence[Asked]) -> None:
        self.told.counts["requests"] += len(sending)

        async def sent(one: Asked) -> None:
            with suppress(asyncio.CancelledError):
                await one.send(self._the_client)

        died = asyncio.create_task(self._life.died.wait())
        tasks = [asyncio.create_task(sent(one)) for one in sending]
        everything = asyncio.create_task(asyncio.wait(tasks))
        await asyncio.wait([everything, died], return_when=asyncio.FIRST_COMPLETED)
        for task in (died, *tasks):
            task.cancel()
        await everything

    def _new(self, name: str, people: Sequence[Person]) -> Asked:
        chance = self._chance
        client = chance.choice(tuple(_SAYS))
        to = tuple(people) if client == "salla" and chance.random() < 0.5 else (chance.choice(people),)
        points = chance.choice((1, 2, 5, 9, -1, -4, -11, -500))
        key = f"key {name} {self._seed}" if chance.random() < 0.6 else None
        return Asked(client, to, points, f"reason {name}.", key)

    def _pass_time(self) -> None:
        """As long passes as it takes until nothing can still arrive."""
        back = 2 * SETTLE_SECONDS * 1_000_000
        self._here.execute(
            "UPDATE intents SET due_at = 0, created_at = created_at - ?, sent_at = sent_at - ? "
            f"WHERE state IN {_UNSETTLED}",
            (back, back),
        )

    async def _settle(self, index: int) -> None:
        for attempt in range(2_000):
            if attempt % 50 == 0:
                await self._vendors.catch_up()
                self._pass_time()
            rows = self._here.execute(f"SELECT id, state FROM intents WHERE state IN {_UNSETTLED}").fetchall()
            if not rows:
                return
            self._here.execute("UPDATE intents SET due_at = 0 WHERE state IN ('unclear', 'waiting')")
            await asyncio.sleep(0.003)
        self._find("never settled", index, f"{[tuple(row) for row in rows]}")

    # The promises

    def _find(self, kind: str, index: int, what: str) -> None:
        self.told.findings.append((kind, f"{self._vendor} schedule {index}: {what}"))

    def _judge(self, index: int, first: int, people: Sequence[Person], asked: Sequence[Asked]) -> None:
        intents = [_Intent.of(row) for row in self._here.execute("SELECT * FROM intents WHERE id > ?", (first,))]
        entries = [
            row
            for one in people
            for row in self._entries.execute(
                "SELECT e.points_delta, e.reason FROM entries e JOIN customer_references r "
                "ON r.wallet_id = e.wallet_id WHERE r.namespace = 'salla' AND r.value = ? AND e.reason <> 'funds' "
                # Of a wallet without points a vendor that floors takes nothing.
                "AND e.points_delta <> 0",
                (one.salla,),
            )
        ]
        known = {one.reason for one in asked}
        for points, reason in entries:
            if _plain(reason) not in known:
                self._find("unaccounted", index, f"{points} {reason}")
        self._judge_marks(index, intents, [reason for _, reason in entries])
        for one in asked:
            moved = [(points, reason) for points, reason in entries if _plain(reason) == one.reason]
            self._judge_one(index, one, [intent for intent in intents if intent.reason == one.reason], moved)
        self.told.counts["entries"] += len(entries)

    def _judge_marks(self, index: int, intents: Sequence["_Intent"], reasons: Sequence[str]) -> None:
        states = {intent.mark: intent.state for intent in intents}
        marks = Counter(found[1] for reason in reasons if (found := _MARK.search(reason)))
        for mark, number in marks.items():
            if number > 1 and not any(len(one.customers) > 1 for one in intents if one.mark == mark):
                self._find("moved twice", index, f"{mark} {number} times")
            if states.get(mark) not in {"done", "parked"}:
                self._find("unaccounted", index, f"{mark} is {states.get(mark)}")

    def _judge_one(
        self, index: int, asked: Asked, intents: Sequence["_Intent"], moved: Sequence[tuple[int, str]]
    ) -> None:
        wholes = {intent.parent for intent in intents}
        movers = [intent for intent in intents if intent.number not in wholes]
        roots = [intent for intent in intents if intent.parent is None]
        done = [intent for intent in roots if intent.state == "done"]
        parked = sum(len(intent.customers) for intent in movers if intent.state == "parked")
        expected = sum(len(one.customers) for one in movers if one.state == "done" and one.points_delta)
        undone = sum(_UNDONE in reason for _, reason in moved)
        net = len(moved) - 2 * undone
        told = f"{asked} {intents} {moved}"
        if (
            net > expected + parked
            or (asked.key is not None and net > len(asked.people))
            or len(done) > asked.sent
        ):
            self._find("moved twice", index, told)
        if net < expected:
            self._find("done without an entry", index, told)
        if asked.key is not None and len(done) > 1:
            self._find("moved twice", index, told)
        if not parked and sum(points for points, _ in moved) != sum(
            one.points_delta * len(one.customers) for one in movers if one.state == "done"
        ):
            self._find("other points than told", index, told)
        if any(200 <= status < 300 for status in asked.statuses) and not done:
            self._find("answered and not done", index, told)
        if {401, 403, 500} & set(asked.statuses):
            self._find("not in the client's voice", index, told)
        if parked and not (self._vendor == "mage" or (self._vendor == "salla" and asked.points < 0)):
            self._find("parked where the history tells", index, told)
        for intent in roots:
            self.told.counts[intent.state] += 1
        for status in asked.statuses:
            self.told.counts["answered well" if status < 300 else "answered with a refusal"] += 1


@dataclass(frozen=True)
class _Intent:
    number: int
    parent: int | None
    mark: str
    state: str
    reason: str
    customers: tuple[str, ...]
    points_delta: int

    @classmethod
    def of(cls, row: sqlite3.Row) -> "_Intent":
        adjustment, outcome = json.loads(row["adjustment"]), json.loads(row["outcome"] or "{}")
        return cls(
            number=row["id"],
            parent=row["parent"],
            mark=row["mark"],
            state=row["state"],
            reason=adjustment["reason"],
            customers=tuple(":".join(one) for one in adjustment["customers"]),
            points_delta=outcome.get("points_delta", 0),
        )


def _plain(reason: str) -> str:
    return _MARK.sub("", reason).removesuffix(_UNDONE)


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = OFF")
    return db


def run(  # noqa: PLR0917 - what a run is made of
    folder: Path,
    vendor: str,
    number: int,
    vendors: Mapping[str, Vendor],
    contracts: Mapping[str, Contract],
    seed: int,
    until: AbstractSet[str] = frozenset(),
) -> Told:
    """What so many schedules before the vendor show; fewer where promises of these kinds are found broken."""

    async def ran() -> Told:
        return await Run(folder, vendor, vendors, contracts, seed).schedules(number, until)

    return asyncio.run(ran())
