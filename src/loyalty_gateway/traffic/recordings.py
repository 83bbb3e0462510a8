"""What a gateway keeps of its traffic on disk: its findings, and if wanted redacted exchanges, up to a size."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.traffic.exchange import Exchange, Unreadable
from loyalty_gateway.traffic.findings import Findings, Snapshot
from loyalty_gateway.traffic.ndjson import ndjson_line, read_ndjson

_LOG = logging.getLogger(__name__)
_FINDINGS: Final = "findings-"
_EXCHANGES: Final = "exchanges-"
_FILES_IN_ALL: Final = 8
_ABANDONED_SECONDS: Final = 60
# The digits by which a count may grow when findings are left out.
_LONGEST_COUNT: Final = 20


class Recordings:
    """A folder that several gateways may write to; each has files of its own, and all share the size.

    Args:
        folder: where it is.
        largest_bytes: of all files together; the oldest go when there are more.
    """

    def __init__(self, folder: Path, largest_bytes: int) -> None:
        self._folder = folder
        self._largest_bytes = largest_bytes
        self._share = largest_bytes // _FILES_IN_ALL
        # Names in the order of their times, one for each process that writes.
        self._run = f"{time.time_ns():020}-{os.getpid()}"
        self._number = 0
        self._written = 0
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._warned = False

    def open(self) -> None:
        """Makes the folder; raises ConfigurationError where it cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self._folder, os.W_OK):
                raise ConfigurationError("recording.folder", f"{self._folder} cannot be written")
            for left in self._folder.glob(f"{_FINDINGS}*.new"):
                # A gateway was killed while it wrote; one that lives writes for an instant.
                with suppress(FileNotFoundError):
                    if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                        left.unlink()
        except OSError as error:
            what = f"{self._folder} cannot be made: {error.strerror}"
            raise ConfigurationError("recording.folder", what) from error

    def keep(self, exchange: Exchange) -> None:
        """Appends an exchange, which is redacted already; one that is larger than a file may be is left out."""
        line = ndjson_line(exchange)
        if len(line) > self._share:
            return
        try:
            if self._file is None or self._written + len(line) > self._share:
                self._next_file()
            assert self._file is not None
            self._file.write(line)
            self._written += len(line)
            self._warned = False
        except OSError as error:
            self._warn(error)

    def save(self, snapshot: Snapshot) -> None:
        """Writes the findings of this run, in the place of the earlier ones; as many as a file may have."""
        path = self._folder / f"{_FINDINGS}{self._run}.json"
        new = path.with_suffix(".new")
        try:
            if self._file is not None:
                self._file.flush()
                if self._path is not None and not self._path.exists():
                    # Another gateway took it away, or the folder was emptied: the next exchange begins a file.
                    self.close()
            content = _fitting(snapshot, self._share)
            self._prune(len(content))
            with _private(new) as file:
                file.write(content)
            new.replace(path)
            self._warned = False
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Closes the file of exchanges."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            self._warn(error)

    def _next_file(self) -> None:
        self.close()
        self._number += 1
        self._path = self._folder / f"{_EXCHANGES}{self._run}-{self._number:06}.ndjson"
        self._file = _private(self._path)
        self._written = 0
        self._prune()

    def _prune(self, coming: int = 0) -> None:
        """Takes the oldest files away until the others have room: exchanges first, since findings say more.

        ``coming`` are the bytes that are about to be written beside them.
        """
        patterns = (f"{_EXCHANGES}*.ndjson", f"{_FINDINGS}*.json")
        paths = [path for pattern in patterns for path in sorted(self._folder.glob(pattern))]
        sizes = {path: _size(path) for path in paths}
        own = {self._path, self._folder / f"{_FINDINGS}{self._run}.json"}
        room = self._largest_bytes - self._share - coming
        # What another gateway is writing counts, and is left to it.
        whole = sum(sizes.values()) + sum(map(_size, self._folder.glob(f"{_FINDINGS}*.new")))
        for path in paths:
            if whole <= room:
                break
            if path not in own:
                whole -= sizes[path]
                path.unlink(missing_ok=True)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _LOG.warning("recording.folder: %s cannot be written: %s", self._folder, error.strerror)


def _fitting(snapshot: Snapshot, largest: int) -> bytes:
    """The snapshot as JSON; where that would be too large, without the findings that were seen least."""
    content = msgspec.json.encode(snapshot)
    if len(content) <= largest:
        return content
    room = largest - len(msgspec.json.encode(msgspec.structs.replace(snapshot, findings=[]))) - _LONGEST_COUNT
    kept, not_kept = [], snapshot.not_kept
    for finding in sorted(snapshot.findings, key=lambda found: -found.count):
        room -= len(msgspec.json.encode(finding)) + 1
        if room >= 0:
            kept.append(finding)
        else:
            not_kept += finding.count
    return msgspec.json.encode(msgspec.structs.replace(snapshot, findings=kept, not_kept=not_kept))


def _size(path: Path) -> int:
    """In bytes; 0 of a file that another gateway has taken away."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _private(path: Path) -> BinaryIO:
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))


def kept_findings(folder: Path) -> Findings:
    """What all gateways that record there have found; raises ConfigurationError where the folder has nothing."""
    findings = Findings()
    paths = sorted(folder.glob(f"{_FINDINGS}*.json"))
    if not paths:
        raise ConfigurationError(str(folder), "has no findings; is it the recording.folder of a gateway?")
    for path in paths:
        try:
            findings.merge(msgspec.json.decode(path.read_bytes(), type=Snapshot))
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError(str(path), "cannot be read") from error
    return findings


def kept_exchanges(folder: Path, on_unreadable: Callable[[Unreadable], None]) -> Iterator[Exchange]:
    """The exchanges kept there, oldest first; ``on_unreadable`` is told of lines that are none."""
    for path in sorted(folder.glob(f"{_EXCHANGES}*.ndjson")):
        # The gateway that records there takes old files away meanwhile.
        with suppress(FileNotFoundError):
            yield from read_ndjson(path, on_unreadable)
