"""The end of a move: whether all has come across, and what was kept for the way back is forgotten."""

from typing import NamedTuple

from loyalty_gateway.ledger.following.sides import OF_MOVE, Route
from loyalty_gateway.ledger.statements import Statement, Work, only


class Waiting(NamedTuple):
    """What the new side has not heard of yet: by how much of each kind."""

    follow_ups: int
    parked: int
    balances: int


def not_come_across(merchant_id: int, route: Route) -> Work[Waiting]:
    """What was done at the old side, and is not at the new one."""
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor}
    counts = []
    for kind, more in (
        ("intents WHERE follow = 1 AND upstream = :old", {"old": route.old}),
        ("parked_follow_ups WHERE side = 'new'", {}),
        ("followed WHERE pending IS NOT NULL", {}),
    ):
        rows = yield Statement(f"SELECT count(*) FROM {kind} AND {OF_MOVE}", named | more)
        counts.append(int(only(rows)[0]))
    return Waiting(*counts)


def give_up_the_way_back(merchant_id: int, vendor: str) -> Work[None]:
    """Forgets all that was kept so that the old side could be brought up."""
    named = {"merchant_id": merchant_id, "vendor": vendor}
    yield Statement(f"UPDATE intents SET follow = 0 WHERE {OF_MOVE} AND follow = 1", named)
    yield Statement(f"DELETE FROM parked_follow_ups WHERE {OF_MOVE}", named)
    yield Statement(f"DELETE FROM followed WHERE {OF_MOVE}", named)
