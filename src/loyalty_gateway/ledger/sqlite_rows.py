"""Wallets and entries as rows: which columns there are, and how values and rows become each other."""

from typing import Any, Final

import msgspec

from loyalty_gateway.adjustment import Entry, Wallet

WALLET_COLUMNS: Final = (
    "w.id, w.merchant_id, w.available, w.reserved, w.lifetime_earned, w.lifetime_burned, w.granted, w.grants, "
    "w.version, w.excluded, w.tier, w.created_at, w.updated_at, w.last_entry_at"
)
INSERT_WALLET: Final = (
    "INSERT INTO wallets (available, reserved, lifetime_earned, lifetime_burned, granted, grants, version, "
    "excluded, tier, updated_at, last_entry_at, merchant_id, created_at, id) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE_WALLET: Final = (
    "UPDATE wallets SET available = ?, reserved = ?, lifetime_earned = ?, lifetime_burned = ?, granted = ?, "
    "grants = ?, version = ?, excluded = ?, tier = ?, updated_at = ?, last_entry_at = ? WHERE id = ?"
)
ENTRY_COLUMNS: Final = (
    "e.id, e.wallet_id, e.version, e.vendor, e.points_delta, e.points_asked, e.points_before, e.points_after, "
    "e.reserved_after, e.earned_delta, e.burned_delta, e.granted_after, e.grants_after, e.reason, e.metadata, "
    "e.notify, e.visible, e.idempotency_key, e.occurred_at"
)
INSERT_ENTRY: Final = (
    "INSERT INTO entries (id, merchant_id, wallet_id, version, vendor, points_delta, points_asked, "
    "points_before, points_after, reserved_after, earned_delta, burned_delta, granted_after, grants_after, "
    "reason, metadata, notify, visible, idempotency_key, occurred_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_notify = msgspec.json.Decoder(tuple[str, ...]).decode


def wallet_of(row: tuple[Any, ...]) -> Wallet:
    """The wallet of a row of ``WALLET_COLUMNS``; further columns are no matter."""
    return Wallet(
        id=row[0],
        merchant_id=row[1],
        available=row[2],
        reserved=row[3],
        lifetime_earned=row[4],
        lifetime_burned=row[5],
        granted=row[6],
        grants=row[7],
        version=row[8],
        excluded=row[9] == 1,
        tier=row[10],
        created_at=row[11],
        updated_at=row[12],
        last_entry_at=row[13],
    )


def state_of(wallet: Wallet) -> tuple[Any, ...]:
    """What changes of a wallet, for ``UPDATE_WALLET`` and ``INSERT_WALLET``."""
    return (
        wallet.available,
        wallet.reserved,
        wallet.lifetime_earned,
        wallet.lifetime_burned,
        wallet.granted,
        wallet.grants,
        wallet.version,
        wallet.excluded,
        wallet.tier,
        wallet.updated_at,
        wallet.last_entry_at,
    )


def entry_of(row: tuple[Any, ...]) -> Entry:
    """The entry of a row of ``ENTRY_COLUMNS``."""
    return Entry(
        id=row[0],
        wallet_id=row[1],
        version=row[2],
        vendor=row[3],
        points_delta=row[4],
        points_asked=row[5],
        points_before=row[6],
        points_after=row[7],
        reserved_after=row[8],
        earned_delta=row[9],
        burned_delta=row[10],
        granted_after=row[11],
        grants_after=row[12],
        reason=row[13],
        metadata=None if row[14] is None else _decode(row[14]),
        notify=() if row[15] is None else _decode_notify(row[15]),
        visible=row[16] == 1,
        idempotency_key=row[17],
        occurred_at=row[18],
    )


def row_of(merchant_id: int, entry: Entry) -> tuple[Any, ...]:
    """The entry for ``INSERT_ENTRY``."""
    return (
        entry.id,
        merchant_id,
        entry.wallet_id,
        entry.version,
        entry.vendor,
        entry.points_delta,
        entry.points_asked,
        entry.points_before,
        entry.points_after,
        entry.reserved_after,
        entry.earned_delta,
        entry.burned_delta,
        entry.granted_after,
        entry.grants_after,
        entry.reason,
        None if entry.metadata is None else _encode(entry.metadata).decode(),
        _encode(entry.notify).decode() if entry.notify else None,
        entry.visible,
        entry.idempotency_key,
        entry.occurred_at,
    )
