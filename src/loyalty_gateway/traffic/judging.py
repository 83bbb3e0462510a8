"""One exchange held against a vendor's contract, in both directions."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from loyalty_gateway.body import media_type_of, parse_json
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.routing import Match, Paths
from loyalty_gateway.spec import Contract, Defect, Fields, OperationContract
from loyalty_gateway.spec.fields import Place, without
from loyalty_gateway.traffic.exchange import Exchange, Message
from loyalty_gateway.traffic.masking import UNTOLD, shown_method, shown_name
from loyalty_gateway.vendor import Answer, Operation, Request, Vendor

Kind = Literal["undocumented operation", "undocumented field", "undocumented status", "violation"]

_LONGEST_INDEX = 5
_MOST_STEPS: Final = 12
_MOST_OBSERVATIONS: Final = 30


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that an exchange shows: ``location`` has ``*`` for indexes and names that are nobody's.

    ``place`` leads to the value in the body of the request or the answer, and is empty elsewhere.
    """

    kind: Kind
    direction: Literal["request", "answer"]
    location: str
    constraint: str = ""
    place: Place = ()


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one exchange; ``operation`` is ``None`` where the document knows none.

    Bodies are UNSET where they are no JSON.
    """

    operation: OperationContract | None
    match: Match | None = None
    request_body: Any = msgspec.UNSET
    answer_body: Any = msgspec.UNSET
    observations: tuple[Observation, ...]


class Judge:
    """Judges the exchanges of one vendor.

    Args:
        vendor: whose they are.
        contract: the vendor's contract.
        aliases: further paths, each with the published one that it stands for.
        options: the vendor's own options.
    """

    def __init__(self, vendor: Vendor, contract: Contract, aliases: Mapping[str, str], options: Any) -> None:
        self.vendor = vendor
        self.contract = contract
        self.operations = {operation.id: operation for operation in vendor.operations}
        self._paths = Paths(contract.operations.values(), aliases, f"vendors.{vendor.name}")
        self._options = options
        self._fields = Fields(contract.document.corrected)
        self._words = frozenset(step for one in contract.operations.values() for step in one.path.split("/"))

    def match(self, method: str, path: str) -> Match | None:
        """The operation at the raw path; ``None`` where the document knows none."""
        try:
            # Whoever may GET may ask for the head alone.
            return self._paths.match("GET" if method == "HEAD" else method, path)
        except Problem:
            return None

    def judge(self, exchange: Exchange, path: str) -> Judged:
        """What the exchange shows; of all that is wrong with one message only so much that somebody may read it.

        Args:
            exchange: the request with its answer.
            path: its raw path below the vendor's mount, without the query.
        """
        match = self.match(exchange.method, path)
        request_body = _json_of(exchange.request)
        answer_body = _json_of(exchange.answer)
        if match is None:
            location = f"{shown_method(exchange.method)} {self.shown_path(path)}"
            return Judged(
                operation=None,
                request_body=request_body,
                answer_body=answer_body,
                observations=(Observation(kind="undocumented operation", direction="request", location=location),),
            )
        contract = self.contract.operations[match.operation_id]
        operation = self.operations[match.operation_id]
        query = dict(parse_qsl(exchange.query, keep_blank_values=True))
        request = Request(
            vendor=self.vendor,
            operation=operation,
            method=exchange.method,
            path_values=match.path_values,
            query=query,
            headers={name.lower(): value for name, value in exchange.request.headers},
            options=self._options,
        )
        found = _few(
            Observation(kind="undocumented field", direction="request", location=f"/query/{shown_name(name)}")
            for name in query
            if name not in self._fields.queries(contract)
        )
        found += _checked(
            "request", self._of_request(operation, contract, request, exchange.request, request_body)
        )
        found += _checked("answer", self._of_answer(contract, request, exchange, answer_body))
        return Judged(
            operation=contract,
            match=match,
            request_body=request_body,
            answer_body=answer_body,
            observations=tuple(found),
        )

    def shown_path(self, path: str) -> str:
        """A path that the document does not know, with ``*`` for whatever is no step of the document's.

        Credentials and customers travel in paths, and may read like any word. Of a path that is longer than any
        published one ``*`` is the rest.
        """
        steps = path.split("/")
        if len(steps) > _MOST_STEPS:
            steps[_MOST_STEPS - 1 :] = [UNTOLD]
        return "/".join(step if step in self._words else UNTOLD for step in steps)

    def _of_request(
        self,
        operation: Operation,
        contract: OperationContract,
        request: Request,
        message: Message,
        body: Any,
    ) -> Iterator[Observation]:
        raw = message.body if contract.media_types else b""
        media_type = ""
        if raw:
            try:
                media_type = media_type_of(message.header("content-type"), contract.media_types)
                parse_json(raw)
            except Problem as problem:
                yield _violation("request", "/body", problem.code.value)
                return
            unknown = [
                place
                for place in self._fields.unknown_in_request(contract, media_type, body)
                if place[0] not in operation.body_credentials
            ]
            yield from _few(self._unknown("request", unknown))
            body = without(body, unknown)
            raw = msgspec.json.encode(body) if unknown else raw
        yield from _few(
            self._violated(violation)
            for violation in contract.violations(request, media_type, raw or b"", body)
            if violation.location != "body" or raw is not None
        )

    def _of_answer(
        self, contract: OperationContract, request: Request, exchange: Exchange, body: Any
    ) -> Iterator[Observation]:
        message = exchange.answer
        if str(exchange.status) not in contract.statuses and "default" not in contract.statuses:
            yield Observation(
                kind="undocumented status", direction="answer", location="/status", constraint=str(exchange.status)
            )
            return
        if message.body is None or exchange.method == "HEAD":
            return
        unknown: list[Place] = []
        if body is msgspec.UNSET and message.body and "json" in message.media_type:
            yield _violation("answer", "/body", Code.UNREADABLE.value)
            return
        if body is not msgspec.UNSET:
            unknown = self._fields.unknown_in_answer(contract, exchange.status, message.media_type, body)
            yield from _few(self._unknown("answer", unknown))
        answer = Answer(
            exchange.status,
            without(body, unknown),
            {name.lower(): value for name, value in message.headers},
            message.body.decode("utf-8", "replace") if message.body and body is msgspec.UNSET else None,
            message.media_type,
        )
        yield from _few(map(self._defective, contract.defects(request, answer)))

    def _unknown(self, direction: Literal["request", "answer"], places: Iterable[Place]) -> Iterator[Observation]:
        for place in places:
            above = self.contract.place(place[:-1])
            steps = ["body", *filter(None, above.split("/")), shown_name(str(place[-1]))]
            yield Observation(
                kind="undocumented field", direction=direction, location=_location(steps), place=place
            )

    def _violated(self, violation: Violation) -> Observation:
        known = self.contract.place(violation.path) if violation.location == "body" else violation.field
        steps = [violation.location, *filter(None, known.split("/"))]
        place = violation.path if violation.location == "body" else ()
        return _violation("request", _location(steps), violation.keyword, place)

    def _defective(self, defect: Defect) -> Observation:
        place = tuple(
            int(step) if step.isdecimal() and len(step) <= _LONGEST_INDEX else step
            for step in filter(None, defect.location.split("/"))
        )
        steps = ["body", *filter(None, self.contract.place(place).split("/"))]
        return _violation("answer", _location(steps), defect.constraint, place)


def _checked(
    direction: Literal["request", "answer"], observations: Iterator[Observation]
) -> Iterator[Observation]:
    """The observations; what no check was made for ends neither a command nor a recording."""
    try:
        yield from observations
    except Exception:  # noqa: BLE001 - whatever the libraries make of what anybody may send
        yield _violation(direction, "/", "the check itself failed")


def _few(observations: Iterable[Observation]) -> list[Observation]:
    """The first of each place, and no more of them than somebody may read."""
    found: dict[tuple[str, str], Observation] = {}
    for observation in observations:
        found.setdefault((observation.location, observation.constraint), observation)
        if len(found) == _MOST_OBSERVATIONS:
            break
    return [*found.values()]


def _violation(
    direction: Literal["request", "answer"], location: str, constraint: str, place: Place = ()
) -> Observation:
    return Observation(
        kind="violation", direction=direction, location=location, constraint=constraint, place=place
    )


def _location(steps: Iterable[str]) -> str:
    return "/" + "/".join("*" if step.isdecimal() else step for step in steps)


def _json_of(message: Message) -> Any:
    """The body's JSON value; UNSET where there is none."""
    if not message.body or ("json" not in message.media_type and message.media_type):
        return msgspec.UNSET
    try:
        return parse_json(message.body)
    except Problem:
        return msgspec.UNSET
