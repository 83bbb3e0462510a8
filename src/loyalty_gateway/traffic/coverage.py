"""Which operations and statuses of a document were seen, and which were not."""

from collections.abc import Iterable, Mapping

import msgspec

from loyalty_gateway.spec import Contract


class OperationCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Of one operation: how often each status was seen, and the declared ones that never were."""

    vendor: str
    operation: str
    seen: dict[str, int]
    not_seen: tuple[str, ...]


class Coverage:
    """Counts the statuses of operations; there are as many counts as the documents and HTTP allow."""

    def __init__(self, seen: Mapping[str, Mapping[str, Mapping[str, int]]] | None = None) -> None:
        self.seen: dict[str, dict[str, dict[str, int]]] = {
            vendor: {operation: dict(statuses) for operation, statuses in operations.items()}
            for vendor, operations in (seen or {}).items()
        }

    def add(self, vendor: str, operation: str, status: str, count: int = 1) -> None:
        """Counts one exchange, or several."""
        statuses = self.seen.setdefault(vendor, {}).setdefault(operation, {})
        statuses[status] = statuses.get(status, 0) + count

    def merge(self, other: "Coverage") -> None:
        """Adds the counts of another."""
        for vendor, operations in other.seen.items():
            for operation, statuses in operations.items():
                for status, count in statuses.items():
                    self.add(vendor, operation, status, count)

    def of(self, vendor: str, operation: str) -> int:
        """How many exchanges of the operation were seen."""
        return sum(self.seen.get(vendor, {}).get(operation, {}).values())

    def told(self, contracts: Mapping[str, Contract]) -> list[OperationCoverage]:
        """Every operation of the vendors of whom anything was seen."""
        return [
            OperationCoverage(
                vendor=vendor,
                operation=operation.id,
                seen=dict(sorted(self.seen[vendor].get(operation.id, {}).items())),
                not_seen=_not_seen(operation.statuses, self.seen[vendor].get(operation.id, {})),
            )
            for vendor in sorted(self.seen)
            if vendor in contracts
            for operation in contracts[vendor].operations.values()
        ]


def _not_seen(declared: Iterable[str], seen: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(sorted(status for status in declared if status not in seen))
