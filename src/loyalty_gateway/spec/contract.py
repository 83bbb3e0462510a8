"""A vendor's document compiled, operation by operation: what a request must keep and an answer must be.

Compiled validators answer on the hot path, and may only accept. Whatever they do not accept goes to
openapi-core, whose verdict counts.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from jsonschema_rs import Draft202012Validator
from openapi_schema_validator import OAS31Validator

from loyalty_gateway.problem import ConfigurationError, Violation
from loyalty_gateway.spec.authority import Authority, AuthorityRequest, AuthorityResponse, Defect
from loyalty_gateway.spec.document import Document
from loyalty_gateway.spec.references import resolved
from loyalty_gateway.vendor import Answer, Request

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_INTEGER_FORMATS = {"int32": 2**31, "int64": 2**63}
_FORMAT_CHECKER = OAS31Validator.FORMAT_CHECKER


class SecurityScheme(msgspec.Struct, frozen=True, kw_only=True):
    """A way to carry credentials: ``kind`` is ``header``, ``query``, ``bearer`` or ``basic``."""

    name: str
    kind: str
    key: str = ""


class Requirement(msgspec.Struct, frozen=True):
    """One sufficient combination of schemes, and the scopes that it asks for."""

    schemes: tuple[SecurityScheme, ...]
    scopes: tuple[str, ...]


class Contract:
    """A vendor's corrected document with each operation compiled.

    ``names`` are those of its parameters and fields, and ``words`` the texts that it lists as values.

    Args:
        document: the document.
        parse_json: bytes to value, for JSON bodies.
        checks: whether the document is held against OpenAPI first; that takes longer than all the rest.

    Raises:
        ConfigurationError: the document is not valid or uses what cannot be compiled.
    """

    def __init__(self, document: Document, parse_json: Callable[[bytes], Any], *, checks: bool = True) -> None:
        self.document = document
        authority = Authority(document, parse_json, checks=checks)
        self.operations = {
            contract.id: contract
            for contract in _operations(_explicit(document.corrected), document.name, authority)
        }
        self.names = frozenset(_names(document.corrected))
        self.words = frozenset(_words(document.corrected))

    def place(self, steps: Iterable[str | int]) -> str:
        """A place in a body, without a word of whoever sent it: ``*`` for a name that the document has not."""
        return "/".join(str(step) if isinstance(step, int) or step in self.names else "*" for step in steps)


class OperationContract:
    """One operation: where it is, who may call it, what it takes and gives.

    ``path`` is the whole published path, that of the server included, ``template`` without it; ``server_url`` is
    what stands before the latter. ``media_types`` are what the body may be, empty for an operation without one.
    """

    def __init__(self, document: dict[str, Any], path: str, method: str, authority: Authority, where: str) -> None:
        path_item = document["paths"][path]
        operation = path_item[method]
        server = urlsplit(_server_url(document, path_item, operation))
        if "operationId" not in operation:
            raise ConfigurationError(where, "has no operationId")
        self.id: str = operation["operationId"]
        self.method = method.upper()
        self.template = path
        self.path = server.path.rstrip("/") + path
        self.requirements = tuple(_requirements(document, operation))
        body = resolved(document, operation.get("requestBody"))
        self.media_types = tuple(body.get("content", ()))
        self.server_url = server._replace(path=server.path.rstrip("/")).geturl()
        self._host_url = f"{server.scheme}://{server.netloc}"
        self._authority = authority
        self._body_required = bool(body.get("required"))
        self._accepts_body = {
            media_type: _compile(document, content.get("schema", {}), where).is_valid
            for media_type, content in body.get("content", {}).items()
        }
        self._parameters = tuple(
            _Parameter.compile(document, resolved(document, parameter), where)
            for parameter in (*path_item.get("parameters", ()), *operation.get("parameters", ()))
        )
        self._responses = {
            status: _CompiledResponse.compile(document, resolved(document, response), f"{where} {status}")
            for status, response in operation["responses"].items()
        }

    @property
    def statuses(self) -> frozenset[str]:
        """The declared statuses, ``default`` among them where it is declared."""
        return frozenset(self._responses)

    def violations(self, request: Request, media_type: str, raw_body: bytes, body: Any) -> tuple[Violation, ...]:
        """Every constraint of the spec that the request does not keep; empty for a valid request.

        Args:
            request: the request as received, authenticated already.
            media_type: of the body, one of ``media_types``; empty where there is no body.
            raw_body: the body as received.
            body: its parsed value.
        """
        if self.accepts(request, media_type, raw_body, body):
            return ()
        found = self.authority_violations(request, media_type, raw_body)
        return found or tuple(
            Violation(location=parameter.location, path=(parameter.name,), keyword="type", expected="integer")
            for parameter in self._parameters
            if parameter.is_misspelt(request)
        )

    def accepts(self, request: Request, media_type: str, raw_body: bytes, body: Any) -> bool:
        """Whether the compiled validators accept the request; no verdict of theirs refuses one."""
        for parameter in self._parameters:
            if not parameter.accepts(request):
                return False
        if not raw_body:
            return not self._body_required
        return not self._accepts_body or self._accepts_body[media_type](body)

    def authority_violations(self, request: Request, media_type: str, raw_body: bytes) -> tuple[Violation, ...]:
        """openapi-core's verdict on the request."""
        return self._authority.request_violations(self._authority_request(request, media_type, raw_body))

    def defects(self, request: Request, answer: Answer) -> tuple[Defect, ...]:
        """Where the answer breaks the spec; empty for a conforming one."""
        response = self._responses.get(str(answer.status)) or self._responses.get("default")
        if response is None:
            return (Defect(location="/", constraint=f"status {answer.status} is not declared"),)
        if response.accepts(answer):
            return ()
        if answer.text is None and answer.body is msgspec.UNSET:
            return (Defect(location="/", constraint="a declared body is missing"),)
        data = answer.text.encode() if answer.text is not None else msgspec.json.encode(answer.body)
        found = self._authority.response_defects(
            self._authority_request(request, "", b""),
            AuthorityResponse(
                status=answer.status, headers=answer.headers, content_type=answer.media_type, data=data
            ),
        )
        if not found and response.validators == {}:
            return (Defect(location="/", constraint="no body is declared"),)
        return found

    def _authority_request(self, request: Request, media_type: str, raw_body: bytes) -> AuthorityRequest:
        return AuthorityRequest(
            host_url=self._host_url,
            method=self.method,
            path_pattern=self.path,
            path_values=request.path_values,
            query=request.query,
            headers=request.headers,
            content_type=media_type,
            body=raw_body,
        )


class _Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter as the hot path checks it: text, whole numbers, true and false; the rest is the authority's.

    ``value_of`` gives ``None`` for text that is spelt otherwise than usual, which the authority judges too.
    """

    name: str
    location: str
    required: bool
    value_of: Callable[[str], Any] | None
    is_valid: Callable[[Any], bool]

    @classmethod
    def compile(cls, document: dict[str, Any], parameter: dict[str, Any], where: str) -> "_Parameter":
        schema = resolved(document, parameter.get("schema", {}))
        kind = schema.get("type")
        return cls(
            name=parameter["name"].lower() if parameter["in"] == "header" else parameter["name"],
            location=parameter["in"],
            required=bool(parameter.get("required")),
            value_of=_SPELLINGS.get(kind) if isinstance(kind, str) else None,
            is_valid=_anything
            if kind == "string" and set(schema) <= _UNCONSTRAINED
            else _compile(document, schema, where).is_valid,
        )

    def is_misspelt(self, request: Request) -> bool:
        """Whether a whole number is written as only Python reads it: with underscores, spaces or other digits."""
        value = self._given(request)
        return self.value_of is _whole_number and value is not None and not _DIGITS.fullmatch(value)

    def _given(self, request: Request) -> str | None:
        match self.location:
            case "path":
                return request.path_values.get(self.name)
            case "query":
                return request.query.get(self.name)
            case _:
                return request.headers.get(self.name)

    def accepts(self, request: Request) -> bool:
        value = self._given(request)
        if value is None:
            return not self.required
        if value == "" or self.value_of is None:
            return False
        meant = self.value_of(value)
        return meant is not None and self.is_valid(meant)


_UNCONSTRAINED = {"type", "default", "description", "title", "example", "examples"}
_DIGITS = re.compile(r"[+-]?[0-9]+")
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,18})")


def _anything(_value: Any) -> bool:
    return True


def _whole_number(text: str) -> int | None:
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


_SPELLINGS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _whole_number,
    "boolean": {"true": True, "false": False}.get,
}


class _CompiledResponse(msgspec.Struct, frozen=True, kw_only=True):
    validators: dict[str, Callable[[Any], bool]]

    @classmethod
    def compile(cls, document: dict[str, Any], response: dict[str, Any], where: str) -> "_CompiledResponse":
        return cls(
            validators={
                media_type: _compile(document, content.get("schema", {}), where).is_valid
                for media_type, content in response.get("content", {}).items()
            }
        )

    def accepts(self, answer: Answer) -> bool:
        value = answer.body if answer.text is None else answer.text
        if value is msgspec.UNSET:
            return not self.validators
        is_valid = self.validators.get(answer.media_type)
        return is_valid is not None and is_valid(value)


def _names(document: dict[str, Any]) -> Iterator[str]:
    for node in _mappings(document):
        if isinstance(node.get("in"), str) and isinstance(node.get("name"), str):
            yield node["name"]
        if isinstance(node.get("properties"), dict):
            yield from node["properties"]


def _words(document: dict[str, Any]) -> Iterator[str]:
    for node in _mappings(document):
        listed = node.get("enum")
        told = (*(listed if isinstance(listed, list) else ()), node.get("const"))
        yield from (word for word in told if isinstance(word, str))


def _mappings(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All there are in the document, itself first."""
    waiting: list[Any] = [document]
    while waiting:
        match waiting.pop():
            case dict() as node:
                yield node
                waiting += node.values()
            case list() as nodes:
                waiting += nodes


def _operations(document: dict[str, Any], name: str, authority: Authority) -> Iterator[OperationContract]:
    for path, path_item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in path_item:
                yield OperationContract(document, path, method, authority, f"{name}: {method.upper()} {path}")


def _server_url(document: dict[str, Any], path_item: dict[str, Any], operation: dict[str, Any]) -> str:
    servers = operation.get("servers") or path_item.get("servers") or document.get("servers") or [{"url": "/"}]
    url: str = servers[0]["url"]
    return url


def _requirements(document: dict[str, Any], operation: dict[str, Any]) -> Iterator[Requirement]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    for requirement in operation.get("security", document.get("security", ())):
        yield Requirement(
            schemes=tuple(_scheme(name, schemes[name]) for name in requirement),
            scopes=tuple(scope for scopes in requirement.values() for scope in scopes),
        )


def _scheme(name: str, scheme: Mapping[str, Any]) -> SecurityScheme:
    match scheme:
        case {"type": "apiKey", "in": "header", "name": key}:
            return SecurityScheme(name=name, kind="header", key=key.lower())
        case {"type": "apiKey", "in": "query", "name": key}:
            return SecurityScheme(name=name, kind="query", key=key)
        case {"type": "http", "scheme": ("bearer" | "basic") as kind}:
            return SecurityScheme(name=name, kind=kind)
        case _:
            raise ConfigurationError(f"components/securitySchemes/{name}", "is of a kind that is not supported")


def _compile(document: dict[str, Any], schema: dict[str, Any], where: str) -> Draft202012Validator:
    root = {"components": document.get("components", {}), "allOf": [schema]}
    try:
        return Draft202012Validator(root, validate_formats=True, formats=_FORMATS)
    except ValueError as error:
        raise ConfigurationError(where, f"its schema cannot be compiled: {error}") from error


def _explicit(node: Any) -> Any:
    """The same with OpenAPI's formats of integers written as bounds, which JSON Schema has words for."""
    if isinstance(node, list):
        return [_explicit(child) for child in node]
    if not isinstance(node, dict):
        return node
    explicit = {key: _explicit(child) for key, child in node.items()}
    beyond = _INTEGER_FORMATS.get(node["format"]) if isinstance(node.get("format"), str) else None
    if beyond is not None:
        bounds = {"type": "integer", "minimum": -beyond, "maximum": beyond - 1}
        explicit |= {"allOf": [bounds, *explicit.get("allOf", ())]}
    return explicit


def _authority_format(name: str) -> Callable[[str], bool]:
    return lambda value: _FORMAT_CHECKER.conforms(value, name)


_FORMATS = {name: _authority_format(name) for name in _FORMAT_CHECKER.checkers if name not in _INTEGER_FORMATS}
