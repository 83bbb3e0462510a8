"""What the README's lines of a shell do where their reader stands."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

from conftest import ROOT
from loyalty_gateway.spec import specs_folder

# A machine that only has Python may lack curl.
_CURL = """#!{python}
import sys, urllib.error, urllib.request
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
    answer = urllib.request.urlopen(urllib.request.Request(url, body, headers))
except urllib.error.HTTPError as error:
    answer = error
except OSError:
    sys.exit(7)
print(answer.read().decode())
"""
_COMMAND = '#!/bin/sh\nexec "{python}" -m loyalty_gateway "$@"\n'


def pasted(folder: Path, use: str) -> str:
    """What the lines print in the folder, which has what a checkout has, on a port that is free."""
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
