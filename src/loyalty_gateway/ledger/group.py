"""What is carried out in one transaction: adjustments in runs, everyone at once, customers one by one."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from loyalty_gateway.adjustment import Everyone, Instruction, Receipt
from loyalty_gateway.customer import Enrolment
from loyalty_gateway.ledger.enrolling import Register
from loyalty_gateway.ledger.everyone import adjust_everyone
from loyalty_gateway.ledger.keys import Keys
from loyalty_gateway.ledger.orders import Order, Outcome, Registration, Task
from loyalty_gateway.ledger.statements import Dialect, Work
from loyalty_gateway.ledger.working_set import WorkingSet
from loyalty_gateway.problem import Problem


class Terms(NamedTuple):
    """What holds for a whole group: the moment, how long keys count, and the most wallets that are everyone."""

    now: int
    keep_keys: int
    everyone_at_most: int


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
                if isinstance(task, Registration):
                    outcome = yield from _register(dialect, Order(task, merchant_id), terms)
                else:
                    outcome = yield from _adjust_everyone(dialect, Order(task, merchant_id), terms)
            except Problem as problem:
                outcome = problem
            outcomes.append(outcome)
    return outcomes


def _is_listed(task: tuple[Task, int]) -> bool:
    return not isinstance(task[0], Registration) and not isinstance(task[0].adjustment.customers, Everyone)


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


def _adjust_everyone(dialect: Dialect, order: Order[Instruction], terms: Terms) -> Work[Outcome]:
    keys = Keys([order], now=terms.now, keep=terms.keep_keys)
    yield from keys.load(dialect)
    receipt = keys.earlier(order)
    if receipt is None:
        count = yield from adjust_everyone(
            dialect, order.task, order.merchant_id, now=terms.now, at_most=terms.everyone_at_most
        )
        receipt = Receipt(merchant_id=order.merchant_id, count=count)
        keys.keep(order, receipt)
    yield from keys.write(dialect)
    return receipt


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
