"""The compiled validators and openapi-core give the same verdict on every request."""

import os
import random
import re
import secrets
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from generated import Sent, Subject

from conftest import NOT_TRACED
from loyalty_gateway.app import load_contract
from loyalty_gateway.body import parse_json
from loyalty_gateway.problem import Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.vendor import discover

pytestmark = NOT_TRACED

SEED = int(os.environ.get("LOYALTY_GATEWAY_SEED") or secrets.randbelow(2**32))
"""Each run has its own; ``LOYALTY_GATEWAY_SEED`` repeats one."""

_VENDORS = discover()
_OPERATIONS = [(vendor.name, operation.id) for vendor in _VENDORS.values() for operation in vendor.operations]
_LETTERS = (
    "",
    "",
    " ",
    "x",
    "5",
    "a b",
    "é",
    "🎁",
    "\t",
    *("x" * length for length in (254, 255, 256, 257)),
    "1e2",
)
_NEVER_IN_HEADERS = ("5\n", "\r\nx: y", "\u2028")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture in {"subject", "sending"} & set(metafunc.fixturenames):
        found = [
            _subject(name, operation_id)
            for name, operation_id in _OPERATIONS
            if fixture == "subject" or _contract(name).operations[operation_id].media_types
        ]
        ids = [f"{one.vendor.name}-{one.operation.id}" for one in found]
        metafunc.parametrize(fixture, found, ids=ids)


@cache
def _subject(name: str, operation_id: str) -> Subject:
    (operation,) = (operation for operation in _VENDORS[name].operations if operation.id == operation_id)
    return Subject(_VENDORS[name], operation, _contract(name))


@cache
def _contract(name: str) -> Contract:
    return load_contract(_VENDORS[name])


def test_compiled_validators_and_openapi_core_agree_on_300_bodies(sending: Subject) -> None:
    _assert_no_disagreement(sending, bodies=300)


@pytest.mark.slow
def test_compiled_validators_and_openapi_core_agree_on_10000_bodies(sending: Subject) -> None:
    _assert_no_disagreement(sending, bodies=10_000)


def test_what_compiled_validators_accept_of_parameters_openapi_core_accepts_too(subject: Subject) -> None:
    _assert_nothing_wrongly_accepted(subject, requests=60)


@pytest.mark.slow
def test_what_compiled_validators_accept_of_10000_parameters_openapi_core_accepts_too(subject: Subject) -> None:
    _assert_nothing_wrongly_accepted(subject, requests=10_000)


def test_parameters_in_their_usual_spelling_never_need_openapi_core(subject: Subject) -> None:
    for sent in subject.admitted:
        if any(
            re.fullmatch(r"-?[0-9]{20,}", value) for value in (*sent.path_values.values(), *sent.query.values())
        ):
            # No number that anything has; whether one is refused is not worth being quick about.
            continue
        assert subject.contract.accepts(
            subject.request(sent), sent.media_type, sent.raw, parse_json(sent.raw) if sent.raw else None
        ), sent


def test_an_empty_body_is_refused_by_both(sending: Subject) -> None:
    request = sending.request(sending.near_valid(random.Random(SEED)))

    assert not sending.contract.accepts(request, "", b"", None)
    assert sending.contract.authority_violations(request, "", b"")


def _assert_no_disagreement(subject: Subject, bodies: int) -> None:
    """Compares so many bodies that can be read; both verdicts must occur often enough to mean something."""
    chance = random.Random(f"{SEED} {subject.operation.id}")
    compared = accepted = unreadable = 0
    disagreements = []
    while compared < bodies:
        sent = subject.beside(chance)
        try:
            body = parse_json(sent.raw)
        except Problem:
            unreadable += 1
            continue
        accepts, violations = _verdicts(subject, sent, body)
        compared += 1
        accepted += accepts
        if accepts == bool(violations):
            disagreements.append((sent.raw, accepts, violations))
    operation = f"{subject.vendor.name} {subject.operation.id}"
    refused = compared - accepted
    print(f"seed {SEED}, {operation}: {accepted} accepted, {refused} refused, {unreadable} unreadable")  # noqa: T201

    shortest = min(disagreements, key=lambda disagreement: len(disagreement[0]), default=())
    assert not disagreements, f"seed {SEED}: {len(disagreements)} of {bodies}, the shortest {shortest}"
    assert min(accepted, refused) >= bodies / 10


def _assert_nothing_wrongly_accepted(subject: Subject, requests: int) -> None:
    chance = random.Random(SEED)
    verdicts = set()
    for sent in _with_parameters(subject, chance, requests):
        accepts, violations = _verdicts(subject, sent, parse_json(sent.raw) if sent.raw else None)
        assert not (accepts and violations), f"seed {SEED}: {sent} {violations}"
        verdicts.add((accepts, not violations))

    assert verdicts >= {(True, True)}, f"seed {SEED}"
    assert len(verdicts) > 1 or not subject.parameters, f"seed {SEED}"


def _verdicts(subject: Subject, sent: Sent, body: Any) -> tuple[bool, tuple[object, ...]]:
    request = subject.request(sent)
    return (
        subject.contract.accepts(request, sent.media_type, sent.raw, body),
        subject.contract.authority_violations(request, sent.media_type, sent.raw),
    )


def _with_parameters(subject: Subject, chance: random.Random, count: int) -> Iterator[Sent]:
    """Valid bodies with each declared parameter sent in odd ways, or left out, and with undeclared ones."""
    nothing: list[str] = []
    declared = [
        *(("header", "idempotency-key", nothing), ("query", "unheard_of", nothing)),
        ("header", "x-unheard-of", nothing),
        *((parameter["in"], parameter["name"], subject.odd_values(parameter)) for parameter in subject.parameters),
    ]
    for _ in range(count):
        sent = chance.choice(subject.admitted)
        values: dict[str, dict[str, str]] = {
            "path": dict(sent.path_values),
            "query": dict(sent.query),
            "header": dict(sent.headers),
        }
        for location, name, odd in chance.sample(declared, k=chance.randrange(len(declared) + 1)):
            key = name.lower() if location == "header" else name
            values[location].pop(key, None)
            if chance.random() < 0.8:
                if location == "header":
                    values[location][key] = chance.choice(_LETTERS).encode().decode("latin-1")
                else:
                    values[location][key] = chance.choice((*_LETTERS, *_NEVER_IN_HEADERS, *odd, *odd, *odd))
        yield sent._replace(path_values=values["path"], query=values["query"], headers=values["header"])
