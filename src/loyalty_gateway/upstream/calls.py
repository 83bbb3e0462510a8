"""Asking an upstream's operations for tasks: which of them can say it, and what their answers come to."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from hashlib import blake2b
from typing import Final

import msgspec

from loyalty_gateway.customer import Query
from loyalty_gateway.problem import Code, Problem
from loyalty_gateway.told import Told, ToldEntry, ToldReceipt
from loyalty_gateway.upstream.answers import tells_entry
from loyalty_gateway.upstream.connections import NotSent, Unclear
from loyalty_gateway.upstream.phrasebook import Phrasebook, Said
from loyalty_gateway.upstream.server import Server
from loyalty_gateway.vendor import Answer, Operation, ValidRequest

_log = logging.getLogger(__name__)

_ATTEMPTS: Final = 3
_BETWEEN_SECONDS: Final = 0.1
_MOST_PAGES: Final = 500

_TOLD_ON: Final = {
    Code.UNKNOWN_CUSTOMER,
    Code.CUSTOMER_EXCLUDED,
    Code.CUSTOMER_CONFLICT,
    Code.TOO_FEW_POINTS,
    Code.AMOUNT_OUT_OF_RANGE,
    Code.BALANCE_OVERFLOW,
    Code.RECORD_BUSY,
    Code.RATE_LIMITED,
    Code.INVALID,
}
"""What an upstream's refusal says of the request; the rest is between us and it, and no matter of the client's."""
_PASSES: Final = {Code.RECORD_BUSY, Code.RATE_LIMITED, Code.KEY_IN_FLIGHT}
_SAYS_NOTHING: Final = {408, 409, 499}
"""Statuses of somebody on the way, or of another request like this one, unless the vendor says more."""
_NOT_CARRIED_OUT: Final = {Code.RECORD_BUSY, Code.UNAVAILABLE}


class Calls:
    """The operations of one upstream; ``options`` are the vendor's own, as the upstream's merchant has them."""

    def __init__(self, server: Server, options: msgspec.Struct) -> None:
        self._server = server
        self._book = Phrasebook(server.vendor, server.operations, server.contract, options)
        self.vendor = server.vendor
        self.namespaces = self._book.namespaces
        self.say = self._book.say
        self.ways = self._book.ways
        self.known_again = self._book.known_again
        self._options = options

    # Reading

    async def read(self, query: Query) -> list[Told] | None:
        """What the pages of the first operation tell that can answer; ``None`` where none can ask for it.

        Raises Problem as ``pages`` does.
        """
        said = self.say(query)
        return None if said is None else [told async for told in self.pages(said)]

    async def pages(
        self,
        said: Said,
        on_defect: Callable[[], None] = lambda: None,
        *,
        most: int | None = _MOST_PAGES,
        ask: Callable[[Callable[[], Awaitable[Answer]]], Awaitable[Answer]] = lambda work: work(),
    ) -> AsyncIterator[Told]:
        """What one page after another tells; raises Problem UNAVAILABLE, or what the upstream refuses.

        ``on_defect`` hears of each page that is off the contract, and may therefore tell less than there is.
        There are at ``most`` so many pages, and never one that was asked for before; without a bound, none that is
        as the one before either. ``ask`` is how one is asked for.
        """
        request: ValidRequest | None = said.request
        before, asked = None, set[bytes]()
        while request is not None:
            place = _place(request)
            if place in asked or len(asked) == most:
                raise Problem(Code.UNAVAILABLE)
            asked.add(place)
            answer = await ask(partial(self._asked, said.operation, request))
            if most is None and before is not None and answer.body == before.body:
                # It goes by something else than the place that it is asked for, and would never come to an end.
                raise Problem(Code.UNAVAILABLE)
            before = answer
            if self._server.contract(said.operation).defects(
                self._book.as_received(said.operation, request), answer
            ):
                on_defect()
            try:
                told = said.operation.parse_response(answer, request)
                request = said.operation.next_request(answer, request)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise Problem(Code.UNAVAILABLE) from error
            if told is not None:
                yield told

    async def registered(self, said: Said, *, repeats: bool) -> Told | None:
        """What is told of a customer who was made or changed; raises Problem.

        ``repeats`` is for what comes to the same however often it is carried out.
        """
        answer = await self._asked(said.operation, said.request, attempts=_ATTEMPTS if repeats else 1)
        try:
            return said.operation.parse_response(answer, said.request)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Problem(Code.UNAVAILABLE) from error

    async def _asked(self, operation: Operation, request: ValidRequest, attempts: int = _ATTEMPTS) -> Answer:
        """The successful answer to a request that can be sent again, as one that changes nothing."""
        failure = Problem(Code.UNAVAILABLE)
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(_BETWEEN_SECONDS * 2**attempt)
            try:
                answer = await self._server.send(operation, request)
            except NotSent as fault:
                failure = _unavailable(fault)
            except Unclear as fault:
                failure = Problem(Code.UNAVAILABLE)
                failure.__cause__ = fault
            else:
                if 200 <= answer.status < 300 and answer.text is None:
                    return answer
                if answer.status < 500 and answer.status != 429:
                    raise self._refusal(answer, operation)
                failure = self._refusal(answer, operation)
        raise failure

    # Writing

    async def adjust(self, said: Said, may_send: Callable[[], bool]) -> ToldReceipt:
        """What the answer tells of an adjustment that was carried out; nothing is sent unless it may be.

        It is sent again only where it cannot be carried out twice: it was not carried out before, or it has a key
        of the vendor's own.

        Raises:
            Problem: it was not carried out.
            Unclear: it may have been.
        """
        field = said.operation.idempotency_field
        is_keyed = field is not None and isinstance(said.request.body, dict) and field in said.request.body
        failure: Exception = Problem(Code.UNAVAILABLE)
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(_BETWEEN_SECONDS * 2**attempt)
            try:
                return self._carried_out(said, await self._server.send(said.operation, said.request, may_send))
            except (NotSent, Unclear, Problem) as fault:
                failure = _weighed(fault, failure)
            if isinstance(failure, Unclear) and not is_keyed:
                raise failure
            if isinstance(failure, Problem) and not _passes(failure):
                raise failure
        if isinstance(failure, Problem) and failure.code is Code.KEY_IN_FLIGHT:
            raise Unclear("the key is in flight there")
        raise failure

    def _carried_out(self, said: Said, answer: Answer) -> ToldReceipt:
        if not 200 <= answer.status < 300:
            raise self._failure(answer, said)
        operation, contract = said.operation, self._server.contract(said.operation)
        conforms = not contract.defects(self._book.as_received(operation, said.request), answer)
        try:
            told = operation.parse_response(answer, said.request)
        except (Problem, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Unclear("the answer is off the contract") from error
        assert told is None or isinstance(told, ToldReceipt)
        is_telling = told is not None and told.entry != ToldEntry()
        if not conforms:
            _log.warning("%s: an answer to %s is off the contract", self.vendor.name, operation.id)
        if not is_telling and (not conforms or tells_entry(operation, self._options)):
            # A contract may admit anything; who is known to tell what was done has not told that it was.
            raise Unclear("the answer tells nothing")
        return told or ToldReceipt()

    def _failure(self, answer: Answer, said: Said) -> Exception:
        operation = said.operation
        if answer.status in _SAYS_NOTHING and self.vendor.parse_problem(answer, operation) is None:
            return Unclear(f"status {answer.status}")
        if answer.status < 500:
            return self._refusal(answer, operation)
        # A vendor that says in its own words that it is not at hand has not carried it out; anybody else on the
        # way cannot know.
        code = self.vendor.parse_problem(answer, operation)
        if code in _NOT_CARRIED_OUT and answer.status == 503 and self._is_in_own_words(answer, said, code):
            return Problem(code)
        return Unclear(f"status {answer.status}")

    def _is_in_own_words(self, answer: Answer, said: Said, code: Code) -> bool:
        told = self.vendor.render_problem(Problem(code), self._book.as_received(said.operation, said.request))
        return bool(answer.body == told.body)

    def _refusal(self, answer: Answer, operation: Operation) -> Problem:
        code = self.vendor.parse_problem(answer, operation) if answer.status >= 400 else None
        if answer.status == 429:
            code = Code.RATE_LIMITED
        if code is Code.KEY_IN_FLIGHT and operation.idempotency_field is not None:
            return Problem(Code.KEY_IN_FLIGHT)
        if code in _TOLD_ON:
            return Problem(code)
        _log.error("%s: %s was refused with status %s (%s)", self.vendor.name, operation.id, answer.status, code)
        return Problem(Code.UNAVAILABLE)


def _place(request: ValidRequest) -> bytes:
    """The digest of what tells a page from the others."""
    told = [dict(request.path_values), dict(request.query), request.body]
    return blake2b(msgspec.json.encode(told), digest_size=16).digest()


def _weighed(fault: Exception, before: Exception) -> Exception:
    """What is known after one more try; what was unclear stays so unless it was carried out.

    What was sent before may come to be carried out after another was refused.
    """
    if isinstance(fault, NotSent):
        fault = _unavailable(fault)
    return before if isinstance(before, Unclear) else fault


def _passes(problem: Problem) -> bool:
    """Whether another try may do better."""
    return problem.code in _PASSES or isinstance(problem.__cause__, NotSent)


def _unavailable(fault: NotSent) -> Problem:
    if fault.seconds is None or not fault.is_limit:
        problem = Problem(Code.UNAVAILABLE)
    else:
        problem = Problem(Code.RATE_LIMITED, retry_after=max(1, math.ceil(fault.seconds)))
    problem.__cause__ = fault
    return problem
