"""What every vendor promises, ours or another's: ``--vendors FOLDER --specs FOLDER`` runs it over those there."""

import base64
import importlib
import io
import random
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import httpx2
import msgspec
import pytest
from generated import Carried, Sent, Subject
from starlette.testclient import TestClient
from telling import untruths, variants, without_each

from conftest import Gateway
from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    Adjustment,
    CustomerReference,
    Everyone,
    Lifetime,
    Overdraft,
    Receipt,
    Tier,
    Wallet,
)
from loyalty_gateway.app import create_app, load_contract
from loyalty_gateway.config import parse_config
from loyalty_gateway.customer import (
    Customer,
    CustomerQuery,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Enrolled,
    Enrolment,
    Existing,
    History,
    HistoryQuery,
    Only,
    Profile,
)
from loyalty_gateway.engine import decide
from loyalty_gateway.journal import Journal
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import Contract, load_document, specs_folder
from loyalty_gateway.vendor import Answer, Evidence, Operation, Request, Task, Vendor, discover
from stores import SqliteFile

_PLENTY = 10**9
_FEWEST_BEHAVIOURS = 3
_FAILURES = {Code.RECORD_BUSY, Code.UNAVAILABLE, Code.UNFORESEEN}
_OUTSIDE_OPERATIONS = {Code.UNKNOWN_PATH, Code.WRONG_METHOD}
_NEEDS_A_BODY = {Code.BODY_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE}
_MET_BY: dict[Code, tuple[type[Task], ...]] = {
    # Only points can be too many or too few, and only their adjustment carries a key.
    Code.AMOUNT_OUT_OF_RANGE: (Adjustment,),
    Code.KEY_IN_FLIGHT: (Adjustment,),
    Code.KEY_REUSED: (Adjustment,),
    Code.CUSTOMER_EXCLUDED: (Adjustment,),
    Code.TOO_FEW_POINTS: (Adjustment,),
    Code.BALANCE_OVERFLOW: (Adjustment,),
    # Only an enrolment brings references that may be somebody else's.
    Code.CUSTOMER_CONFLICT: (Enrolment,),
    # Reading waits for nobody.
    Code.RECORD_BUSY: (Adjustment, Enrolment, CustomerUpdate),
}
"""Which kinds of task can meet a code; those not named here meet all."""
_METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    vendors = _vendors_under_test(metafunc.config.getoption("vendors", default=None))
    if "operation" in metafunc.fixturenames:
        only_adjusting = "adjusting" in metafunc.fixturenames
        pairs = [
            (vendor, operation)
            for vendor in vendors.values()
            for operation in vendor.operations
            if operation.asks is Adjustment or not only_adjusting
        ]
        ids = [f"{vendor.name}-{operation.id}" for vendor, operation in pairs]
        metafunc.parametrize(("vendor", "operation"), pairs, ids=ids)
    elif "vendor" in metafunc.fixturenames:
        metafunc.parametrize("vendor", vendors.values(), ids=vendors)


@pytest.fixture
def specs(pytestconfig: pytest.Config) -> Path:
    given: Path | None = pytestconfig.getoption("specs", default=None)
    return given or specs_folder()


@pytest.fixture
def subject(vendor: Vendor, operation: Operation, specs: Path, pytestconfig: pytest.Config) -> Subject:
    return _subject(pytestconfig.getoption("vendors", default=None), specs, vendor.name, operation.id)


@pytest.fixture
def adjusting(subject: Subject) -> Subject:
    """An operation that adjusts points."""
    return subject


# Promises about the record.


def test_the_spec_and_the_translator_know_the_same_operations(vendor: Vendor, specs: Path) -> None:
    document = load_document(vendor.name, specs).corrected

    described = [
        definition["operationId"]
        for path_item in document["paths"].values()
        for method, definition in path_item.items()
        if method in _METHODS
    ]
    translated = [operation.id for operation in vendor.operations]
    assert sorted(described) == sorted(translated)
    assert described


def test_every_behaviour_says_how_it_is_known_and_where(vendor: Vendor) -> None:
    texts = [behaviour.does for behaviour in vendor.behaviours]

    assert len(vendor.behaviours) >= _FEWEST_BEHAVIOURS
    assert len(texts) == len(set(texts))
    for behaviour in vendor.behaviours:
        assert behaviour.does.strip()
        assert behaviour.source.strip()
        assert behaviour.evidence in Evidence
        assert behaviour.evidence is Evidence.OUR_DEFAULT or behaviour.source != "-", behaviour.does


def test_every_security_scheme_carries_fields_of_a_credential(subject: Subject) -> None:
    forms = {frozenset(form) for form in subject.vendor.credential_forms}

    assert subject.contract.requirements
    for requirement in subject.contract.requirements:
        assert frozenset(subject.form(requirement)) in forms


def test_what_is_ignored_is_a_published_field_and_has_a_reason(subject: Subject) -> None:
    published = {str(path[-1]) for path in subject.published_fields()}

    assert set(subject.operation.ignored) <= published
    assert all(isinstance(reason, str) and reason.strip() for reason in subject.operation.ignored.values())


# Promises about requests.


def test_a_request_that_the_spec_admits_is_parsed(subject: Subject) -> None:
    parsed = 0
    for sent in subject.admitted:
        assert subject.violations(sent) == (), sent
        try:
            task = subject.operation.parse_request(subject.valid_request(sent))
        except Problem as problem:
            assert _may_be_refused(subject, problem), (sent, problem.violations)  # noqa: PT017
            continue
        assert isinstance(task, subject.operation.asks), sent
        if isinstance(task, Adjustment):
            assert task.customers is Everyone.EVERYONE or task.customers, sent
        parsed += 1

    assert parsed >= 30


def test_a_request_that_the_spec_forbids_is_refused_on_the_field_that_is_wrong(subject: Subject) -> None:
    for location, path, sent, violations in subject.forbidden:
        assert any(
            violation.location == location and violation.path[: len(path)] == path for violation in violations
        ), (location, path, sent, violations)

    constrained = [one for one in subject.parameters if set(one.get("schema", {})) - {"type", "default"}]
    assert len(subject.forbidden) >= (12 if subject.operation.asks is Adjustment else len(constrained))


def test_a_request_without_its_body_is_refused(subject: Subject) -> None:
    request = subject.request(subject.admitted[0])

    violations = subject.contract.violations(request, "", b"", None)

    if not subject.schemas:
        assert violations == ()
        return
    assert [(violation.location, violation.keyword) for violation in violations] == [("body", "required")]


def test_every_published_field_is_read_or_ignored_with_a_reason(subject: Subject) -> None:
    read: set[tuple[str | int, ...]] = set()
    for sent in subject.admitted:
        request = subject.valid_request(sent)
        recording = msgspec.structs.replace(
            request,
            path_values=_Recorded(request.path_values, (), read),
            query=_Recorded(request.query, (), read),
            headers=_Recorded(request.headers, (), read),
            body=_recorded(request.body, (), read),
        )
        try:
            result = _result(subject, sent, random.Random(0))
            subject.operation.parse_request(recording)
        except Problem:
            continue
        subject.operation.render_response(result, recording)

    unread = {path for path in subject.published_fields() - read if path[-1] not in subject.operation.ignored}
    assert unread == set()


def test_a_key_of_the_vendors_own_stands_in_the_declared_field(adjusting: Subject) -> None:
    field = adjusting.operation.idempotency_field
    for sent in adjusting.admitted:
        try:
            task = adjusting.operation.parse_request(adjusting.valid_request(sent))
        except Problem:
            continue
        assert isinstance(task, Adjustment)
        own = sent.body.get(field) if field is not None and isinstance(sent.body, dict) else None
        # Where it stands elsewhere, a header that names another key would pass unnoticed.
        assert task.idempotency_key == (own or None), sent


# Promises about answers.


def test_an_answer_to_what_took_effect_conforms_to_the_spec(subject: Subject) -> None:
    chance = random.Random(subject.operation.id)
    rendered = 0
    for sent in subject.admitted:
        try:
            result = _result(subject, sent, chance)
        except Problem:
            continue
        answer = subject.operation.render_response(result, subject.valid_request(sent))
        assert 200 <= answer.status < 300
        assert subject.contract.defects(subject.request(sent), answer) == (), (sent, answer)
        rendered += 1

    assert rendered >= 20


@pytest.mark.parametrize("code", Code)
def test_a_problem_is_told_with_a_declared_status_and_body(subject: Subject, code: Code) -> None:
    for problem, request in _problems(subject, code):
        answer = subject.vendor.render_problem(problem, request)

        assert 400 <= answer.status < 600
        # A busy record is a refusal to some vendors and a failure to others.
        assert (answer.status >= 500) == (code in _FAILURES) or code is Code.RECORD_BUSY
        if code not in _OUTSIDE_OPERATIONS and _can_meet(subject, code):
            assert subject.contract.defects(request, answer) == (), answer


# Promises about the other direction, in which we are the vendor's client.


def test_what_a_request_asks_for_survives_being_said_again(subject: Subject) -> None:
    """The first half of the round-trip law."""
    said = 0
    for sent in subject.admitted:
        try:
            task = subject.operation.parse_request(subject.valid_request(sent))
        except Problem:
            continue
        again = subject.operation.render_request(task, subject.options)
        if again is None and isinstance(task, HistoryQuery) and task.limit == 0:
            # Whoever wants nothing of a history has no need to ask.
            continue
        assert again is not None, (sent, task)
        rendered = subject.sent(again)
        assert subject.violations(rendered) == (), (sent, rendered)
        assert subject.operation.parse_request(again) == task, (sent, rendered)
        said += 1

    assert said >= 30


def test_what_an_answer_says_is_told_as_it_is_and_all_of_it(subject: Subject) -> None:
    """The other half: nothing is told otherwise, and what changes the answer changes what is told of it."""
    chance = random.Random(subject.operation.id)
    heard = 0
    for sent in subject.admitted[:80]:
        try:
            result = _result(subject, sent, chance)
        except Problem:
            continue
        request = subject.valid_request(sent)
        answer = subject.operation.render_response(result, request)
        told = subject.operation.parse_response(answer, request)
        assert untruths(told, result, _customers(subject, sent)) == [], (answer, told)
        for what, other in variants(result):
            changed = subject.operation.render_response(other, request)
            if changed != answer:
                assert subject.operation.parse_response(changed, request) != told, (what, answer, changed)
        heard += 1

    assert heard >= 20


def test_an_answer_that_leaves_out_what_it_may_is_understood(subject: Subject) -> None:
    chance = random.Random(subject.operation.id)
    for sent in subject.admitted[:6]:
        try:
            result = _result(subject, sent, chance)
        except Problem:
            continue
        request, asked = subject.valid_request(sent), subject.request(sent)
        answer = subject.operation.render_response(result, request)
        for body in without_each(answer.body):
            shorter = Answer(answer.status, body, answer.headers, media_type=answer.media_type)
            if not subject.contract.defects(asked, shorter):
                told = subject.operation.parse_response(shorter, request)
                assert untruths(told, result, _customers(subject, sent)) == [], (shorter, told)
                subject.operation.next_request(shorter, request)


@pytest.mark.parametrize("code", Code)
def test_a_refusal_is_understood_as_what_it_is_or_as_what_looks_the_same(subject: Subject, code: Code) -> None:
    for problem, request in _problems(subject, code):
        answer = subject.vendor.render_problem(problem, request)

        understood = subject.vendor.parse_problem(answer, subject.operation)

        # Nobody need understand what the operation never says, as a read that there are too few points.
        if understood is not code and _can_meet(subject, code):
            assert understood is not None, answer
            alike = subject.vendor.render_problem(
                Problem(understood, violations=problem.violations, scope=problem.scope, allow=problem.allow),
                request,
            )
            assert (alike.status, alike.body, alike.text) == (answer.status, answer.body, answer.text)


# Promises of the whole gateway.


def test_a_call_without_credentials_or_with_wrong_ones_is_401_and_moves_nothing(
    subject: Subject, tmp_path: Path
) -> None:
    sent = _sendable(subject)
    credentials = _credentials(subject.vendor)
    with _serving(subject, credentials, tmp_path) as gateway:
        for requirement in subject.contract.requirements:
            form = subject.form(requirement)
            right = credentials[frozenset(form)]
            missing = Carried({}, {}, subject.carried(requirement, right).path_values)
            _assert_refused(subject, gateway, sent, missing, Code.MISSING_CREDENTIALS)
            for field in form:
                wrong = subject.carried(requirement, right | {field: secrets.token_hex(16)})
                _assert_refused(subject, gateway, sent, wrong, Code.INVALID_CREDENTIALS)

        assert gateway.entries() == []
    assert _defects(gateway) == []


def test_every_way_of_carrying_credentials_is_let_in(subject: Subject, tmp_path: Path) -> None:
    sent = _sendable(subject)
    credentials = _credentials(subject.vendor)
    with _serving(subject, credentials, tmp_path) as gateway:
        statuses = [
            _send(subject, gateway, sent, subject.carried(requirement, credentials[form])).status_code
            for requirement in subject.contract.requirements
            if (form := frozenset(subject.form(requirement)))
        ]

        # The second enrolment of a customer may be a conflict, which only those meet who were let in.
        admitted = {409, 422} if subject.operation.asks is Enrolment else set()
        assert all(200 <= status < 300 or status in admitted for status in statuses), statuses
        moved = len(_customers(subject, sent)) if subject.operation.asks is Adjustment else 0
        assert len(gateway.entries()) == len(statuses) * moved
    assert _defects(gateway) == []


def test_a_key_sent_twice_is_applied_once_and_replayed(adjusting: Subject, tmp_path: Path) -> None:
    subject = adjusting
    sent = _sendable(subject)
    keyed = sent._replace(headers={**sent.headers, "idempotency-key": "key-1"})
    credentials = _credentials(subject.vendor)
    carried = _rightly(subject, credentials)
    with _serving(subject, credentials, tmp_path) as gateway:
        first, again = (_send(subject, gateway, keyed, carried) for _ in range(2))
        once = len(gateway.entries())
        another = _send(subject, gateway, sent, carried)
        twice = len(gateway.entries())

    assert 200 <= first.status_code < 300
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "idempotency-replayed" not in first.headers
    assert "idempotency-replayed" not in another.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (once, twice) == (len(_customers(subject, sent)), 2 * len(_customers(subject, sent)))
    assert _defects(gateway) == []


def test_a_secret_reaches_no_log_no_metric_and_no_answer(subject: Subject, tmp_path: Path) -> None:
    sent = _sendable(subject)
    credentials = _credentials(subject.vendor)
    right = credentials[frozenset(subject.form(subject.contract.requirements[0]))]
    planted = [*right.values(), secrets.token_hex(16)]
    told = [_encoded(form, credentials) for form in subject.vendor.credential_forms]
    with _serving(subject, credentials, tmp_path) as gateway:
        for attempt in _attempts(subject, sent, credentials, planted):
            answer = gateway.client.request(
                attempt.method, attempt.url, headers=dict(attempt.headers), content=attempt.content
            )
            assert answer.status_code != 500, attempt
            if not attempt.may_be_told:
                shown = answer.text + repr(answer.headers)
                assert not any(secret in shown for secret in planted + told), (attempt, shown)
        metrics = gateway.metrics()

    log = gateway.log.getvalue().decode()
    assert log.count("\n") > 50
    assert [secret for secret in planted + told if secret in log] == []
    assert [secret for secret in planted + told if secret in metrics] == []
    assert _defects(gateway) == []


# How subjects are found.


@cache
def _vendors_under_test(folder: Path | None) -> dict[str, Vendor]:
    if folder is None:
        return discover()
    sys.path.insert(0, str(folder.resolve().parent))
    return discover(importlib.import_module(folder.name))


@cache
def _subject(folder: Path | None, specs: Path, name: str, operation_id: str) -> Subject:
    vendor = _vendors_under_test(folder)[name]
    (operation,) = (operation for operation in vendor.operations if operation.id == operation_id)
    return Subject(vendor, operation, _contract(folder, specs, name))


@cache
def _contract(folder: Path | None, specs: Path, name: str) -> Contract:
    return load_contract(_vendors_under_test(folder)[name], (), specs)


# What is read of a request.


class _Recorded(dict[str, Any]):
    """A mapping that notes which of its fields were read."""

    def __init__(
        self, values: Mapping[str, Any], path: tuple[str | int, ...], read: set[tuple[str | int, ...]]
    ) -> None:
        super().__init__(values)
        self._path = path
        self._read = read

    def __getitem__(self, name: str) -> Any:
        self._read.add((*self._path, name))
        return _recorded(super().__getitem__(name), (*self._path, name), self._read)

    def get(self, name: str, default: Any = None) -> Any:
        self._read.add((*self._path, name))
        return _recorded(super().__getitem__(name), (*self._path, name), self._read) if name in self else default


def _recorded(value: Any, path: tuple[str | int, ...], read: set[tuple[str | int, ...]]) -> Any:
    if isinstance(value, dict):
        return _Recorded(value, path, read)
    if isinstance(value, list):
        return [_recorded(item, (*path, "*"), read) for item in value]
    return value


# What took effect, and what did not.


def _may_be_refused(subject: Subject, problem: Problem) -> bool:
    """Whether a translator may refuse this where the spec does not: what JSON Schema has no words for."""
    if subject.operation.asks is Adjustment:
        return problem.code is Code.AMOUNT_OUT_OF_RANGE
    return problem.code is Code.INVALID and all(
        violation.path[0] in subject.operation.opaque
        or (violation.location == "query" and violation.keyword == "required")
        for violation in problem.violations
    )


def _can_meet(subject: Subject, code: Code) -> bool:
    """Whether a request of this kind can be refused so."""
    if code in _NEEDS_A_BODY:
        return bool(subject.schemas)
    if code is Code.UNKNOWN_CUSTOMER:
        named = [_named(subject.operation.parse_request(subject.valid_request(sent))) for sent in _parsed(subject)]
        return any(named)
    return subject.operation.asks in _MET_BY.get(code, get_args(Task))


def _parsed(subject: Subject) -> Iterator[Sent]:
    """The admitted requests that the translator takes."""
    for sent in subject.admitted[:20]:
        try:
            subject.operation.parse_request(subject.valid_request(sent))
        except Problem:
            continue
        yield sent


def _named(task: Task) -> tuple[CustomerReference, ...]:
    """The customers that have to be there for the task."""
    match task:
        case Adjustment(customers=tuple() as customers):
            return tuple(dict.fromkeys(customers))
        case CustomerQuery(references=references):
            return references[:1]
        case CustomerUpdate(customer=customer) | HistoryQuery(customer=CustomerReference() as customer):
            return (customer,)
        case _:
            return ()


def _result(subject: Subject, sent: Sent, chance: random.Random) -> Any:
    """What the ledger could make of the request; raises Problem where the translator or the engine refuses."""
    task = subject.operation.parse_request(subject.valid_request(sent))
    match task:
        case Adjustment():
            return _receipt(subject, task, chance)
        case Enrolment():
            is_new = task.existing is Existing.REFUSE or chance.random() < 0.5
            return Enrolled(customer=_customer(1, chance), is_new=is_new)
        case CustomerUpdate() | CustomerQuery():
            return _customer(chance.choice((1, 2**40)), chance)
        case CustomersQuery():
            behind = task.after or 0
            count = chance.choice((0, 1, task.limit))
            page = tuple(_customer(behind + number, chance) for number in range(1, count + 1))
            total = task.offset + len(page) + chance.choice((0, 1, 1_000)) if task.counts else None
            return Customers(customers=page, has_more=bool(page) and chance.random() < 0.5, total=total)
        case HistoryQuery():
            return _history(subject, task, chance)


def _customer(number: int, chance: random.Random) -> Customer:
    references = [
        CustomerReference(namespace, value)
        for namespace, value in (
            ("shopify", "6789012345"),
            ("email", "jane@example.com"),
            ("bitbybit", "cust_abc123"),
            ("salla", "748394059"),
            ("phone", "+966500000000"),
            ("stampcard", "member7"),
        )
        if chance.random() < 0.6
    ]
    profile = Profile(
        first_name=chance.choice((None, "Jane", "جين")),
        last_name=chance.choice((None, "Doe")),
        date_of_birth=chance.choice((None, "1990-05-17")),
        anniversary_date=chance.choice((None, "2020-02-29")),
        tags=chance.choice(((), ("vip", "eu"))),
        source=chance.choice((None, "api")),
    )
    wallet = _wallet(number, chance)
    tier = chance.choice((None, Tier(name="Gold", points_required=500)))
    wallet = msgspec.structs.replace(
        wallet, tier=None if tier is None else tier.name, excluded=chance.random() < 0.3
    )
    return Customer(wallet=wallet, references=tuple(references), profile=profile, tier=tier)


def _history(subject: Subject, query: HistoryQuery, chance: random.Random) -> History:
    numbers = (1, 2) if query.customer is Everyone.EVERYONE else (1,)
    customers = {number: _customer(number, chance) for number in numbers}
    wallets = {
        number: msgspec.structs.replace(_wallet(number, random.Random(0)), available=0) for number in numbers
    }
    entries = []
    for entry_id in range(1, chance.choice((1, 2, min(query.limit or 9, 40) + 1))):
        number = chance.choice(numbers)
        adjustment = Adjustment(
            customers=(),
            points_delta=chance.choice((10, 1_000, -3, None)),
            lifetime=Lifetime.EARN_AND_BURN,
            overdraft=Overdraft.FLOOR,
            reason=chance.choice((None, "Thank you", "شكرا")),
        )
        wallets[number], entry = decide(
            wallets[number],
            adjustment,
            vendor=subject.vendor.name,
            tiers=(),
            entry_id=entry_id,
            now=1_700_000_000_000_000,
        )
        if query.only is not Only.ADDED or entry.points_delta > 0:
            entries.append(entry)
    customers = {
        number: msgspec.structs.replace(
            customer, wallet=msgspec.structs.replace(wallets[number], tier=customer.wallet.tier)
        )
        for number, customer in customers.items()
    }
    ordered = entries[::-1] if query.newest_first else entries
    has_more = query.limit is not None and bool(entries) and chance.random() < 0.5
    return History(entries=tuple(ordered), has_more=has_more, customers=customers)


def _receipt(subject: Subject, adjustment: Adjustment, chance: random.Random) -> Receipt:
    """What the engine makes of an adjustment on some wallets; raises Problem where it refuses."""
    if adjustment.customers is Everyone.EVERYONE:
        return Receipt(merchant_id=1, count=chance.choice((0, 3, 100_000)))
    moved = [
        decide(
            _wallet(number, chance),
            adjustment,
            vendor=subject.vendor.name,
            tiers=(),
            entry_id=chance.choice((1, 2**62)),
            now=chance.choice((1, 1_750_000_000_000_000)),
            idempotency_key=chance.choice((None, "key-1", adjustment.idempotency_key)),
        )
        for number, _ in enumerate(adjustment.customers, 1)
    ]
    named_by = adjustment.named_by
    return Receipt(
        merchant_id=chance.choice((1, 2**31)),
        count=len(moved),
        entries=tuple(entry for _, entry in moved),
        wallets=tuple(wallet for wallet, _ in moved),
        customers=tuple(
            CustomerReference(named_by, "6789012345") if named_by else customer
            for customer in adjustment.customers
        ),
    )


def _wallet(number: int, chance: random.Random) -> Wallet:
    return Wallet(
        id=number,
        merchant_id=1,
        available=chance.choice((0, 5, 10**6, 2**53 + 1, 2**63 - 1)),
        reserved=chance.choice((0, 3)),
        lifetime_earned=chance.choice((0, 10**6)),
        lifetime_burned=chance.choice((0, 10**6)),
        version=chance.choice((0, 1, 10**6)),
        excluded=False,
        tier=None,
        created_at=1_600_000_000_000_000,
        updated_at=1_700_000_000_123_456,
        last_entry_at=None,
    )


def _problems(subject: Subject, code: Code) -> Iterator[tuple[Problem, Request]]:
    """Problems of this kind, for some requests, in both of a client's likely languages."""
    wrong = [(sent, violations) for _, _, sent, violations in subject.forbidden]
    refused = wrong if code is Code.INVALID else [(sent, ()) for sent in subject.admitted[::20]]
    for sent, violations in refused:
        problem = Problem(code, violations=violations, scope="write_points", allow=("POST",), retry_after=7)
        for language in ("ar", "en"):
            yield problem, subject.request(sent._replace(headers={"accept-language": language}))


# A gateway for one vendor.


def _credentials(vendor: Vendor) -> dict[frozenset[str], dict[str, str]]:
    """A random credential of each of the vendor's forms."""
    return {frozenset(form): {field: secrets.token_hex(16) for field in form} for form in vendor.credential_forms}


@contextmanager
def _serving(
    subject: Subject, credentials: Mapping[frozenset[str], dict[str, str]], folder: Path
) -> Iterator[Gateway]:
    """A gateway of this vendor alone, where the customers whom the request names have plenty of points."""
    vendor = subject.vendor
    customers = _customers(subject, _sendable(subject))
    config = {
        "server": {"rate_limits": False},
        "ledger": f"sqlite:///{folder / 'ledger.db'}",
        "merchants": {
            "demo": {
                "unknown_customers": "enrol",
                "customers": [{"references": {customer.namespace: customer.value}} for customer in customers],
            }
        },
        "vendors": {
            vendor.name: {"credentials": [{"merchant": "demo", **fields} for fields in credentials.values()]}
        },
    }
    vendors = {vendor.name: vendor}
    log = io.BytesIO()
    app = create_app(
        parse_config(config, vendors, {}),
        vendors,
        journal=Journal(log),
        contracts={vendor.name: subject.whole_contract},
    )
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        gateway = Gateway(client=client, store=SqliteFile(folder / "ledger.db"), log=log)
        for customer in customers:
            gateway.set_available(str(customer), _PLENTY)
        yield gateway


@cache
def _sendable(subject: Subject) -> Sent:
    """A request that can be carried out for some named customers, and whose path needs no escapes."""
    for sent in subject.admitted:
        if not all(re.fullmatch(r"[A-Za-z0-9]+", value) for value in sent.path_values.values()):
            continue
        try:
            task = subject.operation.parse_request(subject.valid_request(sent))
        except Problem:
            continue
        named = task.references if isinstance(task, Enrolment) else _named(task)
        if not all(re.fullmatch(r"[\w@.+]+", one.value) and one.namespace != OWN_NAMESPACE for one in named):
            continue
        if not isinstance(task, Adjustment) or (
            named and 0 < abs(task.points_delta or 0) <= _PLENTY // 10 and task.idempotency_key is None
        ):
            return sent
    pytest.fail("the spec admits no request that can be carried out for named customers")


def _customers(subject: Subject, sent: Sent) -> tuple[CustomerReference, ...]:
    return _named(subject.operation.parse_request(subject.valid_request(sent)))


def _rightly(subject: Subject, credentials: Mapping[frozenset[str], dict[str, str]]) -> Carried:
    requirement = subject.contract.requirements[0]
    return subject.carried(requirement, credentials[frozenset(subject.form(requirement))])


def _send(subject: Subject, gateway: Gateway, sent: Sent, carried: Carried) -> httpx2.Response:
    return gateway.client.request(
        subject.contract.method,
        subject.url(sent, carried),
        headers=_typed(sent) | carried.headers | dict(sent.headers),
        content=sent.raw,
    )


def _typed(sent: Sent) -> dict[str, str]:
    return {"content-type": sent.media_type} if sent.media_type else {}


def _assert_refused(subject: Subject, gateway: Gateway, sent: Sent, carried: Carried, code: Code) -> None:
    answer = _send(subject, gateway, sent, carried)
    expected: Answer = subject.vendor.render_problem(Problem(code), subject.request(sent))
    assert (answer.status_code, expected.status) == (401, 401)
    assert answer.headers["content-type"].startswith(expected.media_type)
    assert answer.text == (expected.text or msgspec.json.encode(expected.body).decode())


def _defects(gateway: Gateway) -> list[dict[str, Any]]:
    """The lines of answers that broke the spec; to be asked once the gateway has closed."""
    lines = gateway.lines()
    assert lines
    return [line for line in lines if "defects" in line]


# Where secrets may stand.


class _Attempt(NamedTuple):
    """A request with secrets in it; ``may_be_told`` where the client itself named something by the secret."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes
    may_be_told: bool = False


def _attempts(
    subject: Subject, sent: Sent, credentials: Mapping[frozenset[str], dict[str, str]], planted: list[str]
) -> Iterator[_Attempt]:
    method = subject.contract.method
    bare = _typed(sent) | dict(sent.headers)
    for requirement in subject.contract.requirements:
        right = credentials[frozenset(subject.form(requirement))]
        for wrong in ({}, *({field: planted[-1]} for field in right), dict.fromkeys(right, planted[-1])):
            carried = subject.carried(requirement, right | wrong)
            yield _Attempt(method, subject.url(sent, carried), bare | carried.headers, sent.raw)
    carried = _rightly(subject, credentials)
    url, right_headers = subject.url(sent, carried), bare | carried.headers
    anonymous = subject.url(sent, Carried({}, {}, carried.path_values))
    joint = "&" if "?" in url else "?"
    for secret in planted:
        for name in ("authorization", "x-api-key", "cookie", "user-agent", "x-forwarded-for", f"x-{secret}"):
            for value in (secret, f"Bearer {secret}", f"Basic {secret}"):
                yield _Attempt(method, anonymous, bare | {name: value}, sent.raw)
        yield _Attempt(method, url, right_headers | {"content-type": secret}, sent.raw)
        yield _Attempt(method, url, right_headers | {"idempotency-key": secret * 9}, sent.raw)
        yield _Attempt(method, url, right_headers | {"idempotency-key": secret}, sent.raw, may_be_told=True)
        yield _Attempt(method, f"{url}{joint}token={secret}&{secret}=1", right_headers, sent.raw)
        yield _Attempt(method, f"{anonymous}?token={secret}&key={secret}", bare, sent.raw)
        yield _Attempt(secret.upper(), url, right_headers, sent.raw)
        yield _Attempt("DELETE", f"{anonymous}?token={secret}", right_headers, b"")
        for path in (f"/{subject.vendor.name}/{secret}", f"/-/{secret}", f"/{secret}"):
            yield _Attempt(method, f"{path}?token={secret}", right_headers, sent.raw)
        # Below a list, the next segment names one of what is listed.
        named_below = any(
            one.path.startswith(f"{subject.contract.path}/{{")
            for one in subject.whole_contract.operations.values()
        )
        below = f"{anonymous.partition('?')[0]}/{secret}?token={secret}"
        yield _Attempt(method, below, right_headers, sent.raw, may_be_told=named_below)
        for content in (secret, f'"{secret}"', f'["{secret}"]', f'{{"{secret}"', f"\xff{secret}"):
            yield _Attempt(method, url, right_headers, content.encode("latin-1"))
        body = sent.body if isinstance(sent.body, dict) else {}
        for field in body:
            values: tuple[Any, ...] = ({"inner": secret}, [secret], secret)
            for value in values:
                changed = sent._replace(body={**body, field: value})
                told = value == secret and not subject.violations(changed)
                yield _Attempt(method, url, right_headers, changed.raw, may_be_told=told)
        unheard_of = sent._replace(body={**body, secret: secret})
        yield _Attempt(method, url, right_headers, unheard_of.raw, may_be_told=True)
        named = sent._replace(path_values=dict.fromkeys(sent.path_values, secret))
        yield _Attempt(method, subject.url(named, carried), right_headers, sent.raw, may_be_told=True)


def _encoded(form: tuple[str, ...], credentials: Mapping[frozenset[str], dict[str, str]]) -> str:
    """The credential as HTTP Basic writes it."""
    return base64.b64encode(":".join(credentials[frozenset(form)][field] for field in form).encode()).decode()
