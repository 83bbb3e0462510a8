"""schemathesis, with all of its checks, against the gateway as it is served."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from conftest import Served, demo_config, serving
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import discover

_HERE = Path(__file__).parent
_EXAMPLES = os.environ.get("LOYALTY_GATEWAY_SCHEMATHESIS_EXAMPLES", "8")
_SEED = os.environ.get("LOYALTY_GATEWAY_SEED", "1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Unknown customers are enrolled, so that a generated one is as good as any."""
    config = demo_config()
    config["merchants"]["demo"]["unknown_customers"] = "enrol"
    with serving(tmp_path_factory.mktemp("served"), config) as gateway:
        yield gateway


@pytest.mark.parametrize("vendor", sorted(discover()))
def test_every_check_of_schemathesis_passes(
    vendor: str, served: Served, contracts: dict[str, Contract], tmp_path: Path
) -> None:
    document = tmp_path / "openapi.json"
    corrected = contracts[vendor].document.corrected
    document.write_text(json.dumps(corrected), encoding="utf-8")
    servers = corrected.get("servers", [{"url": "/"}])
    url = f"{served.url}/{vendor}{urlsplit(servers[0]['url']).path.rstrip('/')}"
    tool = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(_HERE / "schemathesis_settings" / f"{vendor}.toml"),
    ]
    options = ["--max-examples", _EXAMPLES, "--seed", _SEED, "--no-color"]

    told = subprocess.run(
        [*tool, "run", str(document), "--url", url, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    counted = re.search(r"(\d+) generated, (\d+) passed", told.stdout)
    assert counted is not None, told.stdout
    assert int(counted[2]) > 50
    assert "Authentication failed" not in told.stdout
    assert "Missing test data" not in told.stdout
    log = served.log.read_text(encoding="utf-8")
    assert '"unforeseen"' not in log
    assert '"defects"' not in log
