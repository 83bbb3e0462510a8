"""From path and method to operation."""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.spec import OperationContract

MOUNTED_PATH: Final = "gateway.path"
"""Where an ASGI scope has the raw path below the vendor's mount."""

_PLACEHOLDER = "{"


class Match(msgspec.Struct, frozen=True):
    """An operation found, with the values of its path decoded once."""

    operation_id: str
    path_values: dict[str, str]


class Paths:
    """The paths of one vendor, published and aliases, as a tree of their segments.

    ``aliases`` maps a prefix (or a whole path) to the published one it stands for.

    Raises:
        ConfigurationError: an alias stands for no published path, has not its placeholders, or is taken.
    """

    def __init__(self, contracts: Iterable[OperationContract], aliases: Mapping[str, str], where: str) -> None:
        self._root = _Node()
        published = tuple(contracts)
        for contract in published:
            if not self._root.add(contract.path, contract):
                raise ConfigurationError(where, f"{contract.method} {contract.path} is published twice")
        for alias, meant in aliases.items():
            self._add_alias(alias, meant, published, f"{where}.path_aliases.{alias}")

    def _add_alias(self, alias: str, meant: str, published: tuple[OperationContract, ...], where: str) -> None:
        if not alias.startswith("/"):
            raise ConfigurationError(where, "must begin with /")
        found = [(path, contract) for contract in published if (path := _aliased(alias, meant, contract.path))]
        if not found:
            raise ConfigurationError(where, "stands for no published path")
        for path, contract in found:
            if sorted(_placeholders(path)) != sorted(_placeholders(contract.path)):
                raise ConfigurationError(where, f"must have the placeholders of {contract.path}")
            if not self._root.add(path, contract):
                raise ConfigurationError(where, f"{contract.method} {path} is another path already")

    def match(self, method: str, path: str) -> Match:
        """The operation at the raw, still encoded path.

        Raises:
            Problem: UNKNOWN_PATH; WRONG_METHOD with the methods that the path knows.
        """
        values: list[str] = []
        node = self._root.find(path.split("/"), 1, values)
        if node is None:
            raise Problem(Code.UNKNOWN_PATH)
        found = node.operations.get(method)
        if found is None:
            raise Problem(Code.WRONG_METHOD, allow=tuple(sorted(node.operations)))
        names, operation_id = found
        return Match(operation_id, dict(zip(names, map(_decoded, values), strict=True)))


class _Node:
    """A place in the tree: fixed segments before the placeholder."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.placeholder: _Node | None = None
        self.operations: dict[str, tuple[tuple[str, ...], str]] = {}

    def add(self, path: str, contract: OperationContract) -> bool:
        """Adds the operation; false where another one has the place, and keeps it."""
        node = self
        for segment in path.split("/")[1:]:
            if segment.startswith(_PLACEHOLDER):
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
            else:
                node = node.fixed.setdefault(segment, _Node())
        if contract.method in node.operations:
            return False
        node.operations[contract.method] = (tuple(_placeholders(path)), contract.id)
        return True

    def find(self, segments: list[str], index: int, values: list[str]) -> "_Node | None":
        if index == len(segments):
            return self if self.operations else None
        segment = segments[index]
        fixed = self.fixed.get(segment)
        if fixed is not None and (found := fixed.find(segments, index + 1, values)) is not None:
            return found
        if self.placeholder is None or not segment:
            return None
        values.append(segment)
        found = self.placeholder.find(segments, index + 1, values)
        if found is None:
            values.pop()
        return found


def _placeholders(path: str) -> list[str]:
    return [segment[1:-1] for segment in path.split("/")[1:] if segment.startswith(_PLACEHOLDER)]


def _aliased(alias: str, meant: str, published: str) -> str | None:
    """The published path under its alias; ``None`` where it is neither meant nor below what is meant."""
    if published == meant:
        return alias
    prefix = meant.rstrip("/") + "/"
    return f"{alias.rstrip('/')}/{published.removeprefix(prefix)}" if published.startswith(prefix) else None


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise Problem(Code.UNKNOWN_PATH) from error
