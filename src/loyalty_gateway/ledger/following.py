"""What was done at one side of a move and is to follow at the other: the durable outbox, and how far it is.

At an upstream the intents that are to follow are the outbox. At the ledger here it is a wallet's entries beyond
the version that ``followed`` has; versions have no gap, so nothing is passed over in whichever order transactions
commit. A customer without such a version is not **taken over** yet: their balance at the new side is still to be
set.
"""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from loyalty_gateway import engine
from loyalty_gateway.adjustment import Adjustment, CustomerReference, Lifetime, Merchant, Overdraft, Wallet
from loyalty_gateway.ledger.importing import VENDOR as IMPORTED
from loyalty_gateway.ledger.intents import FOLLOWER
from loyalty_gateway.ledger.jobs import catch_up, entry_ids
from loyalty_gateway.ledger.reading import Reader
from loyalty_gateway.ledger.statements import Dialect, Insert, Statement, Update, Work, only
from loyalty_gateway.ledger.tables import (
    ENTRIES,
    WALLET_COLUMNS,
    WALLETS,
    row_of_entry,
    row_of_wallet,
    wallet_of,
)
from loyalty_gateway.problem import Code

TAKEN_OVER: Final = "Balance taken over"
FOREVER: Final = 2**62
"""A time that does not come, in microseconds since the epoch."""

_AT_ONCE: Final = 100
_ALL: Final = 10_000_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Adjustment).decode
_EARNS_NOTHING: Final = Lifetime.UNTOUCHED


class Side(enum.StrEnum):
    """One of the two backends of a move."""

    OLD = "old"
    NEW = "new"

    @property
    def other(self) -> "Side":
        """The side that follows this one."""
        return Side.NEW if self is Side.OLD else Side.OLD


class Route(NamedTuple):
    """A merchant's move: by its vendor, and the upstreams' names; ``new`` is ``None`` for the ledger here."""

    vendor: str
    old: str
    new: str | None

    def upstream(self, side: Side) -> str | None:
        """The name of the side's upstream; ``None`` for the ledger here."""
        return self.old if side is Side.OLD else self.new


class Backlog(NamedTuple):
    """What was done at one side for a customer and has not followed at the other.

    ``ready`` can follow now, ``under_way`` is not settled, and of ``stuck`` nobody knows what came of it.
    """

    ready: int = 0
    under_way: int = 0
    stuck: int = 0


class Standing(NamedTuple):
    """How it stands with a customer: ``beyond`` has what waits to come from each side.

    ``version`` is ``None`` for one who is not taken over; ``pending`` are the points by which the new balance is
    being set. ``parked`` are those that could not follow at the old side.
    """

    wallet_id: int
    version: int | None
    batch: str | None
    pending: int | None
    pending_key: str | None
    beyond: dict[Side, Backlog]
    parked: int


class Seen(NamedTuple):
    """By what one sees whether anything was asked for at an upstream for a customer, or moved here, in between.

    ``numbers`` is the sum of the ``intents``' own, so that an old one that is forgotten hides no new one.
    """

    intents: int
    numbers: int
    unnamed: int
    unsettled: int
    version: int


class FollowUp(NamedTuple):
    """One adjustment that is to follow, as it took effect; ``source`` is the intent's number, or the version."""

    key: str
    source: int
    adjustment: Adjustment
    is_parked: bool = False


def wallet_id_of(dialect: Dialect, merchant_id: int, reference: CustomerReference) -> Work[int]:
    """The customer's number; 0 for one whom the ledger has not met."""
    wallet = yield from Reader(dialect, merchant_id).wallet(reference)
    return 0 if wallet is None else wallet.id


def standing(_dialect: Dialect, merchant_id: int, route: Route, wallet_id: int) -> Work[Standing]:
    """How it stands with a customer of the ledger."""
    named = {"merchant_id": merchant_id, "vendor": route.vendor, "wallet_id": wallet_id}
    rows = yield Statement(
        "SELECT version, batch, pending, pending_key FROM followed "
        "WHERE merchant_id = :merchant_id AND vendor = :vendor AND wallet_id = :wallet_id",
        named,
    )
    version, batch, pending, pending_key = rows[0] if rows else (None, None, None, None)
    beyond = {Side.OLD: Backlog(), Side.NEW: Backlog()}
    rows = yield Statement(
        "SELECT upstream, state, count(*) FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND follow = 1 GROUP BY upstream, state",
        named,
    )
    for upstream, state, count in rows:
        side = Side.OLD if upstream == route.old else Side.NEW
        beyond[side] = _more(beyond[side], state, int(count))
    if route.new is None:
        before = (yield from _before_led(merchant_id, route, wallet_id)) if version is None else version
        ready = 0 if before is None else (yield from _entries_beyond(merchant_id, wallet_id, before))
        beyond[Side.NEW] = beyond[Side.NEW]._replace(ready=beyond[Side.NEW].ready + ready)
    parked = 0
    rows = yield Statement(
        "SELECT side, state, count(*) FROM parked_follow_ups WHERE merchant_id = :merchant_id "
        "AND vendor = :vendor AND wallet_id = :wallet_id GROUP BY side, state",
        named,
    )
    for told, state, count in rows:
        side = Side(told).other
        if state == "waiting":
            beyond[side] = beyond[side]._replace(ready=beyond[side].ready + int(count))
        elif told == Side.OLD:
            parked += int(count)
    if pending is not None:
        beyond[Side.OLD] = beyond[Side.OLD]._replace(ready=beyond[Side.OLD].ready + 1)
    return Standing(wallet_id, version, batch, pending, pending_key, beyond, parked)


def _more(backlog: Backlog, state: str, count: int) -> Backlog:
    match state:
        case "done":
            return backlog._replace(ready=backlog.ready + count)
        case "unclear" | "parked":
            return backlog._replace(stuck=backlog.stuck + count)
        case _:
            return backlog._replace(under_way=backlog.under_way + count)


def _entries_beyond(merchant_id: int, wallet_id: int, version: int) -> Work[int]:
    rows = yield Statement(
        "SELECT count(*) FROM entries WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id "
        "AND version > :version AND vendor <> :follower AND vendor <> :imported",
        {
            "merchant_id": merchant_id,
            "wallet_id": wallet_id,
            "version": version,
            "follower": FOLLOWER,
            "imported": IMPORTED,
        },
    )
    return int(only(rows)[0])


def _led_since(merchant_id: int, vendor: str) -> Work[int | None]:
    """Since when the new side has led for anybody, in microseconds.

    Whoever went back to where neither side follows is taken over anew, so what was before that does not count.
    """
    rows = yield Statement(
        "SELECT min(c.changed_at) FROM migration_changes c "
        "WHERE c.merchant_id = :merchant_id AND c.vendor = :vendor AND c.stage IN ('lead', 'done') "
        "AND c.number > (SELECT coalesce(max(b.number), 0) FROM migration_changes b "
        "WHERE b.merchant_id = :merchant_id AND b.vendor = :vendor "
        "AND (b.stage IN ('observe', 'shadow') OR (b.stage = 'mirror' AND b.percent < 100)))",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    (since,) = only(rows)
    return None if since is None else int(since)


def _before_led(merchant_id: int, route: Route, wallet_id: int) -> Work[int | None]:
    """The wallet's version before what was first asked for here since the new side led; ``None`` without any."""
    since = yield from _led_since(merchant_id, route.vendor)
    if since is None:
        return None
    rows = yield Statement(
        "SELECT min(version) FROM entries WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id "
        "AND vendor = :vendor AND occurred_at >= :since",
        {"merchant_id": merchant_id, "wallet_id": wallet_id, "vendor": route.vendor, "since": since},
    )
    (first,) = only(rows)
    return None if first is None else int(first) - 1


def earlier_side(
    _dialect: Dialect, merchant_id: int, route: Route, key: str | None, likeness: bytes, keep_since: int
) -> Work[Side | None]:
    """Where the same request was carried out before, or is being; ``None`` for a new one."""
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor}
    if key is None:
        rows = yield Statement(
            "SELECT upstream FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
            "AND likeness = :likeness AND idempotency_key IS NULL AND parent IS NULL AND settled_at IS NULL",
            named | {"likeness": likeness},
        )
        return _side(route, rows[0][0]) if rows else None
    rows = yield Statement(
        "SELECT upstream FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND idempotency_key = :key AND state <> 'refused' AND (settled_at IS NULL OR settled_at >= :keep_since)",
        named | {"key": key, "keep_since": keep_since},
    )
    if rows:
        return _side(route, rows[0][0])
    if route.new is None:
        rows = yield Statement(
            "SELECT 1 FROM idempotency_keys WHERE merchant_id = :merchant_id AND vendor = :vendor AND key = :key",
            named | {"key": key},
        )
        if rows:
            return Side.NEW
    return None


def _side(route: Route, upstream: str) -> Side:
    return Side.OLD if upstream == route.old else Side.NEW


# Who follows whom.


def waiting_customers(
    _dialect: Dialect, merchant_id: int, route: Route, *, sweeps: bool, now: int, until: int = FOREVER
) -> Work[list[int]]:
    """The numbers of customers for whom something can follow; 0 among them for some whom nobody has met.

    Whose entries here have not followed is looked for among all only where it ``sweeps``. What began after
    ``until`` does not count, nor does what waits for a customer whom somebody is at, or who is to be tried later.
    """
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor, "now": now}
    is_due = (
        "NOT EXISTS (SELECT 1 FROM followed f WHERE f.merchant_id = :merchant_id AND f.vendor = :vendor "
        "AND f.wallet_id = o.wallet_id AND f.due_at > :now)"
    )
    rows = yield Statement(
        "SELECT DISTINCT o.wallet_id FROM intents o WHERE o.merchant_id = :merchant_id AND o.vendor = :vendor "
        f"AND o.follow = 1 AND o.state = 'done' AND o.created_at <= :until AND {is_due}",
        named | {"until": until},
    )
    found = {int(number or 0) for (number,) in rows}
    rows = yield Statement(
        "SELECT o.wallet_id FROM parked_follow_ups o WHERE o.merchant_id = :merchant_id AND o.vendor = :vendor "
        f"AND o.state = 'waiting' AND {is_due}",
        named,
    )
    found |= {int(number) for (number,) in rows}
    if sweeps:
        rows = yield Statement(
            "SELECT f.wallet_id FROM followed f JOIN wallets w "
            "ON w.merchant_id = f.merchant_id AND w.id = f.wallet_id "
            "WHERE f.merchant_id = :merchant_id AND f.vendor = :vendor "
            "AND (f.pending IS NOT NULL OR (f.version IS NOT NULL AND w.version > f.version AND EXISTS ("
            "SELECT 1 FROM entries e WHERE e.merchant_id = w.merchant_id AND e.wallet_id = w.id "
            "AND e.version = f.version + 1 AND e.occurred_at <= :until)))",
            named | {"until": until},
        )
        found |= {int(number) for (number,) in rows}
        if route.new is None and until == FOREVER:
            found |= yield from _come_here(merchant_id, route.vendor)
    return sorted(found)


def _come_here(merchant_id: int, vendor: str) -> Work[set[int]]:
    """Those whom the new side, which is here, led for before they were taken over."""
    since = yield from _led_since(merchant_id, vendor)
    if since is None:
        return set()
    rows = yield Statement(
        "SELECT w.id FROM wallets w WHERE w.merchant_id = :merchant_id AND w.version > 0 "
        "AND NOT EXISTS (SELECT 1 FROM followed f WHERE f.merchant_id = w.merchant_id AND f.vendor = :vendor "
        "AND f.wallet_id = w.id AND f.version IS NOT NULL) "
        "AND EXISTS (SELECT 1 FROM entries e WHERE e.merchant_id = w.merchant_id AND e.wallet_id = w.id "
        "AND e.vendor = :vendor AND e.occurred_at >= :since)",
        {"merchant_id": merchant_id, "vendor": vendor, "since": since},
    )
    return {int(number) for (number,) in rows}


def unnamed(_dialect: Dialect, merchant_id: int, route: Route) -> Work[list[tuple[int, Adjustment]]]:
    """Intents that are to follow for customers whom the ledger had not met, by their numbers."""
    rows = yield Statement(
        "SELECT id, adjustment FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = 0 AND follow = 1 AND state = 'done' ORDER BY id LIMIT :at_most",
        {"merchant_id": merchant_id, "vendor": route.vendor, "at_most": _AT_ONCE},
    )
    return [(int(number), _decode(adjustment)) for number, adjustment in rows]


def name_intent(intent_id: int, wallet_id: int) -> Work[None]:
    """Tells of an intent whose points they are."""
    yield Statement(
        "UPDATE intents SET wallet_id = :wallet_id WHERE id = :id", {"id": intent_id, "wallet_id": wallet_id}
    )


def claim(  # noqa: PLR0913, PLR0917 - whose, and by whom until when
    merchant_id: int, vendor: str, wallet_id: int, owner: str, now: int, until: int
) -> Work[int | None]:
    """Takes a customer up, whom nobody else then takes up before ``until``; the tries in vain, ``None`` if not."""
    named = {"merchant_id": merchant_id, "vendor": vendor, "wallet_id": wallet_id}
    yield from _make_followed(merchant_id, vendor, wallet_id)
    rows = yield Statement(
        "UPDATE followed SET owner = :owner, due_at = :until WHERE merchant_id = :merchant_id "
        "AND vendor = :vendor AND wallet_id = :wallet_id AND (due_at <= :now OR owner = :owner) "
        "RETURNING tries",
        named | {"owner": owner, "now": now, "until": until},
    )
    return int(rows[0][0]) if rows else None


def _make_followed(merchant_id: int, vendor: str, wallet_id: int) -> Work[None]:
    yield Statement(
        "INSERT INTO followed (merchant_id, vendor, wallet_id, due_at, tries) "
        "VALUES (:merchant_id, :vendor, :wallet_id, 0, 0) ON CONFLICT (merchant_id, vendor, wallet_id) DO NOTHING",
        {"merchant_id": merchant_id, "vendor": vendor, "wallet_id": wallet_id},
    )


def _hold(merchant_id: int, vendor: str, wallet_id: int) -> Work[None]:
    """Keeps everybody else from bringing anything over for a customer until the transaction ends."""
    yield from _make_followed(merchant_id, vendor, wallet_id)
    yield Statement(
        "UPDATE followed SET batch = batch WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id",
        {"merchant_id": merchant_id, "vendor": vendor, "wallet_id": wallet_id},
    )


def release(  # noqa: PLR0913 - whose, and from when on
    merchant_id: int, vendor: str, wallet_id: int, owner: str, *, due_at: int, in_vain: bool
) -> Work[None]:
    """Lets go of a customer, who may be taken up again from ``due_at``."""
    yield Statement(
        "UPDATE followed SET owner = NULL, due_at = :due_at, "
        f"tries = {'tries + 1' if in_vain else '0'} WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND owner = :owner",
        {"merchant_id": merchant_id, "vendor": vendor, "wallet_id": wallet_id, "owner": owner, "due_at": due_at},
    )


# What follows.


def follow_ups(  # noqa: PLR0913 - whose, where to, how many, until when
    _dialect: Dialect,
    merchant_id: int,
    route: Route,
    wallet_id: int,
    to: Side,
    *,
    at_most: int = _AT_ONCE,
    until: int = FOREVER,
) -> Work[list[FollowUp]]:
    """What can follow at a side for a customer, in order: first what a person wants tried again.

    What began after ``until`` is left out.
    """
    named: dict[str, object] = {
        "merchant_id": merchant_id,
        "vendor": route.vendor,
        "wallet_id": wallet_id,
        "at_most": at_most,
        "until": until,
    }
    rows = yield Statement(
        "SELECT key, adjustment FROM parked_follow_ups WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND side = :side AND state = 'waiting' ORDER BY parked_at LIMIT :at_most",
        named | {"side": to.value},
    )
    found = [FollowUp(key, 0, _decode(adjustment), is_parked=True) for key, adjustment in rows]
    source = route.upstream(to.other)
    if source is None:
        found += yield from _entries(named)
        return found
    rows = yield Statement(
        "SELECT id, mark, adjustment, outcome FROM intents WHERE merchant_id = :merchant_id "
        "AND vendor = :vendor AND wallet_id = :wallet_id AND upstream = :source AND follow = 1 "
        "AND state = 'done' AND created_at <= :until ORDER BY settled_at, id LIMIT :at_most",
        named | {"source": source},
    )
    for number, mark, asked, outcome in rows:
        delta = msgspec.json.decode(outcome).get("points_delta", 0)
        adjustment = msgspec.structs.replace(
            _decode(asked), points_delta=delta, overdraft=Overdraft.REFUSE, idempotency_key=None, named_by=None
        )
        found.append(FollowUp(mark, int(number), adjustment))
    return found


def _entries(named: Mapping[str, object]) -> Work[list[FollowUp]]:
    """The wallet's entries that are to follow, and those between that only move the place."""
    rows = yield Statement(
        "SELECT e.version, e.vendor, e.points_delta, e.earned_delta, e.burned_delta, e.reason, e.visible "
        "FROM followed f JOIN entries e ON e.merchant_id = f.merchant_id AND e.wallet_id = f.wallet_id "
        "AND e.version > f.version "
        "WHERE f.merchant_id = :merchant_id AND f.vendor = :vendor AND f.wallet_id = :wallet_id "
        "AND e.occurred_at <= :until ORDER BY e.version LIMIT :at_most",
        named,
    )
    found = []
    for version, vendor, delta, earned, burned, reason, visible in rows:
        follows = vendor not in {FOLLOWER, IMPORTED}
        adjustment = Adjustment(
            customers=(),
            points_delta=delta if follows else 0,
            lifetime=_lifetime(delta, earned, burned),
            reason=reason,
            visible=visible == 1,
        )
        found.append(FollowUp(f"{named['vendor']}-{named['wallet_id']}-{version}", int(version), adjustment))
    return found


def _lifetime(delta: int, earned: int, burned: int) -> Lifetime:
    """By which rule an entry moved the counters."""
    if earned < 0:
        return Lifetime.NET_EARNED
    if delta > 0:
        return Lifetime.EARN_AND_BURN if earned else _EARNS_NOTHING
    return Lifetime.EARN_AND_BURN if burned else _EARNS_NOTHING


def followed_up(merchant_id: int, route: Route, wallet_id: int, to: Side, done: FollowUp) -> Work[bool]:
    """Takes one out of the outbox; whether it was still in it."""
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor}
    if done.is_parked:
        rows = yield Statement(
            "DELETE FROM parked_follow_ups WHERE merchant_id = :merchant_id AND vendor = :vendor AND key = :key "
            "RETURNING key",
            named | {"key": done.key},
        )
    elif route.upstream(to.other) is not None:
        rows = yield Statement(
            "UPDATE intents SET follow = 0 WHERE id = :id AND follow = 1 RETURNING id", {"id": done.source}
        )
    else:
        rows = yield Statement(
            "UPDATE followed SET version = :version WHERE merchant_id = :merchant_id AND vendor = :vendor "
            "AND wallet_id = :wallet_id AND version = :before RETURNING version",
            named | {"wallet_id": wallet_id, "version": done.source, "before": done.source - 1},
        )
    return bool(rows)


def is_waiting(  # noqa: PLR0913, PLR0917 - whose, what and where
    dialect: Dialect, merchant_id: int, route: Route, wallet_id: int, to: Side, one: FollowUp
) -> Work[bool]:
    """Whether one is still in the outbox; nobody takes the customer over until the transaction ends."""
    yield from _lock(dialect, merchant_id, route, wallet_id)
    named: dict[str, object] = {"merchant_id": merchant_id, "vendor": route.vendor}
    if one.is_parked:
        rows = yield Statement(
            "SELECT 1 FROM parked_follow_ups WHERE merchant_id = :merchant_id AND vendor = :vendor "
            "AND key = :key AND state = 'waiting'",
            named | {"key": one.key},
        )
    elif route.upstream(to.other) is not None:
        rows = yield Statement("SELECT 1 FROM intents WHERE id = :id AND follow = 1", {"id": one.source})
    else:
        rows = yield Statement(
            "SELECT 1 FROM followed WHERE merchant_id = :merchant_id AND vendor = :vendor "
            "AND wallet_id = :wallet_id AND version = :before",
            named | {"wallet_id": wallet_id, "before": one.source - 1},
        )
    return bool(rows)


def _lock(dialect: Dialect, merchant_id: int, route: Route, wallet_id: int) -> Work[None]:
    yield Statement(
        "SELECT 1 FROM followed WHERE merchant_id = :merchant_id AND vendor = :vendor "
        f"AND wallet_id = :wallet_id {dialect.sharing}",
        {"merchant_id": merchant_id, "vendor": route.vendor, "wallet_id": wallet_id},
    )


def follow_here(  # noqa: PLR0913, PLR0917 - whose, what and when
    dialect: Dialect, merchant: Merchant, merchant_id: int, route: Route, wallet_id: int, one: FollowUp, now: int
) -> Work[bool]:
    """Brings one to the ledger here and out of the outbox, both or neither; raises Problem."""
    yield from _lock(dialect, merchant_id, route, wallet_id)
    if not (yield from followed_up(merchant_id, route, wallet_id, Side.NEW, one)):
        return False
    if one.adjustment.points_delta:
        yield from _move(dialect, merchant, merchant_id, route, wallet_id, one, now)
    return True


def _move(  # noqa: PLR0913, PLR0917 - as above
    dialect: Dialect, merchant: Merchant, merchant_id: int, route: Route, wallet_id: int, one: FollowUp, now: int
) -> Work[Wallet]:
    before = yield from _held(dialect, merchant_id, wallet_id)
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
    yield Insert(ENTRIES, [row_of_entry(merchant_id, entry)])
    yield Statement(
        "UPDATE followed SET version = :after WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND version = :before",
        {
            "merchant_id": merchant_id,
            "vendor": route.vendor,
            "wallet_id": wallet_id,
            "after": after.version,
            "before": before.version,
        },
    )
    return after


def _held(dialect: Dialect, merchant_id: int, wallet_id: int) -> Work[Wallet]:
    rows = yield Statement(
        f"SELECT {WALLET_COLUMNS} FROM wallets w WHERE w.merchant_id = :merchant_id AND w.id = :wallet_id "
        f"{dialect.locking_wallets}",
        {"merchant_id": merchant_id, "wallet_id": wallet_id},
    )
    wallet = wallet_of(only(rows))
    caught_up = yield from catch_up(dialect, merchant_id, [wallet])
    return caught_up.get(wallet_id, wallet)


def park(  # noqa: PLR0913, PLR0917 - whose, what and why
    merchant_id: int, route: Route, wallet_id: int, to: Side, one: FollowUp, code: Code, now: int
) -> Work[None]:
    """Puts one that was refused aside, where a person finds it."""
    if not (yield from followed_up(merchant_id, route, wallet_id, to, one)):
        return
    yield Statement(_PARK, _parked_row(merchant_id, route, wallet_id, to, one, code) | {"now": now})


_PARK: Final = (
    "INSERT INTO parked_follow_ups "
    "(merchant_id, vendor, key, wallet_id, side, adjustment, code, state, parked_at) "
    "VALUES (:merchant_id, :vendor, :key, :wallet_id, :side, :adjustment, :code, 'parked', :now) "
    "ON CONFLICT (merchant_id, vendor, key) DO UPDATE SET code = excluded.code, state = 'parked'"
)


def _parked_row(  # noqa: PLR0913, PLR0917 - as above
    merchant_id: int, route: Route, wallet_id: int, to: Side, one: FollowUp, code: Code
) -> dict[str, object]:
    return {
        "merchant_id": merchant_id,
        "vendor": route.vendor,
        "key": one.key,
        "wallet_id": wallet_id,
        "side": to.value,
        "adjustment": _encode(one.adjustment).decode(),
        "code": code.value,
    }


class Parked(NamedTuple):
    """One that could not follow; ``side`` is where."""

    key: str
    wallet_id: int
    side: Side
    adjustment: Adjustment
    code: Code
    is_waiting: bool


def parked(_dialect: Dialect, merchant_id: int, vendor: str) -> Work[list[Parked]]:
    """All that could not follow."""
    rows = yield Statement(
        "SELECT key, wallet_id, side, adjustment, code, state FROM parked_follow_ups "
        "WHERE merchant_id = :merchant_id AND vendor = :vendor ORDER BY parked_at, key",
        {"merchant_id": merchant_id, "vendor": vendor},
    )
    return [
        Parked(key, int(wallet_id), Side(side), _decode(adjustment), Code(code), state == "waiting")
        for key, wallet_id, side, adjustment, code, state in rows
    ]


def parked_for(_dialect: Dialect, merchant_id: int, vendor: str, wallet_id: int) -> Work[int]:
    """How many could not follow for a customer."""
    rows = yield Statement(
        "SELECT count(*) FROM parked_follow_ups WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND state = 'parked'",
        {"merchant_id": merchant_id, "vendor": vendor, "wallet_id": wallet_id},
    )
    return int(only(rows)[0])


def settle_parked(merchant_id: int, vendor: str, key: str, *, retries: bool) -> Work[bool]:
    """Has one that was parked tried again, or forgets it; whether there is one with that key."""
    change = "UPDATE parked_follow_ups SET state = 'waiting'" if retries else "DELETE FROM parked_follow_ups"
    rows = yield Statement(
        f"{change} WHERE merchant_id = :merchant_id AND vendor = :vendor AND key = :key RETURNING key",
        {"merchant_id": merchant_id, "vendor": vendor, "key": key},
    )
    return bool(rows)


# Ending.


class Waiting(NamedTuple):
    """What the new side has not heard of yet: by how much of each kind."""

    follow_ups: int
    parked: int
    balances: int


def not_come_across(merchant_id: int, route: Route) -> Work[Waiting]:
    """What was done at the old side, and is not at the new one."""
    named = {"merchant_id": merchant_id, "vendor": route.vendor}
    counts = []
    for kind in (
        "intents WHERE follow = 1 AND upstream = :old AND",
        "parked_follow_ups WHERE side = 'new' AND",
        "followed WHERE pending IS NOT NULL AND",
    ):
        rows = yield Statement(
            f"SELECT count(*) FROM {kind} merchant_id = :merchant_id AND vendor = :vendor",
            named | ({"old": route.old} if ":old" in kind else {}),
        )
        counts.append(int(only(rows)[0]))
    return Waiting(*counts)


def give_up_the_way_back(merchant_id: int, vendor: str) -> Work[None]:
    """Forgets all that was kept so that the old side could be brought up."""
    named = {"merchant_id": merchant_id, "vendor": vendor}
    whose = "merchant_id = :merchant_id AND vendor = :vendor"
    yield Statement(f"UPDATE intents SET follow = 0 WHERE {whose} AND follow = 1", named)
    yield Statement(f"DELETE FROM parked_follow_ups WHERE {whose}", named)
    yield Statement(f"DELETE FROM followed WHERE {whose}", named)


# Taking a customer over.


def seen(_dialect: Dialect, merchant_id: int, wallet_id: int) -> Work[Seen]:
    """How it stands with what was asked for at upstreams for a customer, and with their wallet here.

    What was asked for before the ledger had met somebody counts for everybody.
    """
    named = {"merchant_id": merchant_id, "wallet_id": wallet_id}
    (intents, numbers) = only(
        (
            yield Statement(
                "SELECT count(*), coalesce(sum(id), 0) FROM intents "
                "WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id",
                named,
            )
        )
    )
    unnamed_last = 0
    for unnamed_is in ("wallet_id = 0", "wallet_id IS NULL"):
        rows = yield Statement(
            f"SELECT coalesce(max(id), 0) FROM intents WHERE merchant_id = :merchant_id AND {unnamed_is}",
            {"merchant_id": merchant_id},
        )
        unnamed_last = max(unnamed_last, int(only(rows)[0]))
    rows = yield Statement(
        "SELECT count(*) FROM intents WHERE settled_at IS NULL AND merchant_id = :merchant_id "
        "AND (wallet_id = :wallet_id OR wallet_id = 0 OR wallet_id IS NULL)",
        named,
    )
    unsettled = int(only(rows)[0])
    rows = yield Statement(
        "SELECT version FROM wallets WHERE merchant_id = :merchant_id AND id = :wallet_id", named
    )
    version = int(rows[0][0]) if rows else 0
    return Seen(int(intents), int(numbers), unnamed_last, unsettled, version)


def take_over(  # noqa: PLR0913, PLR0917 - whose, what was seen, and what is to be so
    dialect: Dialect,
    merchant: Merchant,
    merchant_id: int,
    route: Route,
    wallet_id: int,
    before: Seen,
    old_balance: int | None,
    new_balance: int | None,
    batch: str | None,
    key: str,
    *,
    follows: bool,
    now: int,
) -> Work[int | None]:
    """Sets the new balance to the old one, which was read between ``before`` and now; the points that takes.

    ``None`` where something is under way or has happened meanwhile: what was read means nothing then. What was to
    follow is in the balance, and follows no more. At an upstream, whose ``new_balance`` was read, the points are
    written down as pending; here they are moved. Whom the old side does not know (``None``) keeps what they have.
    Who ``follows`` from now on is taken over.
    """
    yield from _hold(merchant_id, route.vendor, wallet_id)
    wallet = yield from _held(dialect, merchant_id, wallet_id)
    # Before it is seen that nothing has begun: what begins and ends behind that is in no balance that was read.
    rows = yield Statement(
        "SELECT id FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND follow = 1 AND upstream = :old AND settled_at IS NOT NULL",
        {"merchant_id": merchant_id, "vendor": route.vendor, "wallet_id": wallet_id, "old": route.old},
    )
    covered = tuple(int(number) for (number,) in rows)
    present = yield from seen(dialect, merchant_id, wallet_id)
    stand = yield from standing(dialect, merchant_id, route, wallet_id)
    comes_back = stand.beyond[Side.NEW] != Backlog()
    if present != before or present.unsettled or comes_back or stand.parked or stand.pending is not None:
        return None
    available = wallet.available if new_balance is None else new_balance
    delta = 0 if old_balance is None else old_balance - available
    named: dict[str, object] = {
        "merchant_id": merchant_id,
        "vendor": route.vendor,
        "wallet_id": wallet_id,
    }
    if delta and new_balance is None:
        adjustment = Adjustment(customers=(), points_delta=delta, lifetime=Lifetime.UNTOUCHED, reason=TAKEN_OVER)
        moved = FollowUp(key, 0, adjustment)
        wallet = yield from _move(dialect, merchant, merchant_id, route, wallet_id, moved, now)
    yield Statement(
        f"UPDATE followed SET version = {':version' if follows else 'NULL'}, batch = coalesce(:batch, batch) "
        "WHERE merchant_id = :merchant_id AND vendor = :vendor AND wallet_id = :wallet_id",
        named | {"batch": batch} | ({"version": wallet.version} if follows else {}),
    )
    if delta and new_balance is not None:
        yield Statement(
            "UPDATE followed SET pending = :pending, pending_key = :key "
            "WHERE merchant_id = :merchant_id AND vendor = :vendor AND wallet_id = :wallet_id",
            named | {"pending": delta, "key": key},
        )
    yield Statement(
        f"UPDATE intents SET follow = 0 WHERE follow = 1 AND id IN {dialect.numbers(':covered')}",
        {"covered": covered},
    )
    yield Statement(
        "DELETE FROM parked_follow_ups WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND side = 'new'",
        named,
    )
    return delta


def leave_as_they_are(dialect: Dialect, merchant_id: int, route: Route, wallet_id: int) -> Work[None]:
    """Takes somebody over for whom the new side led before: each side keeps the balance that it has.

    What was done at either side and waits follows at the other, as what comes does.
    """
    yield from _hold(merchant_id, route.vendor, wallet_id)
    wallet = yield from _held(dialect, merchant_id, wallet_id)
    before = (yield from _before_led(merchant_id, route, wallet_id)) if route.new is None else None
    yield Statement(
        "UPDATE followed SET version = :version WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND version IS NULL",
        {
            "merchant_id": merchant_id,
            "vendor": route.vendor,
            "wallet_id": wallet_id,
            "version": wallet.version if before is None else before,
        },
    )


def taken_over(merchant_id: int, vendor: str, wallet_id: int, key: str) -> Work[None]:
    """The pending points have been moved at the new side."""
    yield Statement(
        "UPDATE followed SET pending = NULL, pending_key = NULL WHERE merchant_id = :merchant_id "
        "AND vendor = :vendor AND wallet_id = :wallet_id AND pending_key = :key",
        {"merchant_id": merchant_id, "vendor": vendor, "wallet_id": wallet_id, "key": key},
    )


def follower_outcome(_dialect: Dialect, merchant_id: int, key: str) -> Work[bool]:
    """Whether the follow-up with this key was carried out at an upstream, however long ago."""
    rows = yield Statement(
        "SELECT 1 FROM intents WHERE merchant_id = :merchant_id AND vendor = :follower "
        "AND idempotency_key = :key AND state = 'done'",
        {"merchant_id": merchant_id, "follower": FOLLOWER, "key": key},
    )
    return bool(rows)


class Moment(NamedTuple):
    """How it stands with a customer before the sides are read.

    By ``waits`` the old balance lies above the new one, since that has not followed. Of what is ``unsettled``, of
    the intents behind ``first`` that are not among the ``settled`` ones, which are the latest, and of the entries
    behind the ``version`` a reading may know or not. Numbers tell nothing of the order in which they came.
    """

    waits: int
    unsettled: tuple[int, ...]
    settled: frozenset[int]
    first: int
    version: int


def moment(dialect: Dialect, merchant_id: int, route: Route, wallet_id: int) -> Work[Moment]:
    """How it stands with a customer now."""
    named = {"merchant_id": merchant_id, "vendor": route.vendor, "wallet_id": wallet_id}
    waits = 0
    for to, sign in ((Side.NEW, 1), (Side.OLD, -1)):
        found = yield from follow_ups(dialect, merchant_id, route, wallet_id, to, at_most=_ALL)
        brought = yield from _brought(dialect, merchant_id, tuple(one.key for one in found))
        waits += sign * sum(one.adjustment.points_delta or 0 for one in found if one.key not in brought)
    rows = yield Statement(
        "SELECT pending, pending_key FROM followed WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND wallet_id = :wallet_id AND pending IS NOT NULL",
        named,
    )
    for points, key in rows:
        brought = yield from _brought(dialect, merchant_id, (key,))
        waits += 0 if brought else int(points)
    rows = yield Statement(
        "SELECT id FROM intents "
        "WHERE settled_at IS NULL AND merchant_id = :merchant_id AND wallet_id = :wallet_id",
        named,
    )
    unsettled = tuple(int(number) for (number,) in rows)
    rows = yield Statement(
        "SELECT id FROM intents WHERE settled_at IS NOT NULL AND merchant_id = :merchant_id "
        "AND wallet_id = :wallet_id ORDER BY id DESC LIMIT :at_most",
        {"merchant_id": merchant_id, "wallet_id": wallet_id, "at_most": _AT_ONCE},
    )
    settled = frozenset(int(number) for (number,) in rows)
    present = yield from seen(dialect, merchant_id, wallet_id)
    # Where these are all, whatever else turns up was not among them, however small its number is.
    first = min(settled) if len(settled) == _AT_ONCE else 0
    return Moment(waits, unsettled, settled, first, present.version)


def _brought(dialect: Dialect, merchant_id: int, keys: tuple[str, ...]) -> Work[set[str]]:
    """Those of the keys by which something was carried out at an upstream, and is about to leave the outbox."""
    rows = yield Statement(
        "SELECT idempotency_key FROM intents WHERE merchant_id = :merchant_id AND vendor = :follower "
        f"AND state = 'done' AND idempotency_key IN {dialect.texts(':keys')}",
        {"merchant_id": merchant_id, "follower": FOLLOWER, "keys": keys},
    )
    return {str(key) for (key,) in rows}


def uncertain_points(
    dialect: Dialect, merchant_id: int, route: Route, wallet_id: int, since: Moment
) -> Work[list[int]]:
    """By how much each adjustment moves the old balance above the new one of which a reading may know or not."""
    rows = yield Statement(
        "SELECT id, upstream, adjustment, outcome FROM intents WHERE merchant_id = :merchant_id "
        f"AND wallet_id = :wallet_id AND (id > :first OR id IN {dialect.numbers(':unsettled')}) "
        "ORDER BY id DESC LIMIT :at_most",
        {
            "merchant_id": merchant_id,
            "wallet_id": wallet_id,
            "first": since.first,
            "unsettled": since.unsettled,
            "at_most": 3 * _AT_ONCE,
        },
    )
    found = []
    for number, upstream, adjustment, outcome in rows:
        if int(number) in since.settled:
            continue
        asked = _decode(adjustment).points_delta
        points = asked if outcome is None else msgspec.json.decode(outcome).get("points_delta", 0)
        found.append((1 if upstream == route.old else -1) * (points or 0))
    if route.new is None:
        rows = yield Statement(
            "SELECT points_delta FROM entries WHERE merchant_id = :merchant_id AND wallet_id = :wallet_id "
            "AND version > :version ORDER BY version LIMIT :at_most",
            {
                "merchant_id": merchant_id,
                "wallet_id": wallet_id,
                "version": since.version,
                "at_most": _AT_ONCE,
            },
        )
        found += [-int(points) for (points,) in rows]
    return found


def park_pending(merchant_id: int, route: Route, stand: Standing, code: Code, now: int) -> Work[None]:
    """Puts points aside by which the new balance could not be set."""
    assert stand.pending_key is not None
    adjustment = Adjustment(
        customers=(), points_delta=stand.pending, lifetime=Lifetime.UNTOUCHED, reason=TAKEN_OVER
    )
    yield from taken_over(merchant_id, route.vendor, stand.wallet_id, stand.pending_key)
    yield Statement(
        _PARK,
        _parked_row(
            merchant_id, route, stand.wallet_id, Side.NEW, FollowUp(stand.pending_key, 0, adjustment), code
        )
        | {"now": now},
    )
