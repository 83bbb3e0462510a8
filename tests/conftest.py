"""What the tests share: the vendors there are, their compiled contracts, and gateways to ask."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from coverage import Coverage
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from loyalty_gateway import cli
from loyalty_gateway.app import create_app, load_contract
from loyalty_gateway.config import parse_config
from loyalty_gateway.journal import Journal
from loyalty_gateway.spec import Contract, specs_folder
from loyalty_gateway.vendor import Vendor, discover
from stores import NewStore, PostgresDatabase, PostgresServer, SqliteFile, Store, serving_postgres

pytest_plugins = ("loyalty_gateway.testing.plugin",)

# Their checks tell what they found as tests do.
pytest.register_assert_rewrite("conformance", "load")

ROOT = Path(__file__).parents[1]
DEMO: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


_MOST_TRACED_OF_A_FAMILY = 5

NOT_TRACED = pytest.mark.not_traced
"""For tests that go the same ways again and again: to trace which lines they reach takes longer than they do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of each family those alone are traced who bring something new: the others go the same ways once more."""
    traced: Counter[str] = Counter()
    seen: set[tuple[str, int, str]] = set()
    for item in items:
        family, _, values = item.nodeid.partition("[")
        told = {(family, place, value) for place, value in enumerate(values.split("-"))}
        if traced[family] < _MOST_TRACED_OF_A_FAMILY and not told <= seen:
            traced[family] += 1
        else:
            item.add_marker(NOT_TRACED)
        seen |= told


_paused: list[Coverage] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Stops coverage before tests that are not traced; each of their threads goes on as it began."""
    if item.get_closest_marker("not_traced") is None:
        while _paused:
            _paused.pop().start()
    else:
        # A worker has two, of which the lower one goes on where the upper one stops. They are begun again when it
        # is wanted, and not before: that takes longer than many a test.
        while (coverage := Coverage.current()) is not None:
            coverage.stop()
            _paused.append(coverage)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets the contract suite run over vendors that stand elsewhere."""
    parser.addoption("--vendors", type=Path, help="a package of vendors for the contract suite, as a folder")
    parser.addoption("--specs", type=Path, help="the folder of those vendors' specs")


def command(*arguments: object) -> Result:
    """What a command of ``loyalty-gateway`` tells and ends with, in this process; a new one takes a second."""
    ended = CliRunner().invoke(cli.commands, [str(argument) for argument in arguments])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, since many tests wait: for a disk, a process, or time to go by."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session")
def vendors() -> dict[str, Vendor]:
    return discover()


@pytest.fixture(scope="session")
def contracts(vendors: dict[str, Vendor]) -> dict[str, Contract]:
    return {name: load_contract(vendor, (), specs_folder()) for name, vendor in vendors.items()}


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A copy of the shipped specs, to be changed."""
    return Path(shutil.copytree(specs_folder(), tmp_path / "specs"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with serving_postgres() as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[PostgresDatabase]:
    with postgres.database() as database:
        yield database


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def new_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewStore:
    """Gives places for ledgers; whatever asks for it runs once on each kind of store."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return server.lent
    folder = tmp_path_factory.mktemp("ledgers")
    numbers = count(1)
    return lambda: nullcontext(SqliteFile(folder / f"ledger-{next(numbers)}.db"))


@pytest.fixture
def store(new_store: NewStore) -> Iterator[Store]:
    with new_store() as store:
        yield store


def demo_config(**overrides: Any) -> dict[str, Any]:
    """The shipped configuration as plain values, rate limits off, with top-level keys replaced."""
    config: dict[str, Any] = json.loads(json.dumps(DEMO))
    config["server"]["rate_limits"] = False
    return config | overrides


@dataclass
class Gateway:
    """A gateway in this process, asked without a socket."""

    client: TestClient
    store: Store
    log: io.BytesIO

    @property
    def ledger(self) -> Path:
        """The file of a ledger that is one."""
        assert isinstance(self.store, SqliteFile)
        return self.store.path

    def post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        """POSTs a JSON body; pass ``content=`` instead of a body for raw bytes."""
        if body is not None:
            more["json"] = body
        return self.client.post(path, headers=headers, **more)

    def rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """Rows of the ledger, read with SQL as an operator would."""
        return self.store.rows(statement, parameters)

    def wallet(self, reference: str, merchant: str = "demo") -> dict[str, Any]:
        """The wallet of ``namespace:value``."""
        namespace, _, value = reference.partition(":")
        (wallet,) = self.rows(
            "SELECT w.* FROM wallets w JOIN customer_references r ON r.wallet_id = w.id "
            "JOIN merchants m ON m.id = r.merchant_id WHERE m.name = ? AND r.namespace = ? AND r.value = ?",
            merchant,
            namespace,
            value,
        )
        return wallet

    def entries(self) -> list[dict[str, Any]]:
        """All entries, oldest first."""
        return self.rows("SELECT * FROM entries ORDER BY id")

    def exclude(self, reference: str) -> None:
        """Excludes a customer, as an operator would."""
        self.store.execute("UPDATE wallets SET excluded = 1 WHERE id = ?", (self.wallet(reference)["id"],))

    def set_available(self, reference: str, points: int) -> None:
        """Sets a balance behind the ledger's back, for balances that adjustments cannot reach quickly."""
        self.store.execute("UPDATE wallets SET available = ? WHERE id = ?", (points, self.wallet(reference)["id"]))

    def lines(self) -> list[dict[str, Any]]:
        """The request lines written so far; those of the last tenth of a second may be missing."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def metrics(self) -> str:
        return self.client.get("/-/metrics").text


StartGateway = Callable[..., Gateway]


@pytest.fixture
def start_gateway(
    tmp_path: Path, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> Iterator[StartGateway]:
    """Starts gateways from plain configuration values, on a store, or with parts that ``create_app`` takes."""
    with ExitStack() as stack:

        def start(config: dict[str, Any] | None = None, store: Store | None = None, **more: Any) -> Gateway:
            config = json.loads(json.dumps(config or demo_config()))
            store = store or SqliteFile(tmp_path / f"ledger-{len(list(tmp_path.glob('*.db')))}.db")
            config["ledger"] = store.url
            parsed = parse_config(config, vendors, {})
            usable = {
                name: contract
                for name, contract in contracts.items()
                if name in parsed.vendors and not parsed.vendors[name].overlays
            }
            log = io.BytesIO()
            app = create_app(parsed, vendors, journal=Journal(log), contracts=usable, **more)
            client = TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=True)
            return Gateway(client=stack.enter_context(client), store=store, log=log)

        yield start


@pytest.fixture
def gateway(start_gateway: StartGateway) -> Gateway:
    """The demo gateway, rate limits off, on a fresh ledger."""
    return start_gateway()


@dataclass
class Served:
    """A gateway served as a user would, in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    ledger: Path
    log: Path

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(
    folder: Path, config: dict[str, Any], *arguments: str, program: Sequence[str] = ("-m", "loyalty_gateway")
) -> Iterator[Served]:
    """``loyalty-gateway serve`` on a free port with this configuration, its ledger in the folder."""
    ledger = folder / "served.db"
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | {"ledger": f"sqlite:///{ledger}"}), encoding="utf-8")
    log = folder / f"log-{time.monotonic_ns()}"
    command = [sys.executable, *program, "serve", "--config", str(path), "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=out,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONWARNINGS": "default"},
        )
    assert process.stderr is not None
    try:
        told = process.stderr.readline().decode()
        found = re.search(r"http://\S+", told)
        assert found, told + process.stderr.read().decode()
        yield Served(process=process, url=found[0], ledger=ledger, log=log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stderr.close()
