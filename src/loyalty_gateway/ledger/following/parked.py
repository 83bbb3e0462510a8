"""What could not follow, which a person has to look at."""

from typing import Final, NamedTuple

import msgspec

from loyalty_gateway.adjustment import Adjustment
from loyalty_gateway.ledger.following.outbox import followed_up
from loyalty_gateway.ledger.following.sides import OF_CUSTOMER, OF_MOVE, FollowUp, MovingCustomer, Side
from loyalty_gateway.ledger.intents import decode_adjustment
from loyalty_gateway.ledger.statements import Dialect, Statement, Work, only
from loyalty_gateway.problem import Code

_PARK: Final = (
    "INSERT INTO parked_follow_ups "
    "(merchant_id, vendor, key, wallet_id, side, adjustment, code, state, parked_at) "
    "VALUES (:merchant_id, :vendor, :key, :wallet_id, :side, :adjustment, :code, 'parked', :now) "
    "ON CONFLICT (merchant_id, vendor, key) DO UPDATE SET code = excluded.code, state = 'parked'"
)


class Parked(NamedTuple):
    """One that could not follow; ``side`` is where."""

    key: str
    wallet_id: int
    side: Side
    adjustment: Adjustment
    code: Code
    is_waiting: bool


def park(customer: MovingCustomer, one: FollowUp, code: Code, now: int) -> Work[None]:
    """Puts one that was refused aside, where a person finds it, unless it has left the outbox."""
    if (yield from followed_up(customer, one)):
        yield from put_aside(customer, one, code, now)


def put_aside(customer: MovingCustomer, one: FollowUp, code: Code, now: int) -> Work[None]:
    """Keeps one that is in no outbox where a person finds it."""
    yield Statement(
        _PARK,
        customer.named
        | {
            "key": one.key,
            "side": one.to.value,
            "adjustment": msgspec.json.encode(one.adjustment).decode(),
            "code": code.value,
            "now": now,
        },
    )


def parked(_dialect: Dialect, merchant_id: int, vendor: str) -> Work[list[Parked]]:
    """All that could not follow."""
    rows = yield Statement(
        "SELECT key, wallet_id, side, adjustment, code, state FROM parked_follow_ups "
        f"WHERE {OF_MOVE} ORDER BY parked_at, key",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    return [
        Parked(key, int(wallet_id), Side(side), decode_adjustment(adjustment), Code(code), state == "waiting")
        for key, wallet_id, side, adjustment, code, state in rows
    ]


def parked_for(_dialect: Dialect, customer: MovingCustomer) -> Work[int]:
    """How many could not follow for a customer."""
    rows = yield Statement(
        f"SELECT count(*) FROM parked_follow_ups WHERE {OF_CUSTOMER} AND state = 'parked'", customer.named
    )
    return int(only(rows)[0])


def settle_parked(merchant_id: int, vendor: str, key: str, *, retries: bool) -> Work[bool]:
    """Has one that was parked tried again, or forgets it; whether there is one with that key."""
    change = "UPDATE parked_follow_ups SET state = 'waiting'" if retries else "DELETE FROM parked_follow_ups"
    rows = yield Statement(
        f"{change} WHERE {OF_MOVE} AND key = :key RETURNING key",
        {"merchant_id": merchant_id, "vendor": vendor, "key": key},
    )
    return bool(rows)
