"""Probes at the door: credentials, paths, methods, bodies, rate-limit headers, the same for every vendor."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.contract_run.client import NOBODY
from loyalty_gateway.contract_run.probes import Probe, expect_refusal
from loyalty_gateway.contract_run.stage import CannotShow, Stage, Violated, differences
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.rate_limit import RateLimits
from loyalty_gateway.upstream.credentials import Presented
from loyalty_gateway.vendor import Operation, Promise, ValidRequest


def missing_credentials(stage: Stage, operation: Operation) -> None:
    """A request that is valid but for its credentials, of which there are none."""
    request = stage.plain(operation)
    right = stage.setup.access(operation)
    assert right is not None
    # What stands in the path has to stand there, or it would be another path.
    access = Presented({}, {}, right.path_values)
    exchange = stage.ask(operation, request, access=access, counts=False)
    expect_refusal(stage, operation, exchange, Problem(Code.MISSING_CREDENTIALS), request)


def wrong_credentials(stage: Stage, operation: Operation) -> None:
    """The same with credentials that nobody has."""
    request = stage.plain(operation)
    access = stage.setup.wrong_access(operation)
    if access is None:
        raise CannotShow("no credential of this kind is known")
    exchange = stage.ask(operation, request, access=access, counts=False)
    expect_refusal(stage, operation, exchange, Problem(Code.INVALID_CREDENTIALS), request)


def scope(stage: Stage, operation: Operation) -> None:
    """A credential without the scope that the operation needs."""
    access = stage.setup.access(operation, suffices=False)
    if access is None:
        raise CannotShow("no credential with fewer scopes is known")
    request = stage.plain(operation)
    needed = min(stage.setup.needed(operation))
    exchange = stage.ask(operation, request, access=access)
    expect_refusal(stage, operation, exchange, Problem(Code.INSUFFICIENT_SCOPE, scope=needed), request)


def unknown_path(stage: Stage, operation: Operation) -> None:
    """A path behind the operation's, which the document has not."""
    _elsewhere(stage, operation, Problem(Code.UNKNOWN_PATH), template="/no/such/path/at/all")


def wrong_method(stage: Stage, operation: Operation) -> None:
    """A method that the operation's path has not."""
    described = stage.setup.described(operation)
    methods = {
        one.method for one in stage.setup.contract.operations.values() if one.template == described.template
    }
    # Without a body none of these does anything, whereas a server that knows DELETE might obey.
    wrong = next(method for method in ("PATCH", "PUT", "POST") if method not in methods)
    _elsewhere(stage, operation, Problem(Code.WRONG_METHOD, allow=tuple(sorted(methods))), method=wrong)


def _elsewhere(
    stage: Stage, operation: Operation, problem: Problem, *, method: str | None = None, template: str = ""
) -> None:
    request = msgspec.structs.replace(stage.plain(operation), body=None, query={})
    described = stage.setup.described(operation)
    access = stage.setup.access(operation) or NOBODY
    exchange = stage.client.send(
        operation,
        stage.spoken(operation, request),
        access,
        method=method,
        template=described.template + template,
    )
    received = msgspec.structs.replace(
        stage.received(operation, request), operation=None, method=method or described.method
    )
    if found := differences(stage.vendor.render_problem(problem, received), exchange.answer):
        raise Violated("; ".join(found), exchange)


def invalid(stage: Stage, operation: Operation) -> None:
    """The same request without one of its required fields."""
    request = stage.plain(operation)
    described = stage.setup.described(operation)
    for name in request.body if isinstance(request.body, Mapping) else ():
        body = {field: value for field, value in request.body.items() if field != name}
        without = msgspec.structs.replace(request, body=body)
        received = stage.received(operation, without)
        violations = described.violations(received, described.media_types[0], msgspec.json.encode(body), body)
        if violations:
            exchange = stage.ask(operation, without)
            expect_refusal(stage, operation, exchange, Problem(Code.INVALID, violations=violations), without)
            return
    raise CannotShow(f"{operation.id} needs no field")


def unreadable(stage: Stage, operation: Operation) -> None:
    """A body that breaks off."""
    request = _with_body(stage, operation)
    exchange = stage.ask(operation, request, raw=b'{"')
    expect_refusal(stage, operation, exchange, Problem(Code.UNREADABLE), request)


def media_type(stage: Stage, operation: Operation) -> None:
    """The right body, said to be plain text."""
    request = _with_body(stage, operation)
    exchange = stage.ask(operation, request, media_type="text/plain")
    expect_refusal(stage, operation, exchange, Problem(Code.UNSUPPORTED_MEDIA_TYPE), request)


def _with_body(stage: Stage, operation: Operation) -> ValidRequest:
    request = stage.plain(operation)
    if request.body is None:
        raise CannotShow(f"{operation.id} takes no body")
    return request


def rate_limit_headers(stage: Stage, operation: Operation) -> None:
    """The headers of the vendor's limits, which tell the limit, and a remainder that no request raises."""
    if not stage.setup.tells_limits:
        raise CannotShow("the configuration says that no rate limit is counted")
    budgets = RateLimits(stage.vendor, dict(stage.setup.limits)).unspent(operation)
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


AT_THE_DOOR: Final[Mapping[Promise, tuple[str, Probe]]] = {
    Promise.MISSING_CREDENTIALS: ("a request without credentials is refused", missing_credentials),
    Promise.WRONG_CREDENTIALS: ("a request with wrong credentials is refused", wrong_credentials),
    Promise.SCOPE: ("a credential without the scope is refused", scope),
    Promise.INVALID: ("a request without a required field is refused", invalid),
    Promise.UNREADABLE: ("a body that is no JSON is refused", unreadable),
    Promise.MEDIA_TYPE: ("a body of another media type is refused", media_type),
    Promise.UNKNOWN_PATH: ("a path that is not documented is refused", unknown_path),
    Promise.WRONG_METHOD: ("a method that is not documented is refused", wrong_method),
    Promise.RATE_LIMIT_HEADERS: ("the vendor's headers tell its rate limit", rate_limit_headers),
}
"""The promises about any operation."""
