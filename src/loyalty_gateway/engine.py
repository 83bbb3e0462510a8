"""The rules of points: what an adjustment does to a wallet. Pure decisions; clock and ids are passed in."""

from collections.abc import Sequence
from typing import assert_never

from loyalty_gateway.adjustment import LARGEST_POINTS, Adjustment, Entry, Lifetime, Overdraft, Tier, Wallet
from loyalty_gateway.problem import Code, Problem


def decide(  # noqa: PLR0913 - ids and clock are passed in
    wallet: Wallet,
    adjustment: Adjustment,
    *,
    vendor: str,
    tiers: Sequence[Tier],
    entry_id: int,
    now: int,
    idempotency_key: str | None = None,
) -> tuple[Wallet, Entry]:
    """The wallet after the adjustment, and the entry that tells it.

    Args:
        wallet: the wallet as it stands.
        adjustment: what is asked; its customers were resolved to this wallet.
        vendor: the dialect in which it was asked.
        tiers: the merchant's tiers, ascending.
        entry_id: the id that the new entry gets.
        now: microseconds; the entry's time is moved behind the wallet's last one if need be.
        idempotency_key: the key that came with the request.

    Raises:
        Problem: CUSTOMER_EXCLUDED, TOO_FEW_POINTS or BALANCE_OVERFLOW; nothing has changed then.
    """
    if wallet.excluded:
        raise Problem(Code.CUSTOMER_EXCLUDED)
    points_delta = effective_delta(wallet.available, adjustment)
    points_after = wallet.available + points_delta
    earned = earned_after(wallet.lifetime_earned, points_delta, adjustment.lifetime)
    burned = wallet.lifetime_burned + burned_delta(points_delta, adjustment.lifetime)
    tier = tier_for(earned, tiers)
    granted = wallet.granted + max(points_delta, 0)
    grants = wallet.grants + (points_delta > 0)
    if max(points_after, earned, burned, granted) > LARGEST_POINTS:
        raise Problem(Code.BALANCE_OVERFLOW)
    occurred_at = max(now, wallet.updated_at + 1)
    return (
        Wallet(
            id=wallet.id,
            merchant_id=wallet.merchant_id,
            available=points_after,
            reserved=wallet.reserved,
            lifetime_earned=earned,
            lifetime_burned=burned,
            granted=granted,
            grants=grants,
            version=wallet.version + 1,
            excluded=False,
            tier=None if tier is None else tier.name,
            created_at=wallet.created_at,
            updated_at=occurred_at,
            last_entry_at=occurred_at,
            last_entry_id=entry_id,
            job=wallet.job,
        ),
        Entry(
            id=entry_id,
            wallet_id=wallet.id,
            version=wallet.version + 1,
            vendor=vendor,
            points_delta=points_delta,
            points_asked=adjustment.points_delta,
            points_before=wallet.available,
            points_after=points_after,
            reserved_after=wallet.reserved,
            earned_delta=earned - wallet.lifetime_earned,
            burned_delta=burned - wallet.lifetime_burned,
            granted_after=granted,
            grants_after=grants,
            reason=adjustment.reason,
            metadata=adjustment.metadata,
            notify=adjustment.notify,
            visible=adjustment.visible,
            idempotency_key=idempotency_key,
            occurred_at=occurred_at,
        ),
    )


def effective_delta(available: int, adjustment: Adjustment) -> int:
    """The signed points that take effect; raises Problem TOO_FEW_POINTS where an overdraft is refused."""
    asked = adjustment.points_delta
    if asked is None:
        return -available
    if asked >= 0 or available + asked >= 0:
        return asked
    match adjustment.overdraft:
        case Overdraft.FLOOR:
            # A balance is never below zero, so a floored deduction takes what there is.
            return -available
        case Overdraft.REFUSE:
            raise Problem(Code.TOO_FEW_POINTS)
        case never:
            assert_never(never)


def earned_after(earned: int, points_delta: int, lifetime: Lifetime) -> int:
    """The lifetime-earned counter after ``points_delta`` took effect."""
    match lifetime:
        case Lifetime.EARN_AND_BURN | Lifetime.EARN_ONLY:
            return earned + max(points_delta, 0)
        case Lifetime.NET_EARNED:
            return max(earned + points_delta, 0)
        case Lifetime.BURN_ONLY | Lifetime.UNTOUCHED:
            return earned
        case never:
            assert_never(never)


def burned_delta(points_delta: int, lifetime: Lifetime) -> int:
    """What ``points_delta`` adds to the lifetime-burned counter."""
    match lifetime:
        case Lifetime.EARN_AND_BURN | Lifetime.BURN_ONLY:
            return max(-points_delta, 0)
        case Lifetime.EARN_ONLY | Lifetime.NET_EARNED | Lifetime.UNTOUCHED:
            return 0
        case never:
            assert_never(never)


def tier_for(lifetime_earned: int, tiers: Sequence[Tier]) -> Tier | None:
    """The highest tier whose threshold the lifetime points reach; ``None`` below the first."""
    reached = None
    for tier in tiers:
        if lifetime_earned < tier.points_required:
            break
        reached = tier
    return reached
