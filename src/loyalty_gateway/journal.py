"""One structured line per request, written in batches by a thread so that no request waits for the reader."""

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import BinaryIO, Final

import msgspec

_FLUSH_SECONDS: Final = 0.1
_FLUSH_LINES: Final = 512
_MOST_WAITING_BATCHES: Final = 256
_CLOSE_SECONDS: Final = 1.0
_FULL_PIPE_SECONDS: Final = 0.01


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is told of one request: never a path, query, header or body as sent, since secrets travel there.

    ``time`` is in epoch seconds, ``milliseconds`` how long the answer took; ``path`` is the published path
    with its placeholders. ``lost`` are the fields of an adjustment that the upstream has no words for.
    ``ambiguous`` is a request that was passed on and got no answer: the vendor may have carried it out; where an
    upstream was asked ``intent`` is the number by which ``ledger intents`` tells of it.
    ``request_defects`` are those of a request that was passed on, ``defects`` those of the answer.
    """

    time: float
    vendor: str | None = None
    operation: str | None = None
    method: str | None = None
    path: str | None = None
    merchant: str | None = None
    caller: str | None = None
    status: int
    code: str | None = None
    ambiguous: bool = False
    intent: int | None = None
    replayed: bool = False
    lost: list[str] | None = None
    milliseconds: float
    error: str | None = None
    frames: list[str] | None = None
    request_defects: list[str] | None = None
    defects: list[str] | None = None


class Journal:
    """Collects lines and writes them to a binary stream, by default standard output.

    Lines that the stream does not take (its reader stalls or is gone, the disk is full) are dropped, and their
    number is told to ``on_dropped``; requests go on.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self.on_dropped: Callable[[int], None] | None = None
        self._stream = stream
        self._lines: list[bytes] = []
        self._batches: SimpleQueue[list[bytes] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._encode = msgspec.json.Encoder().encode
        self._flush_due: asyncio.TimerHandle | None = None

    def write(self, line: Line) -> None:
        """Takes a line; it is handed to the writing thread within a tenth of a second."""
        self._lines.append(self._encode(line))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif self._flush_due is None:
            self._flush_due = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Hands over what was collected."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        if self._batches.qsize() >= _MOST_WAITING_BATCHES:
            self._drop(lines)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_batches, name="journal", daemon=True)
            self._thread.start()
        self._batches.put(lines)

    def close(self) -> None:
        """Writes what was collected, for as long as a second; for a stalled reader nobody waits longer."""
        self.flush()
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join(_CLOSE_SECONDS)
            self._thread = None

    def _drop(self, lines: list[bytes]) -> None:
        if self.on_dropped is not None:
            self.on_dropped(len(lines))

    def _write_batches(self) -> None:
        stream = self._stream or _standard_output()
        while (lines := self._batches.get()) is not None:
            try:
                _write(stream, b"\n".join(lines) + b"\n")
            except (OSError, ValueError):
                self._drop(lines)


def _standard_output() -> BinaryIO | None:
    """Standard output without Python's buffer and its lock, which a stalled write would keep from all others."""
    try:
        return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
    except (AttributeError, OSError, ValueError):  # closed before the start: there is no stream then
        return None


def _write(stream: BinaryIO | None, content: bytes) -> None:
    if stream is None:
        raise OSError("there is no standard output")
    rest = memoryview(content)
    while rest:
        # A pipe that never blocks and is full takes nothing, and says so.
        written: int | None = stream.write(rest)
        if written is None:
            time.sleep(_FULL_PIPE_SECONDS)
        else:
            rest = rest[written:]
    stream.flush()


def frames_of(error: BaseException) -> list[str]:
    """Where an error arose, without its message: a message may quote what was sent."""
    return [
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]


def now() -> float:
    """Epoch seconds, to the millisecond."""
    return round(time.time(), 3)
