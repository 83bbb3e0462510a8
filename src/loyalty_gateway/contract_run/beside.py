"""Requests one step beside a plain one: each field left out or replaced by what it hardly can be."""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from loyalty_gateway.contract_run.stage import CannotShow, Stage
from loyalty_gateway.spec.judge import Spoken
from loyalty_gateway.vendor import Operation

_WRONG: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 5.5, 10**20, "", " ", "x", "5", "x" * 300, [], ["x"], {}, {"x": 1}),
    [{"x": None}],
)
_WRONG_TEXTS: Final = ("", " ", "x", "-1", "0", "5.5", "9" * 20, "x" * 300)


def wrong_requests(stage: Stage, operation: Operation, seed: int) -> Iterator[Spoken]:
    """All of them, in an order that the seed decides; some may be valid after all."""
    try:
        plain = stage.spoken(operation, stage.plain(operation))
    except CannotShow:
        return
    found = [*_bodies(plain), *_parameters(stage, operation, plain)]
    random.Random(seed).shuffle(found)  # noqa: S311 - which comes first is no secret
    yield from found


def _bodies(plain: Spoken) -> Iterator[Spoken]:
    if plain.body is msgspec.UNSET:
        return
    yield from (msgspec.structs.replace(plain, body=wrong) for wrong in _WRONG)
    if not isinstance(plain.body, Mapping):
        return
    yield msgspec.structs.replace(plain, body={**plain.body, "noSuchField": 1})
    for name in plain.body:
        yield msgspec.structs.replace(plain, body={one: plain.body[one] for one in plain.body if one != name})
        yield from (msgspec.structs.replace(plain, body={**plain.body, name: wrong}) for wrong in _WRONG)


def _parameters(stage: Stage, operation: Operation, plain: Spoken) -> Iterator[Spoken]:
    for place, name in sorted(stage.setup.parameters(operation)):
        for wrong in _WRONG_TEXTS:
            if place == "query":
                yield msgspec.structs.replace(plain, query={**plain.query, name: wrong})
            elif place == "path" and wrong:
                yield msgspec.structs.replace(plain, path_values={**plain.path_values, name: wrong})
