"""Gateways on a free port of this machine, in a thread of this process.

A thread and not a process: the ledger, the clock and what was received are at hand without a protocol between, and
what is compiled once serves every test. Each test has a server of its own on a port of its own, so what a test
leaves running can reach no other test's ledger.
"""

import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal

from loyalty_gateway.testing.configuration import Given, read_config
from loyalty_gateway.testing.connections import ResettableConnection
from loyalty_gateway.testing.gateway import Gateway
from loyalty_gateway.testing.seeds import Seeds, load_seeds

_ADDRESS = "127.0.0.1"


class _Server(uvicorn.Server):
    """uvicorn's server, which tells another thread that it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listens.set()


class Serving:
    """Serves one gateway after another, all in the thread of one event loop."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self._ending: list[Future[None]] = []

    @contextmanager
    def gateway(
        self, config: Given = None, *, seeds: Path | str | None = None, rate_limits: bool = False
    ) -> Iterator[Gateway]:
        """A gateway with a fresh ledger; raises ConfigurationError."""
        sown = Seeds() if seeds is None else load_seeds(Path(seeds))
        chosen = read_config(config, seeds=sown, rate_limits=rate_limits)
        with tempfile.TemporaryDirectory(prefix="loyalty-gateway-") as folder:
            gateway = Gateway(self._portal, chosen, Path(folder), sown)
            try:
                gateway.start()
                with self._listening(gateway):
                    yield gateway
            finally:
                gateway.stop()

    @contextmanager
    def _listening(self, gateway: Gateway) -> Iterator[None]:
        listening = socket.create_server((_ADDRESS, 0))
        gateway.base_url = f"http://{_ADDRESS}:{listening.getsockname()[1]}"
        server = _Server(
            uvicorn.Config(
                gateway,
                http=ResettableConnection,
                # No vendor has any; what else is installed is not looked for.
                ws="none",
                lifespan="off",
                # Logging is the project's whose tests these are.
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        served = self._portal.start_task_soon(server.serve, [listening])
        served.add_done_callback(lambda _: server.listens.set())
        server.listens.wait()
        if served.done():
            served.result()
        self._ending.append(served)
        try:
            yield
        finally:
            # It ends within a tick or two; the next test does not wait for it.
            server.should_exit = True

    def close(self) -> None:
        """Waits for the servers that are still ending."""
        for ending in self._ending:
            ending.result()


@contextmanager
def serving() -> Iterator[Serving]:
    """The thread for gateways, for as long as they are needed."""
    with start_blocking_portal(name="loyalty-gateway") as portal:
        served = Serving(portal)
        try:
            yield served
        finally:
            served.close()
