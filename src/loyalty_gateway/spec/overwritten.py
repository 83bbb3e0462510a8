"""What overlay actions lay hands on, and what of that a new version of the document has changed."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from loyalty_gateway.spec.references import meant, pointer

# An action that is the first to name something there touches that name, and not what others stand beside it.
_OF_NAMES: Final = frozenset(
    {
        "components",
        "content",
        "examples",
        "headers",
        "parameters",
        "paths",
        "properties",
        "requestBodies",
        "responses",
        "schemas",
        "securitySchemes",
    }
)
_ABSENT: Final = object()

Place = tuple[str, ...]
Corrected = tuple[dict[str, Any], dict[str, Any]]


class Overwritten(msgspec.Struct, frozen=True, kw_only=True):
    """A place that an action overwrites, removes or fills, and what of it is new.

    ``place`` is a pointer whose steps into a list are the names of its items, where they have any.
    """

    place: str
    what: str


def overwritten(old: Corrected, new: Corrected) -> list[Overwritten]:
    """What the versions differ in where an action touches either; each is told before and after the action."""
    found = []
    for place in dict.fromkeys((*_touched(*old), *_touched(*new))):
        was, now = _at(old[0], place), _at(new[0], place)
        if was != now:
            found.append(Overwritten(place=pointer(place), what=_told(was, now)))
    return found


def _touched(before: Any, after: Any, place: Place = ()) -> Iterator[Place]:
    if before == after:
        return
    if type(before) is not type(after) or not isinstance(before, dict | list):
        yield place
        return
    old, new = _by_name(before), _by_name(after)
    for name in {**old, **new}:
        here = (*place, name)
        if name in old and name in new:
            yield from _touched(old[name], new[name], here)
        elif name in _OF_NAMES and isinstance(new.get(name), dict):
            yield from _touched({}, new[name], here)
        else:
            yield here


def _at(document: dict[str, Any], place: Place) -> Any:
    node: Any = document
    for step in place:
        node = _by_name(node).get(step, _ABSENT)
    return node if node is _ABSENT else meant(document, node)


def _by_name(node: Any) -> dict[str, Any]:
    """What a node holds; items of a list by what tells them apart wherever they stand."""
    match node:
        case dict():
            return node
        case list():
            return {_name(item, index): item for index, item in enumerate(node)}
        case _:
            return {}


def _name(item: Any, index: int) -> str:
    match item:
        case {"name": str(name)} | {"url": str(name)} | {"$ref": str(name)}:
            return name
        case dict() | list():
            return str(index)
        case _:
            return str(item)


def _told(was: Any, now: Any) -> str:
    if was is _ABSENT:
        return "is there now"
    if now is _ABSENT:
        return "is gone"
    if isinstance(was, dict | list) or isinstance(now, dict | list):
        return "is another now"
    return f"{was} → {now}"
