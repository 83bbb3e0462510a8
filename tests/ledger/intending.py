"""Intents to write down in a ledger, and what is done to them."""

from typing import Any

import msgspec
from opened import DEMO, JANE, SECOND, Opened

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Idempotency, Lifetime
from loyalty_gateway.ledger.intents import Intent, Outcome, State, begin, settle
from loyalty_gateway.upstream.intents import LEASE_SECONDS

LEASE = LEASE_SECONDS * SECOND
KEEP = 3_600 * SECOND
UPSTREAM = "a to b"


def new_intent(
    key: str | None = None,
    *,
    likeness: bytes = b"alike",
    fingerprint: bytes = b"print",
    state: State = State.OPEN,
    customer: CustomerReference = JANE,
    vendor: str = "a",
    upstream: str = UPSTREAM,
    mark: str = "lg-MARK",
    follow: bool = False,
) -> Intent:
    return Intent(
        id=0,
        merchant_id=0,
        vendor=vendor,
        upstream=upstream,
        mark=mark,
        wallet_id=1,
        adjustment=Adjustment(
            customers=(customer,), points_delta=10, lifetime=Lifetime.EARN_ONLY, reason="Thanks"
        ),
        idempotency=None if key is None else Idempotency(key, fingerprint),
        likeness=likeness,
        state=state,
        owner="us",
        due_at=0,
        created_at=0,
        follow=follow,
    )


def begin_intents(opened: Opened, *intents: Intent) -> tuple[list[Intent], bool]:
    def work(dialect: Any, merchant_id: int, now: int) -> Any:
        stamped = [
            msgspec.structs.replace(one, merchant_id=merchant_id, created_at=now, sent_at=now, due_at=now + LEASE)
            for one in intents
        ]
        return begin(dialect, stamped, keep_keys=KEEP)

    begun: tuple[list[Intent], bool] = opened.run(opened.ledger.change(DEMO, work))
    return begun


def settle_intent(opened: Opened, intent: Intent, outcome: Outcome) -> bool:
    is_first: bool = opened.run(opened.ledger.change(DEMO, lambda _, __, now: settle(intent.id, outcome, now=now)))
    return is_first
