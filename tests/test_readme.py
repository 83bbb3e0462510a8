"""The README's examples, as pasted, against a gateway served as the README says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from conftest import DEMO, ROOT, serving

_EXAMPLE = re.compile(r"```sh\n(curl [^\n]+)\n```\n\n```text\n(.*?)\n```", re.DOTALL)


def test_the_readme_sets_up_serves_and_tests_with_one_line_each() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    lines = re.findall(r"```sh\n([^\n]*pip install[^\n]*)\n```", readme)

    assert len(lines) == 2
    assert "loyalty-gateway serve" in lines[0]
    assert "pytest" in lines[1]


def test_each_example_answers_what_the_readme_shows(tmp_path: Path) -> None:
    examples = _EXAMPLE.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    shown, answered = [], []

    with serving(tmp_path, DEMO) as gateway:
        for command, told in examples:
            shell = command.replace("http://127.0.0.1:8000", gateway.url)
            output = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True).stdout
            shown.append(_parsed(told))
            answered.append(_parsed(output))

    assert len(examples) == 6
    assert answered == shown


def _parsed(output: str) -> tuple[Any, str]:
    """The answer without its moments, and its status."""
    body, _, status = output.rstrip("\n").rpartition("\n")
    moments = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "a moment", body)
    return (json.loads(moments) if moments.strip() else "", status)
