"""Findings told to people and to programs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loyalty_gateway.traffic.coverage import OperationCoverage
from loyalty_gateway.traffic.findings import Finding, Report

_WIDER_THAN_ANY_LINE = 1_000


def render_json(report: Report, stream: TextIO) -> None:
    """The report as JSON."""
    stream.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")


def render_report(report: Report, stream: TextIO) -> None:
    """The report as tables; piped output is never cut to a width."""
    width = None if stream.isatty() else _WIDER_THAN_ANY_LINE
    console = Console(file=stream, width=width, highlight=False)
    if report.findings:
        console.print(_findings(report.findings))
    if report.coverage:
        console.print(_coverage(report.coverage))
    told = f"{counted(len(report.findings), 'finding')} in {counted(report.exchanges, 'exchange')}"
    for count, what in (
        (report.others, "of nobody"),
        (report.not_judged, "not judged, or not as a whole: too many at once, or too long"),
        (report.not_kept, "sightings beyond what is kept"),
        (report.unreadable, "that could not be read"),
    ):
        told += f"; {count} {what}" if count else ""
    console.print(told)


def counted(count: int, what: str) -> str:
    """A count with its word, in the plural where it is not one."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table("seen", "vendor", "operation", "finding", "first seen", "last seen", "example", title="Findings")
    for finding in findings:
        where = f"{finding.direction} {finding.location} {finding.constraint}".strip()
        example = finding.example
        shown = f"{example.method} {example.path} {example.status}"
        shown = shown if example.value is None else f"{shown}: {example.value}"
        table.add_row(
            f"{finding.count} of {finding.exchanges}",
            finding.vendor,
            escape(finding.operation),
            escape(f"{finding.kind}: {where}"),
            _moment(finding.first_seen),
            _moment(finding.last_seen),
            escape(f"{shown} ({example.where})" if example.where else shown),
        )
    return table


def _coverage(operations: Sequence[OperationCoverage]) -> Table:
    table = Table("vendor", "operation", "statuses seen", "not seen", title="Coverage")
    for covered in operations:
        seen = " ".join(f"{status} ({count})" for status, count in covered.seen.items()) or "none"
        table.add_row(covered.vendor, covered.operation, seen, " ".join(covered.not_seen))
    return table


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else "-"
    except (ValueError, OverflowError, OSError):  # a recording may have any number
        return "-"
