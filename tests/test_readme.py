"""The README's examples, as pasted, against a gateway served as the README says."""

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

import httpx2

from conftest import DEMO, ROOT, serving

_EXAMPLE = re.compile(r"```sh\n(curl [^\n]+)\n```\n\n```text\n(.*?)\n```", re.DOTALL)


def test_the_readme_sets_up_serves_holds_and_tests_with_one_line_each() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    lines = re.findall(r"```sh\n([^\n]*pip install[^\n]*)\n```", readme)

    serves, holds, tests = lines
    assert "loyalty-gateway serve" in serves
    assert "loyalty-gateway contract" in holds
    assert "pytest" in tests


def test_each_example_answers_what_the_readme_shows(tmp_path: Path) -> None:
    examples = _EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    shown, answered = [], []

    with serving(tmp_path, DEMO) as gateway:
        for command, told in examples:
            shown.append(_parsed(told))
            answered.append(_parsed(_curl(command.replace("http://127.0.0.1:8000", gateway.url))))

    assert len(examples) == 10
    assert answered == shown


def _curl(command: str) -> str:
    """What curl would print: done here, since a machine that only has Python may lack it."""
    options = argparse.ArgumentParser()
    options.add_argument("url")
    for short in ("-s", "-G"):
        options.add_argument(short, action="store_true")
    options.add_argument("-w")
    options.add_argument("-X")
    options.add_argument("-u")
    options.add_argument("-d")
    options.add_argument("-H", action="append", default=[])
    given = options.parse_args(shlex.split(command)[1:])
    answer = httpx2.request(
        given.X or ("GET" if given.d is None else "POST"),
        given.url,
        headers=dict(header.split(": ", 1) for header in given.H),
        content=None if given.d is None else given.d.encode(),
        auth=None if given.u is None else tuple(given.u.split(":", 1)),
    )
    assert given.w == "\\n%{http_code}\\n"
    return f"{answer.text}\n{answer.status_code}\n"


def _parsed(output: str) -> tuple[Any, str]:
    """The answer without its moments, and its status."""
    body, _, status = output.rstrip("\n").rpartition("\n")
    moments = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.(\d{3}Z|\d{6})", "a moment", body)
    return (json.loads(moments) if moments.strip() else "", status)
