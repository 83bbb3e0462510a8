"""Requests made from the document by schemathesis: those it admits, and those it forbids."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.contract_run.setup import Setup
from loyalty_gateway.contract_run.stage import CannotShow, Stage
from loyalty_gateway.customer import CustomerUpdate, Enrolment, Existing
from loyalty_gateway.problem import ConfigurationError, Problem
from loyalty_gateway.spec.judge import Spoken, as_text
from loyalty_gateway.upstream.phrasebook import as_received
from loyalty_gateway.vendor import Operation, ValidRequest

_EXTRA: Final = "contract runs need schemathesis: python3 -m pip install 'loyalty-gateway[contract]'"
_LONGEST_PATH: Final = 2_000
_DOTS: Final = {"", ".", ".."}
_MOST_POINTS: Final = 1_000_000
"""So many a generated request may move, so that they can be given back."""


class Generator:
    """Requests for the operations of one vendor; the same ``seed`` gives the same ones.

    Raises:
        ConfigurationError: schemathesis is not installed.
    """

    def __init__(self, setup: Setup, seed: int) -> None:
        try:
            import schemathesis  # noqa: PLC0415 - an extra, and slow to load
        except ImportError as error:
            raise ConfigurationError("contract", _EXTRA) from error
        self._setup = setup
        self.seed = seed
        self._schema = schemathesis.openapi.from_dict(setup.contract.document.corrected)

    def requests(self, operation: Operation, *, valid: bool, number: int, count: int) -> list[Spoken]:
        """The ``number``-th batch of up to ``count`` requests of the operation."""
        import hypothesis  # noqa: PLC0415 - comes with schemathesis
        from hypothesis import HealthCheck, Phase  # noqa: PLC0415
        from schemathesis import GenerationMode  # noqa: PLC0415

        mode = GenerationMode.POSITIVE if valid else GenerationMode.NEGATIVE
        cases = self._schema.find_operation_by_id(operation.id).as_strategy(generation_mode=mode)
        found: list[Spoken] = []

        @hypothesis.seed(self.seed * 1_000 + number)
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=tuple(HealthCheck),
        )
        @hypothesis.given(case=cases)
        def collect(case: Any) -> None:
            spoken = self._spoken(operation, case)
            if spoken is not None:
                found.append(spoken)

        # Nothing that is sent to some operations can be wrong.
        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            collect()
        return found

    def _spoken(self, operation: Operation, case: Any) -> Spoken | None:
        """The case as it can go over the wire with our credentials; ``None`` for one that cannot."""
        credentials = self._credential_names(operation)
        path_values = {
            name: unquote(as_text(value))
            for name, value in _mapping(case.path_parameters).items()
            if name not in operation.path_credentials
        }
        query = {
            name: as_text(value)
            for name, value in _mapping(case.query).items()
            if name not in credentials and name not in operation.opaque
        }
        headers = {
            name.lower(): as_text(value)
            for name, value in _mapping(case.headers).items()
            if name.lower() not in credentials
        }
        body, media_type = case.body, case.media_type or ""
        if type(body).__name__ == "NotSet":
            body, media_type = UNSET, ""
        spoken = Spoken(path_values=path_values, query=query, headers=headers, media_type=media_type, body=body)
        return spoken if self._can_be_sent(spoken) else None

    def _can_be_sent(self, spoken: Spoken) -> bool:
        try:
            raw = msgspec.json.encode([spoken.path_values, spoken.query, spoken.headers, spoken.body or None])
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
            return False
        texts = [*spoken.headers.values()]
        return (
            b"\\u0000" not in raw
            and not isinstance(spoken.body, bytes)
            and all("/" not in value and value not in _DOTS for value in spoken.path_values.values())
            and all(text.isprintable() and text.isascii() and text == text.strip() for text in texts)
            and sum(map(len, spoken.path_values.values())) < _LONGEST_PATH
        )

    def _credential_names(self, operation: Operation) -> set[str]:
        requirements = self._setup.described(operation).requirements
        names = {scheme.key or "authorization" for needs in requirements for scheme in needs.schemes}
        return names | {
            "authorization",
            "content-type",
            "content-length",
            "host",
            "connection",
            "transfer-encoding",
        }


def _mapping(values: Any) -> Mapping[str, Any]:
    return values if isinstance(values, Mapping) else {}


# Known customers in place of made-up ones


def on_known(stage: Stage, operation: Operation, spoken: Spoken) -> Spoken | None:
    """The request with the known customer wherever it names one; ``None`` if it could do harm.

    A run moves nobody's points but those of the customers whom it was given. What is not valid, and names nobody
    else, stays as it is.
    """
    if not is_valid(stage, operation, spoken) and _is_harmless(stage, operation, spoken):
        return spoken
    for name, value in () if operation.asks is Enrolment else _places(stage, operation):
        kind, _, field = name.partition(".")
        if kind == "body" and isinstance(spoken.body, dict) and field in spoken.body:
            spoken = msgspec.structs.replace(spoken, body={**spoken.body, field: value})
        elif kind == "path" and field in spoken.path_values:
            spoken = msgspec.structs.replace(spoken, path_values={**spoken.path_values, field: str(value)})
        elif kind == "query" and field in spoken.query:
            spoken = msgspec.structs.replace(spoken, query={**spoken.query, field: str(value)})
    return spoken if _is_harmless(stage, operation, spoken) else None


def _places(stage: Stage, operation: Operation) -> Iterator[tuple[str, Any]]:
    """Where the operation names a customer, and how: the places in small requests at which a name stands."""
    names = {name.value for name in stage.first}
    for plain in _plain(stage, operation):
        for kind, values in (("path", plain.path_values), ("query", plain.query), ("body", plain.body or {})):
            for name, value in values.items():
                listed = value if isinstance(value, list) else [value]
                if listed and all(str(one) in names for one in listed):
                    yield f"{kind}.{name}", value


def _plain(stage: Stage, operation: Operation) -> Iterator[ValidRequest]:
    with contextlib.suppress(CannotShow):
        yield stage.plain(operation)
    if operation.asks is Adjustment:
        for name in stage.first:
            for points in (1, -1):
                request = operation.said(stage.adjustment(points, name), stage.setup.options)
                if request is not None:
                    yield request


def _is_harmless(stage: Stage, operation: Operation, spoken: Spoken) -> bool:
    if operation.asks not in {Adjustment, CustomerUpdate, Enrolment}:
        return True
    try:
        task = operation.parse_request(as_request(stage, spoken))
    except (Problem, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # What cannot be read names nobody.
        return True
    known = {name for customer in stage.setup.customers for name in customer}
    match task:
        case Adjustment(customers=tuple() as customers, points_delta=points_delta):
            return known.issuperset(customers) and abs(points_delta or 0) <= _MOST_POINTS
        case CustomerUpdate(excluded=None, customer=customer):
            return customer in known
        case Enrolment():
            return _leaves_the_known(stage, task)
        case _:
            # Everyone's points, or somebody's exclusion, which would hide what comes after it.
            return False


def _leaves_the_known(stage: Stage, enrolment: Enrolment) -> bool:
    """Whether it gives no known customer another name, or anything else that is not theirs already."""
    named = {*enrolment.references, *enrolment.attached}
    met = [{*customer} for customer in stage.setup.customers if named & {*customer}]
    if not met or enrolment.existing is Existing.REFUSE:
        return True
    return len(met) == 1 and named <= met[0] and not enrolment.changes


def as_request(stage: Stage, spoken: Spoken) -> ValidRequest:
    """The request as the vendor's translator reads it."""
    return ValidRequest(
        path_values=spoken.path_values,
        query=spoken.query,
        headers=spoken.headers,
        options=stage.setup.options,
        body=None if spoken.body is UNSET else spoken.body,
    )


def is_valid(stage: Stage, operation: Operation, spoken: Spoken) -> bool:
    """Whether the contract's authority takes the request."""
    described = stage.setup.described(operation)
    received = as_received(stage.vendor, operation, described, as_request(stage, spoken))
    raw = b"" if spoken.body is UNSET else msgspec.json.encode(spoken.body)
    if raw and spoken.media_type not in described.media_types:
        return False
    return not described.violations(
        received, spoken.media_type, raw, None if spoken.body is UNSET else spoken.body
    )
