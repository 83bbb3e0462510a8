"""Which fields of a request or an answer a document knows, also where it lets anything pass."""

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema_rs import Draft202012Validator

from loyalty_gateway.spec.contract import OperationContract
from loyalty_gateway.spec.references import resolved

Step = str | int
Place = tuple[Step, ...]

_NAMING = ("properties", "patternProperties", "additionalProperties")


class Fields:
    """The fields of one document, found by walking its schemas along with a value."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._compiled: dict[int, Draft202012Validator] = {}
        self._queries: dict[str, frozenset[str]] = {}

    def queries(self, operation: OperationContract) -> frozenset[str]:
        """The names of the operation's query fields, those of credentials among them."""
        if operation.id not in self._queries:
            self._queries[operation.id] = frozenset(self._named_queries(operation))
        return self._queries[operation.id]

    def _named_queries(self, operation: OperationContract) -> Iterator[str]:
        path_item = self._document["paths"][operation.template]
        for told in (*path_item.get("parameters", ()), *self._operation(operation).get("parameters", ())):
            parameter = resolved(self._document, told)
            if parameter["in"] == "query":
                yield parameter["name"]
        for needs in operation.requirements:
            yield from (scheme.key for scheme in needs.schemes if scheme.kind == "query")

    def unknown_in_request(self, operation: OperationContract, media_type: str, body: Any) -> list[Place]:
        """The places in a request's body of fields that the document does not know."""
        content = resolved(self._document, self._operation(operation).get("requestBody", {})).get("content", {})
        return self._unknown(content, media_type, body)

    def unknown_in_answer(
        self, operation: OperationContract, status: int, media_type: str, body: Any
    ) -> list[Place]:
        """The places in an answer's body of fields that the document does not know."""
        responses = self._operation(operation)["responses"]
        response = responses.get(str(status)) or responses.get("default") or {}
        return self._unknown(resolved(self._document, response).get("content", {}), media_type, body)

    def _operation(self, operation: OperationContract) -> dict[str, Any]:
        found: dict[str, Any] = self._document["paths"][operation.template][operation.method.lower()]
        return found

    def _unknown(self, content: Mapping[str, Any], media_type: str, body: Any) -> list[Place]:
        return self.unknown(content.get(media_type, {}).get("schema", {}), body)

    def unknown(self, schema: Any, value: Any) -> list[Place]:
        """The places in a value of fields that its schema does not know."""
        return [*self._walk([schema], value, ())]

    def _walk(self, schemas: list[Any], value: Any, place: Place) -> Iterator[Place]:
        match value:
            case dict():
                layers = [layer for schema in schemas for layer in self._layers(schema, value)]
                # An object of which no name is told may have any.
                told = any(layer.get("properties") or layer.get("patternProperties") for layer in layers)
                for name, child in value.items():
                    below = [one for layer in layers for one in self._below(layer, name)]
                    if below:
                        yield from self._walk(below, child, (*place, name))
                    elif told or any(layer.get("additionalProperties") is False for layer in layers):
                        yield (*place, name)
            case list():
                layers = [layer for schema in schemas for layer in self._layers(schema, value)]
                for index, child in enumerate(value):
                    yield from self._walk(_items(layers, index), child, (*place, index))

    def _below(self, layer: Mapping[str, Any], name: str) -> Iterator[Any]:
        known = False
        if name in layer.get("properties", {}):
            known = True
            yield layer["properties"][name]
        for pattern, schema in layer.get("patternProperties", {}).items():
            if Draft202012Validator({"pattern": pattern}).is_valid(name):
                known = True
                yield schema
        further = layer.get("additionalProperties")
        # A schema for further names knows them; that anything may stand there does not.
        if not known and isinstance(further, dict) and further:
            yield further

    def _layers(self, schema: Any, value: Any) -> Iterator[Mapping[str, Any]]:
        """The schema and those within it that speak of the same value; of alternatives the ones it keeps."""
        if not isinstance(schema, dict):
            return
        if "$ref" in schema:
            yield from self._layers(resolved(self._document, schema), value)
        if any(name in schema for name in (*_NAMING, "items", "prefixItems")):
            yield schema
        for part in schema.get("allOf", ()):
            yield from self._layers(part, value)
        for word in ("anyOf", "oneOf"):
            parts = schema.get(word, ())
            for part in [part for part in parts if self._keeps(part, value)] or parts:
                yield from self._layers(part, value)
        if "if" in schema:
            kept = self._keeps(schema["if"], value)
            yield from self._layers(schema["if"] if kept else {}, value)
            yield from self._layers(schema.get("then" if kept else "else", {}), value)

    def _keeps(self, schema: Any, value: Any) -> bool:
        validator = self._compiled.get(id(schema))
        if validator is None:
            whole = {"components": self._document.get("components", {}), "allOf": [schema]}
            validator = self._compiled[id(schema)] = Draft202012Validator(whole)
        return validator.is_valid(value)


def _items(layers: list[Mapping[str, Any]], index: int) -> list[Any]:
    found = []
    for layer in layers:
        fixed = layer.get("prefixItems", ())
        if index < len(fixed):
            found.append(fixed[index])
        elif "items" in layer:
            found.append(layer["items"])
    return found


def without(value: Any, places: list[Place]) -> Any:
    """A copy of the value without what stands at these places."""
    if not places:
        return value
    gone = {place[0] for place in places if len(place) == 1}
    below: dict[Step, list[Place]] = {}
    for place in places:
        if len(place) > 1:
            below.setdefault(place[0], []).append(place[1:])
    match value:
        case dict():
            return {name: without(child, below.get(name, [])) for name, child in value.items() if name not in gone}
        case list():
            return [without(child, below.get(index, [])) for index, child in enumerate(value)]
        case _:
            return value
