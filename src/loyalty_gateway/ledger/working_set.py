"""The wallets that a run of adjustments is about: loaded at once, decided in order, written at once."""

from collections.abc import Iterator, Mapping, Sequence

from loyalty_gateway import engine
from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    CustomerReference,
    Entry,
    Everyone,
    Instruction,
    Receipt,
    Wallet,
)
from loyalty_gateway.ledger.jobs import catch_up, entry_ids, last_job
from loyalty_gateway.ledger.orders import Order
from loyalty_gateway.ledger.reading import own_number
from loyalty_gateway.ledger.statements import Dialect, Each, Insert, NewIds, Update, Work
from loyalty_gateway.ledger.tables import (
    ENTRIES,
    NUMBER,
    REFERENCES,
    TEXT,
    WALLET_COLUMNS,
    WALLETS,
    blank_wallet,
    row_of_entry,
    row_of_wallet,
    wallet_of,
)
from loyalty_gateway.problem import Code, Problem

_Named = tuple[int, str, str]
"""A merchant's number, a namespace and a value."""


class WorkingSet:
    """The wallets of a run of orders.

    What an order changes enters the set only when the whole order is decided, so that a refused one leaves no
    trace.
    """

    def __init__(self, orders: Sequence[Order[Instruction]], now: int) -> None:
        self._orders = orders
        self._now = now
        self._wallets: dict[int, Wallet] = {}
        self._wallet_ids: dict[_Named, int] = {}
        self._values: dict[tuple[int, str], str] = {}
        self._free_wallet_ids: list[int] = []
        self._free_entry_ids: list[int] = []
        self._new_wallets: set[int] = set()
        self._new_references: list[tuple[int, str, str, int]] = []
        self._entries: list[tuple[int, Entry]] = []
        self._last_jobs: dict[int, int] = {}

    def load(self, dialect: Dialect) -> Work[None]:
        """Reads what the orders are about, and has it held against everybody else until the transaction ends."""
        addressed = {
            (order.merchant_id, reference.namespace, reference.value): own_number(reference)
            for order in self._orders
            for reference in _customers(order)
        }
        yield from self._load_addressed(dialect, addressed)
        yield from self._load_values(dialect)
        enrolling = {order.merchant_id for order in self._orders if order.task.merchant.enrols_unknown_customers}
        lacking = [named[0] for named in addressed if named[0] in enrolling and named not in self._wallet_ids]
        if lacking:
            self._free_wallet_ids = [wallet_id for (wallet_id,) in (yield NewIds(WALLETS, len(lacking)))]
            for merchant_id in sorted(set(lacking)):
                self._last_jobs[merchant_id] = yield from last_job(dialect, merchant_id)
        count = sum(len(_customers(order)) for order in self._orders)
        self._free_entry_ids = yield from entry_ids(dialect, count, behind=self._wallets.values())

    def _load_addressed(self, dialect: Dialect, addressed: Mapping[_Named, int | None]) -> Work[None]:
        columns = {"merchant_id": NUMBER, "namespace": TEXT, "value": TEXT, "number": NUMBER}
        rows = yield Each(
            f"SELECT {WALLET_COLUMNS}, j.number, a.namespace, a.value "
            f"FROM {dialect.relation(columns)} a LEFT JOIN customer_references r "
            "ON r.merchant_id = a.merchant_id AND r.namespace = a.namespace AND r.value = a.value "
            "JOIN wallets w ON w.merchant_id = a.merchant_id AND w.id = coalesce(r.wallet_id, a.number) "
            "LEFT JOIN jobs j ON j.merchant_id = w.merchant_id AND j.finished_at IS NULL "
            f"{dialect.locking_wallets}",
            columns,
            [(*named, number) for named, number in addressed.items()],
        )
        behind: dict[int, dict[int, Wallet]] = {}
        for row in rows:
            job, namespace, value = row[-3:]
            wallet_id, merchant_id = row[:2]
            wallet = self._wallets[wallet_id] = wallet_of(row)
            self._wallet_ids[merchant_id, namespace, value] = wallet_id
            if job is not None and wallet.job < job:
                behind.setdefault(merchant_id, {})[wallet_id] = wallet
        for merchant_id, wallets in behind.items():
            caught_up = yield from catch_up(dialect, merchant_id, wallets.values())
            self._wallets |= caught_up

    def _load_values(self, dialect: Dialect) -> Work[None]:
        """The values by which answers name customers who were addressed by others."""
        wanted = {
            (order.merchant_id, wallet_id, namespace)
            for order in self._orders
            if (namespace := order.task.adjustment.named_by) is not None
            for reference in _customers(order)
            if reference.namespace != namespace
            and (wallet_id := self._wallet_ids.get((order.merchant_id, reference.namespace, reference.value)))
        }
        if not wanted:
            return
        columns = {"merchant_id": NUMBER, "wallet_id": NUMBER, "namespace": TEXT}
        rows = yield Each(
            "SELECT r.wallet_id, r.namespace, min(r.value) "
            f"FROM {dialect.relation(columns)} a JOIN customer_references r "
            "ON r.merchant_id = a.merchant_id AND r.wallet_id = a.wallet_id AND r.namespace = a.namespace "
            "GROUP BY r.wallet_id, r.namespace",
            columns,
            list(wanted),
        )
        self._values = {(wallet_id, namespace): value for wallet_id, namespace, value in rows}

    def adjust(self, order: Order[Instruction]) -> Receipt:
        """The receipt of an order; raises Problem."""
        (instruction, merchant_id) = order
        adjustment, merchant = instruction.adjustment, instruction.merchant
        unknown: list[tuple[CustomerReference, Wallet]] = []
        addressed: dict[int, tuple[CustomerReference, Wallet]] = {}
        for reference in _customers(order):
            wallet_id = self._wallet_ids.get((merchant_id, reference.namespace, reference.value))
            if wallet_id is not None:
                wallet = self._wallets[wallet_id]
            elif not merchant.enrols_unknown_customers or reference.namespace == OWN_NAMESPACE:
                raise Problem(Code.UNKNOWN_CUSTOMER)
            else:
                wallet = self._blank(self._free_wallet_ids[len(unknown)], merchant_id)
                unknown.append((reference, wallet))
            addressed.setdefault(wallet.id, (reference, wallet))
        key = instruction.idempotency.key if instruction.idempotency is not None else None
        decided = [
            engine.decide(
                wallet,
                adjustment,
                vendor=instruction.vendor,
                tiers=merchant.tiers,
                entry_id=entry_id,
                now=self._now,
                idempotency_key=key,
            )
            for entry_id, (_, wallet) in zip(self._free_entry_ids, addressed.values(), strict=False)
        ]
        del self._free_entry_ids[: len(decided)]
        del self._free_wallet_ids[: len(unknown)]
        for reference, wallet in unknown:
            self._new_wallets.add(wallet.id)
            self._wallet_ids[merchant_id, reference.namespace, reference.value] = wallet.id
            self._new_references.append((merchant_id, reference.namespace, reference.value, wallet.id))
        for wallet, entry in decided:
            self._wallets[wallet.id] = wallet
            self._entries.append((merchant_id, entry))
        return Receipt(
            merchant_id=merchant_id,
            count=len(decided),
            entries=tuple([entry for _, entry in decided]),
            wallets=tuple([wallet for wallet, _ in decided]),
            customers=tuple([self._named(adjustment.named_by, *one) for one in addressed.values()]),
        )

    def _blank(self, wallet_id: int, merchant_id: int) -> Wallet:
        return blank_wallet(wallet_id, merchant_id, self._now, self._last_jobs[merchant_id])

    def _named(self, namespace: str | None, reference: CustomerReference, wallet: Wallet) -> CustomerReference:
        """The customer's reference in the namespace, or the one addressed where there is none."""
        if namespace is None or reference.namespace == namespace:
            # What others in the run asked for is no matter to who was addressed in that namespace.
            return reference
        value = self._values.get((wallet.id, namespace))
        return reference if value is None else CustomerReference(namespace, value)

    def write(self) -> Work[None]:
        """Writes what the orders came to."""
        if self._new_wallets:
            yield Insert(WALLETS, list(self._rows(sorted(self._new_wallets))))
        if self._entries:
            moved = {entry.wallet_id for _, entry in self._entries} - self._new_wallets
            yield Update(WALLETS, list(self._rows(moved)))
            yield Insert(ENTRIES, [row_of_entry(merchant_id, entry) for merchant_id, entry in self._entries])
        if self._new_references:
            yield Insert(REFERENCES, self._new_references)

    def _rows(self, wallet_ids: Sequence[int] | set[int]) -> Iterator[tuple[object, ...]]:
        return (row_of_wallet(self._wallets[wallet_id]) for wallet_id in wallet_ids)


def _customers(order: Order[Instruction]) -> tuple[CustomerReference, ...]:
    """Whom an order lists, each once: a customer listed twice is adjusted once, and enrolled once."""
    customers = order.task.adjustment.customers
    assert not isinstance(customers, Everyone)
    return customers if len(customers) == 1 else tuple(dict.fromkeys(customers))
