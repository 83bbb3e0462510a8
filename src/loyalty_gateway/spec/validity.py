"""Where a document is not valid OpenAPI, as JSON pointers into the document."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import jsonschema_rs
from jsonschema.validators import Draft202012Validator, validator_for
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator
from openapi_spec_validator.schemas import get_schema_content_v30, get_schema_content_v31

from loyalty_gateway.spec.references import broken_references, pointer


class _Yardstick(NamedTuple):
    """A schema for documents. Compiled it tells 200 times as fast that nothing is wrong; the other tells where."""

    quick: Any
    telling: Any

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> "_Yardstick":
        return cls(
            quick=jsonschema_rs.validator_for(dict(schema), validate_formats=False),
            telling=validator_for(schema)(schema),
        )


# To read and compile them takes time that a gateway with documents as shipped has no use for.
_openapi_30 = cache(lambda: _Yardstick.of(get_schema_content_v30()))
_openapi_31 = cache(lambda: _Yardstick.of(get_schema_content_v31()))
_json_schema = cache(lambda: _Yardstick.of(Draft202012Validator.META_SCHEMA))


def invalid_places(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Each place where the document breaks the OpenAPI that it names, with what is wrong there."""
    is_30 = str(document.get("openapi", "")).startswith("3.0")
    # The spec validator tells of an error only the outermost place, or a place within some schema without
    # saying within which, so the schemas that it uses are asked themselves first.
    found = [*_structural(document, (_openapi_30 if is_30 else _openapi_31)())]
    if not found and not is_30:
        found = [*_in_schemas(document, ())]
    # What leads nowhere keeps to the schemas, and is told by `broken_references`; the validator would follow it.
    if not found and not broken_references(document):
        validator = (OpenAPIV30SpecValidator if is_30 else OpenAPIV31SpecValidator)(document)
        found = [(pointer(error.absolute_path) or "/", error.message) for error in validator.iter_errors()]
    return list(dict.fromkeys((place, message.partition("\n")[0][:160]) for place, message in found))


def _structural(node: Any, yardstick: _Yardstick, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, str]]:
    if yardstick.quick.is_valid(node):
        return
    for error in yardstick.telling.iter_errors(node):
        for cause in _deepest(error):
            yield pointer((*above, *cause.absolute_path)) or "/", cause.message


def _in_schemas(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    """Errors within the document's JSON Schemas, which OpenAPI 3.1 leaves to JSON Schema."""
    match node:
        case dict():
            for key, child in node.items():
                if key == "schema" or path == ("components", "schemas"):
                    yield from _structural(child, _json_schema(), (*path, key))
                else:
                    yield from _in_schemas(child, (*path, key))
        case list():
            for index, child in enumerate(node):
                yield from _in_schemas(child, (*path, index))


def _deepest(error: Any) -> Iterator[Any]:
    """The causes below an ``anyOf`` or ``oneOf`` that lie deepest, which is where the mistake stands."""
    causes = [cause for child in error.context or () for cause in _deepest(child)]
    if not causes:
        yield error
        return
    depth = max(len(cause.absolute_path) for cause in causes)
    # That a schema is no reference either is no news.
    yield from (cause for cause in causes if len(cause.absolute_path) == depth and "'$ref'" not in cause.message)
