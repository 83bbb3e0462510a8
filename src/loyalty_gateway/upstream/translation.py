"""One request of a client, and what an upstream would be asked for its sake; nothing is sent."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from loyalty_gateway.adjustment import Adjustment, CustomerReference, Everyone
from loyalty_gateway.customer import CustomerQuery, CustomersQuery, CustomerUpdate, Enrolment, HistoryQuery
from loyalty_gateway.problem import ConfigurationError, Problem
from loyalty_gateway.spec import OperationContract
from loyalty_gateway.upstream.loss import HOW, Fate, Plan, fates, lost, planned, said_whole
from loyalty_gateway.upstream.phrasebook import Phrasebook, Said
from loyalty_gateway.upstream.reading import asked_for_customers, asked_for_history
from loyalty_gateway.vendor import Operation, Task, ValidRequest

_MARK: Final = "lg-…"
"""Every request has a mark of its own."""
_BALANCE: Final = "(the balance)"
_WORDLESS: Final = "{} has no words for it"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it would be sent, without the credentials; those in its path are in braces."""

    operation: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any = None


class Lost(msgspec.Struct, frozen=True):
    """What the upstream understands otherwise than it was asked."""

    asked: Any
    understood: Any


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sent: what is ``read`` first, and the requests.

    Of an adjustment it tells what becomes of its parts; ``emulated`` says how, ``lost`` goes by fields.
    """

    operation: str
    read: tuple[Sent, ...] = ()
    sent: tuple[Sent, ...]
    survives: tuple[str, ...] = ()
    emulated: dict[str, str] = {}
    lost: dict[str, Lost] = {}


Known = Sequence[tuple[CustomerReference, ...]]
"""The names of each customer that are known."""


class Translator:
    """Says a client's tasks to one upstream.

    Args:
        book: the upstream's operations.
        known: names of customers.
        meant: the one customer of the request by a name that the upstream has for them.
        url: what stands before the operations' paths; ``None`` shows them as they are published.
        marks: whether marks are put into reasons; see ``Settings``.
    """

    def __init__(
        self,
        book: Phrasebook,
        known: Known,
        meant: CustomerReference | None = None,
        *,
        url: str | None = None,
        marks: bool = True,
    ) -> None:
        self._book = book
        self._url = url
        self._marks = marks
        self._known = known
        self._meant = meant

    def translate(self, operation: Operation, task: Task) -> Translation:
        """What would be sent for a task of the client's operation; raises ConfigurationError where nothing can."""
        try:
            match task:
                case Adjustment():
                    return self._adjustment(operation, task)
                case CustomerQuery() | CustomersQuery() | HistoryQuery():
                    said = self._reading(task)
                case Enrolment():
                    said = self._registering(operation, task)
                case CustomerUpdate(customer=customer):
                    named = msgspec.structs.replace(task, customer=self._named(customer))
                    said = self._registering(operation, named)
        except Problem as problem:
            raise self._impossible(operation, "its contract forbids it") from problem
        if not said:
            raise self._impossible(operation, _WORDLESS.format(self._book.vendor.name))
        return Translation(operation=operation.id, sent=tuple(map(self._sent, said)))

    def _impossible(self, operation: Operation, why: str) -> ConfigurationError:
        return ConfigurationError(operation.id, f"cannot be carried out at {self._book.vendor.name}: {why}")

    def _registering(self, operation: Operation, task: Enrolment | CustomerUpdate) -> list[Said]:
        """See ``Registering``: what of a customer would be lost is refused."""
        said = self._book.say(task)
        if said is not None and said.meant != task:
            raise self._impossible(operation, "something of it would be lost there")
        return [] if said is None else [said]

    # Adjustments

    def _adjustment(self, operation: Operation, adjustment: Adjustment) -> Translation:
        names = self._names(adjustment.customers)
        plan = planned(self._book.say, adjustment, names)
        if plan.said is None and not names:
            raise self._impossible(operation, "nobody in the configuration has a name there")
        if plan.said is None and adjustment.points_delta != 0:
            raise self._impossible(operation, _WORDLESS.format(self._book.vendor.name))
        found = fates(adjustment, plan)
        emulated = {part.label: HOW[part.label] for part, fate in found if fate is Fate.EMULATED}
        return Translation(
            operation=operation.id,
            read=tuple(self._reads(adjustment, plan, names)),
            sent=tuple(self._requests(adjustment, plan, names)),
            survives=tuple(part.label for part, fate in found if fate is Fate.SURVIVES),
            emulated=emulated,
            lost={} if plan.said is None else _lost(adjustment, plan.said),
        )

    def _reads(self, adjustment: Adjustment, plan: Plan, names: Sequence[CustomerReference]) -> Iterator[Sent]:
        """The balances that are read first; see ``UpstreamBackend``."""
        for name in names if plan.reads_first(adjustment) else ():
            yield from map(self._sent, self._ways(name)[:1])

    def _requests(self, adjustment: Adjustment, plan: Plan, names: Sequence[CustomerReference]) -> Iterator[Sent]:
        if plan.whole is not None:
            yield self._sent(self._known_again(plan.whole, adjustment))
            return
        for name in names if plan.said is not None else ():
            yield self._of_one(adjustment, name)

    def _of_one(self, adjustment: Adjustment, name: CustomerReference) -> Sent:
        amounts = (-1, -2) if adjustment.points_delta is None else (adjustment.points_delta,)
        asked = [msgspec.structs.replace(adjustment, points_delta=points) for points in amounts]
        said = [said_whole(self._book.say, one, [name], one=True) for one in asked]
        sent = [
            self._sent(self._known_again(one, each))
            for one, each in zip(said, asked, strict=True)
            if one is not None
        ]
        if not sent:
            raise ConfigurationError(str(name), f"{self._book.vendor.name} has no words for this customer")
        return msgspec.structs.replace(sent[0], body=_common(sent[0].body, sent[-1].body))

    def _known_again(self, said: Said, adjustment: Adjustment) -> Said:
        assert isinstance(said.meant, Adjustment)
        asked = msgspec.structs.replace(adjustment, customers=said.meant.customers)
        return self._book.known_again(said, asked, _MARK, marks=self._marks)

    # Customers

    def _names(self, customers: tuple[CustomerReference, ...] | Everyone) -> list[CustomerReference]:
        if isinstance(customers, Everyone):
            if self._meant is not None:
                raise ConfigurationError("--customer", "the request is for everyone; leave it out")
            return [name for references in self._known if (name := self._name(references)) is not None]
        if self._meant is not None:
            if len(customers) != 1:
                raise ConfigurationError(
                    "--customer", f"the request is for {len(customers)} customers; leave it out"
                )
            return [self._meant]
        return [self._named(one) for one in customers]

    def _named(self, reference: CustomerReference) -> CustomerReference:
        """What the upstream calls the customer; raises ConfigurationError where nobody knows."""
        if self._meant is not None:
            return self._meant
        everybody = [references for references in self._known if reference in references]
        found = {self._name((*references, reference)) for references in everybody or [()]} - {None}
        if len(found) == 1 and (name := found.pop()) is not None:
            return name
        namespaces = " or ".join(self._book.namespaces)
        if not everybody:
            what = f"nobody in the configuration has this name; add them with one in {namespaces}"
        elif not found:
            what = f"has no name in {namespaces} in the configuration; add it"
        else:
            what = f"has several names in {namespaces} in the configuration; keep one there"
        way = f", or say it with --customer {self._book.namespaces[0]}:VALUE"
        raise ConfigurationError(f"customer {reference}", what + way)

    def _name(self, references: Sequence[CustomerReference]) -> CustomerReference | None:
        for namespace in self._book.namespaces:
            values = sorted(one.value for one in references if one.namespace == namespace)
            if values:
                return CustomerReference(namespace, values[0])
        return None

    # Reads

    def _reading(self, query: CustomerQuery | CustomersQuery | HistoryQuery) -> list[Said]:
        """See ``Reading``: all that tells of a customer is asked, and the whole history where one is wanted."""
        match query:
            case CustomersQuery():
                said = asked_for_customers(self._book.say, query)
                return [] if said is None else [said]
            case HistoryQuery(customer=CustomerReference() as customer, limit=limit):
                name = self._named(customer)
                history = None if limit == 0 else asked_for_history(self._book.say, name)
                ways = self._ways(name)
                if limit == 0:
                    return ways
                return [] if history is None else [*ways, history]
            case CustomerQuery(references=references):
                return self._ways(self._first_named(references))
            case _:
                return []

    def _ways(self, name: CustomerReference) -> list[Said]:
        others = (one for references in self._known if name in references for one in references)
        return self._book.ways(CustomerQuery(references=tuple(dict.fromkeys((name, *others)))))

    def _first_named(self, references: Sequence[CustomerReference]) -> CustomerReference:
        for reference in references[:-1]:
            try:
                return self._named(reference)
            except ConfigurationError:
                continue
        return self._named(references[-1])

    def _sent(self, said: Said) -> Sent:
        contract, request = self._book.contract(said.operation), said.request
        headers = {"accept": "application/json", **request.headers}
        if request.body is not None:
            headers["content-type"] = contract.media_types[0]
        return Sent(
            operation=said.operation.id,
            method=contract.method,
            path=_address(contract, request, self._url),
            headers=headers,
            body=request.body,
        )


def _address(contract: OperationContract, request: ValidRequest, url: str | None) -> str:
    path = contract.path if url is None else url.rstrip("/") + contract.template
    for name, value in request.path_values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    query = urlencode(request.query)
    return f"{path}?{query}" if query else path


def _lost(adjustment: Adjustment, said: Said) -> dict[str, Lost]:
    assert isinstance(said.meant, Adjustment)
    return {field: Lost(*values) for field, values in lost(adjustment, said.meant).items()}


def _common(one: Any, other: Any) -> Any:
    """A body in which what depends on the points stands for what the customer has."""
    match one, other:
        case dict(), dict():
            return {name: _common(value, other.get(name)) for name, value in one.items()}
        case _:
            return one if one == other else _BALANCE
