"""Idempotency keys: which requests came before, what they were answered, and how long that is remembered."""

from collections.abc import Sequence

import msgspec

from loyalty_gateway.adjustment import Receipt
from loyalty_gateway.ledger.orders import Order, Overtaken
from loyalty_gateway.ledger.statements import Dialect, Each, Statement, Work
from loyalty_gateway.ledger.tables import BYTES, NUMBER, TEXT
from loyalty_gateway.problem import Code, Problem

_LARGEST_KEPT_RECEIPT = 100
"""Customers whose entries are kept with a key; of longer lists only their number, as of everyone."""

_NAMED = {"merchant_id": NUMBER, "vendor": TEXT, "key": TEXT}
_KEPT = _NAMED | {"fingerprint": BYTES, "receipt": BYTES, "created_at": NUMBER}

_encode = msgspec.json.Encoder().encode
_decode_receipt = msgspec.json.Decoder(Receipt).decode


class Keys:
    """The keys of some orders; ``now`` and ``keep`` are microseconds: the moment, and how long keys count."""

    def __init__(self, orders: Sequence[Order], *, now: int, keep: int) -> None:
        self._asked = [
            (order.merchant_id, order.instruction.vendor, idempotency.key)
            for order in orders
            if (idempotency := order.instruction.idempotency) is not None
        ]
        self._now = now
        self._keep = keep
        self._kept: dict[tuple[int, str, str], tuple[bytes, bytes]] = {}
        self._new: list[tuple[int, str, str, bytes, bytes, int]] = []

    def load(self, dialect: Dialect) -> Work[None]:
        """Reads which of the keys came before."""
        if not self._asked:
            return
        rows = yield Each(
            "SELECT k.merchant_id, k.vendor, k.key, k.fingerprint, k.receipt, k.created_at "
            f"FROM {dialect.relation(_NAMED)} a JOIN idempotency_keys k "
            "ON k.merchant_id = a.merchant_id AND k.vendor = a.vendor AND k.key = a.key",
            _NAMED,
            self._asked,
        )
        self._kept = {
            (merchant_id, vendor, key): (fingerprint, receipt)
            for merchant_id, vendor, key, fingerprint, receipt, created_at in rows
            if created_at >= self._now - self._keep
        }

    def earlier(self, order: Order) -> Receipt | None:
        """The receipt that was given for the same request before; raises Problem KEY_REUSED."""
        idempotency = order.instruction.idempotency
        if idempotency is None or not self._kept:
            return None
        kept = self._kept.get((order.merchant_id, order.instruction.vendor, idempotency.key))
        if kept is None:
            return None
        fingerprint, receipt = kept
        if fingerprint != idempotency.fingerprint:
            raise Problem(Code.KEY_REUSED)
        return msgspec.structs.replace(_decode_receipt(receipt), replayed=True)

    def keep(self, order: Order, receipt: Receipt) -> None:
        """Remembers the receipt with the order's key, if it has one."""
        idempotency = order.instruction.idempotency
        if idempotency is None:
            return
        few = receipt.count <= _LARGEST_KEPT_RECEIPT
        replayable = receipt if few else Receipt(merchant_id=receipt.merchant_id, count=receipt.count)
        named = (order.merchant_id, order.instruction.vendor, idempotency.key)
        self._new.append((*named, idempotency.fingerprint, _encode(replayable), self._now))

    def write(self, dialect: Dialect) -> Work[None]:
        """Writes what is to be remembered; raises Overtaken where somebody else used one of the keys meanwhile."""
        if not self._new:
            return
        columns = ", ".join(_KEPT)
        written = yield Each(
            f"INSERT INTO idempotency_keys AS k ({columns}) "
            f"SELECT {columns} FROM {dialect.relation(_KEPT)} a WHERE TRUE "
            "ON CONFLICT (merchant_id, vendor, key) DO UPDATE SET fingerprint = excluded.fingerprint, "
            "receipt = excluded.receipt, created_at = excluded.created_at "
            f"WHERE k.created_at < excluded.created_at - {self._keep} RETURNING 1",
            _KEPT,
            self._new,
        )
        if len(written) < len(self._new):
            raise Overtaken


def forget_keys(*, before: int, at_most: int) -> Work[int]:
    """How many keys were forgotten that are older than the moment ``before``, in microseconds."""
    forgotten = yield Statement(
        "DELETE FROM idempotency_keys WHERE (merchant_id, vendor, key) IN (SELECT merchant_id, vendor, key "
        "FROM idempotency_keys WHERE created_at < :before ORDER BY created_at LIMIT :at_most) RETURNING 1",
        {"before": before, "at_most": at_most},
    )
    return len(forgotten)
