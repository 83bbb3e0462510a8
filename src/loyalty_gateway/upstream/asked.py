"""What a vendor's clients can ask for: requests that keep its document, made of the document alone.

The documented examples of a request are varied: fields are taken away, and filled with what their schemas name or
allow, one or two at a time. What the contract then takes is a request that a client could send.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, NamedTuple

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.problem import Problem
from loyalty_gateway.spec import Contract, OperationContract
from loyalty_gateway.spec.references import resolved
from loyalty_gateway.upstream.loss import parts
from loyalty_gateway.upstream.phrasebook import as_received
from loyalty_gateway.vendor import Operation, ValidRequest, Vendor

_CUSTOMER: Final = "1001"
_LEFT_OUT: Final = object()
_BY_TYPE: Final[Mapping[str, tuple[Any, ...]]] = {
    "boolean": (True, False),
    "integer": (7, -7),
    "number": (7, -7),
    "string": ("Thanks",),
    "object": ({"order": "1001"},),
    "null": (None,),
}
_DEEPEST: Final = 8


class Asked(NamedTuple):
    """A request of a vendor's client, and the adjustment that it asks for."""

    operation: Operation
    request: ValidRequest
    adjustment: Adjustment


def asked_of(vendor: Vendor, contract: Contract, options: Any) -> list[Asked]:
    """A request for each kind of adjustment that the vendor's operations have words for, always the same ones."""
    found: dict[tuple[str, ...], Asked] = {}
    for operation in vendor.operations:
        if operation.asks is not Adjustment:
            continue
        for request in _requests(vendor, operation, contract, options):
            try:
                adjustment = operation.parse_request(request)
            except Problem:
                continue
            assert isinstance(adjustment, Adjustment)
            if adjustment.customers:
                kind = (operation.id, *(part.label for part in parts(adjustment)))
                found.setdefault(kind, Asked(operation, request, adjustment))
    return list(found.values())


def _requests(vendor: Vendor, operation: Operation, contract: Contract, options: Any) -> Iterator[ValidRequest]:
    described = contract.operations[operation.id]
    path_values = dict.fromkeys(placeholders(operation, described), _CUSTOMER)
    for media_type, body in _bodies(contract.document.corrected, operation.id):
        request = ValidRequest(path_values=path_values, options=options, body=body)
        received = as_received(vendor, operation, described, request)
        if described.accepts(received, media_type, b"-", body):
            yield request


def placeholders(operation: Operation, contract: OperationContract) -> list[str]:
    """The names in the operation's path that are no credential's."""
    steps = contract.template.split("/")
    names = [step[1:-1] for step in steps if step.startswith("{") and step.endswith("}")]
    return [name for name in names if name not in operation.path_credentials]


def _bodies(document: dict[str, Any], operation_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Bodies that may keep the spec, or not: examples, and these with one or two fields changed."""
    for media_type, content in _contents(document, operation_id):
        fields = dict(_fields(document, content.get("schema", {})))
        changes = [
            (name, value) for name, schemas in fields.items() for value in (_LEFT_OUT, *_values(document, schemas))
        ]
        for example in _examples(document, content, fields):
            yield media_type, example
            for count in (1, 2):
                for chosen in combinations(changes, count):
                    if len({name for name, _ in chosen}) == count:
                        yield media_type, _changed(example, chosen)


def _contents(document: dict[str, Any], operation_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path_item in document["paths"].values():
        for operation in path_item.values():
            if isinstance(operation, dict) and operation.get("operationId") == operation_id:
                yield from resolved(document, operation.get("requestBody", {})).get("content", {}).items()


def _examples(
    document: dict[str, Any], content: Mapping[str, Any], fields: Mapping[str, Sequence[Any]]
) -> Iterator[dict[str, Any]]:
    """The documented bodies, and one with every field."""
    told = [
        content.get("example"),
        *(resolved(document, one).get("value") for one in content.get("examples", {}).values()),
    ]
    yield from (example for example in told if isinstance(example, dict))
    yield {name: next(iter(_values(document, schemas)), None) for name, schemas in fields.items()}


def _changed(body: Mapping[str, Any], changes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    changed = {**body, **dict(changes)}
    return {name: value for name, value in changed.items() if value is not _LEFT_OUT}


def _fields(document: dict[str, Any], schema: Any, depth: int = 0) -> Iterator[tuple[str, list[Any]]]:
    """The fields of an object with all that is said of each, wherever in the schema that stands."""
    found: dict[str, list[Any]] = {}
    for one in _all_of(document, schema, depth):
        for name, told in one.get("properties", {}).items():
            found.setdefault(name, []).append(told)
    yield from found.items()


def _all_of(document: dict[str, Any], schema: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """The schema, and those that it is put together of."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    yield schema
    if "$ref" in schema:
        yield from _all_of(document, resolved(document, schema), depth + 1)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(keyword, ()):
            yield from _all_of(document, part, depth + 1)
    for keyword in ("if", "then", "else"):
        yield from _all_of(document, schema.get(keyword), depth + 1)


def _values(document: dict[str, Any], schemas: Sequence[Any]) -> list[Any]:
    """What may stand in a field: what its schemas name, or else something of their types; each once."""
    found: dict[bytes, Any] = {}
    for schema in (one for whole in schemas for one in _all_of(document, whole)):
        named = [
            *schema.get("enum", ()),
            *schema.get("examples", ()),
            *_told(schema, "const", "example", "default"),
        ]
        kinds = schema.get("type", ())
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            named += _BY_TYPE.get(kind, ())
            if kind == "array":
                items = _values(document, [schema.get("items", {})])
                named += [[], *([item] for item in items), items]
        found |= {msgspec.json.encode(value): value for value in named}
    return list(found.values())


def _told(schema: Mapping[str, Any], *keywords: str) -> list[Any]:
    return [schema[keyword] for keyword in keywords if keyword in schema]
