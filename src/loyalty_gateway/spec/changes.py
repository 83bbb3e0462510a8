"""What differs between two versions of a document, and which of it breaks those who keep to the first."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from loyalty_gateway.spec.document import resolved

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_FACTS: Final = (*sorted(_LOWER | _UPPER), "const", "format", "pattern", "multipleOf", "uniqueItems")
_DEEPEST: Final = 24

Facts = dict[str, Any]
Kind = Literal["server", "security", "operation", "status", "field", "type", "enum", "required", "constraint"]
Side = Literal["server", "client"]

_NOBODY: Final[tuple[Side, ...]] = ()
_SERVER: Final[tuple[Side, ...]] = ("server",)
_CLIENT: Final[tuple[Side, ...]] = ("client",)
_BOTH: Final[tuple[Side, ...]] = ("server", "client")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference.

    ``where`` is ``request`` or ``answer`` and a status, with the place as a pointer that has ``*`` for items;
    it is empty for an operation as a whole. ``breaks`` are those sides which keep to the earlier version and err
    by it: a ``server`` gets what it never read, or answers what is not allowed any more; a ``client`` sends what
    is not taken any more, or gets what it never read.
    """

    kind: Kind
    operation: str
    where: str = ""
    what: str
    breaks: tuple[Side, ...]


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """The differences between two documents, operation by operation."""
    before, after = _operations(old), _operations(new)
    told: list[Change] = []
    for key, name in sorted(before.items()):
        if key not in after:
            told.append(Change(kind="operation", operation=name, what="removed", breaks=_BOTH))
            continue
        if after[key] != name:
            what = f"has the operationId {after[key]} now"
            told.append(Change(kind="operation", operation=name, what=what, breaks=_NOBODY))
        told += _around(name, old, new, key)
        told += _within(name, _facts(old, *key), _facts(new, *key))
    told += [
        Change(kind="operation", operation=name, what="added", breaks=_NOBODY)
        for key, name in sorted(after.items())
        if key not in before
    ]
    return told


def operations_of(document: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """The path and the method of each operation."""
    return frozenset(_operations(document))


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (path, method): item[method].get("operationId") or f"{method.upper()} {path}"
        for path, item in document.get("paths", {}).items()
        for method in _METHODS
        if method in item
    }


def _around(operation: str, old: dict[str, Any], new: dict[str, Any], key: tuple[str, str]) -> Iterator[Change]:
    """Where the operation is served, and with which credentials."""
    kinds: tuple[tuple[Kind, Any], ...] = (("server", _servers), ("security", _security))
    for kind, told in kinds:
        before, after = told(old, *key), told(new, *key)
        if before != after:
            what = f"{', '.join(before) or 'none'} → {', '.join(after) or 'none'}"
            yield Change(kind=kind, operation=operation, what=what, breaks=_BOTH)


def _servers(document: dict[str, Any], path: str, method: str) -> list[str]:
    item = document["paths"][path]
    told = item[method].get("servers") or item.get("servers") or document.get("servers") or ()
    return [str(server.get("url", "")) for server in told]


def _security(document: dict[str, Any], path: str, method: str) -> list[str]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    return [
        " + ".join(f"{name} {msgspec.json.encode(_bare(schemes.get(name))).decode()}" for name in needs)
        for needs in document["paths"][path][method].get("security", document.get("security", ()))
    ]


def _bare(scheme: Any) -> dict[str, Any]:
    return {word: scheme[word] for word in ("type", "scheme", "in", "name") if word in (scheme or {})}


def _within(operation: str, before: Mapping[str, Facts], after: Mapping[str, Facts]) -> Iterator[Change]:
    for where in sorted({*before, *after}):
        is_request = where.startswith("request")
        kind: Kind = "field" if "/" in where else "status"
        old, new = before.get(where), after.get(where)
        if old is not None and new is not None:
            yield from _altered(operation, where, old, new)
        # Of what comes or goes with what holds it, that alone is told.
        elif new is not None and (kind == "status" or _above(where) in before):
            needed = bool(new["required"])
            breaks = (_BOTH if needed else _SERVER) if is_request else _SERVER if needed else _NOBODY
            what = "added, and required" if needed else "added"
            yield Change(kind=kind, operation=operation, where=where, what=what, breaks=breaks)
        elif old is not None and (kind == "status" or _above(where) in after):
            breaks = _CLIENT if is_request else _SERVER if kind == "status" else _BOTH
            yield Change(kind=kind, operation=operation, where=where, what="removed", breaks=breaks)


def _above(where: str) -> str:
    return where.rpartition("/")[0]


def _altered(operation: str, where: str, old: Facts, new: Facts) -> Iterator[Change]:
    # Whoever sends must keep to what is narrower now; whoever reads meets what is wider now.
    sends, reads = (_CLIENT, _SERVER) if where.startswith("request") else (_SERVER, _CLIENT)

    def change(kind: Kind, what: str, *, narrower: bool = False, wider: bool = False) -> Change:
        breaks = (*(sends if narrower else ()), *(reads if wider else ()))
        return Change(kind=kind, operation=operation, where=where, what=what, breaks=breaks)

    if old["required"] != new["required"]:
        needed = bool(new["required"])
        what = "required now" if needed else "no longer required"
        yield change("required", what, narrower=needed, wider=not needed)
    kinds: tuple[tuple[Kind, str], ...] = (("type", "types"), ("enum", "words"))
    for kind, word in kinds:
        before: list[str] = old.get(word, [])
        after: list[str] = new.get(word, [])
        if before == after:
            continue
        if not before or not after:
            what = f"only {', '.join(after)}" if after else f"no longer only {', '.join(before)}"
            yield change(kind, what, narrower=bool(after), wider=bool(before))
            continue
        for told, gone in (("no longer", set(before) - set(after)), ("also", set(after) - set(before))):
            if gone:
                what = f"{told} {', '.join(sorted(gone))}"
                yield change(kind, what, narrower=told == "no longer", wider=told == "also")
    for word in _FACTS:
        was, now = old.get(word), new.get(word)
        if was != now:
            what = f"{word} {_said(was)} → {_said(now)}"
            yield change(
                "constraint", what, narrower=_is_narrower(word, was, now), wider=_is_narrower(word, now, was)
            )


def _is_narrower(word: str, old: Any, new: Any) -> bool:
    if new is None:
        return False
    if old is None:
        return True
    if word in _LOWER:
        return bool(new > old)
    return bool(new < old) if word in _UPPER else True


def _said(value: Any) -> str:
    return "none" if value is None else str(value)


def _facts(document: dict[str, Any], path: str, method: str) -> dict[str, Facts]:
    """What is said of each parameter, field and status of the operation, by its place."""
    item = document["paths"][path]
    operation = item[method]
    told: dict[str, Facts] = {
        place: {"required": False}
        for place in ("request", "request/query", "request/path", "request/header", "request/cookie")
    }
    for one in (*item.get("parameters", ()), *operation.get("parameters", ())):
        parameter = resolved(document, one)
        where = f"request/{parameter['in']}/{parameter['name']}"
        _collect(document, [parameter.get("schema", {})], where, told, required=bool(parameter.get("required")))
    body = resolved(document, operation.get("requestBody"))
    for content in body.get("content", {}).values():
        _collect(document, [content.get("schema", {})], "request/body", told, required=bool(body.get("required")))
    for status, response in operation.get("responses", {}).items():
        told[f"answer {status}"] = {"required": False}
        for content in resolved(document, response).get("content", {}).values():
            _collect(document, [content.get("schema", {})], f"answer {status}/body", told, required=False)
    return told


def _collect(
    document: dict[str, Any], schemas: list[Any], where: str, told: dict[str, Facts], *, required: bool
) -> None:
    layers = [layer for schema in schemas for layer in _layers(document, schema)]
    facts: Facts = {"required": required}
    types = {str(one) for layer in layers for one in _listed(layer.get("type"))}
    types |= {"null" for layer in layers if layer.get("nullable")}
    words = {str(one) for layer in layers for one in layer.get("enum", ())}
    if types:
        facts["types"] = sorted(types)
    if words:
        facts["words"] = sorted(words)
    for layer in layers:
        facts |= {word: layer[word] for word in _FACTS if word in layer}
    told[where] = facts
    if where.count("/") > _DEEPEST:
        return
    needed = {name for layer in layers for name in layer.get("required", ())}
    fields: dict[str, list[Any]] = {}
    for layer in layers:
        for name, child in layer.get("properties", {}).items():
            fields.setdefault(name, []).append(child)
    for name, children in fields.items():
        _collect(document, children, f"{where}/{name}", told, required=name in needed)
    items = [layer["items"] for layer in layers if "items" in layer]
    if items:
        _collect(document, items, f"{where}/*", told, required=False)


def _layers(document: dict[str, Any], schema: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The schema and all that speaks of the same value; alternatives are taken together."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return
    node = resolved(document, schema)
    yield node
    parts: Iterable[Any] = [part for word in ("allOf", "anyOf", "oneOf") for part in node.get(word, ())]
    for part in (*parts, *(node[word] for word in ("then", "else") if word in node)):
        yield from _layers(document, part, depth + 1)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
