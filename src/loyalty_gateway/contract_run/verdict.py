"""What a contract run finds: checks with their outcomes, the scores, and what was not covered."""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

_LONGEST_SHOWN: Final = 2_000


class Outcome(enum.StrEnum):
    """What came of a check."""

    HELD = "held"
    VIOLATED = "violated"
    NO_VERDICT = "no verdict"
    """It started, and could not be brought to an end: a failure, never a pass."""
    NOT_COVERED = "not covered"


class Score(enum.StrEnum):
    """What a check counts for."""

    CONFORMANCE = "conformance"
    PARITY = "parity"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: ``id`` is stable from run to run, ``promise`` is what was to hold, ``told`` why it does not.

    ``operation`` is the one it is about, or at which it was decided; ``reason`` is ``told`` without the places,
    for what was not covered. ``count`` is how often it was looked at. ``evidence`` and ``source`` say how a
    behaviour is known.
    ``as_published`` is the outcome by the document without the overlay, for checks that rest on one.
    """

    id: str
    score: Score
    promise: str
    outcome: Outcome
    operation: str = ""
    told: str = ""
    reason: str = ""
    count: int = 0
    evidence: str = ""
    source: str = ""
    as_published: Outcome | None = None
    exchange: Mapping[str, Any] | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay action with and without which something was judged differently, ``count`` times."""

    action: str
    reason: str
    evidence: str
    count: int
    example: str


class NotCovered(msgspec.Struct, frozen=True, kw_only=True):
    """What the run did not reach, by operation: statuses, and the keywords of schemas.

    A keyword of requests is reached by one that breaks it, a keyword of answers by one that has what it is about.
    """

    operations: tuple[str, ...]
    statuses: Mapping[str, tuple[str, ...]]
    keywords: Mapping[str, tuple[str, ...]]


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many checks of a score came out how."""

    held: int = 0
    violated: int = 0
    no_verdict: int = 0
    not_covered: int = 0

    def __str__(self) -> str:
        judged = self.held + self.violated + self.no_verdict
        return f"{self.held} of {judged} held" + (f", {self.not_covered} not covered" if self.not_covered else "")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run.

    ``notes`` are sentences for a person, among them what became of the points; ``lines`` tell where operations
    stand in the published document. ``is_given_back`` is false where the run left something behind.
    """

    vendor: str
    title: str
    url: str
    seed: int
    seconds: float
    requests: int
    checks: tuple[Check, ...]
    decisions: tuple[Decision, ...]
    not_covered: NotCovered
    notes: tuple[str, ...]
    lines: Mapping[str, int] = {}
    is_given_back: bool = True

    @property
    def conformance(self) -> Tally:
        """By the document with its overlay."""
        return tally([one.outcome for one in self.checks if one.score is Score.CONFORMANCE])

    @property
    def as_published(self) -> Tally:
        """By the document as published."""
        return tally([one.as_published for one in self.checks if one.as_published is not None])

    @property
    def parity(self) -> Tally:
        """To the vendor's behaviours."""
        return tally([one.outcome for one in self.checks if one.score is Score.PARITY])

    def parity_by_evidence(self) -> dict[str, Tally]:
        """The same for each tag."""
        told: dict[str, list[Outcome]] = {}
        for one in self.checks:
            if one.score is Score.PARITY:
                told.setdefault(one.evidence, []).append(one.outcome)
        return {tag: tally(outcomes) for tag, outcomes in told.items()}

    @property
    def exit_status(self) -> int:
        """0 where all held, 1 where something is violated, 2 where there is no verdict.

        There is none either where no behaviour was seen at all, or where something could not be given back.
        """
        outcomes = {one.outcome for one in self.checks}
        if Outcome.VIOLATED in outcomes:
            return 1
        is_whole = self.is_given_back and self.parity.held > 0
        return 0 if is_whole and Outcome.NO_VERDICT not in outcomes else 2


def tally(outcomes: Sequence[Outcome]) -> Tally:
    """The outcomes counted."""
    counted = {outcome.name.lower(): outcomes.count(outcome) for outcome in Outcome}
    return Tally(**counted)


def plain(report: Report, secrets: Sequence[str]) -> dict[str, Any]:
    """The report as plain values, scores included, with ``***`` for every secret in what was sent or answered."""
    values = msgspec.to_builtins(report, enc_hook=str)
    values["scores"] = {
        "conformance_as_published": msgspec.to_builtins(report.as_published),
        "conformance_with_overlay": msgspec.to_builtins(report.conformance),
        "parity": msgspec.to_builtins(report.parity),
        "parity_by_evidence": msgspec.to_builtins(report.parity_by_evidence()),
    }
    values["exit_status"] = report.exit_status
    # The words of the report itself stay, even if somebody's credential is one of them.
    for name in ("url", "notes"):
        values[name] = redacted(values[name], secrets)
    for check in values["checks"]:
        check["told"], check["reason"] = (redacted(check[name], secrets) for name in ("told", "reason"))
        # What was cut first could end with a part of a secret.
        shown = check["exchange"] or {}
        check["exchange"] = {name: _cut(redacted(value, secrets)) for name, value in shown.items()} or None
    for decision in values["decisions"]:
        decision["example"] = redacted(decision["example"], secrets)
    return dict(values)


def _cut(value: Any) -> Any:
    return value[:_LONGEST_SHOWN] if isinstance(value, str) else value


def redacted(value: Any, secrets: Sequence[str]) -> Any:
    """The value with ``***`` for every secret in its texts."""
    match value:
        case str():
            for secret in secrets:
                value = value.replace(secret, "***")
            return value
        case dict():
            return {redacted(key, secrets): redacted(child, secrets) for key, child in value.items()}
        case list() | tuple():
            return [redacted(child, secrets) for child in value]
        case _:
            return value
