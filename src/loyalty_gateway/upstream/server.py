"""One vendor's real server, called over HTTP: how fast, how often, and what is known of a call that failed."""

import asyncio
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlencode

import httpx
import msgspec

from loyalty_gateway.adjustment import Merchant
from loyalty_gateway.authentication import Caller
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.spec import Contract, OperationContract
from loyalty_gateway.upstream.connections import Connections, NotSent, Unclear, Undecodable, answer_of
from loyalty_gateway.upstream.credentials import Presented, presented
from loyalty_gateway.upstream.transport import Transport, request_of
from loyalty_gateway.vendor import Answer, Operation, ValidRequest, Vendor, seconds_in

_LONGEST_WAIT_SECONDS: Final = 30.0
_LONGEST_TOLD_SECONDS: Final = 3_600.0
_SHORTEST_TOLD_SECONDS: Final = 0.1
_UNTOLD_SECONDS: Final = 1.0
_ASKS_TO_WAIT: Final = {429, 503}
_URLS_KEPT: Final = 1_000
_HEADERS: Final[Mapping[str, str]] = {
    "user-agent": "loyalty-gateway",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is called.

    ``timeout_seconds`` is for connecting and for each silence of the server, ``deadline_seconds`` for the whole of
    one call, from when it may be sent; ``connections`` are open at once.
    ``waits`` for the vendor's rate limits, instead of refusing what exceeds them. ``rate_limits`` has requests and
    seconds for a limit by its name; ``None`` counts none.
    """

    timeout_seconds: float = 10.0
    deadline_seconds: float = 30.0
    connections: int = 100
    waits: bool = True
    rate_limits: Mapping[str, tuple[int, int]] | None = {}


class Server:
    """A vendor's server at a URL, which is what stands before the paths of the vendor's spec.

    Args:
        vendor: whose API it has.
        contract: the vendor's contract.
        url: of the server.
        credentials: the fields of our credential there.
        limits: how it is called.
        transport: instead of the one over sockets.

    Raises:
        ConfigurationError: no operation can be called with these credentials.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a server is
        self,
        vendor: Vendor,
        contract: Contract,
        url: str,
        credentials: Mapping[str, str],
        limits: Limits = Limits(),  # noqa: B008 - frozen
        transport: Transport | None = None,
    ) -> None:
        self.vendor = vendor
        self._url = url.rstrip("/")
        self._limits = limits
        self._presented: dict[str, Presented] = {}
        self._contracts: dict[str, OperationContract] = {}
        for operation in vendor.operations:
            described = contract.operations[operation.id]
            found = presented(vendor, operation, described, credentials)
            if found is not None:
                self._presented[operation.id] = found
                self._contracts[operation.id] = described
        if not self._presented:
            forms = " or ".join(" + ".join(form) for form in vendor.credential_forms)
            raise ConfigurationError("credentials", f"a credential of {vendor.name} is {forms}")
        self.operations = tuple(one for one in vendor.operations if one.id in self._presented)
        self._rates = None if limits.rate_limits is None else RateLimits(vendor, dict(limits.rate_limits))
        self._not_before = 0.0
        self._is_limited = False
        self._connections = Connections(limits.timeout_seconds, limits.connections, transport)

    def __repr__(self) -> str:
        return f"Server({self.vendor.name})"

    async def close(self) -> None:
        """Closes its connections."""
        await self._connections.close()

    def contract(self, operation: Operation) -> OperationContract:
        """The contract of one of the operations that can be called."""
        return self._contracts[operation.id]

    async def send(
        self, operation: Operation, request: ValidRequest, may_send: Callable[[], bool] = lambda: True
    ) -> Answer:
        """The server's answer, whatever its status; its body is ``text`` where it is no JSON.

        Whether it ``may_send`` is asked when the vendor's rate limits have been waited for.

        Raises:
            NotSent: nothing can have come of it.
            Unclear: something may have.
        """
        await self._pace(operation)
        if not may_send():
            raise NotSent("somebody else may have taken it up meanwhile")
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                received = await self._connections.exchange(self._said(operation, request))
        except TimeoutError as error:
            # Each silence was short enough, and the answer had no end.
            raise Unclear("no whole answer in time") from error
        try:
            answer = answer_of(received)
        except Undecodable as error:
            raise Unclear("the answer cannot be decoded") from error
        self._heed(answer)
        return answer

    def _heed(self, answer: Answer) -> None:
        """The server is left alone for as long as it asks for; an hour at most."""
        if answer.status not in _ASKS_TO_WAIT:
            return
        seconds = _retry_after(answer.headers)
        if answer.status == 429 and seconds is None:
            told = self.vendor.parse_retry_after(answer.headers, time.time())
            seconds = _UNTOLD_SECONDS if told is None else max(told, _SHORTEST_TOLD_SECONDS)
        if seconds is not None:
            not_before = time.monotonic() + min(seconds, _LONGEST_TOLD_SECONDS)
            if not_before > self._not_before:
                self._not_before, self._is_limited = not_before, answer.status == 429

    def _said(self, operation: Operation, request: ValidRequest) -> httpx.Request:
        contract, credentials = self._contracts[operation.id], self._presented[operation.id]
        values = {**request.path_values, **credentials.path_values}
        path = contract.template
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        query = urlencode({**request.query, **credentials.query})
        headers = {**_HEADERS, **request.headers, **credentials.headers}
        content = b""
        if request.body is not None:
            headers["content-type"] = contract.media_types[0]
            content = msgspec.json.encode(request.body)
        url = _url(self._url + path + (f"?{query}" if query else ""))
        told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return request_of(contract.method, url, told, content)

    async def _pace(self, operation: Operation) -> None:
        """Waits for the vendor's rate limits, and for as long as it asked us to; raises NotSent instead."""
        waited = 0.0
        while (seconds := self._to_wait(operation)) > 0:
            if not self._limits.waits or waited + seconds > _LONGEST_WAIT_SECONDS:
                is_limit = self._is_limited or time.monotonic() >= self._not_before
                raise NotSent("the vendor's server is to be left alone", seconds, is_limit=is_limit)
            waited += seconds
            await asyncio.sleep(seconds)

    def _to_wait(self, operation: Operation) -> float:
        seconds = self._not_before - time.monotonic()
        if seconds > 0 or self._rates is None or not operation.rate_limits:
            return seconds
        budgets, refusal = self._rates.spend(operation, _OURSELVES)
        if refusal is None:
            return 0.0
        return max(0.01, *(budget.resets_at - budget.now for budget in budgets if budget.remaining == 0))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, by what the answer says in either of the header's forms; ``None`` where it says neither."""
    seconds = seconds_in(headers, "retry-after")
    if seconds is not None:
        return seconds
    try:
        seconds = parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(seconds, _SHORTEST_TOLD_SECONDS)


_url = lru_cache(maxsize=_URLS_KEPT)(httpx.URL)
_OURSELVES = Caller(id="upstream", merchant=Merchant(name="upstream"), scopes=frozenset())
