"""A run's report as one HTML page that needs nothing beside it."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

Plain = Mapping[str, Any]

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; vertical-align: top }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd }
pre { white-space: pre-wrap; word-break: break-word }
.held { color: #176f2c } .violated, .no-verdict { color: #a40e26; font-weight: 600 } .not-covered { color: #777 }
"""
_ORDER: Final = ("violated", "no verdict", "held", "not covered")
_TITLES: Final = {
    "conformance_as_published": "Conformance to the document as published",
    "conformance_with_overlay": "Conformance with the overlay",
    "parity": "Parity with the vendor's behaviours",
}


def as_html(report: Plain) -> str:
    """The whole page."""
    title = f"{report['title']} at {report['url']}"
    facts = f"{report['requests']} requests in {report['seconds']} s, seed {report['seed']}"
    parts = [
        f"<h1>{escape(title)}</h1><p>{escape(facts)}</p>",
        _scores(report["scores"]),
        *(f"<p>{escape(note)}</p>" for note in report["notes"]),
        *(f"<h2>{name.title()}</h2>{_checks(report, name)}" for name in ("conformance", "parity")),
        "<h2>Overlay actions that decided something</h2>",
        _table(
            ("action", "why", "evidence", "times", "example"),
            (
                (one["action"], one["reason"], one["evidence"], str(one["count"]), one["example"])
                for one in report["decisions"]
            ),
        ),
        "<h2>Not covered</h2>",
        _table(("what", "where", "which"), _not_covered(report["not_covered"])),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _scores(scores: Plain) -> str:
    rows = [
        (title, *(str(scores[name][outcome]) for outcome in ("held", "violated", "no_verdict", "not_covered")))
        for name, title in _TITLES.items()
    ]
    return _table(("score", "held", "violated", "no verdict", "not covered"), rows)


def _checks(report: Plain, score: str) -> str:
    checks = [check for check in report["checks"] if check["score"] == score]
    rows = []
    for check in sorted(checks, key=lambda one: _ORDER.index(one["outcome"])):
        exchange = check["exchange"]
        shown = "" if exchange is None else _details(exchange)
        outcome = f'<td class="{check["outcome"].replace(" ", "-")}">{escape(check["outcome"])}</td>'
        tag = check["evidence"] or f"as published: {check['as_published'] or 'not judged'}"
        rows.append(
            f"<tr>{outcome}<td>{escape(check['promise'])}<br><small>{escape(check['id'])}</small></td>"
            f"<td>{escape(tag)}</td><td>{escape(check['told'])}{shown}</td></tr>"
        )
    return f"<table><tr><th>outcome</th><th>promise</th><th>evidence</th><th>seen</th></tr>{''.join(rows)}</table>"


def _details(exchange: Plain) -> str:
    body = "" if exchange["body"] is None else f"\n\n{exchange['body']}"
    told = f"{exchange['request']}{body}\n\n{exchange['status']}\n{exchange['answer']}"
    return f"<details><summary>exchange</summary><pre>{escape(told)}</pre></details>"


def _not_covered(parts: Plain) -> Iterable[tuple[str, str, str]]:
    for operation in parts["operations"]:
        yield "operation", operation, ""
    for kind in ("statuses", "keywords"):
        for operation, names in parts[kind].items():
            yield kind, operation, ", ".join(names)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{titles}</tr>{body}</table>"
