"""The promises of every ledger, one by one, wherever it is kept."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from opened import (
    JANE,
    JANES_EMAIL,
    NOBODY,
    OMAR,
    OTHER,
    SECOND,
    START,
    Opened,
    codes,
    instruction,
    moments,
    unfolded,
)

from loyalty_gateway.adjustment import LARGEST_POINTS, CustomerReference, Everyone, Merchant, Overdraft, Receipt
from loyalty_gateway.ledger.groups import LARGEST_GROUP, MOST_WAITING
from loyalty_gateway.problem import Code, Problem
from stores import Store

EVERYONE = Everyone.EVERYONE
ENROLLING = Merchant(name="demo", enrols_unknown_customers=True)

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


# One customer


def test_a_receipt_tells_the_entry_the_wallet_and_the_customer(opened: Opened) -> None:
    opened.clock.now += SECOND

    receipt = opened.adjust(instruction(JANES_EMAIL, 10, reason="gift", metadata={"order": [1, "x"]}))

    (entry,), (wallet,) = receipt.entries, receipt.wallets
    assert (entry.points_before, entry.points_delta, entry.points_after) == (0, 10, 10)
    assert (entry.reason, entry.metadata, entry.occurred_at) == ("gift", {"order": [1, "x"]}, START + SECOND)
    assert (wallet.available, wallet.version, wallet.id) == (10, 1, entry.wallet_id)
    assert receipt.customers == (JANES_EMAIL,)
    assert not receipt.replayed


def test_an_entry_is_a_row_that_operators_read_with_sql(opened: Opened) -> None:
    opened.adjust(
        instruction(JANE, 10, "k", reason="gift", metadata={"a": 1}, notify=("email", "sms"), visible=False)
    )

    (row,) = opened.rows("SELECT * FROM entries")

    assert (row["reason"], row["metadata"], row["notify"]) == ("gift", '{"a":1}', '["email","sms"]')
    assert (row["vendor"], row["visible"], row["idempotency_key"]) == ("mage", 0, "k")


def test_an_adjustment_through_one_reference_is_seen_through_another(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))

    opened.adjust(instruction(JANES_EMAIL, 5))

    assert opened.available(JANE) == opened.available(JANES_EMAIL) == 15


@pytest.mark.parametrize(
    ("named_by", "told"), [(None, JANES_EMAIL), ("shopify", JANE), ("email", JANES_EMAIL), ("salla", JANES_EMAIL)]
)
def test_a_customer_is_named_in_the_namespace_asked_for_where_there_is_one(
    opened: Opened, named_by: str | None, told: CustomerReference
) -> None:
    receipt = opened.adjust(instruction(JANES_EMAIL, 10, named_by=named_by))

    assert receipt.customers == (told,)


def test_a_reset_takes_whatever_there_is(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 70))

    (entry,) = opened.adjust(instruction(JANE, None)).entries

    assert (entry.points_asked, entry.points_delta, entry.points_after) == (None, -70, 0)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (instruction(NOBODY), Code.UNKNOWN_CUSTOMER),
        (instruction(CustomerReference("email", JANE.value)), Code.UNKNOWN_CUSTOMER),
        (instruction(OMAR), Code.CUSTOMER_EXCLUDED),
        (instruction(JANE, -51), Code.TOO_FEW_POINTS),
        (instruction(JANE, LARGEST_POINTS - 49), Code.BALANCE_OVERFLOW),
    ],
    ids=lambda value: str(value) if isinstance(value, Code) else "",
)
def test_a_refused_adjustment_leaves_no_trace(opened: Opened, asked: Any, code: Code) -> None:
    opened.adjust(instruction(JANE, 50))
    opened.execute("UPDATE wallets SET excluded = 1 WHERE id = 2")
    before = opened.contents()

    refusal = opened.refusal(asked)

    assert refusal is code
    assert opened.contents() == before


def test_the_last_point_below_64_bits_is_still_credited(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))

    opened.adjust(instruction(JANE, LARGEST_POINTS - 50))

    assert opened.available(JANE) == LARGEST_POINTS


# A list of customers


def test_a_list_with_one_refused_customer_adjusts_nobody(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))
    before = opened.contents()

    refusals = [opened.refusal(instruction((JANE, OMAR), -10)), opened.refusal(instruction((JANE, NOBODY), 10))]

    assert refusals == [Code.TOO_FEW_POINTS, Code.UNKNOWN_CUSTOMER]
    assert opened.contents() == before


def test_a_customer_listed_twice_or_by_two_references_counts_once(opened: Opened) -> None:
    receipt = opened.adjust(instruction((JANE, OMAR, JANES_EMAIL, JANE, OMAR), 10))

    assert receipt.count == 2
    assert receipt.customers == (JANE, OMAR)
    assert opened.deltas() == [10, 10]


def test_an_unknown_customer_in_a_list_is_told_before_an_excluded_one(opened: Opened) -> None:
    opened.execute("UPDATE wallets SET excluded = 1")

    assert opened.refusal(instruction((JANE, NOBODY))) is Code.UNKNOWN_CUSTOMER


# Everyone


def test_everyone_passes_over_the_excluded(opened: Opened) -> None:
    opened.execute("UPDATE wallets SET excluded = 1 WHERE id = 2")

    receipt = opened.adjust(instruction(EVERYONE, 10))

    assert (receipt.count, receipt.entries, receipt.wallets) == (1, (), ())
    assert (opened.available(JANE), opened.available(OMAR)) == (10, 0)


def test_everyone_reaches_only_the_merchants_own_customers(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    opened.adjust(instruction(EVERYONE, 10))

    assert (opened.available(JANE), opened.available(JANE, OTHER)) == (10, 0)


def test_everyone_of_a_merchant_without_customers_is_nobody(opened: Opened) -> None:
    assert opened.adjust(instruction(EVERYONE, 10, merchant=OTHER)).count == 0


def test_everyone_sees_what_the_same_group_did_before_and_is_seen_by_what_follows(opened: Opened) -> None:
    opened.clock.step = SECOND

    outcomes = opened.at_once(
        instruction(JANE, 10),
        instruction(EVERYONE, 5),
        instruction(JANE, -15),
        instruction(EVERYONE, -1),
        instruction(OMAR, -5),
    )

    assert codes(outcomes) == [None, None, None, Code.TOO_FEW_POINTS, None]
    assert len(moments(outcomes)) == 1
    assert (opened.available(JANE), opened.available(OMAR)) == (0, 0)
    assert unfolded(opened) == []


def test_everyone_with_a_key_is_applied_once(opened: Opened) -> None:
    first = opened.adjust(instruction(EVERYONE, 10, "k"))

    second = opened.adjust(instruction(EVERYONE, 10, "k"))

    assert (first.replayed, second.replayed, second.count) == (False, True, 2)
    assert opened.deltas() == [10, 10]


# Idempotency keys


def test_a_key_seen_before_gives_the_same_receipt_again(opened: Opened) -> None:
    first = opened.adjust(instruction((JANE, OMAR), 10, "k", metadata={"a": [1, None]}, notify=("sms",)))
    opened.adjust(instruction(JANE, 99))

    again = opened.adjust(instruction((JANE, OMAR), 10, "k", metadata={"a": [1, None]}, notify=("sms",)))

    assert again.replayed
    assert (again.entries, again.wallets, again.customers) == (first.entries, first.wallets, first.customers)
    assert opened.deltas() == [10, 10, 99]


def test_a_key_outlives_the_ledgers_process(opened: Opened) -> None:
    first = opened.adjust(instruction(JANE, 10, "k"))
    opened.reopen()

    again = opened.adjust(instruction(JANE, 10, "k"))

    assert again.replayed
    assert again.entries == first.entries


def test_a_key_seen_before_with_another_request_is_refused(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10, "k", b"one request"))

    refusal = opened.refusal(instruction(JANE, 10, "k", b"another"))

    assert refusal is Code.KEY_REUSED
    assert opened.deltas() == [10]


@pytest.mark.parametrize(
    "elsewhere", [{"vendor": "salla"}, {"merchant": OTHER}], ids=["another vendor", "another merchant"]
)
def test_a_key_means_nothing_elsewhere(opened: Opened, elsewhere: dict[str, Any]) -> None:
    opened.enrol(JANE, merchant=OTHER)
    opened.adjust(instruction(JANE, 10, "k", b"one request"))

    receipt = opened.adjust(instruction(JANE, 10, "k", b"another", **elsewhere))

    assert not receipt.replayed
    assert opened.deltas() == [10, 10]


def test_the_key_of_a_refused_adjustment_is_free_again(opened: Opened) -> None:
    refusal = opened.refusal(instruction(JANE, -10, "k", b"one request"))

    receipt = opened.adjust(instruction(JANE, 10, "k", b"another"))

    assert refusal is Code.TOO_FEW_POINTS
    assert not receipt.replayed


def test_of_two_at_once_with_one_key_the_second_is_told_that_the_first_is_in_flight(opened: Opened) -> None:
    outcomes = opened.at_once(*[instruction(JANE, 10, "k")] * 2)

    assert codes(outcomes) == [None, Code.KEY_IN_FLIGHT]
    assert opened.deltas() == [10]
    assert opened.adjust(instruction(JANE, 10, "k")).replayed


def test_one_key_is_in_flight_for_one_vendor_of_one_merchant_only(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    outcomes = opened.at_once(
        instruction(JANE, 1, "k"),
        instruction(JANE, 2, "k", vendor="salla"),
        instruction(JANE, 3, "k", merchant=OTHER),
        instruction(JANE, 4, "another"),
    )

    assert codes(outcomes) == [None] * 4
    assert opened.deltas() == [1, 2, 3, 4]


@pytest.mark.parametrize(("seconds", "replayed"), [(10, True), (10.000_001, False)])
def test_a_key_is_remembered_as_long_as_configured(open_ledger: Open, seconds: float, *, replayed: bool) -> None:
    opened = open_ledger(keep_keys_seconds=10)
    opened.enrol(JANE)
    opened.adjust(instruction(JANE, 10, "k"))
    opened.clock.now += round(seconds * SECOND)

    receipt = opened.adjust(instruction(JANE, 10, "k"))

    assert receipt.replayed is replayed
    assert opened.deltas() == ([10] if replayed else [10, 10])


def test_a_key_used_again_after_its_time_is_remembered_anew(open_ledger: Open) -> None:
    opened = open_ledger(keep_keys_seconds=10)
    opened.enrol(JANE)
    opened.adjust(instruction(JANE, 10, "k", b"one request"))
    opened.clock.now += 11 * SECOND
    opened.adjust(instruction(JANE, 20, "k", b"another"))
    opened.clock.now += 9 * SECOND

    receipt = opened.adjust(instruction(JANE, 20, "k", b"another"))

    assert receipt.replayed
    assert receipt.entries[0].points_delta == 20


def test_keys_are_forgotten_after_their_time_and_younger_ones_are_kept(open_ledger: Open) -> None:
    opened = open_ledger(keep_keys_seconds=100)
    opened.enrol(JANE)
    opened.adjust(instruction(JANE, 1, "old"))
    opened.clock.now += 90 * SECOND
    opened.adjust(instruction(JANE, 1, "young"))
    opened.clock.now += 70 * SECOND

    opened.adjust(instruction(JANE, 1))

    assert [row["key"] for row in opened.rows("SELECT key FROM idempotency_keys")] == ["young"]


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


# Enrolling


def test_enrolling_again_finds_the_same_customer_and_adds_references(opened: Opened) -> None:
    bitbybit = CustomerReference("bitbybit", "cust_abc123")

    wallet_ids = {opened.enrol(JANE, bitbybit), opened.enrol(JANES_EMAIL), opened.enrol(bitbybit)}
    opened.adjust(instruction(bitbybit, 10))

    assert wallet_ids == {1}
    assert opened.available(JANE) == 10


def test_enrolling_references_of_two_customers_as_one_is_refused(opened: Opened) -> None:
    before = opened.contents()

    with pytest.raises(Problem) as refused:
        opened.enrol(CustomerReference("salla", "1"), JANES_EMAIL, OMAR)

    assert refused.value.code is Code.CUSTOMER_CONFLICT
    assert opened.contents() == before


def test_a_merchant_that_enrols_takes_an_unknown_customer_at_the_first_adjustment(opened: Opened) -> None:
    receipt = opened.adjust(instruction((NOBODY, JANE), 10, merchant=ENROLLING))
    opened.adjust(instruction(NOBODY, -3, merchant=ENROLLING))

    assert receipt.customers == (NOBODY, JANE)
    assert opened.available(NOBODY) == 7
    assert unfolded(opened) == []


def test_an_unknown_customer_listed_twice_is_enrolled_and_adjusted_once(opened: Opened) -> None:
    receipt = opened.adjust(instruction((NOBODY, NOBODY), 10, merchant=ENROLLING))

    assert receipt.count == 1
    assert opened.available(NOBODY) == 10
    assert unfolded(opened) == []


def test_two_unknown_references_are_two_customers(opened: Opened) -> None:
    unknown = (NOBODY, CustomerReference("email", "nobody@example.com"))

    receipt = opened.adjust(instruction(unknown, 10, merchant=ENROLLING))

    assert len({wallet.id for wallet in receipt.wallets}) == 2


def test_a_refused_adjustment_enrols_nobody(opened: Opened) -> None:
    opened.execute("UPDATE wallets SET excluded = 1 WHERE id = 1")
    before = opened.contents()

    outcomes = opened.at_once(
        instruction(NOBODY, -1, merchant=ENROLLING), instruction((NOBODY, JANE), 1, merchant=ENROLLING)
    )

    assert codes(outcomes) == [Code.TOO_FEW_POINTS, Code.CUSTOMER_EXCLUDED]
    assert opened.contents() == before


def test_a_customer_enrolled_in_a_group_is_known_to_the_rest_of_it(opened: Opened) -> None:
    zoe = CustomerReference("email", "zoë@example.com")
    opened.clock.step = SECOND

    outcomes = opened.at_once(
        instruction(NOBODY, -1, merchant=ENROLLING),
        instruction(NOBODY, 10, merchant=ENROLLING),
        instruction((JANE, zoe), 5, merchant=ENROLLING),
        instruction((NOBODY, zoe), -4),
    )

    assert codes(outcomes) == [Code.TOO_FEW_POINTS, None, None, None]
    assert len(moments(outcomes)) == 1
    assert (opened.available(NOBODY), opened.available(zoe)) == (6, 1)


# Merchants are walls


def test_merchants_with_the_same_references_never_move_each_others_points(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    opened.at_once(instruction(JANE, 10), instruction(JANE, 200, merchant=OTHER), instruction(JANE, -5))

    assert (opened.available(JANE), opened.available(JANE, OTHER)) == (5, 200)


def test_a_customer_of_one_merchant_is_unknown_to_another(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    assert opened.refusal(instruction(OMAR, 10, merchant=OTHER)) is Code.UNKNOWN_CUSTOMER


# Groups


def test_a_refused_adjustment_refuses_only_itself(opened: Opened) -> None:
    opened.clock.step = SECOND

    outcomes = opened.at_once(
        instruction(JANE, 10), instruction(JANE, -11), instruction(NOBODY, 1), instruction(OMAR, 1)
    )

    assert codes(outcomes) == [None, Code.TOO_FEW_POINTS, Code.UNKNOWN_CUSTOMER, None]
    assert len(moments(outcomes)) == 1
    assert opened.deltas() == [10, 1]


def test_adjustments_of_one_wallet_in_one_group_apply_in_order(opened: Opened) -> None:
    opened.clock.step = SECOND

    outcomes = opened.at_once(
        instruction(JANE, -1),
        instruction(JANE, 10),
        instruction(JANES_EMAIL, -10),
        instruction(JANE, -1),
        instruction(JANE, 3),
        instruction(JANE, -100, overdraft=Overdraft.FLOOR),
    )

    assert codes(outcomes) == [Code.TOO_FEW_POINTS, None, None, Code.TOO_FEW_POINTS, None, None]
    assert len(moments(outcomes)) == 1
    assert opened.deltas() == [10, -10, 3, -3]
    assert unfolded(opened) == []


def test_entries_of_a_wallet_stay_in_order_when_the_clock_goes_back(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))
    opened.clock.now -= 5 * SECOND

    opened.at_once(instruction(JANE, 10), instruction(EVERYONE, 10), instruction(JANE, 10))

    assert unfolded(opened) == []


@pytest.mark.parametrize(
    "unkeepable",
    [{"metadata": {"what": object()}}, {"reason": "\ud800"}, {"notify": (object(),)}],
    ids=["metadata", "reason", "notify"],
)
@pytest.mark.parametrize("customers", [JANE, (OMAR, JANE), EVERYONE], ids=["one", "list", "everyone"])
def test_an_adjustment_that_cannot_be_kept_fails_alone(
    opened: Opened, customers: Any, unkeepable: dict[str, Any]
) -> None:
    outcomes = opened.at_once(
        instruction(JANE, 1), instruction(customers, 10, "k", **unkeepable), instruction(JANE, 2)
    )

    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, False, True]
    assert opened.deltas() == [1, 2]
    assert unfolded(opened) == []
    assert opened.adjust(instruction(JANE, 10, "k")).replayed is False


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


@pytest.mark.parametrize("key", [None, "k"])
def test_an_adjustment_whose_caller_goes_away_is_applied_once(opened: Opened, key: str | None) -> None:
    async def leave_while_waiting() -> None:
        waiting = asyncio.create_task(opened.ledger.adjust(instruction(JANE, 10, key)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await opened.ledger.adjust(instruction(OMAR, 1))

    opened.run(leave_while_waiting())

    assert opened.deltas() == [10, 1]


def test_a_key_whose_caller_went_away_is_in_flight_until_its_outcome_and_then_replays(opened: Opened) -> None:
    async def leave_and_ask_again() -> tuple[Code, Receipt]:
        with opened.store.uncommitted("UPDATE wallets SET available = 0"):
            waiting = asyncio.create_task(opened.ledger.adjust(instruction(JANE, 10, "k")))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            with pytest.raises(Problem) as refused:
                await opened.ledger.adjust(instruction(JANE, 10, "k"))
        await opened.ledger.adjust(instruction(OMAR, 1))
        return refused.value.code, await opened.ledger.adjust(instruction(JANE, 10, "k"))

    code, again = opened.run(leave_and_ask_again())

    assert code is Code.KEY_IN_FLIGHT
    assert again.replayed
    assert opened.deltas() == [10, 1]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_refusal_whose_caller_went_away_is_no_error_of_the_program(opened: Opened, key: str | None) -> None:
    told: list[dict[str, Any]] = []

    async def leave_while_refused() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        waiting = asyncio.create_task(opened.ledger.adjust(instruction(JANE, -10, key)))
        await asyncio.sleep(0)
        waiting.cancel()
        await opened.ledger.adjust(instruction(OMAR, 1))

    opened.run(leave_while_refused())

    assert told == []
    assert opened.refusal(instruction(JANE, -10, "k")) is Code.TOO_FEW_POINTS


# Opening and closing


def test_closing_carries_out_what_waits(opened: Opened) -> None:
    opened.close_ledger()

    async def close_with_many_waiting() -> list[Receipt]:
        ledger = opened.store.ledger()
        await ledger.open()
        waiting = [asyncio.create_task(ledger.adjust(instruction(JANE, 1))) for _ in range(600)]
        await asyncio.sleep(0)
        await ledger.close()
        return await asyncio.gather(*waiting)

    receipts = asyncio.run(close_with_many_waiting())

    assert len(receipts) == 600
    assert opened.available(JANE) == 600


def test_after_closing_an_adjustment_is_unavailable(opened: Opened) -> None:
    opened.close_ledger()

    assert opened.refusal(instruction(JANE, 1)) is Code.UNAVAILABLE
    assert opened.deltas() == []


def test_after_closing_enrolling_is_unavailable(opened: Opened) -> None:
    opened.close_ledger()

    with pytest.raises(Problem) as refused:
        opened.enrol(NOBODY)

    assert refused.value.code is Code.UNAVAILABLE


def test_a_ledger_that_never_opened_closes_and_answers_what_waits(store: Store) -> None:
    async def close_unopened() -> Any:
        ledger = store.ledger()
        waiting = asyncio.create_task(ledger.adjust(instruction(JANE, 1)))
        await asyncio.sleep(0)
        await ledger.close()
        return await asyncio.wait_for(waiting, 1)

    with pytest.raises(Problem) as refused:
        asyncio.run(close_unopened())

    assert refused.value.code is Code.UNAVAILABLE


def test_reopening_keeps_everything(opened: Opened) -> None:
    opened.adjust(instruction((JANE, OMAR), 10, "k", metadata={"a": 1}))
    before = opened.contents()

    opened.reopen()

    assert opened.contents() == before
    assert opened.enrol(JANES_EMAIL) == 1
    (entry,) = opened.adjust(instruction(JANE, 1)).entries
    assert (entry.id, entry.version, entry.points_before) == (3, 2, 10)


# A store that is not at hand for a while


@pytest.mark.parametrize("table", ["wallets", "entries", "customer_references"])
def test_a_ledger_without_one_of_its_tables_is_unavailable_until_it_is_back(opened: Opened, table: str) -> None:
    opened.execute(f"ALTER TABLE {table} RENAME TO hidden")

    refusals = codes(opened.at_once(instruction(JANE, 10, "k"), instruction(OMAR, 10)))
    opened.execute(f"ALTER TABLE hidden RENAME TO {table}")

    assert refusals == [Code.UNAVAILABLE, Code.UNAVAILABLE]
    assert opened.deltas() == []
    assert not opened.adjust(instruction(JANE, 10, "k")).replayed
    assert unfolded(opened) == []


def test_enrolling_in_a_ledger_without_one_of_its_tables_is_unavailable(opened: Opened) -> None:
    opened.execute("ALTER TABLE customer_references RENAME TO hidden")

    with pytest.raises(Problem) as refused:
        opened.enrol(NOBODY)

    assert refused.value.code is Code.UNAVAILABLE


def test_a_ledger_without_wallets_is_not_ready(opened: Opened) -> None:
    ready = [opened.run(opened.ledger.ready())]
    opened.execute("ALTER TABLE wallets RENAME TO hidden")
    ready.append(opened.run(opened.ledger.ready()))
    opened.execute("ALTER TABLE hidden RENAME TO wallets")
    ready.append(opened.run(opened.ledger.ready()))

    assert ready == [True, False, True]
