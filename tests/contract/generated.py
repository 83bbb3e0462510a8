"""Requests made from a vendor's spec: those it admits, those one step beside it, and the caller's credentials."""

import base64
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import hypothesis
import jsonschema
import msgspec
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode

from loyalty_gateway.body import parse_json
from loyalty_gateway.problem import Violation
from loyalty_gateway.spec import Contract
from loyalty_gateway.spec.contract import Requirement
from loyalty_gateway.spec.references import resolved
from loyalty_gateway.vendor import Operation, Request, ValidRequest, Vendor

Schema = dict[str, Any]
Path = tuple[str | int, ...]
Choose = Callable[[Schema], list[Schema]]

_OURS = {"idempotency-key", "accept-language"}
_WORDS = (
    "6789012345",
    "748394059",
    "0",
    "0007",
    "jane@example.com",
    "Goodwill gesture",
    "x",
    "شكرا",
    "🎁 é\n\t\u2028",
)
_WHOLE = (1, 2, 7, 100, 999, 1_000_000, -1, -250)
_FORMATS = {"date-time": "2026-01-15T10:30:00Z", "date": "1990-05-17", "email": "jane@example.com"}
_FAR = (2**31 - 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**20, -(10**30))


class Token(str):
    """A piece of JSON text that is written as it stands, for numbers that Python would write otherwise."""

    __slots__ = ()


_ODD: tuple[Any, ...] = (
    *(
        0,
        1,
        -1,
        5.0,
        5.5,
        1e20,
        -0.0,
        1e308,
        2**31,
        -(2**31) - 1,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        10**30,
        -(10**30),
    ),
    *(Token("1e2"), Token("1E+2"), Token("-0"), Token("5.000"), Token("1.0000000000000000001"), Token("5e-1")),
    *(
        Token("9007199254740993.0"),
        Token("0.99999999999999999999"),
        Token("1e400"),
        Token("18446744073709551616.0"),
    ),
    *(True, False, None, "", " ", "5", "5\n", "\n5", "-5", "5.0", "٥", "²", "true", "false", "plus", "Plus"),
    *("a\u0000b", "é", "e\u0301", "🎁", "\u2028", "\ufeff", "x" * 300, [], {}, [[]], [{}], {"": None}, [None]),
    *([1, 1.0, True], {"a": {"b": [1, {"c": None}]}}, [5.0, "5", 5], Token('"\\ud800"'), Token('"\\u0000"')),
)


class Sent(NamedTuple):
    """A request without its credentials; ``body`` is a JSON value, if there is a ``media_type`` for one."""

    path_values: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    media_type: str
    body: Any

    @property
    def raw(self) -> bytes:
        return encode(self.body).encode("utf-8", "surrogatepass") if self.media_type else b""


class Carried(NamedTuple):
    """Credentials on their way: in headers, query and path."""

    headers: dict[str, str]
    query: dict[str, str]
    path_values: dict[str, str]


class Subject:
    """One operation of one vendor, with the requests that its spec admits."""

    def __init__(self, vendor: Vendor, operation: Operation, contract: Contract) -> None:
        self.vendor = vendor
        self.operation = operation
        self.document = contract.document.corrected
        self.whole_contract = contract
        self.contract = contract.operations[operation.id]
        self.options = msgspec.convert({}, vendor.options)
        self._definition = _definition(self.document, operation.id)
        body = resolved(self.document, self._definition.get("requestBody", {}))
        self.schemas: dict[str, Schema] = {
            media_type: content.get("schema", {}) for media_type, content in body.get("content", {}).items()
        }
        self.parameters = [
            parameter
            for parameter in (resolved(self.document, given) for given in self._definition.get("parameters", ()))
            if parameter["name"] not in operation.path_credentials
        ]

    @cached_property
    def admitted(self) -> list[Sent]:
        """Requests that the spec admits, the same ones in each run: schemathesis' and this module's own."""
        chance = random.Random(self.operation.id)
        own = (self.near_valid(chance) for _ in range(400))
        return [*self.schemathesis(25), *(sent for sent in own if self.is_valid(sent))][:160]

    def schemathesis(self, count: int) -> list[Sent]:
        """Requests that schemathesis generates as valid ones."""
        found: list[Sent] = []
        names = {parameter["name"] for parameter in self.parameters} - {"Idempotency-Key"}
        required = {
            parameter["name"]
            for parameter in self.parameters
            if parameter.get("required") and parameter["in"] == "query"
        }
        schema = schemathesis.openapi.from_dict(self.document)
        cases = schema.find_operation_by_id(self.operation.id).as_strategy(generation_mode=GenerationMode.POSITIVE)

        @hypothesis.settings(
            max_examples=count,
            database=None,
            derandomize=True,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=tuple(HealthCheck),
        )
        @hypothesis.given(case=cases)
        def collect(case: schemathesis.Case[Any]) -> None:
            headers = {name: value for name, value in (case.headers or {}).items() if name in names and value}
            query = {
                name: text(value) for name, value in (case.query or {}).items() if name in names and value != ""
            }
            if not required <= set(query):
                # Empty text, which on the wire is no value at all.
                return
            found.append(
                Sent(
                    path_values={
                        name: text(value) for name, value in (case.path_parameters or {}).items() if name in names
                    },
                    query=query,
                    headers={name.lower(): value for name, value in headers.items()},
                    media_type=(case.media_type or next(iter(self.schemas))) if self.schemas else "",
                    body=case.body,
                )
            )

        collect()
        return found

    def near_valid(self, chance: random.Random) -> Sent:
        """A request that is meant to be valid, and is in most cases."""
        media_type = chance.choice(sorted(self.schemas)) if self.schemas else ""
        values: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
        for parameter in self.parameters:
            name = parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
            if name not in _OURS and (parameter.get("required") or chance.random() < 0.5):
                value = made(self.document, parameter.get("schema", {}), chance)
                values[parameter["in"]][name] = text(value).replace("/", "-")
        return Sent(
            path_values=values["path"],
            query=values["query"],
            headers=values["header"],
            media_type=media_type,
            body=made(self.document, self.schemas[media_type], chance) if self.schemas else None,
        )

    def beside(self, chance: random.Random) -> Sent:
        """A request up to three changes of its body away from a valid one."""
        sent = self.near_valid(chance)
        if chance.random() < 0.03:
            return sent._replace(body=chance.choice(_ODD))
        body = sent.body
        hints = [*_ODD, *_boundaries(self.document, self.schemas[sent.media_type])]
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            body = _changed(body, chance, hints)
        return sent._replace(body=body)

    def is_valid(self, sent: Sent) -> bool:
        """Whether the request is valid by JSON Schema alone, the gateway's own validators not asked."""
        places = {"path": sent.path_values, "query": sent.query, "header": sent.headers}
        return all(
            self.is_valid_text(parameter.get("schema", {}), places[parameter["in"]][name])
            for parameter in self.parameters
            if (name := _key(parameter)) in places[parameter["in"]]
        ) and (not self.schemas or _is_valid(self.document, self.schemas[sent.media_type], sent.body))

    def is_valid_text(self, schema: Schema, value: str) -> bool:
        """Whether a parameter's text is valid, numbers and truth in their usual spelling."""
        kinds = _types(list(_layers(self.document, schema, _every_branch)))
        if "integer" in kinds and re.fullmatch(r"-?[0-9]+", value):
            return _is_valid(self.document, schema, int(value))
        if "boolean" in kinds and value in {"true", "false"}:
            return _is_valid(self.document, schema, value == "true")
        return _is_valid(self.document, schema, value)

    def odd_values(self, parameter: Schema) -> list[str]:
        """Text at which the parameter's constraints turn."""
        return [text(value) for value in _boundaries(self.document, parameter.get("schema", {}))]

    def published_fields(self) -> set[Path]:
        """Every field of a request: of the body with its wrappers, and the parameters that are the vendor's."""
        fields = {path for schema in self.schemas.values() for path in _fields(self.document, schema, ())}
        return fields | {
            (parameter["name"],) for parameter in self.parameters if parameter["name"].lower() not in _OURS
        }

    @cached_property
    def forbidden(self) -> list[tuple[str, Path, Sent, tuple[Violation, ...]]]:
        """Requests with one constraint broken, where, and what the gateway finds wrong with them."""
        return [
            (location, path, sent, self.violations(sent))
            for location, path, sent in (*self._with_broken_bodies(), *self._with_broken_parameters())
        ]

    def _with_broken_bodies(self) -> Iterator[tuple[str, Path, Sent]]:
        found: dict[tuple[str, Path, str], Sent] = {}
        for sent in self.admitted[::8] if self.schemas else ():
            for path, value in _broken(self.document, self.schemas[sent.media_type], sent.body, ()):
                wrong = "left out" if value is ... else encode(value)
                found.setdefault(
                    (sent.media_type, path, wrong), sent._replace(body=_replaced(sent.body, path, value))
                )
        yield from (("body", path, sent) for (_, path, _), sent in found.items())

    def _with_broken_parameters(self) -> Iterator[tuple[str, Path, Sent]]:
        sent = self.admitted[0]
        for parameter in self.parameters:
            if (name := _key(parameter)) in _OURS or parameter["in"] == "header":
                continue
            field = "path_values" if parameter["in"] == "path" else "query"
            for wrong in self._wrong_texts(parameter):
                values = getattr(sent, field) | {name: wrong}
                yield parameter["in"], (name,), sent._replace(**{field: values})
            if parameter.get("required") and parameter["in"] == "query":
                values = {key: value for key, value in sent.query.items() if key != name}
                yield "query", (name,), sent._replace(query=values)

    def _wrong_texts(self, parameter: Schema) -> Iterator[str]:
        schema = parameter.get("schema", {})
        for layer in _layers(self.document, schema, _every_branch):
            candidates = [text(value) for value in _wrong_values(layer) if isinstance(value, int | str)]
            candidates += ["yesterday"] if layer.get("format") in {"date", "date-time"} else []
            candidates += [" ", "-"] if "pattern" in layer else []
            candidates += ["x", "1.5"] if "integer" in _types([layer]) else []
            yield from (wrong for wrong in candidates if wrong and not self.is_valid_text(schema, wrong))

    def request(self, sent: Sent, requirement: Requirement | None = None) -> Request:
        """The request as the gateway has it once its caller is known."""
        carried = self.carried(requirement or self.contract.requirements[0])
        return Request(
            vendor=self.vendor,
            operation=self.operation,
            method=self.contract.method,
            path_values={**carried.path_values, **sent.path_values},
            query={**carried.query, **sent.query},
            headers={**carried.headers, **sent.headers, "content-type": sent.media_type},
            options=self.options,
        )

    def valid_request(self, sent: Sent) -> ValidRequest:
        """The request as a translator gets it."""
        request = self.request(sent)
        return ValidRequest(
            url=f"http://127.0.0.1:8000/{self.vendor.name}{self.contract.path}",
            path_values=request.path_values,
            query=request.query,
            headers=request.headers,
            options=request.options,
            body=parse_json(sent.raw) if sent.raw else None,
        )

    def sent(self, request: ValidRequest) -> Sent:
        """A request of ours, as it is sent."""
        media_type = next(iter(self.schemas)) if request.body is not None else ""
        return Sent(request.path_values, request.query, request.headers, media_type, request.body)

    def violations(self, sent: Sent) -> tuple[Violation, ...]:
        body = parse_json(sent.raw) if sent.raw else None
        return self.contract.violations(self.request(sent), sent.media_type, sent.raw, body)

    def form(self, requirement: Requirement) -> tuple[str, ...]:
        """The fields of a credential that this requirement asks for."""
        fields = self.vendor.credential_fields
        names = [name for scheme in requirement.schemes for name in fields[scheme.name].split(":")]
        return (*self.operation.path_credentials, *names)

    def carried(self, requirement: Requirement, fields: Mapping[str, str] | None = None) -> Carried:
        """A credential where its schemes put it; without ``fields`` one of placeholders."""
        fields = fields or dict.fromkeys(self.form(requirement), "placeholder")
        carried = Carried({}, {}, {name: fields[name] for name in self.operation.path_credentials})
        for scheme in requirement.schemes:
            value = ":".join(fields[name] for name in self.vendor.credential_fields[scheme.name].split(":"))
            match scheme.kind:
                case "header":
                    carried.headers[scheme.key] = value
                case "query":
                    carried.query[scheme.key] = value
                case "bearer":
                    carried.headers["authorization"] = f"Bearer {value}"
                case _:
                    carried.headers["authorization"] = f"Basic {base64.b64encode(value.encode()).decode()}"
        return carried

    def url(self, sent: Sent, carried: Carried) -> str:
        """The path and query below the gateway's address."""
        values = {**carried.path_values, **sent.path_values}
        path = re.sub(r"\{([^}]+)\}", lambda match: quote(values[match[1]], safe=""), self.contract.path)
        query = urlencode({**carried.query, **sent.query})
        return f"/{self.vendor.name}{path}" + (f"?{query}" if query else "")


def text(value: Any) -> str:
    """A JSON value as it stands in a path or query."""
    return value if isinstance(value, str) else encode(value)


def _key(parameter: Schema) -> str:
    name: str = parameter["name"]
    return name.lower() if parameter["in"] == "header" else name


def encode(value: Any) -> str:
    """JSON text, tokens as they stand."""
    match value:
        case Token():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)}: {encode(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(encode, value)) + "]"
        case _:
            return json.dumps(value)


def made(document: Schema, schema: Schema, chance: random.Random) -> Any:  # noqa: PLR0911 - one for each type
    """A value for the schema: valid unless its constraints depend on each other in unusual ways."""
    found = list(_layers(document, schema, lambda layer: _one_branch(layer, chance)))
    for layer in found:
        if "const" in layer:
            return layer["const"]
    if enums := [layer["enum"] for layer in found if "enum" in layer]:
        return chance.choice([value for value in enums[-1] if all(value in enum for enum in enums)])
    match chance.choice(
        _types(found) or ["object" if any("properties" in layer for layer in found) else "string"]
    ):
        case "object":
            return _made_object(document, found, chance)
        case "array":
            least = max(layer.get("minItems", 0) for layer in found)
            most = min(layer.get("maxItems", least + 2) for layer in found)
            items = {"allOf": [layer["items"] for layer in found if "items" in layer]}
            return [made(document, items, chance) for _ in range(min(least + chance.randrange(3), most))]
        case "integer":
            return _made_number(found, chance)
        case "number":
            return _made_number(found, chance) + chance.choice((0, 0, 0.5))
        case "boolean":
            return chance.random() < 0.5
        case "null":
            return None
        case _:
            return _made_text(found, chance)


def _made_object(document: Schema, found: list[Schema], chance: random.Random) -> dict[str, Any]:
    properties: dict[str, list[Schema]] = {}
    for layer in found:
        for name, schema in layer.get("properties", {}).items():
            properties.setdefault(name, []).append(schema)
    required = {name for layer in found for name in layer.get("required", ())}
    for name in [name for name, schemas in properties.items() if {"not": {}} in schemas]:
        properties.pop(name)
    # Now and then hardly any field, so that each optional one stands alone at times.
    fullness = chance.choice((0.1, 0.5, 0.5, 0.8))
    value = {
        name: made(document, {"allOf": properties.get(name, [])}, chance)
        for name in [*properties, *sorted(required - set(properties))]
        if name in required or chance.random() < fullness
    }
    if chance.random() < 0.2 and not any(layer.get("additionalProperties") is False for layer in found):
        value["unheard_of"] = chance.choice((1, "x", None, [], {}))
    return value


def _made_number(found: list[Schema], chance: random.Random) -> Any:
    least = max((layer["minimum"] for layer in found if "minimum" in layer), default=None)
    most = min((layer["maximum"] for layer in found if "maximum" in layer), default=None)
    wanted = [value for value in (least, most) if value is not None] + [*_WHOLE, *_WHOLE, *_FAR]
    fitting = [value for value in wanted if (least is None or value >= least) and (most is None or value <= most)]
    value = chance.choice(fitting)
    return float(value) if abs(value) < 2**53 and chance.random() < 0.15 else value


def _made_text(found: list[Schema], chance: random.Random) -> str:
    for layer in found:
        if layer.get("format") in _FORMATS:
            return _FORMATS[layer["format"]]
    patterns = [layer["pattern"] for layer in found if "pattern" in layer]
    least = max(layer.get("minLength", 0) for layer in found)
    most = min(layer.get("maxLength", 10_000) for layer in found)
    fitting = [
        word.ljust(least, "1")[:most] for word in _WORDS if all(re.search(pattern, word) for pattern in patterns)
    ]
    # Where no word fits, whoever asked finds the value invalid.
    return chance.choice(fitting or ["no word fits"])


def _layers(document: Schema, schema: Schema, choose: Choose) -> Iterator[Schema]:
    """The schemas that hold for one value: the schema, what it refers to, its parts and chosen branches."""
    yield schema
    for part in (
        *([resolved(document, schema)] if "$ref" in schema else ()),
        *schema.get("allOf", ()),
        *choose(schema),
    ):
        yield from _layers(document, part, choose)


def _one_branch(schema: Schema, chance: random.Random) -> list[Schema]:
    chosen = [chance.choice(schema[key]) for key in ("anyOf", "oneOf") if key in schema]
    if "if" in schema:
        chosen += chance.choice(([schema["if"], schema.get("then", {})], [schema.get("else", {})]))
    return chosen


def _every_branch(schema: Schema) -> list[Schema]:
    conditional = [schema[key] for key in ("if", "then", "else") if key in schema]
    return [*conditional, *schema.get("anyOf", ()), *schema.get("oneOf", ())]


def _fields(document: Schema, schema: Schema, prefix: Path) -> Iterator[Path]:
    for layer in _layers(document, schema, _every_branch):
        for name, below in layer.get("properties", {}).items():
            yield (*prefix, name)
            yield from _fields(document, below, (*prefix, name))
        if "items" in layer:
            yield from _fields(document, layer["items"], (*prefix, "*"))


def _broken(document: Schema, schema: Schema, value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Places in a valid value with what is not valid there; ``Ellipsis`` is for what has to be left out."""

    def holding(layer: Schema) -> list[Schema]:
        if "if" not in layer:
            return []
        return [layer.get("then" if _is_valid(document, layer["if"], value) else "else", {})]

    found = list(_layers(document, schema, holding))
    # Without a field that an `if` asks for, another branch holds, and with it another field is wrong.
    telling = {name for layer in found for name in layer.get("if", {}).get("required", ())}
    for layer in found:
        yield from ((path, wrong) for wrong in _wrong_values(layer))
        if isinstance(value, dict):
            yield from (((*path, name), ...) for name in layer.get("required", ()) if name not in telling)
            if layer.get("additionalProperties") is False:
                yield (*path, "unheard_of"), 1
            for name in value.keys() & layer.get("properties", {}).keys():
                yield from _broken(document, layer["properties"][name], value[name], (*path, name))


def _wrong_values(layer: Schema) -> Iterator[Any]:
    if types := _types([layer]):
        examples = {"object": {}, "array": [], "string": "x", "boolean": True, "null": None, "number": 1.5}
        yield from (example for kind, example in examples.items() if kind not in types)
    if "minimum" in layer:
        yield layer["minimum"] - 1
    if "maximum" in layer:
        yield layer["maximum"] + 1
    if "enum" in layer:
        yield "none of these"
    if layer.get("minItems"):
        yield []
    if layer.get("maxItems", 0) and layer.get("type") == "array":
        yield [0] * (layer["maxItems"] + 1)
    if "maxLength" in layer:
        yield "1" * (layer["maxLength"] + 1)


def _replaced(body: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    copy = body.copy()
    if len(path) == 1 and value is ...:
        copy.pop(path[0])
    elif len(path) == 1:
        copy[path[0]] = value
    else:
        copy[path[0]] = _replaced(body[path[0]], path[1:], value)
    return copy


def _changed(body: Any, chance: random.Random, hints: list[Any]) -> Any:
    """The value with one thing in it replaced, left out, added or wrapped."""
    if isinstance(body, (dict, list)) and body and chance.random() < 0.85:
        keys: list[Any] = list(body) if isinstance(body, dict) else list(range(len(body)))
        key = chance.choice(keys)
        copy: Any = body.copy()
        match chance.randrange(6):
            case 0:
                copy.pop(key)
            case 1 if isinstance(copy, dict):
                copy[chance.choice(("unheard_of", "", "__proto__", "é", *map(str, keys)))] = chance.choice(hints)
            case 1:
                copy.append(chance.choice(hints))
            case _:
                copy[key] = _changed(body[key], chance, hints)
        return copy
    return chance.choice((chance.choice(hints), chance.choice(hints), [body], {"data": body}))


def _boundaries(document: Schema, schema: Schema) -> list[Any]:
    """The values at which the schema's constraints turn."""
    found: list[Any] = []
    for layer in _layers(document, schema, _every_branch):
        for bound in (layer[key] for key in ("minimum", "maximum", "const") if key in layer):
            found += [bound, float(bound), bound - 1, bound + 1, bound + 0.5, str(bound)]
        found += [changed for value in layer.get("enum", ()) for changed in (value, str(value).upper(), [value])]
        for below in (*layer.get("properties", {}).values(), *([layer["items"]] if "items" in layer else ())):
            found += _boundaries(document, below)
    return found


def _types(found: list[Schema]) -> list[str]:
    given = [layer["type"] for layer in found if "type" in layer]
    lists = [kinds if isinstance(kinds, list) else [kinds] for kinds in given]
    return [kind for kind in lists[0] if all(kind in kinds for kinds in lists)] if lists else []


def _is_valid(document: Schema, schema: Schema, value: Any) -> bool:
    root = {"components": document.get("components", {}), "allOf": [schema]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return bool(jsonschema.Draft202012Validator(root, format_checker=checker).is_valid(value))


def _definition(document: Schema, operation_id: str) -> Schema:
    """The operation with the parameters of its path."""
    (found,) = (
        operation | {"parameters": [*path_item.get("parameters", ()), *operation.get("parameters", ())]}
        for path_item in document["paths"].values()
        for operation in path_item.values()
        if isinstance(operation, dict) and operation.get("operationId") == operation_id
    )
    return found
