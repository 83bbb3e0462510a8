"""What a new version of a vendor's document changes: for the translator, the overlay, and who uses the vendor."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from loyalty_gateway.backend_config import (
    BackendConfig,
    MigrationConfig,
    PassthroughConfig,
    UpstreamConfig,
)
from loyalty_gateway.body import parse_json
from loyalty_gateway.config import Config
from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.spec import Contract, Document
from loyalty_gateway.spec.changes import Change, Side, changes, operations_of
from loyalty_gateway.spec.document import Action, apply, has_target, read_yaml
from loyalty_gateway.spec.overwritten import Overwritten, overwritten
from loyalty_gateway.spec.references import without_broken_references
from loyalty_gateway.vendor import Vendor

_HOLDING: Final = frozenset({"status", "media type", "header", "field"})


class ConcernedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay action to be looked at: it finds nothing to do, or hides what is new in the document.

    ``hidden`` are the places that it overwrites, removes or fills and that are not what they were.
    """

    where: str
    target: str
    why: Literal["finds no target", "changes nothing", "hides what is new"]
    reason: str
    hidden: list[Overwritten] = []


class Concerned(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant who uses the vendor, and where the configuration says so.

    ``operations`` are those that break for this use; none is named where nothing tells which.
    """

    merchant: str
    where: str
    how: str
    operations: list[str]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the new version means.

    ``changes`` are those of the document as corrected, and ``hidden`` those of the published one that the overlay
    hides; ``invalid`` says why the new one cannot be used with its overlay, if it cannot.
    """

    vendor: str
    changes: list[Change]
    hidden: list[Change]
    untranslated: list[str]
    actions: list[ConcernedAction]
    invalid: str | None
    merchants: list[Concerned]

    @property
    def breaks(self) -> bool:
        """Whether anything has to be done, or looked at, before the new version holds."""
        return bool(self.actions or self.invalid or self.untranslated) or any(
            one.breaks for one in (*self.changes, *self.hidden)
        )


def compare(document: Document, new: Path, vendor: Vendor, config: Config) -> Comparison:
    """Compares the vendor's document with a new one: both as published, and after the overlay's actions.

    Raises:
        ConfigurationError: the new document cannot be read, or is no OpenAPI document at all.
    """
    try:
        return _compared(document, new, vendor, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"cannot be read as an OpenAPI document ({type(error).__name__})"
        raise ConfigurationError(str(new), what) from error


def _compared(document: Document, new: Path, vendor: Vendor, config: Config) -> Comparison:
    published = read_yaml(new)
    if not isinstance(published.get("paths"), dict):
        raise ConfigurationError(str(new), "has no paths; is it an OpenAPI document?")
    current, actions = _corrected(document, published)
    changed = changes(document.corrected, without_broken_references(current))
    comparison = Comparison(
        vendor=vendor.name,
        changes=changed,
        hidden=_hidden(document, published, changed),
        untranslated=_untranslated(vendor, current),
        actions=actions,
        invalid=_invalid(msgspec.structs.replace(document, corrected=current)),
        merchants=[],
    )
    return msgspec.structs.replace(comparison, merchants=[*_concerned(config, comparison)])


def _corrected(document: Document, published: dict[str, Any]) -> tuple[dict[str, Any], list[ConcernedAction]]:
    """The new document after the overlay's actions, and those of them that are to be looked at."""
    gone = operations_of(document.published) - operations_of(published)
    old, new = _without(msgspec.to_builtins(document.published), gone), published
    concerned = []
    for action in document.actions:
        before, old = old, _applied(action, old, gone) or old
        after = _applied(action, new, gone)
        if after is None:
            found, hidden = has_target(action, new), []
        else:
            found, hidden = True, overwritten((before, old), (new, after))
        if after is None or hidden:
            concerned.append(
                ConcernedAction(
                    where=action.where,
                    target=action.target,
                    why="hides what is new" if hidden else "changes nothing" if found else "finds no target",
                    reason=action.reason,
                    hidden=hidden,
                )
            )
        new = after or new
    return new, concerned


def _applied(action: Action, document: dict[str, Any], gone: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    try:
        return _without(apply(action, document), gone)
    except ConfigurationError:
        return None


def _hidden(document: Document, published: dict[str, Any], told: Iterable[Change]) -> list[Change]:
    """The changes of the document as published that are not told as changes of the corrected one."""
    names = document.corrected["paths"]
    old, new = (_with_names(without_broken_references(one), names) for one in (document.published, published))
    known = {_key(change) for change in told}
    # What the vendor now says as the overlay has long done is no news.
    news = {(change.operation, change.where) for change in changes(document.corrected, new)}
    return [
        change
        for change in changes(old, new)
        if _key(change) not in known
        and any(change.operation == name and _concerns(change, where) for name, where in news)
    ]


def _concerns(change: Change, where: str) -> bool:
    """Whether a difference there is one of what has changed; what comes or goes does so with all within it."""
    within = change.kind in _HOLDING and where.startswith(f"{change.where}/")
    return change.where == where or change.where.startswith(f"{where}/") or within


def _with_names(document: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The document whose operations have the ids of the corrected ones, where they have none."""
    named: dict[str, Any] = msgspec.to_builtins(document)
    for path, method in operations_of(named) & operations_of({"paths": names}):
        named["paths"][path][method].setdefault("operationId", names[path][method].get("operationId"))
    return named


def _key(change: Change) -> tuple[str, ...]:
    """What makes it the same change; of servers and credentials corrections change the words."""
    return change.kind, change.operation, change.where, change.what if change.where else ""


def _without(document: dict[str, Any], gone: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The document without operations that the vendor took away: corrections would bring parts of them back."""
    for path, method in gone:
        item = document["paths"].get(path, {})
        item.pop(method, None)
        if not item:
            document["paths"].pop(path, None)
    return document


def vendor_of(new: Path, vendors: Mapping[str, Vendor]) -> str:
    """Whose document it is, by its servers or by the file's name; raises ConfigurationError."""
    document = read_yaml(new)
    hosts = {urlsplit(url).hostname for url in _server_urls(document)}
    found = [name for name, vendor in vendors.items() if hosts & set(vendor.hosts)]
    if not found:
        found = [name for name in vendors if new.name.startswith(name)]
    if len(found) != 1:
        raise ConfigurationError(str(new), f"is whose? Give --vendor, one of: {', '.join(vendors)}")
    return found[0]


def _server_urls(node: Any) -> Iterator[str]:
    match node:
        case dict():
            for key, child in node.items():
                if key == "servers" and isinstance(child, list):
                    yield from (str(one.get("url", "")) for one in child if isinstance(one, dict))
                else:
                    yield from _server_urls(child)
        case list():
            for child in node:
                yield from _server_urls(child)


def _untranslated(vendor: Vendor, document: dict[str, Any]) -> list[str]:
    """The translator's operations that the document has not, by their ids."""
    described = {
        operation.get("operationId")
        for item in document["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    }
    return sorted(operation.id for operation in vendor.operations if operation.id not in described)


def _invalid(document: Document) -> str | None:
    try:
        Contract(document, parse_json)
    except ConfigurationError as error:
        return str(error)
    return None


def _concerned(config: Config, comparison: Comparison) -> Iterator[Concerned]:
    """Those for whom something breaks: the gateway as server for their clients, or as client for their points."""
    in_general = bool(comparison.invalid or comparison.actions)
    for side, use in _uses(config, comparison.vendor):
        broken = {one.operation for one in (*comparison.changes, *comparison.hidden) if side in one.breaks}
        operations = sorted(broken.union(comparison.untranslated))
        if operations or in_general:
            yield msgspec.structs.replace(use, operations=operations)


def _uses(config: Config, vendor: str) -> Iterator[tuple[Side, Concerned]]:
    served = config.vendors.get(vendor)
    if served is not None:
        for index, credential in enumerate(served.credentials):
            where = f"vendors.{vendor}.credentials[{index}]"
            how = "their clients speak it"
            yield "server", Concerned(merchant=credential.merchant, where=where, how=how, operations=[])
    for name, chosen in config.vendors.items():
        for merchant in sorted({credential.merchant for credential in chosen.credentials}):
            backend = chosen.backends.get(merchant, chosen.backend)
            own = merchant in chosen.backends
            where = f"merchants.{merchant}.backends.{name}" if own else f"vendors.{name}.backend"
            if any(whose == vendor for whose in _servers(backend, name)):
                how = "their points are at its server"
                yield "client", Concerned(merchant=merchant, where=where, how=how, operations=[])


def _servers(backend: BackendConfig, client: str) -> Iterator[str]:
    """The vendors whose servers a backend asks."""
    match backend:
        case UpstreamConfig():
            yield backend.vendor
        case PassthroughConfig():
            yield client
        case MigrationConfig():
            yield from _servers(backend.old, client)
            yield from _servers(backend.new, client)
