"""What the nodes of a document refer to within it, and which of them refer to nothing."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

Place = tuple[str, ...]

_PROSE: Final = frozenset({"description", "summary", "title"})
# Where the names in a mapping are chosen by whoever wrote the document, and mean nothing in OpenAPI.
_OF_NAMES: Final = frozenset(
    {
        "$defs",
        "callbacks",
        "content",
        "definitions",
        "dependentSchemas",
        "encoding",
        "examples",
        "headers",
        "links",
        "parameters",
        "pathItems",
        "paths",
        "patternProperties",
        "properties",
        "requestBodies",
        "responses",
        "schemas",
        "securitySchemes",
        "webhooks",
    }
)
_VALUES: Final = frozenset({"const", "default", "enum", "example", "value"})
_PARTS: Final = ("allOf", "anyOf", "oneOf")
_PART: Final = ("not", "if", "then", "else")
_INDEX: Final = re.compile("0|[1-9][0-9]{0,8}")
NOWHERE: Final = object()
"""What stands where there is nothing."""


def escaped(name: str) -> str:
    """The name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def pointer(place: Iterable[str | int]) -> str:
    """The place as a JSON pointer."""
    return "".join(f"/{escaped(str(step))}" for step in place)


def value_at(value: Any, pointer: str) -> Any:
    """What stands at a JSON pointer, or ``NOWHERE``."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        match value:
            case dict():
                value = value.get(name, NOWHERE)
            case list() if _INDEX.fullmatch(name) and int(name) < len(value):
                value = value[int(name)]
            case _:
                return NOWHERE
    return value


def resolved(document: dict[str, Any], node: Any) -> dict[str, Any]:
    """The node itself, or what its local ``$ref`` points to; empty where that is nothing."""
    followed: list[str] = []
    while isinstance(node, dict) and isinstance(reference := node.get("$ref"), str):
        if reference in followed:
            return {}
        followed.append(reference)
        node = _at(document, reference)
    return node if isinstance(node, dict) else {}


def meant(document: dict[str, Any], node: Any, within: tuple[str, ...] = (), *, names: bool = False) -> Any:
    """What a node says without prose and extensions, and with what it refers to, but for references to itself.

    Args:
        document: where references are looked up.
        node: any node of it.
        within: the references through which the node was come to.
        names: whether the node's keys are names that somebody chose, and have no meaning in OpenAPI.
    """
    match node:
        case list():
            return [meant(document, child, within) for child in node]
        case {"$ref": str(reference), **beside} if not names:
            if reference in within:
                return node
            there = meant(document, resolved(document, {"$ref": reference}), (*within, reference))
            return there | meant(document, beside, within)
        case dict():
            return {
                key: meant(document, child, within, names=key in _OF_NAMES and not names)
                for key, child in node.items()
                if names or not (key in _PROSE or key.startswith("x-"))
            }
        case _:
            return node


def broken_references(document: dict[str, Any]) -> dict[str, str]:
    """The places of references that lead to nothing, as JSON pointers, with what is wrong with each."""
    return {
        pointer(place): what
        for place, reference in _references(document)
        if (what := _wrong(document, reference)) is not None
    }


def without_broken_references(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself, or a copy without the references that lead to nothing; what is beside them stays."""
    broken = frozenset(broken_references(document))
    return _without(document, broken, "") if broken else document


def _wrong(document: dict[str, Any], reference: Any) -> str | None:
    if not isinstance(reference, str):
        return "has a $ref that is no text"
    if not _is_local(reference):
        return f'refers to "{reference}", which is not followed; give a place in here, "#/components/…"'
    node = _at(document, reference)
    if node is NOWHERE:
        return f'refers to "{reference}", which is not in the document'
    if not isinstance(node, dict | bool):
        return f'refers to "{reference}", which is no object'
    if _leads_back(document, reference):
        return f'refers to "{reference}", which is nothing but a reference back to itself'
    return None


def _leads_back(document: dict[str, Any], reference: str) -> bool:
    """Whether what is referred to is said to be itself, or itself and more; within a field it may well stand."""
    waiting: list[Any] = [_at(document, reference)]
    followed = set()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        further = node.get("$ref")
        if further == reference:
            return True
        if isinstance(further, str) and further not in followed:
            followed.add(further)
            waiting.append(_at(document, further))
        for word in _PARTS:
            parts = node.get(word)
            waiting += parts if isinstance(parts, list) else ()
        waiting += [node[word] for word in _PART if word in node]
    return False


def _without(node: Any, broken: frozenset[str], place: str) -> Any:
    match node:
        case dict():
            return {
                key: _without(child, broken, f"{place}/{escaped(key)}")
                for key, child in node.items()
                if not (key == "$ref" and place in broken)
            }
        case list():
            children = [(child, _without(child, broken, f"{place}/{index}")) for index, child in enumerate(node)]
            # An item that was nothing but such a reference is none.
            return [left for child, left in children if left != {} or child == {}]
        case _:
            return node


def _references(node: Any, place: Place = (), *, names: bool = False) -> Iterator[tuple[Place, Any]]:
    match node:
        case list() if place[-1:] != ("examples",):
            for index, child in enumerate(node):
                yield from _references(child, (*place, str(index)))
        case dict():
            if not names and "$ref" in node:
                yield place, node["$ref"]
            for key, child in node.items():
                if names or not (key in _VALUES or key.startswith("x-")):
                    yield from _references(child, (*place, key), names=key in _OF_NAMES and not names)


def _is_local(reference: str) -> bool:
    return reference == "#" or reference.startswith("#/")


def _at(document: dict[str, Any], reference: str) -> Any:
    """What a reference points to by its place in the document."""
    return value_at(document, unquote(reference[1:])) if _is_local(reference) else NOWHERE
