"""What is wrong with a published document, and which overlay action answers it. Found, never listed by hand."""

from collections.abc import Iterator
from typing import Any

import msgspec
from openapi_schema_validator import OAS30Validator, OAS31Validator

from loyalty_gateway.spec.document import Action, Document, apply
from loyalty_gateway.spec.validity import invalid_places

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class PublishedDefect(msgspec.Struct, frozen=True, kw_only=True):
    """One defect: a JSON pointer, what is wrong there, and the action that answers it, if any does."""

    place: str
    what: str
    answered_by: Action | None = None


def published_defects(document: Document) -> tuple[PublishedDefect, ...]:
    """The defects of the document as published, each with the overlay action since which it is gone for good."""
    invalid = tuple(dict.fromkeys(_invalid(document.published)))
    found = tuple(dict.fromkeys((*invalid, *_defects(document.published))))
    answers: dict[tuple[str, str], Action] = {}
    current = document.published
    for action in document.actions if found else ():
        current = apply(action, current)
        remaining = set(_defects(current))
        if any(defect not in answers for defect in invalid):
            # To hold a document against OpenAPI itself takes long; what has been answered is not looked at again.
            remaining.update(_invalid(current))
        for defect in found:
            if defect in remaining:
                answers.pop(defect, None)
            else:
                answers.setdefault(defect, action)
    return tuple(
        PublishedDefect(place=place, what=what, answered_by=answers.get((place, what))) for place, what in found
    )


def _invalid(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for place, message in invalid_places(document):
        yield place, f"not valid OpenAPI {document['openapi']}: {message}"


def _defects(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for index, server in enumerate(document.get("servers", ())):
        if not server.get("url"):
            yield f"/servers/{index}", "the server has no address"
    for path, path_item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in path_item:
                place = f"/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}"
                yield from _operation_defects(document, path_item[method], place)


def _operation_defects(
    document: dict[str, Any], operation: dict[str, Any], place: str
) -> Iterator[tuple[str, str]]:
    if "operationId" not in operation:
        yield place, "the operation has no operationId"
    body = operation.get("requestBody")
    if body is not None:
        for media_type, content in body.get("content", {}).items():
            schema = _resolved(document, content.get("schema", {}))
            if schema.get("required") and not body.get("required"):
                yield f"{place}/requestBody", "fields are required, the body is not"
            here = f"{place}/requestBody/content/{media_type.replace('/', '~1')}"
            yield from _example_defects(document, content, here)
    responses = operation.get("responses", {})
    if all(status.startswith("2") for status in responses):
        yield f"{place}/responses", "no refusal is declared"
    for status, response in responses.items():
        for media_type, content in response.get("content", {}).items():
            here = f"{place}/responses/{status}/content/{media_type.replace('/', '~1')}"
            if _resolved(document, content.get("schema", {})).get("const") == "":
                yield here, "an empty body is described as a JSON string"
            yield from _example_defects(document, content, here)


def _example_defects(document: dict[str, Any], content: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    if "example" not in content or "schema" not in content:
        return
    schema = content["schema"]
    is_30 = str(document.get("openapi", "")).startswith("3.0")
    validator = (OAS30Validator if is_30 else OAS31Validator)({**document, **schema})
    for error in validator.iter_errors(content["example"]):
        at = "/".join(str(part) for part in error.absolute_path)
        yield f"{place}/example", f"breaks its own schema at /{at}: {error.message[:120]}"
    properties = _resolved(document, schema).get("properties", {})
    if isinstance(content["example"], dict) and properties:
        for name in content["example"]:
            if name not in properties:
                yield f"{place}/example", f"shows the field {name}, which the schema does not know"


def _resolved(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node
