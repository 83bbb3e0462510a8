"""The plugin as a user's pytest loads it, the example project, and what the README says of both."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from conftest import ROOT
from loyalty_gateway.testing.served import serving
from pasted import pasted

EXAMPLE = ROOT / "examples" / "points_client"
SECTION = (
    (ROOT / "README.md").read_text(encoding="utf-8").partition("## Test your client\n")[2].partition("\n## ")[0]
)
LOST_ORDER = "test_an_order_whose_answer_is_lost_gives_its_points_once"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)


def outcomes(told: subprocess.CompletedProcess[str], outcome: str) -> set[str]:
    """The names of the tests that ended so, of a run with ``-rA``."""
    return set(re.findall(rf"^{outcome} \S+::(\w+)", told.stdout, re.MULTILINE))


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
    told = pytest_in(EXAMPLE, "-rA")

    assert told.returncode == 0, told.stdout + told.stderr
    assert LOST_ORDER in outcomes(told, "PASSED")
    assert not outcomes(told, "FAILED")


def test_the_example_fails_where_its_client_is_wrong(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "seeds.yaml", "points_client.py", "tests/test_points_client.py"):
        copy = tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text((EXAMPLE / name).read_text(encoding="utf-8"), encoding="utf-8")
    client = tmp_path / "points_client.py"
    right = client.read_text(encoding="utf-8")
    wrong = right.replace(', "idempotencyKey": order', "")
    client.write_text(wrong, encoding="utf-8")

    told = pytest_in(tmp_path, "-rA")

    assert right != wrong
    assert outcomes(told, "FAILED") == {LOST_ORDER}, told.stdout + told.stderr
    assert outcomes(told, "PASSED") - {LOST_ORDER}


@pytest.mark.parametrize(
    ("marker", "told_of"), [('"nosuch.yaml"', "'nosuch.yaml'"), ("rate_limit=True", "rate_limit")]
)
def test_a_marker_that_says_what_there_is_not_is_an_error(tmp_path: Path, marker: str, told_of: str) -> None:
    (tmp_path / "test_marked.py").write_text(
        f"import pytest\n@pytest.mark.loyalty_gateway({marker})\ndef test_it(loyalty_gateway): pass\n",
        encoding="utf-8",
    )

    told = pytest_in(tmp_path, "--rootdir", str(tmp_path), "-c", "/dev/null", "-rA")

    assert outcomes(told, "ERROR") == {"test_it"}, told.stdout
    assert f"{told_of} is no argument of loyalty_gateway(config=None" in told.stdout


def test_a_configuration_of_nothing_is_taken_as_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nloyalty_gateway_config = mine.yaml\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text((ROOT / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_marked.py").write_text(
        "import pytest\n"
        "@pytest.mark.loyalty_gateway(config={})\ndef test_nothing(loyalty_gateway): pass\n"
        "@pytest.mark.loyalty_gateway(config=None)\ndef test_the_default(loyalty_gateway): pass\n",
        encoding="utf-8",
    )

    told = pytest_in(tmp_path, "-rA")

    assert outcomes(told, "ERROR") == {"test_nothing"}, told.stdout
    assert outcomes(told, "PASSED") == {"test_the_default"}


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


def test_the_order_in_the_readme_works_as_pasted(tmp_path: Path) -> None:
    (block,) = blocks("sh")

    told = pasted(tmp_path, block)

    assert '{"number":1}' in told, told
    assert '"status":"503"' in told
    assert '"done":1' in told
    assert "Traceback" not in told
    assert len(block.splitlines()) <= 10


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
