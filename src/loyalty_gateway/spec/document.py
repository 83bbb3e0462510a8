"""A vendor's OpenAPI document: as published, and as corrected by its overlays."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import yaml
from oas_patch.overlay import apply_overlay

from loyalty_gateway.problem import ConfigurationError
from loyalty_gateway.vendor import Evidence

_DEPTH_OF_SOURCE_TREE = 2


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One overlay action: ``where`` it stands, what it targets, why it is there and how that is known."""

    where: str
    target: str
    reason: str
    evidence: str
    source: str
    change: dict[str, Any]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's document: ``published`` untouched, ``corrected`` by ``actions`` in their order."""

    name: str
    published: dict[str, Any]
    corrected: dict[str, Any]
    actions: tuple[Action, ...]


def specs_folder() -> Path:
    """The folder of the specs: inside the installed package, or beside ``src`` in a source tree."""
    installed = Path(str(files("loyalty_gateway"))) / "specs"
    return installed if installed.is_dir() else Path(__file__).parents[_DEPTH_OF_SOURCE_TREE + 1] / "specs"


def load_document(name: str, folder: Path, further_overlays: tuple[str, ...] = ()) -> Document:
    """The document of vendor ``name`` with its overlay and the further overlays applied.

    Args:
        name: the vendor's name; ``<name>.yaml`` and, where it exists, ``<name>.overlay.yaml`` are read.
        folder: where the specs are.
        further_overlays: overlays that a configuration adds: a path, or ``<name>.<this>.overlay.yaml``.

    Raises:
        ConfigurationError: a file is missing or unreadable, or an action names no reason, finds no target or
            changes nothing; told with the file and the action.
    """
    published = read_yaml(folder / f"{name}.yaml")
    overlays = [path for path in (folder / f"{name}.overlay.yaml",) if path.exists()]
    for further in further_overlays:
        shipped = folder / f"{name}.{further}.overlay.yaml"
        overlays.append(shipped if shipped.exists() else Path(further))
    actions = tuple(action for path in overlays for action in _read_actions(path))
    corrected = published
    for action in actions:
        corrected = apply(action, corrected)
    return Document(name=name, published=published, corrected=corrected, actions=actions)


def has_target(action: Action, document: dict[str, Any]) -> bool:
    """Whether the action's target is in the document."""
    probe = {"target": action.target, "update": {"x-is-here": True}}
    try:
        return bool(apply_overlay(msgspec.to_builtins(document), {"actions": [probe]}) != document)
    except Exception:  # noqa: BLE001 - the library raises whatever its JSONPath parser raises
        return False


def apply(action: Action, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one action carried out; raises ConfigurationError if that changes nothing."""
    try:
        # What JSON can say is copied faster this way than by copy, and at start there is one for each correction.
        changed: dict[str, Any] = apply_overlay(msgspec.to_builtins(document), {"actions": [action.change]})
    except Exception as error:  # the library raises whatever its JSONPath parser raises
        raise ConfigurationError(action.where, f"cannot be applied: {error}") from error
    if changed == document:
        raise ConfigurationError(
            action.where, f"changes nothing; is the target {action.target} still in the document?"
        )
    return changed


def _read_actions(path: Path) -> list[Action]:
    changes = read_yaml(path).get("actions")
    if not isinstance(changes, list):
        raise ConfigurationError(f"{path.name} actions", "must be a list; is this an OpenAPI Overlay document?")
    return [_read_action(change, f"{path.name} actions[{index}]") for index, change in enumerate(changes)]


def _read_action(change: Any, where: str) -> Action:
    if not isinstance(change, dict) or not isinstance(change.get("target"), str):
        raise ConfigurationError(where, "changes nothing that can be found: it needs a `target`, a JSONPath")
    evidence = change.get("x-evidence")
    if (
        not change.get("description")
        or not isinstance(evidence, dict)
        or not evidence.get("source")
        or evidence.get("tag") not in set(Evidence)
    ):
        tags = ", ".join(Evidence)
        what = f"says not why: it needs a `description` and `x-evidence: {{tag, source}}`, the tag one of {tags}"
        raise ConfigurationError(where, what)
    return Action(
        where=where,
        target=change["target"],
        reason=change["description"],
        evidence=evidence["tag"],
        source=evidence["source"],
        change=change,
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file, as JSON has it; raises ConfigurationError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_JsonLoader)  # noqa: S506 - a safe loader
    except OSError as error:
        raise ConfigurationError(str(path), f"cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(str(path), "is not a YAML mapping")
    try:
        msgspec.to_builtins(content)
    except RecursionError as error:
        what = "contains itself by way of a YAML alias, or is nested too deeply"
        raise ConfigurationError(str(path), what) from error
    return content


class _JsonLoader(yaml.CSafeLoader):
    """Reads YAML as JSON has it: names are texts, a status written as a number too, and so are dates."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        self.flatten_mapping(node)
        told = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(problem="a name is no text", problem_mark=name.start_mark)
            told[name.value] = self.construct_object(value, deep=deep)
        return told


_JsonLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
