"""Who is at a customer of a move: a lease for as long as bringing over takes, and holds within a transaction."""

from loyalty_gateway.ledger.following.sides import OF_CUSTOMER, MovingCustomer
from loyalty_gateway.ledger.statements import Dialect, Statement, Work


def claim(customer: MovingCustomer, owner: str, now: int, until: int) -> Work[int | None]:
    """Takes a customer up, whom nobody else then takes up before ``until``; the tries in vain, ``None`` if not."""
    yield from _make_followed(customer)
    rows = yield Statement(
        f"UPDATE followed SET owner = :owner, due_at = :until WHERE {OF_CUSTOMER} "
        "AND (due_at <= :now OR owner = :owner) RETURNING tries",
        customer.named | {"owner": owner, "now": now, "until": until},
    )
    return int(rows[0][0]) if rows else None


def release(customer: MovingCustomer, owner: str, *, due_at: int, in_vain: bool) -> Work[None]:
    """Lets go of a customer, who may be taken up again from ``due_at``."""
    tries = "tries + 1" if in_vain else "0"
    yield Statement(
        f"UPDATE followed SET owner = NULL, due_at = :due_at, tries = {tries} "
        f"WHERE {OF_CUSTOMER} AND owner = :owner",
        customer.named | {"owner": owner, "due_at": due_at},
    )


def hold(customer: MovingCustomer) -> Work[None]:
    """Keeps everybody else from bringing anything over for a customer until the transaction ends."""
    yield from _make_followed(customer)
    yield Statement(f"UPDATE followed SET batch = batch WHERE {OF_CUSTOMER}", customer.named)


def share(dialect: Dialect, customer: MovingCustomer) -> Work[None]:
    """Keeps everybody else from taking a customer over until the transaction ends; several may do so at once."""
    yield Statement(f"SELECT 1 FROM followed WHERE {OF_CUSTOMER} {dialect.sharing}", customer.named)


def _make_followed(customer: MovingCustomer) -> Work[None]:
    yield Statement(
        "INSERT INTO followed (merchant_id, vendor, wallet_id, due_at, tries) "
        "VALUES (:merchant_id, :vendor, :wallet_id, 0, 0) ON CONFLICT (merchant_id, vendor, wallet_id) DO NOTHING",
        customer.named,
    )
