"""What was exchanged, held against the document as published, and with its overlay, action by action."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from loyalty_gateway.contract_run.client import Exchange
from loyalty_gateway.contract_run.setup import Setup
from loyalty_gateway.contract_run.verdict import Check, Decision, NotCovered, Outcome, Score
from loyalty_gateway.spec.document import Action, apply
from loyalty_gateway.spec.judge import Finding, Judge
from loyalty_gateway.vendor import Operation

_PROMISES: Final[Mapping[str, str]] = {
    "status": "answers with a declared status",
    "media type": "answers in a declared media type",
    "headers": "answers with the declared headers",
    "body": "answers with the declared body",
    "server errors": "answers no request with an error of its own",
    "valid requests": "takes what the document admits",
    "invalid requests": "refuses what the document forbids",
    "answers": "answers each request",
}
_OF_ANSWERS: Final = ("status", "media type", "headers", "body")
_MOST_TOLD: Final = 5


class Judged(msgspec.Struct, kw_only=True):
    """A check in the making: how often it was held against the server, and what was found, with an example."""

    count: int = 0
    found: dict[str, Exchange | None] = {}
    published_count: int = 0
    published_found: set[str] = set()


class Conformance:
    """Judges exchanges as they come."""

    def __init__(self, setup: Setup) -> None:
        document = setup.contract.document
        self._setup = setup
        self._actions = document.actions
        self._corrected = Judge(document.corrected)
        self._published = Judge(document.published)
        self._stages = _Stages(document.published, document.actions)
        self._judged: dict[tuple[str, str], Judged] = {}
        self._decisions: dict[str, tuple[int, str]] = {}
        self._attributed: dict[tuple[object, ...], tuple[_Turn, ...]] = {}
        self._statuses: dict[str, set[int]] = {}
        self._constraints: dict[str, set[Finding]] = {}

    # Answers

    def hear(self, exchange: Exchange) -> None:
        """Judges the answer of an exchange, whatever it was about."""
        where = (exchange.method, exchange.template)
        if not self._corrected.knows(*where):
            return
        operation = exchange.operation
        self._statuses.setdefault(operation.id, set()).add(exchange.answer.status)
        met = self._corrected.answer_constraints(*where, exchange.answer.status, exchange.answer)
        self._constraints.setdefault(operation.id, set()).update(met)
        with_overlay, reached = self._corrected.judged_answer(*where, exchange.answer)
        as_published, published_reached = (
            self._published.judged_answer(*where, exchange.answer)
            if self._published.knows(*where)
            else (None, frozenset[str]())
        )
        for aspect in _OF_ANSWERS:
            published = [one for one in as_published or () if one.aspect == aspect]
            told = published if aspect in published_reached else None
            if aspect in reached:
                found = [one for one in with_overlay if one.aspect == aspect]
                self._enter(operation, aspect, exchange, found, told)
            elif told is not None:
                self._enter_as_published(operation, aspect, told)
        # A server may have nothing to give for a moment; whether that passes is seen when it is asked again.
        if not exchange.is_asked_again:
            status = exchange.answer.status
            failed = [Finding("status", "", f"{status}")] if status >= 500 else []
            self._enter(operation, "server errors", exchange, failed, failed)
        if as_published is not None and as_published != with_overlay:
            deciding = self._deciding(
                (*where, as_published, with_overlay), lambda judge: judge.of_answer(*where, exchange.answer)
            )
            self._decide(deciding, f"{exchange.method} {exchange.template}")

    # Requests

    def hear_request(self, exchange: Exchange, *, valid: bool, rightful: frozenset[int]) -> None:
        """Judges whether the server was right to take or refuse a generated or documented request.

        ``rightful`` are the statuses with which a valid request may be refused for reasons beyond the document.
        """
        where = (exchange.method, exchange.template)
        operation, status = exchange.operation, exchange.answer.status
        with_overlay = self._corrected.of_request(*where, exchange.spoken)
        as_published = self._published.of_request(*where, exchange.spoken)
        self._constraints.setdefault(operation.id, set()).update(with_overlay)
        if valid is bool(with_overlay):
            # The contract's own authority sees it otherwise, so nobody is accused.
            return
        taken = 200 <= status < 300
        aspect = "valid requests" if valid else "invalid requests"
        wrong = not taken and status not in rightful and status < 500 if valid else taken
        told = with_overlay or (Finding("status", "", f"a valid request was refused with {status}"),)
        self._enter(operation, aspect, exchange, told if wrong else (), None)
        if self._published.knows(*where) and (taken or valid or status not in rightful):
            self._enter_published(
                operation, taken=taken, refused=wrong if valid else not taken, findings=as_published
            )
        if bool(as_published) is not bool(with_overlay):
            deciding = self._deciding(
                (*where, as_published, with_overlay), lambda judge: judge.of_request(*where, exchange.spoken)
            )
            self._decide(deciding, f"{exchange.method} {exchange.template}")

    def _enter_published(
        self, operation: Operation, *, taken: bool, refused: bool, findings: tuple[Finding, ...]
    ) -> None:
        """By the document as published: what it forbids is not to be taken, what it admits not to be refused."""
        if findings:
            judged = self._judged.setdefault((operation.id, "invalid requests"), Judged())
            judged.published_count += 1
            if taken:
                judged.published_found.update(map(str, findings))
        else:
            judged = self._judged.setdefault((operation.id, "valid requests"), Judged())
            judged.published_count += 1
            if refused:
                judged.published_found.add("a valid request was refused")

    def no_answer(self, operation: Operation, told: str) -> None:
        """Notes that a request of the operation got no answer."""
        self._judged.setdefault((operation.id, "answers"), Judged()).found[told] = None

    def _enter(
        self,
        operation: Operation,
        aspect: str,
        exchange: Exchange,
        found: list[Finding] | tuple[Finding, ...],
        published: list[Finding] | None,
    ) -> None:
        judged = self._judged.setdefault((operation.id, aspect), Judged())
        judged.count += 1
        for one in found:
            known = judged.found.get(str(one))
            # Of several the shortest is the clearest.
            if known is None or len(exchange.raw or b"") < len(known.raw or b""):
                judged.found[str(one)] = exchange
        if published is not None:
            self._enter_as_published(operation, aspect, published)

    def _enter_as_published(self, operation: Operation, aspect: str, published: list[Finding]) -> None:
        judged = self._judged.setdefault((operation.id, aspect), Judged())
        judged.published_count += 1
        judged.published_found.update(map(str, published))

    # Overlay

    def _deciding(self, key: tuple[object, ...], findings: "_Findings") -> tuple["_Turn", ...]:
        known = self._attributed.get(key)
        if known is None:
            known = self._attributed[key] = tuple(self._stages.turns(findings))
        return known

    def _decide(self, turns: tuple["_Turn", ...], where: str) -> None:
        for action, before, after in turns:
            count, example = self._decisions.get(
                action.where, (0, f"{where}: without it {before}, with it {after}")
            )
            self._decisions[action.where] = (count + 1, example)

    # What came of it

    def checks(self) -> list[Check]:
        """A check for each operation and aspect."""
        return [self._check(operation, aspect) for operation in self._setup.operations for aspect in _PROMISES]

    def _check(self, operation: Operation, aspect: str) -> Check:
        judged = self._judged.get((operation.id, aspect), Judged())
        if aspect == "answers":
            sent = self._judged.get((operation.id, "status"), Judged()).count
            outcome = Outcome.NO_VERDICT if judged.found else Outcome.HELD if sent else Outcome.NOT_COVERED
            count = sent
        else:
            outcome = _outcome(judged.count, bool(judged.found))
            count = judged.count
        told = list(judged.found)
        shown = next((one.shown() for one in judged.found.values() if one is not None), None)
        return Check(
            id=f"conformance/{aspect.replace(' ', '-')}/{operation.id}",
            score=Score.CONFORMANCE,
            promise=f"{operation.id} {_PROMISES[aspect]}",
            outcome=outcome,
            operation=operation.id,
            told="; ".join(told[:_MOST_TOLD])
            + (f"; {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""),
            count=count,
            as_published=_outcome(judged.published_count, bool(judged.published_found)),
            exchange=shown,
        )

    def decisions(self) -> list[Decision]:
        """The overlay actions that decided something, in their order."""
        return [
            Decision(
                action=action.where,
                reason=action.reason,
                evidence=action.evidence,
                count=self._decisions[action.where][0],
                example=self._decisions[action.where][1],
            )
            for action in self._actions
            if action.where in self._decisions
        ]

    def not_covered(self) -> NotCovered:
        """What no exchange reached."""
        described = {one.id: self._setup.described(one) for one in self._setup.vendor.operations}
        statuses, keywords = {}, {}
        for operation in self._setup.operations:
            where = (described[operation.id].method, described[operation.id].template)
            seen = self._statuses.get(operation.id, set())
            missed = self._corrected.statuses(*where) - set(map(str, seen))
            if missed:
                statuses[operation.id] = tuple(sorted(missed))
            declared = self._corrected.constraints(*where)
            declared |= {one for status in seen for one in self._corrected.answer_constraints(*where, status)}
            unreached = declared - self._constraints.get(operation.id, set())
            if unreached:
                keywords[operation.id] = tuple(map(str, sorted(unreached)))
        silent = tuple(one for one in described if one not in self._statuses)
        return NotCovered(operations=silent, statuses=statuses, keywords=keywords)


def _outcome(count: int, found: bool) -> Outcome:  # noqa: FBT001
    if not count:
        return Outcome.NOT_COVERED
    return Outcome.VIOLATED if found else Outcome.HELD


_Findings = Callable[[Judge], tuple[Finding, ...]]
_Turn = tuple[Action, str, str]
"""An action, and what is found wrong only without it, and only with it."""


class _Stages:
    """A document as published, and after each action of its overlay; made when they are first needed."""

    def __init__(self, published: dict[str, object], actions: tuple[Action, ...]) -> None:
        self._published = published
        self._actions = actions
        self._judges: list[Judge] = []

    def turns(self, findings: "_Findings") -> Iterator["_Turn"]:
        """The actions with and without which something else is found, and what."""
        if not self._judges:
            document = self._published
            self._judges.append(Judge(document))
            for action in self._actions:
                document = apply(action, document)
                self._judges.append(Judge(document))
        before = set(findings(self._judges[0]))
        for action, judge in zip(self._actions, self._judges[1:], strict=True):
            after = set(findings(judge))
            if after != before:
                yield action, _first_of(before - after), _first_of(after - before)
            before = after


def _first_of(found: set[Finding]) -> str:
    return f"[{min(found)}]" if found else "nothing more is wrong"
