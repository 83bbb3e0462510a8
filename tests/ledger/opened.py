"""A ledger on an event loop of its own, asked step by step; and the instructions to ask it with."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from loyalty_gateway.adjustment import (
    Adjustment,
    CustomerReference,
    Everyone,
    Idempotency,
    Instruction,
    Lifetime,
    Merchant,
    Receipt,
)
from loyalty_gateway.customer import Enrolled, Enrolment
from loyalty_gateway.problem import Code, Problem
from stores import Store

DEMO = Merchant(name="demo")
OTHER = Merchant(name="other")
JANE = CustomerReference("shopify", "6789012345")
JANES_EMAIL = CustomerReference("email", "jane@example.com")
OMAR = CustomerReference("shopify", "6789012346")
NOBODY = CustomerReference("shopify", "1")

START = 1_700_000_000_000_000
SECOND = 1_000_000

Outcome = Receipt | BaseException


class Clock:
    """Microseconds that pass when they are told to, and by ``step`` at each reading."""

    def __init__(self) -> None:
        self.now = START
        self.step = 0

    def __call__(self) -> int:
        self.now += self.step
        return self.now


class Gauged:
    """The sizes of the groups as the ledger tells them."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.waiting: list[int] = []

    def grouped(self, size: int, waiting: int) -> None:
        self.sizes.append(size)
        self.waiting.append(waiting)


class Opened:
    """A ledger with what surrounds it; work that takes longer than ``patience`` seconds fails."""

    def __init__(self, store: Store, *, patience: float = 60, **options: Any) -> None:
        self.store = store
        self._patience = patience
        self.rows = store.rows
        self.execute = store.execute
        self.execute_each = store.execute_each
        self.clock = Clock()
        self.gauges = Gauged()
        self._options: dict[str, Any] = {"clock": self.clock, "gauges": self.gauges} | options
        self._runner = asyncio.Runner()
        self._closed = True
        self._start()

    def run(self, work: Awaitable[Any]) -> Any:
        """What the work gives; work that never ends fails."""

        async def in_time() -> Any:
            async with asyncio.timeout(self._patience):
                return await work

        return self._runner.run(in_time())

    def close_ledger(self) -> None:
        """Closes the ledger and keeps the event loop, for what comes afterwards."""
        if not self._closed:
            self._closed = True
            self.run(self.ledger.close())

    def close(self) -> None:
        self.close_ledger()
        self._runner.close()

    def reopen(self, **options: Any) -> None:
        """Closes the ledger and takes up the same store again, these options changed."""
        self.close_ledger()
        self._options |= options
        self._start()

    def _start(self) -> None:
        self.ledger = self.store.ledger(**self._options)
        self.run(self.ledger.open())
        self._closed = False

    def enrol(self, *references: CustomerReference, merchant: Merchant = DEMO) -> int:
        enrolled: Enrolled = self.run(self.ledger.enrol(merchant, Enrolment(references=references)))
        return enrolled.customer.wallet.id

    def adjust(self, instruction: Instruction) -> Receipt:
        receipt: Receipt = self.run(self.ledger.adjust(instruction))
        return receipt

    def at_once(self, *instructions: Instruction) -> list[Outcome]:
        """What comes of instructions that all arrive before the first is carried out."""

        async def adjust_all() -> list[Outcome]:
            return await asyncio.gather(*map(self.ledger.adjust, instructions), return_exceptions=True)

        outcomes: list[Outcome] = self.run(adjust_all())
        return outcomes

    def refusal(self, instruction: Instruction) -> Code | None:
        """The code of the refusal, ``None`` where there is none."""
        (outcome,) = self.at_once(instruction)
        if isinstance(outcome, Problem):
            return outcome.code
        assert isinstance(outcome, Receipt), outcome
        return None

    def available(self, reference: CustomerReference, merchant: Merchant = DEMO) -> int:
        (row,) = self.rows(
            "SELECT available FROM wallets w JOIN customer_references r ON r.wallet_id = w.id "
            "JOIN merchants m ON m.id = r.merchant_id WHERE m.name = ? AND namespace = ? AND value = ?",
            (merchant.name, reference.namespace, reference.value),
        )
        return int(row["available"])

    def deltas(self) -> list[int]:
        """The effective points of all entries, oldest first."""
        return [row["points_delta"] for row in self.rows("SELECT points_delta FROM entries ORDER BY id")]

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that the ledger holds about points, keys and customers."""
        tables = ("merchants", "wallets", "customer_references", "entries", "idempotency_keys")
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}


def instruction(  # noqa: PLR0917 - who, how many, with which key: read in this order everywhere
    customers: CustomerReference | tuple[CustomerReference, ...] | Everyone = JANE,
    points: int | None = 10,
    key: str | None = None,
    fingerprint: bytes = b"the request",
    merchant: Merchant = DEMO,
    vendor: str = "mage",
    lifetime: Lifetime = Lifetime.EARN_AND_BURN,
    **more: Any,
) -> Instruction:
    return Instruction(
        merchant=merchant,
        vendor=vendor,
        adjustment=Adjustment(
            customers=(customers,) if isinstance(customers, CustomerReference) else customers,
            points_delta=points,
            lifetime=lifetime,
            **more,
        ),
        idempotency=None if key is None else Idempotency(key, fingerprint),
    )


def codes(outcomes: Sequence[Outcome]) -> list[Code | None]:
    """The refusals' codes, ``None`` for each receipt."""
    return [outcome.code if isinstance(outcome, Problem) else None for outcome in outcomes]


def moments(outcomes: Sequence[Outcome]) -> set[int]:
    """The seconds in which these receipts' entries were made: one in each transaction, with a clock that steps."""
    return {
        entry.occurred_at // SECOND
        for outcome in outcomes
        if isinstance(outcome, Receipt)
        for entry in outcome.entries
    }


def unfolded(store: Store | Opened) -> list[dict[str, Any]]:
    """Wallets that are not the fold of their entries, or whose entries have a gap, a double or a break."""
    return store.rows(
        """
        WITH told AS (
            SELECT *, lag(points_after, 1, 0) OVER one AS ended, lag(occurred_at, 1, 0) OVER one AS earlier,
                   lag(id, 1, 0) OVER one AS earlier_id, row_number() OVER one AS number
            FROM entries WINDOW one AS (PARTITION BY wallet_id ORDER BY version)
        )
        SELECT w.id, w.available, w.version FROM wallets w LEFT JOIN told e ON e.wallet_id = w.id
        GROUP BY w.merchant_id, w.id
        HAVING w.available <> coalesce(sum(points_delta), 0)
            OR w.lifetime_earned <> coalesce(sum(earned_delta), 0)
            OR w.lifetime_burned <> coalesce(sum(burned_delta), 0)
            OR w.granted <> coalesce(sum(CASE WHEN points_delta > 0 THEN points_delta ELSE 0 END), 0)
            OR w.grants <> coalesce(sum(CASE WHEN points_delta > 0 THEN 1 ELSE 0 END), 0)
            OR w.version <> count(e.id)
            OR coalesce(w.last_entry_at, 0) <> coalesce(max(occurred_at), 0)
            OR sum(CASE WHEN e.version <> number OR points_before <> ended
                   OR points_before + points_delta <> points_after OR occurred_at <= earlier OR e.id <= earlier_id
                   OR e.merchant_id <> w.merchant_id THEN 1 ELSE 0 END) > 0
        """
    )
