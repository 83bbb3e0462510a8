"""What follows in the ledger here, in one transaction with its leaving the outbox."""

import msgspec

from loyalty_gateway import engine
from loyalty_gateway.adjustment import Merchant, Wallet
from loyalty_gateway.ledger.following.claims import share
from loyalty_gateway.ledger.following.outbox import followed_up
from loyalty_gateway.ledger.following.sides import OF_CUSTOMER, FollowUp, MovingCustomer
from loyalty_gateway.ledger.intents import FOLLOWER
from loyalty_gateway.ledger.jobs import catch_up, entry_ids
from loyalty_gateway.ledger.statements import Dialect, Insert, Statement, Update, Work, only
from loyalty_gateway.ledger.tables import (
    ENTRIES,
    WALLET_COLUMNS,
    WALLETS,
    row_of_entry,
    row_of_wallet,
    wallet_of,
)


def follow_here(
    dialect: Dialect, merchant: Merchant, customer: MovingCustomer, one: FollowUp, now: int
) -> Work[bool]:
    """Brings one to the ledger here and out of the outbox, both or neither; raises Problem."""
    yield from share(dialect, customer)
    if not (yield from followed_up(customer, one)):
        return False
    if one.adjustment.points_delta:
        yield from move_here(dialect, merchant, customer, one, now)
    return True


def move_here(
    dialect: Dialect, merchant: Merchant, customer: MovingCustomer, one: FollowUp, now: int
) -> Work[Wallet]:
    """The wallet once its points are moved; the entry counts as one that has followed. Raises Problem."""
    before = yield from held_wallet(dialect, customer)
    (entry_id,) = yield from entry_ids(dialect, 1, behind=[before])
    # The other side has moved them already, whatever is known here of who takes part.
    after, entry = engine.decide(
        msgspec.structs.replace(before, excluded=False),
        one.adjustment,
        vendor=FOLLOWER,
        tiers=merchant.tiers,
        entry_id=entry_id,
        now=now,
        idempotency_key=one.key,
    )
    after = msgspec.structs.replace(after, excluded=before.excluded)
    yield Update(WALLETS, [row_of_wallet(after)])
    yield Insert(ENTRIES, [row_of_entry(customer.merchant_id, entry)])
    yield Statement(
        f"UPDATE followed SET version = :after WHERE {OF_CUSTOMER} AND version = :before",
        customer.named | {"after": after.version, "before": before.version},
    )
    return after


def held_wallet(dialect: Dialect, customer: MovingCustomer) -> Work[Wallet]:
    """The customer's wallet, reached by every job, which nobody else changes until the transaction ends."""
    rows = yield Statement(
        f"SELECT {WALLET_COLUMNS} FROM wallets w WHERE w.merchant_id = :merchant_id AND w.id = :wallet_id "
        f"{dialect.locking_wallets}",
        {"merchant_id": customer.merchant_id, "wallet_id": customer.wallet_id},
    )
    wallet = wallet_of(only(rows))
    caught_up = yield from catch_up(dialect, customer.merchant_id, [wallet])
    return caught_up.get(customer.wallet_id, wallet)
