"""A contract run from beginning to end: behaviours, documented examples, generated requests, points given back."""

import random
import string
import time
from collections.abc import Callable
from itertools import count, islice
from typing import Final

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.contract_run.behaviours import check_behaviours
from loyalty_gateway.contract_run.beside import wrong_requests
from loyalty_gateway.contract_run.client import Client, Exchange, NoAnswer, OutOfTime
from loyalty_gateway.contract_run.conformance import Conformance
from loyalty_gateway.contract_run.examples import examples
from loyalty_gateway.contract_run.generated import Generator, as_request, is_valid, on_known
from loyalty_gateway.contract_run.giving_back import before_all, give_back
from loyalty_gateway.contract_run.setup import Setup
from loyalty_gateway.contract_run.stage import Stage
from loyalty_gateway.contract_run.verdict import Report
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, HistoryQuery
from loyalty_gateway.idempotency import differing_keys
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.spec import specs_folder
from loyalty_gateway.spec.judge import Spoken
from loyalty_gateway.spec.positions import Positions
from loyalty_gateway.vendor import Operation

_BATCH: Final = 8
_FOR_BEHAVIOURS: Final = 0.7
_FOR_ALL_CHECKS: Final = 0.9
_GIVING_BACK_SECONDS: Final = 5.0
_SURELY_IN_RANGE: Final = 1_000_000
_NOBODY_IS_KNOWN: Final = frozenset({Code.UNKNOWN_CUSTOMER})
_BEYOND_THE_DOCUMENT: Final = _NOBODY_IS_KNOWN | {
    Code.AMOUNT_OUT_OF_RANGE,
    Code.KEY_IN_FLIGHT,
    Code.KEY_REUSED,
    Code.CUSTOMER_CONFLICT,
    Code.CUSTOMER_EXCLUDED,
    Code.TOO_FEW_POINTS,
    Code.BALANCE_OVERFLOW,
    Code.RECORD_BUSY,
}
"""For these a server may refuse what its document admits, since they depend on what it knows."""

OnProgress = Callable[[str, float], None]
"""Hears what is looked at, and which part of the time is over."""


class BrokenOff(Exception):  # noqa: N818 - not an error of the program
    """A run was interrupted."""


def run(setup: Setup, *, seconds: float, seed: int, on_progress: OnProgress, rounds: int | None = None) -> Report:
    """Holds the server against the document and the vendor's behaviours, for at most so many seconds.

    ``rounds`` of generated requests are sent, or as many as there is time for.

    Raises:
        Unreachable: no connection could be made, so that nothing can be said.
        BrokenOff: somebody interrupted it; what became of the points is the message.
        LimitUsedUp: nothing is let through for most of the time, before anything was moved.
        ConfigurationError: schemathesis is not installed.
    """
    began = time.monotonic()
    generator = Generator(setup, seed)
    giving_back = min(_GIVING_BACK_SECONDS, seconds / 4)
    whole = max(1.0, seconds - giving_back)
    conformance = Conformance(setup)
    requests = count()

    def note(told: str) -> None:
        on_progress(told, min(1.0, (time.monotonic() - began) / seconds))

    def hear(exchange: object) -> None:
        next(requests)
        conformance.hear(exchange)  # type: ignore[arg-type]

    client = Client(setup, whole, hear)
    client.allow(began + whole * _FOR_BEHAVIOURS, _FOR_BEHAVIOURS)
    # What is kept at the server, such as keys, must be new in each run, whereas the requests come from the seed.
    stage = Stage(
        setup, client, "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=10))
    )
    try:
        before = before_all(stage)
        is_broken_off = False
        try:
            checks = check_behaviours(stage, note)
            client.allow(began + whole, _FOR_ALL_CHECKS)
            _documented(stage, conformance, note)
            _generated(stage, conformance, generator, note, rounds)
        except KeyboardInterrupt:
            is_broken_off = True
        finally:
            # What was moved is given back whatever happened, and even if something took longer than it should.
            client.allow(max(began + seconds, time.monotonic() + giving_back))
            note("points are given back")
            returned = give_back(stage, before)
    finally:
        client.close()
    if is_broken_off:
        raise BrokenOff("; ".join(returned.told))
    return Report(
        vendor=setup.vendor.name,
        title=setup.vendor.title,
        url=setup.url,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        requests=next(requests),
        checks=(*conformance.checks(), *checks),
        decisions=tuple(conformance.decisions()),
        not_covered=conformance.not_covered(),
        notes=returned.told,
        is_given_back=returned.is_whole,
        lines=_lines(setup),
    )


def _lines(setup: Setup) -> dict[str, int]:
    """The line of each operation in the published document, by its id."""
    path = specs_folder() / f"{setup.vendor.name}.yaml"
    if not path.exists():
        return {}
    positions = Positions(path)
    described = {one.id: setup.described(one) for one in setup.vendor.operations}
    return {
        name: positions.at(f"/paths/{one.template.replace('/', '~1')}/{one.method.lower()}")[0]
        for name, one in described.items()
    }


def _documented(stage: Stage, conformance: Conformance, note: Callable[[str], None]) -> None:
    for operation in _callable(stage):
        note(f"documented examples of {operation.id}")
        for spoken in examples(stage, operation):
            if not _sent(stage, conformance, operation, spoken):
                return


def _generated(
    stage: Stage,
    conformance: Conformance,
    generator: Generator,
    note: Callable[[str], None],
    rounds: int | None,
) -> None:
    operations = _callable(stage)
    beside = {one.id: wrong_requests(stage, one, generator.seed) for one in operations}
    for number in count() if rounds is None else range(rounds):
        for operation in operations:
            for kind in ("wrong", "invalid", "valid"):
                if stage.client.seconds_left <= 0:
                    return
                note(f"{kind} requests of {operation.id}")
                if kind == "wrong":
                    batch = list(islice(beside[operation.id], _BATCH))
                else:
                    batch = generator.requests(operation, valid=kind == "valid", number=number, count=_BATCH)
                for spoken in batch:
                    if not _sent(stage, conformance, operation, spoken):
                        return


def _callable(stage: Stage) -> list[Operation]:
    return [one for one in stage.setup.operations if stage.setup.access(one) is not None]


def _sent(stage: Stage, conformance: Conformance, operation: Operation, spoken: Spoken) -> bool:
    """Whether there is time for more; a request that would touch somebody unknown is passed over."""
    known = on_known(stage, operation, spoken)
    if known is None:
        return True
    access = stage.setup.access(operation)
    assert access is not None
    try:
        exchange = stage.client.send(operation, known, access)
    except OutOfTime:
        return False
    except NoAnswer as error:
        conformance.no_answer(operation, f"no answer came ({error})")
        return True
    valid = is_valid(stage, operation, known)
    status = exchange.answer.status
    rightful = {status} if 400 <= status < 500 and _is_rightful(stage, exchange) else set()
    conformance.hear_request(exchange, valid=valid, rightful=frozenset(rightful))
    return True


def _is_rightful(stage: Stage, exchange: Exchange) -> bool:
    """Whether a valid request may be refused so, by what the vendor's words say and what the request asks."""
    operation, spoken = exchange.operation, exchange.spoken
    request = as_request(stage, spoken)
    task, problems = None, []
    try:
        task = operation.parse_request(request)
    except Problem as problem:
        problems.append(problem)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        pass
    reads = operation.asks in {CustomerQuery, CustomersQuery, HistoryQuery}
    header = [(name.encode(), value.encode()) for name, value in spoken.headers.items()]
    if differing_keys(header, spoken.body, operation.idempotency_field):
        problems.append(Problem(Code.INVALID))
    if isinstance(task, Adjustment):
        codes = _of_adjustment(stage, task, keyed=any("idempotency" in name for name in spoken.headers))
    else:
        codes = set(_NOBODY_IS_KNOWN if reads else _BEYOND_THE_DOCUMENT)
    problems += [Problem(code) for code in codes]
    said = stage.code(operation, exchange.answer)
    for one in problems:
        refusal = stage.refusal(operation, one, request)
        if refusal.status == exchange.answer.status and stage.code(operation, refusal) is said:
            return True
    return False


def _of_adjustment(stage: Stage, task: Adjustment, *, keyed: bool) -> set[Code]:
    """For what a server may refuse an adjustment that keeps the document."""
    known = {name for customer in stage.setup.customers for name in customer}
    codes = {Code.RECORD_BUSY, Code.CUSTOMER_EXCLUDED}
    points = task.points_delta or 0
    if not isinstance(task.customers, tuple) or not known.issuperset(task.customers):
        codes |= _NOBODY_IS_KNOWN | {Code.CUSTOMER_CONFLICT}
    if points < 0:
        codes.add(Code.TOO_FEW_POINTS)
    if keyed or task.idempotency_key is not None:
        codes |= {Code.KEY_IN_FLIGHT, Code.KEY_REUSED}
    if abs(points) > _SURELY_IN_RANGE:
        codes |= {Code.AMOUNT_OUT_OF_RANGE, Code.BALANCE_OVERFLOW}
    return codes
