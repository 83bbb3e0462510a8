"""What is carried out in one transaction: adjustments in runs, everyone at once, customers one by one."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from loyalty_gateway.adjustment import Everyone, Instruction, Receipt
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger.enrolling import Register
from loyalty_gateway.ledger.everyone import Change
from loyalty_gateway.ledger.jobs import accept, check_reached, hold_and_catch_up, last_job
from loyalty_gateway.ledger.keys import Keys
from loyalty_gateway.ledger.orders import (
    Behind,
    Guarded,
    Job,
    Note,
    Order,
    Outcome,
    Overtaken,
    Reach,
    Registration,
    Task,
    Unweighed,
)
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger.working_set import WorkingSet
from loyalty_gateway.problem import Code, Problem


class Terms(NamedTuple):
    """What holds for a whole group: the moment, how long keys count, and how much of everyone is not put off."""

    now: int
    keep_keys: int
    everyone_at_once: int


def carry_out(dialect: Dialect, tasks: Sequence[tuple[Task, int]], terms: Terms) -> Work[list[Outcome]]:
    """One outcome for each task, as if they came one after another; a refused one leaves no trace.

    Args:
        dialect: of the database.
        tasks: what is to be carried out, each with the number of its merchant.
        terms: what holds for all of them.

    Raises:
        Overtaken: the transaction is to begin anew.
    """
    outcomes: list[Outcome] = []
    for is_listed, run in groupby(tasks, _is_listed):
        if is_listed:
            listed = [Order(task, merchant_id) for task, merchant_id in run if isinstance(task, Instruction)]
            outcomes += yield from _adjust(dialect, listed, terms)
            continue
        for task, merchant_id in run:
            try:
                outcome = yield from _carry_out_one(dialect, task, merchant_id, terms)
            except (Problem, Behind, Unweighed) as refusal:
                outcome = refusal
            outcomes.append(outcome)
    return outcomes


def _is_listed(task: tuple[Task, int]) -> bool:
    return isinstance(task[0], Instruction) and not isinstance(task[0].adjustment.customers, Everyone)


def _carry_out_one(dialect: Dialect, task: Task, merchant_id: int, terms: Terms) -> Work[Outcome]:
    if isinstance(task, Registration):
        return (yield from _register(dialect, Order(task, merchant_id), terms))
    if isinstance(task, Guarded):
        return (yield from _carry_out_guarded(dialect, task, merchant_id, terms))
    if isinstance(task, Note):
        return (yield from task.work(dialect, merchant_id, terms.now))
    if isinstance(task, Reach):
        yield from hold_and_catch_up(dialect, merchant_id, task.wallet_ids)
        return None
    return (yield from _for_everyone(dialect, Order(task, merchant_id), terms))


def _carry_out_guarded(dialect: Dialect, task: Guarded, merchant_id: int, terms: Terms) -> Work[Outcome]:
    if not (yield from task.still(dialect, merchant_id)):
        raise Problem(Code.RECORD_BUSY)
    (outcome,) = yield from carry_out(dialect, [(task.asked, merchant_id)], terms)
    return outcome


def _register(dialect: Dialect, order: Order[Registration], terms: Terms) -> Work[Outcome]:
    task = order.task
    register = Register(dialect, order.merchant_id, task.merchant.tiers, terms.now)
    if not isinstance(task.asked, Enrolment):
        return (yield from register.update(task.asked))
    keys = Keys([order], now=terms.now, keep=terms.keep_keys)
    yield from keys.load(dialect)
    enrolled = keys.earlier_enrolled(order)
    if enrolled is None:
        enrolled = yield from register.enrol(task.asked)
        keys.keep(order, enrolled)
    yield from keys.write(dialect)
    return enrolled


def _for_everyone(dialect: Dialect, order: Order[Instruction | Job], terms: Terms) -> Work[Outcome]:
    keys = Keys([order], now=terms.now, keep=terms.keep_keys)
    yield from keys.load(dialect)
    receipt = keys.earlier(order)
    if receipt is None:
        # One after another: a job that has not reached everybody stands before whatever else is for everybody.
        yield from check_reached(order.merchant_id)
        if isinstance(order.task, Job):
            count = yield from accept(dialect, order.task, order.merchant_id, now=terms.now)
        else:
            count = yield from _move_everyone(dialect, order.task, order.merchant_id, terms)
        receipt = Receipt(merchant_id=order.merchant_id, count=count)
        keys.keep(order, receipt)
    yield from keys.write(dialect)
    return receipt


def _move_everyone(dialect: Dialect, task: Instruction, merchant_id: int, terms: Terms) -> Work[int]:
    """How many wallets were adjusted; raises Problem, and nobody has been adjusted then."""
    change = Change(dialect, task, merchant_id, now=terms.now)
    if (yield from change.is_of_more_than(terms.everyone_at_once)):
        raise Unweighed
    # Nobody may accept a job from here on, and nobody has since it was looked for.
    yield from last_job(dialect, merchant_id)
    yield from check_reached(merchant_id)
    weighed = yield from change.weigh(locking=True)
    weighed.check()
    yield from change.write(passing_over=True)
    if (yield from change.count()) != weighed.wallets:
        # Somebody else enrolled a customer, whom nobody weighed and the entries may reach.
        raise Overtaken
    return weighed.wallets


def _adjust(dialect: Dialect, orders: Sequence[Order[Instruction]], terms: Terms) -> Work[list[Outcome]]:
    wallets = WorkingSet(orders, terms.now)
    yield from wallets.load(dialect)
    # Whoever waited for a wallet has to see the keys that were written with it.
    keys = Keys(orders, now=terms.now, keep=terms.keep_keys)
    yield from keys.load(dialect)
    outcomes: list[Outcome] = []
    for order in orders:
        try:
            receipt = keys.earlier(order)
            if receipt is None:
                receipt = wallets.adjust(order)
                keys.keep(order, receipt)
            outcomes.append(receipt)
        except Problem as problem:
            outcomes.append(problem)
    yield from wallets.write()
    yield from keys.write(dialect)
    return outcomes
