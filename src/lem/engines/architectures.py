"""Which engine knows a model's architecture, told from its configuration."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path
from typing import Any

from lem.engines._folder_files import language_config


def known_to_transformers(config: dict[str, Any]) -> bool | None:
    """Whether the installed transformers has the architecture as a causal language model; None
    where it is not installed."""
    place = _package("transformers")
    if place is None:
        return None
    table = place / "models" / "auto" / "modeling_auto.py"
    known = _table(table, "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    if not known:  # a release that writes it otherwise
        from transformers.models.auto import modeling_auto

        known = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return config.get("model_type") in known


def known_to_mlx(config: dict[str, Any]) -> bool | None:
    """Likewise for mlx-lm."""
    place = _package("mlx_lm")
    if place is None:
        return None
    kind = str(config.get("model_type", ""))
    # Kinds that are loaded as another.
    other = _table(place / "utils.py", "MODEL_REMAPPING") or {"mistral": "llama"}
    kind = other.get(kind, kind)
    return kind.isidentifier() and (place / "models" / f"{kind}.py").exists()


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = (spec.submodule_search_locations if spec else None) or []
    return Path(places[0]) if places else None


@functools.cache
def _table(file: Path, name: str) -> dict[str, Any]:
    """A dictionary of a module, read from its source: to import it would load torch or mlx, which
    takes seconds."""
    try:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Assign) or getattr(node.targets[0], "id", "") != name:
                continue
            value = node.value
            if isinstance(value, ast.Call) and value.args:  # OrderedDict([...])
                value = value.args[0]
            return dict(ast.literal_eval(value))
    except (OSError, ValueError, TypeError, SyntaxError):
        pass
    return {}


def own_code(config: dict[str, Any]) -> bool:
    """Whether the model comes with Python code of its own (which is never run)."""
    return bool(config.get("auto_map") or language_config(config).get("auto_map"))


def architecture(config: dict[str, Any]) -> str:
    """Its name for people."""
    named = config.get("architectures")
    if isinstance(named, list) and named and isinstance(named[0], str):
        return named[0]
    return str(config.get("model_type", "unknown"))
