"""The documented examples of requests, on the known customer."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from loyalty_gateway.contract_run.stage import CannotShow, Stage
from loyalty_gateway.spec.judge import Spoken, as_text
from loyalty_gateway.spec.references import resolved
from loyalty_gateway.vendor import Operation


def examples(stage: Stage, operation: Operation) -> Iterator[Spoken]:
    """A plain request of the operation, then with each documented body and parameter, as published or overlaid."""
    try:
        plain = stage.spoken(operation, stage.plain(operation))
    except CannotShow:
        return
    described = stage.setup.described(operation)
    document = stage.setup.contract.document
    usable = stage.setup.parameters(operation)
    found = [plain]
    for source in (document.published, document.corrected):
        path_item = source.get("paths", {}).get(described.template, {})
        told = path_item.get(described.method.lower(), {})
        found += (msgspec.structs.replace(plain, body=body) for body in _bodies(source, told))
        for parameter in chain(path_item.get("parameters", ()), told.get("parameters", ())):
            one = resolved(source, parameter)
            if (one["in"], one["name"]) in usable:
                found += (_with(plain, one["in"], one["name"], as_text(value)) for value in _values(source, one))
    yield from (one for index, one in enumerate(found) if one not in found[:index])


def _with(plain: Spoken, place: str, name: str, text: str) -> Spoken:
    match place:
        case "path":
            return msgspec.structs.replace(plain, path_values={**plain.path_values, name: text})
        case "query":
            return msgspec.structs.replace(plain, query={**plain.query, name: text})
        case "header":
            return msgspec.structs.replace(plain, headers={**plain.headers, name.lower(): text})
        case _:
            return plain


def _bodies(document: dict[str, Any], operation: Mapping[str, Any]) -> Iterator[Any]:
    for content in resolved(document, operation.get("requestBody", {})).get("content", {}).values():
        yield from _values(document, content)


def _values(document: dict[str, Any], described: Mapping[str, Any]) -> Iterator[Any]:
    """The examples of a parameter or a media type, and those of its schema."""
    schema = resolved(document, described.get("schema", {}))
    yield from (one for one in (described.get("example"), schema.get("example")) if one is not None)
    yield from (resolved(document, one).get("value") for one in described.get("examples", {}).values())
    listed = schema.get("examples", ())
    yield from listed if isinstance(listed, list) else ()
