"""Results of which not everything is known, and answers made of them in which nothing is invented.

What an upstream does not tell is filled in twice, each time otherwise. What then differs between two answers made
of the two results depends on something that nobody knows: it is left out where the contract lets it be, null where
it may be null, and that of which it is a part likewise. Where none of it is allowed it is null all the same, which
the check of the answer then tells; a reading is refused instead.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import CustomerReference, Entry, Receipt, Tier, Wallet
from loyalty_gateway.customer import Customer, Customers, Enrolled, History, Profile
from loyalty_gateway.told import ToldCustomer, ToldEnrolment, ToldEntry, ToldReceipt
from loyalty_gateway.vendor import Answer

R = TypeVar("R")
Path = tuple[str | int, ...]


class Partial(NamedTuple):
    """The same result filled in twice; what both have in common is known.

    ``lost`` are the fields of the adjustment that the upstream has no words for.
    """

    one: Any
    other: Any
    replayed: bool = False
    lost: tuple[str, ...] = ()


def agreed(render: Callable[[Any], Answer], result: Partial, conforms: Callable[[Answer], bool]) -> Answer:
    """The answer made of what is known.

    Args:
        render: makes an answer of a result.
        result: what is known, filled in twice.
        conforms: whether an answer keeps the contract.
    """
    one, other = render(result.one), render(result.other)
    answer = one
    # What goes for one of a list goes for all of them.
    chosen: dict[Path, _Change] = {}
    for path in _differences(one.body, other.body):
        if not _stands(answer.body, path):
            continue
        kind = tuple(step for step in path if isinstance(step, str))
        if kind not in chosen:
            chosen[kind] = _change(answer, path, conforms)
        answer = chosen[kind].made(answer, path)
    headers = {name: value for name, value in one.headers.items() if other.headers.get(name) == value}
    return msgspec.structs.replace(answer, headers=headers)


_LEFT_OUT: Final = object()


class _Change(NamedTuple):
    """What is put in the place of something unknown, so many steps above it."""

    above: int
    value: object

    def made(self, answer: Answer, path: Path) -> Answer:
        """The answer with the change."""
        place = path[: len(path) - self.above]
        return msgspec.structs.replace(answer, body=_changed(answer.body, place, self.value))


def _change(answer: Answer, path: Path, conforms: Callable[[Answer], bool]) -> _Change:
    """What leaves a conforming answer: to be without the value at the path, or without what it is part of."""
    for above in (0, 1):
        # What a list or the whole answer consists of is nobody's part.
        if len(path) <= above or not isinstance(path[len(path) - above - 1], str):
            break
        for value in (_LEFT_OUT, None):
            change = _Change(above, value)
            if conforms(change.made(answer, path)):
                return change
    return _Change(0, None)


def _stands(body: Any, path: Path) -> bool:
    """Whether there is anything at the path still."""
    for step in path:
        if body is None or (isinstance(body, dict) and step not in body):
            return False
        body = body[step]
    return True


def _differences(one: Any, other: Any, path: Path = ()) -> Iterator[Path]:
    """Where two JSON values differ, as deep within them as can be told."""
    match one, other:
        case dict(), dict() if one.keys() == other.keys():
            for name in one:
                yield from _differences(one[name], other[name], (*path, name))
        case list(), list() if len(one) == len(other):
            for index, pair in enumerate(zip(one, other, strict=True)):
                yield from _differences(*pair, (*path, index))
        case _ if one != other and path:
            yield path


def _changed(body: Any, path: Path, value: object) -> Any:
    """The JSON value with what stands at the path replaced, or left out."""
    step, *deeper = path
    if isinstance(body, list):
        changed = list(body)
        changed[int(step)] = _changed(body[int(step)], tuple(deeper), value) if deeper else value
        return changed
    if deeper:
        return {**body, step: _changed(body[step], tuple(deeper), value)}
    if value is _LEFT_OUT:
        return {name: child for name, child in body.items() if name != step}
    return {**body, step: value}


# What is filled in.

_EARLY: Final = 1_500_000_000_000_000
_LATE: Final = 1_650_000_000_123_456


class _Fillers(NamedTuple):
    """Values that no answer makes alike."""

    number: int
    moment: int
    truth: bool
    name: str | None


_FIRST: Final = _Fillers(0, _EARLY, truth=False, name=None)
_SECOND: Final = _Fillers(1_000_003, _LATE, truth=True, name="unknown")


def both(make: Callable[[_Fillers], R]) -> Partial:
    """What is made, filled in both ways."""
    return Partial(make(_FIRST), make(_SECOND))


class Local(NamedTuple):
    """What this gateway knows by itself: its own numbers for the customer and the merchant."""

    merchant_id: int
    wallet_id: int
    references: tuple[CustomerReference, ...] = ()


class Carried(NamedTuple):
    """What this gateway knows of an adjustment that it had carried out.

    ``number`` is the intent's; ``points_asked`` is what the client wanted, ``points_delta`` what took effect;
    ``points_after`` is ``None`` where nobody told. Times are microseconds.
    """

    number: int
    vendor: str
    points_asked: int | None
    points_delta: int
    points_after: int | None
    reason: str | None
    metadata: dict[str, Any] | None
    idempotency_key: str | None
    occurred_at: int
    customer: CustomerReference


def receipt(told: ToldReceipt, carried: Carried, local: Local) -> Partial:
    """The receipt of an adjustment of one customer."""
    wallet = told.customer.wallet
    if carried.points_after is not None:
        wallet = msgspec.structs.replace(wallet, available=carried.points_after)
    occurred_at = _or(told.entry.occurred_at, carried.occurred_at)

    def make(fill: _Fillers) -> Receipt:
        points_after = fill.number if carried.points_after is None else carried.points_after
        entry = Entry(
            id=carried.number,
            wallet_id=local.wallet_id,
            version=_or(wallet.version, fill.number),
            vendor=carried.vendor,
            points_delta=carried.points_delta,
            points_asked=carried.points_asked,
            points_before=points_after - carried.points_delta,
            points_after=points_after,
            reserved_after=_or(told.entry.reserved_after, fill.number),
            earned_delta=fill.number,
            burned_delta=fill.number,
            granted_after=fill.number,
            grants_after=fill.number,
            reason=carried.reason,
            metadata=carried.metadata,
            notify=(),
            visible=True,
            idempotency_key=carried.idempotency_key,
            occurred_at=occurred_at,
        )
        return Receipt(
            merchant_id=local.merchant_id,
            count=1,
            entries=(entry,),
            wallets=(_wallet(wallet, local, fill),),
            customers=(carried.customer,),
        )

    return both(make)


def customer(told: ToldCustomer, local: Local) -> Partial:
    """A customer as the upstream tells them; names are ours and the upstream's."""
    return both(lambda fill: _customer(told, local, fill))


def enrolled(told: ToldEnrolment, whole: ToldCustomer, local: Local) -> Partial:
    """A customer who was made, or was there."""
    return both(
        lambda fill: Enrolled(customer=_customer(whole, local, fill), is_new=bool(_or(told.is_new, fill.truth)))
    )


def customers(told: Sequence[tuple[ToldCustomer, Local]], *, has_more: bool, total: int | None) -> Partial:
    """A page of customers."""
    return both(
        lambda fill: Customers(
            customers=tuple(_customer(one, local, fill) for one, local in told),
            has_more=has_more,
            total=total,
        )
    )


class Line(NamedTuple):
    """An entry of a history with its number, and what was granted and how often up to it."""

    number: int
    entry: ToldEntry
    granted_after: int | None
    grants_after: int


class Counts(NamedTuple):
    """What a whole history comes to: how many entries, what was granted and how often; ``None`` is not known."""

    entries: int
    granted: int | None
    grants: int


def history(
    lines: Sequence[Line],
    counts: Counts | None,
    of: tuple[ToldCustomer, Local],
    *,
    vendor: str,
    has_more: bool,
) -> Partial:
    """A page of a customer's history."""
    told, local = of

    def make(fill: _Fillers) -> History:
        customer = _customer(told, local, fill)
        if counts is not None:
            # Whoever shows a history counts its lines by these.
            granted = fill.number if counts.granted is None else counts.granted
            wallet = msgspec.structs.replace(
                customer.wallet, version=counts.entries, granted=granted, grants=counts.grants
            )
            customer = msgspec.structs.replace(customer, wallet=wallet)
        return History(
            entries=tuple(_entry(line, local.wallet_id, vendor, fill) for line in lines),
            has_more=has_more,
            customers={local.wallet_id: customer},
        )

    return both(make)


def _entry(line: Line, wallet_id: int, vendor: str, fill: _Fillers) -> Entry:
    number, told = line.number, line.entry
    points_delta = _or(told.points_delta, fill.number)
    points_after = _or(told.points_after, fill.number)
    return Entry(
        id=number,
        wallet_id=wallet_id,
        version=fill.number,
        vendor=vendor,
        points_delta=points_delta,
        points_asked=_or(told.points_asked, points_delta),
        points_before=_or(told.points_before, fill.number),
        points_after=points_after,
        reserved_after=_or(told.reserved_after, fill.number),
        earned_delta=fill.number,
        burned_delta=fill.number,
        granted_after=fill.number if line.granted_after is None else line.granted_after,
        grants_after=line.grants_after,
        reason=_or(told.reason, fill.name),
        metadata=dict(told.metadata) if isinstance(told.metadata, Mapping) else None,
        notify=(),
        visible=True,
        idempotency_key=_or(told.idempotency_key, None),
        occurred_at=_or(told.occurred_at, fill.moment),
    )


def _customer(told: ToldCustomer, local: Local, fill: _Fillers) -> Customer:
    tier = _or(told.wallet.tier, fill.name)
    return Customer(
        wallet=_wallet(told.wallet, local, fill),
        references=tuple(dict.fromkeys((*local.references, *told.references))),
        # What nobody told has a place in a profile.
        profile=Profile(**told.profile),  # type: ignore[arg-type]
        tier=None if tier is None else Tier(name=tier, points_required=fill.number),
    )


def _wallet(told: Any, local: Local, fill: _Fillers) -> Wallet:
    return Wallet(
        id=local.wallet_id,
        merchant_id=local.merchant_id,
        available=_or(told.available, fill.number),
        reserved=_or(told.reserved, fill.number),
        lifetime_earned=_or(told.lifetime_earned, fill.number),
        lifetime_burned=_or(told.lifetime_burned, fill.number),
        granted=fill.number,
        grants=fill.number,
        version=_or(told.version, fill.number),
        excluded=_or(told.excluded, fill.truth),
        tier=_or(told.tier, fill.name),
        created_at=_or(told.created_at, fill.moment),
        updated_at=_or(told.updated_at, fill.moment),
        last_entry_at=_or(told.last_entry_at, fill.moment),
    )


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is UNSET else value
