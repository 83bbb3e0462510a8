"""What is wrong with a published document, and which overlay action answers it. Found, never listed by hand."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from openapi_schema_validator import OAS30Validator, OAS31Validator

from loyalty_gateway.spec.document import Action, Document, apply
from loyalty_gateway.spec.fields import Fields
from loyalty_gateway.spec.references import (
    broken_references,
    escaped,
    pointer,
    resolved,
    without_broken_references,
)
from loyalty_gateway.spec.validity import invalid_places

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class _Found(NamedTuple):
    """Where, which rule is broken, and what is wrong in words."""

    place: str
    rule: str
    what: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same one; a correction elsewhere may change the words."""
        return self.place, self.rule


class PublishedDefect(msgspec.Struct, frozen=True, kw_only=True):
    """One defect: a JSON pointer, the rule, what is wrong there, and the action that answers it, if any does.

    ``fingerprint`` stays the same while the place keeps its name, on whatever line that is.
    """

    place: str
    rule: str
    what: str
    fingerprint: str
    answered_by: Action | None = None


def published_defects(document: Document) -> tuple[PublishedDefect, ...]:
    """The defects of the document as published, each with the overlay action since which it is gone for good."""
    invalid = tuple(dict.fromkeys(_invalid(document.published)))
    try:
        found = tuple(dict.fromkeys((*invalid, *_defects(document.published))))
    except (AttributeError, KeyError, TypeError):
        if not invalid:
            raise
        # What is not built as OpenAPI is cannot be gone through either, and that is what is told.
        return tuple(_told(document.name, invalid, {}))
    answers: dict[tuple[str, str], Action] = {}
    current = document.published
    for action in document.actions if found else ():
        current = apply(action, current)
        remaining = {defect.key for defect in _defects(current)}
        if any(defect.key not in answers for defect in invalid):
            # To hold a document against OpenAPI itself takes long; what has been answered is not looked at again.
            remaining.update(defect.key for defect in _invalid(current))
        for defect in found:
            if defect.key in remaining:
                answers.pop(defect.key, None)
            else:
                answers.setdefault(defect.key, action)
    return tuple(_told(document.name, found, answers))


def _told(
    name: str, found: tuple[_Found, ...], answers: Mapping[tuple[str, str], Action]
) -> Iterator[PublishedDefect]:
    for defect, fingerprint in zip(found, _fingerprints(name, found), strict=True):
        yield PublishedDefect(
            place=defect.place,
            rule=defect.rule,
            what=defect.what,
            fingerprint=fingerprint,
            answered_by=answers.get(defect.key),
        )


def _fingerprints(name: str, found: Iterable[_Found]) -> Iterator[str]:
    """Of the place and the rule, and not of the words, which may become better; the second there has a 2."""
    seen: dict[tuple[str, str], int] = {}
    for defect in found:
        known = seen[defect.place, defect.rule] = seen.get((defect.place, defect.rule), 0) + 1
        told = "\n".join((name, defect.place, defect.rule, *([str(known)] if known > 1 else ())))
        yield hashlib.sha256(told.encode()).hexdigest()[:16]


def _invalid(document: dict[str, Any]) -> Iterator[_Found]:
    for place, what in broken_references(document).items():
        yield _Found(place, "reference", what)
    version = document.get("openapi", "3.1")
    for place, message in invalid_places(document):
        yield _Found(place, "openapi", f"not valid OpenAPI {version}: {message}")


def _defects(published: dict[str, Any]) -> Iterator[_Found]:
    document = without_broken_references(published)
    for index, server in enumerate(document.get("servers", ())):
        if not server.get("url"):
            yield _Found(f"/servers/{index}", "server-address", "the server has no address")
    for path, item in document.get("paths", {}).items():
        yield from _path_defects(document, item, f"/paths/{escaped(path)}")
    for kind, of_kind in _COMPONENTS.items():
        for name, component in document.get("components", {}).get(kind, {}).items():
            yield from of_kind(document, component, f"/components/{kind}/{escaped(name)}")


def _path_defects(document: dict[str, Any], item: dict[str, Any], place: str) -> Iterator[_Found]:
    for index, parameter in enumerate(item.get("parameters", ())):
        yield from _parameter_defects(document, parameter, f"{place}/parameters/{index}")
    for method in _METHODS:
        if method in item:
            yield from _operation_defects(document, item[method], f"{place}/{method}")


def _operation_defects(document: dict[str, Any], operation: dict[str, Any], place: str) -> Iterator[_Found]:
    if "operationId" not in operation:
        yield _Found(place, "operation-id", "the operation has no operationId")
    for index, parameter in enumerate(operation.get("parameters", ())):
        yield from _parameter_defects(document, parameter, f"{place}/parameters/{index}")
    if "requestBody" in operation:
        yield from _body_defects(document, operation["requestBody"], f"{place}/requestBody")
    responses = operation.get("responses", {})
    if all(status.startswith("2") for status in responses):
        yield _Found(f"{place}/responses", "refusals", "no refusal is declared")
    for status, response in responses.items():
        yield from _response_defects(document, response, f"{place}/responses/{status}")


# What is a reference only has nothing of its own: a component is looked at once, where it stands.


def _parameter_defects(document: dict[str, Any], parameter: dict[str, Any], place: str) -> Iterator[_Found]:
    """Those of a parameter or a header, whose schema may stand within a media type."""
    yield from _content_defects(document, parameter, place)
    for media_type, content in parameter.get("content", {}).items():
        yield from _content_defects(document, content, f"{place}/content/{escaped(media_type)}")


def _body_defects(document: dict[str, Any], body: dict[str, Any], place: str) -> Iterator[_Found]:
    for media_type, content in body.get("content", {}).items():
        schema = resolved(document, content.get("schema", {}))
        if schema.get("required") and not body.get("required"):
            yield _Found(place, "body-required", "fields are required, the body is not")
        yield from _content_defects(document, content, f"{place}/content/{escaped(media_type)}")


def _response_defects(document: dict[str, Any], response: dict[str, Any], place: str) -> Iterator[_Found]:
    for name, header in response.get("headers", {}).items():
        yield from _parameter_defects(document, header, f"{place}/headers/{escaped(name)}")
    for media_type, content in response.get("content", {}).items():
        here = f"{place}/content/{escaped(media_type)}"
        if resolved(document, content.get("schema", {})).get("const") == "":
            yield _Found(here, "empty-body", "an empty body is described as a JSON string")
        yield from _content_defects(document, content, here)


def _content_defects(document: dict[str, Any], content: dict[str, Any], place: str) -> Iterator[_Found]:
    """Those of the examples of a body or a parameter, and of the schema itself."""
    schema = content.get("schema")
    if schema is None:
        return
    if "example" in content:
        yield from _example_defects(document, schema, content["example"], f"{place}/example")
    named = content.get("examples")
    for name, example in (named if isinstance(named, dict) else {}).items():
        told = resolved(document, example)
        if "value" in told:
            here = f"{place}/examples/{escaped(name)}/value"
            yield from _example_defects(document, schema, told["value"], here)
    yield from _schema_defects(document, schema, f"{place}/schema")


def _schema_defects(document: dict[str, Any], schema: Any, place: str) -> Iterator[_Found]:
    """Those of the examples and defaults that stand within a schema; what it refers to has a place of its own."""
    if not isinstance(schema, dict):
        return
    for word in ("example", "default"):
        if word in schema:
            yield from _example_defects(document, schema, schema[word], f"{place}/{word}")
    listed = schema.get("examples")
    for index, example in enumerate(listed if isinstance(listed, list) else ()):
        yield from _example_defects(document, schema, example, f"{place}/examples/{index}")
    for word in ("properties", "patternProperties"):
        for name, child in schema.get(word, {}).items():
            yield from _schema_defects(document, child, f"{place}/{word}/{escaped(name)}")
    for word in ("items", "additionalProperties", "if", "then", "else", "not"):
        yield from _schema_defects(document, schema.get(word), f"{place}/{word}")
    for word in ("allOf", "anyOf", "oneOf"):
        for index, child in enumerate(schema.get(word, ())):
            yield from _schema_defects(document, child, f"{place}/{word}/{index}")


def _example_defects(document: dict[str, Any], schema: Any, example: Any, place: str) -> Iterator[_Found]:
    is_30 = str(document.get("openapi", "")).startswith("3.0")
    known: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
    validator = (OAS30Validator if is_30 else OAS31Validator)({**document, **known})
    for error in validator.iter_errors(example):
        at = "/".join(str(part) for part in error.absolute_path)
        here = pointer(error.absolute_path)
        what = f"breaks its own schema at /{at}: {error.message[:120]}"
        yield _Found(f"{place}{here}", f"example-{error.validator}", what)
    for unknown in Fields(document).unknown(schema, example):
        here = pointer(unknown)
        what = f"shows the field {'.'.join(map(str, unknown))}, which the schema does not know"
        yield _Found(f"{place}{here}", "example-field", what)


_COMPONENTS: Final[Mapping[str, Callable[[dict[str, Any], Any, str], Iterator[_Found]]]] = {
    "schemas": _schema_defects,
    "parameters": _parameter_defects,
    "headers": _parameter_defects,
    "requestBodies": _body_defects,
    "responses": _response_defects,
    "pathItems": _path_defects,
}
