"""What is at most done at once, wherever the ledger is kept; what it promises besides is in ``conformance.py``."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from opened import (
    DEMO,
    JANE,
    JANES_EMAIL,
    NOBODY,
    OMAR,
    SECOND,
    Opened,
    codes,
    instruction,
)

from loyalty_gateway.adjustment import CustomerReference, Everyone, Receipt
from loyalty_gateway.customer import CustomerUpdate, Enrolment
from loyalty_gateway.ledger.groups import LARGEST_GROUP, MOST_WAITING
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.problem import Code, Problem
from stores import Store

Open = Callable[..., Opened]


@pytest.fixture
def open_ledger(store: Store) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(**options: Any) -> Opened:
            opened = Opened(store, **options)
            stack.callback(opened.close)
            return opened

        yield open_one


@pytest.fixture
def opened(open_ledger: Open) -> Opened:
    """A ledger with Jane, who has two references, and Omar, who has one."""
    opened = open_ledger()
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    return opened


def test_many_forgotten_keys_do_not_hold_up_one_commit(open_ledger: Open) -> None:
    opened = open_ledger(keep_keys_seconds=100)
    opened.enrol(JANE)
    for half in ("a", "b"):
        opened.at_once(*(instruction(JANE, 1, f"{half} {number}") for number in range(6_000)))
    opened.clock.now += 101 * SECOND

    left = []
    for _ in range(3):
        opened.adjust(instruction(JANE, 1))
        left.append(opened.rows("SELECT count(*) AS n FROM idempotency_keys")[0]["n"])

    assert 12_000 > left[0] > left[1] > left[2] == 0


def test_adjustments_that_arrive_together_are_committed_together(opened: Opened) -> None:
    opened.gauges.sizes.clear()

    outcomes = opened.at_once(*(instruction(JANE, 1) for _ in range(1_000)))

    assert codes(outcomes) == [None] * 1_000
    assert sum(opened.gauges.sizes) == 1_000
    assert max(opened.gauges.sizes) == LARGEST_GROUP
    assert len(opened.gauges.sizes) <= 5
    assert opened.gauges.waiting[-1] == 0


def test_beyond_what_may_wait_a_further_adjustment_is_unavailable_at_once(opened: Opened) -> None:
    outcomes = opened.at_once(*(instruction(JANE, 1) for _ in range(MOST_WAITING + 3)))

    assert codes(outcomes) == [None] * MOST_WAITING + [Code.UNAVAILABLE] * 3
    assert opened.available(JANE) == MOST_WAITING


def test_enrolments_updates_and_adjustments_share_commits(opened: Opened) -> None:
    async def all_at_once() -> None:
        ledger = opened.ledger
        await asyncio.gather(
            ledger.adjust(instruction(JANE, 5)),
            ledger.enrol(DEMO, Enrolment(references=(NOBODY,))),
            ledger.update(DEMO, CustomerUpdate(customer=NOBODY, changes={}, excluded=True)),
            ledger.adjust(instruction(OMAR, 9)),
        )

    opened.gauges.sizes.clear()
    opened.run(all_at_once())

    assert opened.gauges.sizes == [4]


def test_each_is_named_by_the_reference_that_was_addressed_whatever_others_ask_in_the_same_group(
    opened: Opened,
) -> None:
    phones = [CustomerReference("phone", value) for value in ("+1", "+2")]
    opened.enrol(JANES_EMAIL, *phones)

    outcomes = opened.at_once(
        instruction(JANES_EMAIL, 1, named_by="phone"), instruction(phones[1], 1, named_by="phone")
    )

    assert [outcome.customers for outcome in outcomes if isinstance(outcome, Receipt)] == [
        (phones[0],),
        (phones[1],),
    ]


@pytest.mark.parametrize("everyone_at_once", [10_000, 1])
@pytest.mark.parametrize("customers", [JANE, OMAR, Everyone.EVERYONE])
def test_what_is_not_wanted_any_more_as_its_transaction_sees_leaves_no_trace(
    open_ledger: Open, customers: CustomerReference | Everyone, everyone_at_once: int
) -> None:
    opened = open_ledger(everyone_at_once=everyone_at_once)
    opened.enrol(JANE)
    opened.enrol(OMAR)
    asked = instruction(customers, 5, "once")
    is_wanted = False

    def still(_dialect: Dialect, merchant_id: int) -> Work[bool]:
        yield Statement("SELECT 1 FROM wallets WHERE merchant_id = :merchant_id", {"merchant_id": merchant_id})
        return is_wanted

    with pytest.raises(Problem) as found:
        opened.run(opened.ledger.adjust(asked, still=still))
    assert found.value.code is Code.RECORD_BUSY
    assert (opened.deltas(), opened.rows("SELECT key FROM idempotency_keys")) == ([], [])
    is_wanted = True

    receipt: Receipt = opened.run(opened.ledger.adjust(asked, still=still))

    assert not receipt.replayed
    assert opened.adjust(asked).replayed
