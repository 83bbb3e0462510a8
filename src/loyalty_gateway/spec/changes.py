"""What differs between two versions of a document, and which of it breaks those who keep to the first."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from loyalty_gateway.spec.facts import LOWER, UPPER, WORDS, Facts, facts_of

_METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LONGEST_SAID: Final = 100

Kind = Literal[
    "server",
    "security",
    "operation",
    "status",
    "media type",
    "header",
    "field",
    "type",
    "enum",
    "required",
    "constraint",
]
Side = Literal["server", "client"]

_NOBODY: Final[tuple[Side, ...]] = ()
_SERVER: Final[tuple[Side, ...]] = ("server",)
_CLIENT: Final[tuple[Side, ...]] = ("client",)
_BOTH: Final[tuple[Side, ...]] = ("server", "client")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference.

    ``where`` is ``request`` or ``answer`` and a status, with the place as a pointer that has ``*`` for items and
    ``**`` for fields without a name of their own; it is empty for an operation as a whole. ``breaks`` are those
    sides which keep to the earlier version and err by it: a ``server`` gets what it never read, or answers what is
    not allowed any more; a ``client`` sends what is not taken any more, or gets what it never read.
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
        told += _within(name, facts_of(old, *key), facts_of(new, *key))
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
    """Where the operation is served, with which credentials, and whether it is to be used no more."""
    kinds: tuple[tuple[Kind, Any], ...] = (("server", _servers), ("security", _security))
    for kind, told in kinds:
        before, after = told(old, *key), told(new, *key)
        if before != after:
            what = f"{', '.join(before) or 'none'} → {', '.join(after) or 'none'}"
            yield Change(kind=kind, operation=operation, what=what, breaks=_BOTH)
    (path, method) = key
    was, now = (bool(document["paths"][path][method].get("deprecated")) for document in (old, new))
    if was != now:
        what = "deprecated now" if now else "no longer deprecated"
        yield Change(kind="operation", operation=operation, what=what, breaks=_NOBODY)


def _servers(document: dict[str, Any], path: str, method: str) -> list[str]:
    item = document["paths"][path]
    told = item[method].get("servers") or item.get("servers") or document.get("servers") or ()
    return [str(server.get("url", "")) for server in told]


def _security(document: dict[str, Any], path: str, method: str) -> list[str]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    return [
        " + ".join(
            f"{name} {msgspec.json.encode(_bare(schemes.get(name))).decode()}"
            + "".join(f" {one}" for one in scopes)
            for name, scopes in sorted(needs.items())
        )
        for needs in document["paths"][path][method].get("security", document.get("security", ()))
    ]


def _bare(scheme: Any) -> dict[str, Any]:
    return {word: scheme[word] for word in ("type", "scheme", "in", "name") if word in (scheme or {})}


def _within(operation: str, before: Mapping[str, Facts], after: Mapping[str, Facts]) -> Iterator[Change]:
    for where in sorted({*before, *after}):
        is_request = where.startswith("request")
        kind = _kind(where)
        old, new = before.get(where), after.get(where)
        if old is not None and new is not None:
            yield from _altered(operation, where, old, new)
        # Of what comes or goes with what holds it, that alone is told.
        elif new is not None and (kind == "status" or _above(where) in before):
            needed = bool(new["required"])
            if kind == "media type":
                # A body is new to everybody where there was none; one of another type leaves the choice.
                alone = not any(_kind(one) == kind and _above(one) == _above(where) for one in before)
                needed = alone and (needed or not is_request)
            if is_request:
                breaks = _BOTH if needed else _SERVER
            elif kind in {"status", "media type"}:
                breaks = _BOTH if needed else _CLIENT
            else:
                breaks = _SERVER if needed else _NOBODY
            what = f"{_named(new)}added" + (", and required" if needed and new["required"] else "")
            yield Change(kind=kind, operation=operation, where=where, what=what, breaks=breaks)
        elif old is not None and (kind == "status" or _above(where) in after):
            breaks = _CLIENT if is_request else _SERVER if kind == "status" else _BOTH
            yield Change(kind=kind, operation=operation, where=where, what=f"{_named(old)}removed", breaks=breaks)


def _kind(where: str) -> Kind:
    side, *steps = where.split("/")
    match steps:
        case []:
            return "status"
        case [body] if body.startswith("body"):
            return "media type"
        case ["header", _] if side != "request":
            return "header"
        case _:
            return "field"


def _named(facts: Facts) -> str:
    return f"{facts['media type']} " if "media type" in facts else ""


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
    for word in WORDS:
        was, now = old.get(word), new.get(word)
        if was != now:
            narrower, wider = _effect(word, was, now, is_request=where.startswith("request"))
            what = f"{word} {_said(was)} → {_said(now)}"
            yield change("constraint", what, narrower=narrower, wider=wider)


def _effect(word: str, was: Any, now: Any, *, is_request: bool) -> tuple[bool, bool]:
    """Whether less can be sent now, and whether more can."""
    match word:
        case "deprecated":
            return False, False
        case "style" | "explode":
            return True, True
        case "default":
            # What is left out means another thing now, to those who may leave it out and to those who read; where
            # nothing was said before, it may have meant that all along.
            return is_request and was is not None, was is not None
        case "additionalProperties" if not is_request:
            # Fields of an answer that nobody knows are passed over, as added ones are.
            return _is_narrower(word, was, now), False
        case _:
            return _is_narrower(word, was, now), _is_narrower(word, now, was)


def _is_narrower(word: str, old: Any, new: Any) -> bool:
    if new is None:
        return False
    if old is None:
        return True
    if word == "additionalProperties":
        return new is False
    if word in LOWER:
        return bool(new > old)
    return bool(new < old) if word in UPPER else True


def _said(value: Any) -> str:
    if value is None:
        return "none"
    if value and isinstance(value, str):
        return value
    told = msgspec.json.encode(value).decode()
    return told if len(told) <= _LONGEST_SAID else f"{told[:_LONGEST_SAID]}…"
