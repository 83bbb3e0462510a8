"""Calling the server under test: one request at a time, as fast as the vendor's rate limits allow."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import msgspec

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.authentication import Caller
from loyalty_gateway.body import parse_json
from loyalty_gateway.contract_run.setup import Setup
from loyalty_gateway.problem import Problem
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.spec.judge import Spoken
from loyalty_gateway.upstream.credentials import Presented
from loyalty_gateway.vendor import Answer, Operation, seconds_in

NOBODY: Final = Presented({}, {}, {})
_SILENCE_SECONDS: Final = 10.0
_LARGEST_ANSWER: Final = 8_000_000
_MOST_TRIES: Final = 3
_SHORTEST_WAIT: Final = 0.2
_LONGEST_BUSY: Final = 1.0
"""So many seconds at most are waited for a server that can do nothing at the moment, before it is asked again."""
_HEADERS: Final[Mapping[str, str]] = {"user-agent": "loyalty-gateway contract", "accept": "application/json"}


class Unreachable(Exception):  # noqa: N818 - not an error of the program
    """No connection to the server can be made, and none ever could; nothing can be said of it."""


class NoAnswer(Exception):  # noqa: N818 - not an error of the program
    """The server took a request and gave no answer that is HTTP, or none in time."""


class OutOfTime(Exception):  # noqa: N818 - not an error of the program
    """The run's time is over, or would be before the rate limit lets a request through."""


class LimitUsedUp(Exception):  # noqa: N818 - not an error of the program
    """The first request of a run was refused for most of its time, because of others before it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was sent, without its credentials, and what came back; ``raw`` are the bytes of the body.

    One that ``is_asked_again`` was answered with 503, and goes out once more.
    """

    operation: Operation
    method: str
    template: str
    path: str
    spoken: Spoken
    raw: bytes | None
    answer: Answer
    is_asked_again: bool = False

    def shown(self) -> dict[str, Any]:
        """What a report tells of it."""
        answer = self.answer
        body = answer.text if answer.text is not None else answer.body
        told = (
            "" if body is msgspec.UNSET else body if isinstance(body, str) else msgspec.json.encode(body).decode()
        )
        query = f"?{urlencode(self.spoken.query)}" if self.spoken.query else ""
        return {
            "request": f"{self.method} {self.path}{query}",
            "headers": dict(self.spoken.headers),
            "body": None if self.raw is None else self.raw.decode("utf-8", "replace"),
            "status": answer.status,
            "answer": told,
        }


class Client:
    """Sends requests for as long as it is allowed to, in a run of so many seconds, which begins now.

    ``on_exchange`` hears of each that was answered. ``sent`` is how many requests went out, answered or not.
    """

    def __init__(self, setup: Setup, seconds: float, on_exchange: Callable[[Exchange], None]) -> None:
        self.sent = 0
        self._setup = setup
        self._seconds = seconds
        self._deadline = time.monotonic()
        self._end = self._deadline + seconds
        self._longest = 0.0
        self._answered = False
        self._held_off_until = 0.0
        self._spent: Counter[str] = Counter()
        self._allowed: dict[str, float] = {}
        self._on_exchange = on_exchange
        self._rates = RateLimits(setup.vendor, dict(setup.limits)) if setup.tells_limits else None
        self._runner = asyncio.Runner()
        self._http = httpx.AsyncClient(timeout=_SILENCE_SECONDS, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Closes the connections."""
        self._runner.run(self._http.aclose())
        self._runner.close()

    @property
    def seconds_left(self) -> float:
        """Until the run's time is over."""
        return self._deadline - time.monotonic()

    def allow(self, deadline: float, share: float = math.inf) -> None:
        """Gives the client time until then, and so much of what the rate limits let through in the whole run."""
        self._deadline = deadline
        self._allowed = {}
        if self._rates is None:
            return
        for operation in self._setup.operations:
            for budget in self._rates.unspent(operation):
                windows = max(1, int(self._seconds / budget.limit.seconds))
                self._allowed[budget.limit.name] = share * windows * budget.limit.requests

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """What is begun here may go on until the run's end, and with what the rate limits let through until then.

        Raises OutOfTime where too little of either is left for it to be begun at all.
        """
        began = time.monotonic()
        if max(began, self._held_off_until) >= self._deadline or began + self._longest >= self._end:
            raise OutOfTime
        deadline, allowed = self._deadline, self._allowed
        if any(self._spent[name] >= most for name, most in allowed.items()):
            raise OutOfTime
        self.allow(max(deadline, self._end))
        try:
            yield
        finally:
            self._deadline, self._allowed = deadline, allowed
            self._longest = max(self._longest, time.monotonic() - began)

    def send(  # noqa: PLR0913 - the parts of a request
        self,
        operation: Operation,
        spoken: Spoken,
        access: Presented,
        *,
        raw: bytes | None = None,
        method: str | None = None,
        template: str | None = None,
        counts: bool = True,
        hurries: bool = False,
    ) -> Exchange:
        """The exchange; ``raw`` is sent in place of the body, ``method`` and ``template`` in the operation's.

        ``counts`` is false for a request that no rate limit counts, since nobody is known by it. One that
        ``hurries`` waits for no limit, and a 429 is its answer.

        Raises:
            OutOfTime, Unreachable, NoAnswer, LimitUsedUp: there is no exchange.
        """
        described = self._setup.described(operation)
        method, template = method or described.method, template or described.template
        path = _filled(template, spoken.path_values)
        query = urlencode({**spoken.query, **access.query})
        content = raw
        if content is None and spoken.body is not msgspec.UNSET:
            content = msgspec.json.encode(spoken.body)
        headers = {**_HEADERS, **spoken.headers, **access.headers}
        if content is not None and spoken.media_type:
            headers["content-type"] = spoken.media_type
        url = self._setup.url + _filled(path, access.path_values) + (f"?{query}" if query else "")
        for tries in range(1, _MOST_TRIES + 1):
            if hurries:
                self._hurry(operation)
            else:
                self._pace(operation if counts else None)
            answer = self._once(method, url, headers, content)
            is_busy = answer.status == 503 and tries < _MOST_TRIES and not hurries
            exchange = Exchange(
                operation=operation,
                method=method,
                template=template,
                path=path,
                spoken=spoken,
                raw=content,
                answer=answer,
                is_asked_again=is_busy,
            )
            self._on_exchange(exchange)
            if is_busy:
                self._sleep(min(_LONGEST_BUSY, max(_SHORTEST_WAIT, self._told_to_wait(answer) or 0.0)))
                continue
            if answer.status != 429 or hurries:
                return exchange
            self._hold_off(answer)
        raise NoAnswer(f"429 came {_MOST_TRIES} times, within the limits")

    def _hurry(self, operation: Operation) -> None:
        if self.seconds_left <= 0:
            raise OutOfTime
        if self._rates is not None:
            self._rates.spend(operation, _OURSELVES)
            self._spent.update(limit.name for limit in operation.rate_limits)

    def _hold_off(self, answer: Answer) -> None:
        """Waits for as long as the answer says; raises OutOfTime where that is longer than there is time."""
        told = self._told_to_wait(answer)
        seconds = max(_SHORTEST_WAIT, 1.0 if told is None else told)
        self._held_off_until = time.monotonic() + seconds
        if self.sent == 1 and seconds > self._seconds / 2:
            raise LimitUsedUp(seconds)
        if seconds > self.seconds_left:
            raise OutOfTime(f"the rate limit lets nothing through for {seconds:.0f} s")
        self._sleep(seconds)

    def _told_to_wait(self, answer: Answer) -> float | None:
        """The seconds after which it may be tried again, as far as the answer says."""
        told = seconds_in(answer.headers, "retry-after")
        return self._setup.vendor.parse_retry_after(answer.headers, time.time()) if told is None else told

    def wait_for_the_limit(self) -> None:
        """Waits until a refusal is over that there was no time to wait for; raises OutOfTime as before."""
        self._sleep(max(0.0, self._held_off_until - time.monotonic()))

    def wait(self, seconds: float) -> None:
        """Lets time go by; raises OutOfTime where there is not so much."""
        self._sleep(seconds)

    def _once(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        seconds = min(_SILENCE_SECONDS, self.seconds_left)
        self.sent += 1
        try:
            answer = self._runner.run(self._read(seconds, method, url, headers, content))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            # The message of the transport may quote the URL.
            name = type(error).__name__
            raise NoAnswer(name) if self._answered else Unreachable(name) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(type(error).__name__) from error
        except TimeoutError as error:
            if seconds < _SILENCE_SECONDS:
                raise OutOfTime from error
            raise NoAnswer(f"it was not whole after {seconds:g} s") from error
        self._answered = True
        return answer

    async def _read(
        self, seconds: float, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        """The answer within so many seconds, however it trickles in; raises TimeoutError, NoAnswer."""
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        body = bytearray()
        async with (
            asyncio.timeout(seconds),
            self._http.stream(method, url, headers=encoded, content=content) as response,
        ):
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _LARGEST_ANSWER:
                    raise NoAnswer(f"it is longer than {_LARGEST_ANSWER} bytes")
        return _answer(response, bytes(body))

    def _pace(self, operation: Operation | None) -> None:
        if self.seconds_left <= 0:
            raise OutOfTime
        if self._rates is None or operation is None or not operation.rate_limits:
            return
        names = [limit.name for limit in operation.rate_limits]
        if any(self._spent[name] >= self._allowed.get(name, math.inf) for name in names):
            raise OutOfTime
        while True:
            budgets, refusal = self._rates.spend(operation, _OURSELVES)
            if refusal is None:
                self._spent.update(names)
                return
            self._sleep(max(0.02, *(one.resets_at - one.now for one in budgets if one.remaining == 0)))

    def _sleep(self, seconds: float) -> None:
        if seconds > self.seconds_left:
            raise OutOfTime
        time.sleep(seconds)


_OURSELVES = Caller(id="contract run", merchant=Merchant(name="contract run"), scopes=frozenset())


def _filled(template: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", quote(value, safe=""))
    return template


def _answer(response: httpx.Response, body: bytes) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if not body:
        return Answer(response.status_code, headers=headers, media_type="")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "json" in media_type:
        try:
            return Answer(response.status_code, parse_json(body), headers, None, media_type)
        except Problem:
            pass
    text = body.decode("utf-8", "replace")
    return Answer(response.status_code, msgspec.UNSET, headers, text, media_type)
