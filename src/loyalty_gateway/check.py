"""``loyalty-gateway check``: the vendors' operations, published defects and overlay actions, as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console
from rich.table import Table

from loyalty_gateway.app import load_contract
from loyalty_gateway.spec import Contract
from loyalty_gateway.spec.defects import PublishedDefect, published_defects
from loyalty_gateway.vendor import Vendor

_WIDER_THAN_ANY_LINE = 1_000


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found of one vendor."""

    vendor: Vendor
    contract: Contract
    defects: tuple[PublishedDefect, ...]


def check_vendors(
    vendors: Mapping[str, Vendor], overlays: Mapping[str, tuple[str, ...]], specs: Path | None = None
) -> list[Report]:
    """A report for each vendor; raises ConfigurationError at the first spec that cannot be used."""
    reports = []
    for name, vendor in vendors.items():
        contract = load_contract(vendor, overlays.get(name, ()), specs)
        reports.append(Report(vendor=vendor, contract=contract, defects=published_defects(contract.document)))
    return reports


def render_report(reports: Sequence[Report], stream: TextIO) -> None:
    """Prints the tables; piped output is never cut to a width."""
    width = None if stream.isatty() else _WIDER_THAN_ANY_LINE
    console = Console(file=stream, width=width, highlight=False)
    console.print(_vendors(reports))
    console.print(_operations(reports))
    console.print(_defects(reports))
    console.print(_actions(reports))


def _vendors(reports: Sequence[Report]) -> Table:
    table = Table("vendor", "OpenAPI", "operations", "published defects", "overlay actions", title="Vendors")
    for report in reports:
        document = report.contract.document
        table.add_row(
            report.vendor.name,
            str(document.published["openapi"]),
            str(len(report.contract.operations)),
            str(len(report.defects)),
            str(len(document.actions)),
        )
    return table


def _operations(reports: Sequence[Report]) -> Table:
    table = Table("vendor", "operation", "method", "path", "statuses", title="Operations")
    for report in reports:
        for operation in report.contract.operations.values():
            statuses = " ".join(sorted(operation.statuses))
            table.add_row(report.vendor.name, operation.id, operation.method, operation.path, statuses)
    return table


def _defects(reports: Sequence[Report]) -> Table:
    table = Table("vendor", "published defect", "at", "answered by", title="Published defects")
    for report in reports:
        for defect in report.defects:
            action = defect.answered_by
            answer = f"{action.where}: {action.reason}" if action is not None else "no action"
            table.add_row(report.vendor.name, defect.what, defect.place, answer)
    return table


def _actions(reports: Sequence[Report]) -> Table:
    table = Table("action", "target", "why", "evidence", "source", title="Overlay actions applied")
    for report in reports:
        for action in report.contract.document.actions:
            table.add_row(action.where, action.target, action.reason, action.evidence, action.source)
    return table
