"""Where the vendor's real server answers: its answer is fetched, and behind it both directions are validated."""

import asyncio
from typing import Final

from loyalty_gateway.exchange import Exchange
from loyalty_gateway.problem import Code, Problem, Violation
from loyalty_gateway.spec import Contract, Defect
from loyalty_gateway.upstream.connections import NotSent, Received, Unclear, Undecodable, answer_of
from loyalty_gateway.upstream.passthrough import Passthrough
from loyalty_gateway.validation import valid_body

_LONG_BODY: Final = 65_536
_LONGEST_INDEX: Final = 5


async def forward(backend: Passthrough, exchange: Exchange, body: bytes) -> Received:
    """The vendor's own answer; raises Problem UNAVAILABLE where there is none, and asks for it only once."""
    _, contract = exchange.routed
    scope = exchange.scope
    try:
        return await backend.forward(
            contract,
            method=scope["method"],
            path=exchange.path,
            query=scope["query_string"],
            headers=list(scope["headers"]),
            body=body,
        )
    except NotSent as fault:
        raise Problem(Code.UNAVAILABLE) from fault
    except Unclear as doubt:
        exchange.ambiguous = True
        raise Problem(Code.UNAVAILABLE) from doubt


async def look_back(exchange: Exchange, received: Received, vendor_contract: Contract) -> None:
    """Holds what was passed on, in both directions, against the spec; the answer is out already."""
    try:
        if len(received.content) + len(exchange.raw_body or b"") > _LONG_BODY:
            # Beside the event loop, so that nobody else waits.
            await asyncio.to_thread(_look, exchange, received, vendor_contract)
        else:
            _look(exchange, received, vendor_contract)
    except Exception as error:  # noqa: BLE001 - nothing here may be seen from outside
        exchange.error = error


def _look(exchange: Exchange, received: Received, vendor_contract: Contract) -> None:
    exchange.request_defects = _request_defects(exchange, vendor_contract)
    exchange.defects = _answer_defects(exchange, received, vendor_contract)


def _request_defects(exchange: Exchange, vendor_contract: Contract) -> tuple[Defect, ...]:
    _, contract = exchange.routed
    try:
        valid_body(exchange, (exchange.raw_body or b"") if contract.media_types else b"")
    except Problem as problem:
        found = tuple(_defect(violation, vendor_contract) for violation in problem.violations)
        return found or (Defect(location="/body", constraint=problem.code.value),)
    return ()


def _defect(violation: Violation, vendor_contract: Contract) -> Defect:
    """Told without what was sent, of which the names in a body are a part."""
    place = vendor_contract.place(violation.path) if violation.location == "body" else violation.field
    return Defect(location="/" + "/".join(filter(None, (violation.location, place))), constraint=violation.keyword)


def _answer_defects(exchange: Exchange, received: Received, vendor_contract: Contract) -> tuple[Defect, ...]:
    _, contract = exchange.routed
    if exchange.request.method == "HEAD":
        return ()
    try:
        found = contract.defects(exchange.request, answer_of(received))
    except Undecodable:
        return (Defect(location="/", constraint="its content-encoding cannot be read"),)
    return tuple(
        Defect(location=f"/{vendor_contract.place(_steps(defect.location))}", constraint=defect.constraint)
        for defect in found
    )


def _steps(location: str) -> list[str | int]:
    """The steps of a place in an answer; a number as large as no index is a name."""
    steps = filter(None, location.split("/"))
    return [int(step) if step.isdecimal() and len(step) <= _LONGEST_INDEX else step for step in steps]
