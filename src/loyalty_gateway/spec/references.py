"""What the nodes of a document refer to within it, and which of them refer to nothing."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

_PROSE: Final = frozenset({"description", "summary", "title"})
_OF_NAMES: Final = frozenset({"headers", "parameters", "patternProperties", "properties", "responses", "schemas"})
_VALUES: Final = frozenset({"const", "default", "enum", "example", "value"})
_NOTHING: Final = object()

Place = tuple[str, ...]


def escaped(name: str) -> str:
    """The name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def resolved(document: dict[str, Any], node: Any) -> dict[str, Any]:
    """The node itself, or what its local ``$ref`` points to; empty where that is nothing."""
    followed = set()
    while isinstance(node, dict) and "$ref" in node:
        if node["$ref"] in followed:
            return {}
        followed.add(node["$ref"])
        node = _at(document, node["$ref"])
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
        "".join(f"/{escaped(step)}" for step in place): what
        for place, reference in _references(document)
        if (what := _wrong(document, reference)) is not None
    }


def _wrong(document: dict[str, Any], reference: str) -> str | None:
    followed = [reference]
    while True:
        if not reference.startswith("#"):
            return f"refers to {reference}, and other documents are not read; bundle them into one"
        node = _at(document, reference)
        if node is _NOTHING:
            return f"refers to {reference}, which is not in the document"
        if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
            return None
        reference = node["$ref"]
        if reference in followed:
            return f"refers by way of {reference} to itself"
        followed.append(reference)


def without_broken_references(document: dict[str, Any]) -> dict[str, Any]:
    """The document itself, or a copy in which what refers to nothing says nothing."""
    broken = broken_references(document)
    return _without(document, broken, "") if broken else document


def _without(node: Any, broken: dict[str, str], place: str) -> Any:
    match node:
        case dict() if place in broken:
            return {}
        case dict():
            return {key: _without(child, broken, f"{place}/{escaped(key)}") for key, child in node.items()}
        case list():
            return [_without(child, broken, f"{place}/{index}") for index, child in enumerate(node)]
        case _:
            return node


def _references(
    node: Any, place: tuple[str, ...] = (), *, names: bool = False
) -> Iterator[tuple[tuple[str, ...], str]]:
    match node:
        case list():
            for index, child in enumerate(node):
                yield from _references(child, (*place, str(index)))
        case dict():
            if not names and isinstance(node.get("$ref"), str):
                yield place, node["$ref"]
            for key, child in node.items():
                if names or not (key in _VALUES or key.startswith("x-")):
                    yield from _references(child, (*place, key), names=key in _OF_NAMES and not names)


def _at(document: dict[str, Any], reference: str) -> Any:
    """What a local reference points to; references by anchors are none that is known here."""
    start, *steps = reference.split("/")
    node: Any = document if start == "#" else _NOTHING
    for step in steps:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        match node:
            case dict():
                node = node.get(name, _NOTHING)
            case list() if name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            case _:
                return _NOTHING
    return node
