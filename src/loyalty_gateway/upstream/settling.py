"""Settles intents that nobody is at: parts that wait, and those of which it is not known what came of them."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from loyalty_gateway.adjustment import CustomerReference, Everyone, Merchant
from loyalty_gateway.customer import CustomerQuery
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import (
    Intent,
    Outcome,
    State,
    claim,
    hold,
    is_due,
    leave,
    parts,
)
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldEntry, ToldReceipt
from loyalty_gateway.upstream.backend import UpstreamBackend
from loyalty_gateway.upstream.connections import NotSent, Unclear
from loyalty_gateway.upstream.intents import HELD_SECONDS, LEASE_SECONDS
from loyalty_gateway.upstream.marks import has_mark
from loyalty_gateway.upstream.phrasebook import as_received
from loyalty_gateway.upstream.reading import asked_for_history
from loyalty_gateway.upstream.server import Server
from loyalty_gateway.upstream.targets import Target

_log = logging.getLogger(__name__)

_EVERY_SECONDS: Final = 1.0
_HELD_EVERY_SECONDS: Final = 5
_AT_ONCE: Final = 16
_LONGEST_LOOK_SECONDS: Final = 86_400
_SLACK_SECONDS: Final = 300
"""By so much the upstream's clock may be behind ours."""
_SECOND: Final = 1_000_000


class Settling:
    """Looks after one upstream's intents while the gateway runs; several gateways share the work.

    Args:
        backend: the upstream.
        server: where it is.
        ledger: where the intents are.
        merchants: by name; one of them at least.
        settle_seconds: how long after it was asked for an adjustment may still appear in the upstream's history.
    """

    def __init__(
        self,
        backend: UpstreamBackend,
        server: Server,
        ledger: Ledger,
        merchants: Mapping[str, Merchant],
        settle_seconds: float,
    ) -> None:
        self._backend = backend
        self._server = server
        self._ledger = ledger
        self._merchants = merchants
        self._settle_after = round(settle_seconds * _SECOND)
        self._by_id: dict[int, Merchant] = {}
        self._woken = asyncio.Event()
        self._closing = False
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None
        self._holding: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look."""
        self._backend.intents.on_doubt = self._woken.set
        self._task = asyncio.create_task(self._run(), name=f"settling {self._backend.name}")
        self._holding = asyncio.create_task(self._hold(), name=f"holding {self._backend.name}")

    async def close(self) -> None:
        """Ends behind what is being looked at."""
        self._closing = True
        self._woken.set()
        if self._task is not None and self._holding is not None:
            await asyncio.gather(self._task, return_exceptions=True)
            # What still runs is ours until it has ended.
            await self._backend.intents.close()
            self._holding.cancel()
            await asyncio.gather(self._holding, return_exceptions=True)

    async def _hold(self) -> None:
        """Keeps other gateways from taking up what this one is at, however long that takes."""
        while True:
            await asyncio.sleep(_HELD_EVERY_SECONDS)
            try:
                await self.hold_running()
            except Exception as error:  # noqa: BLE001 - a store that is away comes back
                _log.warning("%s: intents cannot be held: %r", self._backend.name, error)

    async def hold_running(self) -> None:
        """Says of all that this gateway is at that it still is."""
        intents = self._backend.intents
        intent_ids = intents.running
        if not intent_ids:
            return

        def held(dialect: Dialect, _merchant_id: int, now: int) -> Work[list[int]]:
            due_at = now + LEASE_SECONDS * _SECOND
            return hold(dialect, intent_ids, owner=intents.owner, now=now, due_at=due_at)

        asked_at = time.monotonic()
        ours = await self._ledger.change(next(iter(self._merchants.values())), held, is_small=True)
        intents.hold(set(ours) & set(intents.running), asked_at)

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                is_more = await self.settle_due()
                self._is_failing = False
            except Exception as error:  # noqa: BLE001 - a store or a server that is away comes back
                if not self._is_failing:
                    _log.warning("%s: intents wait to be settled: %r", self._backend.name, error)
                self._is_failing, is_more = True, False
            if not is_more and not self._closing:
                try:
                    await asyncio.wait_for(self._woken.wait(), _EVERY_SECONDS)
                except TimeoutError:
                    continue

    async def settle_due(self) -> bool:
        """Takes up what is due; whether there may be more."""
        somebody = next(iter(self._merchants.values()))
        backend = self._backend

        # A write each second would be one for nothing most often.
        if not await self._ledger.look(
            lambda dialect: is_due(dialect, upstream=backend.name, now=time.time_ns() // 1_000)
        ):
            return False

        def claimed(dialect: Dialect, _merchant_id: int, now: int) -> Work[list[Intent]]:
            return claim(
                dialect,
                upstream=backend.name,
                owner=backend.intents.owner,
                now=now,
                due_at=now + LEASE_SECONDS * _SECOND,
                at_most=_AT_ONCE,
            )

        intents = await self._ledger.change(somebody, claimed, is_small=True)
        # One that was just found unclear may be among those running still, which end in the same moment.
        idle = [one for one in intents if one.state is not State.OPEN or one.id not in backend.intents.running]
        done = await asyncio.gather(*map(self._take_up, idle), return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                raise error
        return len(intents) == _AT_ONCE

    async def _take_up(self, intent: Intent) -> None:
        merchant = await self._merchant(intent.merchant_id)
        if intent.state is not State.WAITING:
            await self._look(intent, merchant)
        elif intent.parent is None:
            await self._sum_up(intent, merchant)
        else:
            await self._backend.lists.carry_out_part(intent, await self._target(intent, merchant), merchant)

    async def _merchant(self, merchant_id: int) -> Merchant:
        if merchant_id not in self._by_id:
            rows = await self._ledger.look(_merchants)
            self._by_id = {number: self._merchants.get(name, Merchant(name=name)) for number, name in rows}
        return self._by_id[merchant_id]

    async def _target(self, intent: Intent, merchant: Merchant) -> Target:
        customers = intent.adjustment.customers
        assert isinstance(customers, tuple)
        reference: CustomerReference = customers[0]
        try:
            return Target(reference, await self._ledger.customer(merchant, CustomerQuery(references=(reference,))))
        except Problem:
            return Target(reference, None)

    async def _look(self, intent: Intent, merchant: Merchant) -> None:
        """Settles an intent by what the upstream's history shows, if it can."""
        now = time.time_ns() // 1_000
        if not intent.known_again:
            _log.error("%s: only a person can tell what came of intent %s", self._backend.name, intent.id)
            await self._ledger.change(
                merchant, lambda *_: leave(intent.id, State.PARKED, due_at=now), is_small=True
            )
            return
        target, sent_at = await self._target(intent, merchant), _sent_at(intent)
        nobody: Problem | None = None
        try:
            entry = await self._shown(intent, target)
        except Problem as problem:
            if problem.code is not Code.UNKNOWN_CUSTOMER:
                await self._look_later(intent, merchant, problem)
                return
            entry, nobody = None, problem
        if entry is not None:
            customers = intent.adjustment.customers
            count = len(customers) if isinstance(customers, tuple) else 1
            delta = entry.points_delta if entry.points_delta is not UNSET else intent.adjustment.points_delta
            await self._backend.intents.settle(
                intent, Outcome(points_delta=delta or 0, told=ToldReceipt(entry=entry), count=count), merchant
            )
        elif now > sent_at + self._settle_after:
            if nobody is not None and not await self._is_nobody(target):
                await self._look_later(intent, merchant, nobody)
                return
            await self._backend.intents.settle(intent, Outcome(code=Code.UNAVAILABLE), merchant)
        else:
            await self._ledger.change(
                merchant, lambda *_: _later(intent, due_at=now + _SECOND, sent_at=sent_at), is_small=True
            )

    async def _look_later(self, intent: Intent, merchant: Merchant, problem: Problem) -> None:
        """The history cannot be read: more and more rarely it is asked for, and in the end a person."""
        now, sent_at = time.time_ns() // 1_000, _sent_at(intent)
        waited = now - sent_at - self._settle_after
        if waited > _LONGEST_LOOK_SECONDS * _SECOND:
            _log.error(
                "%s: what came of intent %s cannot be read: %s", self._backend.name, intent.id, problem.code
            )
            await self._ledger.change(
                merchant, lambda *_: leave(intent.id, State.PARKED, due_at=now), is_small=True
            )
            return
        due_at = now + max(2 * _SECOND, waited // 4)
        await self._ledger.change(
            merchant, lambda *_: _later(intent, due_at=due_at, sent_at=sent_at), is_small=True
        )

    async def _shown(self, intent: Intent, target: Target) -> ToldEntry | None:
        """The entry in the upstream's history; raises Problem UNAVAILABLE where there may be one all the same."""
        is_defective = False

        def note_defect() -> None:
            nonlocal is_defective
            is_defective = True

        entry = self._found(intent, await self._backend.reading.entries(target.reference, note_defect))
        if entry is None and is_defective:
            raise Problem(Code.UNAVAILABLE)
        return entry

    async def _is_nobody(self, target: Target) -> bool:
        """Whether the upstream says in its own words, and of no path, that it does not know the customer.

        A status of 404 alone says less: nothing may be there of which the history could be told, or not now.
        """
        said = asked_for_history(self._backend.calls.say, target.reference)
        if said is None:
            return False
        try:
            answer = await self._server.send(said.operation, said.request)
        except (NotSent, Unclear):
            return False
        vendor = self._server.vendor
        asked = as_received(vendor, said.operation, self._server.contract(said.operation), said.request)
        nobody, nowhere = (
            vendor.render_problem(Problem(code), asked) for code in (Code.UNKNOWN_CUSTOMER, Code.UNKNOWN_PATH)
        )
        is_so = (answer.status, answer.body) == (nobody.status, nobody.body)
        return is_so and (nobody.status, nobody.body) != (nowhere.status, nowhere.body)

    def _found(self, intent: Intent, entries: list[ToldEntry]) -> ToldEntry | None:
        key = intent.adjustment.idempotency_key or intent.mark
        return next(
            (
                one
                for one in entries
                if has_mark(one.reason, intent.mark) or (one.idempotency_key == key and _may_be(one, intent))
            ),
            None,
        )

    async def _sum_up(self, intent: Intent, merchant: Merchant) -> None:
        """Settles an intent for several customers once all of its parts are."""
        done = await self._ledger.look(lambda dialect: parts(dialect, intent.id))
        now = time.time_ns() // 1_000
        if any(part.settled_at is None for part in done):
            state = State.PARKED if _only_parked(done) else State.WAITING
            await self._ledger.change(
                merchant, lambda *_: leave(intent.id, state, due_at=now + _SECOND), is_small=True
            )
            return
        applied = [part for part in done if part.state is State.DONE]
        codes = {part.outcome.code for part in done if part.outcome is not None and part.state is State.REFUSED}
        if isinstance(intent.adjustment.customers, Everyone):
            # Of everyone, whoever cannot be adjusted is passed over.
            codes -= {Code.CUSTOMER_EXCLUDED, Code.UNKNOWN_CUSTOMER} if applied else set()
        if applied and codes:
            _log.error(
                "%s: of intent %s %s parts are done and %s are refused; see `ledger intents %s`",
                self._backend.name,
                intent.id,
                len(applied),
                len(done) - len(applied),
                intent.id,
            )
            await self._ledger.change(
                merchant, lambda *_: leave(intent.id, State.PARKED, due_at=now), is_small=True
            )
            return
        code = codes.pop() if codes else None
        await self._backend.intents.settle(intent, Outcome(code=code, count=len(applied)), merchant)


def _may_be(entry: ToldEntry, intent: Intent) -> bool:
    """Whether an entry with the intent's key may be its own; a client may use a key again that counts no more."""
    occurred_at, asked = entry.occurred_at, intent.adjustment.points_delta
    is_before = isinstance(occurred_at, int) and occurred_at < intent.created_at - _SLACK_SECONDS * _SECOND
    goes_otherwise = (
        isinstance(entry.points_delta, int) and asked is not None and (entry.points_delta > 0) != (asked > 0)
    )
    return not is_before and not goes_otherwise


def _sent_at(intent: Intent) -> int:
    """When it was asked for at the latest: whoever was at it does not ask for it longer than it is held."""
    sent_at = intent.created_at if intent.sent_at is None else intent.sent_at
    return sent_at + HELD_SECONDS * _SECOND if intent.state is State.OPEN else sent_at


def _later(intent: Intent, *, due_at: int, sent_at: int) -> Work[None]:
    return leave(intent.id, State.UNCLEAR, due_at=due_at, sent_at=sent_at)


def _only_parked(done: list[Intent]) -> bool:
    return all(part.settled_at is not None or part.state is State.PARKED for part in done)


def _merchants(_dialect: Dialect) -> Work[list[tuple[int, str]]]:
    return [(int(number), str(name)) for number, name in (yield Statement("SELECT id, name FROM merchants"))]
