"""A run's report as a file for machines: JSON, JUnit, SARIF 2.1.0. Each takes plain values without secrets."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

import msgspec

from loyalty_gateway.contract_run.page import as_html
from loyalty_gateway.contract_run.verdict import Outcome

Plain = Mapping[str, Any]

_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SARIF_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_KINDS: Final = {Outcome.VIOLATED: "fail", Outcome.NO_VERDICT: "open"}


def as_json(report: Plain) -> str:
    """Everything."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def as_junit(report: Plain) -> str:
    """A suite for each score; what has no verdict is an error, what was not covered is skipped."""
    suites = [_suite(report, score) for score in ("conformance", "parity")]
    name = _clean(quoteattr(f"{report['vendor']} at {report['url']}"))
    counts = _counts(report["checks"])
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f'{head}<testsuites name={name} {counts} time="{report["seconds"]}">\n{"".join(suites)}</testsuites>\n'


def _suite(report: Plain, score: str) -> str:
    checks = [check for check in report["checks"] if check["score"] == score]
    properties = {
        "seed": report["seed"],
        "requests": report["requests"],
        **{f"{name}.{kind}": count for name, tally in report["scores"].items() for kind, count in tally.items()},
    }
    told = "".join(
        f"    <property name={quoteattr(str(name))} value={quoteattr(_plain_text(value))}/>\n"
        for name, value in properties.items()
    )
    cases = "".join(_case(report, check) for check in checks)
    # Of skipped ones the whole has no count in the schema by which some servers read these files.
    skipped = sum(check["outcome"] == Outcome.NOT_COVERED for check in checks)
    return (
        f'  <testsuite name="{score}" {_counts(checks)} skipped="{skipped}">\n'
        f"  <properties>\n{told}  </properties>\n{cases}  </testsuite>\n"
    )


def _counts(checks: Sequence[Plain]) -> str:
    counts = {outcome: sum(check["outcome"] == outcome for check in checks) for outcome in Outcome}
    return f'tests="{len(checks)}" failures="{counts[Outcome.VIOLATED]}" errors="{counts[Outcome.NO_VERDICT]}"'


def _case(report: Plain, check: Plain) -> str:
    name, place = quoteattr(_clean(check["promise"])), quoteattr(f"{report['vendor']}.{check['id']}")
    told = quoteattr(_clean(check["told"]))
    shown = escape(_clean(as_text(check["exchange"])))
    inner = {
        Outcome.HELD: "",
        Outcome.VIOLATED: f"<failure message={told}>{shown}</failure>",
        Outcome.NO_VERDICT: f"<error message={told}>{shown}</error>",
        Outcome.NOT_COVERED: f"<skipped message={told}/>",
    }[Outcome(check["outcome"])]
    return f"    <testcase classname={place} name={name}>{inner}</testcase>\n"


def as_text(exchange: Plain | None) -> str:
    """A request and its answer as lines."""
    if exchange is None:
        return ""
    headers = "".join(f"\n{name}: {value}" for name, value in exchange["headers"].items())
    body = "" if exchange["body"] is None else f"\n\n{exchange['body']}"
    return f"{exchange['request']}{headers}{body}\n\n{exchange['status']}\n{exchange['answer']}"


def _clean(text: str) -> str:
    """Without the characters that XML cannot carry."""
    return _NOT_XML.sub("\ufffd", text)


def _plain_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def as_sarif(report: Plain) -> str:
    """A rule for each check, a result for each that does not hold; the place is the vendor's document.

    What was not covered is no result, since many readers show each result as something wrong.
    """
    failing = [check for check in report["checks"] if check["outcome"] in _KINDS]
    missed = [check for check in report["checks"] if check["outcome"] == Outcome.NOT_COVERED]
    rules = [
        {
            "id": check["id"],
            "shortDescription": {"text": check["promise"]},
            "properties": {
                "score": check["score"],
                **({"evidence": check["evidence"], "source": check["source"]} if check["evidence"] else {}),
            },
        }
        for check in report["checks"]
    ]
    places = {check["id"]: index for index, check in enumerate(report["checks"])}
    results = [
        {
            "ruleId": check["id"],
            "ruleIndex": places[check["id"]],
            "level": "error" if check["outcome"] == Outcome.VIOLATED else "none",
            "kind": _KINDS[Outcome(check["outcome"])],
            "message": {"text": f"{check['promise']}: {check['outcome']}. {check['told']}".strip()},
            "locations": [_location(report, check["operation"])],
            "partialFingerprints": {"check/v1": f"{report['vendor']}/{check['id']}"},
            "properties": {"exchange": check["exchange"]},
        }
        for check in failing
    ]
    log = {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "loyalty-gateway contract", "rules": rules}},
                "results": results,
                "invocations": [{"executionSuccessful": report["exit_status"] != 2}],
                "properties": {
                    "scores": report["scores"],
                    "seed": report["seed"],
                    "url": report["url"],
                    "notCovered": [{"ruleId": check["id"], "reason": check["told"]} for check in missed],
                },
            }
        ],
    }
    return as_json(log)


def _location(report: Plain, operation: str) -> dict[str, Any]:
    """Where the operation stands in the published document, or the head of that."""
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": f"specs/{report['vendor']}.yaml", "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": report["lines"].get(operation, 1)},
        },
        "logicalLocations": [{"fullyQualifiedName": operation or report["vendor"], "kind": "function"}],
    }


FORMATS: Final[Mapping[str, Callable[[Plain], str]]] = {
    "junit": as_junit,
    "sarif": as_sarif,
    "json": as_json,
    "html": as_html,
}
"""Each kind of file by its name."""
