"""openapi-core's verdict on requests and answers, told as violations and defects."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import msgspec
from jsonschema.exceptions import ValidationError as SchemaError
from jsonschema.validators import extend
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.security.factories import SecurityProviderFactory
from openapi_core.validation.request.exceptions import (
    MissingRequestBodyError,
    MissingRequiredParameter,
    ParameterValidationError,
    RequestBodyValidationError,
)
from openapi_core.validation.schemas import oas31_schema_validators_factory
from openapi_core.validation.schemas.exceptions import InvalidSchemaValue
from openapi_core.validation.schemas.factories import SchemaValidatorsFactory
from openapi_core.validation.schemas.validators import SchemaValidator
from openapi_schema_validator import OAS31Validator
from werkzeug.datastructures import Headers, ImmutableMultiDict

from loyalty_gateway.problem import ConfigurationError, Violation
from loyalty_gateway.spec.document import Document
from loyalty_gateway.spec.references import broken_references
from loyalty_gateway.spec.validity import invalid_places

MOST_VIOLATIONS: Final = 100
"""So many are looked for and told; one body could break a constraint with each of its bytes."""


class Defect(msgspec.Struct, frozen=True, kw_only=True):
    """A place where an answer of ours breaks the spec; says where and which constraint, never the value."""

    location: str
    constraint: str


class Authority:
    """A vendor's document as openapi-core understands it.

    Args:
        document: the document; its corrected form counts.
        parse_json: bytes to value, for JSON bodies: the parser whose value the translator sees too.
        checks: whether the document is held against OpenAPI first.

    Raises:
        ConfigurationError: the corrected document is not valid OpenAPI, told with the place.
    """

    def __init__(self, document: Document, parse_json: Callable[[bytes], Any], *, checks: bool = True) -> None:
        def deserialize(value: bytes, **_: str) -> Any:
            return parse_json(value)

        media_types = ("application/json", "application/vnd.api+json")
        config = Config(
            extra_media_type_deserializers=dict.fromkeys(media_types, deserialize),
            schema_validators_factory=_BoundedSchemaValidators(
                OAS31Validator, oas31_schema_validators_factory.format_checker
            ),
            security_provider_factory=_SettledSecurity(),
        )
        if not checks:
            config = replace(config, spec_validator_cls=None)
        try:
            self._openapi = OpenAPI.from_dict(document.corrected, config=config)
        except Exception as error:  # whatever openapi-spec-validator or the schema library raises
            broken = broken_references(document.corrected)
            place, message = next(iter((*broken.items(), *invalid_places(document.corrected))), ("/", str(error)))
            what = f"not valid OpenAPI at {place}: {message}"
            raise ConfigurationError(f"{document.name} (with overlay)", what) from error

    def request_violations(self, request: "AuthorityRequest") -> tuple[Violation, ...]:
        """The constraints that the request does not keep, at most ``MOST_VIOLATIONS``; empty for a valid one."""
        violations = (
            violation
            for error in self._openapi.iter_request_errors(request)
            for violation in _violations_of(error)
        )
        return tuple(islice(violations, MOST_VIOLATIONS))

    def response_defects(self, request: "AuthorityRequest", response: "AuthorityResponse") -> tuple[Defect, ...]:
        """The constraints that the answer does not keep; empty for a conforming one."""
        return tuple(
            defect
            for error in self._openapi.iter_response_errors(request, response)
            for defect in _defects_of(error)
        )


class AuthorityRequest:
    """A request as openapi-core wants it, addressed to the server of its spec."""

    def __init__(  # noqa: PLR0913 - the parts of a request
        self,
        *,
        host_url: str,
        method: str,
        path_pattern: str,
        path_values: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        content_type: str,
        body: bytes,
    ) -> None:
        self.host_url = host_url
        self.method = method.lower()
        self.path_pattern = path_pattern
        self.path = path_pattern
        self.content_type = content_type
        self.body = body
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(query), header=Headers(list(headers.items())), path=dict(path_values)
        )


class AuthorityResponse:
    """An answer as openapi-core wants it."""

    def __init__(self, *, status: int, headers: Mapping[str, str], content_type: str, data: bytes) -> None:
        self.status_code = status
        self.headers = Headers(list(headers.items()))
        self.content_type = content_type
        self.data = data


class _SettledSecurity(SecurityProviderFactory):
    """Finds credentials in every request: authentication settled that, and knows ways OpenAPI has no word for."""

    def create(self, _scheme: Any) -> Any:
        return lambda _parameters: True


class _BoundedSchemaValidator(SchemaValidator):
    """Stops at so many errors, where openapi-core's own collects them all."""

    def validate(self, value: Any) -> None:
        errors = tuple(islice(self.validator.iter_errors(value), MOST_VIOLATIONS))
        if errors:
            raise InvalidSchemaValue(value, "any", schema_errors=errors)


class _BoundedSchemaValidators(SchemaValidatorsFactory):
    """Validators of one dialect, since corrected documents are all OpenAPI 3.1."""

    def get_validator_cls(self, *_: Any) -> Any:
        return _Validator

    def create(self, *arguments: Any, **options: Any) -> SchemaValidator:
        made = super().create(*arguments, **options)
        return _BoundedSchemaValidator(made.schema, made.validator)


def _items(validator: Any, items: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[SchemaError]:
    """A list that is too long is refused for that, without a look at a million things in it."""
    if validator.is_type(instance, "array") and len(instance) <= schema.get("maxItems", len(instance)):
        yield from OAS31Validator.VALIDATORS["items"](validator, items, instance, schema)


_Validator = extend(OAS31Validator, {"items": _items})


def _violations_of(error: Exception) -> Iterator[Violation]:
    match error:
        case MissingRequestBodyError():
            yield Violation(location="body", path=(), keyword="required")
        case MissingRequiredParameter(name=name, location=location):
            yield Violation(location=location, path=(name,), keyword="required")
        case ParameterValidationError(name=name, location=location):
            yield from _schema_violations(error.__cause__, location, (name,))
        case RequestBodyValidationError():
            yield from _schema_violations(error.__cause__, "body", ())
        case _:
            # The path was settled by routing; a difference is our mistake.
            raise error


def _schema_violations(
    cause: BaseException | None, location: str, prefix: tuple[str | int, ...]
) -> Iterator[Violation]:
    if not isinstance(cause, InvalidSchemaValue):
        yield Violation(location=location, path=prefix, keyword="type")
        return
    found: dict[tuple[tuple[str | int, ...], str], Violation] = {}
    for error in cause.schema_errors:
        assert isinstance(error, SchemaError)
        for violation in islice(_violations_of_schema_error(error, location, prefix), MOST_VIOLATIONS):
            found.setdefault((violation.path, violation.keyword), violation)
    clearer = {path for path, keyword in found if keyword != "format"}
    # A number beyond int32 breaks its format and its bounds; a person needs only the bounds.
    yield from (one for one in found.values() if one.keyword != "format" or one.path not in clearer)


def _violations_of_schema_error(
    error: SchemaError, location: str, prefix: tuple[str | int, ...]
) -> Iterator[Violation]:
    path = (*prefix, *error.absolute_path)
    keyword = str(error.validator)
    if keyword == "required":
        for name in error.validator_value:
            if name not in error.instance:
                expected = error.schema.get("properties", {}).get(name, {}).get("type")
                yield Violation(location=location, path=(*path, name), keyword=keyword, expected=expected)
    elif keyword == "additionalProperties":
        for name in error.instance:
            if name not in error.schema.get("properties", {}):
                yield Violation(location=location, path=(*path, name), keyword=keyword)
    else:
        yield Violation(
            location=location,
            path=path,
            keyword=keyword,
            expected=error.validator_value,
            received=error.instance,
        )


def _defects_of(error: Exception) -> Iterator[Defect]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InvalidSchemaValue):
            for schema_error in cause.schema_errors:
                assert isinstance(schema_error, SchemaError)
                yield from _defects_of_schema_error(schema_error)
            return
        cause = cause.__cause__
    yield Defect(location="/", constraint=type(error).__name__)


def _defects_of_schema_error(error: SchemaError) -> Iterator[Defect]:
    keyword, path = str(error.validator), tuple(error.absolute_path)
    required = error.validator_value if keyword == "required" else ()
    for place in [(*path, name) for name in required if name not in error.instance] or [path]:
        yield Defect(location="/" + "/".join(map(str, place)), constraint=keyword)
