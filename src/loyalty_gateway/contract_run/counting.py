"""Probes of adjusting beside the balance: lifetime points, numbers as they are written, excluded customers."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.contract_run.likeness import is_success
from loyalty_gateway.contract_run.probes import Probe, expect_refusal, granted, moved_by, sign
from loyalty_gateway.contract_run.stage import CannotShow, NoVerdict, NoWords, Stage, Violated
from loyalty_gateway.customer import CustomerUpdate
from loyalty_gateway.engine import burned_delta, earned_after
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldWallet
from loyalty_gateway.vendor import Operation, Promise, ValidRequest


def lifetime(stage: Stage, operation: Operation) -> None:
    """Points more and fewer, and what is told of all that were ever earned and spent."""
    shown = False
    for points in (6, -2):
        request = operation.said(stage.adjustment(points), stage.setup.options)
        if request is None:
            continue
        meant = operation.parse_request(request)
        assert isinstance(meant, Adjustment)
        stage.stock(stage.first, 10)
        before = stage.looked_up(stage.first).wallet
        exchange = granted(stage, operation, request)
        after = stage.looked_up(stage.first).wallet
        for name, told, expected in _counters(before, after, points, meant):
            shown = True
            if told != expected:
                raise Violated(f"{points:+} points left {told} {name} instead of {expected}", exchange)
    if not shown:
        raise CannotShow("nothing here tells lifetime points")


def _counters(before: ToldWallet, after: ToldWallet, points: int, meant: Adjustment) -> list[tuple[str, int, int]]:
    """Each counter that is told: what it is called, its value, and what it has to be."""
    counters = []
    if isinstance(before.lifetime_earned, int) and isinstance(after.lifetime_earned, int):
        expected = earned_after(before.lifetime_earned, points, meant.lifetime)
        counters.append(("points earned", after.lifetime_earned, expected))
    if isinstance(before.lifetime_burned, int) and isinstance(after.lifetime_burned, int):
        expected = before.lifetime_burned + burned_delta(points, meant.lifetime)
        counters.append(("points spent", after.lifetime_burned, expected))
    return counters


def whole_floats(stage: Stage, operation: Operation) -> None:
    """The numbers of an adjustment as 4.0 in place of 4."""
    points = 4 * sign(stage, operation)
    request = stage.said(operation, stage.adjustment(points))
    written = _as_floats(request.body)
    if written == request.body and msgspec.json.encode(written) == msgspec.json.encode(request.body):
        raise NoWords(f"{operation.id} has no number in its body")
    described = stage.setup.described(operation)
    asked = msgspec.structs.replace(request, body=written)
    raw = msgspec.json.encode(written)
    if described.violations(stage.received(operation, asked), described.media_types[0], raw, written):
        raise NoWords(f"the document of {operation.id} forbids it")
    stage.stock(stage.first, 10)
    moved_by(stage, operation, points, asked)


def _as_floats(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case dict():
            return {name: _as_floats(child) for name, child in value.items()}
        case list():
            return [_as_floats(child) for child in value]
        case _:
            return value


def excluded(stage: Stage, operation: Operation) -> None:
    """Another known customer is excluded, adjusted in vain, and let in again."""
    customer, points = stage.second, sign(stage, operation)
    updater, out, back = _switches(stage)
    request = stage.said(operation, stage.adjustment(points, stage.name(customer)))
    before = stage.stock(customer, 10) if points < 0 else stage.balance(customer)
    undoing = (updater, back)
    stage.to_undo.append(undoing)
    try:
        exchange = stage.ask(updater, out)
        if not is_success(exchange.answer):
            raise NoVerdict(f"excluding a customer was refused with {exchange.answer.status}")
        exchange = stage.ask(operation, request)
        after = stage.balance(customer)
    finally:
        # Even one that was refused, or that nobody answered, may have been obeyed.
        if is_success(stage.ask(updater, back).answer):
            stage.to_undo.remove(undoing)
    if after != before:
        raise Violated(f"an excluded customer's balance moved from {before} to {after}", exchange)
    expect_refusal(stage, operation, exchange, Problem(Code.CUSTOMER_EXCLUDED), request)


def _switches(stage: Stage) -> tuple[Operation, ValidRequest, ValidRequest]:
    """An operation by which the second customer is excluded, with the requests that do so and that end it."""
    name = stage.name(stage.second)
    for operation in stage.vendor.operations:
        if operation.asks is not CustomerUpdate or stage.setup.access(operation) is None:
            continue
        out, back = (
            operation.said(CustomerUpdate(customer=name, changes={}, excluded=wish), stage.setup.options)
            for wish in (True, False)
        )
        if out is not None and back is not None:
            return operation, out, back
    raise CannotShow("nothing here excludes a customer")


COUNTING: Final[Mapping[Promise, tuple[str, Probe]]] = {
    Promise.LIFETIME: ("lifetime points move by the vendor's rule", lifetime),
    Promise.WHOLE_FLOATS: ("a whole number may be written with a decimal point", whole_floats),
    Promise.EXCLUDED: ("an excluded customer is refused", excluded),
}
"""The further promises about operations that adjust."""
