"""The vendor's behaviours, each with its evidence, as far as a client can see them from outside."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from loyalty_gateway.contract_run.access import AT_THE_DOOR
from loyalty_gateway.contract_run.client import Exchange, NoAnswer, OutOfTime
from loyalty_gateway.contract_run.probes import MOVING
from loyalty_gateway.contract_run.stage import CannotShow, NoVerdict, NoWords, Stage, Violated
from loyalty_gateway.contract_run.verdict import Check, Outcome, Score
from loyalty_gateway.vendor import Behaviour, Evidence, Operation, Promise, Shown

_PROMISES = {**MOVING, **AT_THE_DOOR}
_GRAVEST = (Outcome.VIOLATED, Outcome.NO_VERDICT, Outcome.HELD, Outcome.NOT_COVERED)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe at one operation came to; ``applies`` is false where the vendor has no words for it."""

    outcome: Outcome
    where: str = ""
    told: str = ""
    applies: bool = True
    exchange: Exchange | None = None


def check_behaviours(stage: Stage, on_step: Callable[[str], None]) -> list[Check]:
    """A check for each behaviour of the record, and for each promise that none of them is about.

    ``on_step`` hears what is looked at next. Raises Unreachable.
    """
    seen: dict[Promise, list[Seen]] = {}
    for promise in Promise:
        on_step(_PROMISES[promise][0])
        seen[promise] = [_seen(stage, promise, operation) for operation in _operations(stage, promise)]
    checks, claimed = [], set()
    for number, behaviour in enumerate(stage.vendor.behaviours, 1):
        promises = [one for one in behaviour.shown_by if isinstance(one, Promise)]
        claimed |= {*promises}
        found = [one for promise in promises for one in seen[promise]]
        found += [_exchange(stage, shown) for shown in behaviour.shown_by if isinstance(shown, Shown)]
        name = "+".join(promises) or ("shown" if behaviour.shown_by else "")
        checks.append(_check(f"parity/{name}#{number}", behaviour, found))
    for promise in Promise:
        if promise not in claimed and any(one.applies for one in seen[promise]):
            promised = Behaviour(
                _sentence(promise), Evidence.OUR_DEFAULT, "a promise of every vendor's server here"
            )
            checks.append(_check(f"parity/{promise}", promised, seen[promise]))
    return checks


def _operations(stage: Stage, promise: Promise) -> Sequence[Operation]:
    if promise in MOVING:
        return stage.adjusting()
    known = [one for one in stage.setup.operations if stage.setup.access(one) is not None]
    # No operation has a share in a path that nobody knows.
    return known[:1] if promise is Promise.UNKNOWN_PATH else known


def _sentence(promise: Promise) -> str:
    told = _PROMISES[promise][0]
    return f"{told[0].upper()}{told[1:]}."


def _seen(stage: Stage, promise: Promise, operation: Operation) -> Seen:
    return _tried(operation.id, lambda: _PROMISES[promise][1](stage, operation))


def _tried(where: str, probe: Callable[[], None]) -> Seen:
    try:
        probe()
    except Violated as violated:
        return Seen(outcome=Outcome.VIOLATED, where=where, told=str(violated), exchange=violated.exchange)
    except CannotShow as reason:
        applies = not isinstance(reason, NoWords)
        return Seen(outcome=Outcome.NOT_COVERED, where=where, told=str(reason), applies=applies)
    except OutOfTime:
        return Seen(
            outcome=Outcome.NOT_COVERED, where=where, told="no time was left, or no requests by the rate limit"
        )
    except NoVerdict as reason:
        return Seen(outcome=Outcome.NO_VERDICT, where=where, told=str(reason))
    except NoAnswer as error:
        return Seen(outcome=Outcome.NO_VERDICT, where=where, told=f"no answer came ({error})")
    return Seen(outcome=Outcome.HELD)


def _check(name: str, behaviour: Behaviour, found: Sequence[Seen]) -> Check:
    gravest = next((one for one in _GRAVEST if any(seen.outcome is one for seen in found)), Outcome.NOT_COVERED)
    decisive = [seen for seen in found if seen.outcome is gravest]
    places: dict[str, list[str]] = {}
    for seen in decisive:
        if seen.told and seen.where not in places.setdefault(seen.told, []):
            places[seen.told].append(seen.where)
    told = [f"{', '.join(where)}: {text}" for text, where in places.items()]
    unseen = "" if found else "it cannot be seen from outside, or there is no probe for it"
    shown = next((seen.exchange.shown() for seen in decisive if seen.exchange is not None), None)
    return Check(
        id=name,
        score=Score.PARITY,
        promise=behaviour.does,
        outcome=gravest,
        told="; ".join(told) or unseen,
        count=sum(seen.outcome is not Outcome.NOT_COVERED for seen in found),
        evidence=behaviour.evidence,
        source=behaviour.source,
        exchange=shown,
    )


def _exchange(stage: Stage, shown: Shown) -> Seen:
    operation = next((one for one in stage.setup.operations if one.id == shown.operation), None)
    if operation is None:
        return Seen(outcome=Outcome.NOT_COVERED, where=shown.operation, told="not among the operations asked for")
    return _tried(operation.id, lambda: _show(stage, operation, shown))


def _show(stage: Stage, operation: Operation, shown: Shown) -> None:
    request = stage.plain(operation)
    plain_body = request.body if isinstance(request.body, Mapping) else {}
    body = {name: value for name, value in plain_body.items() if name not in shown.without} | dict(shown.body)
    request = msgspec.structs.replace(
        request,
        path_values={**request.path_values, **shown.path_values},
        query={**request.query, **shown.query},
        headers={**request.headers, **shown.headers},
        body=body if request.body is not None or shown.body else None,
    )
    adjusts = operation in stage.adjusting()
    before = stage.stock(stage.first, 10) if adjusts else 0
    exchange = stage.ask(operation, request)
    if adjusts and (moved := stage.balance(stage.first) - before) != shown.moves:
        raise Violated(f"the balance moved by {moved:+} instead of {shown.moves:+}", exchange)
    for told in _off(shown, exchange):
        raise Violated(told, exchange)


def _off(shown: Shown, exchange: Exchange) -> Iterator[str]:
    answer = exchange.answer
    if answer.status != shown.status:
        yield f"status {answer.status} instead of {shown.status}"
    text = answer.text
    if text is None and answer.body is not msgspec.UNSET:
        text = msgspec.json.encode(answer.body).decode()
    if shown.says not in (text or ""):
        yield f"the answer does not say {shown.says!r}"
