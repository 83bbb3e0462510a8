"""How it stands with a customer of a move: whether they are taken over, and what waits to come from each side."""

from typing import NamedTuple

from loyalty_gateway.adjustment import CustomerReference
from loyalty_gateway.ledger.following.sides import OF_CUSTOMER, MovingCustomer, Side
from loyalty_gateway.ledger.importing import VENDOR as IMPORTED
from loyalty_gateway.ledger.intents import FOLLOWER, State
from loyalty_gateway.ledger.reading import Reader
from loyalty_gateway.ledger.statements import Dialect, Statement, Work, only


class Backlog(NamedTuple):
    """What was done at one side for a customer and has not followed at the other.

    ``ready`` can follow now, ``under_way`` is not settled, and of ``stuck`` nobody knows what came of it.
    """

    ready: int = 0
    under_way: int = 0
    stuck: int = 0

    def plus(self, *, ready: int = 0, under_way: int = 0, stuck: int = 0) -> "Backlog":
        """The same with so many more."""
        return Backlog(self.ready + ready, self.under_way + under_way, self.stuck + stuck)

    def plus_intents(self, state: State, count: int) -> "Backlog":
        """The same with so many intents more that are in a state."""
        match state:
            case State.DONE:
                return self.plus(ready=count)
            case State.UNCLEAR | State.PARKED:
                return self.plus(stuck=count)
            case _:
                return self.plus(under_way=count)


class Standing(NamedTuple):
    """How it stands with a customer: ``beyond`` has what waits to come from each side.

    ``version`` is ``None`` for one who is not taken over; ``pending`` are the points by which the new balance is
    being set. ``parked`` are those that could not follow at the old side.
    """

    wallet_id: int
    version: int | None
    batch: str | None
    pending: int | None
    pending_key: str | None
    beyond: dict[Side, Backlog]
    parked: int


def wallet_id_of(dialect: Dialect, merchant_id: int, reference: CustomerReference) -> Work[int]:
    """The customer's number; 0 for one whom the ledger has not met."""
    wallet = yield from Reader(dialect, merchant_id).wallet(reference)
    return 0 if wallet is None else wallet.id


def standing(_dialect: Dialect, customer: MovingCustomer) -> Work[Standing]:
    """How it stands with a customer of the ledger."""
    rows = yield Statement(
        f"SELECT version, batch, pending, pending_key FROM followed WHERE {OF_CUSTOMER}", customer.named
    )
    version, batch, pending, pending_key = rows[0] if rows else (None, None, None, None)
    beyond = {Side.OLD: Backlog(), Side.NEW: Backlog()}
    rows = yield Statement(
        f"SELECT upstream, state, count(*) FROM intents WHERE {OF_CUSTOMER} AND follow = 1 "
        "GROUP BY upstream, state",
        customer.named,
    )
    for upstream, state, count in rows:
        side = customer.route.side(upstream)
        beyond[side] = beyond[side].plus_intents(State(state), int(count))
    if customer.route.new is None:
        before = (yield from version_before_led(customer)) if version is None else version
        ready = 0 if before is None else (yield from _entries_beyond(customer, before))
        beyond[Side.NEW] = beyond[Side.NEW].plus(ready=ready)
    parked = 0
    rows = yield Statement(
        f"SELECT side, state, count(*) FROM parked_follow_ups WHERE {OF_CUSTOMER} GROUP BY side, state",
        customer.named,
    )
    for told, state, count in rows:
        to = Side(told)
        if state == "waiting":
            beyond[to.other] = beyond[to.other].plus(ready=int(count))
        elif to is Side.OLD:
            parked += int(count)
    if pending is not None:
        beyond[Side.OLD] = beyond[Side.OLD].plus(ready=1)
    return Standing(customer.wallet_id, version, batch, pending, pending_key, beyond, parked)


def _entries_beyond(customer: MovingCustomer, version: int) -> Work[int]:
    rows = yield Statement(
        "SELECT count(*) FROM entries WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id "
        "AND version > :version AND vendor <> :follower AND vendor <> :imported",
        {
            "merchant_id": customer.merchant_id,
            "wallet_id": customer.wallet_id,
            "version": version,
            "follower": FOLLOWER,
            "imported": IMPORTED,
        },
    )
    return int(only(rows)[0])


def led_since(merchant_id: int, vendor: str) -> Work[int | None]:
    """Since when the new side has led for anybody, in microseconds.

    Whoever went back to where neither side follows is taken over anew, so what was before that does not count.
    """
    rows = yield Statement(
        "SELECT min(c.changed_at) FROM migration_changes c "
        "WHERE c.merchant_id = :merchant_id AND c.vendor = :vendor AND c.stage IN ('lead', 'done') "
        "AND c.number > (SELECT coalesce(max(b.number), 0) FROM migration_changes b "
        "WHERE b.merchant_id = :merchant_id AND b.vendor = :vendor "
        "AND (b.stage IN ('observe', 'shadow') OR (b.stage = 'mirror' AND b.percent < 100)))",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    (since,) = only(rows)
    return None if since is None else int(since)


def version_before_led(customer: MovingCustomer) -> Work[int | None]:
    """The wallet's version before what was first asked for here since the new side led; ``None`` without any."""
    since = yield from led_since(customer.merchant_id, customer.route.vendor)
    if since is None:
        return None
    rows = yield Statement(
        "SELECT min(version) FROM entries WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id "
        "AND vendor = :vendor AND occurred_at >= :since",
        customer.named | {"since": since},
    )
    (first,) = only(rows)
    return None if first is None else int(first) - 1
