"""Calling the server under test: one request at a time, as fast as the vendor's rate limits allow."""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
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
from loyalty_gateway.vendor import Answer, Operation

NOBODY: Final = Presented({}, {}, {})
_SILENCE_SECONDS: Final = 10.0
_LONGEST_SHOWN: Final = 2_000
_HEADERS: Final[Mapping[str, str]] = {"user-agent": "loyalty-gateway contract", "accept": "application/json"}


class Unreachable(Exception):  # noqa: N818 - not an error of the program
    """No connection to the server can be made; nothing can be said of it."""


class NoAnswer(Exception):  # noqa: N818 - not an error of the program
    """The server took a request and gave no answer that is HTTP, or none in time."""


class OutOfTime(Exception):  # noqa: N818 - not an error of the program
    """The run's time is over, or would be before the rate limit lets a request through."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was sent, without its credentials, and what came back; ``raw`` are the bytes of the body."""

    operation: Operation
    method: str
    template: str
    path: str
    spoken: Spoken
    raw: bytes | None
    answer: Answer

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
            "body": None if self.raw is None else self.raw.decode("utf-8", "replace")[:_LONGEST_SHOWN],
            "status": answer.status,
            "answer": told[:_LONGEST_SHOWN],
        }


class Client:
    """Sends requests for as long as it is allowed to, in a run of so many seconds.

    ``on_exchange`` hears of each that was answered.
    """

    def __init__(self, setup: Setup, seconds: float, on_exchange: Callable[[Exchange], None]) -> None:
        self._setup = setup
        self._seconds = seconds
        self._deadline = time.monotonic()
        self._spent: Counter[str] = Counter()
        self._allowed: dict[str, float] = {}
        self._on_exchange = on_exchange
        self._rates = RateLimits(setup.vendor, dict(setup.limits)) if setup.tells_limits else None
        self._http = httpx.Client(timeout=_SILENCE_SECONDS, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

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
            OutOfTime, Unreachable, NoAnswer: there is no exchange.
        """
        described = self._setup.described(operation)
        method, template = method or described.method, template or described.template
        path = template
        for name, value in {**spoken.path_values, **access.path_values}.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        query = urlencode({**spoken.query, **access.query})
        content = raw
        if content is None and spoken.body is not msgspec.UNSET:
            content = msgspec.json.encode(spoken.body)
        headers = {**_HEADERS, **spoken.headers, **access.headers}
        if content is not None and spoken.media_type:
            headers["content-type"] = spoken.media_type
        url = self._setup.url + path + (f"?{query}" if query else "")
        if hurries:
            answer = self._hurried(operation, method, url, headers, content)
        else:
            answer = self._answered(operation if counts else None, method, url, headers, content)
        exchange = Exchange(
            operation=operation,
            method=method,
            template=template,
            path=path,
            spoken=spoken,
            raw=content,
            answer=answer,
        )
        self._on_exchange(exchange)
        return exchange

    def _answered(
        self, operation: Operation | None, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        while True:
            self._pace(operation)
            answer = self._once(method, url, headers, content)
            if answer.status != 429:
                return answer
            told = answer.headers.get("retry-after", "")
            self._sleep(float(told) if told.isdigit() else 1.0)

    def _hurried(
        self, operation: Operation, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        if self.seconds_left <= 0:
            raise OutOfTime
        if self._rates is not None:
            self._rates.spend(operation, _OURSELVES)
            self._spent.update(limit.name for limit in operation.rate_limits)
        return self._once(method, url, headers, content)

    def wait(self, seconds: float) -> None:
        """Lets time go by; raises OutOfTime where there is not so much."""
        self._sleep(seconds)

    def _once(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        try:
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            return _answer(self._http.request(method, url, headers=encoded, content=content))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            # The message of the transport may quote the URL.
            raise Unreachable(type(error).__name__) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(type(error).__name__) from error

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


def _answer(response: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if not response.content:
        return Answer(response.status_code, headers=headers, media_type="")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "json" in media_type:
        try:
            return Answer(response.status_code, parse_json(response.content), headers, None, media_type)
        except Problem:
            pass
    text = response.content.decode("utf-8", "replace")
    return Answer(response.status_code, msgspec.UNSET, headers, text, media_type)
