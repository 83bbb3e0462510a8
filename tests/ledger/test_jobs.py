"""An adjustment of everyone that is put off: nobody can tell it from one that was carried out at once."""

import asyncio
import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from opened import DEMO, JANE, OMAR, OTHER, SECOND, START, Opened, instruction, unfolded

from conftest import command, demo_config
from loyalty_gateway.adjustment import (
    CustomerReference,
    Everyone,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Tier,
)
from loyalty_gateway.customer import (
    Customer,
    CustomerOrder,
    CustomerQuery,
    CustomersQuery,
    CustomerUpdate,
    HistoryQuery,
)
from loyalty_gateway.ledger import job_runner
from loyalty_gateway.ledger.jobs import LeftAlone, Report, left_alone, reports
from loyalty_gateway.ledger.orders import Job
from loyalty_gateway.ledger_commands.customers import export_customers
from loyalty_gateway.ledger_commands.everyone import tell_jobs
from loyalty_gateway.problem import Code, Problem
from stores import NewStore, SqliteFile, Store

EVERYONE = Everyone.EVERYONE
PUT_OFF: dict[str, Any] = {"everyone_at_once": 1, "runs_jobs": False}

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
    """A ledger that puts off what is for more than one, and does not carry it out; with Jane and Omar."""
    opened = open_ledger(**PUT_OFF)
    opened.enrol(JANE)
    opened.enrol(OMAR)
    return opened


def advance(opened: Opened, at_most: int = 1) -> bool:
    """Carries out a chunk; whether there was one to carry out."""
    return opened.run(opened.ledger._advance(at_most)) is not None  # type: ignore[attr-defined]  # noqa: SLF001


def finish(opened: Opened) -> None:
    while advance(opened):
        pass


def customer(opened: Opened, reference: CustomerReference) -> Customer:
    found: Customer = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=(reference,))))
    return found


def stored(opened: Opened) -> list[int]:
    """What the wallets' rows say, whatever is still to come."""
    return stored_in(opened.store)


def jobs(opened: Opened) -> list[Report]:
    found: list[Report] = opened.run(opened.ledger.look(lambda dialect: reports(dialect, DEMO)))
    return found


def test_it_is_answered_before_anybody_is_moved_and_then_reaches_everybody_once(opened: Opened) -> None:
    receipt = opened.adjust(instruction(EVERYONE, 10))

    assert receipt.count == 2
    assert stored(opened) == [0, 0]
    finish(opened)
    assert stored(opened) == [10, 10]
    assert opened.deltas() == [10, 10]
    (job,) = jobs(opened)
    assert (job.wallets, job.passed, job.left_alone, job.finished_at) == (2, 2, 0, START)


def test_whoever_reads_a_customer_sees_it_there(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))
    opened.clock.now += SECOND

    jane = customer(opened, JANE)
    history = opened.run(opened.ledger.history(DEMO, HistoryQuery(customer=JANE, limit=10)))

    assert (jane.wallet.available, jane.wallet.updated_at) == (10, START + 1)
    assert [entry.points_after for entry in history.entries] == [10]
    assert stored(opened) == [10, 0]


def test_whoever_lists_customers_sees_it_at_each_of_them(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))

    listed = opened.run(opened.ledger.customers(DEMO, CustomersQuery(limit=10, descending=False)))

    assert [one.wallet.available for one in listed.customers] == [10, 10]


def test_an_export_sees_it_at_each_of_them(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))
    out = io.StringIO()

    count = opened.run(export_customers(opened.ledger, merchant=DEMO, out=out))

    assert count == 2
    assert [row["points"] for row in csv.DictReader(io.StringIO(out.getvalue()))] == ["10", "10"]


@pytest.mark.parametrize(
    "query",
    [
        CustomersQuery(limit=10, order=CustomerOrder.AVAILABLE),
        CustomersQuery(limit=10, updated_from=START + SECOND),
        HistoryQuery(customer=EVERYONE, limit=10),
    ],
    ids=["a list by points", "a list by time", "everyone's history"],
)
def test_what_it_would_change_altogether_waits_until_it_has_reached_everybody(opened: Opened, query: Any) -> None:
    opened.adjust(instruction(EVERYONE, 10))
    ask = opened.ledger.history if isinstance(query, HistoryQuery) else opened.ledger.customers

    async def ask_and_finish() -> tuple[bool, Any]:
        asked = asyncio.ensure_future(ask(DEMO, query))
        await asyncio.sleep(0.2)
        waited = not asked.done()
        while await opened.ledger._advance(1) is not None:  # type: ignore[attr-defined]  # noqa: SLF001
            pass
        return waited, await asked

    waited, _ = opened.run(ask_and_finish())

    assert waited


def test_whoever_waits_too_long_is_refused_as_busy(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "_PATIENCE_SECONDS", 0.0)
    opened.adjust(instruction(EVERYONE, 10))

    refused = opened.refusal(instruction(EVERYONE, 1))

    assert refused is Code.RECORD_BUSY
    finish(opened)
    assert opened.deltas() == [10, 10]


def test_an_adjustment_of_one_stands_behind_it(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))

    receipt = opened.adjust(instruction(JANE, -4))

    (entry,) = receipt.entries
    assert (entry.points_before, entry.points_after, entry.version) == (10, 6, 2)
    finish(opened)
    assert stored(opened) == [6, 10]
    assert unfolded(opened) == []


def test_a_refused_adjustment_of_one_still_sees_it(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))

    refused = opened.refusal(instruction((JANE, OMAR), -11))

    assert refused is Code.TOO_FEW_POINTS
    finish(opened)
    assert opened.deltas() == [10, 10]


def test_who_comes_later_has_no_part_in_it(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))

    opened.enrol(CustomerReference("shopify", "late"))
    later = Merchant(name="demo", enrols_unknown_customers=True)
    opened.adjust(instruction(CustomerReference("shopify", "later"), 1, merchant=later))

    finish(opened)
    assert stored(opened) == [10, 10, 0, 1]


def test_whom_it_was_for_is_settled_when_it_is_accepted(opened: Opened) -> None:
    opened.run(opened.ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={}, excluded=True)))
    opened.enrol(CustomerReference("shopify", "third"))
    opened.adjust(instruction(EVERYONE, 10))

    opened.run(opened.ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={}, excluded=False)))
    opened.run(opened.ledger.update(DEMO, CustomerUpdate(customer=OMAR, changes={}, excluded=True)))

    finish(opened)
    assert stored(opened) == [0, 10, 10]


def test_a_deduction_that_somebody_cannot_pay_is_refused_and_makes_no_job(opened: Opened) -> None:
    opened.adjust(instruction(JANE, 10))

    refused = opened.refusal(instruction(EVERYONE, -10))

    assert refused is Code.TOO_FEW_POINTS
    assert jobs(opened) == []
    assert stored(opened) == [10, 0]


@pytest.mark.parametrize("read_first", [(JANE,), ()], ids=["by a reader", "by a chunk"])
def test_a_wallet_too_low_when_it_is_reached_is_left_alone_and_told(
    opened: Opened, read_first: tuple[CustomerReference, ...]
) -> None:
    opened.adjust(instruction(JANE, 10))
    opened.adjust(instruction(OMAR, 10))
    opened.adjust(instruction(EVERYONE, -10))
    # As if another gateway had done so between the check and the acceptance.
    opened.execute("UPDATE wallets SET available = 9 WHERE id = 1")

    for reference in read_first:
        customer(opened, reference)
    finish(opened)

    (job,) = jobs(opened)
    told = opened.run(
        opened.ledger.look(lambda dialect: left_alone(dialect, DEMO, job.number, after=0, at_most=10))
    )
    assert stored(opened) == [9, 0]
    assert job.left_alone == 1
    assert told == [LeftAlone(1, Code.TOO_FEW_POINTS)]


def test_the_next_one_for_everyone_waits_for_it(open_ledger: Open) -> None:
    opened = open_ledger(everyone_at_once=1)
    opened.enrol(JANE)
    opened.enrol(OMAR)

    first = opened.adjust(instruction(EVERYONE, 10))
    second = opened.adjust(instruction(EVERYONE, -10))

    assert (first.count, second.count) == (2, 2)
    assert customer(opened, JANE).wallet.available == 0
    assert customer(opened, OMAR).wallet.available == 0


def test_who_moves_between_the_check_and_the_acceptance_is_checked_again(opened: Opened) -> None:
    ledger = opened.ledger
    opened.adjust(instruction((JANE, OMAR), 10))

    async def accept_late(asked: Instruction) -> Any:
        weighing = await ledger._weighed(asked)  # type: ignore[attr-defined]  # noqa: SLF001
        await ledger.adjust(instruction(OMAR, -1))
        return await ledger._groups.join(Job(asked, weighing))  # type: ignore[attr-defined]  # noqa: SLF001

    with pytest.raises(Problem) as refusal:
        opened.run(accept_late(instruction(EVERYONE, -10)))
    receipt = opened.run(accept_late(instruction(EVERYONE, -8)))

    assert refusal.value.code is Code.TOO_FEW_POINTS
    assert receipt.count == 2
    finish(opened)
    assert stored(opened) == [2, 0]


def test_another_merchant_is_not_held_up(opened: Opened) -> None:
    opened.enrol(JANE, merchant=OTHER)
    opened.adjust(instruction(EVERYONE, 10))

    receipt = opened.adjust(instruction(EVERYONE, 3, merchant=OTHER))

    assert receipt.count == 1
    assert opened.available(JANE, OTHER) == 3


def test_its_key_makes_one_job_of_several_requests(opened: Opened) -> None:
    first = opened.adjust(instruction(EVERYONE, 10, "k"))

    second = opened.adjust(instruction(EVERYONE, 10, "k"))

    assert (second.replayed, second.count) == (True, first.count)
    assert len(jobs(opened)) == 1


def test_who_opens_the_ledger_next_carries_it_on(open_ledger: Open, opened: Opened) -> None:
    for number in range(30):
        opened.enrol(CustomerReference("shopify", str(number)))
    opened.adjust(instruction(EVERYONE, 10))
    advance(opened, 7)
    opened.close_ledger()

    other = open_ledger(everyone_at_once=1)
    waited = other.run(other.ledger.customers(DEMO, CustomersQuery(limit=99, order=CustomerOrder.AVAILABLE)))

    assert {one.wallet.available for one in waited.customers} == {10}
    assert other.deltas() == [10] * 32
    assert unfolded(other) == []


def test_several_ledgers_on_one_store_carry_it_out_together(open_ledger: Open) -> None:
    one, *others = (open_ledger(everyone_at_once=1, runs_jobs=False) for _ in range(3))
    for number in range(40):
        one.enrol(CustomerReference("shopify", str(number)))
    one.adjust(instruction(EVERYONE, 10))

    while any(advance(opened, 3) for opened in (one, *others)):
        others[0].adjust(instruction(CustomerReference("shopify", "39"), 1))

    assert stored(one)[:-1] == [10] * 39
    assert sorted(one.deltas()).count(10) == 40
    assert unfolded(one) == []


def test_who_serves_a_file_carries_it_out_and_nobody_else_beside(tmp_path: Path) -> None:
    store = SqliteFile(tmp_path / "ledger.db")
    with ExitStack() as stack:
        serving, beside = Opened(store, alone=True, **PUT_OFF), Opened(store, **PUT_OFF)
        stack.callback(beside.close)
        stack.callback(serving.close)
        serving.enrol(JANE)
        serving.enrol(OMAR)
        beside.adjust(instruction(EVERYONE, 10))

        assert not advance(beside)
        assert advance(serving)
        assert stored(serving) == [10, 0]
        serving.close()
        assert advance(beside)
        assert stored(beside) == [10, 10]


def test_the_commands_try_carry_out_and_tell_what_is_for_everyone(tmp_path: Path) -> None:
    store = SqliteFile(tmp_path / "ledger.db")
    opened = Opened(store)
    opened.enrol(JANE)
    opened.enrol(OMAR)
    opened.adjust(instruction(JANE, 3))
    opened.close()
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(demo_config(everyone_at_once=1, ledger=store.url)), encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str]:
        ended = command("ledger", *arguments, "--config", config)
        assert ended.stderr == ""
        return ended.exit_code, ended.stdout

    tried = (
        "2 customers would be adjusted, but 1 of them have too few points: it would be refused, and nobody moved"
    )
    assert run("everyone", "--points", "-3", "--dry-run") == (1, f"{tried}\n")
    assert run("everyone", "--points", "-3") == (1, "refused (too_few_points); nobody was moved\n")
    assert run("everyone", "--points", "-3", "--floor", "--dry-run") == (0, "2 customers would be adjusted\n")
    assert stored_in(store) == [3, 0]
    assert run("everyone", "--points", "5", "--key", "k", "--reason", "a gift") == (
        0,
        "2 customers were adjusted\n",
    )
    assert run("everyone", "--points", "5", "--key", "k", "--reason", "a gift") == (
        0,
        "2 customers were adjusted before, with this key\n",
    )
    assert stored_in(store) == [8, 5]
    code, told = run("jobs")
    assert code == 0
    assert re.fullmatch(r"job 1: \+5 points, accepted \S+Z, 2 of 2 customers, finished \S+Z\n", told)
    assert run("jobs", "1") == (0, "customer,reason\n")
    assert run("everyone") == (0, "2 customers were adjusted\n")
    assert stored_in(store) == [0, 0]


def test_whom_a_job_left_alone_is_told_by_the_command(opened: Opened) -> None:
    opened.adjust(instruction(EVERYONE, 10))
    opened.execute("UPDATE wallets SET granted = 9223372036854775807 WHERE id = 2")
    finish(opened)
    out = io.StringIO()

    for number in (None, 1):
        opened.run(tell_jobs(opened.ledger, merchant=DEMO, number=number, out=out))

    job, *left = out.getvalue().splitlines()
    assert "2 of 2 customers, 1 left alone, finished" in job
    assert left == ["customer,reason", "wallet_2,balance_overflow"]


def stored_in(store: Store) -> list[int]:
    return [row["available"] for row in store.rows("SELECT available FROM wallets ORDER BY id")]


TIERS = (Tier(name="silver", points_required=20), Tier(name="gold", points_required=60))
TIERED = Merchant(name="tiered", tiers=TIERS, enrols_unknown_customers=True)
CUSTOMERS = tuple(CustomerReference("shopify", name) for name in ("jane", "omar", "zoë", "new"))

for_everyone = st.builds(
    instruction,
    customers=st.just(EVERYONE),
    points=st.none() | st.integers(-30, 60),
    key=st.none() | st.sampled_from("kq"),
    merchant=st.just(TIERED),
    lifetime=st.sampled_from(Lifetime),
    overdraft=st.sampled_from(Overdraft),
    reason=st.none() | st.just("a gift"),
)
for_some = st.builds(
    instruction,
    customers=st.lists(st.sampled_from(CUSTOMERS), min_size=1, max_size=2).map(tuple),
    points=st.integers(-30, 60),
    merchant=st.just(TIERED),
    overdraft=st.sampled_from(Overdraft),
)
updates = st.builds(
    CustomerUpdate,
    customer=st.sampled_from(CUSTOMERS),
    changes=st.sampled_from([{}, {"first_name": "Jane"}]),
    excluded=st.sampled_from([None, True, False]),
)
queries = st.builds(CustomerQuery, references=st.sampled_from(CUSTOMERS).map(lambda one: (one,)))
histories = st.builds(HistoryQuery, customer=st.sampled_from(CUSTOMERS), limit=st.just(99))
lists = st.builds(CustomersQuery, limit=st.integers(1, 4), descending=st.booleans())
chunks = st.integers(1, 3)


def test_whether_it_is_put_off_makes_no_difference_to_anybody(new_store: NewStore) -> None:
    with new_store() as store:
        examples = store.examples(30)

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(for_everyone | for_some | updates | queries | histories | lists | chunks, max_size=12))
    def hold_against_each_other(steps: list[Any]) -> None:
        shown = [_carried_out(new_store, steps, **options) for options in (AT_ONCE, PUT_OFF | NOBODY_AT_ONCE)]
        assert shown[0] == shown[1]

    hold_against_each_other()


AT_ONCE: dict[str, Any] = {"everyone_at_once": 99}
NOBODY_AT_ONCE: dict[str, Any] = {"everyone_at_once": 0}


def _carried_out(new_store: NewStore, steps: list[Any], **options: Any) -> list[Any]:
    """What the steps show, and what the ledger holds after them."""
    with new_store() as store, ExitStack() as stack:
        opened = Opened(store, **options)
        stack.callback(opened.close)
        for reference in CUSTOMERS[:3]:
            opened.enrol(reference, merchant=TIERED)
        shown = []
        for number, step in enumerate(steps):
            opened.clock.now = START + number * SECOND
            if isinstance(step, int):
                advance(opened, step)
                continue
            if isinstance(step, Instruction) and step.adjustment.customers is EVERYONE:
                # It would wait, and nobody else is here to carry the earlier one out.
                finish(opened)
            shown.append(_shown(opened, step))
        finish(opened)
        assert unfolded(opened) == []
        return [*shown, _told(opened)]


def _shown(opened: Opened, step: Any) -> Any:
    """What somebody is shown, ids aside, which are the ledger's to give."""
    ledger = opened.ledger
    try:
        match step:
            case CustomerUpdate():
                return _plain([opened.run(ledger.update(TIERED, step))])
            case CustomerQuery():
                return _plain([opened.run(ledger.customer(TIERED, step))])
            case CustomersQuery():
                return _plain(opened.run(ledger.customers(TIERED, step)).customers)
            case HistoryQuery():
                return [_facts(entry) for entry in opened.run(ledger.history(TIERED, step)).entries]
            case _:
                receipt = opened.adjust(step)
                return receipt.count, [_facts(entry) for entry in receipt.entries], receipt.replayed
    except Problem as problem:
        return problem.code


def _plain(customers: Any) -> list[Any]:
    names = (
        "available",
        "lifetime_earned",
        "lifetime_burned",
        "granted",
        "grants",
        "version",
        "tier",
        "updated_at",
    )
    return [
        (one.name("shopify"), one.profile, one.tier, one.wallet.excluded, [getattr(one.wallet, n) for n in names])
        for one in customers
    ]


def _facts(entry: Any) -> tuple[Any, ...]:
    return (
        entry.version,
        entry.vendor,
        entry.points_asked,
        entry.points_before,
        entry.points_after,
        entry.earned_delta,
        entry.burned_delta,
        entry.granted_after,
        entry.reason,
        entry.idempotency_key,
        entry.occurred_at,
    )


def _told(opened: Opened) -> list[dict[str, Any]]:
    return opened.rows(
        "SELECT r.value, w.available, w.lifetime_earned, w.lifetime_burned, w.granted, w.grants, w.tier, "
        "w.updated_at, e.version, e.points_asked, e.points_delta, e.points_after, e.earned_delta, e.burned_delta, "
        "e.occurred_at, e.reason, e.idempotency_key "
        "FROM customer_references r JOIN wallets w ON w.id = r.wallet_id "
        "LEFT JOIN entries e ON e.wallet_id = w.id ORDER BY r.value, e.version"
    )
