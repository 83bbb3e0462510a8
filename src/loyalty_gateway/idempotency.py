"""The key by which a client says that a request is the same one again, and what it asked for with it."""

from collections.abc import Iterable
from typing import Any, Final

from loyalty_gateway.adjustment import Idempotency
from loyalty_gateway.likeness import fingerprint
from loyalty_gateway.problem import Violation
from loyalty_gateway.spec import OperationContract
from loyalty_gateway.vendor import Operation, ValidRequest

KEY_HEADER: Final = b"idempotency-key"


def key_of(value: bytes) -> str:
    """A header's key as it would stand in a body, which is in UTF-8; other bytes are read as HTTP has it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def differing_keys(headers: Iterable[tuple[bytes, bytes]], body: Any, field: str | None) -> tuple[Violation, ...]:
    """A violation where one request carries several keys.

    Args:
        headers: all of them, as received.
        body: its parsed value.
        field: of the body, in which the vendor's own key stands; ``None`` where it has none.
    """
    keys = dict.fromkeys(key_of(value) for name, value in headers if name == KEY_HEADER)
    if not keys:
        return ()
    own = body.get(field) if field is not None and isinstance(body, dict) else None
    # An empty key of the body counts as none; one that is no text is another violation.
    told = [*keys, own] if isinstance(own, str) and own and own not in keys else [*keys]
    if len(told) == 1:
        return ()
    return (
        Violation(
            location="header", path=("Idempotency-Key",), keyword="const", expected=told[0], received=told[-1]
        ),
    )


def asked_in(request: ValidRequest, operation: Operation, contract: OperationContract) -> list[Any]:
    """What the client said: who calls is no part of it, and no secret is kept, not even as a digest."""
    body = request.body
    if operation.body_credentials and isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in operation.body_credentials}
    path_values = {
        name: value for name, value in request.path_values.items() if name not in operation.path_credentials
    }
    return [contract.method, contract.path, path_values, body]


def idempotency_of(request: ValidRequest, asked: list[Any], own_key: str | None = None) -> Idempotency | None:
    """The request's key, from its body or else its header, with the fingerprint of what was asked."""
    key = own_key or request.headers.get("idempotency-key")
    return None if key is None else Idempotency(key, fingerprint(asked))
