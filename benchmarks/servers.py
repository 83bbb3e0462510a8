"""The servers of a comparison, each a process on the servers' core with its log in a file."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

import prism
from machine import GENERATOR_CORE, SERVER_CORE, pinned
from request_and_load import FIRST_CUSTOMER, HEADERS, MAGE, Asked, Target, ask

BARE: Final = "bare Starlette"
FASTAPI: Final = "FastAPI by hand"
OPENAPI_CORE: Final = "openapi-core middleware"
PRISM: Final = "Prism mock"
STUB: Final = "the upstream itself"
PRISM_PROXY: Final = "Prism proxy"

_HERE = Path(__file__).parent
_START_SECONDS = 60
_STOP_SECONDS = 30
_ANY_CUSTOMERS = range(FIRST_CUSTOMER, FIRST_CUSTOMER + 10_000)


class Server(NamedTuple):
    """A running server; ``pid`` is the process whose memory counts."""

    name: str
    pid: int
    target: Target


@contextlib.contextmanager
def bare(folder: Path, *, quiet: bool) -> Iterator[Server]:
    """The yardstick."""
    with _uvicorn(BARE, "bare", folder, quiet=quiet) as server:
        yield server


@contextlib.contextmanager
def peers(folder: Path, *, quiet: bool) -> Iterator[list[Server]]:
    """What a user would otherwise run; ``quiet`` takes their lines for each request away."""
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(_uvicorn(FASTAPI, "fastapi_by_hand", folder, quiet=quiet)),
            stack.enter_context(_uvicorn(OPENAPI_CORE, "openapi_core_middleware", folder, quiet=quiet)),
        ]
        if (script := prism.find_or_install()) is not None:
            port = _free_port()
            command = prism.mock(script, folder, port, quiet=quiet)
            servers.append(stack.enter_context(_running(PRISM, command, port, folder)))
        yield servers


@contextlib.contextmanager
def gateway(
    name: str, ledger: Path, customers: range, *, url: str | None = None, more_vendors: Mapping[str, Any] = {}
) -> Iterator[Server]:
    """The gateway on a ledger that is there, with everything on; its files lie beside the ledger.

    ``url`` is the ledger's where it is no SQLite file.
    """
    port = _free_port()
    path = ledger.with_suffix(".yaml")
    config = gateway_config(url or f"sqlite:///{ledger}")
    config["vendors"] |= more_vendors
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with _running(name, serve(path, port), port, ledger.parent, "/mage", customers) as server:
        yield server


@contextlib.contextmanager
def stub(folder: Path, asked: Asked) -> Iterator[Server]:
    """An upstream that costs next to nothing, on the generator's core: it gives one answer to everything."""
    port = _free_port()
    command = [sys.executable, str(_HERE / "fixed_answer.py"), str(port)]
    with _running(STUB, command, port, folder, asked=asked, core=GENERATOR_CORE) as server:
        yield server


@contextlib.contextmanager
def prism_proxy(folder: Path, upstream: Server, vendor: str, *, quiet: bool) -> Iterator[Server | None]:
    """Prism before a server; ``None`` where it cannot be installed."""
    script = prism.find_or_install()
    if script is None:
        yield None
        return
    port = _free_port()
    command = prism.proxy(script, folder, port, vendor, upstream.target.url, quiet=quiet)
    with _running(PRISM_PROXY, command, port, folder, asked=upstream.target.asked) as server:
        yield server


@contextlib.contextmanager
def shim(
    name: str, folder: Path, vendor: str, credentials: Mapping[str, str], backend: Any, asked: Asked
) -> Iterator[Server]:
    """The gateway before a server, with everything on."""
    port = _free_port()
    path = folder / f"{port}.yaml"
    config = shim_config(folder / f"{port}.db", vendor, credentials, backend)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with _running(name, serve(path, port), port, folder, f"/{vendor}", asked=asked) as server:
        yield server


def shim_config(ledger: Path, vendor: str, credentials: Mapping[str, str], backend: Any) -> dict[str, Any]:
    """One vendor elsewhere, whose rate limits are counted and never reached."""
    return {
        "ledger": f"sqlite:///{ledger}",
        "merchants": {"demo": {}},
        "vendors": {
            vendor: {
                "credentials": [{"merchant": "demo", **credentials}],
                "backend": backend,
                "rate_limits": {"requests": "100000000/1s", "minute": "100000000/60s"},
            }
        },
    }


def gateway_config(ledger: str) -> dict[str, Any]:
    """One vendor, whose rate limit is counted and never reached."""
    return {
        "ledger": ledger,
        "merchants": {"demo": {}},
        "vendors": {
            "mage": {
                "credentials": [{"merchant": "demo", "api_key": HEADERS["authorization"]}],
                "rate_limits": {"requests": "100000000/1s"},
            }
        },
    }


def serve(config: Path, port: int, *more: str) -> list[str]:
    """The gateway's own command."""
    return [sys.executable, "-m", "loyalty_gateway", "serve", "--config", str(config), "--port", str(port), *more]


def seconds_to_first_answer(config: Path, ledger: Path, customers: range) -> float:
    """From the command to the answer of a first adjustment, on a ledger that is not there yet."""
    port = _free_port()
    command = serve(config, port, "--ledger", f"sqlite:///{ledger}")
    started = time.perf_counter()
    with _running("start", command, port, ledger.parent, "/mage", customers):
        return time.perf_counter() - started


@contextlib.contextmanager
def _uvicorn(name: str, module: str, folder: Path, *, quiet: bool) -> Iterator[Server]:
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--app-dir", str(_HERE), "--port", str(port)]
    with _running(name, [*command, *(["--no-access-log"] if quiet else [])], port, folder) as server:
        yield server


@contextlib.contextmanager
def _running(
    name: str,
    command: list[str],
    port: int,
    folder: Path,
    prefix: str = "",
    customers: range = _ANY_CUSTOMERS,
    *,
    asked: Asked = MAGE,
    core: int = SERVER_CORE,
) -> Iterator[Server]:
    log = folder / f"{port}.log"
    with log.open("wb") as out, pinned(core):
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        target = Target(f"http://127.0.0.1:{port}{prefix}", customers, asked)
        _wait_for_answer(name, target, process, log)
        yield Server(name, process.pid, target)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_answer(name: str, target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError):
            status, body = ask(target)
            if status == 200:
                return
            raise RuntimeError(f"{name} answers {status}: {body}")
        time.sleep(0.005)
    raise RuntimeError(f"{name} does not answer:\n{log.read_text(encoding='utf-8', errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
