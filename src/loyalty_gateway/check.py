"""``loyalty-gateway check``: the vendors' operations, published defects and overlay actions, as tables.

With ``--defects`` the defects alone, each with its line; with ``--against`` what a new document changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec
from rich.console import Console
from rich.table import Column, Table

from loyalty_gateway.against import Comparison, ConcernedAction
from loyalty_gateway.app import load_contract
from loyalty_gateway.spec import Contract, load_document
from loyalty_gateway.spec.changes import Change
from loyalty_gateway.spec.defects import PublishedDefect, published_defects
from loyalty_gateway.spec.positions import Positions
from loyalty_gateway.vendor import Vendor

_WIDER_THAN_ANY_LINE = 1_000
_MOST_PLACES = 3


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


class LocatedDefect(msgspec.Struct, frozen=True, kw_only=True):
    """A published defect with the line and column at which it stands, both from 1."""

    vendor: str
    file: str
    line: int
    column: int
    place: str
    rule: str
    what: str
    fingerprint: str
    answered_by: str | None


def located_defects(
    names: Iterable[str], overlays: Mapping[str, tuple[str, ...]], specs: Path
) -> list[LocatedDefect]:
    """The defects of the vendors' documents as published, in the order of their lines; nothing is compiled."""
    located = []
    for name in names:
        positions = Positions(specs / f"{name}.yaml")
        for defect in published_defects(load_document(name, specs, overlays.get(name, ()))):
            line, column = positions.at(defect.place)
            located.append(
                LocatedDefect(
                    vendor=name,
                    file=positions.file,
                    line=line,
                    column=column,
                    place=defect.place,
                    rule=defect.rule,
                    what=defect.what,
                    fingerprint=defect.fingerprint,
                    answered_by=defect.answered_by.where if defect.answered_by is not None else None,
                )
            )
    return sorted(located, key=lambda defect: (defect.vendor, defect.line, defect.column, defect.fingerprint))


def render_defects(defects: Sequence[LocatedDefect], stream: TextIO) -> None:
    """A line for each defect, as compilers print them."""
    for defect in defects:
        answer = f"answered by {defect.answered_by}" if defect.answered_by is not None else "no action answers it"
        place = f"{defect.file}:{defect.line}:{defect.column}"
        stream.write(f"{place}: {defect.what} [{defect.rule} {defect.fingerprint}] ({answer})\n")
    stream.write(f"{len(defects)} defects\n")


def render_comparison(comparison: Comparison, stream: TextIO) -> None:
    """Prints what a new document changes, what of the overlay is to be looked at, and whom that concerns."""
    width = None if stream.isatty() else _WIDER_THAN_ANY_LINE
    console = Console(file=stream, width=width, highlight=False, markup=False)
    # A pointer has no blanks to be broken at, and is of no use without its end.
    long = (Column("target", overflow="fold"), Column("", overflow="fold"))
    actions = Table("action", *long, "its reason", title="Overlay actions to be looked at")
    for action in comparison.actions:
        actions.add_row(action.where, action.target, _why(action), action.reason)
    concerned = Table("merchant", "by", "", "operations that break", title="Merchants concerned")
    for one in comparison.merchants:
        concerned.add_row(one.merchant, one.where, one.how, ", ".join(one.operations) or "none in particular")
    tables = (
        _changes(comparison.changes, "Changes for the translator"),
        _changes(comparison.hidden, "Changes that the overlay hides"),
        actions,
        concerned,
    )
    for table in tables:
        if table.rows:
            console.print(table)
    if comparison.untranslated:
        console.print(f"the translator's operations that are gone: {', '.join(comparison.untranslated)}")
    if comparison.invalid is not None:
        console.print(f"cannot be used with its overlay: {comparison.invalid}")
    breaking = sum(bool(change.breaks) for change in comparison.changes)
    console.print(
        f"{comparison.vendor}: {len(comparison.changes)} changes, {breaking} of them break something; "
        f"{len(comparison.hidden)} more that the overlay hides; "
        f"{len(comparison.actions)} overlay actions to be looked at; {len(comparison.merchants)} uses by merchants"
    )


def _changes(changes: Iterable[Change], title: str) -> Table:
    table = Table("operation", "where", "change", "breaks", title=title)
    for change in changes:
        what = f"{change.kind}: {change.what}"
        table.add_row(change.operation, change.where, what, ", ".join(change.breaks) or "nobody")
    return table


def _why(action: ConcernedAction) -> str:
    told = [f"{one.place} {one.what}" for one in action.hidden[:_MOST_PLACES]]
    if len(action.hidden) > _MOST_PLACES:
        told.append(f"and {len(action.hidden) - _MOST_PLACES} places more")
    return "\n".join((f"{action.why}:", *told)) if told else action.why
