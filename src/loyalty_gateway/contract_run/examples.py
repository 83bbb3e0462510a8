"""The documented examples of requests, on the known customer."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from loyalty_gateway.contract_run.stage import CannotShow, Stage
from loyalty_gateway.spec.judge import Spoken
from loyalty_gateway.vendor import Operation


def examples(stage: Stage, operation: Operation) -> Iterator[Spoken]:
    """Each documented body of the operation, as published and by the overlay; without any, a plain request."""
    try:
        plain = stage.spoken(operation, stage.plain(operation))
    except CannotShow:
        return
    described = stage.setup.described(operation)
    bodies = []
    document = stage.setup.contract.document
    for source in (document.published, document.corrected):
        told = source.get("paths", {}).get(described.template, {}).get(described.method.lower(), {})
        bodies += list(_bodies(source, told))
    yield plain
    for body in (one for index, one in enumerate(bodies) if one not in bodies[:index]):
        yield msgspec.structs.replace(plain, body=body)


def _bodies(document: dict[str, Any], operation: Mapping[str, Any]) -> Iterator[Any]:
    for content in _resolved(document, operation.get("requestBody", {})).get("content", {}).values():
        schema = _resolved(document, content.get("schema", {}))
        yield from (one for one in (content.get("example"), schema.get("example")) if one is not None)
        named = content.get("examples", {})
        yield from (_resolved(document, one).get("value") for one in named.values())
        listed = schema.get("examples", ())
        yield from listed if isinstance(listed, list) else ()


def _resolved(document: dict[str, Any], node: Any) -> dict[str, Any]:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node if isinstance(node, dict) else {}
