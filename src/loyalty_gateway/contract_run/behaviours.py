"""The vendor's behaviours, each with its evidence, as far as a client can see them from outside."""

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.contract_run.access import AT_THE_DOOR
from loyalty_gateway.contract_run.client import Exchange, LimitUsedUp, NoAnswer, OutOfTime, Unreachable
from loyalty_gateway.contract_run.counting import COUNTING
from loyalty_gateway.contract_run.people import PEOPLE
from loyalty_gateway.contract_run.places import Places
from loyalty_gateway.contract_run.probes import MOVING
from loyalty_gateway.contract_run.rates import RATES
from loyalty_gateway.contract_run.shown import show
from loyalty_gateway.contract_run.stage import CannotShow, NoVerdict, NoWords, Stage, Violated
from loyalty_gateway.contract_run.verdict import Check, Outcome, Score
from loyalty_gateway.vendor import Behaviour, Evidence, Operation, Promise, Shown

PROBES = {**MOVING, **COUNTING, **PEOPLE, **AT_THE_DOOR, **RATES}
NO_PROBE = "it cannot be seen from outside, or there is no probe for it"
NO_TIME = "no time was left, or no requests by the rate limit; a longer run has more"
CUT_SHORT = "the run's time, or what the rate limit lets through, was over in the middle of it"
NOT_ASKED_FOR = "not among the operations asked for"
_BEST_KNOWN = tuple(Evidence)
_GRAVEST = (Outcome.VIOLATED, Outcome.NO_VERDICT, Outcome.HELD, Outcome.NOT_COVERED)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe at one operation came to; ``applies`` is false where the vendor has no words for it."""

    outcome: Outcome
    where: str = ""
    told: str = ""
    applies: bool = True
    exchange: Exchange | None = None


class _Trials:
    """Probes of promises, and what each came to at the operations where it was tried."""

    def __init__(self, stage: Stage, on_step: Callable[[str], None]) -> None:
        self.seen: dict[Promise, list[Seen]] = {}
        self._stage = stage
        self._on_step = on_step
        self._left: list[tuple[Promise, Operation]] = []

    def once(self, promise: Promise) -> None:
        """Tries a promise, unless it was tried, at one operation after another until one shows it or not."""
        if promise in self.seen:
            return
        self._on_step(PROBES[promise][0])
        seen = self.seen[promise] = []
        operations = iter(_operations(self._stage, promise))
        for operation in operations:
            seen.append(_seen(self._stage, promise, operation))
            if seen[-1].outcome is not Outcome.NOT_COVERED:
                break
        self._left += [(promise, operation) for operation in operations]

    def everywhere(self) -> None:
        """Tries what was tried once at all other operations."""
        for promise, operation in self._left:
            self._on_step(PROBES[promise][0])
            self.seen[promise].append(_seen(self._stage, promise, operation))


def check_behaviours(stage: Stage, on_step: Callable[[str], None]) -> list[Check]:
    """A check for each behaviour of the record, and for each promise that none of them is about.

    ``on_step`` hears what is looked at next. Raises Unreachable.
    """
    trials = _Trials(stage, on_step)
    numbered = list(enumerate(stage.vendor.behaviours, 1))
    exchanges: dict[int, list[Seen]] = {}
    # A rate limit may let few requests through, so what is known best comes first, and each promise is tried once
    # before any is tried everywhere.
    for number, behaviour in sorted(numbered, key=lambda one: _BEST_KNOWN.index(one[1].evidence)):
        for shown in behaviour.shown_by:
            if isinstance(shown, Promise):
                trials.once(shown)
        on_step(behaviour.does)
        exchanges[number] = _shown(stage, behaviour)
    for promise in Promise:
        trials.once(promise)
    trials.everywhere()
    seen = trials.seen
    checks, claimed = [], set()
    for number, behaviour in numbered:
        promises = [one for one in behaviour.shown_by if isinstance(one, Promise)]
        claimed |= {*promises}
        found = [one for promise in promises for one in seen[promise]]
        found += exchanges[number]
        parts = [*(seen[promise] for promise in promises), exchanges[number]]
        name = "+".join(promises) or ("shown" if behaviour.shown_by else "")
        checks.append(
            _check(f"parity/{name}#{_mark(behaviour)}", behaviour, found, whole=not any(map(_missed, parts)))
        )
    for promise in Promise:
        if promise not in claimed and any(one.applies for one in seen[promise]):
            promised = Behaviour(
                _sentence(promise), Evidence.OUR_DEFAULT, "a promise of every vendor's server here"
            )
            checks.append(_check(f"parity/{promise}", promised, seen[promise]))
    return checks


def _mark(behaviour: Behaviour) -> str:
    """By which a behaviour is known in every run, whichever others there are."""
    return hashlib.blake2s(behaviour.does.encode(), digest_size=3).hexdigest()


def _operations(stage: Stage, promise: Promise) -> Sequence[Operation]:
    if promise in MOVING or promise in COUNTING:
        return stage.adjusting()
    known = [one for one in stage.setup.operations if stage.setup.access(one) is not None]
    if promise is Promise.RATE_LIMITED:
        # A request that only reads leaves no points to give back.
        known.sort(key=lambda one: one.asks is Adjustment)
    # No operation has a share in a path that nobody knows, and one is enough to use up a limit.
    return known[:1] if promise in {Promise.UNKNOWN_PATH, Promise.RATE_LIMITED} else known


def _sentence(promise: Promise) -> str:
    told = PROBES[promise][0]
    return f"{told[0].upper()}{told[1:]}."


def _seen(stage: Stage, promise: Promise, operation: Operation) -> Seen:
    return _tried(stage, operation.id, lambda: PROBES[promise][1](stage, operation))


def _tried(stage: Stage, where: str, probe: Callable[[], None]) -> Seen:
    sent = stage.client.sent
    try:
        with stage.client.finishing():
            probe()
    except (Unreachable, LimitUsedUp):
        raise
    except Exception as error:  # noqa: BLE001 - of a probe that breaks down nobody may think that it held
        return _not_held(where, error, begun=stage.client.sent > sent)
    return Seen(outcome=Outcome.HELD, where=where)


def _not_held(where: str, error: Exception, *, begun: bool) -> Seen:
    """What a probe came to that ended with an error; ``begun`` tells whether it sent anything."""
    match error:
        case Violated():
            return Seen(outcome=Outcome.VIOLATED, where=where, told=str(error), exchange=error.exchange)
        case CannotShow():
            applies = not isinstance(error, NoWords)
            return Seen(outcome=Outcome.NOT_COVERED, where=where, told=str(error), applies=applies)
        case OutOfTime() if not begun:
            return Seen(outcome=Outcome.NOT_COVERED, where=where, told=NO_TIME)
        case OutOfTime():
            told = CUT_SHORT
        case NoVerdict():
            told = str(error)
        case NoAnswer():
            told = f"no answer came ({error})"
        case _:
            told = f"the probe broke down ({type(error).__name__})"
    return Seen(outcome=Outcome.NO_VERDICT, where=where, told=told)


def _missed(found: Sequence[Seen]) -> bool:
    """Whether a part of a behaviour was shown nowhere, for want of time."""
    outcomes = {one.outcome for one in found}
    return outcomes == {Outcome.NOT_COVERED} and any(one.told == NO_TIME for one in found)


def _check(name: str, behaviour: Behaviour, found: Sequence[Seen], *, whole: bool = True) -> Check:
    """``whole`` is false where a part of the behaviour had no time, so that what was shown is not all of it."""
    gravest = next((one for one in _GRAVEST if any(seen.outcome is one for seen in found)), Outcome.NOT_COVERED)
    if gravest is Outcome.HELD and not whole:
        gravest = Outcome.NOT_COVERED
    decisive = [seen for seen in found if seen.outcome is gravest]
    places: dict[str, list[str]] = {}
    for seen in decisive:
        if seen.told and seen.where not in places.setdefault(seen.told, []):
            places[seen.told].append(seen.where)
    told = [f"{', '.join(where)}: {text}" for text, where in places.items()]
    if gravest is Outcome.NOT_COVERED:
        held = dict.fromkeys(seen.where for seen in found if seen.outcome is Outcome.HELD)
        told += [f"{where}: a part of it was shown" for where in held]
    unseen = "" if found else NO_PROBE
    shown = next((seen.exchange.shown() for seen in decisive if seen.exchange is not None), None)
    return Check(
        id=name,
        score=Score.PARITY,
        promise=behaviour.does,
        outcome=gravest,
        operation=next((seen.where for seen in decisive if seen.where), ""),
        told="; ".join(told) or unseen,
        reason=_reason(decisive) if gravest is Outcome.NOT_COVERED else "",
        count=sum(seen.outcome is not Outcome.NOT_COVERED for seen in found),
        evidence=behaviour.evidence,
        source=behaviour.source,
        exchange=shown,
    )


def _reason(missed: Sequence[Seen]) -> str:
    """Why nothing was seen, without the places; what had no time counts before what cannot be shown."""
    told = dict.fromkeys(seen.told for seen in missed if seen.applies) or dict.fromkeys(one.told for one in missed)
    return NO_TIME if NO_TIME in told else "; ".join(told) or NO_PROBE


def _shown(stage: Stage, behaviour: Behaviour) -> list[Seen]:
    """What each of its exchanges came to; where one does not hold, that alone, for the next may follow from it."""
    places = Places(stage)
    found = []
    for shown in behaviour.shown_by:
        if isinstance(shown, Shown):
            found.append(_exchange(stage, shown, places))
            if found[-1].outcome is not Outcome.HELD:
                return found[-1:]
    return found


def _exchange(stage: Stage, shown: Shown, places: Places) -> Seen:
    operation = next((one for one in stage.setup.operations if one.id == shown.operation), None)
    if operation is None:
        return Seen(outcome=Outcome.NOT_COVERED, where=shown.operation, told=NOT_ASKED_FOR)
    return _tried(stage, operation.id, lambda: show(stage, operation, shown, places))
