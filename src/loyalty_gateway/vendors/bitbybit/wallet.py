"""A wallet and an entry of its ledger as bitbybit writes them; both stand in several answers."""

from typing import Any

from loyalty_gateway.adjustment import Entry, Wallet
from loyalty_gateway.moment import iso_milliseconds


def wallet_of(wallet: Wallet, customer_id: str) -> dict[str, Any]:
    """The wallet; ``customer_id`` is what the client calls the customer."""
    return {
        "id": str(wallet.id),
        "companyId": wallet.merchant_id,
        "customerId": customer_id,
        "availablePoints": str(wallet.available),
        "reservedPoints": str(wallet.reserved),
        "lifetimeEarnedPoints": str(wallet.lifetime_earned),
        "lifetimeBurnedPoints": str(wallet.lifetime_burned),
        "version": str(wallet.version),
        "lastLedgerAt": None if wallet.last_entry_at is None else iso_milliseconds(wallet.last_entry_at),
        "createdAt": iso_milliseconds(wallet.created_at),
        "updatedAt": iso_milliseconds(wallet.updated_at),
    }


def entry_of(entry: Entry, company_id: int, customer_id: str) -> dict[str, Any]:
    """The entry; ``customer_id`` is what the client calls the customer."""
    occurred_at = iso_milliseconds(entry.occurred_at)
    return {
        "id": str(entry.id),
        "companyId": company_id,
        "customerId": customer_id,
        "walletId": str(entry.wallet_id),
        "entryType": "adjustment",
        "pointsDelta": str(entry.points_delta),
        "availableAfter": str(entry.points_after),
        "reservedAfter": str(entry.reserved_after),
        "referenceType": "manual_adjustment",
        "referenceId": str(entry.id),
        "idempotencyKey": key_of(entry),
        "note": entry.reason,
        "metadata": entry.metadata,
        "occurredAt": occurred_at,
        "createdAt": occurred_at,
        "createdById": None,
    }


def key_of(entry: Entry) -> str:
    """The key that came with the request, or the one made for it, which the published schema demands."""
    return entry.idempotency_key or f"auto_{entry.id}"
