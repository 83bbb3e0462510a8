"""Probes of rate limits: what the headers tell of them, and what comes when they are exceeded."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.contract_run.client import OutOfTime
from loyalty_gateway.contract_run.likeness import differences, is_success
from loyalty_gateway.contract_run.probes import Probe
from loyalty_gateway.contract_run.stage import CannotShow, Stage, Violated
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.vendor import Budget, Operation, Promise, seconds_in

_SHORT_SECONDS: Final = 2
_FEW_REQUESTS: Final = 60


def rate_limit_headers(stage: Stage, operation: Operation) -> None:
    """The headers of the vendor's limits, which tell the limit, and a remainder that no request raises."""
    if not stage.setup.tells_limits:
        raise CannotShow("the configuration says that no rate limit is counted")
    budgets = _budgets(stage, operation)
    told = stage.vendor.render_budgets(budgets, None) if budgets else {}
    if not told:
        raise CannotShow("the vendor tells no limit in headers")
    spent = tuple(msgspec.structs.replace(one, remaining=one.remaining - 1) for one in budgets)
    later = tuple(msgspec.structs.replace(one, resets_at=one.resets_at + 7) for one in budgets)
    counting = _differing(told, stage.vendor.render_budgets(spent, None))
    fixed = set(told) - counting - _differing(told, stage.vendor.render_budgets(later, None))
    exchange = stage.ask(operation, stage.plain(operation))
    seen = exchange.answer.headers
    for name, value in told.items():
        given = seen.get(name.lower())
        if given is None:
            raise Violated(f"the header {name} is missing", exchange)
        if not given.isdigit():
            raise Violated(f"the header {name} is no whole number", exchange)
        if name in fixed and given != value:
            raise Violated(f"the header {name} is {given} instead of {value}", exchange)
        if name in counting and int(given) >= int(value):
            raise Violated(f"the header {name} tells {given} after a request, of {value}", exchange)


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {name for name in one if one[name] != other.get(name, UNSET)}


def rate_limited(stage: Stage, operation: Operation) -> None:
    """More requests than the limit has, as fast as they go; when it is over one is taken again."""
    if not stage.setup.tells_limits:
        raise CannotShow("the configuration says that no rate limit is counted")
    budgets = _budgets(stage, operation)
    short = [one for one in budgets if one.limit.seconds <= _SHORT_SECONDS and one.limit.requests <= _FEW_REQUESTS]
    if not short:
        limits = " and ".join(f"{one.limit.requests} in {one.limit.seconds} s" for one in budgets)
        raise CannotShow(f"a limit of {limits} is not used up for it")
    limit = short[0].limit
    request = stage.plain(operation)
    access = stage.setup.access(operation)
    assert access is not None
    spoken = stage.spoken(operation, request)
    began = time.monotonic()
    # Where the window begins is not known, and two of them may hold the requests.
    for _ in range(2 * limit.requests + 1):
        exchange = stage.client.send(operation, spoken, access, hurries=True)
        if exchange.answer.status == 429:
            break
    else:
        if time.monotonic() - began >= limit.seconds:
            raise CannotShow("the server is too slow for its limit to be reached")
        raise Violated(f"{2 * limit.requests + 1} requests within {limit.seconds} s were all taken", exchange)
    refusal = stage.refusal(operation, Problem(Code.RATE_LIMITED, retry_after=1), request)
    headers = {
        **refusal.headers,
        **stage.vendor.render_budgets(budgets, Problem(Code.RATE_LIMITED, retry_after=1)),
    }
    if found := differences(msgspec.structs.replace(refusal, headers=headers), exchange.answer):
        raise Violated("; ".join(found), exchange)
    told = seconds_in(exchange.answer.headers, "retry-after")
    if told is None:
        told = stage.vendor.parse_retry_after(exchange.answer.headers, time.time())
    seconds = limit.seconds if told is None else max(told, 0.0)
    if seconds > limit.seconds + 1:
        raise Violated(f"it is told to last {seconds:g} s instead of {limit.seconds} s at most", exchange)
    stage.client.wait(seconds + 0.1)
    again = stage.client.send(operation, spoken, access, hurries=True)
    if not is_success(again.answer):
        raise Violated(f"after {seconds:g} s a request was refused with {again.answer.status}", again)
    # What was counted here and what was counted there began at different moments.
    with suppress(OutOfTime):
        stage.client.wait(limit.seconds)


def _budgets(stage: Stage, operation: Operation) -> tuple[Budget, ...]:
    return RateLimits(stage.vendor, dict(stage.setup.limits)).unspent(operation)


RATES: Final[Mapping[Promise, tuple[str, Probe]]] = {
    Promise.RATE_LIMIT_HEADERS: ("the vendor's headers tell its rate limit", rate_limit_headers),
    Promise.RATE_LIMITED: ("more requests than the limit lets through are refused for a while", rate_limited),
}
"""The promises about rate limits."""
