"""Taking a customer over: the new balance is set to the old one, and what happens from then on follows."""

from typing import NamedTuple

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Lifetime, Merchant
from loyalty_gateway.ledger.following.claims import hold
from loyalty_gateway.ledger.following.here import held_wallet, move_here
from loyalty_gateway.ledger.following.parked import put_aside
from loyalty_gateway.ledger.following.seen import Seen, seen
from loyalty_gateway.ledger.following.sides import OF_CUSTOMER, FollowUp, MovingCustomer, Side
from loyalty_gateway.ledger.following.standing import Backlog, Standing, standing, version_before_led
from loyalty_gateway.ledger.statements import Dialect, Statement, Work
from loyalty_gateway.problem import Code


class TakeOver(NamedTuple):
    """How a customer is taken over, by what both sides told behind what was seen ``before``.

    Whom the old side does not know (``None``) keeps what they have; of a new side that is here nothing is told.
    ``batch`` is the import it belongs to, and ``key`` the one by which points are moved. Whoever ``follows`` is
    taken over from now on.
    """

    before: Seen
    old_balance: int | None
    new_balance: int | None
    batch: str | None
    key: str
    follows: bool


def balance_set_by(points: int | None, customers: tuple[CustomerReference, ...] = ()) -> Adjustment:
    """The adjustment by which a balance is set: nothing is earned or spent by it."""
    return Adjustment(
        customers=customers, points_delta=points, lifetime=Lifetime.UNTOUCHED, reason="Balance taken over"
    )


def take_over(
    dialect: Dialect, merchant: Merchant, customer: MovingCustomer, by: TakeOver, now: int
) -> Work[int | None]:
    """Sets the new balance to the old one; the points that takes.

    ``None`` where something is under way or has happened meanwhile: what was read means nothing then. What was to
    follow is in the balance, and follows no more. At an upstream the points are written down as pending; here they
    are moved.
    """
    yield from hold(customer)
    wallet = yield from held_wallet(dialect, customer)
    # Before it is seen that nothing has begun: what begins and ends behind that is in no balance that was read.
    covered = yield from _settled_at_old(customer)
    if not (yield from _is_as_it_was(dialect, customer, by.before)):
        return None
    available = wallet.available if by.new_balance is None else by.new_balance
    delta = 0 if by.old_balance is None else by.old_balance - available
    if delta and by.new_balance is None:
        moved = FollowUp(by.key, Side.NEW, 0, balance_set_by(delta))
        wallet = yield from move_here(dialect, merchant, customer, moved, now)
    yield Statement(
        f"UPDATE followed SET version = {':version' if by.follows else 'NULL'}, batch = coalesce(:batch, batch) "
        f"WHERE {OF_CUSTOMER}",
        customer.named | {"batch": by.batch} | ({"version": wallet.version} if by.follows else {}),
    )
    if delta and by.new_balance is not None:
        yield Statement(
            f"UPDATE followed SET pending = :pending, pending_key = :key WHERE {OF_CUSTOMER}",
            customer.named | {"pending": delta, "key": by.key},
        )
    yield Statement(
        f"UPDATE intents SET follow = 0 WHERE follow = 1 AND id IN {dialect.numbers(':covered')}",
        {"covered": covered},
    )
    yield Statement(f"DELETE FROM parked_follow_ups WHERE {OF_CUSTOMER} AND side = 'new'", customer.named)
    return delta


def _settled_at_old(customer: MovingCustomer) -> Work[tuple[int, ...]]:
    """The intents of the old side that wait to follow, and are in its balance."""
    rows = yield Statement(
        f"SELECT id FROM intents WHERE {OF_CUSTOMER} AND follow = 1 AND upstream = :old "
        "AND settled_at IS NOT NULL",
        customer.named | {"old": customer.route.old},
    )
    return tuple(int(number) for (number,) in rows)


def _is_as_it_was(dialect: Dialect, customer: MovingCustomer, before: Seen) -> Work[bool]:
    """Whether nothing is under way for a customer, nor has happened since it was seen so."""
    present = yield from seen(dialect, customer.merchant_id, customer.wallet_id)
    stand = yield from standing(dialect, customer)
    return (
        present == before
        and not present.unsettled
        and stand.beyond[Side.NEW] == Backlog()
        and not stand.parked
        and stand.pending is None
    )


def leave_as_they_are(dialect: Dialect, customer: MovingCustomer) -> Work[None]:
    """Takes somebody over for whom the new side led before: each side keeps the balance that it has.

    What was done at either side and waits follows at the other, as what comes does.
    """
    yield from hold(customer)
    wallet = yield from held_wallet(dialect, customer)
    before = (yield from version_before_led(customer)) if customer.route.new is None else None
    yield Statement(
        f"UPDATE followed SET version = :version WHERE {OF_CUSTOMER} AND version IS NULL",
        customer.named | {"version": wallet.version if before is None else before},
    )


def forget_pending(customer: MovingCustomer, key: str) -> Work[None]:
    """Ends the setting of a balance: the points with this key have been moved at the new side, or put aside."""
    yield Statement(
        f"UPDATE followed SET pending = NULL, pending_key = NULL WHERE {OF_CUSTOMER} AND pending_key = :key",
        customer.named | {"key": key},
    )


def park_pending(customer: MovingCustomer, stand: Standing, code: Code, now: int) -> Work[None]:
    """Puts points aside by which the new balance could not be set."""
    assert stand.pending_key is not None
    yield from forget_pending(customer, stand.pending_key)
    one = FollowUp(stand.pending_key, Side.NEW, 0, balance_set_by(stand.pending))
    yield from put_aside(customer, one, code, now)
