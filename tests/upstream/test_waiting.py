"""How long a vendor's server is waited for: as long as it asks for, and not for an answer without an end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from faulty import CREDENTIALS, UPSTREAMS
from raw_server import RawServer, raw_answer, raw_server

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Lifetime
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.upstream.calls import Calls
from loyalty_gateway.upstream.connections import NotSent, Unclear
from loyalty_gateway.upstream.server import Limits, Server
from loyalty_gateway.vendor import Answer, Budget, Vendor

_LONG_SECONDS = 600
_TELLS_RESET = {"bitbybit", "salla", "yotpo"}


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


Ask = Callable[[], Awaitable[Answer]]


def _asking(
    raw: RawServer, vendor: Vendor, contract: Contract, story: Callable[[Ask], Awaitable[Any]], **limits: Any
) -> Any:
    """What comes of a story in which the vendor's server is asked for an adjustment."""

    async def told() -> Any:
        options = msgspec.convert({}, vendor.options)
        chosen = Limits(rate_limits=None, **limits)
        asked = Server(vendor, contract, raw.url, CREDENTIALS[vendor.name], chosen)
        adjustment = Adjustment(
            customers=(CustomerReference(vendor.namespaces(options)[0], "5"),),
            points_delta=7,
            lifetime=Lifetime.EARN_AND_BURN,
            reason="Thanks",
        )
        said = Calls(asked, options).say(adjustment)
        assert said is not None
        try:
            async with asyncio.timeout(20):
                return await story(lambda: asked.send(said.operation, said.request))
        finally:
            await asked.close()

    return asyncio.run(told())


async def _seconds_to_wait(ask: Ask) -> float | None:
    """Seconds that the server is left alone for behind its first answer; ``None`` where it is asked at once."""
    await ask()
    try:
        await ask()
    except NotSent as refusal:
        return refusal.seconds
    return None


def _exhausted(vendor: Vendor) -> Mapping[str, str]:
    """The headers of the vendor's own 429, without Retry-After."""
    now = time.time()
    limits = next(one.rate_limits for one in vendor.operations if one.rate_limits)
    budgets = tuple(Budget(limit=one, remaining=0, resets_at=now + _LONG_SECONDS, now=now) for one in limits)
    told = vendor.render_budgets(budgets, Problem(Code.RATE_LIMITED, retry_after=_LONG_SECONDS))
    return {name: value for name, value in told.items() if name.lower() != "retry-after"}


def _lines(headers: Mapping[str, str]) -> list[bytes]:
    return [f"{name}: {value}".encode() for name, value in headers.items()]


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_a_429_without_retry_after_is_waited_for_as_long_as_the_vendors_own_headers_tell(
    raw: RawServer, vendors: dict[str, Vendor], contracts: dict[str, Contract], vendor: str
) -> None:
    raw.says(429, b"{}", *_lines(_exhausted(vendors[vendor])))

    seconds = _asking(raw, vendors[vendor], contracts[vendor], _seconds_to_wait, waits=False)

    assert len(raw.requests) == 1
    assert (seconds > _LONG_SECONDS - 20) is (vendor in _TELLS_RESET)
    assert seconds <= _LONG_SECONDS + 1


@pytest.mark.parametrize("vendor", UPSTREAMS)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_of_a_429_and_of_a_503_is_heeded_before_any_other_header(  # noqa: PLR0917 - fixtures and cases
    raw: RawServer,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
    vendor: str,
    status: int,
    form: str,
) -> None:
    wait = 2 * _LONG_SECONDS
    told = str(wait) if form == "seconds" else formatdate(time.time() + wait, usegmt=True)
    raw.says(status, b"{}", *_lines({**_exhausted(vendors[vendor]), "Retry-After": told}))

    seconds = _asking(raw, vendors[vendor], contracts[vendor], _seconds_to_wait, waits=False)

    assert wait - 20 < seconds <= wait
    assert len(raw.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (503, {}),
        (503, {"Retry-After": "0"}),
        (503, {"Retry-After": "\u00b2"}),
        (200, {"Retry-After": "600"}),
        (429, {"Retry-After": "0"}),
    ],
)
def test_who_does_not_ask_to_be_left_alone_is_asked_again(
    raw: RawServer,
    vendors: dict[str, Vendor],
    contracts: dict[str, Contract],
    status: int,
    headers: Mapping[str, str],
) -> None:
    lines = [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
    raw.says(status, b"{}", *lines)

    seconds = _asking(raw, vendors["mage"], contracts["mage"], _seconds_to_wait, waits=False)

    assert seconds is None
    assert len(raw.requests) == 2


@pytest.mark.parametrize("told", ["", "soon", "-5", "1e9", "\u00b2", "9" * 99, "12.5.3"])
@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_a_reset_that_is_no_number_of_seconds_is_none(vendors: dict[str, Vendor], vendor: str, told: str) -> None:
    headers = {name.lower(): told for name in _exhausted(vendors[vendor])}

    assert vendors[vendor].parse_retry_after(headers, time.time()) is None


@pytest.mark.parametrize("vendor", UPSTREAMS)
def test_an_answer_that_comes_byte_by_byte_without_an_end_leaves_it_unclear(
    raw: RawServer, vendors: dict[str, Vendor], contracts: dict[str, Contract], vendor: str
) -> None:
    raw.answer, raw.dribbles = lambda _: raw_answer(200, b" " * 10_000), 0.02

    async def story(ask: Ask) -> None:
        with pytest.raises(Unclear):
            await ask()

    _asking(raw, vendors[vendor], contracts[vendor], story, timeout_seconds=5, deadline_seconds=0.3)

    assert len(raw.requests) == 1


def test_the_deadline_of_a_call_begins_when_it_may_be_sent(
    raw: RawServer, vendors: dict[str, Vendor], contracts: dict[str, Contract]
) -> None:
    answers = [raw_answer(429, b"{}", b"Retry-After: 1"), raw_answer(200, b"{}")]
    raw.answer = lambda _: answers.pop(0)

    async def story(ask: Ask) -> list[int]:
        return [(await ask()).status, (await ask()).status]

    statuses = _asking(raw, vendors["mage"], contracts["mage"], story, deadline_seconds=0.5)

    assert statuses == [429, 200]
