"""Prism, the mock server and proxy from npm: installed outside the repository, started over a corrected spec."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from loyalty_gateway.spec import load_document, specs_folder

_PACKAGE: Final = "@stoplight/prism-cli"
_VERSION: Final = "5.16.0"


def find_or_install() -> Path | None:
    """Prism's own script, installed into the user's cache at first; ``None``, with a sentence why, without npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        print("Prism is left out: npm and node are not installed.")
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "loyalty-gateway" / f"prism-{_VERSION}"
    script = folder / "node_modules" / ".bin" / "prism"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
        told = subprocess.run([*command, f"{_PACKAGE}@{_VERSION}"], capture_output=True, text=True, check=False)
        if told.returncode != 0:
            last = (told.stderr.strip().splitlines() or ["npm says nothing"])[-1]
            print(f"Prism is left out: npm could not install it ({last}).")
            return None
    return script


def mock(script: Path, folder: Path, port: int, *, quiet: bool) -> list[str]:
    """The command that mocks Mage's corrected document, which is written into the folder."""
    return [*_command(script, "mock", port, quiet=quiet), str(_document("mage", folder))]


def proxy(script: Path, folder: Path, port: int, vendor: str, upstream: str, *, quiet: bool) -> list[str]:
    """The command that holds what goes to a server and comes back against a vendor's corrected document."""
    return [*_command(script, "proxy", port, quiet=quiet), str(_document(vendor, folder)), upstream]


def _command(script: Path, mode: str, port: int, *, quiet: bool) -> list[str]:
    command = ["node", str(script), mode, "--host", "127.0.0.1", "--port", str(port)]
    return [*command, *(["--verboseLevel", "silent"] if quiet else [])]


def _document(vendor: str, folder: Path) -> Path:
    document = folder / f"{vendor}.json"
    document.write_text(json.dumps(load_document(vendor, specs_folder()).corrected), encoding="utf-8")
    return document
