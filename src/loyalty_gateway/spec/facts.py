"""What a document says of an operation's request and answers, place by place."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from loyalty_gateway.spec.references import escaped, meant, resolved

LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
# Of the parts of a schema those that are not walked but compared as a whole.
_WHOLE: Final = (
    "contains",
    "dependentRequired",
    "if",
    "not",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_PLAIN: Final = (*sorted(LOWER | UPPER), "const", "format", "pattern", "multipleOf", "default")
_FLAGS: Final = ("uniqueItems", "deprecated")
WORDS: Final = (*_PLAIN, *_FLAGS, *_WHOLE, "additionalProperties", "style", "explode")

_JSON: Final = "application/json"
_DEEPEST: Final = 24

Facts = dict[str, Any]


def facts_of(document: dict[str, Any], path: str, method: str) -> dict[str, Facts]:
    """What is said of each parameter, media type, header, field and status of the operation, by its place."""
    item = document["paths"][path]
    operation = item[method]
    collector = _Collector(document)
    for place in ("request", "request/query", "request/path", "request/header", "request/cookie"):
        collector.told[place] = {"required": False}
    for one in (*item.get("parameters", ()), *operation.get("parameters", ())):
        parameter = resolved(document, one)
        collector.parameter(parameter, f"request/{parameter['in']}", parameter["name"])
    body = resolved(document, operation.get("requestBody"))
    collector.bodies(body, "request", required=bool(body.get("required")))
    for status, one in operation.get("responses", {}).items():
        response = resolved(document, one)
        where = f"answer {status}"
        for place in (where, f"{where}/header"):
            collector.told[place] = {"required": False}
        for name, header in response.get("headers", {}).items():
            collector.parameter(resolved(document, header), f"{where}/header", name)
        collector.bodies(response, where, required=False)
    return collector.told


class _Collector:
    """Gathers in ``told`` what a document says, by place."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.told: dict[str, Facts] = {}

    def parameter(self, parameter: Mapping[str, Any], above: str, name: str) -> None:
        """A parameter, or a header, whose name is the same in whatever case."""
        is_header = above.endswith("/header")
        where = f"{above}/{escaped(name.lower() if is_header else name)}"
        contents = (parameter, *parameter.get("content", {}).values())
        schemas = [one["schema"] for one in contents if "schema" in one]
        self.values(schemas, where, required=bool(parameter.get("required")))
        style = parameter.get("style", "simple" if is_header or above.endswith("/path") else "form")
        self.told[where] |= {"style": style, "explode": parameter.get("explode", style == "form")}
        if parameter.get("deprecated"):
            self.told[where]["deprecated"] = True

    def bodies(self, holder: Mapping[str, Any], above: str, *, required: bool) -> None:
        """A body of each media type; the place of JSON is ``body``, and any other type is named in it."""
        for told, content in holder.get("content", {}).items():
            # A character set is no other type.
            media_type = told.partition(";")[0].strip()
            where = f"{above}/body" if media_type == _JSON else f"{above}/body {escaped(media_type)}"
            self.values([content.get("schema", {})], where, required=required)
            self.told[where]["media type"] = media_type

    def values(
        self, schemas: Iterable[Any], where: str, *, required: bool, above: frozenset[int] = frozenset()
    ) -> None:
        """What all these schemas say of a value, and of all that is within it; ``above`` are those it is in."""
        layers = [layer for schema in schemas for layer in _layers(self._document, schema)]
        self.told[where] = {"required": required, **dict(_facts(self._document, layers))}
        known = frozenset(map(id, layers))
        # What stands within itself says nothing new further down.
        if known <= above:
            return
        above |= known
        needed = {name for layer in layers for name in layer.get("required", ())}
        fields: dict[str, list[Any]] = {}
        for layer in layers:
            for name, child in layer.get("properties", {}).items():
                fields.setdefault(name, []).append(child)
        for name, children in fields.items():
            self.values(children, f"{where}/{escaped(name)}", required=name in needed, above=above)
        for name, word in (("*", "items"), ("**", "additionalProperties")):
            children = [layer[word] for layer in layers if isinstance(layer.get(word), dict) and layer[word]]
            if children:
                self.values(children, f"{where}/{name}", required=False, above=above)


def _facts(document: dict[str, Any], layers: list[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    types = {str(one) for layer in layers for one in _listed(layer.get("type"))}
    types |= {"null" for layer in layers if layer.get("nullable")}
    if types:
        yield "types", sorted(types)
    words = {str(one) for layer in layers for one in layer.get("enum", ())}
    if words:
        yield "words", sorted(words)
    for layer in layers:
        yield from ((word, layer[word]) for word in _PLAIN if word in layer)
        yield from ((word, True) for word in _FLAGS if layer.get(word))
    for word in _WHOLE:
        parts = [meant(document, layer[word]) for layer in layers if word in layer]
        if parts:
            yield word, parts[0] if len(parts) == 1 else parts
    further = [layer["additionalProperties"] for layer in layers if "additionalProperties" in layer]
    if False in further:
        yield "additionalProperties", False
    elif any(isinstance(one, dict) and one for one in further):
        yield "additionalProperties", "as a schema says"


def _layers(document: dict[str, Any], schema: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The schema and all that speaks of the same value; alternatives are taken together."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    node = resolved(document, schema)
    yield node
    parts: Iterable[Any] = [part for word in ("allOf", "anyOf", "oneOf") for part in node.get(word, ())]
    for part in (*parts, *(node[word] for word in ("then", "else") if word in node)):
        yield from _layers(document, part, depth + 1)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
