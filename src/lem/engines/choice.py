"""Which engine runs a model: what each can take, what is installed, and which comes first."""

from __future__ import annotations

import functools
import importlib.util
import platform
import sys

from lem.engines.locate import Found
from lem.errors import LemError, missing_extra

_STOPPED = "No model was loaded, and nothing was run."

#: Engine -> (packages it needs, extra that brings them).
NEEDS = {
    "llama.cpp": (("xllamacpp",), "llama"),
    "transformers": (("torch", "transformers", "safetensors"), "torch"),
    "mlx": (("mlx", "mlx_lm"), "mlx"),
}


@functools.cache
def is_installed(engine: str) -> bool:
    """Whether an engine's packages are there (not whether they load)."""
    return all(importlib.util.find_spec(package) is not None for package in NEEDS[engine][0])


def is_apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def hindrance(found: Found, engine: str) -> str | None:
    """Why an engine cannot take these files; None: it can."""
    form = found.adapter.format if found.adapter else None
    if engine == "llama.cpp":
        if found.kind == "folder":
            return "llama.cpp reads GGUF files, not folders"
        return "llama.cpp is given no adapters here" if form else None
    if form == "mlx" and engine == "transformers":
        return "the adapter is in mlx-lm's format"
    if form == "peft" and engine == "mlx":
        return "the adapter is in PEFT's format"
    stored = found.quantisation
    if engine == "transformers" and stored.startswith("mlx "):
        return "the weights are quantised for MLX"
    if engine == "mlx" and stored != "none" and not stored.startswith(("mlx ", "mxfp4")):
        return f"the weights are stored as {stored}"
    return None


def choose(found: Found, engine: str | None) -> str:
    """The engine for a model: the one asked for, or the one that suits its files.

    Raises:
        LemError: that one cannot take them, or none that can is installed.
    """
    if engine is not None:
        why = hindrance(found, engine)
        if why:
            others = [e for e in NEEDS if hindrance(found, e) is None]
            raise LemError(
                f"--engine {engine} cannot run {found.what} {found.name}: {why}.",
                _STOPPED,
                f"Use --engine {' or '.join(others)}." if others else "Use another form of it.",
            )
        return engine
    order = ["llama.cpp"] if found.kind == "gguf" else []
    order += ["mlx", "transformers"] if is_apple_silicon() else ["transformers", "mlx"]
    able = [e for e in order if hindrance(found, e) is None]
    if not able:
        reasons = "; ".join(f"{e}: {hindrance(found, e)}" for e in order)
        raise LemError(
            f"No engine can run {found.what} {found.name} ({reasons}).",
            _STOPPED,
            "Use another form of the model.",
        )
    # A GGUF file is for llama.cpp even where only others are installed: a conversion is asked for.
    if able[0] == "llama.cpp":
        return able[0]
    chosen = next((e for e in able if is_installed(e)), None)
    if chosen is None:
        raise missing_extra(f"{able[0]} (for {found.what})", NEEDS[able[0]][1])
    return chosen
