"""What only the PostgreSQL ledger promises: several gateways on one database, and a server that comes and goes."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from opened import (
    DEMO,
    JANE,
    JANES_EMAIL,
    NOBODY,
    OMAR,
    Opened,
    Outcome,
    codes,
    instruction,
    unfolded,
)

from loyalty_gateway.adjustment import CustomerReference, Everyone, Instruction, Merchant, Receipt
from loyalty_gateway.customer import (
    CustomerQuery,
    Customers,
    CustomersQuery,
    CustomerUpdate,
    Enrolled,
    Enrolment,
    Existing,
    HistoryQuery,
)
from loyalty_gateway.ledger import Ledger, postgres
from loyalty_gateway.ledger.group import carry_out
from loyalty_gateway.ledger.postgres import PostgresLedger
from loyalty_gateway.ledger.postgres_schema import MIGRATIONS
from loyalty_gateway.ledger.statements import Work
from loyalty_gateway.problem import Code, ConfigurationError, Problem
from stores import PostgresDatabase, PostgresServer, opened_ledgers

ENROLLING = Merchant(name="demo", enrols_unknown_customers=True)
BOUND_SECONDS = 15.0
"""Whatever happens to the server, everybody is answered within this time."""


@pytest.fixture
def opened(database: PostgresDatabase) -> Iterator[Opened]:
    """A ledger with Jane, who has two references, and Omar, who has one."""
    opened = Opened(database)
    opened.enrol(JANE, JANES_EMAIL)
    opened.enrol(OMAR)
    yield opened
    opened.close()


async def _settled(*work: Awaitable[Any]) -> list[Any]:
    """What comes of each, problems among it, within the bound."""
    async with asyncio.timeout(2 * BOUND_SECONDS):
        return await asyncio.gather(*work, return_exceptions=True)


# Several gateways on one database


def _at_several(opened: Opened, *asked: Sequence[Instruction], rounds: int = 1) -> list[Outcome]:
    """What comes of instructions that several ledgers are given at once, each its own."""

    async def adjust_all() -> list[Outcome]:
        async with opened_ledgers(opened.store, len(asked)) as ledgers:
            outcomes: list[Outcome] = []
            for _ in range(rounds):
                outcomes += await _settled(
                    *(ledger.adjust(one) for ledger, own in zip(ledgers, asked, strict=True) for one in own)
                )
            return outcomes

    outcomes: list[Outcome] = opened.run(adjust_all())
    return outcomes


def test_what_several_ledgers_do_to_one_wallet_adds_up_exactly(opened: Opened) -> None:
    outcomes = _at_several(
        opened, *([instruction(JANE, points)] * 10 for points in (1, 20, 300, 4_000, -1)), rounds=10
    )

    assert [outcome for outcome in outcomes if not isinstance(outcome, Receipt | Problem)] == []
    assert set(codes(outcomes)) <= {None, Code.TOO_FEW_POINTS}
    entries = [entry for outcome in outcomes if isinstance(outcome, Receipt) for entry in outcome.entries]
    assert opened.available(JANE) == sum(entry.points_delta for entry in entries)
    assert sorted(entry.version for entry in entries) == list(range(1, len(entries) + 1))
    assert unfolded(opened) == []


def test_a_key_used_at_several_ledgers_at_once_is_applied_once_and_replayed(opened: Opened) -> None:
    keys = [f"key {number}" for number in range(20)]

    outcomes = _at_several(opened, *([[instruction(JANE, 1, key) for key in keys]] * 3))

    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert len(receipts) == 60
    assert Counter(receipt.replayed for receipt in receipts) == {False: 20, True: 40}
    for key in keys:
        assert len({receipt.entries for receipt in receipts if receipt.entries[0].idempotency_key == key}) == 1
    assert opened.deltas() == [1] * 20


@pytest.mark.parametrize("customers", [JANE, (OMAR, JANE), Everyone.EVERYONE], ids=["one", "list", "everyone"])
def test_a_key_used_at_two_ledgers_at_once_for_two_requests_serves_the_first(
    opened: Opened, customers: Any
) -> None:
    opened.enrol(CustomerReference("email", "further@example.com"))

    outcomes = _at_several(
        opened,
        [instruction(customers, 10, "k", b"one request"), instruction(JANE, 1)],
        [instruction(customers, 10, "k", b"another"), instruction(OMAR, 1)],
    )

    assert Counter(codes(outcomes)) == {None: 3, Code.KEY_REUSED: 1}
    assert unfolded(opened) == []
    assert len(opened.rows("SELECT * FROM idempotency_keys")) == 1


def test_lists_of_the_same_customers_in_opposite_orders_never_hold_each_other_up_for_good(opened: Opened) -> None:
    outcomes = _at_several(
        opened,
        [instruction((JANE, OMAR), 1)] * 5,
        [instruction((OMAR, JANE), 1)] * 5,
        [instruction(OMAR, 1), instruction(JANE, 1)],
        [instruction(JANE, 1), instruction(OMAR, 1)],
        rounds=10,
    )

    assert codes(outcomes) == [None] * 140
    assert (opened.available(JANE), opened.available(OMAR)) == (120, 120)
    assert unfolded(opened) == []


def test_everyone_and_lists_at_once_never_hold_each_other_up_for_good(opened: Opened) -> None:
    everyone = instruction(Everyone.EVERYONE, 1)

    outcomes = _at_several(
        opened, [instruction(OMAR, 1), everyone, instruction(JANE, 1)], [instruction(JANE, 1), everyone], rounds=3
    )

    assert codes(outcomes) == [None] * 15
    assert (opened.available(JANE), opened.available(OMAR)) == (12, 9)
    assert unfolded(opened) == []


def test_an_unknown_customer_whom_several_adjust_at_once_is_one_customer(opened: Opened) -> None:
    unknown = [CustomerReference("shopify", str(number)) for number in range(10)]
    asked = [instruction(reference, 1, merchant=ENROLLING) for reference in unknown]

    outcomes = _at_several(opened, asked, asked[::-1], asked)

    assert codes(outcomes) == [None] * 30
    assert [opened.available(reference) for reference in unknown] == [3] * 10
    assert unfolded(opened) == []
    assert opened.rows("SELECT count(*) AS n FROM wallets") == [{"n": 12}]


@pytest.mark.parametrize("existing", [Existing.KEEP, Existing.UPDATE, Existing.REFUSE])
def test_an_email_that_two_enrol_at_once_is_one_customers(opened: Opened, existing: Existing) -> None:
    emails = [CustomerReference("email", f"{number}@example.com") for number in range(10)]

    async def enrol_all() -> list[Any]:
        async with opened_ledgers(opened.store, 2) as ledgers:
            return await _settled(
                *(
                    ledger.enrol(DEMO, Enrolment(references=(email,), existing=existing))
                    for email in emails
                    for ledger in ledgers
                )
            )

    outcomes = opened.run(enrol_all())

    enrolled = [outcome for outcome in outcomes if isinstance(outcome, Enrolled)]
    refused = [outcome.code for outcome in outcomes if isinstance(outcome, Problem)]
    assert [one.is_new for one in enrolled].count(True) == 10
    assert len({one.customer.wallet.id for one in enrolled}) == 10
    assert refused == ([Code.CUSTOMER_CONFLICT] * 10 if existing is Existing.REFUSE else [])
    assert opened.rows("SELECT count(*) AS n FROM wallets") == [{"n": 12}]


def test_two_references_of_one_email_attached_at_once_stay_one_customers(opened: Opened) -> None:
    phone = CustomerReference("phone", "+966500000000")

    async def attach() -> list[Any]:
        async with opened_ledgers(opened.store, 2) as (first, second):
            return await _settled(
                first.enrol(DEMO, Enrolment(references=(JANE,), attached=(phone,))),
                second.enrol(DEMO, Enrolment(references=(OMAR,), attached=(phone,))),
            )

    outcomes = opened.run(attach())

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Enrolled", "Problem"]
    assert len(opened.rows("SELECT * FROM customer_references WHERE namespace = 'phone'")) == 1


def test_changes_of_one_customer_by_several_at_once_are_all_kept(opened: Opened) -> None:
    fields = ("first_name", "last_name", "source", "date_of_birth")

    async def update_all() -> list[Any]:
        async with opened_ledgers(opened.store, len(fields)) as ledgers:
            return await _settled(
                *(
                    ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={name: name}))
                    for ledger, name in zip(ledgers, fields, strict=True)
                ),
                *(ledger.adjust(instruction(JANE, 1)) for ledger in ledgers),
            )

    outcomes = opened.run(update_all())

    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    (profile,) = opened.rows("SELECT first_name, last_name, source, date_of_birth FROM profiles")
    assert profile == {name: name for name in fields}
    assert opened.available(JANE) == 4


def _interrupted(work: Work[Any], after: int, meanwhile: Any) -> Work[Any]:
    """The work, in which something else happens after so many of its statements."""
    step, taken = next(work), 0
    while True:
        rows = yield step
        taken += 1
        if taken == after:
            meanwhile()
        try:
            step = work.send(rows)
        except StopIteration as done:
            return done.value


def test_who_is_enrolled_while_everyone_is_adjusted_is_adjusted_by_the_same_rules_or_not_at_all(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.adjust(instruction((JANE, OMAR), 10))
    strangers: list[int] = []

    def enrol_a_stranger() -> None:
        if not strangers:
            opened.execute(
                "INSERT INTO wallets (id, merchant_id, created_at, updated_at) "
                "VALUES (nextval('wallets_id'), 1, 0, 0)"
            )
            strangers.append(1)

    monkeypatch.setattr(
        postgres, "carry_out", lambda *args: _interrupted(carry_out(*args), after=1, meanwhile=enrol_a_stranger)
    )
    outcomes = opened.at_once(instruction(Everyone.EVERYONE, -4))

    assert codes(outcomes) == [Code.TOO_FEW_POINTS]
    assert (opened.available(JANE), opened.available(OMAR)) == (10, 10)
    assert unfolded(opened) == []


@pytest.mark.parametrize("customers", [JANE, (OMAR, JANE), Everyone.EVERYONE], ids=["one", "list", "everyone"])
def test_an_id_that_is_not_larger_than_a_wallets_last_is_passed_over(opened: Opened, customers: Any) -> None:
    for _ in range(5):
        opened.adjust(instruction((JANE, OMAR), 1))
    opened.execute("ALTER SEQUENCE entries_id RESTART")

    opened.adjust(instruction(customers, 1))

    assert unfolded(opened) == []


# Opening


def test_ten_ledgers_opened_at_once_on_an_empty_database_migrate_it_once(postgres: PostgresServer) -> None:
    async def open_all(database: PostgresDatabase) -> Receipt:
        async with opened_ledgers(database, 10) as ledgers:
            await ledgers[0].enrol(DEMO, Enrolment(references=(JANE,)))
            return await ledgers[9].adjust(instruction(JANE, 10))

    with postgres.database("empty") as database:
        receipt = asyncio.run(open_all(database))

        assert receipt.wallets[0].available == 10
        versions = database.rows("SELECT version FROM schema_versions ORDER BY version")
        assert [row["version"] for row in versions] == list(range(1, len(MIGRATIONS) + 1))


def _connections(database: PostgresDatabase) -> int:
    (row,) = database.rows(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = ? AND pid <> pg_backend_pid()",
        (database.name,),
    )
    return int(row["n"])


def test_a_ledger_of_a_newer_gateway_is_refused_untouched(database: PostgresDatabase) -> None:
    database.execute("INSERT INTO schema_versions (version, applied_at) VALUES (99, 0)")
    before = database.rows("SELECT * FROM schema_versions ORDER BY version")

    async def open_one() -> int:
        with pytest.raises(ConfigurationError, match="schema version 99"):
            await database.ledger().open()
        return await asyncio.to_thread(_connections, database)

    connections = asyncio.run(open_one())

    assert database.rows("SELECT * FROM schema_versions ORDER BY version") == before
    assert connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "{keyed}",
        "{absent}",
        "postgresql://gateway:secret-password@127.0.0.1:1/ledger",
        "postgresql://gateway:secret-password@/ledger?host=/nowhere",
        "postgresql://gateway:secret-password/with-a-slash@127.0.0.1/ledger",
        "postgresql://gateway:secret-password@127.0.0.1:port/ledger",
        "postgresql://gateway:secret-password@127.0.0.1/ledger?sslmode=secret-password",
        "postgresql://gateway:secret-password@[127.0.0.1/ledger",
    ],
    ids=["password", "database", "port", "socket", "slash", "no port", "mode", "host"],
)
def test_a_server_that_cannot_be_used_is_a_configuration_error_without_the_password(
    postgres: PostgresServer, url: str
) -> None:
    user, right_password = postgres.KEYED
    url = url.format(
        keyed=postgres.url("migrated", user, "secret-password"),
        absent=postgres.url("absent", user, right_password),
    )
    began = time.monotonic()

    with pytest.raises(ConfigurationError) as refused:
        asyncio.run(PostgresLedger(url).open())

    told = "".join(traceback.format_exception(refused.value))
    assert "secret" not in told
    assert right_password not in told
    assert time.monotonic() - began < BOUND_SECONDS


def test_the_right_password_opens_the_ledger(postgres: PostgresServer) -> None:
    async def open_and_close() -> bool:
        async with opened_ledgers(database, 1) as (ledger,):
            return await ledger.ready()

    with postgres.database() as database:
        database.url = postgres.url(database.name, *postgres.KEYED)

        assert asyncio.run(open_and_close())


# A server that is not at hand for a while


@dataclass
class _Load:
    """Clients of several ledgers, each adjusting Jane's points again and again with a key of its own."""

    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    others: list[Any] = field(default_factory=list)
    longest: float = 0.0
    is_over: bool = False

    async def send(self, ledger: Ledger, name: str) -> None:
        number = 0
        while not self.is_over:
            number += 1
            key, began = f"{name} {number}", time.monotonic()
            (outcome,) = await _settled(ledger.adjust(instruction(JANE, 1, key)))
            self.longest = max(self.longest, time.monotonic() - began)
            if isinstance(outcome, Receipt):
                self.acknowledged.add(key)
            elif isinstance(outcome, Problem) and outcome.code is Code.UNAVAILABLE:
                self.refused.add(key)
                await asyncio.sleep(0.01)
            else:
                self.others.append(outcome)


async def _ready(ledgers: Sequence[Ledger]) -> None:
    async with asyncio.timeout(BOUND_SECONDS):
        for ledger in ledgers:
            while not await ledger.ready():  # noqa: ASYNC110 - a ledger tells when it is asked
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("times", [3])
def test_a_server_killed_under_load_loses_nothing_acknowledged_and_applies_nothing_twice(
    postgres: PostgresServer, opened: Opened, times: int
) -> None:
    load, ready_while_away = _Load(), []

    async def kill_under_load() -> None:
        async with opened_ledgers(opened.store, 3) as ledgers:
            clients = [
                asyncio.create_task(load.send(ledger, f"{place} {client}"))
                for place, ledger in enumerate(ledgers)
                for client in range(4)
            ]
            for _ in range(times):
                await asyncio.sleep(0.2)
                await asyncio.to_thread(postgres.kill)
                ready_while_away.extend([await ledger.ready() for ledger in ledgers])
                await asyncio.to_thread(postgres.start)
                await _ready(ledgers)
            before = len(load.acknowledged)
            await asyncio.sleep(0.2)
            load.is_over = True
            await asyncio.gather(*clients)
            assert len(load.acknowledged) > before

    asyncio.run(kill_under_load())

    applied = Counter(row["idempotency_key"] for row in opened.rows("SELECT idempotency_key FROM entries"))
    assert load.others == []
    assert set(ready_while_away) == {False}
    assert set(applied.values()) == {1}
    assert load.acknowledged - set(applied) == set(), "acknowledged and lost"
    assert load.refused & set(applied) == set(), "refused and applied"
    assert load.longest < BOUND_SECONDS
    assert unfolded(opened) == []


def test_without_its_server_a_ledger_is_unavailable_and_with_it_at_hand_again(
    postgres: PostgresServer, opened: Opened
) -> None:
    async def ask_everything() -> list[Any]:
        asked, began = opened.ledger, time.monotonic()
        outcomes = await _settled(
            asked.adjust(instruction(JANE, 10, "k")),
            asked.adjust(instruction(NOBODY, 10, merchant=Merchant(name="unmet"))),
            asked.enrol(DEMO, Enrolment(references=(NOBODY,))),
            asked.update(DEMO, CustomerUpdate(customer=JANE, changes={})),
            asked.customer(DEMO, CustomerQuery(references=(JANE,))),
            asked.customers(DEMO, CustomersQuery(limit=1)),
            asked.history(DEMO, HistoryQuery(customer=JANE, limit=1)),
        )
        assert time.monotonic() - began < BOUND_SECONDS
        return outcomes

    with postgres.away():
        outcomes = opened.run(ask_everything())
        ready = [opened.run(opened.ledger.ready())]
    ready.append(opened.run(opened.ledger.ready()))
    again = opened.run(ask_everything())

    assert codes(outcomes) == [Code.UNAVAILABLE] * 7
    assert ready == [False, True]
    assert codes(again) == [None, Code.UNKNOWN_CUSTOMER, None, None, None, None, None]
    assert again[0].replayed is False
    assert opened.deltas() == [10]


def test_a_ledger_closes_within_bounds_while_its_server_is_away(postgres: PostgresServer, opened: Opened) -> None:
    with postgres.away():
        began = time.monotonic()
        opened.close_ledger()

    assert time.monotonic() - began < BOUND_SECONDS


def test_connections_that_the_server_ends_while_idle_are_not_noticed_by_clients(opened: Opened) -> None:
    async def end_and_ask(number: int) -> list[Any]:
        await opened.ledger.ready()
        opened.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return await _settled(
            opened.ledger.adjust(instruction(JANE, 1)),
            opened.ledger.customer(DEMO, CustomerQuery(references=(JANE,))),
            opened.ledger.enrol(DEMO, Enrolment(references=(CustomerReference("shopify", str(number)),))),
        )

    outcomes = [outcome for number in range(5) for outcome in opened.run(end_and_ask(number))]

    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    assert opened.deltas() == [1] * 5


@pytest.mark.parametrize("was_committed", [True, False], ids=["behind it", "before it"])
@pytest.mark.parametrize("kind", ["one", "everyone", "enrolment", "exclusion"])
def test_a_connection_lost_at_the_commit_is_settled_by_what_came_of_it(
    opened: Opened,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    was_committed: bool,  # noqa: FBT001 - a parameter
) -> None:
    ledger, commit, lost = opened.ledger, Transaction.commit, list[int]()
    fifth = CustomerReference("shopify", "5")

    async def commit_and_lose(transaction: Transaction) -> None:
        if lost:
            await commit(transaction)
            return
        lost.append(1)
        if was_committed:
            await commit(transaction)
        transaction._connection.terminate()  # type: ignore[attr-defined]  # noqa: SLF001 - as a network does
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    def ask() -> Awaitable[Any]:
        match kind:
            case "one":
                return ledger.adjust(instruction(JANE, 10))
            case "everyone":
                return ledger.adjust(instruction(Everyone.EVERYONE, 10))
            case "enrolment":
                return ledger.enrol(DEMO, Enrolment(references=(fifth,)))
            case _:
                return ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={}, excluded=True))

    before = opened.contents()
    monkeypatch.setattr(Transaction, "commit", commit_and_lose)
    (outcome,) = opened.run(_settled(ask()))

    assert lost
    assert codes([outcome]) == [None if was_committed else Code.UNAVAILABLE]
    assert (opened.contents() != before) == was_committed
    assert opened.adjust(instruction(OMAR, 1)).count == 1


def test_a_customer_whom_somebody_else_holds_is_busy_and_then_at_hand_again(opened: Opened) -> None:
    async def ask() -> list[Any]:
        return await _settled(
            opened.ledger.adjust(instruction(JANE, 10, "k")),
            opened.ledger.update(DEMO, CustomerUpdate(customer=OMAR, changes={})),
            opened.ledger.customer(DEMO, CustomerQuery(references=(JANE,))),
        )

    with opened.store.uncommitted("UPDATE wallets SET available = 77"):
        outcomes = opened.run(ask())

    assert codes(outcomes) == [Code.RECORD_BUSY, Code.RECORD_BUSY, None]
    assert opened.run(opened.ledger.ready())
    assert not opened.adjust(instruction(JANE, 10, "k")).replayed
    assert opened.deltas() == [10]


def test_who_is_for_everyone_waits_while_somebody_else_accepts_a_job(opened: Opened) -> None:
    with opened.store.uncommitted("UPDATE merchants SET last_job = last_job + 1"):
        outcomes = opened.at_once(instruction(Everyone.EVERYONE, 10))

    assert codes(outcomes) == [Code.RECORD_BUSY]
    assert opened.adjust(instruction(Everyone.EVERYONE, 10)).count == 2


def test_a_chunk_of_a_job_holds_nobody_while_it_waits_for_somebody_before_them(database: PostgresDatabase) -> None:
    opened = Opened(database, everyone_at_once=1, runs_jobs=False)
    opened.enrol(JANE)
    opened.enrol(OMAR)
    opened.run(opened.ledger.update(DEMO, CustomerUpdate(customer=JANE, changes={}, excluded=True)))
    opened.enrol(NOBODY)
    opened.adjust(instruction(Everyone.EVERYONE, 10))

    async def adjust_meanwhile() -> Any:
        ledger: Any = opened.ledger
        chunk = asyncio.create_task(ledger._advance(10))  # noqa: SLF001
        while "wallets" not in _waiting_for_locks(database):  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.02)
        return await ledger.adjust(instruction(OMAR, 1)), chunk

    with database.uncommitted("UPDATE wallets SET reserved = 0 WHERE id = 1"):
        receipt, chunk = opened.run(adjust_meanwhile())
    opened.run(chunk)

    assert [entry.points_after for entry in receipt.entries] == [11]
    assert opened.deltas() == [10, 1, 10]
    opened.close()


def _waiting_for_locks(database: PostgresDatabase) -> str:
    rows = database.rows("SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return " ".join(row["query"] for row in rows)


def test_old_keys_that_cannot_be_forgotten_now_change_no_answer(database: PostgresDatabase) -> None:
    opened = Opened(database, keep_keys_seconds=10)
    opened.enrol(JANE)
    opened.adjust(instruction(JANE, 1, "old"))
    database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE EXCEPTION 'overtaken' USING ERRCODE = 'deadlock_detected'; END $$"
    )
    database.execute("CREATE TRIGGER refused BEFORE DELETE ON idempotency_keys EXECUTE FUNCTION refuse()")
    opened.clock.now += 100 * 1_000_000

    outcomes = opened.at_once(instruction(JANE, 10), instruction(JANE, 100))

    assert codes(outcomes) == [None, None]
    assert opened.deltas() == [1, 10, 100]
    opened.close()


# Texts


@pytest.mark.parametrize(
    "text",
    ["\x00", "a\x00b", "\ufdd0", "\ufdd00", "\ufdd0\ufdd0", "\x00\ufdd00\x00", "\\u0000", "\U0001f600"],
    ids=ascii,
)
def test_a_text_is_kept_as_it_is_whatever_its_characters(opened: Opened, text: str) -> None:
    reference = CustomerReference("shopify", text)
    changes = {"first_name": text, "source": text, "tags": (text, "vip")}
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(reference,), changes=changes)))

    receipts = [
        opened.adjust(instruction(reference, 10, text, reason=text, metadata={text: text})) for _ in range(2)
    ]

    customer = opened.run(opened.ledger.customer(DEMO, CustomerQuery(references=(reference,))))
    (entry,) = opened.run(opened.ledger.history(DEMO, HistoryQuery(customer=reference, limit=None))).entries
    assert [receipt.replayed for receipt in receipts] == [False, True]
    assert entry == receipts[0].entries[0] == receipts[1].entries[0]
    assert (entry.reason, entry.metadata, entry.idempotency_key) == (text, {text: text}, text)
    assert receipts[0].customers == receipts[1].customers == customer.references == (reference,)
    assert (customer.profile.first_name, customer.profile.source) == (text, text)
    assert customer.profile.tags == (text, "vip")


@pytest.mark.parametrize("text", ["\x00", "\ufdd0", '"', "\\"], ids=ascii)
@pytest.mark.parametrize(
    "query",
    [
        lambda text: {"tags": (text,)},
        lambda text: {"sources": (text,)},
        lambda text: {"containing": text, "searched": ("shopify",)},
        lambda text: {"containing": f"{text}ne", "searches_names": True},
    ],
    ids=["tag", "source", "reference", "name"],
)
def test_a_customer_is_found_by_a_text_whatever_its_characters(opened: Opened, text: str, query: Any) -> None:
    changes = {"first_name": f"Ja{text}ne", "source": text, "tags": ("vip", text)}
    enrolling = Enrolment(references=(CustomerReference("shopify", f"1{text}2"),), changes=changes)
    enrolled: Enrolled = opened.run(opened.ledger.enrol(DEMO, enrolling))

    found: Customers = opened.run(opened.ledger.customers(DEMO, CustomersQuery(limit=9, **query(text))))
    others: Customers = opened.run(opened.ledger.customers(DEMO, CustomersQuery(limit=9, tags=("vip",))))

    assert found.customers == others.customers == (enrolled.customer,)


@pytest.mark.parametrize("searched", ["ärmel", "ÄRMEL", "Ärm"])
def test_a_name_is_found_in_either_case_of_its_letters(opened: Opened, searched: str) -> None:
    changes = {"first_name": "Ärmel"}
    opened.run(opened.ledger.enrol(DEMO, Enrolment(references=(NOBODY,), changes=changes)))
    query = CustomersQuery(limit=9, containing=searched, searches_names=True)

    found: Customers = opened.run(opened.ledger.customers(DEMO, query))

    assert [customer.references for customer in found.customers] == [(NOBODY,)]
