"""What every ledger promises, wherever it is kept: one check for each promise.

A check is given an opened ledger with Jane, who has two references, and Omar, who has one. ``broken.py`` has
stores that break each promise.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from opened import (
    DEMO,
    JANE,
    JANES_EMAIL,
    NOBODY,
    OMAR,
    OTHER,
    SECOND,
    START,
    Opened,
    Outcome,
    codes,
    instruction,
    moments,
    unfolded,
)

from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    OWN_NAMESPACE,
    CustomerReference,
    Entry,
    Everyone,
    Idempotency,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Receipt,
    Tier,
)
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
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
from loyalty_gateway.problem import Code, Problem
from stores import opened_ledgers

EVERYONE: Final = Everyone.EVERYONE
ENROLLING: Final = Merchant(name="demo", enrols_unknown_customers=True)
PHONE: Final = CustomerReference("phone", "+966500000000")
NEW_EMAIL: Final = CustomerReference("email", "jane.doe@example.com")

Check = Callable[[Opened], None]

CHECKS: Final[list[Check]] = []


def check(promise: Check) -> Check:
    """Makes a promise part of the suite; its name is the sentence that is promised."""
    CHECKS.append(promise)
    return promise


def with_customers(opened: Opened) -> Opened:
    """The ledger with the customers whom every check finds in it."""
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    return opened


def _code(opened: Opened, work: Awaitable[Any]) -> Code | None:
    """What the work is refused for, ``None`` where it is not."""

    async def settled() -> Code | None:
        try:
            await work
        except Problem as problem:
            return problem.code
        return None

    code: Code | None = opened.run(settled())
    return code


def _settled(opened: Opened, *work: Awaitable[Any]) -> list[Any]:
    """What comes of each, problems among it."""

    async def settled() -> list[Any]:
        return await asyncio.gather(*work, return_exceptions=True)

    outcomes: list[Any] = opened.run(settled())
    return outcomes


def _enrol(opened: Opened, enrolment: Enrolment, merchant: Merchant = DEMO, key: str | None = None) -> Enrolled:
    idempotency = None if key is None else Idempotency(key, b"the request")
    enrolled: Enrolled = opened.run(
        opened.ledger.enrol(merchant, enrolment, vendor="mage", idempotency=idempotency)
    )
    return enrolled


def _names(customer: Customer) -> list[str]:
    return [str(reference) for reference in customer.references]


def _update(opened: Opened, customer: CustomerReference, excluded: bool | None = None, **changes: Any) -> Customer:  # noqa: FBT001 - as the update has it
    update = CustomerUpdate(customer=customer, changes=changes, excluded=excluded)
    updated: Customer = opened.run(opened.ledger.update(DEMO, update))
    return updated


def _customer(opened: Opened, *references: CustomerReference, merchant: Merchant = DEMO) -> Customer:
    found: Customer = opened.run(opened.ledger.customer(merchant, CustomerQuery(references=references)))
    return found


def _customers(opened: Opened, merchant: Merchant = DEMO, **query: Any) -> Customers:
    asked = CustomersQuery(**({"limit": 100} | query))
    found: Customers = opened.run(opened.ledger.customers(merchant, asked))
    return found


def _history(opened: Opened, merchant: Merchant = DEMO, **query: Any) -> History:
    asked = HistoryQuery(**({"customer": JANE, "limit": None, "newest_first": False} | query))
    history: History = opened.run(opened.ledger.history(merchant, asked))
    return history


def _told(history: History) -> list[int]:
    return [entry.points_delta for entry in history.entries]


# One customer


@check
def a_receipt_tells_the_entry_the_wallet_and_the_customer(opened: Opened) -> None:
    opened.clock.now += SECOND

    receipt = opened.adjust(instruction(JANES_EMAIL, 10, reason="gift", metadata={"order": [1, "x"]}))

    (entry,), (wallet,) = receipt.entries, receipt.wallets
    assert (entry.points_before, entry.points_delta, entry.points_after) == (0, 10, 10)
    assert (entry.reason, entry.metadata, entry.occurred_at) == ("gift", {"order": [1, "x"]}, START + SECOND)
    assert (wallet.available, wallet.version, wallet.id) == (10, 1, entry.wallet_id)
    assert receipt.customers == (JANES_EMAIL,)
    assert not receipt.replayed


@check
def an_entry_is_a_row_that_operators_read_with_sql(opened: Opened) -> None:
    opened.adjust(
        instruction(JANE, 10, "k", reason="gift", metadata={"a": 1}, notify=("email", "sms"), visible=False)
    )

    (row,) = opened.rows("SELECT * FROM entries")

    assert (row["reason"], row["metadata"], row["notify"]) == ("gift", '{"a":1}', '["email","sms"]')
    assert (row["vendor"], row["visible"], row["idempotency_key"]) == ("mage", 0, "k")


@check
def an_adjustment_through_one_reference_is_seen_through_another(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))

    opened.adjust(instruction(JANES_EMAIL, 5))

    assert opened.available(JANE) == opened.available(JANES_EMAIL) == 15


@check
def references_that_differ_in_case_are_two_customers(opened: Opened) -> None:
    upper, lower = CustomerReference("bitbybit", "CUST_A"), CustomerReference("bitbybit", "cust_a")
    opened.enrol(upper)

    assert opened.refusal(instruction(lower)) is Code.UNKNOWN_CUSTOMER
    assert opened.enrol(lower) != opened.enrol(upper)


@check
def a_reference_means_nothing_in_another_namespace(opened: Opened) -> None:
    assert opened.refusal(instruction(CustomerReference("email", JANE.value))) is Code.UNKNOWN_CUSTOMER


@check
def a_customer_is_named_in_the_namespace_asked_for_where_there_is_one(opened: Opened) -> None:
    named = [(None, JANES_EMAIL), ("shopify", JANE), ("email", JANES_EMAIL), ("salla", JANES_EMAIL)]

    receipts = [opened.adjust(instruction(JANES_EMAIL, 10, named_by=namespace)) for namespace, _ in named]

    assert [receipt.customers for receipt in receipts] == [(told,) for _, told in named]


@check
def a_reset_takes_whatever_there_is(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 70))

    (entry,) = opened.adjust(instruction(JANE, None)).entries

    assert (entry.points_asked, entry.points_delta, entry.points_after) == (None, -70, 0)


@check
def a_floored_deduction_takes_what_there_is_and_tells_what_was_asked(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 7))

    (entry,) = opened.adjust(instruction(JANE, -10, overdraft=Overdraft.FLOOR)).entries

    assert (entry.points_asked, entry.points_delta, entry.points_after) == (-10, -7, 0)
    assert opened.available(JANE) == 0


@check
def an_adjustment_that_moves_nothing_is_an_entry_too(opened: Opened) -> None:
    opened.adjust(instruction(JANE, -10, overdraft=Overdraft.FLOOR))
    opened.adjust(instruction(JANE, 0))

    assert opened.deltas() == [0, 0]
    assert _customer(opened, JANE).wallet.version == 2


@check
def an_unknown_customer_is_refused(opened: Opened) -> None:
    assert opened.refusal(instruction(NOBODY)) is Code.UNKNOWN_CUSTOMER


@check
def an_excluded_customer_is_refused_until_taken_in_again(opened: Opened) -> None:
    _update(opened, OMAR, excluded=True)
    refusal = opened.refusal(instruction(OMAR))
    _update(opened, OMAR, excluded=False)

    assert refusal is Code.CUSTOMER_EXCLUDED
    assert opened.refusal(instruction(OMAR)) is None


@check
def a_deduction_larger_than_the_balance_is_refused(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))

    assert opened.refusal(instruction(JANE, -51)) is Code.TOO_FEW_POINTS
    assert opened.refusal(instruction(JANE, -50)) is None


@check
def points_beyond_64_bits_are_refused(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))

    assert opened.refusal(instruction(JANE, LARGEST_POINTS - 49)) is Code.BALANCE_OVERFLOW
    assert opened.available(JANE) == 50


@check
def every_point_counts_however_many_there_are(opened: Opened) -> None:
    for points in (2**31, 2**53 - 2**31, 1, LARGEST_POINTS - 2**53 - 2, 1):
        opened.adjust(instruction(JANE, points))

    assert opened.available(JANE) == LARGEST_POINTS
    assert unfolded(opened) == []


@check
def a_refused_adjustment_leaves_no_trace(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))
    _update(opened, OMAR, excluded=True)
    before = opened.contents()

    refusals = [
        opened.refusal(asked)
        for asked in (
            instruction(NOBODY, 10, "a"),
            instruction(OMAR, 10, "b"),
            instruction(JANE, -51, "c"),
            instruction(JANE, LARGEST_POINTS - 49, "d"),
        )
    ]

    assert None not in refusals
    assert opened.contents() == before


@check
def lifetime_counters_move_as_the_adjustment_says(opened: Opened) -> None:
    counters = {}
    for lifetime in Lifetime:
        reference = CustomerReference("salla", lifetime.value)
        opened.enrol(reference)
        opened.adjust(instruction(reference, 10, lifetime=lifetime))
        opened.adjust(instruction(reference, -4, lifetime=lifetime))
        wallet = _customer(opened, reference).wallet
        counters[lifetime] = (wallet.lifetime_earned, wallet.lifetime_burned)

    assert counters == {
        Lifetime.EARN_AND_BURN: (10, 4),
        Lifetime.EARN_ONLY: (10, 0),
        Lifetime.NET_EARNED: (6, 0),
        Lifetime.BURN_ONLY: (0, 4),
        Lifetime.UNTOUCHED: (0, 0),
    }


@check
def lifetime_points_stop_at_zero_and_their_entries_tell_by_how_much(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10, lifetime=Lifetime.UNTOUCHED))
    opened.adjust(instruction(JANE, 3, lifetime=Lifetime.NET_EARNED))

    (entry,) = opened.adjust(instruction(JANE, -5, lifetime=Lifetime.NET_EARNED)).entries

    assert (entry.points_delta, entry.earned_delta) == (-5, -3)
    assert _customer(opened, JANE).wallet.lifetime_earned == 0
    assert unfolded(opened) == []


@check
def a_wallet_keeps_the_tier_that_its_lifetime_points_reach(opened: Opened) -> None:
    tiers = (Tier(name="Bronze", points_required=0), Tier(name="Gold", points_required=10))
    merchant = msgspec.structs.replace(DEMO, tiers=tiers)

    reached = []
    for points in (9, 1, -10):
        opened.adjust(instruction(JANE, points, merchant=merchant))
        reached.append(_customer(opened, JANE).wallet.tier)

    assert reached == ["Bronze", "Gold", "Gold"]


# Wallets and their entries


@check
def every_wallet_is_the_fold_of_its_entries(opened: Opened) -> None:
    for points in (10, -4, 5, None, 3):
        opened.adjust(instruction(JANE, points))
        opened.adjust(instruction((OMAR, JANE), 7))
        opened.adjust(instruction(EVERYONE, 2))

    assert len(opened.deltas()) == 25
    assert unfolded(opened) == []


@check
def an_entry_begins_where_the_one_before_ended(opened: Opened) -> None:
    for points in (10, -3, 4):
        opened.adjust(instruction(JANE, points))
    opened.adjust(instruction(JANE, -20, overdraft=Overdraft.FLOOR))

    entries = opened.rows("SELECT points_before, points_delta, points_after FROM entries ORDER BY version")

    assert [tuple(entry.values()) for entry in entries] == [(0, 10, 10), (10, -3, 7), (7, 4, 11), (11, -11, 0)]


@check
def entries_of_a_wallet_are_numbered_without_a_gap(opened: Opened) -> None:
    for points in (10, -20, 3, -1):
        opened.refusal(instruction(JANE, points))
        opened.adjust(instruction(OMAR, 1))

    versions = opened.rows("SELECT version FROM entries WHERE wallet_id = ? ORDER BY id", (opened.enrol(JANE),))

    assert [row["version"] for row in versions] == [1, 2, 3]


@check
def an_entry_never_changes_once_it_is_written(opened: Opened) -> None:
    first = opened.adjust(instruction(JANE, 10, reason="gift", metadata={"a": 1})).entries
    before = opened.rows("SELECT * FROM entries ORDER BY id")

    opened.adjust(instruction(JANE, -4))
    opened.adjust(instruction(EVERYONE, 1))
    opened.enrol(JANE, CustomerReference("salla", "7"))

    assert opened.rows("SELECT * FROM entries ORDER BY id")[: len(first)] == before


@check
def a_wallet_counts_and_adds_up_what_was_granted(opened: Opened) -> None:
    for points in (10, -4, 5, None, 3):
        opened.adjust(instruction(JANE, points))

    granted = opened.rows("SELECT granted_after, grants_after FROM entries ORDER BY version")
    wallet = _customer(opened, JANE).wallet

    assert [tuple(row.values()) for row in granted] == [(10, 1), (10, 1), (15, 2), (15, 2), (18, 3)]
    assert (wallet.granted, wallet.grants) == (18, 3)


@check
def entries_of_a_wallet_in_one_moment_have_times_that_rise(opened: Opened) -> None:
    opened.at_once(*(instruction(JANE, 1) for _ in range(3)), instruction(EVERYONE, 1))

    times = [entry.occurred_at for entry in _history(opened).entries]

    assert len(set(times)) == 4
    assert times == sorted(times)


@check
def entries_of_a_wallet_stay_in_order_when_the_clock_goes_back(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))
    opened.clock.now -= 5 * SECOND

    opened.at_once(instruction(JANE, 10), instruction(EVERYONE, 10), instruction(JANE, 10))

    assert unfolded(opened) == []


# A list of customers


@check
def a_list_with_one_refused_customer_adjusts_nobody(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))
    before = opened.contents()

    refusals = [opened.refusal(instruction((JANE, OMAR), -10)), opened.refusal(instruction((JANE, NOBODY), 10))]

    assert refusals == [Code.TOO_FEW_POINTS, Code.UNKNOWN_CUSTOMER]
    assert opened.contents() == before


@check
def a_customer_listed_twice_counts_once(opened: Opened) -> None:
    receipt = opened.adjust(instruction((JANE, OMAR, JANE, OMAR), 10))

    assert receipt.count == 2
    assert opened.deltas() == [10, 10]


@check
def a_customer_listed_by_two_references_counts_once(opened: Opened) -> None:
    receipt = opened.adjust(instruction((JANES_EMAIL, OMAR, JANE), 10))

    assert receipt.customers == (JANES_EMAIL, OMAR)
    assert opened.deltas() == [10, 10]


@check
def a_receipt_tells_customers_in_the_order_in_which_they_were_listed(opened: Opened) -> None:
    wallet_ids = {reference: opened.enrol(reference) for reference in (OMAR, JANE)}

    receipt = opened.adjust(instruction((OMAR, JANE), 10))

    assert receipt.customers == (OMAR, JANE)
    assert [wallet.id for wallet in receipt.wallets] == list(wallet_ids.values())
    assert [entry.wallet_id for entry in receipt.entries] == list(wallet_ids.values())


@check
def an_unknown_customer_in_a_list_is_told_before_an_excluded_one(opened: Opened) -> None:
    _update(opened, JANE, excluded=True)

    assert opened.refusal(instruction((JANE, NOBODY))) is Code.UNKNOWN_CUSTOMER


# Everyone


@check
def everyone_passes_over_the_excluded(opened: Opened) -> None:
    _update(opened, OMAR, excluded=True)

    receipt = opened.adjust(instruction(EVERYONE, 10))

    assert (receipt.count, receipt.entries, receipt.wallets) == (1, (), ())
    assert (opened.available(JANE), opened.available(OMAR)) == (10, 0)


@check
def everyone_is_adjusted_or_nobody(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 5))
    before = opened.contents()

    refusal = opened.refusal(instruction(EVERYONE, -1))

    assert refusal is Code.TOO_FEW_POINTS
    assert opened.contents() == before


@check
def everyone_is_floored_each_at_their_own_balance(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 50))
    opened.adjust(instruction(OMAR, 3))

    opened.adjust(instruction(EVERYONE, -10, overdraft=Overdraft.FLOOR))

    assert (opened.available(JANE), opened.available(OMAR)) == (40, 0)
    assert opened.deltas() == [50, 3, -10, -3]


@check
def everyone_reaches_only_the_merchants_own_customers(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    opened.adjust(instruction(EVERYONE, 10))

    assert (opened.available(JANE), opened.available(JANE, OTHER)) == (10, 0)


@check
def everyone_of_a_merchant_without_customers_is_nobody(opened: Opened) -> None:
    assert opened.adjust(instruction(EVERYONE, 10, merchant=OTHER)).count == 0


@check
def everyone_sees_what_the_same_group_did_before_and_is_seen_by_what_follows(opened: Opened) -> None:
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


@check
def everyone_with_a_key_is_applied_once(opened: Opened) -> None:
    first = opened.adjust(instruction(EVERYONE, 10, "k"))

    second = opened.adjust(instruction(EVERYONE, 10, "k"))

    assert (first.replayed, second.replayed, second.count) == (False, True, 2)
    assert opened.deltas() == [10, 10]


@check
def everyone_put_off_is_seen_by_whoever_reads_or_adjusts_behind_it(opened: Opened) -> None:
    opened.reopen(everyone_at_once=0)
    opened.adjust(instruction(EVERYONE, 10))

    assert _customer(opened, JANE).wallet.available == 10
    assert opened.refusal(instruction(OMAR, -10)) is None


@check
def everyone_put_off_reaches_everybody_once_though_the_ledger_is_closed(opened: Opened) -> None:
    opened.reopen(everyone_at_once=0)
    opened.adjust(instruction(EVERYONE, 10))

    opened.reopen()

    assert _told(_history(opened, customer=EVERYONE)) == [10, 10]
    assert (opened.available(JANE), opened.available(OMAR)) == (10, 10)
    assert unfolded(opened) == []


# Idempotency keys


@check
def a_key_seen_before_gives_the_same_receipt_again(opened: Opened) -> None:
    asked = instruction((JANE, OMAR), 10, "k", metadata={"a": [1, None]}, notify=("sms",))
    first = opened.adjust(asked)
    opened.adjust(instruction(JANE, 99))

    again = opened.adjust(asked)

    assert again == msgspec.structs.replace(first, replayed=True)
    assert opened.deltas() == [10, 10, 99]


@check
def a_replay_changes_nothing(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10, "k"))
    opened.clock.now += SECOND
    before = opened.contents()

    opened.adjust(instruction(JANE, 10, "k"))

    assert opened.contents() == before


@check
def a_replay_is_answered_whatever_became_of_the_customer(opened: Opened) -> None:
    first = opened.adjust(instruction(JANE, 10, "k"))
    _update(opened, JANE, excluded=True)

    again = opened.adjust(instruction(JANE, 10, "k"))

    assert again == msgspec.structs.replace(first, replayed=True)


@check
def a_key_outlives_the_ledgers_process(opened: Opened) -> None:
    first = opened.adjust(instruction(JANE, 10, "k"))
    opened.reopen()

    again = opened.adjust(instruction(JANE, 10, "k"))

    assert again.replayed
    assert again.entries == first.entries


@check
def a_key_seen_before_with_another_request_is_refused(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10, "k", b"one request"))

    refusal = opened.refusal(instruction(JANE, 10, "k", b"another"))

    assert refusal is Code.KEY_REUSED
    assert opened.deltas() == [10]


@check
def a_key_means_nothing_to_another_vendor(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10, "k"))

    receipt = opened.adjust(instruction(JANE, 10, "k", vendor="salla"))

    assert not receipt.replayed
    assert opened.deltas() == [10, 10]


@check
def a_key_means_nothing_to_another_merchant(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)
    opened.adjust(instruction(JANE, 10, "k"))

    receipt = opened.adjust(instruction(JANE, 10, "k", merchant=OTHER))

    assert not receipt.replayed
    assert opened.deltas() == [10, 10]


@check
def the_key_of_a_refused_adjustment_is_free_again(opened: Opened) -> None:
    refusal = opened.refusal(instruction(JANE, -10, "k", b"one request"))

    receipt = opened.adjust(instruction(JANE, 10, "k", b"another"))

    assert refusal is Code.TOO_FEW_POINTS
    assert not receipt.replayed


@check
def of_two_at_once_with_one_key_the_second_is_told_that_the_first_is_in_flight(opened: Opened) -> None:
    outcomes = opened.at_once(*[instruction(JANE, 10, "k")] * 2)

    assert codes(outcomes) == [None, Code.KEY_IN_FLIGHT]
    assert opened.deltas() == [10]
    assert opened.adjust(instruction(JANE, 10, "k")).replayed


@check
def one_key_is_in_flight_for_one_vendor_of_one_merchant_only(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    outcomes = opened.at_once(
        instruction(JANE, 1, "k"),
        instruction(JANE, 2, "k", vendor="salla"),
        instruction(JANE, 3, "k", merchant=OTHER),
        instruction(JANE, 4, "another"),
    )

    assert codes(outcomes) == [None] * 4
    assert opened.deltas() == [1, 2, 3, 4]


@check
def a_key_is_remembered_as_long_as_configured(opened: Opened) -> None:
    opened.reopen(keep_keys_seconds=10)
    opened.adjust(instruction(JANE, 10, "k"))
    opened.clock.now += 10 * SECOND

    receipt = opened.adjust(instruction(JANE, 10, "k"))

    assert receipt.replayed
    assert opened.deltas() == [10]


@check
def a_key_is_forgotten_when_its_time_is_over(opened: Opened) -> None:
    opened.reopen(keep_keys_seconds=10)
    opened.adjust(instruction(JANE, 10, "k"))
    opened.clock.now += 10 * SECOND + 1

    receipt = opened.adjust(instruction(JANE, 10, "k"))

    assert not receipt.replayed
    assert opened.deltas() == [10, 10]


@check
def a_key_used_again_after_its_time_is_remembered_anew(opened: Opened) -> None:
    opened.reopen(keep_keys_seconds=10)
    opened.adjust(instruction(JANE, 10, "k", b"one request"))
    opened.clock.now += 11 * SECOND
    opened.adjust(instruction(JANE, 20, "k", b"another"))
    opened.clock.now += 9 * SECOND

    receipt = opened.adjust(instruction(JANE, 20, "k", b"another"))

    assert receipt.replayed
    assert receipt.entries[0].points_delta == 20


@check
def old_keys_take_no_room_and_younger_ones_are_kept(opened: Opened) -> None:
    opened.reopen(keep_keys_seconds=100)
    opened.adjust(instruction(JANE, 1, "old"))
    opened.clock.now += 90 * SECOND
    opened.adjust(instruction(JANE, 1, "young"))
    opened.clock.now += 70 * SECOND

    opened.adjust(instruction(JANE, 1))

    assert [row["key"] for row in opened.rows("SELECT key FROM idempotency_keys")] == ["young"]


@check
def a_key_counts_for_an_enrolment_too(opened: Opened) -> None:
    enrolment = Enrolment(references=(NOBODY,), existing=Existing.REFUSE)
    first = _enrol(opened, enrolment, key="k")

    again = _enrol(opened, enrolment, key="k")

    assert again == msgspec.structs.replace(first, replayed=True)


# Callers who go away


@check
def an_adjustment_whose_caller_goes_away_is_applied_once(opened: Opened) -> None:
    async def leave_while_waiting() -> None:
        for key in (None, "k"):
            waiting = asyncio.create_task(opened.ledger.adjust(instruction(JANE, 10, key)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await opened.ledger.adjust(instruction(OMAR, 1))

    opened.run(leave_while_waiting())

    assert opened.deltas() == [10, 1, 10, 1]


@check
def a_key_whose_caller_went_away_is_in_flight_until_its_outcome_and_then_replays(opened: Opened) -> None:
    async def leave_and_ask_again() -> tuple[Sequence[Outcome], Receipt]:
        with opened.store.uncommitted("UPDATE wallets SET available = 0"):
            waiting = asyncio.create_task(opened.ledger.adjust(instruction(JANE, 10, "k")))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            early = await asyncio.gather(opened.ledger.adjust(instruction(JANE, 10, "k")), return_exceptions=True)
        await opened.ledger.adjust(instruction(OMAR, 1))
        return early, await opened.ledger.adjust(instruction(JANE, 10, "k"))

    early, again = opened.run(leave_and_ask_again())

    assert codes(early) == [Code.KEY_IN_FLIGHT]
    assert again.replayed
    assert opened.deltas() == [10, 1]


@check
def a_refusal_whose_caller_went_away_is_no_error_of_the_program(opened: Opened) -> None:
    told: list[dict[str, Any]] = []

    async def leave_while_refused() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        for key in (None, "k"):
            waiting = asyncio.create_task(opened.ledger.adjust(instruction(JANE, -10, key)))
            await asyncio.sleep(0)
            waiting.cancel()
            await opened.ledger.adjust(instruction(OMAR, 1))

    opened.run(leave_while_refused())

    assert told == []
    assert opened.refusal(instruction(JANE, -10, "k")) is Code.TOO_FEW_POINTS


# Enrolling


@check
def enrolling_again_finds_the_same_customer_and_adds_references(opened: Opened) -> None:
    bitbybit = CustomerReference("bitbybit", "cust_abc123")

    wallet_ids = {opened.enrol(JANE, bitbybit), opened.enrol(JANES_EMAIL), opened.enrol(bitbybit)}
    opened.adjust(instruction(bitbybit, 10))

    assert wallet_ids == {1}
    assert opened.available(JANE) == 10


@check
def enrolling_references_of_two_customers_as_one_is_refused(opened: Opened) -> None:
    before = opened.contents()
    enrolment = Enrolment(references=(CustomerReference("salla", "1"), JANES_EMAIL, OMAR))

    refusal = _code(opened, opened.ledger.enrol(DEMO, enrolment))

    assert refusal is Code.CUSTOMER_CONFLICT
    assert opened.contents() == before


@check
def a_merchant_that_enrols_takes_an_unknown_customer_at_the_first_adjustment(opened: Opened) -> None:
    receipt = opened.adjust(instruction((NOBODY, JANE), 10, merchant=ENROLLING))
    opened.adjust(instruction(NOBODY, -3, merchant=ENROLLING))

    assert receipt.customers == (NOBODY, JANE)
    assert opened.available(NOBODY) == 7
    assert unfolded(opened) == []


@check
def an_unknown_customer_listed_twice_is_enrolled_and_adjusted_once(opened: Opened) -> None:
    receipt = opened.adjust(instruction((NOBODY, NOBODY), 10, merchant=ENROLLING))

    assert receipt.count == 1
    assert opened.available(NOBODY) == 10
    assert unfolded(opened) == []


@check
def two_unknown_references_are_two_customers(opened: Opened) -> None:
    unknown = (NOBODY, CustomerReference("email", "nobody@example.com"))

    receipt = opened.adjust(instruction(unknown, 10, merchant=ENROLLING))

    assert len({wallet.id for wallet in receipt.wallets}) == 2


@check
def a_refused_adjustment_enrols_nobody(opened: Opened) -> None:
    _update(opened, JANE, excluded=True)
    before = opened.contents()

    outcomes = opened.at_once(
        instruction(NOBODY, -1, merchant=ENROLLING), instruction((NOBODY, JANE), 1, merchant=ENROLLING)
    )

    assert codes(outcomes) == [Code.TOO_FEW_POINTS, Code.CUSTOMER_EXCLUDED]
    assert opened.contents() == before


@check
def a_customer_enrolled_in_a_group_is_known_to_the_rest_of_it(opened: Opened) -> None:
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


@check
def enrolling_again_does_not_bring_back_a_reference_that_was_replaced(opened: Opened) -> None:
    _enrol(opened, Enrolment(references=(JANE, NEW_EMAIL), replaces=("email",), existing=Existing.UPDATE))

    again = _enrol(opened, Enrolment(references=(JANE, JANES_EMAIL)))

    assert _names(again.customer) == [str(NEW_EMAIL), str(JANE)]


@check
def enrolling_again_adds_a_reference_in_a_namespace_that_had_none(opened: Opened) -> None:
    again = _enrol(opened, Enrolment(references=(JANE, CustomerReference("salla", "7"))))

    assert _names(again.customer) == [str(JANES_EMAIL), "salla:7", str(JANE)]


@check
def a_reference_takes_the_place_of_an_earlier_one_where_the_enrolment_says_so(opened: Opened) -> None:
    further = CustomerReference("salla", "7")
    _enrol(opened, Enrolment(references=(JANE, CustomerReference("salla", "8"))))

    replaces = ("email", "shopify")
    changed = _enrol(
        opened, Enrolment(references=(JANE, NEW_EMAIL, further), replaces=replaces, existing=Existing.UPDATE)
    )

    assert _names(changed.customer) == [str(NEW_EMAIL), "salla:7", "salla:8", str(JANE)]
    assert not changed.is_new
    gone = CustomerQuery(references=(JANES_EMAIL,))
    assert _code(opened, opened.ledger.customer(DEMO, gone)) is Code.UNKNOWN_CUSTOMER


@check
def enrolling_somebody_again_keeps_the_profile(opened: Opened) -> None:
    changes = {"first_name": "Noor", "tags": ("vip",)}
    made = _enrol(opened, Enrolment(references=(NOBODY,), changes=changes))

    found = _enrol(opened, Enrolment(references=(NOBODY,), changes={"first_name": "N."}))

    assert (made.is_new, found.is_new) == (True, False)
    assert found.customer.profile == Profile(first_name="Noor", tags=("vip",))
    assert found.customer.wallet.updated_at == made.customer.wallet.updated_at


@check
def enrolling_somebody_again_changes_what_is_to_be_updated(opened: Opened) -> None:
    changes = {"first_name": "Noor", "tags": ("vip",)}
    made = _enrol(opened, Enrolment(references=(NOBODY,), changes=changes))

    updating = Enrolment(references=(NOBODY,), changes={"first_name": "N."}, existing=Existing.UPDATE)
    found = _enrol(opened, updating)

    assert found.customer.profile == Profile(first_name="N.", tags=("vip",))
    assert found.customer.wallet.updated_at > made.customer.wallet.updated_at


@check
def enrolling_somebody_again_can_be_refused(opened: Opened) -> None:
    again = Enrolment(references=(JANE,), existing=Existing.REFUSE)

    assert _code(opened, opened.ledger.enrol(DEMO, again)) is Code.CUSTOMER_CONFLICT


@check
def an_enrolment_that_says_they_take_part_refuses_the_excluded(opened: Opened) -> None:
    _update(opened, JANE, excluded=True)
    enrolment = Enrolment(references=(JANE,), refuses_excluded=True)

    assert _code(opened, opened.ledger.enrol(DEMO, enrolment)) is Code.CUSTOMER_EXCLUDED


@check
def an_attached_reference_finds_nobody(opened: Opened) -> None:
    number = CustomerReference("phone", "+966500000001")
    _enrol(opened, Enrolment(references=(JANE,), attached=(PHONE,)))

    refusals = [
        _code(opened, opened.ledger.enrol(DEMO, Enrolment(references=(one,), attached=(PHONE,))))
        for one in (OMAR, NOBODY)
    ]
    _enrol(opened, Enrolment(references=(NOBODY,), attached=(number,)))

    assert refusals == [Code.CUSTOMER_CONFLICT] * 2
    assert _customer(opened, PHONE) == _customer(opened, JANE)
    assert _customer(opened, number) == _customer(opened, NOBODY)


@check
def a_blank_name_is_nobodys_to_be_enrolled_by(opened: Opened) -> None:
    blanks = [(CustomerReference("phone", blank),) for blank in ("", " ", "\u3000")]

    refusals = [
        _code(opened, opened.ledger.enrol(DEMO, enrolment))
        for blank in blanks
        for enrolment in (Enrolment(references=blank), Enrolment(references=(NOBODY,), attached=blank))
    ]

    assert refusals == [Code.UNKNOWN_CUSTOMER] * 6


@check
def the_ledgers_own_numbers_are_its_own_to_give(opened: Opened) -> None:
    enrolling = Enrolment(references=(CustomerReference(OWN_NAMESPACE, "77"),))

    assert _code(opened, opened.ledger.enrol(DEMO, enrolling)) is Code.CUSTOMER_CONFLICT


@check
def an_adjustment_may_name_the_customer_by_number(opened: Opened) -> None:
    own = CustomerReference(OWN_NAMESPACE, str(opened.enrol(JANE)))

    receipt = opened.adjust(instruction((own, JANE), 10))

    assert receipt.count == 1
    assert opened.available(JANE) == 10


@check
def an_update_changes_what_it_names_and_nothing_else(opened: Opened) -> None:
    _update(opened, JANE, last_name="Doe")
    before = _customer(opened, JANE)

    after = _update(opened, JANE, date_of_birth="1990-05-17")

    assert after == _customer(opened, JANE)
    assert after.profile == Profile(last_name="Doe", date_of_birth="1990-05-17")
    assert msgspec.structs.replace(after.wallet, updated_at=before.wallet.updated_at) == before.wallet
    assert after.references == before.references


@check
def a_change_of_a_customer_has_a_later_time(opened: Opened) -> None:
    before = _customer(opened, JANE).wallet

    after = _update(opened, JANE, last_name="Doe").wallet

    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at


@check
def an_update_that_changes_nothing_is_none(opened: Opened) -> None:
    _update(opened, JANE, last_name="Doe")
    opened.clock.now += SECOND
    before = opened.contents()

    _update(opened, JANE, excluded=False, last_name="Doe")

    assert opened.contents() == before


@check
def an_update_of_nobody_is_refused(opened: Opened) -> None:
    update = CustomerUpdate(customer=NOBODY, changes={}, excluded=True)

    assert _code(opened, opened.ledger.update(DEMO, update)) is Code.UNKNOWN_CUSTOMER


# Merchants are walls


@check
def merchants_with_the_same_references_never_move_each_others_points(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    opened.at_once(instruction(JANE, 10), instruction(JANE, 200, merchant=OTHER), instruction(JANE, -5))

    assert (opened.available(JANE), opened.available(JANE, OTHER)) == (5, 200)


@check
def a_customer_of_one_merchant_is_unknown_to_another(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)
    asked = CustomerQuery(references=(OMAR,))

    assert opened.refusal(instruction(OMAR, 10, merchant=OTHER)) is Code.UNKNOWN_CUSTOMER
    assert _code(opened, opened.ledger.customer(OTHER, asked)) is Code.UNKNOWN_CUSTOMER


@check
def a_customers_number_means_nobody_to_another_merchant(opened: Opened) -> None:
    others = str(opened.enrol(JANE, merchant=OTHER))

    for number in (others, "0", "-1", "x", "1 OR 1=1", ""):
        own = CustomerReference(OWN_NAMESPACE, number)
        asked = CustomerQuery(references=(own,))
        assert _code(opened, opened.ledger.customer(DEMO, asked)) is Code.UNKNOWN_CUSTOMER
        assert opened.refusal(instruction(own)) is Code.UNKNOWN_CUSTOMER


@check
def a_history_of_everyone_is_the_merchants_own(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)
    opened.adjust(instruction(JANE, 10))
    opened.adjust(instruction(JANE, 200, merchant=OTHER))

    assert _told(_history(opened, customer=EVERYONE)) == [10]
    assert _told(_history(opened, OTHER, customer=EVERYONE)) == [200]


@check
def a_list_of_customers_is_the_merchants_own(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)

    page, others = _customers(opened, counts=True), _customers(opened, OTHER, counts=True)

    assert (len(page.customers), page.total) == (2, 2)
    assert (len(others.customers), others.total) == (1, 1)


@check
def a_merchant_whom_the_ledger_never_met_has_nothing_in_it(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))

    assert _history(opened, OTHER, customer=EVERYONE) == History(entries=(), has_more=False, customers={})
    assert _customers(opened, OTHER, counts=True) == Customers(customers=(), has_more=False, total=0)


@check
def merchants_whose_first_requests_are_refused_stay_apart(opened: Opened) -> None:
    enrolling = [Merchant(name=name, enrols_unknown_customers=True) for name in ("one", "two", "three")]
    refused = [
        _code(opened, opened.ledger.update(enrolling[0], CustomerUpdate(customer=NOBODY, changes={}))),
        _code(opened, opened.ledger.enrol(enrolling[1], Enrolment(references=(CustomerReference("a", ""),)))),
    ]

    outcomes = opened.at_once(*(instruction(NOBODY, 5, merchant=merchant) for merchant in reversed(enrolling)))

    assert refused == [Code.UNKNOWN_CUSTOMER] * 2
    assert codes(outcomes) == [None] * 3
    assert [opened.available(NOBODY, merchant) for merchant in enrolling] == [5, 5, 5]


# What arrives together


@check
def a_refused_adjustment_refuses_only_itself(opened: Opened) -> None:
    opened.clock.step = SECOND

    outcomes = opened.at_once(
        instruction(JANE, 10), instruction(JANE, -11), instruction(NOBODY, 1), instruction(OMAR, 1)
    )

    assert codes(outcomes) == [None, Code.TOO_FEW_POINTS, Code.UNKNOWN_CUSTOMER, None]
    assert len(moments(outcomes)) == 1
    assert opened.deltas() == [10, 1]


@check
def adjustments_of_one_wallet_in_one_group_apply_in_order(opened: Opened) -> None:
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


@check
def enrolments_updates_and_adjustments_come_in_their_order(opened: Opened) -> None:
    ledger = opened.ledger

    outcomes = _settled(
        opened,
        ledger.adjust(instruction(NOBODY, 5)),
        ledger.enrol(DEMO, Enrolment(references=(NOBODY,))),
        ledger.adjust(instruction(NOBODY, 7)),
        ledger.update(DEMO, CustomerUpdate(customer=NOBODY, changes={}, excluded=True)),
        ledger.adjust(instruction(NOBODY, 9)),
    )

    refusals = [outcome.code if isinstance(outcome, Problem) else None for outcome in outcomes]
    assert refusals == [Code.UNKNOWN_CUSTOMER, None, None, None, Code.CUSTOMER_EXCLUDED]
    assert opened.available(NOBODY) == 7


@check
def an_adjustment_that_cannot_be_kept_fails_alone(opened: Opened) -> None:
    kept = 0
    for unkeepable in ({"metadata": {"what": object()}}, {"reason": "\ud800"}, {"notify": (object(),)}):
        for customers in (JANE, (OMAR, JANE), EVERYONE):
            outcomes = opened.at_once(
                instruction(JANE, 1), instruction(customers, 10, "k", **unkeepable), instruction(JANE, 2)
            )
            kept += 3
            assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, False, True]
            assert opened.available(JANE) == kept

    assert unfolded(opened) == []
    assert not opened.adjust(instruction(JANE, 10, "k")).replayed


@check
def many_adjustments_at_once_add_up_exactly(opened: Opened) -> None:
    amounts = [1, 20, 300, -1] * 50

    outcomes = opened.at_once(*(instruction(JANE, points) for points in amounts))

    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert len(receipts) == 200
    assert sorted(entry.version for receipt in receipts for entry in receipt.entries) == list(range(1, 201))
    assert opened.available(JANE) == sum(amounts)
    assert unfolded(opened) == []


@check
def deductions_that_race_for_the_last_points_take_no_more_than_there_are(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))

    outcomes = opened.at_once(*[instruction(JANE, -3)] * 5, *[instruction(JANES_EMAIL, -3)] * 5)

    assert Counter(codes(outcomes)) == {None: 3, Code.TOO_FEW_POINTS: 7}
    assert opened.available(JANE) == 1


@check
def lists_of_the_same_customers_in_opposite_orders_never_hold_each_other_up_for_good(opened: Opened) -> None:
    asked = [instruction((JANE, OMAR), 1), instruction((OMAR, JANE), 1), instruction(EVERYONE, 1)] * 5

    outcomes = opened.at_once(*asked)

    assert codes(outcomes) == [None] * 15
    assert (opened.available(JANE), opened.available(OMAR)) == (15, 15)


@check
def nobody_ever_sees_a_wallet_without_its_entry(opened: Opened) -> None:
    async def adjust() -> None:
        for _ in range(5):
            await asyncio.gather(*(opened.ledger.adjust(instruction(one, 1)) for one in (JANE, (JANE, OMAR))))

    async def watch() -> list[dict[str, Any]]:
        adjusting, seen = asyncio.create_task(adjust()), list[dict[str, Any]]()
        while not adjusting.done():
            seen += await asyncio.to_thread(unfolded, opened)
        await adjusting
        return seen

    assert opened.run(watch()) == []


# Several ledgers on one store


def _at_two(opened: Opened, *asked: Instruction, rounds: int = 1) -> list[Outcome]:
    """What comes of instructions that two ledgers are given at once, all of them each, round after round."""

    async def adjust_all() -> list[Outcome]:
        async with opened_ledgers(opened.store, 2) as ledgers:
            outcomes: list[Outcome] = []
            for _ in range(rounds):
                work = [ledger.adjust(one) for one in asked for ledger in ledgers]
                outcomes += await asyncio.gather(*work, return_exceptions=True)
            return outcomes

    outcomes: list[Outcome] = opened.run(adjust_all())
    return outcomes


@check
def what_two_ledgers_do_to_one_wallet_adds_up_exactly(opened: Opened) -> None:
    outcomes = _at_two(opened, *(instruction(JANE, points) for points in (1, 20, 300, 4_000)), rounds=5)

    assert codes(outcomes) == [None] * 40
    assert opened.available(JANE) == 2 * 5 * 4_321
    assert unfolded(opened) == []


@check
def a_key_used_at_two_ledgers_at_once_is_applied_once(opened: Opened) -> None:
    keys = [f"key {number}" for number in range(10)]

    outcomes = _at_two(opened, *(instruction(JANE, 1, key) for key in keys))

    replayed = [outcome.replayed for outcome in outcomes if isinstance(outcome, Receipt)]
    assert Counter(replayed) == {False: 10, True: 10}
    assert opened.deltas() == [1] * 10


@check
def what_one_ledger_acknowledged_another_reads(opened: Opened) -> None:
    async def write_here_and_read_there() -> list[tuple[int, int]]:
        async with opened_ledgers(opened.store, 1) as (there,):
            told = []
            for _ in range(5):
                receipt = await opened.ledger.adjust(instruction(JANE, 1))
                customer = await there.customer(DEMO, CustomerQuery(references=(JANE,)))
                told.append((receipt.wallets[0].available, customer.wallet.available))
            return told

    assert opened.run(write_here_and_read_there()) == [(points, points) for points in range(1, 6)]


# What was acknowledged stays


@check
def an_adjustment_is_there_for_everybody_when_it_is_acknowledged(opened: Opened) -> None:
    async def look_after_each() -> list[int]:
        seen = list[int]()
        for _ in range(5):
            await opened.ledger.adjust(instruction(JANE, 10, f"key {len(seen)}"))
            # Beside the ledger, before it can do anything further.
            seen.append(opened.available(JANE) + len(opened.deltas()))
        return seen

    assert opened.run(look_after_each()) == [11, 22, 33, 44, 55]


@check
def an_enrolment_and_an_update_are_there_for_everybody_when_they_are_acknowledged(opened: Opened) -> None:
    async def look_after_each() -> list[Any]:
        await opened.ledger.enrol(DEMO, Enrolment(references=(NOBODY,)))
        seen: list[Any] = [opened.available(NOBODY)]
        await opened.ledger.update(DEMO, CustomerUpdate(customer=NOBODY, changes={"last_name": "Doe"}))
        return [*seen, *opened.rows("SELECT last_name FROM profiles")]

    assert opened.run(look_after_each()) == [0, {"last_name": "Doe"}]


@check
def reopening_keeps_everything(opened: Opened) -> None:
    opened.adjust(instruction((JANE, OMAR), 10, "k", metadata={"a": 1}))
    customer = _update(opened, JANE, excluded=True, last_name="Doe")
    before = opened.contents()

    opened.reopen()

    assert opened.contents() == before
    assert _customer(opened, JANE) == customer


@check
def a_reopened_ledger_goes_on_where_it_was(opened: Opened) -> None:
    (last,) = opened.adjust(instruction(JANE, 10)).entries

    opened.reopen()

    (entry,) = opened.adjust(instruction(JANE, 1)).entries
    assert (entry.version, entry.points_before) == (2, 10)
    assert entry.id > last.id
    assert entry.occurred_at > last.occurred_at
    assert opened.enrol(JANES_EMAIL) == entry.wallet_id


@check
def closing_carries_out_what_waits(opened: Opened) -> None:
    async def close_with_many_waiting() -> list[Outcome]:
        async with opened_ledgers(opened.store, 1) as (ledger,):
            waiting = [asyncio.create_task(ledger.adjust(instruction(JANE, 1))) for _ in range(600)]
            await asyncio.sleep(0)
            await ledger.close()
            return await asyncio.gather(*waiting, return_exceptions=True)

    outcomes = opened.run(close_with_many_waiting())

    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True] * 600
    assert opened.available(JANE) == 600


@check
def a_closed_ledger_is_unavailable(opened: Opened) -> None:
    opened.close_ledger()
    ledger = opened.ledger

    refusals = [
        _code(opened, work)
        for work in (
            ledger.adjust(instruction(JANE, 1)),
            ledger.enrol(DEMO, Enrolment(references=(NOBODY,))),
            ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={"last_name": "Doe"})),
            ledger.customer(DEMO, CustomerQuery(references=(JANE,))),
            ledger.customers(DEMO, CustomersQuery(limit=1)),
            ledger.history(DEMO, HistoryQuery(customer=JANE, limit=1)),
        )
    ]

    assert refusals == [Code.UNAVAILABLE] * 6
    assert opened.deltas() == []


@check
def a_ledger_that_never_opened_closes_and_answers_what_waits(opened: Opened) -> None:
    async def close_unopened() -> Sequence[Any]:
        ledger = opened.store.ledger()
        waiting = asyncio.gather(
            ledger.adjust(instruction(JANE, 1)),
            ledger.customers(DEMO, CustomersQuery(limit=1)),
            return_exceptions=True,
        )
        await asyncio.sleep(0)
        await ledger.close()
        return await waiting

    assert codes(opened.run(close_unopened())) == [Code.UNAVAILABLE] * 2


# A store that is not at hand for a while


@check
def a_ledger_without_one_of_its_tables_is_unavailable_until_it_is_back(opened: Opened) -> None:
    for table in ("wallets", "entries", "customer_references"):
        before = opened.contents()
        opened.execute(f"ALTER TABLE {table} RENAME TO hidden")
        refusals = codes(opened.at_once(instruction(JANE, 10, table), instruction(OMAR, 10)))
        opened.execute(f"ALTER TABLE hidden RENAME TO {table}")

        assert refusals == [Code.UNAVAILABLE, Code.UNAVAILABLE]
        assert opened.contents() == before
        assert not opened.adjust(instruction(JANE, 10, table)).replayed

    assert unfolded(opened) == []


@check
def enrolling_without_a_table_is_unavailable(opened: Opened) -> None:
    opened.execute("ALTER TABLE customer_references RENAME TO hidden")

    refusal = _code(opened, opened.ledger.enrol(DEMO, Enrolment(references=(NOBODY,))))
    opened.execute("ALTER TABLE hidden RENAME TO customer_references")

    assert refusal is Code.UNAVAILABLE
    assert _enrol(opened, Enrolment(references=(NOBODY,))).is_new


@check
def reading_without_a_table_is_unavailable_until_it_is_back(opened: Opened) -> None:
    asked = HistoryQuery(customer=JANE, limit=1)
    opened.execute("ALTER TABLE entries RENAME TO hidden")

    refused = _code(opened, opened.ledger.history(DEMO, asked))
    opened.execute("ALTER TABLE hidden RENAME TO entries")

    assert refused is Code.UNAVAILABLE
    assert opened.run(opened.ledger.history(DEMO, asked)).entries == ()


@check
def a_ledger_without_wallets_is_not_ready(opened: Opened) -> None:
    ready = [opened.run(opened.ledger.ready())]
    opened.execute("ALTER TABLE wallets RENAME TO hidden")
    ready.append(opened.run(opened.ledger.ready()))
    opened.execute("ALTER TABLE hidden RENAME TO wallets")
    ready.append(opened.run(opened.ledger.ready()))

    assert ready == [True, False, True]


# Reading


@check
def a_read_sees_every_write_acknowledged_before_it(opened: Opened) -> None:
    for points in range(1, 20):
        receipt = opened.adjust(instruction(JANE, points))

        assert _customer(opened, JANE).wallet == receipt.wallets[0]


@check
def a_read_waits_for_no_write(opened: Opened) -> None:
    with opened.store.uncommitted("UPDATE wallets SET available = 5"):
        assert _customer(opened, JANE).wallet.available == 0


@check
def a_read_of_several_tables_sees_one_moment_while_others_write(opened: Opened) -> None:
    asked = HistoryQuery(customer=EVERYONE, limit=None)

    async def adjust(done: asyncio.Event) -> None:
        while not done.is_set():
            await asyncio.gather(*(opened.ledger.adjust(instruction(one, 1)) for one in (JANE, OMAR)))

    async def read() -> list[History]:
        done = asyncio.Event()
        writing, found = asyncio.create_task(adjust(done)), list[History]()
        while len({len(history.entries) for history in found}) < 10:
            found += await asyncio.gather(*(opened.ledger.history(DEMO, asked) for _ in range(3)))
        done.set()
        await writing
        return found

    # So many that others write while they are read.
    opened.at_once(*(instruction(one, 1) for _ in range(250) for one in (JANE, OMAR)))
    histories = opened.run(read())

    for history in histories:
        for wallet_id, customer in history.customers.items():
            told = sum(entry.points_delta for entry in history.entries if entry.wallet_id == wallet_id)
            assert customer.wallet.available == told


@check
def a_history_comes_with_the_customer_of_the_same_moment(opened: Opened) -> None:
    (entry,) = opened.adjust(instruction(JANE, 10)).entries

    history = _history(opened)

    assert history.entries == (entry,)
    assert history.customers == {entry.wallet_id: _customer(opened, JANE)}
    assert history.customers[entry.wallet_id].references == (JANES_EMAIL, JANE)


@check
def a_history_of_nobody_is_refused(opened: Opened) -> None:
    asked = HistoryQuery(customer=NOBODY, limit=1)

    assert _code(opened, opened.ledger.history(DEMO, asked)) is Code.UNKNOWN_CUSTOMER


def _adjusted_nine_times(opened: Opened) -> list[Entry]:
    """Jane's entries, a second apart, among Omar's."""
    entries: list[Entry] = []
    for points in (5, 3, -2, 8, -1, 4, 6, -7, 9):
        opened.clock.now += SECOND
        entries += opened.adjust(instruction(JANE, points)).entries
        opened.adjust(instruction(OMAR, 1))
    return entries


@check
def pages_of_a_history_join_without_gap_or_double(opened: Opened) -> None:
    entries = _adjusted_nine_times(opened)

    for newest_first, bound in ((True, "before"), (False, "after")):
        walked: list[Entry] = []
        place: dict[str, Any] = {}
        while page := _history(opened, limit=2, newest_first=newest_first, **place).entries:
            walked += page
            assert len(walked) <= len(entries)
            place = {bound: walked[-1].id}
        assert walked == (entries[::-1] if newest_first else entries)


@check
def a_page_of_a_history_tells_whether_there_is_more(opened: Opened) -> None:
    _adjusted_nine_times(opened)

    pages = [_history(opened, limit=limit) for limit in (8, 9, 10)]

    assert [(len(page.entries), page.has_more) for page in pages] == [(8, True), (9, False), (9, False)]


@check
def a_history_begins_behind_as_many_entries_as_are_passed_over(opened: Opened) -> None:
    _adjusted_nine_times(opened)

    assert _told(_history(opened, offset=2, limit=3)) == [-2, 8, -1]
    assert _told(_history(opened, offset=2, limit=3, newest_first=True)) == [6, 4, -1]
    assert _told(_history(opened, offset=4, only=Only.ADDED)) == [6, 9]


@check
def the_times_that_bound_a_history_belong_to_it(opened: Opened) -> None:
    entries = _adjusted_nine_times(opened)

    bounded = _history(opened, since=entries[2].occurred_at, until=entries[5].occurred_at)

    assert list(bounded.entries) == entries[2:6]


@check
def a_history_shows_additions_or_deductions_alone(opened: Opened) -> None:
    _adjusted_nine_times(opened)

    assert _told(_history(opened, only=Only.ADDED)) == [5, 3, 8, 4, 6, 9]
    assert _told(_history(opened, only=Only.DEDUCTED)) == [-2, -1, -7]


@check
def a_history_of_everyone_is_in_the_order_in_which_it_happened(opened: Opened) -> None:
    told = [entry for _ in range(3) for entry in opened.adjust(instruction((OMAR, JANE), 1)).entries]

    assert list(_history(opened, customer=EVERYONE).entries) == told
    assert list(_history(opened, customer=EVERYONE, newest_first=True).entries) == told[::-1]


@check
def a_customer_is_found_by_the_first_reference_that_somebody_has(opened: Opened) -> None:
    assert JANE in _customer(opened, NOBODY, JANES_EMAIL, OMAR).references


@check
def a_customer_comes_with_the_merchants_tier_for_the_points_that_were_earned(opened: Opened) -> None:
    bronze, gold = Tier(name="Bronze", points_required=0), Tier(name="Gold", points_required=10)
    merchant = msgspec.structs.replace(DEMO, tiers=(bronze, gold))
    opened.adjust(instruction(JANE, 10))
    ledger, asked = opened.ledger, CustomerQuery(references=(JANE,))

    customers = [
        opened.run(ledger.customer(merchant, asked)),
        opened.run(ledger.enrol(merchant, Enrolment(references=(JANE,)))).customer,
        opened.run(ledger.update(merchant, CustomerUpdate(customer=JANE, changes={}))),
        *opened.run(ledger.history(merchant, HistoryQuery(customer=JANE, limit=1))).customers.values(),
        *opened.run(ledger.customers(merchant, CustomersQuery(limit=2))).customers,
    ]

    assert [customer.tier for customer in customers] == [gold, gold, gold, gold, bronze, gold]
    assert _customer(opened, JANE).tier is None


@check
def pages_of_customers_join_without_gap_or_double(opened: Opened) -> None:
    numbers = [opened.enrol(JANE), opened.enrol(OMAR)]
    for index in range(7):
        # Some of them at the same moment.
        opened.clock.now += SECOND * (index % 3 == 0)
        numbers.append(opened.enrol(CustomerReference("salla", str(index))))

    for descending in (False, True):
        walked: list[int] = []
        place: dict[str, Any] = {}
        asked: dict[str, Any] = {"order": CustomerOrder.UPDATED, "descending": descending, "limit": 2}
        while page := _customers(opened, **asked, **place).customers:
            walked += [customer.wallet.id for customer in page]
            assert len(walked) <= len(numbers)
            place = {"after": page[-1].wallet.id, "after_updated": page[-1].wallet.updated_at}
        assert walked == (numbers[::-1] if descending else numbers)


@check
def a_page_of_customers_tells_whether_there_is_more_and_how_many_match_in_all(opened: Opened) -> None:
    opened.enrol(NOBODY)

    pages = [_customers(opened, limit=2, offset=offset, counts=True) for offset in (0, 1, 2)]

    assert [(len(page.customers), page.has_more, page.total) for page in pages] == [
        (2, True, 3),
        (2, False, 3),
        (1, False, 3),
    ]
    assert _customers(opened, limit=2).total is None


@check
def customers_are_listed_by_whether_they_take_part(opened: Opened) -> None:
    _update(opened, OMAR, excluded=True)

    listed = [_customers(opened, excluded=excluded).customers for excluded in (None, True, False)]

    assert [[_names(one)[-1] for one in customers] for customers in listed] == [
        [str(OMAR), str(JANE)],
        [str(OMAR)],
        [str(JANE)],
    ]
