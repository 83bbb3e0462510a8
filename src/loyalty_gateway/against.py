"""What a new version of a vendor's document changes: for the translator, the overlay, and who uses the vendor."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
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
from loyalty_gateway.spec.changes import Change, changes, operations_of
from loyalty_gateway.spec.document import apply, has_target, read_published
from loyalty_gateway.vendor import Vendor


class FailedAction(msgspec.Struct, frozen=True, kw_only=True):
    """An overlay action that the new document gives nothing to do: its target is gone, or it says so itself."""

    where: str
    target: str
    why: Literal["finds no target", "changes nothing"]
    reason: str


class Concerned(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant who uses the vendor, and where the configuration says so."""

    merchant: str
    where: str
    how: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What the new version means: ``invalid`` says why it cannot be used with its overlay, if it cannot."""

    vendor: str
    changes: list[Change]
    untranslated: list[str]
    actions: list[FailedAction]
    invalid: str | None
    merchants: list[Concerned]

    @property
    def breaks(self) -> bool:
        """Whether anything has to be done before the new version holds."""
        return bool(self.actions or self.invalid or self.untranslated) or any(one.breaks for one in self.changes)


def compare(document: Document, new: Path, vendor: Vendor, config: Config) -> Comparison:
    """Compares the vendor's document, corrected by its overlay, with a new one after the same actions.

    Raises:
        ConfigurationError: the new document cannot be read, or is no OpenAPI document at all.
    """
    try:
        return _compared(document, new, vendor, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"cannot be read as an OpenAPI document ({type(error).__name__})"
        raise ConfigurationError(str(new), what) from error


def _compared(document: Document, new: Path, vendor: Vendor, config: Config) -> Comparison:
    current = read_published(new)
    if not isinstance(current.get("paths"), dict):
        raise ConfigurationError(str(new), "has no paths; is it an OpenAPI document?")
    failed: list[FailedAction] = []
    gone = operations_of(document.published) - operations_of(current)
    for action in document.actions:
        try:
            current = _without(apply(action, current), gone)
        except ConfigurationError:
            failed.append(
                FailedAction(
                    where=action.where,
                    target=action.target,
                    why="changes nothing" if has_target(action, current) else "finds no target",
                    reason=action.reason,
                )
            )
    changed = changes(document.corrected, current)
    return Comparison(
        vendor=vendor.name,
        changes=changed,
        untranslated=_untranslated(vendor, current),
        actions=failed,
        invalid=_invalid(msgspec.structs.replace(document, corrected=current)),
        # Whoever uses the vendor is concerned by whatever is new.
        merchants=[*_concerned(config, vendor.name)] if changed or failed else [],
    )


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
    document = read_published(new)
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


def _concerned(config: Config, vendor: str) -> Iterator[Concerned]:
    served = config.vendors.get(vendor)
    if served is not None:
        for index, credential in enumerate(served.credentials):
            where = f"vendors.{vendor}.credentials[{index}]"
            yield Concerned(merchant=credential.merchant, where=where, how="their clients speak it")
    for name, chosen in config.vendors.items():
        for merchant in sorted({credential.merchant for credential in chosen.credentials}):
            backend = chosen.backends.get(merchant, chosen.backend)
            own = merchant in chosen.backends
            where = f"merchants.{merchant}.backends.{name}" if own else f"vendors.{name}.backend"
            if any(whose == vendor for whose in _servers(backend, name)):
                yield Concerned(merchant=merchant, where=where, how="their points are at its server")


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
