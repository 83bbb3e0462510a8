"""Generated histories of a ledger, held against one kept in plain lists and dictionaries."""

from contextlib import ExitStack
from typing import Any, ClassVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from opened import SECOND, Opened, Outcome, instruction, unfolded

from loyalty_gateway import engine
from loyalty_gateway.adjustment import (
    LARGEST_POINTS,
    CustomerReference,
    Entry,
    Everyone,
    Instruction,
    Lifetime,
    Merchant,
    Overdraft,
    Receipt,
    Tier,
    Wallet,
)
from loyalty_gateway.customer import Enrolled, Enrolment
from loyalty_gateway.problem import Code, Problem
from stores import NewStore

KEEP_KEYS_SECONDS = 100

TIERS = (Tier(name="silver", points_required=20), Tier(name="gold", points_required=100))
MERCHANTS = (
    Merchant(name="plain"),
    Merchant(name="tiered", tiers=TIERS),
    Merchant(name="enrolling", tiers=TIERS, enrols_unknown_customers=True),
)
REFERENCES = tuple(
    CustomerReference(namespace, value) for namespace in ("shopify", "email") for value in ("jane", "omar", "zoë")
)

merchants = st.sampled_from(MERCHANTS)
references = st.lists(st.sampled_from(REFERENCES), min_size=1, max_size=3).map(tuple)
amounts = (
    st.none() | st.integers(-30, 60) | st.sampled_from([LARGEST_POINTS, LARGEST_POINTS - 30, -LARGEST_POINTS])
)
instructions = st.builds(
    instruction,
    customers=references | st.just(Everyone.EVERYONE),
    points=amounts,
    key=st.none() | st.sampled_from("kq"),
    fingerprint=st.sampled_from([b"one request", b"one request", b"another"]),
    merchant=merchants,
    vendor=st.sampled_from(["mage", "salla"]),
    lifetime=st.sampled_from(Lifetime),
    overdraft=st.sampled_from(Overdraft),
    reason=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    metadata=st.none() | st.dictionaries(st.sampled_from("ab"), st.integers(0, 3)),
    visible=st.booleans(),
)

_Named = tuple[str, CustomerReference]
_Key = tuple[str, str, str]


class Book:
    """A ledger in memory: nothing but the rules, one adjustment after another."""

    def __init__(self) -> None:
        self.wallets: dict[int, Wallet] = {}
        self.owners: dict[int, str] = {}
        self.customers: dict[_Named, int] = {}
        self.entries: list[Entry] = []
        self.keys: dict[_Key, tuple[bytes, Receipt, int]] = {}
        self.merchant_ids: dict[str, int] = {}

    def merchant_id(self, merchant: Merchant) -> int:
        return self.merchant_ids.setdefault(merchant.name, len(self.merchant_ids) + 1)

    def at_once(self, instructions: list[Instruction], now: int) -> list[Receipt | Code]:
        """What comes of instructions that arrive together: one key is in flight for the first of them only."""
        in_flight, carried_out = set[_Key](), list[Instruction | None]()
        for asked in instructions:
            key = _key(asked)
            carried_out.append(None if key in in_flight else asked)
            if key is not None:
                in_flight.add(key)
        return [Code.KEY_IN_FLIGHT if asked is None else self.adjust(asked, now) for asked in carried_out]

    def adjust(self, asked: Instruction, now: int) -> Receipt | Code:
        merchant_id, key = self.merchant_id(asked.merchant), _key(asked)
        if key in self.keys:
            fingerprint, receipt, kept_at = self.keys[key]
            assert asked.idempotency is not None
            if now - kept_at <= KEEP_KEYS_SECONDS * SECOND:
                replay = msgspec.structs.replace(receipt, replayed=True)
                return replay if fingerprint == asked.idempotency.fingerprint else Code.KEY_REUSED
        try:
            receipt = self._everyone(asked, now) if _is_everyone(asked) else self._listed(asked, now)
        except Problem as problem:
            return problem.code
        receipt = msgspec.structs.replace(receipt, merchant_id=merchant_id)
        if key is not None and asked.idempotency is not None:
            self.keys[key] = (asked.idempotency.fingerprint, receipt, now)
        return receipt

    def _everyone(self, asked: Instruction, now: int) -> Receipt:
        addressed = [
            wallet
            for wallet in self.wallets.values()
            if self.owners[wallet.id] == asked.merchant.name and not wallet.excluded
        ]
        outcomes = self._decided(asked, addressed, now)
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Code)]
        if refusals:
            raise Problem(min(refusals, key=list(Code).index))
        self._keep(asked, outcomes)
        return Receipt(merchant_id=0, count=len(outcomes))

    def _listed(self, asked: Instruction, now: int) -> Receipt:
        assert not isinstance(asked.adjustment.customers, Everyone)
        addressed: dict[int, tuple[CustomerReference, Wallet]] = {}
        enrolled: dict[_Named, int] = {}
        for reference in asked.adjustment.customers:
            named = (asked.merchant.name, reference)
            wallet_id = (self.customers | enrolled).get(named)
            if wallet_id is None:
                if not asked.merchant.enrols_unknown_customers:
                    raise Problem(Code.UNKNOWN_CUSTOMER)
                wallet_id = enrolled[named] = len(self.wallets) + len(enrolled) + 1
            wallet = self.wallets.get(wallet_id) or self._blank(wallet_id, asked.merchant, now)
            addressed.setdefault(wallet_id, (reference, wallet))
        outcomes = self._decided(asked, [wallet for _, wallet in addressed.values()], now)
        for outcome in outcomes:
            if isinstance(outcome, Code):
                raise Problem(outcome)
        self.customers |= enrolled
        entries = self._keep(asked, outcomes)
        return Receipt(
            merchant_id=0,
            count=len(outcomes),
            entries=tuple(entries),
            wallets=tuple(self.wallets[wallet_id] for wallet_id in addressed),
            customers=tuple(reference for reference, _ in addressed.values()),
        )

    def _decided(self, asked: Instruction, addressed: list[Wallet], now: int) -> list[tuple[Wallet, Entry] | Code]:
        outcomes: list[tuple[Wallet, Entry] | Code] = []
        for wallet in addressed:
            try:
                outcomes.append(
                    engine.decide(
                        wallet,
                        asked.adjustment,
                        vendor=asked.vendor,
                        tiers=asked.merchant.tiers,
                        entry_id=wallet.version + 1,
                        now=now,
                        idempotency_key=asked.idempotency.key if asked.idempotency else None,
                    )
                )
            except Problem as problem:
                outcomes.append(problem.code)
        return outcomes

    def _keep(self, asked: Instruction, outcomes: list[tuple[Wallet, Entry] | Code]) -> list[Entry]:
        kept = [outcome for outcome in outcomes if not isinstance(outcome, Code)]
        for wallet, entry in kept:
            self.wallets[wallet.id] = wallet
            self.owners[wallet.id] = asked.merchant.name
            self.entries.append(entry)
        return [entry for _, entry in kept]

    def enrol(self, merchant: Merchant, references: tuple[CustomerReference, ...], now: int) -> int | None:
        """The wallet's id, ``None`` where the references belong to different customers."""
        known = {self.customers.get((merchant.name, reference)) for reference in references} - {None}
        if len(known) > 1:
            return None
        wallet_id = known.pop() if known else None
        if wallet_id is None:
            wallet_id = len(self.wallets) + 1
            self.wallets[wallet_id] = self._blank(wallet_id, merchant, now)
            self.owners[wallet_id] = merchant.name
            added = references
        else:
            named = {one.namespace for (_, one), owner in self.customers.items() if owner == wallet_id}
            added = tuple(one for one in references if one.namespace not in named)
            if added:
                wallet = self.wallets[wallet_id]
                updated_at = max(now, wallet.updated_at + 1)
                self.wallets[wallet_id] = msgspec.structs.replace(wallet, updated_at=updated_at)
        self.customers |= {(merchant.name, reference): wallet_id for reference in added}
        return wallet_id

    def _blank(self, wallet_id: int, merchant: Merchant, now: int) -> Wallet:
        return Wallet(
            id=wallet_id,
            merchant_id=self.merchant_id(merchant),
            available=0,
            reserved=0,
            lifetime_earned=0,
            lifetime_burned=0,
            version=0,
            excluded=False,
            tier=None,
            created_at=now,
            updated_at=now,
            last_entry_at=None,
        )


def _key(asked: Instruction) -> _Key | None:
    return None if asked.idempotency is None else (asked.merchant.name, asked.vendor, asked.idempotency.key)


def _is_everyone(asked: Instruction) -> bool:
    return isinstance(asked.adjustment.customers, Everyone)


class Histories(RuleBasedStateMachine):
    """A ledger and a book that are told the same; since ids may have gaps, their ranks are compared.

    An entry's rank is its wallet's version, which ``unfolded`` holds against the order of ids.
    """

    new_store: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()

    @initialize()
    def begin(self) -> None:
        self.opened = Opened(
            self.stack.enter_context(self.new_store()),
            keep_keys_seconds=KEEP_KEYS_SECONDS,
        )
        self.stack.callback(self.opened.close)
        self.book = Book()
        for merchant in MERCHANTS:
            for reference in REFERENCES[:2]:
                self.enrol(merchant, (reference,))

    def teardown(self) -> None:
        self.stack.close()

    @rule(merchant=merchants, references=references)
    def enrol(self, merchant: Merchant, references: tuple[CustomerReference, ...]) -> None:
        expected = self.book.enrol(merchant, references, self.opened.clock.now)

        (outcome,) = self.opened.run(
            _settled(self.opened.ledger.enrol(merchant, Enrolment(references=references)))
        )

        ranks = self.ranks()
        assert (ranks[outcome.customer.wallet.id] if isinstance(outcome, Enrolled) else None) == expected

    @rule(asked=st.lists(instructions, min_size=1, max_size=5))
    def adjust(self, asked: list[Instruction]) -> None:
        expected = self.book.at_once(asked, self.opened.clock.now)

        outcomes = self.opened.at_once(*asked)

        ranks = self.ranks()
        assert [_plain(outcome, ranks) for outcome in outcomes] == expected

    @rule(number=st.integers(0, 20), excluded=st.booleans())
    def exclude(self, number: int, *, excluded: bool) -> None:
        wallet_id = number % len(self.book.wallets) + 1
        (told,) = [told for told, rank in self.ranks().items() if rank == wallet_id]
        self.opened.execute("UPDATE wallets SET excluded = ? WHERE id = ?", (int(excluded), told))

        self.book.wallets[wallet_id] = msgspec.structs.replace(self.book.wallets[wallet_id], excluded=excluded)

    @rule(seconds=st.sampled_from([1, 40, 99]))
    def time_passes(self, seconds: int) -> None:
        self.opened.clock.now += seconds * SECOND

    @rule()
    def reopen(self) -> None:
        self.opened.reopen()

    @invariant()
    def the_ledger_holds_the_same_wallets_and_entries(self) -> None:
        ranks = self.ranks()
        wallets = self.opened.rows("SELECT * FROM wallets ORDER BY id")
        entries = self.opened.rows("SELECT * FROM entries ORDER BY wallet_id, version")
        named = self.opened.rows(
            "SELECT name, namespace, value, wallet_id FROM customer_references "
            "JOIN merchants ON merchants.id = merchant_id"
        )

        assert [_wallet(row, ranks) for row in wallets] == [
            wallet for _, wallet in sorted(self.book.wallets.items())
        ]
        assert [_entry(row, ranks) for row in entries] == sorted(
            self.book.entries, key=lambda entry: (entry.wallet_id, entry.version)
        )
        assert {
            (row["name"], CustomerReference(row["namespace"], row["value"])): ranks[row["wallet_id"]]
            for row in named
        } == self.book.customers

    @invariant()
    def every_wallet_is_the_fold_of_its_entries(self) -> None:
        assert unfolded(self.opened) == []

    @invariant()
    def no_key_is_kept_that_was_not_applied(self) -> None:
        kept = self.opened.rows(
            "SELECT name, vendor, key FROM idempotency_keys JOIN merchants ON merchants.id = merchant_id"
        )

        assert {(row["name"], row["vendor"], row["key"]) for row in kept} <= set(self.book.keys)

    def ranks(self) -> dict[int, int]:
        """The rank of each wallet's id, from 1."""
        rows = self.opened.rows("SELECT id FROM wallets ORDER BY id")
        return {row["id"]: rank for rank, row in enumerate(rows, start=1)}


async def _settled(work: Any) -> list[Any]:
    try:
        return [await work]
    except Exception as error:  # noqa: BLE001 - an outcome like another here
        return [error]


def _plain(outcome: Outcome, ranks: dict[int, int]) -> Receipt | Code:
    if isinstance(outcome, Problem):
        return outcome.code
    assert isinstance(outcome, Receipt), outcome
    return msgspec.structs.replace(
        outcome,
        wallets=tuple(msgspec.structs.replace(wallet, id=ranks[wallet.id]) for wallet in outcome.wallets),
        entries=tuple(
            msgspec.structs.replace(entry, id=entry.version, wallet_id=ranks[entry.wallet_id])
            for entry in outcome.entries
        ),
    )


def _wallet(row: dict[str, Any], ranks: dict[int, int]) -> Wallet:
    return Wallet(**(row | {"id": ranks[row["id"]], "excluded": row["excluded"] == 1}))


def _entry(row: dict[str, Any], ranks: dict[int, int]) -> Entry:
    values = {name: value for name, value in row.items() if name != "merchant_id"}
    values["id"], values["wallet_id"] = row["version"], ranks[row["wallet_id"]]
    values["metadata"] = None if row["metadata"] is None else msgspec.json.decode(row["metadata"])
    values["notify"] = () if row["notify"] is None else tuple(msgspec.json.decode(row["notify"]))
    return Entry(**(values | {"visible": row["visible"] == 1}))


def test_any_history_of_a_ledger_is_the_books(new_store: NewStore) -> None:
    here = type("HistoriesHere", (Histories,), {"new_store": staticmethod(new_store)})
    with new_store() as store:
        examples = store.examples(60)

    run_state_machine_as_test(
        here, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None)
    )
