"""YAML files whose errors name their line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lem.errors import LemError
from lem.text import excerpt, read_text

STOPPED = "The recipe was refused as a whole, and nothing was run."

_MOST_CHARACTERS = 1_000_000


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """What a file says, and its tree, for `place`.

    Raises:
        LemError: unreadable, too long, not YAML, a field written twice, a part that holds itself.
    """
    text = read_text(path, "recipe")
    if len(text) > _MOST_CHARACTERS:
        raise LemError(f"{path} is too long for a recipe.", STOPPED, "Name a recipe.")
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _check_tree(path, tree)
        return yaml.safe_load(text), tree
    except yaml.YAMLError as e:
        raise _not_yaml(path, e) from None
    except (ValueError, RecursionError) as e:  # a date such as 2026-13-45, or endless brackets
        raise LemError(
            f"{path} is not a recipe: {excerpt(str(e), 100)}.", STOPPED, "Repair the file."
        ) from None


def _check_tree(path: Path, node: yaml.Node | None, above: tuple[int, ...] = ()) -> None:
    """Refuse a field that is written twice (YAML takes the last), and a part that holds itself."""
    if node is None or isinstance(node, yaml.ScalarNode):
        return
    line = node.start_mark.line + 1
    if id(node) in above:
        raise LemError(f"{path}, line {line}: a part holds itself.", STOPPED, "Write it out.")
    inside = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise LemError(
                        f"{path}, line {line}: {excerpt(key.value)!r} is written twice.",
                        STOPPED,
                        "Keep one of the two.",
                    )
                seen.add(key.value)
            _check_tree(path, value, inside)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_tree(path, value, inside)


def place(tree: yaml.Node | None, loc: Sequence[str | int]) -> str:
    """`line 12, field models.2.size`; counted from 1, as people do."""
    shown = ".".join(str(s + 1) if isinstance(s, int) else excerpt(str(s), 40) for s in loc)
    return f"line {line_of(tree, loc)}, field {shown}"


def line_of(tree: yaml.Node | None, loc: Sequence[str | int]) -> int:
    """The line of a field, or of the nearest thing around it that is there."""
    node, line = tree, 1 if tree is None else tree.start_mark.line + 1
    for step in loc:
        found: tuple[yaml.Node, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = next(((v, v) for v in node.value[step : step + 1]), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _not_yaml(path: Path, error: yaml.YAMLError) -> LemError:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    why = getattr(error, "problem", None) or str(error)
    return LemError(
        f"{path}{where}: not valid YAML: {excerpt(why, 100)}.",
        STOPPED,
        "Check indentation, quotes and colons there.",
    )
