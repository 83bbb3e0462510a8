"""Gateways in processes of their own, each at an address that it keeps, which are killed and started anew."""

import asyncio
import random
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from conftest import Served, serving
from stores import SqliteFile, Store

_HASTY = str(Path(__file__).with_name("hasty.py"))


class Outage(NamedTuple):
    """From when until when a process was away, in seconds of a clock that never goes back."""

    name: str
    began: float
    ended: float


class Place:
    """A gateway that is to be killed; its ledger is a file in its folder, or the store given.

    Args:
        folder: its own.
        config: plain values.
        store: where its ledger is instead.
    """

    def __init__(self, folder: Path, config: dict[str, Any], store: Store | None = None) -> None:
        folder.mkdir()
        self.name = folder.name
        self.store = store or SqliteFile(folder / "served.db")
        # One of their own for commands: that of the process is written anew whenever it starts.
        self.config_file = folder / "commands.yaml"
        self.config_file.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.outages: list[Outage] = []
        self.complaints: list[str] = []
        self._folder = folder
        self._config = config
        self._port = _free_port()
        self._stack = ExitStack()
        self._reading: threading.Thread | None = None
        self._served: Served | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def ledger_option(self) -> tuple[str, str]:
        """Where its ledger is, for commands beside it."""
        return ("--ledger", self.store.url)

    def start(self) -> None:
        more = ("--no-rate-limits", "--port", str(self._port), *self.ledger_option)
        self._served = self._stack.enter_context(serving(self._folder, self._config, *more, program=(_HASTY,)))
        # Nobody may have to wait until what it complains of is read.
        self._reading = threading.Thread(target=self._read, args=(self._served,), daemon=True)
        self._reading.start()

    def _read(self, served: Served) -> None:
        assert served.process.stderr is not None
        with suppress(ValueError):
            self.complaints += [line.decode() for line in served.process.stderr]

    async def killed(self, seconds: float) -> None:
        """Kills it, and starts it again so much later."""
        assert self._served is not None
        began = time.monotonic()
        self._served.kill()
        await asyncio.to_thread(self.close)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.start)
        self.outages.append(Outage(self.name, began, time.monotonic()))

    def close(self) -> None:
        if self._served is not None:
            self._served.process.terminate()
            self._served.process.wait(15)
        if self._reading is not None:
            self._reading.join(5)
        self._stack.close()


def _free_port() -> int:
    """One that no connection gets by itself while its server is away."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
