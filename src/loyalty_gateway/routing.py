"""From host and path to vendor and operation."""

from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

import msgspec

from loyalty_gateway.problem import Code, ConfigurationError, Problem
from loyalty_gateway.spec import OperationContract

_PLACEHOLDER = "{"


class Match(msgspec.Struct, frozen=True):
    """An operation found, with the values of its path decoded once."""

    operation_id: str
    path_values: dict[str, str]


class Paths:
    """The paths of one vendor, published and aliases, as a tree of their segments.

    ``aliases`` maps a prefix (or a whole path) to the published one it stands for.

    Raises:
        ConfigurationError: an alias stands for no published path.
    """

    def __init__(self, contracts: Iterable[OperationContract], aliases: Mapping[str, str], where: str) -> None:
        self._root = _Node()
        used = set()
        for contract in contracts:
            self._root.add(contract.path, contract)
            for alias, published in aliases.items():
                if contract.path.startswith(published):
                    used.add(alias)
                    self._root.add(alias + contract.path.removeprefix(published), contract)
        for alias in aliases:
            if alias not in used:
                raise ConfigurationError(f"{where}.path_aliases.{alias}", "stands for no published path")

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

    def add(self, path: str, contract: OperationContract) -> None:
        node = self
        names = []
        for segment in path.split("/")[1:]:
            if segment.startswith(_PLACEHOLDER):
                names.append(segment[1:-1])
                node.placeholder = node.placeholder or _Node()
                node = node.placeholder
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.operations[contract.method] = (tuple(names), contract.id)

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


def _decoded(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise Problem(Code.UNKNOWN_PATH) from error
