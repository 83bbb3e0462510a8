"""Probes at the door: credentials, paths, methods, bodies, further paths, the same for every vendor."""

from collections.abc import Mapping
from typing import Final

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.contract_run.client import NOBODY
from loyalty_gateway.contract_run.likeness import differences
from loyalty_gateway.contract_run.probes import Probe, refused, sign
from loyalty_gateway.contract_run.stage import CannotShow, NoWords, Stage, Violated
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.upstream.credentials import Presented
from loyalty_gateway.vendor import Operation, Promise, ValidRequest


def missing_credentials(stage: Stage, operation: Operation) -> None:
    """A request that is valid but for its credentials, of which there are none."""
    request = stage.plain(operation)
    right = stage.setup.access(operation)
    assert right is not None
    # What stands in the path has to stand there, or it would be another path.
    access = Presented({}, {}, right.path_values)
    refused(stage, operation, request, Problem(Code.MISSING_CREDENTIALS), access=access, counts=False)


def wrong_credentials(stage: Stage, operation: Operation) -> None:
    """The same with credentials that nobody has, of which one part is wrong."""
    request = stage.plain(operation)
    wrong = stage.setup.wrong_access(operation)
    if not wrong:
        raise CannotShow("no credential of this kind is known")
    for access in wrong:
        refused(stage, operation, request, Problem(Code.INVALID_CREDENTIALS), access=access, counts=False)


def scope(stage: Stage, operation: Operation) -> None:
    """A credential without the scope that the operation needs."""
    access = stage.setup.access(operation, suffices=False)
    if access is None:
        raise CannotShow("no credential with fewer scopes is known")
    request = stage.plain(operation)
    needed = min(stage.setup.needed(operation))
    refused(stage, operation, request, Problem(Code.INSUFFICIENT_SCOPE, scope=needed), access=access)


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
            refused(stage, operation, without, Problem(Code.INVALID, violations=violations))
            return
    raise CannotShow(f"{operation.id} needs no field")


def unreadable(stage: Stage, operation: Operation) -> None:
    """A body that breaks off."""
    request = _with_body(stage, operation)
    refused(stage, operation, request, Problem(Code.UNREADABLE), raw=b'{"')


def media_type(stage: Stage, operation: Operation) -> None:
    """The right body, said to be plain text."""
    request = _with_body(stage, operation)
    refused(stage, operation, request, Problem(Code.UNSUPPORTED_MEDIA_TYPE), media_type="text/plain")


def _with_body(stage: Stage, operation: Operation) -> ValidRequest:
    request = stage.plain(operation)
    if request.body is None:
        raise CannotShow(f"{operation.id} takes no body")
    return request


def credential_forms(stage: Stage, operation: Operation) -> None:
    """Each way of presenting a credential that the document has, and the body where the vendor takes it there."""
    request = stage.plain(operation)
    if operation.asks is Adjustment and sign(stage, operation) < 0:
        stage.stock(stage.first, 10)
    ways = [(access, request) for access in stage.setup.ways(operation)]
    fields = stage.setup.in_body(operation)
    if fields is not None and ways and isinstance(request.body, Mapping):
        bare = Presented({}, {}, ways[0][0].path_values)
        ways.append((bare, msgspec.structs.replace(request, body={**request.body, **fields})))
    for access, asked in ways:
        exchange = stage.ask(operation, asked, access=access)
        if exchange.answer.status in {401, 403}:
            named = [*access.headers, *access.query, *access.path_values] or [*(fields or {})]
            raise Violated(
                f"credentials in {', '.join(named)} were refused with {exchange.answer.status}", exchange
            )


def path_alias(stage: Stage, operation: Operation) -> None:
    """The plain request under each further path, with the effect that it has."""
    template = stage.setup.described(operation).template
    further = [
        template.replace(meant, alias, 1)
        for alias, meant in stage.vendor.path_aliases.items()
        if template.startswith(meant)
    ]
    if not further:
        raise NoWords(f"{operation.id} has one path")
    request = stage.plain(operation)
    moves = sign(stage, operation) if operation.asks is Adjustment else 0
    access = stage.setup.access(operation) or NOBODY
    for path in further:
        before = stage.stock(stage.first, 10) if moves else 0
        exchange = stage.client.send(operation, stage.spoken(operation, request), access, template=path)
        if exchange.answer.status in {404, 405}:
            raise Violated(f"{path} was refused with {exchange.answer.status}", exchange)
        if moves and (moved := stage.balance(stage.first) - before) != moves:
            raise Violated(f"under {path} {moves:+} points moved the balance by {moved:+}", exchange)


AT_THE_DOOR: Final[Mapping[Promise, tuple[str, Probe]]] = {
    Promise.MISSING_CREDENTIALS: ("a request without credentials is refused", missing_credentials),
    Promise.WRONG_CREDENTIALS: ("a request with wrong credentials is refused", wrong_credentials),
    Promise.SCOPE: ("a credential without the scope is refused", scope),
    Promise.INVALID: ("a request without a required field is refused", invalid),
    Promise.UNREADABLE: ("a body that is no JSON is refused", unreadable),
    Promise.MEDIA_TYPE: ("a body of another media type is refused", media_type),
    Promise.UNKNOWN_PATH: ("a path that is not documented is refused", unknown_path),
    Promise.WRONG_METHOD: ("a method that is not documented is refused", wrong_method),
    Promise.CREDENTIAL_FORMS: ("credentials are taken wherever the document lets them stand", credential_forms),
    Promise.PATH_ALIAS: ("a further path is as good as the published one", path_alias),
}
"""The promises about any operation."""
