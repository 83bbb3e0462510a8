"""The gateway beside a bare Starlette route, in turns, on this machine: ``python benchmarks/side_by_side.py``.

Needs ``wrk``. The server runs on one core, the generator on another. The gateway does all of its work: rate
limits counted (high enough never to refuse), default logging, durable commits.
"""

import argparse
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

_HERE = Path(__file__).parent
_LUA = """
local wallets = {wallets}
local n = 0
request = function()
  n = n + 1
  local path = "/mage/v1/customers/" .. (6000000000 + (n * 7919) % wallets) .. "/points"
  return wrk.format("POST", path, {{["authorization"]="mage_demo_key", ["content-type"]="application/json"}},
    '{{"adjustment":5,"note":"Goodwill gesture","send_email":false}}')
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format("RESULT %f %f %f %d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, failed))
end
"""


def main() -> None:
    """Prints a table of requests/s, p50, p99 and ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--connections", type=int, nargs="*", default=[1, 32, 64, 128])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=4)
    chosen = arguments.parse_args()
    print(f"{'row':<28}{'conns':>6}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}{'failed':>8}")
    with tempfile.TemporaryDirectory() as folder, _bare() as bare:
        for wallets in (1, 10_000):
            with _gateway(Path(folder), wallets) as gateway:
                for connections in chosen.connections:
                    _compare(bare, gateway, wallets, connections, chosen.rounds, chosen.seconds, Path(folder))


def _compare(
    bare: str, gateway: str, wallets: int, connections: int, rounds: int, seconds: int, folder: Path
) -> None:
    script = folder / "load.lua"
    script.write_text(_LUA.format(wallets=wallets))
    figures: dict[str, list[tuple[float, ...]]] = {bare: [], gateway: []}
    _load(gateway, script, connections, 1)
    for _ in range(rounds):
        for url in (bare, gateway):
            figures[url].append(_load(url, script, connections, seconds))
    medians = {
        url: [statistics.median(column) for column in zip(*rows, strict=True)] for url, rows in figures.items()
    }
    for name, url in (("bare Starlette", bare), (f"gateway, {wallets} wallets", gateway)):
        rate, p50, p99, failed = medians[url]
        ratio = rate / medians[bare][0]
        print(
            f"{name:<28}{connections:>6}{rate:>10.0f}{p50:>9.2f}{p99:>9.2f}{ratio:>8.2f}{failed:>8.0f}", flush=True
        )


def _load(url: str, script: Path, connections: int, seconds: int) -> tuple[float, ...]:
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", told)
    assert found is not None, told
    return tuple(map(float, found.groups()))


@contextlib.contextmanager
def _bare() -> Iterator[str]:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), "--no-access-log"]
    with _running([*command, "--log-level", "warning"], port, cwd=_HERE) as url:
        yield url


@contextlib.contextmanager
def _gateway(folder: Path, wallets: int) -> Iterator[str]:
    port = _free_port()
    customers = [{"references": {"shopify": str(6_000_000_000 + index)}} for index in range(wallets)]
    config = {
        "ledger": f"sqlite:///{folder}/{wallets}.db",
        "merchants": {"demo": {"customers": customers}},
        "vendors": {
            "mage": {
                "credentials": [{"merchant": "demo", "api_key": "mage_demo_key"}],
                "rate_limits": {"requests": "100000000/1s"},
            }
        },
    }
    path = folder / f"{wallets}.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "loyalty_gateway", "serve", "--config", str(path), "--port", str(port)]
    with _running(command, port) as url:
        yield url


@contextlib.contextmanager
def _running(command: list[str], port: int, cwd: Path | None = None) -> Iterator[str]:
    with (Path(tempfile.gettempdir()) / "side_by_side.log").open("wb") as log:
        server = subprocess.Popen(["taskset", "-c", "0", *command], cwd=cwd, stdout=log, env=os.environ.copy())
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
