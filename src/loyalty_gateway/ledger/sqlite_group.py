"""One transaction of the SQLite ledger: instructions decided in order on a working set, written at its end."""

import sqlite3
from typing import Final

import msgspec

from loyalty_gateway import engine
from loyalty_gateway.adjustment import (
    OWN_NAMESPACE,
    CustomerReference,
    Entry,
    Everyone,
    Idempotency,
    Instruction,
    Receipt,
    Wallet,
)
from loyalty_gateway.ledger.sqlite_everyone import adjust_everyone
from loyalty_gateway.ledger.sqlite_reader import Reader
from loyalty_gateway.ledger.sqlite_rows import (
    INSERT_ENTRY,
    INSERT_WALLET,
    UPDATE_WALLET,
    row_of,
    state_of,
)
from loyalty_gateway.problem import Code, Problem

_INSERT_REFERENCE = (
    "INSERT INTO customer_references (merchant_id, namespace, value, wallet_id) VALUES (?, ?, ?, ?)"
)
_REPLACE_KEY = (
    "REPLACE INTO idempotency_keys (merchant_id, vendor, key, fingerprint, receipt, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)

_LARGEST_KEPT_RECEIPT: Final = 100
"""Customers whose entries are kept with an idempotency key; of longer lists only their number, as of everyone."""

_Named = tuple[int, str, str]
"""Merchant, namespace, value."""

_encode = msgspec.json.Encoder().encode
_decode_receipt = msgspec.json.Decoder(Receipt).decode


class Group:
    """The working set of a transaction.

    What an instruction changes enters the set only when the whole instruction is decided, so that a refused
    one leaves no trace; the set is written once, by ``write``.
    """

    def __init__(self, db: sqlite3.Connection, now: int, *, keys_since: int, everyone_at_most: int) -> None:
        self._db = db
        self._reader = Reader(db)
        self._now = now
        self._keys_since = keys_since
        self._everyone_at_most = everyone_at_most
        self._wallets: dict[int, Wallet] = {}
        self._wallet_ids: dict[_Named, int] = {}
        self._new_wallets: set[int] = set()
        self._new_references: list[tuple[int, str, str, int]] = []
        self._entries: list[tuple[int, Entry]] = []
        self._keys: list[tuple[int, str, str, bytes, bytes, int]] = []
        self._next_entry_id = 0
        self._next_wallet_id = 0

    def carry_out(self, instruction: Instruction, merchant_id: int) -> Receipt:
        """The receipt of one instruction, or of the earlier one with the same key; raises Problem."""
        if instruction.idempotency is not None:
            replay = self._earlier(instruction.idempotency, merchant_id, instruction.vendor)
            if replay is not None:
                return replay
        if isinstance(instruction.adjustment.customers, Everyone):
            receipt = self._adjust_everyone(instruction, merchant_id)
        else:
            receipt = self._adjust_listed(instruction, merchant_id, instruction.adjustment.customers)
        if (idempotency := instruction.idempotency) is not None:
            kept = (merchant_id, instruction.vendor, idempotency.key, idempotency.fingerprint)
            few = receipt.count <= _LARGEST_KEPT_RECEIPT
            replayable = receipt if few else Receipt(merchant_id=merchant_id, count=receipt.count)
            self._keys.append((*kept, _encode(replayable), self._now))
        return receipt

    def write(self) -> None:
        """Writes the working set and empties it."""
        if self._new_wallets:
            new = [self._wallets[wallet_id] for wallet_id in sorted(self._new_wallets)]
            rows = [(*state_of(wallet), wallet.merchant_id, wallet.created_at, wallet.id) for wallet in new]
            self._db.executemany(INSERT_WALLET, rows)
        if self._entries:
            moved = {entry.wallet_id for _, entry in self._entries} - self._new_wallets
            self._db.executemany(
                UPDATE_WALLET, [(*state_of(self._wallets[wallet_id]), wallet_id) for wallet_id in moved]
            )
            self._db.executemany(
                INSERT_ENTRY, [row_of(merchant_id, entry) for merchant_id, entry in self._entries]
            )
        if self._new_references:
            self._db.executemany(_INSERT_REFERENCE, self._new_references)
        if self._keys:
            self._db.executemany(_REPLACE_KEY, self._keys)
        for working in (self._wallets, self._wallet_ids, self._new_wallets):
            working.clear()
        for written in (self._new_references, self._entries, self._keys):
            written.clear()

    def _earlier(self, idempotency: Idempotency, merchant_id: int, vendor: str) -> Receipt | None:
        row = self._db.execute(
            "SELECT fingerprint, receipt FROM idempotency_keys "
            "WHERE merchant_id = ? AND vendor = ? AND key = ? AND created_at >= ?",
            (merchant_id, vendor, idempotency.key, self._keys_since),
        ).fetchone()
        if row is None:
            return None
        if row[0] != idempotency.fingerprint:
            raise Problem(Code.KEY_REUSED)
        return msgspec.structs.replace(_decode_receipt(row[1]), replayed=True)

    def _adjust_listed(
        self, instruction: Instruction, merchant_id: int, customers: tuple[CustomerReference, ...]
    ) -> Receipt:
        adjustment, merchant = instruction.adjustment, instruction.merchant
        unknown: list[tuple[CustomerReference, Wallet]] = []
        addressed: dict[int, tuple[CustomerReference, Wallet]] = {}
        # A customer listed twice is adjusted once, and enrolled once.
        for reference in dict.fromkeys(customers):
            wallet = self._find(merchant_id, reference)
            if wallet is None:
                if not merchant.enrols_unknown_customers or reference.namespace == OWN_NAMESPACE:
                    raise Problem(Code.UNKNOWN_CUSTOMER)
                wallet = self._blank_wallet(merchant_id, len(unknown))
                unknown.append((reference, wallet))
            addressed.setdefault(wallet.id, (reference, wallet))
        key = instruction.idempotency.key if instruction.idempotency is not None else None
        first_entry_id = self._peek_entry_id()
        decided = [
            engine.decide(
                wallet,
                adjustment,
                vendor=instruction.vendor,
                tiers=merchant.tiers,
                entry_id=first_entry_id + index,
                now=self._now,
                idempotency_key=key,
            )
            for index, (_, wallet) in enumerate(addressed.values())
        ]
        for reference, wallet in unknown:
            self._next_wallet_id = wallet.id + 1
            self._new_wallets.add(wallet.id)
            self._take_reference(merchant_id, reference, wallet)
        for wallet, entry in decided:
            self._wallets[wallet.id] = wallet
            self._entries.append((merchant_id, entry))
        self._next_entry_id = first_entry_id + len(decided)
        return Receipt(
            merchant_id=merchant_id,
            count=len(decided),
            entries=tuple(entry for _, entry in decided),
            wallets=tuple(wallet for wallet, _ in decided),
            customers=tuple(
                self._named(reference, wallet, adjustment.named_by) for reference, wallet in addressed.values()
            ),
        )

    def _adjust_everyone(self, instruction: Instruction, merchant_id: int) -> Receipt:
        self.write()
        first_entry_id = self._peek_entry_id()
        count = adjust_everyone(
            self._db,
            instruction,
            merchant_id=merchant_id,
            first_entry_id=first_entry_id,
            now=self._now,
            at_most=self._everyone_at_most,
        )
        self._next_entry_id = first_entry_id + count
        return Receipt(merchant_id=merchant_id, count=count)

    def _find(self, merchant_id: int, reference: CustomerReference) -> Wallet | None:
        named = (merchant_id, reference.namespace, reference.value)
        wallet_id = self._wallet_ids.get(named)
        if wallet_id is not None:
            return self._wallets[wallet_id]
        wallet = self._reader.wallet(merchant_id, reference)
        if wallet is None:
            return None
        self._wallet_ids[named] = wallet.id
        return self._wallets.setdefault(wallet.id, wallet)

    def _named(self, reference: CustomerReference, wallet: Wallet, namespace: str | None) -> CustomerReference:
        """The customer's reference in the namespace, or the one addressed where there is none."""
        if namespace is None or namespace == reference.namespace:
            return reference
        row = self._db.execute(
            "SELECT value FROM customer_references WHERE wallet_id = ? AND namespace = ? ORDER BY value LIMIT 1",
            (wallet.id, namespace),
        ).fetchone()
        return reference if row is None else CustomerReference(namespace, row[0])

    def _blank_wallet(self, merchant_id: int, ahead: int) -> Wallet:
        """A wallet that is not in the ledger yet; ``ahead`` counts those already prepared beside it."""
        if not self._next_wallet_id:
            self._next_wallet_id = 1 + self._largest("wallets")
        return Wallet(
            id=self._next_wallet_id + ahead,
            merchant_id=merchant_id,
            available=0,
            reserved=0,
            lifetime_earned=0,
            lifetime_burned=0,
            version=0,
            excluded=False,
            tier=None,
            created_at=self._now,
            updated_at=self._now,
            last_entry_at=None,
        )

    def _take_reference(self, merchant_id: int, reference: CustomerReference, wallet: Wallet) -> None:
        self._wallet_ids[merchant_id, reference.namespace, reference.value] = wallet.id
        self._new_references.append((merchant_id, reference.namespace, reference.value, wallet.id))

    def _peek_entry_id(self) -> int:
        if not self._next_entry_id:
            self._next_entry_id = 1 + self._largest("entries")
        return self._next_entry_id

    def _largest(self, table: str) -> int:
        (largest,) = self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        return int(largest)
