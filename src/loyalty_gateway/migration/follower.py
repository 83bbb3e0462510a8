"""Brings what was done at one side of a move to the other: exactly once, in order for each customer."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final
from uuid import uuid4

import msgspec

from loyalty_gateway.adjustment import Adjustment, CustomerReference
from loyalty_gateway.ledger.following.claims import claim, release
from loyalty_gateway.ledger.following.here import follow_here
from loyalty_gateway.ledger.following.outbox import follow_ups, followed_up, is_waiting
from loyalty_gateway.ledger.following.parked import park
from loyalty_gateway.ledger.following.sides import FOREVER, FollowUp, Side
from loyalty_gateway.ledger.following.standing import Backlog, Standing
from loyalty_gateway.ledger.following.taking_over import leave_as_they_are
from loyalty_gateway.ledger.following.waiting import name_intent, unnamed, waiting_customers
from loyalty_gateway.ledger.moving import Move, Stage
from loyalty_gateway.metrics import Metrics
from loyalty_gateway.migration.parts import Parts, own_reference
from loyalty_gateway.migration.stages import Stages
from loyalty_gateway.migration.taking_over import PASSES, Busy, ask_once, finish, set_balance
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.targets import Target

_log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000
_EVERY_SECONDS: Final = 0.5
_SWEEP_SECONDS: Final = 20.0
_LEASE_SECONDS: Final = 10
_HOLD_EVERY_SECONDS: Final = 3.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 15.0
_AT_ONCE: Final = 16


class _Later(Exception):  # noqa: N818 - not an error of the program
    """It cannot be brought over now."""


class Follower:
    """Looks after one move's outbox while the gateway runs; several gateways share the work.

    Args:
        parts: the move.
        stages: how far it is.
        metrics: is told what came of it.
    """

    def __init__(self, parts: Parts, stages: Stages, metrics: Metrics) -> None:
        self._parts = parts
        self._stages = stages
        self._metrics = metrics
        self.owner = uuid4().hex
        self._noted: set[int] = set()
        self._again: dict[int, asyncio.TimerHandle] = {}
        self._at: dict[int, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._woken = asyncio.Event()
        self._sweep_at = 0.0
        self._closing = False
        self._is_failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look; the ledger is open."""
        self._task = asyncio.create_task(self._run(), name=f"following {self._parts.vendor}")

    async def close(self) -> None:
        """Ends behind what is being brought over."""
        self._closing = True
        self._woken.set()
        if self._task is not None:
            await self._task
        if self._at:
            await asyncio.wait(self._at.values())
        for timer in self._again.values():
            timer.cancel()

    def note(self, wallet_ids: Iterable[int]) -> None:
        """Something may have to follow for these customers."""
        self._noted.update(wallet_ids)
        self._woken.set()

    def note_everyone(self) -> None:
        """Something may have to follow for anybody."""
        self._sweep_at = 0.0
        self._woken.set()

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                await self.follow_waiting()
                self._is_failing = False
            except Exception as error:  # noqa: BLE001 - a store that is away comes back
                if not self._is_failing:
                    _log.warning("%s: nothing can follow now: %r", self._parts.vendor, error)
                self._is_failing = True
                await asyncio.sleep(_EVERY_SECONDS)
            if not self._closing:
                try:
                    await asyncio.wait_for(self._woken.wait(), _EVERY_SECONDS)
                except TimeoutError:
                    continue

    async def follow_waiting(self) -> None:
        """Begins to bring over what waits, of every customer whom nobody is at."""
        noted, self._noted = self._noted, set()
        move = await self._stages.of(self._parts.merchant.name, self._parts.vendor)
        if move.stage is Stage.ENDED:
            return
        until = _until(move, move.common)
        if move.common is Stage.DONE:
            # What is done from now on is only kept for a step back.
            noted = set()
        sweeps = time.monotonic() >= self._sweep_at
        if sweeps:
            self._sweep_at = time.monotonic() + _SWEEP_SECONDS
        route, now = self._parts.route, time.time_ns() // 1_000
        waiting = await self._parts.look(
            lambda dialect, merchant_id: waiting_customers(
                dialect, merchant_id, route, sweeps=sweeps, now=now, until=until
            )
        )
        # Who is to be tried later is noted again then.
        for wallet_id in {*waiting, *noted} - self._again.keys():
            if wallet_id in self._at:
                # There may be more than what is being brought over; that is looked at behind it.
                self._noted.add(wallet_id)
            else:
                task = self._at[wallet_id] = asyncio.create_task(self._follow(wallet_id))
                task.add_done_callback(lambda done, number=wallet_id: self._ended(number, done))  # type: ignore[misc]

    def _ended(self, wallet_id: int, done: "asyncio.Task[None]") -> None:
        self._at.pop(wallet_id, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            _log.warning("%s: wallet_%s cannot follow now: %r", self._parts.vendor, wallet_id, error)
        if wallet_id in self._noted:
            self._woken.set()

    def _look_again(self, wallet_id: int, seconds: float) -> None:
        def again() -> None:
            self._again.pop(wallet_id, None)
            self.note([wallet_id])

        if not self._closing and wallet_id not in self._again:
            self._again[wallet_id] = asyncio.get_running_loop().call_later(seconds, again)

    async def _follow(self, wallet_id: int) -> None:
        async with self._turns:
            if wallet_id:
                await self.follow(wallet_id)
            else:
                await self._name()

    async def _name(self) -> None:
        """Finds out whose points those intents moved that came before the ledger had met the customer."""
        parts = self._parts
        for number, adjustment in await parts.look(
            lambda dialect, merchant_id: unnamed(dialect, merchant_id, parts.route)
        ):
            assert isinstance(adjustment.customers, tuple)
            reference: CustomerReference = adjustment.customers[0]
            wallet_id = await parts.number(reference)
            if not wallet_id:
                met = await parts.old.targets.remember(parts.merchant, Target(reference, None))
                wallet_id = met.wallet_id
            named = wallet_id
            await parts.change(lambda _, __, ___, number=number, named=named: name_intent(number, named))  # type: ignore[misc]
            self.note([wallet_id])

    async def follow(self, wallet_id: int) -> None:
        """Brings over what waits for a customer, unless somebody else is at it."""
        parts = self._parts
        tries = await self._claim(wallet_id)
        if tries is None:
            self._look_again(wallet_id, _EVERY_SECONDS)
            return
        due_at, in_vain = 0, False
        holding = asyncio.create_task(self._hold(wallet_id))
        try:
            await self._bring_all(wallet_id)
        except (_Later, Busy, Problem) as reason:
            _log.info("%s: wallet_%s follows later: %r", parts.vendor, wallet_id, reason)
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(tries, 10))
            due_at, in_vain = time.time_ns() // 1_000 + round(pause * _SECOND), True
            self._look_again(wallet_id, pause)
            self._metrics.followed(parts.vendor, "either", "later")
        finally:
            holding.cancel()
            await parts.change_for(
                wallet_id,
                lambda _, customer, __: release(customer, self.owner, due_at=due_at, in_vain=in_vain),
            )

    async def _hold(self, wallet_id: int) -> None:
        """Keeps a customer from being taken up by others; that they do it all the same would double nothing."""
        while True:
            await asyncio.sleep(_HOLD_EVERY_SECONDS)
            await self._claim(wallet_id)

    async def _claim(self, wallet_id: int) -> int | None:
        return await self._parts.change_for(
            wallet_id, lambda _, customer, now: claim(customer, self.owner, now, now + _LEASE_SECONDS * _SECOND)
        )

    async def _bring_all(self, wallet_id: int) -> None:
        move = await self._stages.of(self._parts.merchant.name, self._parts.vendor)
        stage = move.stage_of(wallet_id)
        stand = await self._parts.standing(wallet_id)
        if stand.version is None and stage.follows and _is_led_for(stand, stage):
            await self._parts.change_for(
                wallet_id, lambda dialect, customer, _: leave_as_they_are(dialect, customer)
            )
            stand = await self._parts.standing(wallet_id)
        failure: Exception | None = None
        if stand.version is not None:
            try:
                await self._bring(wallet_id, Side.OLD, until=_until(move, stage))
            except (_Later, Problem) as reason:
                # One side that is away keeps nothing from the other.
                failure = reason
        if stage.follows:
            if stand.pending_key is not None:
                await finish(self._parts, stand)
            if stand.version is not None:
                await self._bring(wallet_id, Side.NEW)
            else:
                await set_balance(self._parts, wallet_id, batch=None, follows=True)
        if failure is not None:
            raise failure

    async def _bring(self, wallet_id: int, to: Side, *, until: int = FOREVER) -> None:
        parts = self._parts
        short: list[FollowUp] = []
        for one in await parts.look_at(
            wallet_id, lambda dialect, customer: follow_ups(dialect, customer, to, until=until)
        ):
            if short and parts.upstream(to.other) is None and not one.is_parked:
                # Entries come one after another; what is short stands before the others.
                break
            try:
                await self._bring_one(wallet_id, one)
            except Problem as problem:
                if problem.code in PASSES:
                    raise
                if problem.code is Code.TOO_FEW_POINTS:
                    short.append(one)
                else:
                    await self._park(wallet_id, one, problem.code)
        for one in short:
            try:
                await self._bring_one(wallet_id, one)
            except Problem as problem:
                if problem.code in PASSES:
                    raise
                await self._park_unless_more_comes(wallet_id, one, problem.code)

    async def _bring_one(self, wallet_id: int, one: FollowUp) -> None:
        parts = self._parts
        upstream = parts.upstream(one.to)
        if upstream is None:
            await parts.change_for(
                wallet_id,
                lambda dialect, customer, now: follow_here(dialect, parts.merchant, customer, one, now),
            )
        else:
            if one.adjustment.points_delta:
                await ask_once(
                    parts,
                    upstream,
                    _for(one.adjustment, wallet_id),
                    one.key,
                    lambda dialect, merchant_id: is_waiting(dialect, parts.moving(merchant_id, wallet_id), one),
                )
            await parts.change_for(wallet_id, lambda _, customer, __: followed_up(customer, one))
        if one.adjustment.points_delta:
            self._metrics.followed(parts.vendor, one.to.value, "done")

    async def _park_unless_more_comes(self, wallet_id: int, one: FollowUp, code: Code) -> None:
        """What is short now may not be when that has followed of which it is not known yet what came of it."""
        backlog = (await self._parts.standing(wallet_id)).beyond[one.to.other]
        if backlog.under_way or backlog.stuck:
            raise _Later(code)
        await self._park(wallet_id, one, code)

    async def _park(self, wallet_id: int, one: FollowUp, code: Code) -> None:
        parts = self._parts
        _log.warning("%s: %s could not follow at the %s side: %s", parts.vendor, one.key, one.to, code)
        await parts.change_for(wallet_id, lambda _, customer, now: park(customer, one, code, now))
        self._metrics.followed(parts.vendor, one.to.value, "parked")


def _until(move: Move, stage: Stage) -> int:
    """Until when what is done follows at the old side: once a move is done, what was done before that."""
    return move.staged_at if stage is Stage.DONE else FOREVER


def _is_led_for(stand: Standing, stage: Stage) -> bool:
    """Whether the new side has led for somebody, so that the old one's balance is not the true one."""
    return stage is Stage.DONE or stand.beyond[Side.NEW] != Backlog()


def _for(adjustment: Adjustment, wallet_id: int) -> Adjustment:
    return msgspec.structs.replace(adjustment, customers=(own_reference(wallet_id),))
