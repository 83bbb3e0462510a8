"""One structured line per request, written in batches so that no request waits for the terminal."""

import asyncio
import contextlib
import sys
import time
import traceback
from typing import BinaryIO, Final

import msgspec

_FLUSH_SECONDS: Final = 0.1
_FLUSH_LINES: Final = 512


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is told of one request: never a path, query, header or body as sent, since secrets travel there.

    ``time`` is in epoch seconds, ``milliseconds`` how long the answer took; ``path`` is the published path
    with its placeholders.
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
    replayed: bool = False
    milliseconds: float
    error: str | None = None
    frames: list[str] | None = None
    defects: list[str] | None = None


class Journal:
    """Collects lines and writes them to a binary stream, by default standard output."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._encode = msgspec.json.Encoder().encode
        self._flush_due: asyncio.TimerHandle | None = None

    def write(self, line: Line) -> None:
        """Takes a line; it is written within a tenth of a second."""
        self._lines.append(self._encode(line))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif self._flush_due is None:
            self._flush_due = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes what was collected."""
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        stream = self._stream or sys.stdout.buffer
        # Nobody reads any more, or the disk is full: lines are lost then, and requests go on.
        with contextlib.suppress(OSError, ValueError):
            stream.write(b"\n".join(lines) + b"\n")
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
