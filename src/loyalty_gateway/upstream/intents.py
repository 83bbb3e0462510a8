"""The intents of one upstream: written down before it hears of them, carried out, and settled."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import uuid4

import msgspec

from loyalty_gateway.adjustment import Adjustment, Everyone, Instruction, Merchant
from loyalty_gateway.ledger import Ledger
from loyalty_gateway.ledger.intents import Intent, Outcome, State, begin, find, known_before, leave, reopen, settle
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.likeness import fingerprint
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.asking import Asking
from loyalty_gateway.upstream.connections import Unclear
from loyalty_gateway.upstream.loss import Plan
from loyalty_gateway.upstream.marks import new_mark
from loyalty_gateway.upstream.phrasebook import Said
from loyalty_gateway.upstream.settings import Settings
from loyalty_gateway.upstream.targets import Target

_log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000
LEASE_SECONDS: Final = 30
"""How long nobody else takes up what a gateway is at, unless it says that it still is."""
HELD_SECONDS: Final = 12
"""How long behind the last time that it said so it may ask for it; the rest is for a call, and for clocks."""
_LOOK_AGAIN_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 60
_PASSES: Final = {Code.UNAVAILABLE, Code.RATE_LIMITED, Code.RECORD_BUSY}
"""Why a part of a list was not carried out yet; the rest is about the customer or the amount, and stays so."""

Still = Callable[[Dialect, int], Work[bool]]
"""Whether something is still wanted, as is seen in the transaction that writes it down."""


class Intents:
    """What this gateway writes down and carries out at one upstream.

    ``on_doubt`` is called where something is left to be settled, ``on_settled`` with what was settled here.

    Args:
        name: of the upstream, by which its intents are known.
        ledger: where they are written.
        asking: carries one of them out.
        settings: what the operator decided.
    """

    def __init__(self, name: str, ledger: Ledger, asking: Asking, settings: Settings) -> None:
        self.name = name
        self.owner = uuid4().hex
        self.on_doubt: Callable[[], None] = lambda: None
        self.on_settled: Callable[[Intent], None] = lambda _: None
        self._ledger = ledger
        self._asking = asking
        self._settings = settings
        self._running: dict[int, asyncio.Task[Outcome | None]] = {}
        self._held_at: dict[int, float] = {}

    async def close(self) -> None:
        """Lets what is under way come to its end."""
        if self._running:
            await asyncio.wait(self._running.values())

    # Writing down

    def draw_up(
        self, instruction: Instruction, targets: Sequence[Target], plan: Plan, state: State = State.OPEN
    ) -> Intent:
        """The intent of an instruction for these targets; it is nowhere written yet."""
        adjustment = instruction.adjustment
        key = instruction.idempotency.key if instruction.idempotency is not None else None
        named: Any = tuple([target.reference for target in targets])
        is_everyone = isinstance(adjustment.customers, Everyone) and (
            len(targets) != 1 or _is_for_everyone(plan.whole)
        )
        return Intent(
            id=0,
            merchant_id=0,
            vendor=instruction.vendor,
            upstream=self.name,
            mark=new_mark(),
            wallet_id=targets[0].wallet_id if len(targets) == 1 else None,
            adjustment=msgspec.structs.replace(
                adjustment,
                customers=adjustment.customers if is_everyone else named,
                idempotency_key=adjustment.idempotency_key if key is not None else None,
            ),
            idempotency=instruction.idempotency,
            likeness=likeness(instruction),
            state=state,
            owner=self.owner,
            due_at=0,
            created_at=0,
        )

    async def write_down(
        self,
        intents: Sequence[Intent],
        merchant: Merchant,
        *,
        is_ours: bool = True,
        still: Still | None = None,
    ) -> tuple[list[Intent], bool]:
        """Writes intents down; those that are not ours to carry out now are taken up by whoever settles."""

        def work(dialect: Dialect, merchant_id: int, now: int) -> Work[tuple[list[Intent], bool]]:
            stamped = [
                msgspec.structs.replace(
                    intent,
                    merchant_id=merchant_id,
                    created_at=now,
                    sent_at=now if intent.state is State.OPEN else None,
                    due_at=now + LEASE_SECONDS * _SECOND if is_ours else now,
                )
                for intent in intents
            ]
            if still is not None and not (yield from still(dialect, merchant_id)):
                raise Problem(Code.RECORD_BUSY)
            keep_keys = round(self._settings.keep_keys_seconds * _SECOND)
            return (yield from begin(dialect, stamped, keep_keys=keep_keys))

        asked_at = time.monotonic()
        written, is_new = await self._ledger.change(merchant, work, is_small=True)
        if is_new:
            self.hold([intent.id for intent in written if intent.state is State.OPEN], asked_at)
        return written, is_new

    async def known(self, intent: Intent, merchant: Merchant) -> Intent | None:
        """The intent of the same request, where it came before: what it changed since says nothing of it."""
        keep_keys = round(self._settings.keep_keys_seconds * _SECOND)

        def work(_dialect: Any, merchant_id: int, now: int) -> Any:
            stamped = msgspec.structs.replace(intent, merchant_id=merchant_id, created_at=now)
            return known_before(stamped, keep_keys=keep_keys)

        found: Intent | None = await self._ledger.change(merchant, work, is_small=True)
        return found

    # Carrying out

    async def outcome(
        self,
        intent: Intent,
        targets: Sequence[Target],
        merchant: Merchant,
        *,
        is_new: bool,
        request: Said | None = None,
    ) -> Outcome:
        """What comes of an intent, ours or somebody else's; raises Problem RECORD_BUSY while that is not known."""
        if intent.outcome is not None:
            return intent.outcome
        running = self.start(intent, targets, merchant, request) if is_new else self._running.get(intent.id)
        if running is not None and (outcome := await asyncio.shield(running)) is not None:
            return outcome
        deadline = time.monotonic() + self._settings.patience_seconds
        while time.monotonic() < deadline:
            try:
                found = await self._ledger.look(lambda dialect: find(dialect, intent.id))
            except Problem:
                # The ledger is away; that it is not known what came of it is so all the same.
                break
            if found is None or found.state is State.PARKED:
                break
            if found.outcome is not None:
                return found.outcome
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        raise Problem(Code.RECORD_BUSY, intent=intent.id)

    def start(
        self, intent: Intent, targets: Sequence[Target], merchant: Merchant, request: Said | None = None
    ) -> "asyncio.Task[Outcome | None]":
        """Begins to carry out an intent, which goes on whoever waits for it; gives ``None`` for an unclear one.

        ``request`` is the request for it, mark and all, where that is known already.
        """
        task = asyncio.create_task(self._work(intent, targets, merchant, request))
        self._running[intent.id] = task
        task.add_done_callback(lambda done: self._ended(intent.id, done))
        return task

    def _ended(self, intent_id: int, done: "asyncio.Task[Outcome | None]") -> None:
        self._running.pop(intent_id, None)
        self._held_at.pop(intent_id, None)
        # Whoever waited may be gone; what nobody fetches is no error of the program.
        done.exception()

    # That nobody else takes them up

    @property
    def running(self) -> list[int]:
        """The numbers of the intents that this gateway is at."""
        return list(self._running)

    def hold(self, intent_ids: Iterable[int], at: float) -> None:
        """These are ours, as the ledger said when it was asked ``at`` that time of the monotonic clock."""
        self._held_at |= dict.fromkeys(intent_ids, at)

    def _is_ours(self, intent_id: int) -> bool:
        """Whether an intent may be asked for now: nobody else can have taken it up.

        Where the ledger was away, or this gateway stood still, somebody else may settle it, and a retry be
        carried out.
        """
        return time.monotonic() - self._held_at.get(intent_id, -math.inf) < HELD_SECONDS

    async def _work(
        self, intent: Intent, targets: Sequence[Target], merchant: Merchant, request: Said | None
    ) -> Outcome | None:
        try:
            outcome = await self._asking.carry_out(intent, targets, request, lambda: self._is_ours(intent.id))
        except Problem as problem:
            if intent.parent is not None and problem.code in _PASSES:
                await self._put_off(intent, merchant)
                return None
            outcome = Outcome(code=problem.code)
        except Unclear as unclear:
            await self._doubt(intent, merchant, str(unclear))
            return None
        except Exception as error:  # noqa: BLE001 - told, and left to be settled
            # Nobody knows how far it came.
            _log.exception("%s: intent %s failed", self.name, intent.id)
            await self._doubt(intent, merchant, type(error).__name__)
            return None
        await self.settle(intent, outcome, merchant)
        return outcome

    async def _put_off(self, part: Intent, merchant: Merchant) -> None:
        """Has a part wait again that was not carried out for a reason that passes, the longer the older it is."""

        def waiting(_dialect: Any, _merchant_id: int, now: int) -> Any:
            seconds = min(max((now - part.created_at) // _SECOND // 4, 1), _LONGEST_WAIT_SECONDS)
            return leave(part.id, State.WAITING, due_at=now + seconds * _SECOND)

        await self._ledger.change(merchant, waiting, is_small=True)

    async def _doubt(self, intent: Intent, merchant: Merchant, why: str) -> None:
        """Leaves it to be settled; whoever asks again meanwhile is told that the record is busy."""
        state = State.UNCLEAR if intent.known_again else State.PARKED
        _log.warning("%s: what came of intent %s is not known: %s", self.name, intent.id, why)
        with suppress(Problem):
            # What cannot be said now is known by nobody having held it.
            await self._ledger.change(
                merchant, lambda _, __, now: leave(intent.id, state, due_at=now, sent_at=now), is_small=True
            )
        self.on_doubt()

    async def settle(self, intent: Intent, outcome: Outcome, merchant: Merchant) -> None:
        """Writes down what came of it; what cannot be written is settled later, from the upstream's history."""
        try:
            is_first = await self._ledger.change(
                merchant, lambda _, __, now: settle(intent.id, outcome, now=now), is_small=True
            )
            if not is_first and outcome.code is None:
                await self._ledger.change(merchant, lambda _, __, now: reopen(intent, now=now), is_small=True)
                _log.error("%s: intent %s was carried out after it was settled", self.name, intent.id)
        except Problem as problem:
            if outcome.code is None:
                _log.exception("%s: the outcome of intent %s cannot be written", self.name, intent.id)
                return
            raise Problem(Code.UNAVAILABLE) from problem
        self.on_settled(intent)


def likeness(instruction: Instruction) -> bytes:
    """The digest by which a request is known again that has no key: what its client said, word for word."""
    if instruction.idempotency is not None:
        return instruction.idempotency.fingerprint
    return fingerprint([instruction.vendor, instruction.asked or instruction.adjustment])


def _is_for_everyone(said: Said | None) -> bool:
    return said is not None and isinstance(said.meant, Adjustment) and isinstance(said.meant.customers, Everyone)
