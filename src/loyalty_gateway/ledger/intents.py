"""What is to be carried out at an upstream, written down durably before it is asked for there.

An intent is **open** while a gateway is at it, **unclear** where what came of it is not known, **parked** where
only a person can tell, and **waiting** where it is part of one for several customers and nobody has begun it. It
is settled once it is **done** or **refused**. Times are microseconds since the epoch.
"""

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from loyalty_gateway.adjustment import Adjustment, Idempotency
from loyalty_gateway.ledger.statements import Dialect, Insert, NewIds, Statement, Work
from loyalty_gateway.ledger.tables import INTENTS
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import ToldReceipt

FOLLOWER: Final = "migration"
"""In whose dialect is what follows at the other side of a move, so that it follows nowhere itself."""


class State(enum.StrEnum):
    """How far an intent is."""

    WAITING = "waiting"
    OPEN = "open"
    UNCLEAR = "unclear"
    PARKED = "parked"
    DONE = "done"
    REFUSED = "refused"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an intent: what the upstream told, or why it was refused.

    ``points_delta`` is what took effect. ``count`` are the customers adjusted, of one for several of them.
    """

    points_delta: int = 0
    told: ToldReceipt = ToldReceipt()
    code: Code | None = None
    count: int = 1


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One adjustment at an upstream; the fields are the columns of the table.

    One that is to ``follow`` is brought to the other side of a move, once it is done.
    """

    id: int
    merchant_id: int
    vendor: str
    upstream: str
    mark: str
    parent: int | None = None
    wallet_id: int | None = None
    adjustment: Adjustment
    idempotency: Idempotency | None = None
    likeness: bytes
    state: State
    outcome: Outcome | None = None
    owner: str | None = None
    due_at: int
    sent_at: int | None = None
    known_again: bool = False
    """Whether the upstream's history shows it by what it was sent with: the mark, or a key."""
    created_at: int
    settled_at: int | None = None
    follow: bool = False


decode_adjustment: Final = msgspec.json.Decoder(Adjustment).decode
"""An adjustment from the JSON in which it is written down."""

_COLUMNS: Final = ", ".join(INTENTS.columns)
_encode = msgspec.json.Encoder().encode
_decode_outcome = msgspec.json.Decoder(Outcome).decode


def begin(_dialect: Dialect, intents: Sequence[Intent], *, keep_keys: int) -> Work[tuple[list[Intent], bool]]:
    """Writes down an intent, with its parts behind it; gives them with their ids, and whether they are new.

    Where the same request came before and is not settled, or came with the same key, what was written then is
    given. The ids of those that are new are given anew; parts name the first one as their parent.

    Raises:
        Problem: KEY_REUSED where another request came with the key.
    """
    first = intents[0]
    known = yield from known_before(first, keep_keys=keep_keys)
    if known is not None:
        return [known], False
    ids = [number for (number,) in (yield NewIds(INTENTS, len(intents)))]
    numbered = [
        msgspec.structs.replace(intent, id=number, parent=None if index == 0 else ids[0])
        for index, (intent, number) in enumerate(zip(intents, ids, strict=True))
    ]
    yield Insert(INTENTS, [_row(intent) for intent in numbered])
    return numbered, True


def known_before(intent: Intent, *, keep_keys: int) -> Work[Intent | None]:
    """The intent of the same request, where it came before as ``begin`` says; raises Problem KEY_REUSED."""
    named: dict[str, object] = {"merchant_id": intent.merchant_id, "vendor": intent.vendor}
    if intent.idempotency is None:
        rows = yield Statement(
            f"SELECT {_COLUMNS} FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
            "AND likeness = :likeness AND idempotency_key IS NULL AND parent IS NULL AND settled_at IS NULL",
            named | {"likeness": intent.likeness},
        )
        return _intent(rows[0]) if rows else None
    rows = yield Statement(
        f"SELECT {_COLUMNS} FROM intents WHERE merchant_id = :merchant_id AND vendor = :vendor "
        "AND idempotency_key = :key AND state <> 'refused'",
        named | {"key": intent.idempotency.key},
    )
    if not rows:
        return None
    known = _intent(rows[0])
    if known.settled_at is not None and known.settled_at < intent.created_at - keep_keys:
        yield Statement("UPDATE intents SET idempotency_key = NULL WHERE id = :id", {"id": known.id})
        return None
    if known.idempotency is None or known.idempotency.fingerprint != intent.idempotency.fingerprint:
        raise Problem(Code.KEY_REUSED)
    return known


def open_part(intent_id: int, *, owner: str, now: int, due_at: int) -> Work[bool]:
    """A part that waited is asked for at the upstream from now on; whether nobody else had begun to."""
    rows = yield Statement(
        "UPDATE intents SET state = 'open', owner = :owner, sent_at = :now, due_at = :due_at "
        "WHERE id = :id AND state = 'waiting' RETURNING id",
        {"id": intent_id, "owner": owner, "now": now, "due_at": due_at},
    )
    return bool(rows)


def settle(intent_id: int, outcome: Outcome, *, now: int) -> Work[bool]:
    """Writes down what came of an intent; whether it was not settled before."""
    state = State.DONE if outcome.code is None else State.REFUSED
    ends = "" if outcome.code is None else ", follow = 0"
    rows = yield Statement(
        f"UPDATE intents SET state = :state, outcome = :outcome, owner = NULL, settled_at = :now{ends} "
        "WHERE id = :id AND settled_at IS NULL RETURNING id",
        {"id": intent_id, "state": state.value, "outcome": _encode(outcome).decode(), "now": now},
    )
    return bool(rows)


def leave(intent_id: int, state: State, *, due_at: int, sent_at: int | None = None) -> Work[None]:
    """Leaves an intent as it stands, to be taken up at ``due_at``; ``sent_at`` is when it was last asked for."""
    yield Statement(
        "UPDATE intents SET state = :state, owner = NULL, due_at = :due_at, sent_at = COALESCE(:sent_at, sent_at) "
        "WHERE id = :id AND settled_at IS NULL",
        {"id": intent_id, "state": state.value, "due_at": due_at, "sent_at": sent_at},
    )


def claim(  # noqa: PLR0913 - whose, how many, until when
    dialect: Dialect, *, upstream: str, owner: str, now: int, due_at: int, at_most: int
) -> Work[list[Intent]]:
    """Takes up intents at an upstream that are due, which nobody else then takes before ``due_at``."""
    rows = yield Statement(
        "UPDATE intents SET owner = :owner, due_at = :due_at WHERE id IN (SELECT id FROM intents "
        "WHERE settled_at IS NULL AND state <> 'parked' AND upstream = :upstream AND due_at <= :now "
        f"ORDER BY due_at, id LIMIT :at_most {dialect.locking_job}) RETURNING {_COLUMNS}",
        {"owner": owner, "upstream": upstream, "now": now, "due_at": due_at, "at_most": at_most},
    )
    return [_intent(row) for row in rows]


def is_due(_dialect: Dialect, *, upstream: str, now: int) -> Work[bool]:
    """Whether there is anything to claim; looking costs no transaction that writes."""
    rows = yield Statement(
        "SELECT 1 FROM intents WHERE settled_at IS NULL AND state <> 'parked' AND upstream = :upstream "
        "AND due_at <= :now LIMIT 1",
        {"upstream": upstream, "now": now},
    )
    return bool(rows)


def hold(dialect: Dialect, intent_ids: Sequence[int], *, owner: str, now: int, due_at: int) -> Work[list[int]]:
    """Keeps intents that are being worked at from being taken up by others; they are asked for until now.

    Gives those that are the owner's still.
    """
    rows = yield Statement(
        "UPDATE intents SET sent_at = :now, due_at = :due_at "
        f"WHERE id IN {dialect.numbers(':ids')} AND owner = :owner AND state = 'open' RETURNING id",
        {"ids": tuple(intent_ids), "owner": owner, "now": now, "due_at": due_at},
    )
    return [int(number) for (number,) in rows]


def reopen(intent: Intent, *, now: int) -> Work[bool]:
    """Leaves an intent to a person that was settled as refused, and carried out all the same; whether it was so.

    Its key may be another's by now, which asked again behind the refusal.
    """
    rows = yield Statement(
        "UPDATE intents SET state = 'parked', outcome = NULL, settled_at = NULL, idempotency_key = NULL, "
        "fingerprint = NULL, likeness = :likeness, due_at = :now WHERE id = :id AND state = 'refused' "
        "RETURNING id",
        {"id": intent.id, "likeness": intent.mark.encode(), "now": now},
    )
    return bool(rows)


def find(_dialect: Dialect, intent_id: int) -> Work[Intent | None]:
    """The intent with this number; ``None`` for one that is forgotten."""
    rows = yield Statement(f"SELECT {_COLUMNS} FROM intents WHERE id = :id", {"id": intent_id})
    return _intent(rows[0]) if rows else None


def parts(_dialect: Dialect, intent_id: int) -> Work[list[Intent]]:
    """The parts of an intent for several customers."""
    rows = yield Statement(f"SELECT {_COLUMNS} FROM intents WHERE parent = :id ORDER BY id", {"id": intent_id})
    return [_intent(row) for row in rows]


def unsettled(_dialect: Dialect, *, after: int, at_most: int) -> Work[list[Intent]]:
    """A page of all intents that are not settled, in the order of their numbers."""
    rows = yield Statement(
        f"SELECT {_COLUMNS} FROM intents WHERE settled_at IS NULL AND id > :after ORDER BY id LIMIT :at_most",
        {"after": after, "at_most": at_most},
    )
    return [_intent(row) for row in rows]


def _row(intent: Intent) -> tuple[object, ...]:
    idempotency, outcome = intent.idempotency, intent.outcome
    return (
        intent.id,
        intent.merchant_id,
        intent.vendor,
        intent.upstream,
        intent.mark,
        intent.parent,
        intent.wallet_id,
        _encode(intent.adjustment).decode(),
        None if idempotency is None else idempotency.key,
        None if idempotency is None else idempotency.fingerprint,
        intent.likeness,
        intent.state.value,
        None if outcome is None else _encode(outcome).decode(),
        intent.owner,
        intent.due_at,
        intent.sent_at,
        int(intent.known_again),
        intent.created_at,
        intent.settled_at,
        int(intent.follow),
    )


def _intent(row: Sequence[object]) -> Intent:
    named = dict(zip(INTENTS.columns, row, strict=True))
    key, fingerprint = named.pop("idempotency_key"), named.pop("fingerprint")
    outcome = named.pop("outcome")
    return Intent(
        **named  # type: ignore[arg-type]
        | {
            "adjustment": decode_adjustment(named["adjustment"]),  # type: ignore[arg-type]
            "idempotency": None if key is None else Idempotency(str(key), bytes(fingerprint)),  # type: ignore[call-overload]
            "outcome": None if outcome is None else _decode_outcome(outcome),  # type: ignore[arg-type]
            "state": State(named["state"]),  # type: ignore[arg-type]
            "known_again": named["known_again"] == 1,
            "follow": named["follow"] == 1,
        }
    )
