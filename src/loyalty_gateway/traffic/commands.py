"""``loyalty-gateway traffic`` and ``defects``: what recordings show, and what a gateway recorded."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.traffic.exchange import Exchange, Unreadable
from loyalty_gateway.traffic.findings import Report
from loyalty_gateway.traffic.har import read_har, write_har
from loyalty_gateway.traffic.ndjson import read_ndjson
from loyalty_gateway.traffic.recordings import kept_exchanges
from loyalty_gateway.traffic.telling import counted, render_json, render_report
from loyalty_gateway.traffic.traffic import Traffic


def read_exchanges(path: Path, on_unreadable: Callable[[Unreadable], None] | None = None) -> Iterator[Exchange]:
    """The exchanges of a recording: an HTTP Archive (``.har``), or one exchange a line.

    Args:
        path: the file.
        on_unreadable: is told of each entry that is none, which is passed over; otherwise the first one is raised.

    Raises:
        ConfigurationError: the file cannot be read, or is neither.
    """
    read = read_har if path.suffix.lower() == ".har" else read_ndjson
    try:
        yield from read(path, on_unreadable)
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except Unreadable as error:
        raise ConfigurationError(error.where, error.what) from error


class _Counted:
    """How many entries could not be read; of the first, where it stands and what is wrong."""

    def __init__(self) -> None:
        self.count = 0
        self.first: tuple[str, str] | None = None

    def add(self, unreadable: Unreadable) -> None:
        self.count += 1
        self.first = self.first or (unreadable.where, unreadable.what)


def judge_files(files: Sequence[Path], traffic: Traffic) -> Report:
    """What the recordings show; entries that cannot be read are counted.

    Raises:
        ConfigurationError: a file cannot be read, or none of its entries; or no exchange is any vendor's.
    """
    unreadable = _Counted()
    for path in files:
        for exchange in read_exchanges(path, unreadable.add):
            traffic.add(exchange)
    report = msgspec.structs.replace(traffic.report(), unreadable=unreadable.count)
    if not report.exchanges and unreadable.first is not None:
        raise ConfigurationError(*unreadable.first)
    if not report.exchanges:
        seen = counted(report.others, "exchange")
        what = f"nothing was judged: {seen}, and no vendor's; --vendor names whose all are"
        raise ConfigurationError(", ".join(map(str, files)), what)
    return report


def tell(report: Report, out: TextIO, *, as_json: bool) -> bool:
    """Prints the report; whether there is nothing to be found, and nothing that could not be looked at."""
    (render_json if as_json else render_report)(report, out)
    return not report.findings and not report.unreadable


def write_archive(folder: Path, file: Path) -> tuple[int, int]:
    """Writes the exchanges that a gateway kept as an HTTP Archive, which is whole or not there.

    Gives their number, and that of the lines that could not be read; raises ConfigurationError.
    """
    if not folder.is_dir():
        raise ConfigurationError(str(folder), "is no folder; is it the recording.folder of a gateway?")
    unreadable = _Counted()
    new = file.with_name(f"{file.name}.new")
    try:
        try:
            with new.open("wb") as out:
                count = write_har(kept_exchanges(folder, unreadable.add), out)
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be written: {error.strerror}") from error
    return count, unreadable.count
