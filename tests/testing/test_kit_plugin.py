"""The plugin as a user's pytest loads it, the example project, and what the README says of both."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from conftest import ROOT, StartGateway, demo_config
from loyalty_gateway.testing.served import serving

EXAMPLE = ROOT / "examples" / "points_client"
SECTION = (
    (ROOT / "README.md").read_text(encoding="utf-8").partition("## Test your client\n")[2].partition("\n## ")[0]
)
TOKEN = "a-token-for-these-tests"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the tests of a folder as its owner would: the plugin is found by its entry point."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_loading_the_plugin_loads_nothing_of_the_gateway() -> None:
    program = (
        "import sys, pytest; before = set(sys.modules); import loyalty_gateway.testing.plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert told.split() == ["loyalty_gateway", "loyalty_gateway.testing", "loyalty_gateway.testing.plugin"]


def test_this_projects_own_tests_load_the_plugin_when_coverage_has_begun(request: pytest.FixtureRequest) -> None:
    plugins = request.config.pluginmanager

    assert plugins.is_blocked("loyalty_gateway")
    assert plugins.has_plugin("loyalty_gateway.testing.plugin")


def test_the_example_passes_as_its_owner_runs_it() -> None:
    told = pytest_in(EXAMPLE)

    assert told.returncode == 0, told.stdout + told.stderr
    assert "9 passed" in told.stdout


def test_the_example_fails_where_its_client_is_wrong(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "seeds.yaml", "points_client.py", "tests/test_points_client.py"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text((EXAMPLE / name).read_text(encoding="utf-8"), encoding="utf-8")
    client = tmp_path / "points_client.py"
    right = client.read_text(encoding="utf-8")
    wrong = right.replace(', "idempotencyKey": order', "")
    client.write_text(wrong, encoding="utf-8")

    told = pytest_in(tmp_path)

    assert right != wrong
    assert "3 failed, 6 passed" in told.stdout, told.stdout + told.stderr
    assert set(re.findall(r"^FAILED \S+::(\w+)", told.stdout, re.MULTILINE)) == {
        "test_an_order_whose_answer_is_lost_gives_its_points_once"
    }


def test_each_use_in_the_readme_works_as_pasted(tmp_path: Path) -> None:
    uses, files = blocks("python"), blocks("yaml")
    for number, use in enumerate(uses):
        (tmp_path / f"test_use_{number}.py").write_text(use, encoding="utf-8")
    for file in files:
        (tmp_path / file.partition("\n")[0].removeprefix("# ")).write_text(file, encoding="utf-8")

    told = pytest_in(tmp_path, "--rootdir", str(tmp_path), "-c", "/dev/null")

    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{len(uses)} passed" in told.stdout
    assert {use for use in [*uses, *files] if len(use.splitlines()) > 10} == set()


def test_the_order_in_the_readme_works_as_pasted(start_gateway: StartGateway) -> None:
    (block,) = blocks("sh")
    curl, _, url, _, header, _, body = shlex.split(block.replace("$TOKEN", TOKEN))
    gateway = start_gateway(demo_config(testing={"faults": True}, admin={"token": TOKEN}))

    answer = gateway.client.post(url, headers=dict([header.split(": ")]), content=body)

    assert curl == "curl"
    assert answer.status_code == 201


def test_what_a_test_leaves_running_reaches_no_other_test() -> None:
    with serving() as served:
        with served.gateway() as first:
            left = first.url("mage")
        with served.gateway() as second:
            try:
                statuses = [httpx.get(f"{left}/v1/customers", headers=second.headers("mage")).status_code]
            except httpx.TransportError:
                statuses = []

            assert statuses in ([], [503])
            assert second.requests == []


def test_a_request_without_an_answer_holds_up_no_end() -> None:
    with serving() as served, served.gateway() as gateway:
        gateway.faults.timeout(seconds=600)
        with httpx.Client(timeout=0.1) as client, pytest.raises(httpx.ReadTimeout):
            client.get(f"{gateway.url('mage')}/v1/customers")
