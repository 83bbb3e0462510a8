"""What a run leaves behind: names, profiles and points are as they were before it, or it is told what is not."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from loyalty_gateway.adjustment import CustomerReference
from loyalty_gateway.contract_run.client import NoAnswer, OutOfTime
from loyalty_gateway.contract_run.likeness import is_success
from loyalty_gateway.contract_run.setup import Customer
from loyalty_gateway.contract_run.stage import CannotShow, NoVerdict, Stage, Violated
from loyalty_gateway.customer import CustomerUpdate

_LARGEST_STEP: Final = 1_000_000_000
_MOST_STEPS: Final = 40


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """A customer before anything is moved.

    ``points`` are ``None`` where they could not be read, and ``is_told`` is false where nothing tells them at all.
    """

    customer: Customer
    points: int | None = None
    is_told: bool = True
    names: tuple[CustomerReference, ...] = ()
    profile: Mapping[str, object] = {}


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the customers, a sentence each; ``is_whole`` is false where something was not given back."""

    told: tuple[str, ...]
    is_whole: bool


def before_all(stage: Stage) -> list[Before]:
    """The customers whom a run is about; raises Unreachable and LimitUsedUp."""
    return [_before(stage, customer) for customer in stage.setup.customers[:2]]


def _before(stage: Stage, customer: Customer) -> Before:
    try:
        found = stage.looked_up(customer)
    except CannotShow:
        return Before(customer=customer, is_told=False)
    except (NoVerdict, Violated, NoAnswer, OutOfTime):
        return Before(customer=customer)
    points = found.wallet.available
    assert isinstance(points, int)
    return Before(customer=customer, points=points, names=found.references, profile=found.profile)


def give_back(stage: Stage, before: list[Before]) -> Returned:
    """Takes back what a probe had no time to, and brings each customer's profile and points to what they were."""
    with suppress(OutOfTime):
        stage.client.wait_for_the_limit()
    wrong = [*_undone(stage)]
    told = list(wrong)
    for one in before:
        who = stage.setup.spelt(one.customer)
        if one.points is None:
            told.append(f"{who}: the balance could not be read, so no points were given back")
            wrong += told[-1:] if one.is_told else []
            continue
        left: list[str] = []
        for what, back in (("points", _points_back), ("the profile", _profile_back)):
            try:
                left += back(stage, one)
            except Exception as error:  # noqa: BLE001 - what else there is, is given back nonetheless
                left.append(f"{what} could not be given back ({str(error) or type(error).__name__})")
        wrong += left
        told += [f"{who}: {sentence}" for sentence in left]
        if not left:
            told.append(f"{who} has the points of before; histories and lifetime counters keep what was moved")
    return Returned(told=tuple(told), is_whole=not wrong)


def _undone(stage: Stage) -> Iterator[str]:
    for operation, request in stage.to_undo:
        try:
            done = is_success(stage.ask(operation, request).answer)
        except (NoAnswer, OutOfTime):
            done = False
        if not done:
            yield f"what {operation.id} changed of a customer could not be taken back"


def _profile_back(stage: Stage, before: Before) -> Iterator[str]:
    """What is not as it was, after what a vendor has words for was taken back."""
    found = stage.looked_up(before.customer)
    for name in before.names:
        if found.references and name not in found.references:
            yield f"is known as {name} no longer"
    for field, was in before.profile.items():
        if field not in found.profile or found.profile[field] == was:
            continue
        update = CustomerUpdate(customer=stage.name(before.customer), changes={field: was})
        if not _is_changed(stage, update):
            yield f"{field} is another than before"


def _is_changed(stage: Stage, update: CustomerUpdate) -> bool:
    for operation in stage.vendor.operations:
        if operation.asks is CustomerUpdate and stage.setup.access(operation) is not None:
            with suppress(CannotShow):
                return is_success(stage.ask(operation, stage.said(operation, update)).answer)
    return False


def _points_back(stage: Stage, before: Before) -> Iterator[str]:
    customer, points = before.customer, before.points
    assert points is not None
    left = stage.balance(customer) - points
    for _ in range(_MOST_STEPS):
        if not left:
            return
        # A vendor may bound what one adjustment moves.
        stage.move(max(-_LARGEST_STEP, min(_LARGEST_STEP, -left)), customer)
        left = stage.balance(customer) - points
    if left:
        yield f"has {left:+} points against before"
