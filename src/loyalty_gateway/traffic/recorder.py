"""What passes through the gateway, judged behind the requests: none of them ever waits for it."""

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

import msgspec

from loyalty_gateway.journal import frames_of
from loyalty_gateway.traffic.exchange import Exchange, Headers, Message
from loyalty_gateway.traffic.findings import Report
from loyalty_gateway.traffic.recordings import Recordings
from loyalty_gateway.traffic.traffic import Traffic
from loyalty_gateway.upstream.connections import Received, Undecodable, decoded

_LOG = logging.getLogger(__name__)
_MOST_WAITING: Final = 1_000
_MOST_WAITING_BYTES: Final = 8_000_000
# The share of the thread's time in which it works: judging takes the interpreter away from requests.
_SHARE: Final = 0.02
# After an exchange that took long the others do not wait for ever.
_LONGEST_PAUSE_SECONDS: Final = 1.0
_LARGEST_BODY: Final = 65_536
_SAVE_SECONDS: Final = 5.0
_SETTLE_SECONDS: Final = 2.0


class Passed(NamedTuple):
    """A request as it came and the answer that went out; ``body`` is ``None`` where nobody read it."""

    vendor: str
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes | None
    sent: Received
    seconds: float


class Recorder:
    """Takes exchanges and judges them in a thread; what does not fit its queue is dropped and counted.

    A body that is long is taken for one that was not recorded, and its exchange is counted too.

    Args:
        traffic: the vendors that are served.
        recordings: where findings are kept beyond the process; ``None`` for nowhere.
        keeps_exchanges: whether redacted exchanges are kept there too.
        on_not_judged: is told of each exchange that was dropped, or not judged as a whole.
    """

    def __init__(
        self,
        traffic: Traffic,
        recordings: Recordings | None,
        *,
        keeps_exchanges: bool,
        on_not_judged: Callable[[], None],
    ) -> None:
        self._traffic = traffic
        self._recordings = recordings
        self._keeps_exchanges = keeps_exchanges
        self._on_not_judged = on_not_judged
        self._waiting: SimpleQueue[tuple[float, int, Passed] | None] = SimpleQueue()
        # Each is written by one side only, so that neither needs a lock.
        self._taken = self._done = self._taken_bytes = self._done_bytes = self._dropped = self._cut = 0
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()
        self._looking = threading.Lock()

    def start(self) -> None:
        """Begins to judge; raises ConfigurationError where findings cannot be kept."""
        if self._recordings is not None:
            self._recordings.open()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def take(self, passed: Passed) -> None:
        """Takes an exchange, or drops it; costs some microseconds."""
        size = _size(passed)
        if (
            self._taken - self._done >= _MOST_WAITING
            or self._taken_bytes - self._done_bytes + size > _MOST_WAITING_BYTES
        ):
            self._dropped += 1
            self._on_not_judged()
            return
        self._taken += 1
        self._taken_bytes += size
        self._waiting.put((time.time(), size, passed))

    def report(self) -> Report:
        """What was found so far; waits some seconds for what was taken before, so not for the event loop."""
        self._hurry.set()
        until = time.monotonic() + _SETTLE_SECONDS
        taken = self._taken
        while self._done < taken and time.monotonic() < until:
            time.sleep(0.001)
        self._hurry.clear()
        with self._looking:
            self._traffic.findings.not_judged = self._dropped + self._cut
            return self._traffic.report()

    def close(self) -> None:
        """Judges what was taken, for as long as some seconds, and keeps what was found."""
        if self._thread is None:
            return
        self._hurry.set()
        self._waiting.put(None)
        self._thread.join(_SETTLE_SECONDS)
        self._thread = None

    def _work(self) -> None:
        saved = time.monotonic()
        changed = going_on = True
        while going_on:
            try:
                taken = self._waiting.get(timeout=_SAVE_SECONDS)
            except Empty:
                taken = None
            else:
                going_on = taken is not None
            if taken is not None:
                self._judge(*taken)
                changed = True
            if changed and (not going_on or time.monotonic() - saved >= _SAVE_SECONDS):
                self._save()
                saved, changed = time.monotonic(), False
        if self._recordings is not None:
            self._recordings.close()

    def _judge(self, moment: float, size: int, passed: Passed) -> None:
        started = time.perf_counter()
        try:
            whole = _exchange(moment, passed)
            exchange = _without_long_bodies(whole)
            if exchange is not whole:
                self._cut += 1
                self._on_not_judged()
            with self._looking:
                seen = self._traffic.add(exchange, passed.path)
            if seen is not None and self._recordings is not None and self._keeps_exchanges:
                self._recordings.keep(seen.whose.redactor.redacted(exchange, seen.path, seen.judged))
        except Exception as error:  # noqa: BLE001 - one exchange that cannot be judged ends nothing
            _LOG.warning("an exchange could not be judged: %s at %s", type(error).__name__, frames_of(error)[-1])
        self._done_bytes += size
        self._done += 1
        worked = time.perf_counter() - started
        self._hurry.wait(min(worked * (1 / _SHARE - 1), _LONGEST_PAUSE_SECONDS))

    def _save(self) -> None:
        if self._recordings is None:
            return
        with self._looking:
            self._traffic.findings.not_judged = self._dropped + self._cut
            snapshot = self._traffic.findings.snapshot()
        self._recordings.save(snapshot)


def _size(passed: Passed) -> int:
    """The bytes that it holds while it waits."""
    sent = passed.sent
    held = len(passed.path) + len(passed.query) + len(passed.body or b"") + len(sent.content)
    for headers in (passed.headers, sent.headers):
        for name, value in headers:
            held += len(name) + len(value)
    return held


def _exchange(moment: float, passed: Passed) -> Exchange:
    sent = passed.sent
    headers = _text(sent.headers)
    codings = [value for name, value in headers if name.lower() == "content-encoding"]
    content: bytes | None = sent.content
    if codings:
        headers = tuple(header for header in headers if header[0].lower() != "content-encoding")
        try:
            content = decoded(sent.content, ",".join(codings))
        except Undecodable:
            content = None
    query = passed.query.decode("latin-1")
    return Exchange(
        time=moment,
        milliseconds=round(passed.seconds * 1_000, 3),
        vendor=passed.vendor,
        method=passed.method,
        url=f"{passed.path}?{query}" if query else passed.path,
        request=Message(headers=_text(passed.headers), body=passed.body),
        status=sent.status,
        answer=Message(headers=headers, body=content),
    )


def _without_long_bodies(exchange: Exchange) -> Exchange:
    """The exchange, the same one where no body is long."""
    cut = {
        side: msgspec.structs.replace(message, body=None)
        for side, message in (("request", exchange.request), ("answer", exchange.answer))
        if len(message.body or b"") > _LARGEST_BODY
    }
    return msgspec.structs.replace(exchange, **cut) if cut else exchange


def _text(headers: list[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
