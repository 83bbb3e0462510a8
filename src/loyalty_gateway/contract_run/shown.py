"""Single exchanges that show a behaviour, as a vendor's record has them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from loyalty_gateway.contract_run.client import Exchange
from loyalty_gateway.contract_run.places import Places
from loyalty_gateway.contract_run.stage import CannotShow, Stage, Violated
from loyalty_gateway.spec.references import NOWHERE, value_at
from loyalty_gateway.upstream.credentials import Presented
from loyalty_gateway.vendor import Answer, Operation, Shown, ValidRequest


def show(stage: Stage, operation: Operation, shown: Shown, places: Places) -> None:
    """Sends it and looks at the answer, which is what ``places`` hold next.

    Raises:
        Violated, CannotShow, NoVerdict: it does not hold, or nothing can be said.
    """
    for name, value in shown.options.items():
        if (chosen := getattr(stage.setup.options, name)) != value:
            raise CannotShow(f"the option {name} is {chosen} and not {value}")
    shown = _filled(places, shown)
    adjusts = operation in stage.adjusting()
    for points in shown.after:
        stage.move(points, stage.first)
    before = stage.stock(stage.first, 10) if adjusts else 0
    request = _request(stage, operation, shown)
    access = stage.setup.access(operation)
    if access is not None and shown.anonymous:
        access = Presented({}, {}, access.path_values)
    exchange = stage.ask(operation, request, access=access, counts=not shown.anonymous)
    places.last = exchange.answer.body
    if adjusts:
        after = stage.balance(stage.first)
        if shown.leaves is not None and after != shown.leaves:
            raise Violated(f"the balance is {after} instead of {shown.leaves}", exchange)
        if shown.leaves is None and after - before != shown.moves:
            raise Violated(f"the balance moved by {after - before:+} instead of {shown.moves:+}", exchange)
    if found := [*_off(shown, exchange), *_off_values(shown, exchange.answer)]:
        raise Violated("; ".join(found), exchange)


def _request(stage: Stage, operation: Operation, shown: Shown) -> ValidRequest:
    plain = stage.plain(operation)
    fields = plain.body if isinstance(plain.body, Mapping) else {}
    body = {name: value for name, value in fields.items() if name not in shown.without} | dict(shown.body)
    query = {name: value for name, value in plain.query.items() if name not in shown.without} | dict(shown.query)
    return msgspec.structs.replace(
        plain,
        path_values={**plain.path_values, **shown.path_values},
        query=query,
        headers={**plain.headers, **shown.headers},
        body=body if plain.body is not None or shown.body else None,
    )


def _filled(places: Places, shown: Shown) -> Shown:
    """With names and earlier answers where their places are."""
    return msgspec.structs.replace(
        shown,
        path_values=places.texts(shown.path_values),
        query=places.texts(shown.query),
        headers=places.texts(shown.headers),
        body=places.filled(shown.body),
        says=str(places.filled(shown.says)),
        says_not=str(places.filled(shown.says_not)),
        tells=places.filled(shown.tells),
    )


def _off(shown: Shown, exchange: Exchange) -> Iterator[str]:
    answer = exchange.answer
    if answer.status != shown.status:
        yield f"status {answer.status} instead of {shown.status}"
    text = answer.text
    if text is None and answer.body is not msgspec.UNSET:
        text = msgspec.json.encode(answer.body).decode()
    if shown.says not in (text or ""):
        yield f"the answer does not say {shown.says!r}"
    if shown.says_not and shown.says_not in (text or ""):
        yield f"the answer says {shown.says_not!r}"


def _off_values(shown: Shown, answer: Answer) -> Iterator[str]:
    for pointer, value in shown.tells.items():
        if (seen := value_at(answer.body, pointer)) != value or type(seen) is not type(value):
            yield f"{pointer} is {_spelt(seen)} instead of {_spelt(value)}"
    for pointer, pattern in shown.looks.items():
        seen = value_at(answer.body, pointer)
        if not isinstance(seen, str) or not re.fullmatch(pattern, seen):
            yield f"{pointer} is {_spelt(seen)}, which does not look like {pattern}"
    for pointer in shown.lacks:
        if (seen := value_at(answer.body, pointer)) is not NOWHERE:
            yield f"{pointer} is {_spelt(seen)} instead of absent"
    for name, pattern in shown.answers_headers.items():
        if not re.fullmatch(pattern, answer.headers.get(name.lower(), "")):
            yield f"the header {name} does not look like {pattern}"


def _spelt(value: Any) -> str:
    return "absent" if value is NOWHERE else msgspec.json.encode(value).decode()
