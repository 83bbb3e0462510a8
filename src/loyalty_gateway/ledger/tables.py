"""The tables' columns, and how wallets and entries become rows and rows become them."""

from typing import Any, Final, NamedTuple

import msgspec

from loyalty_gateway.adjustment import Entry, Wallet

NUMBER: Final = "BIGINT"
TEXT: Final = "TEXT"
BYTES: Final = "BYTEA"


class Table(NamedTuple):
    """A table: its columns with their types, and those that are its key."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]


WALLETS: Final = Table(
    "wallets",
    {
        "id": NUMBER,
        "merchant_id": NUMBER,
        "available": NUMBER,
        "reserved": NUMBER,
        "lifetime_earned": NUMBER,
        "lifetime_burned": NUMBER,
        "granted": NUMBER,
        "grants": NUMBER,
        "version": NUMBER,
        "excluded": NUMBER,
        "tier": TEXT,
        "created_at": NUMBER,
        "updated_at": NUMBER,
        "last_entry_at": NUMBER,
        "last_entry_id": NUMBER,
        "job": NUMBER,
    },
    ("merchant_id", "id"),
)
ENTRIES: Final = Table(
    "entries",
    {
        "id": NUMBER,
        "merchant_id": NUMBER,
        "wallet_id": NUMBER,
        "version": NUMBER,
        "vendor": TEXT,
        "points_delta": NUMBER,
        "points_asked": NUMBER,
        "points_before": NUMBER,
        "points_after": NUMBER,
        "reserved_after": NUMBER,
        "earned_delta": NUMBER,
        "burned_delta": NUMBER,
        "granted_after": NUMBER,
        "grants_after": NUMBER,
        "reason": TEXT,
        "metadata": TEXT,
        "notify": TEXT,
        "visible": NUMBER,
        "idempotency_key": TEXT,
        "occurred_at": NUMBER,
    },
    ("merchant_id", "wallet_id", "version"),
)
REFERENCES: Final = Table(
    "customer_references",
    {"merchant_id": NUMBER, "namespace": TEXT, "value": TEXT, "wallet_id": NUMBER},
    ("merchant_id", "namespace", "value"),
)
PROFILES: Final = Table(
    "profiles",
    {"merchant_id": NUMBER, "wallet_id": NUMBER, "first_name": TEXT, "last_name": TEXT},
    ("merchant_id", "wallet_id"),
)
JOB_REFUSALS: Final = Table(
    "job_refusals",
    {"merchant_id": NUMBER, "job": NUMBER, "wallet_id": NUMBER, "code": TEXT},
    ("merchant_id", "job", "wallet_id"),
)

INTENTS: Final = Table(
    "intents",
    {
        "id": NUMBER,
        "merchant_id": NUMBER,
        "vendor": TEXT,
        "upstream": TEXT,
        "mark": TEXT,
        "parent": NUMBER,
        "wallet_id": NUMBER,
        "adjustment": TEXT,
        "idempotency_key": TEXT,
        "fingerprint": BYTES,
        "likeness": BYTES,
        "state": TEXT,
        "outcome": TEXT,
        "owner": TEXT,
        "due_at": NUMBER,
        "sent_at": NUMBER,
        "known_again": NUMBER,
        "created_at": NUMBER,
        "settled_at": NUMBER,
        "follow": NUMBER,
    },
    ("id",),
)

WALLET_COLUMNS: Final = ", ".join(f"w.{column}" for column in WALLETS.columns)
ENTRY_COLUMNS: Final = ", ".join(f"e.{column}" for column in ENTRIES.columns if column != "merchant_id")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_notify = msgspec.json.Decoder(tuple[str, ...]).decode


def wallet_of(row: Any) -> Wallet:
    """The wallet of a row that begins with ``WALLET_COLUMNS``."""
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
        last_entry_id=row[14],
        job=row[15],
    )


def blank_wallet(wallet_id: int, merchant_id: int, now: int, job: int) -> Wallet:
    """A wallet to which nothing has happened, made behind the merchant's ``job``."""
    return Wallet(
        id=wallet_id,
        merchant_id=merchant_id,
        available=0,
        reserved=0,
        lifetime_earned=0,
        lifetime_burned=0,
        version=0,
        excluded=False,
        tier=None,
        created_at=now,
        updated_at=now,
        last_entry_at=None,
        job=job,
    )


def row_of_wallet(wallet: Wallet) -> tuple[Any, ...]:
    """The wallet as a row of ``WALLETS``."""
    return (
        wallet.id,
        wallet.merchant_id,
        wallet.available,
        wallet.reserved,
        wallet.lifetime_earned,
        wallet.lifetime_burned,
        wallet.granted,
        wallet.grants,
        wallet.version,
        int(wallet.excluded),
        wallet.tier,
        wallet.created_at,
        wallet.updated_at,
        wallet.last_entry_at,
        wallet.last_entry_id,
        wallet.job,
    )


def entry_of(row: Any) -> Entry:
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


def row_of_entry(merchant_id: int, entry: Entry) -> tuple[Any, ...]:
    """The entry as a row of ``ENTRIES``."""
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
        int(entry.visible),
        entry.idempotency_key,
        entry.occurred_at,
    )
