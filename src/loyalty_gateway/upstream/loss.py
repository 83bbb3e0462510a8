"""What of an adjustment is lost on its way to another vendor: computed by saying it there and reading it again."""

import enum
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone, Lifetime, Overdraft
from loyalty_gateway.upstream.phrasebook import Said
from loyalty_gateway.vendor import Task

Say = Callable[[Task], Said | None]

FIELDS: Final = ("overdraft", "lifetime", "reason", "metadata", "notify", "visible")
"""The fields of an adjustment that can be lost; the others are carried over, or brought about here."""


class LossPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Refuses a request of which one of these fields would be lost; other losses are recorded only."""

    refuse: tuple[str, ...]


Policy = Literal["record", "refuse"] | LossPolicy


def refused(policy: Policy, fields: Collection[str]) -> tuple[str, ...]:
    """Those of the lost fields for whose sake the request is refused."""
    match policy:
        case "record":
            return ()
        case "refuse":
            return tuple(fields)
        case LossPolicy(refuse=named):
            return tuple(field for field in fields if field in named)


# How it is carried out.


class Plan(NamedTuple):
    """How an adjustment is asked for at an upstream.

    ``whole`` asks for all of it at once. Where nothing does, ``said`` is one of the requests that bring it about:
    for one of several customers, or for a part of what is reset. It is ``None`` where nothing can be said at all.
    """

    whole: Said | None
    said: Said | None

    def reads_first(self, adjustment: Adjustment) -> bool:
        """Whether balances are read before anything is asked for; see ``UpstreamBackend``."""
        if adjustment.points_delta is None or self.said is None:
            return self.whole is None
        assert isinstance(self.said.meant, Adjustment)
        is_of_many = isinstance(adjustment.customers, Everyone) or len(adjustment.customers) > 1
        if self.whole is None and is_of_many and adjustment.overdraft is Overdraft.REFUSE:
            return adjustment.points_delta < 0
        return adjustment.points_delta < 0 and "overdraft" in (
            part.field for part, fate in fates(adjustment, self) if fate is Fate.EMULATED
        )


def planned(say: Say, adjustment: Adjustment, names: Sequence[CustomerReference]) -> Plan:
    """How an upstream is asked that has these names for the customers; raises Problem as ``say`` does."""
    whole = said_whole(say, adjustment, names)
    if whole is not None or not names:
        return Plan(whole, whole)
    points_delta = -1 if adjustment.points_delta is None else adjustment.points_delta
    return Plan(
        None, said_whole(say, msgspec.structs.replace(adjustment, points_delta=points_delta), names[:1], one=True)
    )


def said_whole(
    say: Say, adjustment: Adjustment, names: Sequence[CustomerReference], *, one: bool = False
) -> Said | None:
    """The adjustment as it can be asked for in one request; of everyone, or of ``one`` of them."""
    keyless = msgspec.structs.replace(adjustment, idempotency_key=None)
    if isinstance(adjustment.customers, Everyone) and not one:
        said = say(keyless)
        if said is not None:
            return said
    return say(msgspec.structs.replace(keyless, customers=tuple(names)))


# What becomes of it.


def lost(asked: Adjustment, meant: Adjustment) -> dict[str, tuple[Any, Any]]:
    """What the upstream understands otherwise than it was asked, by field: as asked and as understood.

    What an addition or a deduction does to the lifetime counters counts, not the rule by which it does so. A
    reason that the upstream demands and the client has not is no loss.
    """
    return {name: (getattr(asked, name), getattr(meant, name)) for name in FIELDS if _is_lost(name, asked, meant)}


def _is_lost(name: str, asked: Adjustment, meant: Adjustment) -> bool:
    match name:
        case "overdraft":
            # Of one customer the balance can be read first.
            is_one = not isinstance(meant.customers, Everyone) and len(meant.customers) == 1
            return asked.overdraft is not meant.overdraft and _deducts(asked) and not is_one
        case "lifetime":
            return _effect(asked.lifetime, asked) != _effect(meant.lifetime, asked)
        case "reason":
            return asked.reason is not None and asked.reason != meant.reason
        case _:
            return bool(getattr(asked, name) != getattr(meant, name))


class Part(NamedTuple):
    """One thing that an adjustment says: the field, what it says in it as people read it, and the value."""

    field: str
    label: str
    value: Any = None


class Fate(enum.StrEnum):
    """What becomes of a part, from the best to the worst."""

    SURVIVES = "survives"
    EMULATED = "emulated"
    LOST = "lost"
    IMPOSSIBLE = "impossible"


HOW: Final[Mapping[str, str]] = {
    "lists": "each customer by a request of their own; if all are adjusted at once, after a look at all balances",
    "everyone": "each customer whom this gateway has met by a request of their own",
    "resets": "the balance is read, then deducted",
    "no points": "nothing is sent",
    "overdrafts refused": "the balance is read first",
    "overdrafts floored": "the balance is read first, and no more is deducted",
    "no reason": "a stock one is said, since one is demanded",
    "key": "remembered here",
}
"""How what is emulated is brought about."""


def parts(adjustment: Adjustment) -> Iterator[Part]:
    """All that the adjustment says."""
    points_delta, customers = adjustment.points_delta, adjustment.customers
    yield Part("points_delta", _movement(points_delta), points_delta)
    if isinstance(customers, Everyone):
        yield Part("customers", "everyone")
    elif len(customers) > 1:
        yield Part("customers", "lists", len(customers))
    if _deducts(adjustment) and points_delta is not None:
        floors = adjustment.overdraft is Overdraft.FLOOR
        yield Part("overdraft", "overdrafts floored" if floors else "overdrafts refused")
    if points_delta != 0:
        yield Part("lifetime", _effect(adjustment.lifetime, adjustment))
    yield Part("reason", "no reason" if adjustment.reason is None else "reason", adjustment.reason)
    if adjustment.metadata is not None:
        yield Part("metadata", "metadata", adjustment.metadata)
    for channel in adjustment.notify:
        yield Part("notify", f"notice by {channel}")
    if not adjustment.visible:
        yield Part("visible", "hiding")
    if adjustment.idempotency_key is not None:
        yield Part("idempotency_key", "key")


def fates(adjustment: Adjustment, plan: Plan) -> list[tuple[Part, Fate]]:
    """What becomes of each part."""
    asked = list(parts(adjustment))
    if plan.said is None:
        fate = Fate.EMULATED if adjustment.points_delta == 0 else Fate.IMPOSSIBLE
        return [(part, fate) for part in asked]
    assert isinstance(plan.said.meant, Adjustment)
    understood = list(parts(plan.said.meant))
    gone = lost(adjustment, plan.said.meant)
    return [(part, _fate(part, plan.said, understood, gone)) for part in asked]


def _fate(part: Part, said: Said, understood: Collection[Part], gone: Collection[str]) -> Fate:
    if part.field == "idempotency_key":
        return Fate.EMULATED if said.operation.idempotency_field is None else Fate.SURVIVES
    if part in understood:
        return Fate.SURVIVES
    return Fate.LOST if part.field in gone else Fate.EMULATED


def _deducts(adjustment: Adjustment) -> bool:
    return adjustment.points_delta is None or adjustment.points_delta < 0


def _movement(points_delta: int | None) -> str:
    match points_delta:
        case None:
            return "resets"
        case 0:
            return "no points"
        case _:
            return "additions" if points_delta > 0 else "deductions"


def _effect(lifetime: Lifetime, adjustment: Adjustment) -> str:
    """What becomes of the lifetime counters, told in the direction in which the adjustment goes."""
    if _deducts(adjustment):
        match lifetime:
            case Lifetime.EARN_AND_BURN | Lifetime.BURN_ONLY:
                return "deductions as burned"
            case Lifetime.NET_EARNED:
                return "deductions from earned"
            case Lifetime.EARN_ONLY | Lifetime.UNTOUCHED:
                return "deductions uncounted"
    match lifetime:
        case Lifetime.EARN_AND_BURN | Lifetime.EARN_ONLY | Lifetime.NET_EARNED:
            return "additions as earned"
        case Lifetime.BURN_ONLY | Lifetime.UNTOUCHED:
            return "additions uncounted"
