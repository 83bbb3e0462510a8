"""Style and architecture, held by tests: import directions, docstrings, types, lint, and lists in documents."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from readme import README, generated

from conftest import ROOT
from loyalty_gateway.vendor import discover

_SOURCE = ROOT / "src" / "loyalty_gateway"
_MODULES = sorted(_SOURCE.rglob("*.py"))
_PYTHON = [
    path
    for folder in ("src", "tests", "benchmarks", "examples", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
_DOMAIN = ("adjustment.py", "customer.py", "engine.py", "problem.py")

# A library, and the only places that may import it.
_HOMES = {
    "openapi_core": ("spec/",),
    "openapi_spec_validator": ("spec/",),
    "openapi_schema_validator": ("spec/",),
    "jsonschema": ("spec/",),
    "jsonschema_rs": ("spec/",),
    "oas_patch": ("spec/",),
    "werkzeug": ("spec/",),
    "yaml": ("spec/", "given.py"),
    "asyncpg": ("ledger/postgres",),
    "sqlite3": ("ledger/sqlite", "testing/gateway.py"),
    "uvicorn": ("cli/serving.py", "testing/connections.py", "testing/served.py"),
    "uvloop": ("cli/opened_ledger.py", "cli/serving.py"),
    "typer": ("cli/",),
    "rich": (
        "check.py",
        "contract_run/commands.py",
        "contract_run/summary.py",
        "ledger_commands/",
        "loss_commands.py",
        "traffic/telling.py",
    ),
    "prometheus_client": ("metrics.py",),
    "starlette": (
        "admin_token.py",
        "app.py",
        "body.py",
        "browsers.py",
        "cli/serving.py",
        "endpoint.py",
        "exchange.py",
        "mounts.py",
        "own_paths.py",
        "response.py",
        "testing/",
    ),
    "httpx": ("contract_run/client.py", "traffic/asking.py", "upstream/", "testing/hosts.py"),
    "schemathesis": ("contract_run/generated.py",),
    "hypothesis": ("contract_run/generated.py",),
    "anyio": ("testing/",),
    "pytest": ("testing/plugin.py",),
    "respx": ("testing/hosts.py",),
    "httpx_aiohttp": ("upstream/",),
    "aiohttp": ("upstream/",),
    "purgatory": ("upstream/",),
    "loyalty_gateway.app": (
        "cli/",
        "check.py",
        "contract_run/commands.py",
        "loss_commands.py",
        "testing/gateway.py",
    ),
    "loyalty_gateway.endpoint": ("app.py",),
    "loyalty_gateway.cli": ("__main__.py", "cli/"),
    "loyalty_gateway.testing": ("app.py", "cli/serving.py", "testing/"),
}


@cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_imported(ast.parse(path.read_text(encoding="utf-8"))))


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _place(path: Path) -> str:
    return path.relative_to(_SOURCE).as_posix()


@pytest.mark.parametrize("library", sorted(_HOMES))
def test_a_library_is_imported_in_its_home_only(library: str) -> None:
    strangers = [
        _place(path)
        for path in _MODULES
        if any(name == library or name.startswith(f"{library}.") for name in _imports(path))
        and not _place(path).startswith(_HOMES[library])
    ]

    assert strangers == []


@pytest.mark.parametrize("module", sorted((_SOURCE / "vendors").rglob("*.py")), ids=_place)
def test_a_vendor_imports_the_domain_and_itself_and_nothing_that_moves_bytes(module: Path) -> None:
    allowed = {"adjustment", "customer", "moment", "problem", "told", "vendor"}
    itself = f"loyalty_gateway.vendors.{module.relative_to(_SOURCE / 'vendors').parts[0].removesuffix('.py')}"

    others = [
        name for name in _imports(module) if name.startswith("loyalty_gateway.") and not name.startswith(itself)
    ]

    assert {name.split(".")[1] for name in others if name != "loyalty_gateway.vendors"} <= allowed


@pytest.mark.parametrize("module", _DOMAIN)
def test_the_domain_imports_nothing_but_the_domain(module: str) -> None:
    ours = {name.split(".")[1] for name in _imports(_SOURCE / module) if name.startswith("loyalty_gateway.")}

    assert ours <= {name.removesuffix(".py") for name in _DOMAIN}


def test_nothing_outside_the_vendors_folder_names_a_vendor() -> None:
    names = re.compile("|".join(discover()), re.IGNORECASE)

    naming = [
        f"{_place(path)}:{node.lineno}"
        for path in _MODULES
        if not _place(path).startswith("vendors/")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute | ast.Constant)
        and names.search(getattr(node, "id", "") or getattr(node, "attr", "") or str(getattr(node, "value", "")))
        and not (isinstance(node, ast.Constant) and len(str(node.value)) > 40)
    ]

    assert naming == []


@pytest.mark.parametrize("path", _MODULES, ids=_place)
def test_a_module_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))

    assert docstring
    assert re.search(r"[.:]$", docstring.splitlines()[0])


def test_no_unfinished_place_is_left() -> None:
    marks = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + "X|HA" + r"CK)\b|pytest\.mark\.sk" + "ip|xf" + r"ail\(")

    found = [str(path.relative_to(ROOT)) for path in _PYTHON if marks.search(path.read_text(encoding="utf-8"))]

    assert found == []


def test_the_generated_parts_of_the_readme_are_up_to_date() -> None:
    text = README.read_text(encoding="utf-8")

    assert generated(text, discover()) == text, "run: python3 tools/readme.py"


def test_the_architecture_says_why_each_dependency_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shipped = ("benchmarks", "contract", "postgres", "testing")
    extras = [one for extra in shipped for one in project["optional-dependencies"][extra]]
    names = {re.split(r"[<>=\[; ]", dependency)[0] for dependency in [*project["dependencies"], *extras]}
    section = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Dependencies")[2]

    told = {name for row in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE) for name in row.split(", ")}

    assert names <= told
    assert told - {"library", "---"} <= names


def test_the_readme_lists_every_command() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "loyalty_gateway", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = set(re.findall(r"^│ (\w+) ", told, re.MULTILINE)) | set(
        re.findall(r"^  (\w+)  ", told, re.MULTILINE)
    )
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert {"serve", "check"} <= commands
    assert {command for command in commands if not re.search(f"`loyalty-gateway {command}[ `]", readme)} == set()


def test_types_are_strictly_right() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary"], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("check", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_style_is_right(check: tuple[str, ...]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "ruff", *check, "--no-cache", "."],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert told.returncode == 0, told.stdout + told.stderr
