"""What exchanges show, counted: each finding once, however often it was seen."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from loyalty_gateway.spec import Contract
from loyalty_gateway.traffic.coverage import Coverage, OperationCoverage
from loyalty_gateway.traffic.exchange import Exchange
from loyalty_gateway.traffic.judging import Judged
from loyalty_gateway.traffic.redaction import Example, Redactor, location

MOST_OF_A_KIND: Final = 100
UNKNOWN_OPERATION: Final = "-"

Key = tuple[str, str, str, str, str, str]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A defect of the traffic, and how often it was seen.

    ``kind`` is ``undocumented operation``, ``undocumented field``, ``undocumented status`` or ``violation``;
    ``location`` begins with ``/body``, ``/query``, ``/path``, ``/header`` or ``/status``, with ``*`` for indexes;
    ``constraint`` is the keyword that is broken, or the status. ``count`` exchanges show it, of ``exchanges`` of
    the operation. ``first_seen`` and ``last_seen`` are in epoch seconds, 0 where the recording has no times.
    ``fingerprint`` stays the same from one run to the next.
    """

    fingerprint: str
    kind: str
    vendor: str
    operation: str
    direction: str
    location: str
    constraint: str
    count: int
    exchanges: int
    first_seen: float
    last_seen: float
    example: Example


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, those seen most first, and what was covered.

    ``others`` are exchanges that are no vendor's; ``not_kept`` are sightings beyond the findings that are kept;
    ``not_judged`` are exchanges that were not judged, or not as a whole, since too many came at once or a body
    was too long; ``unreadable`` are entries of files that are no exchanges.
    """

    exchanges: int
    others: int
    not_kept: int
    not_judged: int
    findings: list[Finding]
    coverage: list[OperationCoverage]
    unreadable: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Findings as they are kept on disk, and counted on from there."""

    exchanges: int = 0
    others: int = 0
    not_kept: int = 0
    not_judged: int = 0
    findings: list[Finding] = []
    seen: dict[str, dict[str, dict[str, int]]] = {}


class Findings:
    """Collects what exchanges show, in bounded memory.

    Args:
        most: findings of each kind for each operation and direction, so that whoever scans for paths or fields
            takes no room from others.
    """

    def __init__(self, most: int = MOST_OF_A_KIND) -> None:
        self.exchanges = 0
        self.others = 0
        self.not_kept = 0
        self.not_judged = 0
        self.coverage = Coverage()
        self._most = most
        self._found: dict[Key, Finding] = {}
        self._rooms: Counter[tuple[str, ...]] = Counter()

    def add(self, exchange: Exchange, path: str, judged: Judged, redactor: Redactor, vendor: str) -> None:
        """Counts what one exchange shows, each thing once."""
        self.exchanges += 1
        operation = judged.operation.id if judged.operation is not None else UNKNOWN_OPERATION
        self.coverage.add(vendor, operation, str(exchange.status))
        shown: set[Key] = set()
        secrets = redactor.secrets(exchange) if judged.observations else ()
        for observation in judged.observations:
            place = location(observation.location, secrets)
            key = (observation.kind, vendor, operation, observation.direction, place, observation.constraint)
            if key in shown:
                continue
            shown.add(key)
            known = self._found.get(key)
            if known is not None:
                self._found[key] = _seen_again(known, 1, exchange.time, exchange.time)
            elif self._has_room(key, 1):
                self._found[key] = Finding(
                    fingerprint=_fingerprint(key),
                    kind=observation.kind,
                    vendor=vendor,
                    operation=operation,
                    direction=observation.direction,
                    location=place,
                    constraint=observation.constraint,
                    count=1,
                    exchanges=0,
                    first_seen=exchange.time,
                    last_seen=exchange.time,
                    example=redactor.example(exchange, path, judged, observation.direction, observation.place),
                )

    def merge(self, other: Snapshot) -> None:
        """Adds what was found elsewhere, or before."""
        self.exchanges += other.exchanges
        self.others += other.others
        self.not_kept += other.not_kept
        self.not_judged += other.not_judged
        self.coverage.merge(Coverage(other.seen))
        for finding in other.findings:
            key = _key(finding)
            known = self._found.get(key)
            if known is not None:
                self._found[key] = _seen_again(known, finding.count, finding.first_seen, finding.last_seen)
            elif self._has_room(key, finding.count):
                self._found[key] = finding

    def _has_room(self, key: Key, count: int) -> bool:
        """Takes room for a finding, or counts its sightings as not kept."""
        room = key[:4]
        if self._rooms[room] >= self._most:
            self.not_kept += count
            return False
        self._rooms[room] += 1
        return True

    def snapshot(self) -> Snapshot:
        """All of it as it is now."""
        return Snapshot(
            exchanges=self.exchanges,
            others=self.others,
            not_kept=self.not_kept,
            not_judged=self.not_judged,
            findings=[*self._found.values()],
            seen=Coverage(self.coverage.seen).seen,
        )

    def report(self, contracts: Mapping[str, Contract]) -> Report:
        """The findings, those seen most first, with what was covered of these contracts."""
        told = [
            msgspec.structs.replace(found, exchanges=self.coverage.of(found.vendor, found.operation))
            for found in self._found.values()
        ]
        return Report(
            exchanges=self.exchanges,
            others=self.others,
            not_kept=self.not_kept,
            not_judged=self.not_judged,
            findings=sorted(told, key=lambda found: (-found.count, _key(found))),
            coverage=self.coverage.told(contracts),
        )


def _seen_again(finding: Finding, count: int, first: float, last: float) -> Finding:
    seen = [moment for moment in (finding.first_seen, first) if moment] or [0.0]
    return msgspec.structs.replace(
        finding,
        count=finding.count + count,
        first_seen=min(seen),
        last_seen=max(finding.last_seen, last),
    )


def _key(finding: Finding) -> Key:
    return (
        finding.kind,
        finding.vendor,
        finding.operation,
        finding.direction,
        finding.location,
        finding.constraint,
    )


def _fingerprint(key: Key) -> str:
    return hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
