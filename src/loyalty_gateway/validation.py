"""A request held against the spec, its body read with it."""

from typing import Any

from loyalty_gateway.body import media_type_of, parse_json
from loyalty_gateway.exchange import Exchange
from loyalty_gateway.idempotency import differing_keys
from loyalty_gateway.problem import Code, Problem


def valid_body(exchange: Exchange, raw_body: bytes) -> Any:
    """The parsed body of a request that keeps the spec, body and all; ``None`` without one.

    Raises:
        Problem: UNSUPPORTED_MEDIA_TYPE, UNREADABLE or INVALID, with all that the request does not keep.
    """
    operation, contract = exchange.routed
    request = exchange.request
    media_type, body = "", None
    if raw_body:
        media_type = media_type_of(request.headers.get("content-type", ""), contract.media_types)
        body = parse_json(raw_body)
    violations = contract.violations(request, media_type, raw_body, body)
    violations += differing_keys(exchange.scope["headers"], body, operation.idempotency_field)
    if violations:
        raise Problem(Code.INVALID, violations=violations)
    return body
