"""Which intents are not settled, and which are so old that nobody needs them and they are forgotten.

An intent is kept for as long as its key counts, and then until its parts are gone, it has followed at the other
side of a move, and nothing asks for its key there.
"""

from typing import Final, NamedTuple

from loyalty_gateway.ledger.intents import FOLLOWER, State
from loyalty_gateway.ledger.statements import Dialect, Statement, Work


class Tally(NamedTuple):
    """How many intents of an upstream are in a state, and when the oldest of them was written down."""

    upstream: str
    state: State
    number: int
    oldest_at: int


def tally(_dialect: Dialect) -> Work[list[Tally]]:
    """All that is not settled, by upstream and state; what is settled is not looked at."""
    rows = yield Statement(
        "SELECT upstream, state, count(*), min(created_at) FROM intents WHERE settled_at IS NULL "
        "GROUP BY upstream, state ORDER BY upstream, state"
    )
    return [Tally(upstream, State(state), int(count), int(oldest)) for upstream, state, count, oldest in rows]


# The last one stays, since a database may give its number again. What has followed is known by its key as long as
# anything else is to follow for that customer: it may be asked for once more. CROSS JOIN keeps SQLite to the order
# of tables: by a merchant's few moves the others are found at once, not by all that a customer ever had.
_NEEDED_BY_NOBODY: Final = f"""
    i.settled_at < :before AND i.follow = 0 AND i.id < (SELECT max(id) FROM intents)
    AND NOT EXISTS (SELECT 1 FROM intents p WHERE p.parent = i.id)
    AND (i.parent IS NULL OR EXISTS (SELECT 1 FROM intents o WHERE o.id = i.parent AND o.settled_at < :before))
    AND (i.vendor <> '{FOLLOWER}' OR NOT (
        EXISTS (SELECT 1 FROM migrations g CROSS JOIN intents f
                WHERE g.merchant_id = i.merchant_id AND f.merchant_id = g.merchant_id AND f.vendor = g.vendor
                AND f.wallet_id = i.wallet_id AND f.follow = 1)
        OR EXISTS (SELECT 1 FROM migrations g CROSS JOIN followed f CROSS JOIN wallets w
                   WHERE g.merchant_id = i.merchant_id AND f.merchant_id = g.merchant_id AND f.vendor = g.vendor
                   AND f.wallet_id = i.wallet_id AND w.id = f.wallet_id AND w.version > f.version)
        OR (i.merchant_id, i.wallet_id) IN (SELECT merchant_id, wallet_id FROM parked_follow_ups)
        OR (i.merchant_id, coalesce(i.idempotency_key, '')) IN
           (SELECT merchant_id, pending_key FROM followed WHERE pending IS NOT NULL)
    ))"""


class Page(NamedTuple):
    """A page's intents that can be forgotten, by number, and its last one; ``None`` where no page follows."""

    forgettable: tuple[int, ...]
    last: int | None


def forgettable(_dialect: Dialect, *, before: int, after: int, at_most: int) -> Work[Page]:
    """Those of the next ``at_most`` intents behind a number that were settled ``before``, and nobody needs.

    Numbers rise with time, or nearly so: behind a page that ends with an intent younger than that there is none.
    """
    rows = yield Statement(
        "SELECT id, created_at FROM intents WHERE id > :after ORDER BY id LIMIT :at_most",
        {"after": after, "at_most": at_most},
    )
    if not rows:
        return Page((), None)
    last, created_at = rows[-1]
    found = yield Statement(
        f"SELECT i.id FROM intents i WHERE i.id > :after AND i.id <= :last AND {_NEEDED_BY_NOBODY} ORDER BY i.id",
        {"after": after, "last": last, "before": before},
    )
    is_last = len(rows) < at_most or created_at >= before
    return Page(tuple(int(number) for (number,) in found), None if is_last else int(last))


def forget(dialect: Dialect, intent_ids: tuple[int, ...], *, before: int) -> Work[int]:
    """Forgets those of the intents that nobody needs still; how many these were."""
    rows = yield Statement(
        f"DELETE FROM intents WHERE id IN (SELECT i.id FROM intents i WHERE i.id IN {dialect.numbers(':ids')} "
        f"AND {_NEEDED_BY_NOBODY} ORDER BY i.id {dialect.locking_job}) RETURNING id",
        {"ids": intent_ids, "before": before},
    )
    return len(rows)
