"""Lines and columns of a YAML document, by JSON pointer."""

from pathlib import Path

import yaml


class Positions:
    """Where the nodes of a YAML file stand; lines and columns count from 1."""

    def __init__(self, path: Path) -> None:
        self.file = path.name
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        # A document that was loaded before is not empty.
        assert root is not None
        self._root = root

    def at(self, pointer: str) -> tuple[int, int]:
        """The line and column of the node, or of the last one on the way to it that is there."""
        node: yaml.Node = self._root
        mark = node.start_mark
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            match node:
                case yaml.MappingNode():
                    found = next(((key, value) for key, value in node.value if key.value == name), None)
                    if found is None:
                        break
                    # The name is what a person looks for; what stands there may begin on the next line.
                    mark, node = found[0].start_mark, found[1]
                case yaml.SequenceNode() if name.isdecimal() and int(name) < len(node.value):
                    node = node.value[int(name)]
                    mark = node.start_mark
                case _:
                    break
        return mark.line + 1, mark.column + 1
