"""Requests and answers held against a document at any stage of its correction, valid OpenAPI or not."""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec
from jsonschema.exceptions import ValidationError
from openapi_schema_validator import OAS30Validator, OAS31Validator
from referencing.exceptions import Unresolvable

from loyalty_gateway.spec.references import resolved
from loyalty_gateway.vendor import Answer

_MOST_FINDINGS: Final = 50
_DIGITS: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_CONSTRAINTS: Final = {
    *("type", "enum", "const", "required", "not", "anyOf", "oneOf", "pattern", "format", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems", "uniqueItems"),
}
_DEEPEST: Final = 12
_ANYTHING: Final[Any] = object()


class Finding(msgspec.Struct, frozen=True, order=True):
    """One constraint that is not kept: ``aspect`` of the message, the place in it, and the constraint.

    Of an answer the aspects are ``status``, ``media type``, ``headers`` and ``body``; of a request ``path``,
    ``query``, ``header`` and ``body``.
    """

    aspect: str
    place: str
    constraint: str

    def __str__(self) -> str:
        return f"{self.aspect}{self.place and f' {self.place}'}: {self.constraint}"


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """A request without its credentials, ``body`` parsed, ``UNSET`` for none; header names are in lower case."""

    path_values: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    media_type: str = ""
    body: Any = msgspec.UNSET


def as_text(value: Any) -> str:
    """How a value stands in a path, a query or a header."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case list() if len(value) == 1:
            return as_text(value[0])
        case _:
            return msgspec.json.encode(value).decode()


class Judge:
    """What one stage of a document says; operations are found by method and published path."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._components = document.get("components", {})
        is_30 = str(document.get("openapi", "")).startswith("3.0")
        self._validator = OAS30Validator if is_30 else OAS31Validator
        self._made: dict[int, tuple[Any, Any]] = {}

    def knows(self, method: str, template: str) -> bool:
        """Whether the document has the operation."""
        return self._operation(method, template) is not None

    def statuses(self, method: str, template: str) -> frozenset[str]:
        """The declared statuses of an operation."""
        return frozenset((self._operation(method, template) or {}).get("responses", ()))

    def of_request(self, method: str, template: str, spoken: Spoken) -> tuple[Finding, ...]:
        """What the request does not keep."""
        return tuple(sorted(set(islice(self._of_request(method, template, spoken), _MOST_FINDINGS))))

    def _of_request(self, method: str, template: str, spoken: Spoken) -> Iterator[Finding]:
        operation = self._operation(method, template)
        if operation is None:
            return
        values = {"path": spoken.path_values, "query": spoken.query, "header": spoken.headers}
        for parameter in self._parameters(template, operation):
            name, place = parameter["name"], parameter["in"]
            given = values.get(place, {}).get(name.lower() if place == "header" else name)
            schema = parameter.get("schema", {})
            if given is not None:
                yield from self._broken(schema, self._meant(schema, given), place, name)
            elif parameter.get("required"):
                yield Finding(place, name, "required")
        body = resolved(self._document, operation.get("requestBody", {}))
        content = body.get("content", {})
        if spoken.body is msgspec.UNSET:
            if body.get("required"):
                yield Finding("body", "", "required")
        elif content and spoken.media_type not in content:
            yield Finding("body", "", "media type")
        elif content:
            yield from self._broken(content[spoken.media_type].get("schema", {}), spoken.body, "body", "")

    def of_answer(self, method: str, template: str, answer: Answer) -> tuple[Finding, ...]:
        """What the answer does not keep."""
        return self.judged_answer(method, template, answer)[0]

    def judged_answer(
        self, method: str, template: str, answer: Answer
    ) -> tuple[tuple[Finding, ...], frozenset[str]]:
        """What the answer does not keep, and the aspects of it of which the document says anything."""
        reached = {"status"}
        found = set(islice(self._of_answer(method, template, answer, reached), _MOST_FINDINGS))
        return tuple(sorted(found)), frozenset(reached)

    def _of_answer(self, method: str, template: str, answer: Answer, reached: set[str]) -> Iterator[Finding]:
        status = answer.status
        response = self._response(method, template, status)
        if response is None:
            yield Finding("status", "", f"{status} is not declared")
            return
        for name, header in response.get("headers", {}).items():
            reached.add("headers")
            yield from self._of_header(name, resolved(self._document, header), answer.headers.get(name.lower()))
        content = response.get("content", {})
        is_empty = answer.text is None and answer.body is msgspec.UNSET
        if is_empty or not content:
            reached.add("body")
            if content:
                yield Finding("body", f"of {status}", "a declared body is missing")
            elif not is_empty:
                yield Finding("body", f"of {status}", "no body is declared")
            return
        reached.add("media type")
        if answer.media_type not in content:
            yield Finding("media type", f"of {status}", f"is none of {', '.join(content)}")
            return
        reached.add("body")
        value = answer.body if answer.text is None else answer.text
        yield from self._broken(content[answer.media_type].get("schema", {}), value, "body", f"of {status}")

    def _of_header(self, name: str, header: Mapping[str, Any], given: str | None) -> Iterator[Finding]:
        schema = header.get("schema", {})
        if given is not None:
            yield from self._broken(schema, self._meant(schema, given), "headers", name)
        elif header.get("required"):
            yield Finding("headers", name, "required")

    def constraints(self, method: str, template: str) -> frozenset[Finding]:
        """Every constraint of an operation's requests."""
        operation = self._operation(method, template) or {}
        found = set()
        for parameter in self._parameters(template, operation):
            place, name = parameter["in"], parameter["name"]
            if parameter.get("required") and place != "path":
                found.add(Finding(place, name, "required"))
            found |= set(self._constraints(parameter.get("schema", {}), place, name))
        for content in resolved(self._document, operation.get("requestBody", {})).get("content", {}).values():
            found |= set(self._constraints(content.get("schema", {}), "body", ""))
        return frozenset(found)

    def answer_constraints(
        self, method: str, template: str, status: int, answer: Answer | None = None
    ) -> frozenset[Finding]:
        """Every constraint of an operation's answers with that status, or those that one was held against."""
        response = self._response(method, template, status) or {}
        found = set()
        for name, header in response.get("headers", {}).items():
            if answer is None or name.lower() in answer.headers:
                found |= set(
                    self._constraints(resolved(self._document, header).get("schema", {}), "headers", name)
                )
        value: Any = _ANYTHING
        if answer is not None:
            value = answer.body if answer.text is None else answer.text
        for media_type, content in response.get("content", {}).items():
            if answer is None or (media_type == answer.media_type and value is not msgspec.UNSET):
                found |= set(self._constraints(content.get("schema", {}), "body", f"of {status} ", value))
        return frozenset(found)

    def _constraints(
        self, schema: Any, aspect: str, place: str, value: Any = _ANYTHING, depth: int = 0
    ) -> Iterator[Finding]:
        """The constraints of a schema, only those that the value meets where one is given."""
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return
        schema = resolved(self._document, schema)
        yield from (Finding(aspect, place.strip(), keyword) for keyword in schema if keyword in _CONSTRAINTS)
        if schema.get("additionalProperties") is False:
            yield Finding(aspect, place.strip(), "additionalProperties")
        below = [
            (child, f"{place}/{name}", _ANYTHING if value is _ANYTHING else value[name])
            for name, child in schema.get("properties", {}).items()
            if value is _ANYTHING or (isinstance(value, Mapping) and name in value)
        ]
        elements = [_ANYTHING] if value is _ANYTHING else value if isinstance(value, list) else []
        below += [(schema.get("items"), f"{place}/*", element) for element in elements]
        below += [(child, place, value) for child in (*schema.get("allOf", ()), *self._chosen(schema, value))]
        for child, where, given in below:
            yield from self._constraints(child, aspect, where, given, depth + 1)

    def _chosen(self, schema: dict[str, Any], value: Any) -> tuple[Any, ...]:
        """What the schema asks of a value beyond its condition: both ways where none is given."""
        if value is _ANYTHING or "if" not in schema:
            return schema.get("then"), schema.get("else")
        return (schema.get("then" if self._compiled(schema["if"]).is_valid(value) else "else"),)

    def _operation(self, method: str, template: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._document.get("paths", {}).get(template, {}).get(method.lower())
        return found

    def _response(self, method: str, template: str, status: int) -> dict[str, Any] | None:
        responses = (self._operation(method, template) or {}).get("responses", {})
        declared = responses.get(str(status)) or responses.get(f"{status // 100}XX") or responses.get("default")
        return None if declared is None else resolved(self._document, declared)

    def _parameters(self, template: str, operation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        shared = self._document.get("paths", {}).get(template, {}).get("parameters", ())
        yield from (
            resolved(self._document, parameter) for parameter in (*shared, *operation.get("parameters", ()))
        )

    def _broken(self, schema: dict[str, Any], value: Any, aspect: str, place: str) -> Iterator[Finding]:
        try:
            errors = list(islice(self._compiled(schema).iter_errors(value), _MOST_FINDINGS))
        except Unresolvable:
            return
        for error in errors:
            assert isinstance(error, ValidationError)
            steps = "".join(f"/{'*' if isinstance(step, int) else step}" for step in error.absolute_path)
            yield Finding(aspect, f"{place} {steps}".strip() if aspect == "body" else place, str(error.validator))

    def _compiled(self, schema: dict[str, Any]) -> Any:
        # The schema is kept beside its validator, so that no other one can have its identity.
        made = self._made.get(id(schema))
        if made is None:
            root = {"components": self._components, "allOf": [schema]}
            validator = self._validator(root, format_checker=self._validator.FORMAT_CHECKER)
            made = self._made[id(schema)] = (schema, validator)
        return made[1]

    def _meant(self, schema: dict[str, Any], text: str) -> Any:
        """What text in a parameter or header stands for, by the types that its schema allows."""
        kinds = set(self._kinds(schema, 0))
        if "array" in kinds:
            return [text]
        if "integer" in kinds and _DIGITS.fullmatch(text):
            return int(text)
        if "number" in kinds and _NUMBER.fullmatch(text):
            return float(text)
        return text == "true" if "boolean" in kinds and text in {"true", "false"} else text

    def _kinds(self, schema: Any, depth: int) -> Iterator[str]:
        schema = resolved(self._document, schema) if isinstance(schema, dict) else {}
        kind = schema.get("type", ())
        yield from (kind,) if isinstance(kind, str) else kind
        if depth < _DEEPEST:
            for word in ("allOf", "anyOf", "oneOf"):
                for child in schema.get(word, ()):
                    yield from self._kinds(child, depth + 1)
