"""What can follow at a side for a customer, and its leaving the outbox."""

from typing import Final

import msgspec

from loyalty_gateway.adjustment import Adjustment, Lifetime, Overdraft
from loyalty_gateway.ledger.following.claims import share
from loyalty_gateway.ledger.following.sides import (
    FOREVER,
    OF_CUSTOMER,
    OF_MOVE,
    FollowUp,
    MovingCustomer,
    Side,
)
from loyalty_gateway.ledger.importing import VENDOR as IMPORTED
from loyalty_gateway.ledger.intents import FOLLOWER, decode_adjustment
from loyalty_gateway.ledger.statements import Dialect, Statement, Work

_AT_ONCE: Final = 100


def follow_ups(
    _dialect: Dialect, customer: MovingCustomer, to: Side, *, at_most: int = _AT_ONCE, until: int = FOREVER
) -> Work[list[FollowUp]]:
    """What can follow at a side for a customer, in order: first what a person wants tried again.

    What began after ``until`` is left out.
    """
    rows = yield Statement(
        f"SELECT key, adjustment FROM parked_follow_ups WHERE {OF_CUSTOMER} AND side = :side "
        "AND state = 'waiting' ORDER BY parked_at LIMIT :at_most",
        customer.named | {"side": to.value, "at_most": at_most},
    )
    found = [FollowUp(key, to, 0, decode_adjustment(adjustment), is_parked=True) for key, adjustment in rows]
    source = customer.route.upstream(to.other)
    if source is None:
        found += yield from _entries(customer, to, at_most, until)
    else:
        found += yield from _intents(customer, to, source, at_most, until)
    return found


def _intents(customer: MovingCustomer, to: Side, source: str, at_most: int, until: int) -> Work[list[FollowUp]]:
    """The intents at an upstream that are to follow, each with the points that it moved."""
    rows = yield Statement(
        f"SELECT id, mark, adjustment, outcome FROM intents WHERE {OF_CUSTOMER} AND upstream = :source "
        "AND follow = 1 AND state = 'done' AND created_at <= :until ORDER BY settled_at, id LIMIT :at_most",
        customer.named | {"source": source, "at_most": at_most, "until": until},
    )
    found = []
    for number, mark, asked, outcome in rows:
        delta = msgspec.json.decode(outcome).get("points_delta", 0)
        adjustment = msgspec.structs.replace(
            decode_adjustment(asked),
            points_delta=delta,
            overdraft=Overdraft.REFUSE,
            idempotency_key=None,
            named_by=None,
        )
        found.append(FollowUp(mark, to, int(number), adjustment))
    return found


def _entries(customer: MovingCustomer, to: Side, at_most: int, until: int) -> Work[list[FollowUp]]:
    """The wallet's entries that are to follow, and those between that only move the place."""
    rows = yield Statement(
        "SELECT e.version, e.vendor, e.points_delta, e.earned_delta, e.burned_delta, e.reason, e.visible "
        "FROM followed f JOIN entries e ON e.merchant_id = f.merchant_id AND e.wallet_id = f.wallet_id "
        "AND e.version > f.version "
        "WHERE f.merchant_id = :merchant_id AND f.vendor = :vendor AND f.wallet_id = :wallet_id "
        "AND e.occurred_at <= :until ORDER BY e.version LIMIT :at_most",
        customer.named | {"at_most": at_most, "until": until},
    )
    found = []
    for version, vendor, delta, earned, burned, reason, visible in rows:
        follows = vendor not in {FOLLOWER, IMPORTED}
        adjustment = Adjustment(
            customers=(),
            points_delta=delta if follows else 0,
            lifetime=_lifetime(delta, earned, burned),
            reason=reason,
            visible=visible == 1,
        )
        key = f"{customer.route.vendor}-{customer.wallet_id}-{version}"
        found.append(FollowUp(key, to, int(version), adjustment))
    return found


def _lifetime(delta: int, earned: int, burned: int) -> Lifetime:
    """By which rule an entry moved the counters."""
    if earned < 0:
        return Lifetime.NET_EARNED
    if delta > 0:
        return Lifetime.EARN_AND_BURN if earned else Lifetime.UNTOUCHED
    return Lifetime.EARN_AND_BURN if burned else Lifetime.UNTOUCHED


def followed_up(customer: MovingCustomer, done: FollowUp) -> Work[bool]:
    """Takes one out of the outbox; whether it was still in it."""
    if done.is_parked:
        rows = yield Statement(
            f"DELETE FROM parked_follow_ups WHERE {OF_MOVE} AND key = :key RETURNING key",
            customer.named | {"key": done.key},
        )
    elif customer.route.upstream(done.to.other) is not None:
        rows = yield Statement(
            "UPDATE intents SET follow = 0 WHERE id = :id AND follow = 1 RETURNING id", {"id": done.source}
        )
    else:
        rows = yield Statement(
            f"UPDATE followed SET version = :version WHERE {OF_CUSTOMER} AND version = :before RETURNING version",
            customer.named | {"version": done.source, "before": done.source - 1},
        )
    return bool(rows)


def is_waiting(dialect: Dialect, customer: MovingCustomer, one: FollowUp) -> Work[bool]:
    """Whether one is still in the outbox; nobody takes the customer over until the transaction ends."""
    yield from share(dialect, customer)
    if one.is_parked:
        rows = yield Statement(
            f"SELECT 1 FROM parked_follow_ups WHERE {OF_MOVE} AND key = :key AND state = 'waiting'",
            customer.named | {"key": one.key},
        )
    elif customer.route.upstream(one.to.other) is not None:
        rows = yield Statement("SELECT 1 FROM intents WHERE id = :id AND follow = 1", {"id": one.source})
    else:
        rows = yield Statement(
            f"SELECT 1 FROM followed WHERE {OF_CUSTOMER} AND version = :before",
            customer.named | {"before": one.source - 1},
        )
    return bool(rows)


def was_carried_out(_dialect: Dialect, merchant_id: int, key: str) -> Work[bool]:
    """Whether the follow-up with this key was carried out at an upstream, however long ago."""
    rows = yield Statement(
        "SELECT 1 FROM intents WHERE merchant_id = :merchant_id AND vendor = :follower "
        "AND idempotency_key = :key AND state = 'done'",
        {"merchant_id": merchant_id, "follower": FOLLOWER, "key": key},
    )
    return bool(rows)


def carried_out(dialect: Dialect, merchant_id: int, keys: tuple[str, ...]) -> Work[set[str]]:
    """Those of the keys by which something was carried out at an upstream, and is about to leave the outbox."""
    rows = yield Statement(
        "SELECT idempotency_key FROM intents WHERE merchant_id = :merchant_id AND vendor = :follower "
        f"AND state = 'done' AND idempotency_key IN {dialect.texts(':keys')}",
        {"merchant_id": merchant_id, "follower": FOLLOWER, "keys": keys},
    )
    return {str(key) for (key,) in rows}
