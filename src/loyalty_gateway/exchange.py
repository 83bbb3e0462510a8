"""What is known of one request while it is on its way."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.types import Scope

from loyalty_gateway.authentication import Caller
from loyalty_gateway.idempotency import KEY_HEADER, key_of
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.routing import MOUNTED_PATH
from loyalty_gateway.spec import Defect, OperationContract
from loyalty_gateway.vendor import Operation, Request, Vendor

_LONGEST_QUERY: Final = 8_192
_MOST_QUERY_FIELDS: Final = 256


class Exchange:
    """A request as it came, and what has become of it so far; the witness tells of it at its end.

    ``path`` is the raw path below the vendor's mount, ``raw_body`` ``None`` until somebody reads it; ``budgets``
    are the headers that tell what is left of rate limits, ``None`` until that is known.
    """

    __slots__ = (
        "ambiguous",
        "budgets",
        "caller",
        "code",
        "contract",
        "defects",
        "error",
        "intent",
        "lost",
        "operation",
        "path",
        "raw_body",
        "replayed",
        "request",
        "request_defects",
        "scope",
    )

    def __init__(self, vendor: Vendor, options: Any, scope: Scope) -> None:
        self.scope = scope
        self.path: str = scope[MOUNTED_PATH]
        self.request = Request(
            vendor=vendor,
            operation=None,
            method=scope["method"],
            path_values={},
            query={},
            headers={
                name.decode("latin-1"): value.decode("latin-1") if name != KEY_HEADER else key_of(value)
                for name, value in scope["headers"]
            },
            options=options,
        )
        self.operation: Operation | None = None
        self.contract: OperationContract | None = None
        self.caller: Caller | None = None
        self.budgets: Mapping[str, str] | None = None
        self.raw_body: bytes | None = None
        self.code: Code | None = None
        self.replayed = False
        self.ambiguous = False
        self.intent: int | None = None
        self.lost: tuple[str, ...] = ()
        self.error: Exception | None = None
        self.request_defects: tuple[Defect, ...] = ()
        self.defects: tuple[Defect, ...] = ()

    def route_to(self, operation: Operation, contract: OperationContract, path_values: Mapping[str, str]) -> None:
        """Says which operation is asked for; raises Problem UNREADABLE for a query of absurd size."""
        self.operation = operation
        self.contract = contract
        request, query_string = self.request, self.scope["query_string"]
        self.request = Request(
            vendor=request.vendor,
            operation=operation,
            method=request.method,
            path_values=path_values,
            query=_query(query_string) if query_string else {},
            headers=request.headers,
            options=request.options,
        )

    @property
    def routed(self) -> tuple[Operation, OperationContract]:
        """The operation and its contract, which every step behind routing knows."""
        assert self.operation is not None
        assert self.contract is not None
        return self.operation, self.contract

    @property
    def url(self) -> str:
        """Where the client sent the request, without the query."""
        path = self.scope["raw_path"].partition(b"?")[0].decode("latin-1")
        return f"{self.scope['scheme']}://{self.request.headers.get('host', '')}{path}"


def _query(query_string: bytes) -> dict[str, str]:
    """The query's fields, of a repeated one the last."""
    if len(query_string) > _LONGEST_QUERY or query_string.count(b"&") >= _MOST_QUERY_FIELDS:
        raise Problem(Code.UNREADABLE)
    return dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))
