"""The README's uses of recorded traffic and of the documents, as pasted."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from conftest import ROOT
from pasted import pasted

_README = (ROOT / "README.md").read_text(encoding="utf-8")
_SECTION = re.search(r"^## Traffic\n(.*?)^## ", _README, re.DOTALL | re.MULTILINE)
assert _SECTION is not None
_USES = re.findall(r"```sh\n(.*?)```", _SECTION[1], re.DOTALL)


def _is_ignored(path: Path) -> bool:
    """Whether git leaves it alone in a checkout, apart from what stands there anyway."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()]
    return path.name in {"bin", "config.yaml", "specs"} or any(fnmatch(path.name, one) for one in ignored)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (0, ["undocumented field: request /body/colour", "undocumented status: answer /status 418", "2 findings"]),
        (
            1,
            [
                '"points_after":5',
                '"location":"/body/colour"',
                "1 finding in 1 exchange",
                "1 exchange written to kept.har",
            ],
        ),
        (2, ["salla.yaml:117:5: the operation has no operationId", "request/body/story_title", "vendors.yotpo"]),
    ],
)
def test_each_use_works_as_pasted_in_at_most_ten_lines(tmp_path: Path, index: int, told: list[str]) -> None:
    output = pasted(tmp_path, _USES[index])

    assert [part for part in told if part not in output] == [], output
    assert "Traceback" not in output
    assert _USES[index].count("\n") <= 10
    assert [path.name for path in tmp_path.iterdir() if not _is_ignored(path)] == []
    assert len(_USES) == 3
