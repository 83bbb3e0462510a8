"""Enrolling customers and changing what is known of them, each within the caller's transaction."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from loyalty_gateway.adjustment import OWN_NAMESPACE, CustomerReference, Tier
from loyalty_gateway.customer import Customer, CustomerQuery, CustomerUpdate, Enrolled, Enrolment, Existing
from loyalty_gateway.ledger.sqlite_reader import Reader
from loyalty_gateway.problem import Code, Problem


def enrol(
    db: sqlite3.Connection, merchant_id: int, enrolment: Enrolment, now: int, tiers: Sequence[Tier]
) -> Enrolled:
    """See ``Ledger.enrol``."""
    reader = Reader(db, tiers)
    found = {reference: reader.wallet(merchant_id, reference) for reference in enrolment.references}
    known = {wallet.id for wallet in found.values() if wallet is not None}
    if len(known) > 1 or (known and enrolment.existing is Existing.REFUSE):
        raise Problem(Code.CUSTOMER_CONFLICT)
    attached = {reference: reader.wallet(merchant_id, reference) for reference in enrolment.attached}
    if any(wallet is not None and wallet.id not in known for wallet in attached.values()):
        raise Problem(Code.CUSTOMER_CONFLICT)
    lacking = [reference for reference, wallet in (found | attached).items() if wallet is None]
    if any(reference.namespace == OWN_NAMESPACE for reference in lacking):
        raise Problem(Code.UNKNOWN_CUSTOMER)
    is_new = not known
    wallet_id = _new_wallet(db, merchant_id, now) if is_new else known.pop()
    db.executemany(
        "DELETE FROM customer_references WHERE wallet_id = ? AND namespace = ?",
        [(wallet_id, reference.namespace) for reference in lacking if reference.namespace in enrolment.replaces],
    )
    db.executemany(
        "INSERT INTO customer_references (merchant_id, namespace, value, wallet_id) VALUES (?, ?, ?, ?)",
        [(merchant_id, reference.namespace, reference.value, wallet_id) for reference in lacking],
    )
    if is_new or enrolment.existing is Existing.UPDATE:
        _keep_profile(db, _customer(reader, merchant_id, wallet_id), enrolment.changes)
    if not is_new and (lacking or enrolment.existing is Existing.UPDATE):
        _touch(db, wallet_id, now)
    return Enrolled(customer=_customer(reader, merchant_id, wallet_id), is_new=is_new)


def update(
    db: sqlite3.Connection, merchant_id: int, update: CustomerUpdate, now: int, tiers: Sequence[Tier]
) -> Customer:
    """See ``Ledger.update``."""
    reader = Reader(db, tiers)
    customer = reader.customer(merchant_id, CustomerQuery(references=(update.customer,)))
    if update.excluded is not None:
        db.execute("UPDATE wallets SET excluded = ? WHERE id = ?", (update.excluded, customer.wallet.id))
    _keep_profile(db, customer, update.changes)
    _touch(db, customer.wallet.id, now)
    return _customer(reader, merchant_id, customer.wallet.id)


def _new_wallet(db: sqlite3.Connection, merchant_id: int, now: int) -> int:
    (wallet_id,) = db.execute(
        "INSERT INTO wallets (merchant_id, created_at, updated_at) VALUES (?, ?, ?) RETURNING id",
        (merchant_id, now, now),
    ).fetchone()
    return int(wallet_id)


def _customer(reader: Reader, merchant_id: int, wallet_id: int) -> Customer:
    own = CustomerReference(OWN_NAMESPACE, str(wallet_id))
    return reader.customer(merchant_id, CustomerQuery(references=(own,)))


def _keep_profile(db: sqlite3.Connection, customer: Customer, changes: Mapping[str, object]) -> None:
    if not changes:
        return
    profile = msgspec.structs.replace(customer.profile, **changes)
    db.execute(
        "REPLACE INTO profiles (wallet_id, first_name, last_name, date_of_birth, anniversary_date, tags, source) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            customer.wallet.id,
            profile.first_name,
            profile.last_name,
            profile.date_of_birth,
            profile.anniversary_date,
            msgspec.json.encode(profile.tags).decode(),
            profile.source,
        ),
    )


def _touch(db: sqlite3.Connection, wallet_id: int, now: int) -> None:
    db.execute("UPDATE wallets SET updated_at = max(?, updated_at + 1) WHERE id = ?", (now, wallet_id))
