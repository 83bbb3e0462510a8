"""Idempotency keys: which requests came before, what they were answered, and how long that is remembered."""

from collections.abc import Sequence

import msgspec

from loyalty_gateway.adjustment import Instruction, Receipt
from loyalty_gateway.customer import Enrolled
from loyalty_gateway.ledger.orders import Job, Order, Overtaken, Registration, Task
from loyalty_gateway.ledger.statements import Dialect, Each, Statement, Work
from loyalty_gateway.ledger.tables import BYTES, NUMBER, TEXT
from loyalty_gateway.problem import Code, Problem

_LARGEST_KEPT_RECEIPT = 100
"""Customers whose entries are kept with a key; of longer lists only their number, as of everyone."""

_NAMED = {"merchant_id": NUMBER, "vendor": TEXT, "key": TEXT}
_KEPT = _NAMED | {"fingerprint": BYTES, "receipt": BYTES, "created_at": NUMBER}

_encode = msgspec.json.Encoder().encode
_decode_receipt = msgspec.json.Decoder(Receipt).decode
_decode_enrolled = msgspec.json.Decoder(Enrolled).decode


class Keys:
    """The keys of some orders; ``now`` and ``keep`` are microseconds: the moment, and how long keys count."""

    def __init__(self, orders: Sequence[Order[Task]], *, now: int, keep: int) -> None:
        self._asked = [
            (order.merchant_id, order.task.vendor, idempotency.key)
            for order in orders
            if (idempotency := order.task.idempotency) is not None
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

    def earlier(self, order: Order[Instruction | Job]) -> Receipt | None:
        """The receipt that was given for the same request before; raises Problem KEY_REUSED."""
        kept = self._kept_for(order) if self._kept else None
        return None if kept is None else msgspec.structs.replace(_decode_receipt(kept), replayed=True)

    def earlier_enrolled(self, order: Order[Registration]) -> Enrolled | None:
        """What the same request enrolled before; raises Problem KEY_REUSED."""
        kept = self._kept_for(order) if self._kept else None
        return None if kept is None else msgspec.structs.replace(_decode_enrolled(kept), replayed=True)

    def _kept_for(self, order: Order[Task]) -> bytes | None:
        idempotency = order.task.idempotency
        if idempotency is None:
            return None
        kept = self._kept.get((order.merchant_id, order.task.vendor, idempotency.key))
        if kept is None:
            return None
        fingerprint, outcome = kept
        if fingerprint != idempotency.fingerprint:
            raise Problem(Code.KEY_REUSED)
        return outcome

    def keep(self, order: Order[Task], outcome: Receipt | Enrolled) -> None:
        """Remembers what came of the order with its key, if it has one."""
        idempotency = order.task.idempotency
        if idempotency is None:
            return
        if isinstance(outcome, Receipt) and outcome.count > _LARGEST_KEPT_RECEIPT:
            outcome = Receipt(merchant_id=outcome.merchant_id, count=outcome.count)
        named = (order.merchant_id, order.task.vendor, idempotency.key)
        self._new.append((*named, idempotency.fingerprint, _encode(outcome), self._now))

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
