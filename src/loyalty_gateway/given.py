"""The plain values of a configuration on their way to be checked: read as YAML, filled in, converted."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from loyalty_gateway.problem import ConfigurationError

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLACE: Final = re.compile(r" - at `(?:key` in `)?\$(.*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_SYNTAX_ONLY: Final = re.compile(r"(?:'(?:<[a-z ]+>|[^\w\s])'|[^'\"])*")
T = TypeVar("T")


def read_yaml(text: str, where: str) -> Any:
    """The plain values of a YAML file's text; raises ConfigurationError, which quotes none of them."""
    try:
        return _loaded(text)
    except Exception as error:  # noqa: BLE001 - a value may lead the library into any of Python's errors
        # The library's own message, and the chain of errors, quote the line with the secrets in it.
        raise ConfigurationError(where, f"is not YAML: {_without_values(error)}") from None


def read_yaml_file(path: Path) -> Any:
    """The plain values of a YAML file; raises ConfigurationError for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(str(path), f"is not YAML: not UTF-8 at byte {error.start}") from None
    return read_yaml(text, str(path))


def _loaded(text: str) -> Any:
    return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a safe loader


def _without_values(error: Exception) -> str:
    """What is wrong with a YAML file and where, without a word that stands in it."""
    match error:
        case yaml.MarkedYAMLError():
            parts = [_syntax_of(part) for part in (error.context, error.problem) if part]
            mark = error.problem_mark or error.context_mark
            place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
            return ", ".join(filter(None, parts)) + place
        case yaml.reader.ReaderError():
            return f"{error.reason} (character {error.position + 1})"
        case _:
            return f"a value that cannot be read ({type(error).__name__})"


def _syntax_of(message: str) -> str:
    """The message up to the first quotation that is more than a token or a mark, as an anchor's name is."""
    match = _SYNTAX_ONLY.match(message)
    return match[0].strip() if match is not None else ""


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


class Given:
    """The values of one configuration on their way to be checked: where they stand, and which are variables'."""

    def __init__(self, where: str, environment: Mapping[str, str]) -> None:
        self._where = where
        self._environment = environment
        self._variables: dict[str, str] = {}

    def error(self, path: str, what: str) -> ConfigurationError:
        """A mistake at a path such as ``vendors.x.hosts[0]``."""
        return ConfigurationError(f"{self._where}: {path}" if path else self._where, what)

    def expanded(self, node: Any, path: str = "") -> Any:
        """A copy of the value with ``${VARIABLE}`` replaced wherever it stands."""
        match node:
            case dict():
                for key in node:
                    if not isinstance(key, str):
                        raise self.error(path, f"the key {key!r} must be a string; put it in quotes")
                return {key: self.expanded(value, f"{path}.{key}".lstrip(".")) for key, value in node.items()}
            case list():
                return [self.expanded(value, f"{path}[{index}]") for index, value in enumerate(node)]
            case str() if _VARIABLE.search(node):
                self._variables[path] = _VARIABLE.sub(lambda match: self._variable(match[1], path), node)
                return self._variables[path]
            case _:
                return node

    def _variable(self, name: str, path: str) -> str:
        if name not in self._environment:
            raise self.error(path, f"the environment variable {name} is not set")
        return self._environment[name]

    def convert(self, raw: Any, kind: type[T], path: str) -> T:
        """The value as that type; where a variable's text is none, it is read as YAML: a number, a list, ..."""
        while True:
            try:
                return msgspec.convert(raw, kind)
            except msgspec.ValidationError as error:
                found = _PLACE.search(str(error))
                place = found[1] if found is not None else ""
                key = f"{path}{place}".lstrip(".")
                meant = _read_variable(self._variables.pop(key, ""))
                if isinstance(meant, str):
                    raise self.error(key, _PLACE.sub("", str(error))) from error
                raw = _replaced(raw, place, meant)


def _replaced(raw: Any, place: str, value: Any) -> Any:
    """The plain value with what stands at the place, such as ``.hosts[0]``, replaced."""
    steps = [name or int(index) for name, index in _STEP.findall(place)]
    if not steps:
        return value
    node = raw
    for step in steps[:-1]:
        node = node[step]
    node[steps[-1]] = value
    return raw


def _read_variable(text: str) -> Any:
    try:
        return _loaded(text) if text else text
    except Exception:  # noqa: BLE001 - see read_yaml
        return text
