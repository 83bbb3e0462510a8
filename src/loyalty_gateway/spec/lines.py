"""Where operations stand in a published document, for whoever opens it in an editor."""

from pathlib import Path

import yaml


def operation_lines(path: Path) -> dict[tuple[str, str], int]:
    """The line of each operation, counted from 1, by method and path; none where there is no such file."""
    if not path.exists():
        return {}
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return {
        (method.value.upper(), template.value): method.start_mark.line + 1
        for name, paths in _entries(root)
        if name.value == "paths"
        for template, item in _entries(paths)
        for method, _ in _entries(item)
    }


def _entries(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []
