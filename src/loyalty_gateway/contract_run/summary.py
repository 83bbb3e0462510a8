"""What a person reads of a contract run: a screen where all holds, and everything if that is asked for."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loyalty_gateway.contract_run.verdict import Outcome, Report, Score

Plain = Mapping[str, Any]

_STYLES: Final[Mapping[str, str]] = {Outcome.VIOLATED: "bold red", Outcome.NO_VERDICT: "bold red"}
_VERDICTS: Final = {0: "All that was checked holds.", 1: "Something is violated.", 2: "There is no verdict."}
_MOST_REASONS: Final = 6


def tell(values: Plain, report: Report, console: Console, *, verbose: bool) -> None:
    """Scores, what does not hold, what decided, what was not covered, the verdict; piped it is never cut.

    Args:
        values: the report as plain values without secrets.
        report: the report itself, for its scores.
        console: where it is told.
        verbose: with every overlay action's example, and all that was not covered.
    """
    _tell_scores(report, console)
    _tell_failing(values["checks"], console)
    if verbose:
        _tell_decisions(values["decisions"], console)
        _tell_all_not_covered(values, console)
    else:
        _count_decisions(values["decisions"], console)
        _count_not_covered(values, console)
    for note in values["notes"]:
        console.print(note, markup=False)
    told = f"{values['requests']} requests in {values['seconds']} s, seed {values['seed']}."
    console.print(f"{_VERDICTS[report.exit_status]} {told}", markup=False)


def _tell_scores(report: Report, console: Console) -> None:
    scores = Table("score", "result", title="Scores")
    scores.add_row("conformance, as published", str(report.as_published))
    scores.add_row("conformance, with overlay", str(report.conformance))
    scores.add_row("parity", str(report.parity))
    for tag, counted in report.parity_by_evidence().items():
        scores.add_row(f"  {tag}", str(counted))
    console.print(scores)


def _tell_failing(checks: Sequence[Plain], console: Console) -> None:
    failing = [one for one in checks if one["outcome"] in _STYLES]
    if not failing:
        return
    table = Table("check", "outcome", "evidence", "promise", "seen", title="What does not hold")
    for one in failing:
        outcome = Text(one["outcome"], style=_STYLES[one["outcome"]])
        table.add_row(Text(one["id"]), outcome, one["evidence"], Text(one["promise"]), Text(one["told"]))
    console.print(table)


def _tell_decisions(decisions: Sequence[Plain], console: Console) -> None:
    if not decisions:
        return
    table = Table("action", "decided", "for example", title="Overlay actions that decided something")
    for one in decisions:
        table.add_row(*(Text(str(cell)) for cell in (one["action"], one["count"], one["example"])))
    console.print(table)


def _count_decisions(decisions: Sequence[Plain], console: Console) -> None:
    by_file: dict[str, list[str]] = {}
    for one in decisions:
        file, _, action = one["action"].partition(" ")
        by_file.setdefault(file, []).append(re.sub(r"^actions\[(\d+)\]$", r"\1", action))
    for file, actions in by_file.items():
        console.print(f"Decided by {file}: actions {', '.join(actions)}", markup=False)


def _tell_all_not_covered(values: Plain, console: Console) -> None:
    missed = values["not_covered"]
    console.print("Not covered", style="bold")
    if missed["operations"]:
        console.print(f"  operations: {', '.join(missed['operations'])}", markup=False)
    for kind in ("statuses", "keywords"):
        for operation, names in missed[kind].items():
            console.print(f"  {kind} of {operation}: {', '.join(names)}", markup=False)
    for one in _behaviours_missed(values):
        console.print(f"  {one['evidence']}: {one['promise']} ({one['told']})", markup=False)


def _count_not_covered(values: Plain, console: Console) -> None:
    missed = values["not_covered"]
    statuses, keywords = missed["statuses"], missed["keywords"]
    console.print(
        Text("Not covered", style="bold").append(" (in full with --verbose, and in reports)", "not bold")
    )
    if missed["operations"]:
        console.print(f"  operations: {', '.join(missed['operations'])}", markup=False)
    for operation in dict.fromkeys((*statuses, *keywords)):
        missing = len(statuses.get(operation, ())), len(keywords.get(operation, ()))
        console.print(f"  {operation}: {missing[0]} statuses, {missing[1]} keywords", markup=False)
    reasons = Counter(one["reason"] for one in _behaviours_missed(values)).most_common()
    for reason, count in reasons[:_MOST_REASONS]:
        console.print(f"  {_behaviours(count)}: {reason}", markup=False)
    if further := sum(count for _, count in reasons[_MOST_REASONS:]):
        console.print(f"  {_behaviours(further)} for other reasons", markup=False)


def _behaviours(count: int) -> str:
    return f"{count} behaviour{'' if count == 1 else 's'}"


def _behaviours_missed(values: Plain) -> list[Plain]:
    return [
        one for one in values["checks"] if one["outcome"] == Outcome.NOT_COVERED and one["score"] == Score.PARITY
    ]
