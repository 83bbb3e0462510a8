"""The README's uses of recorded traffic and of the documents, as pasted."""

import os
import re
import socket
import stat
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from conftest import ROOT
from loyalty_gateway.spec import specs_folder

_README = (ROOT / "README.md").read_text(encoding="utf-8")
_SECTION = re.search(r"^## Traffic\n(.*?)^## ", _README, re.DOTALL | re.MULTILINE)
assert _SECTION is not None
_USES = re.findall(r"```sh\n(.*?)```", _SECTION[1], re.DOTALL)

# A machine that only has Python may lack curl.
_CURL = """#!{python}
import sys, urllib.request
url, headers, body = None, {{}}, None
arguments = iter(sys.argv[1:])
for one in arguments:
    if one == "-H":
        name, _, value = next(arguments).partition(": ")
        headers[name] = value
    elif one == "-d":
        body = next(arguments).encode()
    elif not one.startswith("-"):
        url = one
try:
    print(urllib.request.urlopen(urllib.request.Request(url, body, headers)).read().decode())
except OSError:
    sys.exit(7)
"""
_COMMAND = '#!/bin/sh\nexec "{python}" -m loyalty_gateway "$@"\n'


def _pasted(folder: Path, use: str) -> str:
    """What the lines print where the README's reader stands, on a port that is free."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in (("curl", _CURL), ("loyalty-gateway", _COMMAND)):
        (programs / name).write_text(text.format(python=sys.executable), encoding="utf-8")
        (programs / name).chmod(stat.S_IRWXU)
    port = _free_port()
    config = (ROOT / "config.yaml").read_text(encoding="utf-8").replace("port: 8000", f"port: {port}")
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "specs").symlink_to(specs_folder())
    told = subprocess.run(
        ["/bin/bash", "-c", use.replace(":8000", f":{port}")],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        timeout=120,
    )
    return told.stdout + told.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
    output = _pasted(tmp_path, _USES[index])

    assert [part for part in told if part not in output] == [], output
    assert "Traceback" not in output
    assert _USES[index].count("\n") <= 10
    assert [path.name for path in tmp_path.iterdir() if not _is_ignored(path)] == []
    assert len(_USES) == 3
