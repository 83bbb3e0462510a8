"""Probes of how points move: one for each promise, the same for every vendor, in the words of its own record."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, Overdraft
from loyalty_gateway.contract_run.client import Exchange
from loyalty_gateway.contract_run.likeness import differences, is_success
from loyalty_gateway.contract_run.setup import Customer
from loyalty_gateway.contract_run.stage import CannotShow, NoVerdict, Stage, Violated
from loyalty_gateway.customer import HistoryQuery
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldHistory, ToldReceipt
from loyalty_gateway.upstream.answers import example_receipt
from loyalty_gateway.upstream.credentials import Presented
from loyalty_gateway.vendor import Operation, Promise, ValidRequest

Probe = Callable[[Stage, Operation], None]

_KEY_HEADER: Final = "idempotency-key"
_LARGE: Final = (100_003, 10_007, 1_009)
_SMALL: Final = 7


def addition(stage: Stage, operation: Operation) -> None:
    """Many points more, no more and no fewer, and for nobody else."""
    points, request = _large_addition(stage, operation)
    other = _others_balance(stage)
    exchange = moved_by(stage, operation, points, request)
    if other is not None and (after := stage.balance(stage.second)) != other:
        told = f"{points:+} points for one customer moved another one's balance by {after - other:+}"
        raise Violated(told, exchange)


def _large_addition(stage: Stage, operation: Operation) -> tuple[int, ValidRequest]:
    """The largest of a few that the document admits, for small ones stand in other probes; raises as ``said``."""
    for points in _LARGE:
        with suppress(CannotShow):
            return points, stage.said(operation, stage.adjustment(points))
    return _SMALL, stage.said(operation, stage.adjustment(_SMALL))


def _others_balance(stage: Stage) -> int | None:
    """The balance of another known customer, if there is one and it can be read."""
    try:
        return stage.balance(stage.second)
    except (CannotShow, NoVerdict):
        return None


def deduction(stage: Stage, operation: Operation) -> None:
    """Three points fewer."""
    stage.said(operation, stage.adjustment(-3))
    stage.stock(stage.first, 10)
    moved_by(stage, operation, -3)


def moved_by(stage: Stage, operation: Operation, points: int, request: ValidRequest | None = None) -> Exchange:
    """The exchange; raises Violated where it does not move the balance by so much, or tells otherwise."""
    request = request or stage.said(operation, stage.adjustment(points))
    before = stage.balance(stage.first)
    exchange = granted(stage, operation, request)
    after = stage.balance(stage.first)
    if after - before != points:
        raise Violated(f"{points:+} points moved the balance by {after - before:+}", exchange)
    _tells(stage, operation, request, exchange, points=points, after=after)
    return exchange


def _tells(  # noqa: PLR0913 - what was seen and what it should be
    stage: Stage, operation: Operation, request: ValidRequest, exchange: Exchange, *, points: int, after: int
) -> None:
    """Raises Violated where the answer has another shape than the vendor's, or tells of other points."""
    (customer,) = operation.parse_request(request).customers  # type: ignore[union-attr, misc]
    expected = operation.render_response(example_receipt(after, customer), request)
    if found := differences(expected, exchange.answer):
        raise Violated("; ".join(found), exchange)
    told = stage.told(operation, exchange, request)
    if not isinstance(told, ToldReceipt):
        return
    if told.entry.points_delta not in {UNSET, points}:
        raise Violated(f"the answer tells of {told.entry.points_delta} points instead of {points}", exchange)
    for balance in (told.entry.points_after, told.customer.wallet.available):
        if balance not in {UNSET, after}:
            raise Violated(f"the answer tells a balance of {balance} instead of {after}", exchange)


def granted(
    stage: Stage, operation: Operation, request: ValidRequest, headers: Mapping[str, str] | None = None
) -> Exchange:
    """The exchange; raises Violated where the server refuses what it has to grant."""
    exchange = stage.ask(operation, _with_headers(request, headers or {}))
    if not is_success(exchange.answer):
        raise Violated(f"it was refused with {exchange.answer.status}", exchange)
    return exchange


def refused(  # noqa: PLR0913 - what may be wrong with a request
    stage: Stage,
    operation: Operation,
    request: ValidRequest,
    problem: Problem,
    *,
    access: Presented | None = None,
    raw: bytes | None = None,
    media_type: str | None = None,
    counts: bool = True,
) -> None:
    """Raises Violated where the request is not refused in that way, or moves points all the same."""
    before = _balance_at_stake(stage, operation)
    exchange = stage.ask(operation, request, access=access, raw=raw, media_type=media_type, counts=counts)
    expect_refusal(stage, operation, exchange, problem, request)
    if before is not None and (after := stage.balance(stage.first)) != before:
        raise Violated(f"it was refused, and moved the balance by {after - before:+}", exchange)


def _balance_at_stake(stage: Stage, operation: Operation) -> int | None:
    """What a small adjustment would move, if it is one, and if anything tells the balance."""
    if operation.asks is not Adjustment:
        return None
    if sign(stage, operation) < 0:
        # Of a customer without points nothing can be taken; one of whom nothing is known may have some.
        with suppress(CannotShow, NoVerdict):
            stage.stock(stage.first, 10)
    try:
        return stage.balance(stage.first)
    except (CannotShow, NoVerdict):
        return None


def expect_refusal(
    stage: Stage, operation: Operation, exchange: Exchange, problem: Problem, request: ValidRequest
) -> None:
    """Raises Violated for an answer that is not the vendor's refusal of that kind."""
    expected = stage.refusal(operation, problem, request)
    if found := differences(expected, exchange.answer):
        raise Violated("; ".join(found), exchange)
    meant, said = (stage.code(operation, answer) for answer in (expected, exchange.answer))
    if meant is not said:
        raise Violated(f"it says {_kind(said)} instead of {_kind(meant)}", exchange)


def _kind(code: Code | None) -> str:
    return "nothing known" if code is None else code.name.lower().replace("_", " ")


def overdraft(stage: Stage, operation: Operation) -> None:
    """A deduction of five points more than there are."""
    stage.said(operation, stage.adjustment(-5))
    balance = stage.stock(stage.first, 4)
    request = stage.said(operation, stage.adjustment(-balance - 5))
    meant = operation.parse_request(request)
    assert isinstance(meant, Adjustment)
    exchange = stage.ask(operation, request)
    after = stage.balance(stage.first)
    if meant.overdraft is Overdraft.FLOOR:
        if not is_success(exchange.answer):
            raise Violated(f"it was refused with {exchange.answer.status} instead of floored at 0", exchange)
        if after != 0:
            raise Violated(f"it left {after} points instead of 0", exchange)
        _tells(stage, operation, request, exchange, points=-balance, after=0)
        return
    if after != balance:
        raise Violated(f"it moved the balance from {balance} to {after} instead of being refused", exchange)
    expect_refusal(stage, operation, exchange, Problem(Code.TOO_FEW_POINTS), request)


def reset(stage: Stage, operation: Operation) -> None:
    """No points are left, however many there were."""
    request = stage.said(operation, stage.adjustment(None))
    stage.stock(stage.first, 6)
    exchange = granted(stage, operation, request)
    if (after := stage.balance(stage.first)) != 0:
        raise Violated(f"it left {after} points", exchange)


def lists(stage: Stage, operation: Operation) -> None:
    """All, or nobody: with an unknown customer among them, and with one who has too few points."""
    one, other = stage.name(stage.first), stage.name(stage.second)
    both = stage.said(operation, stage.adjustment(4, one, other))
    people = (stage.first, stage.second)
    before = _balances(stage, people)
    exchange = granted(stage, operation, both)
    if (after := _balances(stage, people)) != [points + 4 for points in before]:
        raise Violated(f"+4 points for both moved {before} to {after}", exchange)
    if not stage.setup.enrols:
        _nobody_moved(stage, operation, stage.adjustment(4, one, stage.nobody()), Code.UNKNOWN_CUSTOMER)
    _nobody_moved(stage, operation, stage.adjustment(-max(after) - 3, one, other), Code.TOO_FEW_POINTS)
    lopsided = stage.stock(stage.first, stage.balance(stage.second) + 9)
    _nobody_moved(stage, operation, stage.adjustment(-lopsided, one, other), Code.TOO_FEW_POINTS)


def _nobody_moved(stage: Stage, operation: Operation, task: Adjustment, code: Code) -> None:
    request = stage.said(operation, task)
    people = (stage.first, stage.second)
    before = _balances(stage, people)
    exchange = stage.ask(operation, request)
    if (after := _balances(stage, people)) != before:
        raise Violated(f"a list that has to be refused moved {before} to {after}", exchange)
    expect_refusal(stage, operation, exchange, Problem(code), request)


def _balances(stage: Stage, people: tuple[Customer, ...]) -> list[int]:
    return [stage.balance(one) for one in people]


def listed_twice(stage: Stage, operation: Operation) -> None:
    """Who stands in a list twice gets the points once."""
    name = stage.name(stage.first)
    request = stage.said(operation, stage.adjustment(4, name, name))
    before = stage.balance(stage.first)
    exchange = granted(stage, operation, request)
    if (after := stage.balance(stage.first)) != before + 4:
        raise Violated(f"+4 points moved the balance by {after - before:+}", exchange)


def replay(stage: Stage, operation: Operation) -> None:
    """The same request with the same key twice, the key standing wherever it can."""
    if operation.idempotency_field is not None:
        stage.said(operation, stage.adjustment(sign(stage, operation) * 2))
        _replayed(stage, operation, stage.fresh("key"), {})
    if _takes_header(stage, operation):
        _replayed(stage, operation, None, {_KEY_HEADER: stage.fresh("key")})
    elif operation.idempotency_field is None:
        raise CannotShow("no key can be sent")


def _replayed(stage: Stage, operation: Operation, key: str | None, headers: Mapping[str, str]) -> None:
    points = 2 * sign(stage, operation)
    request = stage.said(operation, stage.adjustment(points, idempotency_key=key))
    before = stage.stock(stage.first, 10)
    first, second = (granted(stage, operation, request, headers) for _ in range(2))
    after = stage.balance(stage.first)
    if after - before != points:
        raise Violated(
            f"{points:+} points with one key, sent twice, moved the balance by {after - before:+}", second
        )
    if (first.answer.status, first.answer.body) != (second.answer.status, second.answer.body):
        raise Violated("the second answer is another one", second)


def key_reused(stage: Stage, operation: Operation) -> None:
    """The same key with other points is refused, and moves nobody; so it is with another customer."""
    direction = sign(stage, operation)
    in_header = _takes_header(stage, operation)
    if not in_header and operation.idempotency_field is None:
        raise CannotShow("no key can be sent")
    key = stage.fresh("key")
    headers = {_KEY_HEADER: key} if in_header else {}
    own = None if in_header else key
    one, other = (stage.said(operation, stage.adjustment(direction * n, idempotency_key=own)) for n in (2, 5))
    before = stage.stock(stage.first, 10)
    granted(stage, operation, one, headers)
    exchange = stage.ask(operation, _with_headers(other, headers))
    if (after := stage.balance(stage.first)) - before != direction * 2:
        raise Violated(f"the second request with the key moved the balance to {after}", exchange)
    expect_refusal(stage, operation, exchange, Problem(Code.KEY_REUSED), other)
    # For a deduction another customer may have too few points, which may be told first.
    if direction > 0 and (same := _for_another(stage, operation, own)) is not None:
        exchange = stage.ask(operation, _with_headers(same, headers))
        expect_refusal(stage, operation, exchange, Problem(Code.KEY_REUSED), same)


def _for_another(stage: Stage, operation: Operation, key: str | None) -> ValidRequest | None:
    """The same addition for another known customer, if there is one who has a name here."""
    try:
        task = stage.adjustment(2, stage.name(stage.second), idempotency_key=key)
        return stage.said(operation, task)
    except CannotShow:
        return None


def _with_headers(request: ValidRequest, headers: Mapping[str, str]) -> ValidRequest:
    return msgspec.structs.replace(request, headers={**request.headers, **headers})


def sign(stage: Stage, operation: Operation) -> int:
    """1 or -1: whether the operation adds, or only deducts."""
    return 1 if operation.said(stage.adjustment(2), stage.setup.options) is not None else -1


def _takes_header(stage: Stage, operation: Operation) -> bool:
    named = stage.setup.parameters(operation)
    return any(place == "header" and name.lower() == _KEY_HEADER for place, name in named)


def history(stage: Stage, operation: Operation) -> None:
    """An adjustment with a reason of its own is found in the history, with its points."""
    points, reason = 2 * sign(stage, operation), stage.fresh("Contract run")
    task = stage.adjustment(points, reason=reason)
    if not stage.vendor.history_shows(task):
        raise CannotShow("the vendor's history does not tell reasons")
    request = stage.said(operation, task)
    stage.stock(stage.first, 10)
    reading = _reading(stage)
    exchange = granted(stage, operation, request)
    for reader, asked in reading:
        meant = reader.parse_request(asked)
        for _, told in stage.pages(reader, asked):
            for entry in told.entries if isinstance(told, ToldHistory) else ():
                if entry.reason == reason and entry.points_delta in {UNSET, points}:
                    return
            if isinstance(meant, HistoryQuery) and meant.newest_first:
                break
    raise Violated("the adjustment stands in no history with its reason and points", exchange)


def _reading(stage: Stage) -> list[tuple[Operation, ValidRequest]]:
    found = []
    for reader in stage.vendor.operations:
        if stage.setup.access(reader) is None:
            continue
        for query in stage.histories(stage.name(stage.first)):
            # Some vendors tell the history with the customer.
            request = reader.said(query, stage.setup.options)
            if request is not None:
                found.append((reader, request))
                break
    if not found:
        raise CannotShow("nothing here tells a history")
    return found


def unknown_customer(stage: Stage, operation: Operation) -> None:
    """Whom nobody knows gets no points."""
    request = stage.said(operation, stage.adjustment(sign(stage, operation), stage.nobody()))
    refused(stage, operation, request, Problem(Code.UNKNOWN_CUSTOMER))


MOVING: Final[Mapping[Promise, tuple[str, Probe]]] = {
    Promise.ADDITION: ("an addition moves the balance by its points, once", addition),
    Promise.DEDUCTION: ("a deduction moves the balance by its points, once", deduction),
    Promise.OVERDRAFT: ("a deduction of more than there is floors or is refused, as the vendor does", overdraft),
    Promise.RESET: ("a reset leaves no points", reset),
    Promise.LIST: ("a list is adjusted as a whole, or nobody of it", lists),
    Promise.LISTED_TWICE: ("a customer listed twice is adjusted once", listed_twice),
    Promise.REPLAY: ("the same key again gives the same answer and no points", replay),
    Promise.KEY_REUSED: ("a key with another request is refused", key_reused),
    Promise.HISTORY: ("an adjustment stands in the history with its reason", history),
    Promise.UNKNOWN_CUSTOMER: ("a customer whom nobody knows is refused", unknown_customer),
}
"""The promises about operations that adjust."""
