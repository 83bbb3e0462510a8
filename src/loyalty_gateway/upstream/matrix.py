"""The loss report: for every client's dialect at every upstream what survives, what is emulated, and what is lost.

Nothing of it is written by hand: what a dialect's own requests ask for is said to the upstream, and read again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone
from loyalty_gateway.problem import Problem
from loyalty_gateway.spec import Contract
from loyalty_gateway.told import ToldReceipt
from loyalty_gateway.upstream.answers import example_receipt, tells_balance
from loyalty_gateway.upstream.asked import Asked, asked_of
from loyalty_gateway.upstream.loss import Fate, Part, Plan, fates, planned
from loyalty_gateway.upstream.partial import Carried, Local, agreed, receipt
from loyalty_gateway.upstream.phrasebook import Phrasebook, as_received
from loyalty_gateway.vendor import Answer, Vendor

_BALANCE: Final = 50
_MOMENT: Final = 1_600_000_000_000_000
_LOCAL: Final = Local(merchant_id=1, wallet_id=1)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one thing that the client's requests say.

    ``outcomes`` has several where it depends on the rest of the request. ``asked`` is an example in which it is
    lost, ``understood`` what the upstream takes it for.
    """

    field: str
    part: str
    outcomes: tuple[Fate, ...]
    asked: Any = None
    understood: Any = None


class AnswerReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the client's answers need and the upstream's do not tell, by fields of the answer.

    ``read_back`` is asked for afterwards; of the rest ``left_out`` is not there, ``null`` is null, and
    ``off_contract`` is null where the client's contract has it otherwise.
    """

    read_back: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    null: tuple[str, ...] = ()
    off_contract: tuple[str, ...] = ()


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A client's dialect at an upstream."""

    client: str
    upstream: str
    rows: tuple[Row, ...]
    answer: AnswerReport

    def labels(self, fate: Fate) -> list[str]:
        """The parts of which this is the worst that becomes of them; what depends on the rest says so."""
        return [
            row.part if len(row.outcomes) == 1 else f"{row.part} (at times)"
            for row in self.rows
            if row.outcomes[-1] is fate
        ]


def matrix(vendors: Mapping[str, Vendor], contracts: Mapping[str, Contract]) -> list[Pair]:
    """Every client's dialect at every upstream, with the vendors' options as they are by default."""
    options = {name: msgspec.convert({}, vendor.options) for name, vendor in vendors.items()}
    asked = {name: asked_of(vendor, contracts[name], options[name]) for name, vendor in vendors.items()}
    books = {name: phrasebook(vendor, contracts[name], options[name]) for name, vendor in vendors.items()}
    return [
        Pair(
            client=client,
            upstream=upstream,
            rows=tuple(_rows(asked[client], books[upstream])),
            answer=_answers(vendors[client], contracts[client], asked[client], books[upstream]),
        )
        for client in vendors
        for upstream in vendors
    ]


def phrasebook(vendor: Vendor, contract: Contract, options: Any) -> Phrasebook:
    """All operations of a vendor."""
    return Phrasebook(vendor, vendor.operations, lambda operation: contract.operations[operation.id], options)


def example_names(book: Phrasebook, count: int) -> list[CustomerReference]:
    """So many customers as the vendor names them."""
    namespace = book.namespaces[0]
    values = (
        f"customer{number}@example.com" if namespace == "email" else str(number) for number in range(1_001, 9_999)
    )
    return [CustomerReference(namespace, value) for value, _ in zip(values, range(count), strict=False)]


def plan_of(asked: Asked, book: Phrasebook) -> Plan:
    """How an upstream is asked for it, which knows the customers by names of its own."""
    customers = asked.adjustment.customers
    names = example_names(book, 2 if isinstance(customers, Everyone) else len(customers))
    try:
        return planned(book.say, asked.adjustment, names)
    except Problem:
        # What the upstream's spec forbids is refused.
        return Plan(None, None)


def _rows(asked: Sequence[Asked], book: Phrasebook) -> Iterator[Row]:
    found: dict[tuple[str, str], dict[Fate, tuple[Part, Plan, Adjustment]]] = {}
    for one in asked:
        plan = plan_of(one, book)
        for part, fate in fates(one.adjustment, plan):
            becomes = found.setdefault((part.field, part.label), {})
            becomes.setdefault(fate, (part, plan, one.adjustment))
    order, fields = list(Fate), Adjustment.__struct_fields__
    for (field, label), becomes in sorted(found.items(), key=lambda one: fields.index(one[0][0])):
        told = tuple(sorted(becomes, key=order.index))
        row = Row(field=field, part=label, outcomes=told)
        if Fate.LOST in becomes:
            _, plan, adjustment = becomes[Fate.LOST]
            assert plan.said is not None
            row = msgspec.structs.replace(
                row, asked=getattr(adjustment, field), understood=getattr(plan.said.meant, field)
            )
        yield row


# Answers


def _answers(vendor: Vendor, contract: Contract, asked: Sequence[Asked], book: Phrasebook) -> AnswerReport:
    """What is not told to the client, in the answers of all operations that adjust one customer."""
    found: dict[str, set[str]] = {name: set() for name in AnswerReport.__struct_fields__}
    for one in {each.operation.id: each for each in reversed(asked) if _is_of_one(each)}.values():
        plan = plan_of(one, book)
        if plan.said is None:
            continue
        told = _told(plan)
        after = told.entry.points_after if told.entry.points_after is not UNSET else told.customer.wallet.available
        if after is UNSET and tells_balance(vendor, one.request.options):
            found["read_back"].add("balance")
            after = _BALANCE
        for name, fields in _unknown(vendor, contract, one, told, None if after is UNSET else after).items():
            found[name] |= fields
    return AnswerReport(**{name: tuple(sorted(fields)) for name, fields in found.items()})


def _is_of_one(asked: Asked) -> bool:
    adjustment = asked.adjustment
    is_one = not isinstance(adjustment.customers, Everyone) and len(adjustment.customers) == 1
    return is_one and bool(adjustment.points_delta)


def _told(plan: Plan) -> ToldReceipt:
    """What the upstream's answer tells, as it answers where everything is known."""
    assert plan.said is not None
    operation, request, meant = plan.said
    assert isinstance(meant, Adjustment)
    assert not isinstance(meant.customers, Everyone)
    answer = operation.render_response(example_receipt(_BALANCE, meant.customers[0]), request)
    told = operation.parse_response(answer, request)
    return told if isinstance(told, ToldReceipt) else ToldReceipt()


def _unknown(
    vendor: Vendor, contract: Contract, asked: Asked, told: ToldReceipt, after: int | None
) -> dict[str, set[str]]:
    """The fields of the client's answer that nobody can fill in."""
    operation, request, adjustment = asked
    described = contract.operations[operation.id]
    received = as_received(vendor, operation, described, request)
    assert not isinstance(adjustment.customers, Everyone)
    carried = Carried(
        number=1,
        vendor=vendor.name,
        points_asked=adjustment.points_delta,
        points_delta=adjustment.points_delta or 0,
        points_after=after,
        reason=adjustment.reason,
        metadata=adjustment.metadata,
        idempotency_key=adjustment.idempotency_key,
        occurred_at=_MOMENT,
        customer=adjustment.customers[0],
    )

    def conforms(answer: Answer) -> bool:
        return not described.defects(received, answer)

    def render(result: Any) -> Answer:
        return operation.render_response(result, request)

    result = receipt(told, carried, _LOCAL)
    answer = agreed(render, result, conforms)
    found: dict[str, set[str]] = {"left_out": set(), "null": set(), "off_contract": set()}
    for path, kind in _gaps(render(result.other).body, answer.body):
        found[kind].add(path)
    if found["null"] and not conforms(answer):
        found["off_contract"], found["null"] = found["null"], set()
    return found


def _gaps(whole: Any, body: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The fields that are not in the body or null in it."""
    match whole, body:
        case dict(), dict():
            for name, value in whole.items():
                below = f"{path}.{name}".lstrip(".")
                if name in body:
                    yield from _gaps(value, body[name], below)
                else:
                    yield below, "left_out"
        case _, None if whole is not None:
            yield path, "null"
