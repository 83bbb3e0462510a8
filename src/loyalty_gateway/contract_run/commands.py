"""``loyalty-gateway contract``: a run with its progress, the summary for a person, and the report file."""

import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loyalty_gateway.app import load_contract
from loyalty_gateway.config import Config
from loyalty_gateway.contract_run.client import LimitUsedUp, Unreachable
from loyalty_gateway.contract_run.reports import FORMATS
from loyalty_gateway.contract_run.run import BrokenOff, run
from loyalty_gateway.contract_run.setup import Setup, Wish, prepare
from loyalty_gateway.contract_run.summary import tell
from loyalty_gateway.contract_run.verdict import Report, plain, redacted
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Vendor

_WIDER_THAN_ANY_LINE: Final = 1_000
_LARGEST_SEED: Final = 10**6


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The command as it was called.

    Where there is no ``seed``, one is chosen; where there are no ``rounds``, as many as there is time for. Only
    with ``verbose`` a person is told everything.
    """

    vendor: str
    url: str
    wish: Wish
    seconds: float
    seed: int | None = None
    rounds: int | None = None
    format: str | None = None
    output: Path | None = None
    verbose: bool = False


def contract(config: Config, vendors: Mapping[str, Vendor], asked: Asked, out: TextIO, err: TextIO) -> int:
    """Runs, tells and writes; gives the status with which the command ends. Raises ConfigurationError."""
    began = time.monotonic()
    setup = _setup(config, vendors, asked)
    writes_to_out = asked.format is not None and asked.output is None
    human = _console(err if writes_to_out else out)
    seed = random.SystemRandom().randrange(_LARGEST_SEED) if asked.seed is None else asked.seed
    who = " and ".join(map(setup.spelt, setup.customers[:2]))
    human.print(f"{setup.vendor.title} at {setup.url}, {asked.seconds:g} s, seed {seed}", markup=False)
    place = setup.missing_path()
    if place:
        human.print(
            f"{setup.vendor.title}'s own address ends in {place}, and this one does not: a right server may "
            "know none of its paths.",
            markup=False,
        )
    human.print(
        f"This moves points of {who}, and gives them back where it can; generated requests may enrol customers "
        "and change profiles. Use a test shop.",
        markup=False,
    )
    try:
        left = asked.seconds - (time.monotonic() - began)
        report = _run(setup, msgspec.structs.replace(asked, seconds=left, seed=seed), err)
    except Unreachable as error:
        what = f"no connection can be made ({error}), so there is no verdict, and no points were given back"
        raise ConfigurationError(asked.url, what) from error
    except LimitUsedUp as limit:
        what = (
            f"the rate limit is used up for {limit.seconds:.0f} s more; nothing was moved, and there is no verdict"
        )
        raise ConfigurationError(asked.url, what) from limit
    except BrokenOff as broken:
        what = f"the run was broken off, so there is no verdict; {redacted(str(broken), setup.secrets())}"
        raise ConfigurationError(asked.url, what) from broken
    except KeyboardInterrupt as interrupt:
        # Before anything was moved, or once more while it was given back.
        what = "the run was broken off, so there is no verdict; what had been moved may not have been given back"
        raise ConfigurationError(asked.url, what) from interrupt
    values = plain(report, setup.secrets())
    tell(values, report, human, verbose=asked.verbose)
    if asked.format is not None:
        text = FORMATS[asked.format](values)
        if asked.output is None:
            out.write(text)
        else:
            _write(asked.output, text)
    return report.exit_status


def _setup(config: Config, vendors: Mapping[str, Vendor], asked: Asked) -> Setup:
    if asked.vendor not in vendors:
        raise ConfigurationError(asked.vendor, f"no such vendor; there are {', '.join(vendors)}")
    if asked.format is not None and asked.format not in FORMATS:
        raise ConfigurationError(f"--report {asked.format}", f"must be one of: {', '.join(FORMATS)}")
    if asked.output is not None and asked.format is None:
        raise ConfigurationError("--output", "needs --report, which says of what kind the file is")
    vendor = vendors[asked.vendor]
    served = config.vendors.get(vendor.name)
    overlays = () if served is None else served.overlays
    setup = prepare(config, vendor, load_contract(vendor, overlays, checks=bool(overlays)), asked.url, asked.wish)
    if asked.output is not None:
        _check_writable(asked.output)
    return setup


def _check_writable(path: Path) -> None:
    """Raises ConfigurationError before anything is moved, and changes nothing."""
    was_there = path.exists()
    try:
        path.open("a").close()
        if not was_there:
            path.unlink()
    except OSError as error:
        raise ConfigurationError(f"--output {path}", f"cannot be written: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--output {path}", f"cannot be written: {error.strerror}") from error


def _run(setup: Setup, asked: Asked, err: TextIO) -> Report:
    console = Console(file=err)
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)

        def on_progress(told: str, part: float) -> None:
            progress.update(task, completed=part, description=told)

        assert asked.seed is not None
        with _interrupted_by(signal.SIGTERM):
            return run(setup, seconds=asked.seconds, seed=asked.seed, rounds=asked.rounds, on_progress=on_progress)


@contextmanager
def _interrupted_by(number: signal.Signals) -> Iterator[None]:
    """The signal is heard as Ctrl-C is, so that points are given back."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    try:
        yield
    finally:
        signal.signal(number, before)


def _console(stream: TextIO) -> Console:
    return Console(file=stream, width=None if stream.isatty() else _WIDER_THAN_ANY_LINE, highlight=False)
