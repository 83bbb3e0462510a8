"""Takes the old side's balances over to the new one, customer by customer, while traffic goes on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from loyalty_gateway.adjustment import CustomerReference
from loyalty_gateway.customer import CustomerOrder, CustomersQuery, Enrolment
from loyalty_gateway.ledger.exporting import page
from loyalty_gateway.ledger.moving import Move, Stage
from loyalty_gateway.migration.parts import Parts
from loyalty_gateway.migration.taking_over import PASSES, Busy, set_balance_patiently
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldCustomer, ToldCustomers
from loyalty_gateway.vendor import Task

R = TypeVar("R")

_PAGE: Final = 500
_BUSY_SECONDS: Final = 10.0
_PAUSES_SECONDS: Final = (0.2, 1.0, 3.0)


class Result(NamedTuple):
    """What came of one customer, of the kinds that ``import_balances`` has; ``points`` had to be moved."""

    whom: str
    kind: str
    points: int = 0


class Listed(NamedTuple):
    """A customer of the old side's list: our number, 0 where we have none, or ``None`` where it is two of ours."""

    references: tuple[CustomerReference, ...]
    wallet_id: int | None
    available: int | None


async def listed(parts: Parts) -> AsyncIterator[Listed]:
    """The customers of the old side's list, where it has one, with whom they are here.

    However long it is: each of its pages is waited for as a customer is. Raises Problem.
    """
    query: Task = CustomersQuery(limit=100, order=CustomerOrder.NUMBER)
    said = parts.old.calls.say(query) or parts.old.calls.say(
        CustomersQuery(limit=100, order=CustomerOrder.UPDATED)
    )
    if said is None:
        return
    async for told in parts.old.calls.pages(said, most=None, ask=patiently):
        if isinstance(told, ToldCustomers):
            for one in told.customers:
                yield await _known(parts, one)


async def _known(parts: Parts, one: ToldCustomer) -> Listed:
    numbers = {number for reference in one.references if (number := await parts.number(reference))}
    available = one.wallet.available
    wallet_id = None if len(numbers) > 1 else numbers.pop() if numbers else 0
    return Listed(one.references, wallet_id, available if isinstance(available, int) else None)


async def everyone_here(parts: Parts) -> AsyncIterator[int]:
    """The numbers of all customers whom the ledger has met."""
    after = 0
    while True:
        place = after
        found = await parts.ledger.look(
            lambda dialect, place=place: page(dialect, parts.merchant.name, place, _PAGE),  # type: ignore[misc]
            merchant=parts.merchant,
        )
        for customer in found.customers:
            yield customer.wallet.id
        if found.last is None:
            return
        after = found.last


async def import_balances(parts: Parts, move: Move, batch: str) -> AsyncIterator[Result]:
    """Takes everybody over, each once for a batch, and tells what came of each.

    Kinds are ``set``; ``known``, taken over by this batch before; ``led``, whose new side leads already;
    ``conflict``, whose references belong to two customers here; ``unknown`` to the new side; ``busy``, of whom
    something was under way all the time; ``refused``; ``unread``, the old side's list. All but the first three are
    left for another run.
    """
    try:
        async for one in listed(parts):
            if one.wallet_id is None:
                yield Result(_named(one), "conflict")
            elif not one.wallet_id and one.references:
                try:
                    await parts.ledger.enrol(parts.merchant, Enrolment(references=one.references))
                except Problem as problem:
                    yield Result(_named(one), "conflict" if problem.code is Code.CUSTOMER_CONFLICT else "refused")
    except Problem as problem:
        yield Result(f"the old side's list: {problem.code.value}", "unread")
    async for wallet_id in everyone_here(parts):
        yield await _take(parts, move, batch, wallet_id)


def _named(one: Listed) -> str:
    return " ".join(map(str, one.references))


async def _take(parts: Parts, move: Move, batch: str, wallet_id: int) -> Result:
    stage, whom = move.stage_of(wallet_id), f"wallet_{wallet_id}"
    if stage.is_led_by_new:
        return Result(whom, "led")
    follows = stage is Stage.MIRROR
    stand = await parts.standing(wallet_id)
    if stand.batch == batch and (stand.version is not None or not follows):
        return Result(whom, "known")
    try:
        points = await patiently(
            lambda: set_balance_patiently(parts, wallet_id, batch=batch, follows=follows, seconds=_BUSY_SECONDS)
        )
    except Busy:
        return Result(whom, "busy")
    except Problem as problem:
        return Result(whom, "unknown" if problem.code is Code.UNKNOWN_CUSTOMER else "refused")
    return Result(whom, "set", points)


async def patiently(work: Callable[[], Awaitable[R]]) -> R:
    """What the work gives; it waits for rate limits, and tries again what may pass. Raises Problem."""
    pauses = iter(_PAUSES_SECONDS)
    while True:
        try:
            return await work()
        except Problem as problem:
            pause = problem.retry_after if problem.code is Code.RATE_LIMITED else next(pauses, None)
            if problem.code not in PASSES or pause is None:
                raise
            await asyncio.sleep(pause)
