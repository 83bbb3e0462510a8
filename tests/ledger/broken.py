"""Stores that break promises: each a SQLite file whose ledger has one fault, and the checks that must notice it.

A fault sits where the mistake would: in the database (a trigger), in how the ledger speaks to it (a connection),
or in the ledger (a wrapper, which does all else as the ledger does).
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import conformance as suite
import msgspec
import pytest
from conformance import Check
from opened import DEMO, OTHER

from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    OWN_NAMESPACE,
    CustomerReference,
    Everyone,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Receipt,
)
from loyalty_gateway.customer import (
    Customer,
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
from loyalty_gateway.ledger import Ledger, sqlite
from loyalty_gateway.problem import Code, Problem
from stores import SqliteFile

replace = msgspec.structs.replace
T = TypeVar("T")


class Wrapped:
    """A ledger that does what another does, except where it says otherwise."""

    def __init__(self, ledger: Ledger) -> None:
        self.inner = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Connection(sqlite3.Connection):
    """A connection of the ledger; those that only read say so first."""

    reads = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.reads = self.reads or sql == "PRAGMA query_only = ON"
        # No test brings the machine down, so nothing has to reach the disk.
        return self.said(sql.replace("synchronous = FULL", "synchronous = OFF"), parameters)

    def said(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        return super().execute(sql, parameters)

    def nothing(self) -> sqlite3.Cursor:
        return super().execute("SELECT 1")


class Breakage(NamedTuple):
    """A fault, and the checks that must notice it; nobody waits for it longer than ``patience`` seconds."""

    name: str
    caught_by: tuple[Check, ...]
    wrap: Callable[[Ledger], Any] = Wrapped
    connection: type[Connection] = Connection
    trigger: str | None = None
    patience: float = 1

    def __str__(self) -> str:
        return self.name


NOTHING_BROKEN: Final = Breakage("nothing", (), patience=20)

BREAKAGES: Final[list[Breakage]] = []


class BrokenStore(SqliteFile):
    """A file made from a template, whose ledgers have a fault."""

    def __init__(self, path: Path, template: bytes, breakage: Breakage) -> None:
        super().__init__(path)
        self._breakage = breakage
        path.write_bytes(template)
        if breakage.trigger is not None:
            self.execute(f"CREATE TRIGGER fault {breakage.trigger}")

    def ledger(self, **options: Any) -> Any:
        return self._breakage.wrap(super().ledger(**options))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        # Whoever looks in from outside does not wait for a ledger that never lets go.
        with closing(sqlite3.connect(self.path, timeout=0.2)) as db, db:
            yield db


class _Driver:
    """The database's driver as the ledger sees it, with connections of this kind."""

    def __init__(self, breakage: Breakage) -> None:
        self._breakage = breakage

    def connect(self, path: str, *, timeout: float, **options: Any) -> sqlite3.Connection:
        timeout = min(timeout, self._breakage.patience / 2)
        return sqlite3.connect(path, timeout=timeout, factory=self._breakage.connection, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)


@contextmanager
def broken_store(path: Path, template: bytes, breakage: Breakage) -> Iterator[BrokenStore]:
    """A store with the fault, in this place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "sqlite3", _Driver(breakage))
        yield BrokenStore(path, template, breakage)


# How a fault is written down


def _breaks(*caught_by: Check) -> Callable[[type[T]], type[T]]:
    """The fault is a class, its docstring the name."""

    def told(fault: type[T]) -> type[T]:
        sentence = fault.__doc__ or ""
        name = sentence[:1].lower() + sentence[1:].removesuffix(".")
        if issubclass(fault, Connection):
            BREAKAGES.append(Breakage(name, caught_by, connection=fault))
        else:
            BREAKAGES.append(Breakage(name, caught_by, wrap=fault))
        return fault

    return told


def _trigger(name: str, trigger: str, *caught_by: Check) -> None:
    """The fault is a trigger in the database."""
    BREAKAGES.append(Breakage(name, caught_by, trigger=trigger))


def _asked(name: str, method: str, otherwise: Callable[[Any], Any], *caught_by: Check) -> None:
    """The fault is that the ledger carries out something else than was asked."""

    class Asked(Wrapped):
        def __getattr__(self, attribute: str) -> Any:
            inner = super().__getattr__(attribute)

            async def ask(*given: Any, **more: Any) -> Any:
                *merchant, request = given
                return await inner(*merchant, otherwise(request), **more)

            return ask if attribute == method else inner

    BREAKAGES.append(Breakage(name, caught_by, wrap=Asked))


def _answered(name: str, method: str, otherwise: Callable[[Any, Any], Any], *caught_by: Check) -> None:
    """The fault is that the ledger answers something else than came of it."""

    class Answered(Wrapped):
        def __getattr__(self, attribute: str) -> Any:
            inner = super().__getattr__(attribute)

            async def answer(*given: Any, **more: Any) -> Any:
                return otherwise(given[-1], await inner(*given, **more))

            return answer if attribute == method else inner

    BREAKAGES.append(Breakage(name, caught_by, wrap=Answered))


def _changed(instruction: Instruction, **changes: Any) -> Instruction:
    return replace(instruction, adjustment=replace(instruction.adjustment, **changes))


def _one_by_one(instruction: Instruction) -> list[Instruction]:
    """The instruction for each customer listed by itself, without its key."""
    customers = instruction.adjustment.customers
    assert not isinstance(customers, Everyone)
    return [replace(_changed(instruction, customers=(one,)), idempotency=None) for one in customers]


def _joined(receipts: Sequence[Receipt]) -> Receipt:
    return Receipt(
        merchant_id=receipts[0].merchant_id,
        count=sum(receipt.count for receipt in receipts),
        entries=tuple(entry for receipt in receipts for entry in receipt.entries),
        wallets=tuple(wallet for receipt in receipts for wallet in receipt.wallets),
        customers=tuple(customer for receipt in receipts for customer in receipt.customers),
    )


def _is_list(instruction: Instruction) -> bool:
    customers = instruction.adjustment.customers
    return not isinstance(customers, Everyone) and len(customers) > 1


def _is_everyone(instruction: Instruction) -> bool:
    return isinstance(instruction.adjustment.customers, Everyone)


# Points that are lost, made or moved twice


_trigger(
    "an update of a wallet in five is lost",
    "AFTER UPDATE OF available ON wallets WHEN new.version % 5 = 0 BEGIN "
    "UPDATE wallets SET available = old.available WHERE id = new.id; END",
    suite.every_wallet_is_the_fold_of_its_entries,
    suite.many_adjustments_at_once_add_up_exactly,
    suite.what_two_ledgers_do_to_one_wallet_adds_up_exactly,
)
_trigger(
    "entries are written, and the wallet stays as it was",
    "AFTER UPDATE OF available ON wallets BEGIN UPDATE wallets SET available = old.available, "
    "lifetime_earned = old.lifetime_earned WHERE id = new.id; END",
    suite.an_adjustment_through_one_reference_is_seen_through_another,
    suite.a_read_sees_every_write_acknowledged_before_it,
)
_trigger(
    "wallets move, and an entry in three is missing",
    "BEFORE INSERT ON entries WHEN new.version % 3 = 2 BEGIN SELECT RAISE(IGNORE); END",
    suite.entries_of_a_wallet_are_numbered_without_a_gap,
    suite.every_wallet_is_the_fold_of_its_entries,
)
_trigger(
    "what moves nothing is not written down",
    "BEFORE INSERT ON entries WHEN new.points_delta = 0 BEGIN SELECT RAISE(IGNORE); END",
    suite.an_adjustment_that_moves_nothing_is_an_entry_too,
)
_trigger(
    "entries tell what was asked as what took effect",
    "AFTER INSERT ON entries WHEN new.points_asked IS NOT NULL BEGIN "
    "UPDATE entries SET points_delta = points_asked WHERE id = new.id; END",
    suite.an_entry_begins_where_the_one_before_ended,
    suite.everyone_is_floored_each_at_their_own_balance,
)
_trigger(
    "balances are floating point",
    "AFTER UPDATE OF available ON wallets BEGIN "
    "UPDATE wallets SET available = CAST(new.available * 1.0 AS INTEGER) WHERE id = new.id; END",
    suite.every_point_counts_however_many_there_are,
)
_trigger(
    "a deduction beyond the lifetime points is told in full",
    "AFTER INSERT ON entries WHEN new.earned_delta < 0 BEGIN "
    "UPDATE entries SET earned_delta = points_delta WHERE id = new.id; END",
    suite.lifetime_points_stop_at_zero_and_their_entries_tell_by_how_much,
)
_trigger(
    "wallets lose count of their grants",
    "AFTER UPDATE OF grants ON wallets BEGIN UPDATE wallets SET granted = 0, grants = 0 WHERE id = new.id; END",
    suite.a_wallet_counts_and_adds_up_what_was_granted,
)
_trigger(
    "a wallet's tier is not kept",
    "AFTER UPDATE OF tier ON wallets BEGIN UPDATE wallets SET tier = NULL WHERE id = new.id; END",
    suite.a_wallet_keeps_the_tier_that_its_lifetime_points_reach,
)
_trigger(
    "a later entry marks the earlier ones",
    "AFTER INSERT ON entries BEGIN "
    "UPDATE entries SET reason = 'superseded' WHERE wallet_id = new.wallet_id AND version < new.version; END",
    suite.an_entry_never_changes_once_it_is_written,
)
_trigger(
    "an entry's details are not kept",
    "AFTER INSERT ON entries BEGIN UPDATE entries SET metadata = NULL, notify = NULL WHERE id = new.id; END",
    suite.an_entry_is_a_row_that_operators_read_with_sql,
)
_trigger(
    "entries are dated to the second",
    "AFTER INSERT ON entries BEGIN "
    "UPDATE entries SET occurred_at = occurred_at / 1000000 * 1000000 WHERE id = new.id; END",
    suite.entries_of_a_wallet_in_one_moment_have_times_that_rise,
    suite.entries_of_a_wallet_stay_in_order_when_the_clock_goes_back,
)
_asked(
    "a deduction takes what there is, and is never refused",
    "adjust",
    lambda asked: _changed(asked, overdraft=Overdraft.FLOOR),
    suite.a_deduction_larger_than_the_balance_is_refused,
    suite.a_refused_adjustment_refuses_only_itself,
    suite.everyone_is_adjusted_or_nobody,
)
_asked(
    "a deduction that is to take what there is gets refused",
    "adjust",
    lambda asked: _changed(asked, overdraft=Overdraft.REFUSE),
    suite.a_floored_deduction_takes_what_there_is_and_tells_what_was_asked,
    suite.everyone_is_floored_each_at_their_own_balance,
)
_asked(
    "every addition is earned and every deduction burned",
    "adjust",
    lambda asked: _changed(asked, lifetime=Lifetime.EARN_AND_BURN),
    suite.lifetime_counters_move_as_the_adjustment_says,
)
_asked(
    "customers are named as they were addressed",
    "adjust",
    lambda asked: _changed(asked, named_by=None),
    suite.a_customer_is_named_in_the_namespace_asked_for_where_there_is_one,
)


@_breaks(suite.many_adjustments_at_once_add_up_exactly)
class _Retries(Wrapped):
    """An adjustment among many is carried out a second time, as if its answer had been lost."""

    count = 0

    async def adjust(self, instruction: Instruction) -> Receipt:
        self.count += 1
        if self.count % 50 == 0:
            await self.inner.adjust(instruction)
        return await self.inner.adjust(instruction)


@_breaks(suite.deductions_that_race_for_the_last_points_take_no_more_than_there_are)
class _LooksThenTakes(Wrapped):
    """Whether there are points enough is looked up before they are taken."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        if isinstance(instruction.adjustment.customers, tuple):
            query = CustomerQuery(references=instruction.adjustment.customers[:1])
            customer = await self.inner.customer(instruction.merchant, query)
            if customer.wallet.available < -(instruction.adjustment.points_delta or 0):
                raise Problem(Code.TOO_FEW_POINTS)
        return await self.inner.adjust(_changed(instruction, overdraft=Overdraft.FLOOR))


@_breaks(suite.a_reset_takes_whatever_there_is)
class _ResetsWhatItRead(Wrapped):
    """A reset is a deduction of the balance that was read before."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        customers = instruction.adjustment.customers
        if instruction.adjustment.points_delta is None and isinstance(customers, tuple):
            customer = await self.inner.customer(instruction.merchant, CustomerQuery(references=customers))
            instruction = _changed(instruction, points_delta=-customer.wallet.available)
        return await self.inner.adjust(instruction)


@_breaks(suite.points_beyond_64_bits_are_refused)
class _Saturates(Wrapped):
    """A balance stops at the largest number."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        try:
            return await self.inner.adjust(instruction)
        except Problem as problem:
            customers = instruction.adjustment.customers
            if problem.code is not Code.BALANCE_OVERFLOW or isinstance(customers, Everyone):
                raise
            customer = await self.inner.customer(instruction.merchant, CustomerQuery(references=customers))
            room = LARGEST_POINTS - customer.wallet.available
            return await self.inner.adjust(_changed(instruction, points_delta=room))


@_breaks(suite.a_receipt_tells_the_entry_the_wallet_and_the_customer)
class _TellsTheWalletBefore(Wrapped):
    """A receipt shows the wallet as it was before."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        customers = instruction.adjustment.customers
        if isinstance(customers, Everyone) or len(customers) > 1:
            return await self.inner.adjust(instruction)
        customer = await self.inner.customer(instruction.merchant, CustomerQuery(references=customers))
        return replace(await self.inner.adjust(instruction), wallets=(customer.wallet,))


@_breaks(
    suite.a_refused_adjustment_leaves_no_trace,
    suite.a_list_with_one_refused_customer_adjusts_nobody,
)
class _NotesRefusals(Wrapped):
    """A refusal is noted at the customer."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        try:
            return await self.inner.adjust(instruction)
        except Problem:
            customers = instruction.adjustment.customers
            if isinstance(customers, tuple):
                noted = CustomerUpdate(customer=customers[0], changes={"source": "refused"})
                await self.inner.update(instruction.merchant, noted)
            raise


# Lists and everyone


@_breaks(
    suite.a_list_with_one_refused_customer_adjusts_nobody,
    suite.an_unknown_customer_in_a_list_is_told_before_an_excluded_one,
    suite.a_customer_listed_by_two_references_counts_once,
)
class _ListsOneByOne(Wrapped):
    """A list is carried out one by one, each name once."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        if not _is_list(instruction):
            return await self.inner.adjust(instruction)
        singly = dict.fromkeys(one.adjustment.customers for one in _one_by_one(instruction))
        return _joined([await self.inner.adjust(_changed(instruction, customers=one)) for one in singly])


@_breaks(
    suite.a_customer_listed_twice_counts_once,
    suite.an_unknown_customer_listed_twice_is_enrolled_and_adjusted_once,
)
class _CountsTwice(Wrapped):
    """A customer who is listed twice is adjusted twice."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        receipts = [await self.inner.adjust(instruction)]
        if _is_list(instruction):
            seen = set[tuple[CustomerReference, ...] | Everyone]()
            for one in _one_by_one(instruction):
                if one.adjustment.customers in seen:
                    receipts.append(await self.inner.adjust(one))
                seen.add(one.adjustment.customers)
        return _joined(receipts) if len(receipts) > 1 else receipts[0]


def _in_order_of_names(asked: Instruction) -> Instruction:
    customers = asked.adjustment.customers
    return (
        asked if isinstance(customers, Everyone) else _changed(asked, customers=tuple(sorted(customers, key=str)))
    )


_asked(
    "a list is sorted",
    "adjust",
    _in_order_of_names,
    suite.a_receipt_tells_customers_in_the_order_in_which_they_were_listed,
)


@_breaks(
    suite.everyone_passes_over_the_excluded,
    suite.everyone_sees_what_the_same_group_did_before_and_is_seen_by_what_follows,
)
class _EveryoneIsAList(Wrapped):
    """Everyone is the list of all customers, read before."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        if _is_everyone(instruction):
            page = await self.inner.customers(instruction.merchant, CustomersQuery(limit=1_000))
            listed = tuple(customer.references[0] for customer in page.customers)
            instruction = _changed(instruction, customers=listed)
        return await self.inner.adjust(instruction)


@_breaks(suite.everyone_is_adjusted_or_nobody)
class _EveryoneOneByOne(Wrapped):
    """Everyone is adjusted one after another, until somebody is refused."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        if not _is_everyone(instruction):
            return await self.inner.adjust(instruction)
        page = await self.inner.customers(
            instruction.merchant, CustomersQuery(limit=1_000, descending=False, excluded=False)
        )
        receipts = [
            await self.inner.adjust(_changed(instruction, customers=customer.references[:1]))
            for customer in page.customers
        ]
        return Receipt(merchant_id=0, count=len(receipts))


@_breaks(
    suite.everyone_reaches_only_the_merchants_own_customers,
    suite.everyone_of_a_merchant_without_customers_is_nobody,
)
class _EveryoneOfAll(Wrapped):
    """Everyone is everyone of all merchants."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._merchants: dict[str, Merchant] = {}

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **more: Any) -> Enrolled:
        self._merchants[merchant.name] = merchant
        return await self.inner.enrol(merchant, enrolment, **more)

    async def adjust(self, instruction: Instruction) -> Receipt:
        if not _is_everyone(instruction):
            return await self.inner.adjust(instruction)
        merchants = self._merchants | {instruction.merchant.name: instruction.merchant}
        receipts = [await self.inner.adjust(replace(instruction, merchant=one)) for one in merchants.values()]
        return _joined(receipts)


@_breaks(
    suite.everyone_put_off_is_seen_by_whoever_reads_or_adjusts_behind_it,
    suite.everyone_put_off_reaches_everybody_once_though_the_ledger_is_closed,
)
class _EveryoneLater(Wrapped):
    """Everyone is adjusted a while after the answer, which nothing remembers."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        if not _is_everyone(instruction):
            return await self.inner.adjust(instruction)
        self._later = asyncio.ensure_future(self._carry_out(instruction))
        return Receipt(merchant_id=0, count=0)

    async def _carry_out(self, instruction: Instruction) -> None:
        await asyncio.sleep(10)
        with suppress(Problem):
            await self.inner.adjust(instruction)


# Idempotency keys


class _Keyed(Wrapped):
    """Answers keys by itself, from receipts that it remembers by ``scope``."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._receipts: dict[tuple[str, ...], Receipt] = {}

    def scope(self, instruction: Instruction, key: str) -> tuple[str, ...]:
        raise NotImplementedError

    async def adjust(self, instruction: Instruction) -> Receipt:
        if instruction.idempotency is None:
            return await self.inner.adjust(instruction)
        scope = self.scope(instruction, instruction.idempotency.key)
        if scope in self._receipts:
            return replace(self._receipts[scope], replayed=True)
        self._receipts[scope] = receipt = await self.inner.adjust(instruction)
        return receipt


@_breaks(suite.a_key_means_nothing_to_another_merchant)
class _KeysOfAllMerchants(_Keyed):
    """A key that one merchant used is answered to another."""

    def scope(self, instruction: Instruction, key: str) -> tuple[str, ...]:
        return (instruction.vendor, key)


@_breaks(suite.a_key_means_nothing_to_another_vendor)
class _KeysOfAllVendors(_Keyed):
    """A key that came through one vendor's API is answered through another's."""

    def scope(self, instruction: Instruction, key: str) -> tuple[str, ...]:
        return (instruction.merchant.name, key)


@_breaks(
    suite.a_key_outlives_the_ledgers_process,
    suite.a_key_used_at_two_ledgers_at_once_is_applied_once,
)
class _KeysInMemory(_Keyed):
    """Keys are kept in the memory of the process."""

    def scope(self, instruction: Instruction, key: str) -> tuple[str, ...]:
        return (instruction.merchant.name, instruction.vendor, key)

    async def adjust(self, instruction: Instruction) -> Receipt:
        receipts, inner = self._receipts, self.inner
        if instruction.idempotency is None:
            return await inner.adjust(instruction)
        scope = self.scope(instruction, instruction.idempotency.key)
        if scope in receipts:
            return replace(receipts[scope], replayed=True)
        receipts[scope] = receipt = await inner.adjust(replace(instruction, idempotency=None))
        return receipt


_asked(
    "a key is not looked at",
    "adjust",
    lambda asked: replace(asked, idempotency=None),
    suite.a_key_seen_before_gives_the_same_receipt_again,
    suite.a_replay_changes_nothing,
    suite.everyone_with_a_key_is_applied_once,
    suite.of_two_at_once_with_one_key_the_second_is_told_that_the_first_is_in_flight,
)
_asked(
    "what a key came with is not compared",
    "adjust",
    lambda asked: (
        asked
        if asked.idempotency is None
        else replace(asked, idempotency=replace(asked.idempotency, fingerprint=b""))
    ),
    suite.a_key_seen_before_with_another_request_is_refused,
)
_asked(
    "keys count for customers who are listed, not for everyone",
    "adjust",
    lambda asked: replace(asked, idempotency=None) if _is_everyone(asked) else asked,
    suite.everyone_with_a_key_is_applied_once,
)
_answered(
    "a replay does not say that it is one",
    "adjust",
    lambda _, receipt: replace(receipt, replayed=False),
    suite.a_key_seen_before_gives_the_same_receipt_again,
    suite.a_replay_is_answered_whatever_became_of_the_customer,
)
_trigger(
    "keys are dated a second early",
    "AFTER INSERT ON idempotency_keys BEGIN "
    "UPDATE idempotency_keys SET created_at = created_at - 1000000 WHERE key = new.key; END",
    suite.a_key_is_remembered_as_long_as_configured,
)
_trigger(
    "keys are dated a second late",
    "AFTER INSERT ON idempotency_keys BEGIN "
    "UPDATE idempotency_keys SET created_at = created_at + 1000000 WHERE key = new.key; END",
    suite.a_key_is_forgotten_when_its_time_is_over,
)
_trigger(
    "a key that is used again stays what it was",
    "AFTER UPDATE ON idempotency_keys BEGIN UPDATE idempotency_keys SET fingerprint = old.fingerprint, "
    "receipt = old.receipt, created_at = old.created_at WHERE key = new.key; END",
    suite.a_key_used_again_after_its_time_is_remembered_anew,
)
_trigger(
    "old keys are never cleared away",
    "BEFORE DELETE ON idempotency_keys BEGIN SELECT RAISE(IGNORE); END",
    suite.old_keys_take_no_room_and_younger_ones_are_kept,
)
_trigger(
    "young keys are cleared away with the old ones",
    "AFTER DELETE ON idempotency_keys BEGIN DELETE FROM idempotency_keys; END",
    suite.old_keys_take_no_room_and_younger_ones_are_kept,
)


@_breaks(suite.the_key_of_a_refused_adjustment_is_free_again)
class _KeepsRefusals(Wrapped):
    """A refusal uses up the key."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._refused: dict[str, Problem] = {}

    async def adjust(self, instruction: Instruction) -> Receipt:
        key = "" if instruction.idempotency is None else instruction.idempotency.key
        if key in self._refused:
            raise self._refused[key]
        try:
            return await self.inner.adjust(instruction)
        except Problem as problem:
            if key:
                self._refused[key] = problem
            raise


@_breaks(suite.a_replay_is_answered_whatever_became_of_the_customer)
class _LooksAtCustomersFirst(Wrapped):
    """The customer is looked at before the key."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        if isinstance(instruction.adjustment.customers, tuple):
            for reference in instruction.adjustment.customers:
                query = CustomerQuery(references=(reference,))
                if (await self.inner.customer(instruction.merchant, query)).wallet.excluded:
                    raise Problem(Code.CUSTOMER_EXCLUDED)
        return await self.inner.adjust(instruction)


@_breaks(suite.a_replay_changes_nothing)
class _NotesReplays(Wrapped):
    """A replay is noted at the customer."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        receipt = await self.inner.adjust(instruction)
        if receipt.replayed and receipt.customers:
            noted = CustomerUpdate(customer=receipt.customers[0], changes={"source": "replayed"})
            await self.inner.update(instruction.merchant, noted)
        return receipt


@_breaks(suite.a_key_seen_before_gives_the_same_receipt_again)
class _ReplaysTheWalletOfNow(Wrapped):
    """A replay shows the wallets as they are now."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        receipt = await self.inner.adjust(instruction)
        if not receipt.replayed:
            return receipt
        queries = [CustomerQuery(references=(one,)) for one in receipt.customers]
        customers = [await self.inner.customer(instruction.merchant, query) for query in queries]
        return replace(receipt, wallets=tuple(customer.wallet for customer in customers))


@_breaks(suite.one_key_is_in_flight_for_one_vendor_of_one_merchant_only)
class _KeysInFlightOfAll(Wrapped):
    """A key in flight is in flight for all vendors and merchants."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._in_flight: set[str] = set()

    async def adjust(self, instruction: Instruction) -> Receipt:
        if instruction.idempotency is None:
            return await self.inner.adjust(instruction)
        key = instruction.idempotency.key
        if key in self._in_flight:
            raise Problem(Code.KEY_IN_FLIGHT)
        self._in_flight.add(key)
        try:
            return await self.inner.adjust(instruction)
        finally:
            self._in_flight.discard(key)


@_breaks(suite.of_two_at_once_with_one_key_the_second_is_told_that_the_first_is_in_flight)
class _WaitsForKeysInFlight(Wrapped):
    """Who comes with a key in flight waits, and is carried out next."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        while True:
            try:
                return await self.inner.adjust(instruction)
            except Problem as problem:
                if problem.code is not Code.KEY_IN_FLIGHT:
                    raise
                await asyncio.sleep(0.001)


@_breaks(suite.a_key_counts_for_an_enrolment_too)
class _EnrolsWithoutKeys(Wrapped):
    """A key that comes with an enrolment is not looked at."""

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **_: Any) -> Enrolled:
        return await self.inner.enrol(merchant, enrolment)


# Callers who go away


@_breaks(
    suite.an_adjustment_whose_caller_goes_away_is_applied_once,
    suite.a_key_whose_caller_went_away_is_in_flight_until_its_outcome_and_then_replays,
)
class _LeavesWithTheCaller(Wrapped):
    """An adjustment whose caller goes away early is dropped."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        await asyncio.sleep(0)
        return await self.inner.adjust(instruction)


@_breaks(suite.an_adjustment_whose_caller_goes_away_is_applied_once)
class _BeginsAnewForWhoLeft(Wrapped):
    """An adjustment whose caller went away is begun anew."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        try:
            return await self.inner.adjust(instruction)
        except asyncio.CancelledError:
            self._again = asyncio.ensure_future(self.inner.adjust(replace(instruction, idempotency=None)))
            raise


@_breaks(suite.a_refusal_whose_caller_went_away_is_no_error_of_the_program)
class _LeavesRefusalsBehind(Wrapped):
    """What is refused after its caller went away is nobody's."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        carried_out = asyncio.ensure_future(self.inner.adjust(instruction))
        await asyncio.wait([carried_out])
        return carried_out.result()


# Customers


_trigger(
    "names are kept in lower case",
    "AFTER INSERT ON customer_references BEGIN "
    "UPDATE customer_references SET value = lower(value) WHERE wallet_id = new.wallet_id; END",
    suite.references_that_differ_in_case_are_two_customers,
)
_trigger(
    "nobody is kept out",
    "AFTER UPDATE OF excluded ON wallets BEGIN UPDATE wallets SET excluded = 0 WHERE id = new.id; END",
    suite.an_excluded_customer_is_refused_until_taken_in_again,
    suite.an_enrolment_that_says_they_take_part_refuses_the_excluded,
)
_trigger(
    "who is kept out stays out",
    "BEFORE UPDATE OF excluded ON wallets WHEN new.excluded < old.excluded BEGIN SELECT RAISE(IGNORE); END",
    suite.an_excluded_customer_is_refused_until_taken_in_again,
)
_trigger(
    "a change of a customer is not dated",
    "AFTER UPDATE OF updated_at ON wallets WHEN new.version = old.version BEGIN "
    "UPDATE wallets SET updated_at = old.updated_at WHERE id = new.id; END",
    suite.a_change_of_a_customer_has_a_later_time,
    suite.enrolling_somebody_again_changes_what_is_to_be_updated,
)


@_breaks(suite.a_reference_means_nothing_in_another_namespace)
class _FindsByValue(Wrapped):
    """A customer whom nobody knows by this name is looked for in another namespace."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        try:
            return await self.inner.adjust(instruction)
        except Problem as problem:
            customers = instruction.adjustment.customers
            if problem.code is not Code.UNKNOWN_CUSTOMER or isinstance(customers, Everyone):
                raise
            elsewhere = tuple(CustomerReference("shopify", one.value) for one in customers)
            return await self.inner.adjust(_changed(instruction, customers=elsewhere))


_asked(
    "a customer whom nobody knows is enrolled, wanted or not",
    "adjust",
    lambda asked: replace(asked, merchant=replace(asked.merchant, enrols_unknown_customers=True)),
    suite.an_unknown_customer_is_refused,
    suite.a_customer_of_one_merchant_is_unknown_to_another,
)
_asked(
    "a customer whom nobody knows is refused, though they are to be enrolled",
    "adjust",
    lambda asked: replace(asked, merchant=replace(asked.merchant, enrols_unknown_customers=False)),
    suite.a_merchant_that_enrols_takes_an_unknown_customer_at_the_first_adjustment,
    suite.a_customer_enrolled_in_a_group_is_known_to_the_rest_of_it,
)


@_breaks(suite.a_refused_adjustment_enrols_nobody)
class _EnrolsBefore(Wrapped):
    """Whom an adjustment enrols is enrolled before it is decided."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        customers = instruction.adjustment.customers
        if instruction.merchant.enrols_unknown_customers and isinstance(customers, tuple):
            for reference in customers:
                await self.inner.enrol(instruction.merchant, Enrolment(references=(reference,)))
        return await self.inner.adjust(instruction)


@_breaks(suite.two_unknown_references_are_two_customers)
class _EnrolsAsOne(Wrapped):
    """Those whom one adjustment enrols are enrolled as one customer."""

    async def adjust(self, instruction: Instruction) -> Receipt:
        customers, merchant = instruction.adjustment.customers, instruction.merchant
        if merchant.enrols_unknown_customers and isinstance(customers, tuple):
            unknown = []
            for reference in customers:
                try:
                    await self.inner.customer(merchant, CustomerQuery(references=(reference,)))
                except Problem:
                    unknown.append(reference)
            if unknown:
                await self.inner.enrol(merchant, Enrolment(references=tuple(unknown)))
        return await self.inner.adjust(instruction)


@_breaks(
    suite.enrolling_again_finds_the_same_customer_and_adds_references,
    suite.an_adjustment_through_one_reference_is_seen_through_another,
)
class _EnrolsEachName(Wrapped):
    """Each name that is enrolled is a customer of its own."""

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **more: Any) -> Enrolled:
        for reference in enrolment.references[:-1]:
            await self.inner.enrol(merchant, replace(enrolment, references=(reference,)))
        return await self.inner.enrol(merchant, replace(enrolment, references=enrolment.references[-1:]), **more)


@_breaks(
    suite.enrolling_again_adds_a_reference_in_a_namespace_that_had_none,
    suite.enrolling_again_finds_the_same_customer_and_adds_references,
)
class _LeavesTheKnownAlone(Wrapped):
    """Somebody who was enrolled before gets no further names."""

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **more: Any) -> Enrolled:
        if enrolment.existing is Existing.KEEP:
            for reference in enrolment.references:
                try:
                    customer = await self.inner.customer(merchant, CustomerQuery(references=(reference,)))
                except Problem:
                    continue
                return Enrolled(customer=customer, is_new=False)
        return await self.inner.enrol(merchant, enrolment, **more)


@_breaks(suite.enrolling_references_of_two_customers_as_one_is_refused, suite.an_attached_reference_finds_nobody)
class _SettlesConflicts(Wrapped):
    """Of names that are several customers', the first that serves is taken."""

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **more: Any) -> Enrolled:
        try:
            return await self.inner.enrol(merchant, enrolment, **more)
        except Problem as problem:
            if problem.code is not Code.CUSTOMER_CONFLICT:
                raise
            return await self.inner.enrol(merchant, Enrolment(references=enrolment.references[:1]), **more)


def _existing(told: Existing, taken: Existing) -> Callable[[Enrolment], Enrolment]:
    return lambda asked: replace(asked, existing=taken) if asked.existing is told else asked


_asked(
    "enrolling somebody again changes them, though they are to stay as they are",
    "enrol",
    _existing(Existing.KEEP, Existing.UPDATE),
    suite.enrolling_somebody_again_keeps_the_profile,
    suite.enrolling_again_does_not_bring_back_a_reference_that_was_replaced,
)
_asked(
    "enrolling somebody again keeps them as they are, though they are to change",
    "enrol",
    _existing(Existing.UPDATE, Existing.KEEP),
    suite.enrolling_somebody_again_changes_what_is_to_be_updated,
)
_asked(
    "enrolling somebody again is welcome, though it is to be refused",
    "enrol",
    _existing(Existing.REFUSE, Existing.KEEP),
    suite.enrolling_somebody_again_can_be_refused,
)
_asked(
    "a name that takes another's place stands beside it",
    "enrol",
    lambda asked: replace(asked, replaces=()),
    suite.a_reference_takes_the_place_of_an_earlier_one_where_the_enrolment_says_so,
)
_asked(
    "whoever is kept out may be enrolled as taking part",
    "enrol",
    lambda asked: replace(asked, refuses_excluded=False),
    suite.an_enrolment_that_says_they_take_part_refuses_the_excluded,
)
_asked(
    "a name that is attached finds customers",
    "enrol",
    lambda asked: replace(asked, references=(*asked.references, *asked.attached), attached=()),
    suite.an_attached_reference_finds_nobody,
)


def _named_somehow(references: tuple[CustomerReference, ...]) -> tuple[CustomerReference, ...]:
    return tuple(CustomerReference(one.namespace, one.value.strip() or "unknown") for one in references)


_asked(
    "a blank name is a name",
    "enrol",
    lambda asked: replace(
        asked, references=_named_somehow(asked.references), attached=_named_somehow(asked.attached)
    ),
    suite.a_blank_name_is_nobodys_to_be_enrolled_by,
)


def _numbers_are_names(references: tuple[CustomerReference, ...]) -> tuple[CustomerReference, ...]:
    return tuple(
        CustomerReference("number", one.value) if one.namespace == OWN_NAMESPACE else one for one in references
    )


_asked(
    "anybody may be called by a number of the ledger's",
    "enrol",
    lambda asked: replace(asked, references=_numbers_are_names(asked.references)),
    suite.the_ledgers_own_numbers_are_its_own_to_give,
)
_asked(
    "the ledger's own numbers are looked for among the names",
    "adjust",
    lambda asked: (
        asked if _is_everyone(asked) else _changed(asked, customers=_numbers_are_names(asked.adjustment.customers))
    ),
    suite.an_adjustment_may_name_the_customer_by_number,
)
_asked(
    "an update takes away what it does not name",
    "update",
    lambda asked: replace(asked, changes=msgspec.structs.asdict(Profile()) | asked.changes),
    suite.an_update_changes_what_it_names_and_nothing_else,
)


@_breaks(suite.an_update_that_changes_nothing_is_none)
class _UpdatesTwice(Wrapped):
    """An update is carried out in two steps."""

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer:
        before = await self.inner.customer(merchant, CustomerQuery(references=(update.customer,)))
        await self.inner.update(merchant, replace(update, changes={"source": "update"}))
        changes = {"source": before.profile.source, **update.changes}
        return await self.inner.update(merchant, replace(update, changes=changes))


@_breaks(suite.an_update_of_nobody_is_refused)
class _UpdatesNobody(Wrapped):
    """An update of somebody unknown enrols them."""

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer:
        await self.inner.enrol(merchant, Enrolment(references=(update.customer,)))
        return await self.inner.update(merchant, update)


# Merchants


@_breaks(suite.merchants_with_the_same_references_never_move_each_others_points)
class _OneMerchant(Wrapped):
    """Points of all merchants are the first one's."""

    _first: Merchant | None = None

    async def adjust(self, instruction: Instruction) -> Receipt:
        self._first = self._first or instruction.merchant
        return await self.inner.adjust(replace(instruction, merchant=self._first))


@_breaks(
    suite.a_customer_of_one_merchant_is_unknown_to_another,
    suite.a_customers_number_means_nobody_to_another_merchant,
)
class _AsksOtherMerchants(Wrapped):
    """A customer whom the merchant does not know is looked for at another."""

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer:
        try:
            return await self.inner.customer(merchant, query)
        except Problem:
            other = OTHER if merchant == DEMO else DEMO
            return await self.inner.customer(other, query)


@_breaks(
    suite.a_history_of_everyone_is_the_merchants_own,
    suite.a_list_of_customers_is_the_merchants_own,
    suite.a_merchant_whom_the_ledger_never_met_has_nothing_in_it,
)
class _ReadsTheFirstMerchant(Wrapped):
    """Whatever is read of everyone is the first merchant's."""

    async def customers(self, _: Merchant, query: CustomersQuery) -> Customers:
        return await self.inner.customers(DEMO, query)

    async def history(self, merchant: Merchant, query: HistoryQuery) -> History:
        everyone = query.customer is Everyone.EVERYONE
        return await self.inner.history(DEMO if everyone else merchant, query)


@_breaks(suite.merchants_whose_first_requests_are_refused_stay_apart)
class _NumbersMerchantsTwice(Wrapped):
    """Merchants whose first request is refused get one number."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._known: dict[str, str] = {}

    def _numbered(self, merchant: Merchant) -> Merchant:
        return replace(merchant, name=self._known.get(merchant.name, merchant.name))

    async def _first(self, merchant: Merchant, work: Any) -> Any:
        try:
            done = await work
        except Problem:
            self._known.setdefault(merchant.name, "refused")
            raise
        self._known.setdefault(merchant.name, merchant.name)
        return done

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **more: Any) -> Enrolled:
        enrolled: Enrolled = await self._first(
            merchant, self.inner.enrol(self._numbered(merchant), enrolment, **more)
        )
        return enrolled

    async def update(self, merchant: Merchant, update: CustomerUpdate) -> Customer:
        updated: Customer = await self._first(merchant, self.inner.update(self._numbered(merchant), update))
        return updated

    async def adjust(self, instruction: Instruction) -> Receipt:
        return await self.inner.adjust(replace(instruction, merchant=self._numbered(instruction.merchant)))


# What arrives together


class _Batched(Wrapped):
    """Collects what arrives together."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._batch: list[tuple[Instruction, asyncio.Future[Any]]] = []

    async def adjust(self, instruction: Instruction) -> Receipt:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Receipt] = loop.create_future()
        self._batch.append((instruction, done))
        if len(self._batch) == 1:
            loop.call_soon(lambda: setattr(self, "_task", loop.create_task(self._run())))
        return await done

    async def _run(self) -> None:
        batch, self._batch = self._batch, []
        outcomes = await self.outcomes([instruction for instruction, _ in batch])
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if done.cancelled():
                continue
            if isinstance(outcome, Exception):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)

    async def outcomes(self, batch: Sequence[Instruction]) -> Sequence[Any]:
        raise NotImplementedError


@_breaks(suite.a_refused_adjustment_refuses_only_itself, suite.an_adjustment_that_cannot_be_kept_fails_alone)
class _RefusesTogether(_Batched):
    """One refusal refuses all that arrived together."""

    async def outcomes(self, batch: Sequence[Instruction]) -> Sequence[Any]:
        outcomes = await asyncio.gather(*map(self.inner.adjust, batch), return_exceptions=True)
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        return [refusals[0]] * len(batch) if refusals else outcomes


@_breaks(
    suite.adjustments_of_one_wallet_in_one_group_apply_in_order,
    suite.everyone_sees_what_the_same_group_did_before_and_is_seen_by_what_follows,
)
class _LastComeFirst(_Batched):
    """Of what arrived together the last is carried out first."""

    async def outcomes(self, batch: Sequence[Instruction]) -> Sequence[Any]:
        outcomes = await asyncio.gather(*map(self.inner.adjust, reversed(batch)), return_exceptions=True)
        return outcomes[::-1]


@_breaks(suite.enrolments_updates_and_adjustments_come_in_their_order)
class _EnrolsLater(Wrapped):
    """Enrolments wait until adjustments are done."""

    async def enrol(self, merchant: Merchant, enrolment: Enrolment, **more: Any) -> Enrolled:
        await asyncio.sleep(0.01)
        return await self.inner.enrol(merchant, enrolment, **more)


@_breaks(suite.lists_of_the_same_customers_in_opposite_orders_never_hold_each_other_up_for_good)
class _LocksInTheOrderOfTheList(Wrapped):
    """Customers are locked in the order in which they are listed."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._locks: dict[CustomerReference, asyncio.Lock] = {}

    async def adjust(self, instruction: Instruction) -> Receipt:
        customers = instruction.adjustment.customers
        if isinstance(customers, Everyone):
            return await self.inner.adjust(instruction)
        held: list[asyncio.Lock] = []
        try:
            for reference in dict.fromkeys(customers):
                lock = self._locks.setdefault(reference, asyncio.Lock())
                await lock.acquire()
                held.append(lock)
                await asyncio.sleep(0)
            return await self.inner.adjust(instruction)
        finally:
            for lock in held:
                lock.release()


# Transactions


@_breaks(
    suite.an_adjustment_is_there_for_everybody_when_it_is_acknowledged,
    suite.an_enrolment_and_an_update_are_there_for_everybody_when_they_are_acknowledged,
)
class _CommitsLater(Connection):
    """Acknowledged before it is committed, which the next transaction does."""

    owes = False

    def said(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        if not self.reads and sql == "COMMIT":
            self.owes = True
            return self.nothing()
        if not self.reads and sql.startswith("BEGIN"):
            self.pay()
        return super().said(sql, parameters)

    def pay(self) -> None:
        if self.owes:
            self.owes = False
            super().said("COMMIT", ())

    def close(self) -> None:
        self.pay()
        super().close()


@_breaks(
    suite.reopening_keeps_everything,
    suite.a_reopened_ledger_goes_on_where_it_was,
    suite.a_key_outlives_the_ledgers_process,
)
class _LosesTheLastCommit(_CommitsLater):
    """Acknowledged before it is committed, which the next transaction does, and closing does not."""

    def close(self) -> None:
        self.owes = False
        super().close()


@_breaks(
    suite.nobody_ever_sees_a_wallet_without_its_entry,
    suite.an_adjustment_that_cannot_be_kept_fails_alone,
)
class _WritesPieceByPiece(Connection):
    """Every statement is a transaction of its own."""

    def said(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        if not self.reads and sql in {"BEGIN IMMEDIATE", "COMMIT"} and not self.in_transaction:
            return self.nothing()
        return super().said(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        done = super().executemany(sql, parameters)
        # As long as a disk takes.
        time.sleep(0.005)
        return done


@_breaks(suite.an_adjustment_that_cannot_be_kept_fails_alone)
class _KeepsHalves(Connection):
    """A transaction that failed is committed as far as it came."""

    def said(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        return super().said("COMMIT" if sql == "ROLLBACK" else sql, parameters)


@_breaks(suite.what_two_ledgers_do_to_one_wallet_adds_up_exactly)
class _LocksLate(Connection):
    """The store is held from the first write on, not from the first read."""

    def said(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        done = super().said("BEGIN" if sql == "BEGIN IMMEDIATE" else sql, parameters)
        if not self.reads and sql.startswith("SELECT w."):
            # As long as a decision takes.
            time.sleep(0.02)
        return done


@_breaks(suite.a_read_of_several_tables_sees_one_moment_while_others_write)
class _ReadsManyMoments(Connection):
    """Each statement of a read sees a moment of its own."""

    def said(self, sql: str, parameters: Any) -> sqlite3.Cursor:
        if self.reads and sql in {"BEGIN", "COMMIT"}:
            return self.nothing()
        if self.reads and "FROM wallets w WHERE" in sql:
            # As long as a slow disk takes.
            time.sleep(0.005)
        return super().said(sql, parameters)


# Opening and closing


@_breaks(suite.closing_carries_out_what_waits)
class _DropsWhatWaits(Wrapped):
    """Closing lets go of what waits."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._waiting: set[asyncio.Future[Receipt]] = set()

    async def adjust(self, instruction: Instruction) -> Receipt:
        waiting = asyncio.ensure_future(self.inner.adjust(instruction))
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        return await waiting

    async def close(self) -> None:
        for waiting in self._waiting:
            waiting.cancel()
        await self.inner.close()


@_breaks(suite.a_ledger_that_never_opened_closes_and_answers_what_waits)
class _WaitsToBeOpened(Wrapped):
    """Whoever asks a ledger that is not open waits for it."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._opened = asyncio.Event()

    async def open(self) -> None:
        await self.inner.open()
        self._opened.set()

    async def adjust(self, instruction: Instruction) -> Receipt:
        await self._opened.wait()
        return await self.inner.adjust(instruction)


class _KnowsNobodyWhenAway(Wrapped):
    def __getattr__(self, attribute: str) -> Any:
        inner = super().__getattr__(attribute)

        async def ask(*given: Any, **more: Any) -> Any:
            try:
                return await inner(*given, **more)
            except Problem as problem:
                raise Problem(_AWAY.get(problem.code, problem.code)) from problem

        return ask if attribute in {"adjust", "enrol", "update", "customer", "customers", "history"} else inner


_AWAY: Final = {Code.UNAVAILABLE: Code.UNKNOWN_CUSTOMER}

BREAKAGES.append(
    Breakage(
        "a store that is away is told as a customer whom nobody knows",
        (
            suite.a_closed_ledger_is_unavailable,
            suite.a_ledger_without_one_of_its_tables_is_unavailable_until_it_is_back,
            suite.enrolling_without_a_table_is_unavailable,
            suite.reading_without_a_table_is_unavailable_until_it_is_back,
        ),
        wrap=_KnowsNobodyWhenAway,
    )
)


@_breaks(suite.a_ledger_without_wallets_is_not_ready)
class _AlwaysReady(Wrapped):
    """The ledger says that it is ready, whatever became of the store."""

    async def ready(self) -> bool:
        return True


# Reading


@_breaks(suite.a_read_sees_every_write_acknowledged_before_it, suite.what_one_ledger_acknowledged_another_reads)
class _RemembersWhatItRead(Wrapped):
    """A customer is read once."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._read: dict[CustomerQuery, Customer] = {}

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer:
        if query not in self._read:
            self._read[query] = await self.inner.customer(merchant, query)
        return self._read[query]


@_breaks(suite.a_read_waits_for_no_write)
class _ReadsInLine(Wrapped):
    """A read waits in line with what is written."""

    async def customer(self, merchant: Merchant, query: CustomerQuery) -> Customer:
        return await self.inner.update(merchant, CustomerUpdate(customer=query.references[0], changes={}))


@_breaks(suite.a_history_of_nobody_is_refused)
class _HistoryOfNobody(Wrapped):
    """Nobody's history is empty."""

    async def history(self, merchant: Merchant, query: HistoryQuery) -> History:
        try:
            return await self.inner.history(merchant, query)
        except Problem:
            return History(entries=(), has_more=False, customers={})


def _at_the_border(asked: HistoryQuery) -> HistoryQuery:
    after = None if asked.after is None else asked.after - 1
    return replace(asked, after=after, before=None if asked.before is None else asked.before + 1)


_asked(
    "a page of a history begins with the entry behind which it is to begin",
    "history",
    _at_the_border,
    suite.pages_of_a_history_join_without_gap_or_double,
)
_asked(
    "the times that bound a history do not belong to it",
    "history",
    lambda asked: replace(
        asked,
        since=None if asked.since is None else asked.since + 1,
        until=None if asked.until is None else asked.until - 1,
    ),
    suite.the_times_that_bound_a_history_belong_to_it,
)
_asked(
    "a history passes over nothing",
    "history",
    lambda asked: replace(asked, offset=0),
    suite.a_history_begins_behind_as_many_entries_as_are_passed_over,
)
_asked(
    "a history shows everything",
    "history",
    lambda asked: replace(asked, only=Only.ALL),
    suite.a_history_shows_additions_or_deductions_alone,
    suite.a_history_begins_behind_as_many_entries_as_are_passed_over,
)
_answered(
    "a full page of a history has more behind it",
    "history",
    lambda asked, history: replace(history, has_more=len(history.entries) == asked.limit),
    suite.a_page_of_a_history_tells_whether_there_is_more,
)
_answered(
    "a history of everyone is one customer's after the other",
    "history",
    lambda _, history: replace(history, entries=tuple(sorted(history.entries, key=lambda one: one.wallet_id))),
    suite.a_history_of_everyone_is_in_the_order_in_which_it_happened,
)
_answered(
    "the customers of a history come without their names",
    "history",
    lambda _, history: replace(
        history, customers={number: replace(one, references=()) for number, one in history.customers.items()}
    ),
    suite.a_history_comes_with_the_customer_of_the_same_moment,
)
_asked(
    "a customer is looked for by the first name alone",
    "customer",
    lambda asked: replace(asked, references=asked.references[:1]),
    suite.a_customer_is_found_by_the_first_reference_that_somebody_has,
)
_answered(
    "a customer comes without a tier",
    "customer",
    lambda _, customer: replace(customer, tier=None),
    suite.a_customer_comes_with_the_merchants_tier_for_the_points_that_were_earned,
)
_asked(
    "a page of customers begins behind all who changed in the same moment",
    "customers",
    lambda asked: asked if asked.after_updated is None else replace(asked, after=LARGEST_POINTS),
    suite.pages_of_customers_join_without_gap_or_double,
)
_answered(
    "the number of customers is that of the page",
    "customers",
    lambda _, page: replace(page, total=None if page.total is None else len(page.customers)),
    suite.a_page_of_customers_tells_whether_there_is_more_and_how_many_match_in_all,
)
_asked(
    "who is kept out is listed with the others",
    "customers",
    lambda asked: replace(asked, excluded=None),
    suite.customers_are_listed_by_whether_they_take_part,
)
