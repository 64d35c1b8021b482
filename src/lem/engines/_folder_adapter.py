"""LoRA adapters: read from their files' headers, and checked against the base they go on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lem.engines._folder_files import (
    Shapes,
    all_shapes,
    is_mlx_quantised,
    quantisation,
    read_object,
    tensor_shapes,
)
from lem.engines.fingerprint import file_sha256
from lem.errors import LemError
from lem.text import dump_json, excerpt, sha256

_STOPPED = "No model was loaded, and nothing was run."
_PEFT, _MLX = "adapter_model.safetensors", "adapters.safetensors"
#: Module, and which of the two factors: PEFT's names, then mlx-lm's.
_FACTOR = {
    "peft": re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.[^.]+)?\.weight"),
    "mlx": re.compile(r"(.+)\.lora_([ab])"),
}
#: Parts of a model that adapters for text do not touch, but whose layers have the same names.
_OTHER_SENSES = ("vision", "visual", "audio")


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's folder."""

    path: Path
    format: Literal["peft", "mlx"]
    file: Path
    config: Mapping[str, Any]

    @property
    def base(self) -> str | None:
        """What its configuration says it was made for."""
        named = self.config.get("base_model_name_or_path") or self.config.get("model")
        return named if isinstance(named, str) and named else None

    def sha256(self) -> str:
        """Of its weights and its configuration."""
        return sha256(f"{file_sha256(self.file)} {sha256(dump_json(dict(self.config)))}")


def read_adapter(folder: Path) -> Adapter:
    """An adapter's folder as PEFT or mlx-lm write it.

    Raises:
        LemError: no such folder, pickled weights, or a kind of adapter other than LoRA.
    """
    file = next((folder / n for n in (_PEFT, _MLX) if (folder / n).exists()), None)
    config = read_object(folder / "adapter_config.json", "adapter configuration")
    if file is None or not config:
        pickled = " Its weights are pickled." if (folder / "adapter_model.bin").exists() else ""
        raise LemError(
            f"{folder} is no adapter: it needs adapter_config.json and {_PEFT} (PEFT) or {_MLX} "
            f"(mlx-lm).{pickled}",
            _STOPPED,
            "Name the folder that the training wrote, with weights as safetensors.",
        )
    form: Literal["peft", "mlx"] = "peft" if file.name == _PEFT else "mlx"
    kind = str(config.get("peft_type" if form == "peft" else "fine_tune_type", "LORA"))
    if kind.upper() not in ("LORA", "DORA"):
        raise LemError(
            f"The adapter {folder} is of the kind {excerpt(kind)}; only LoRA is supported.",
            _STOPPED,
            "Merge it into its base with the tool that made it, and name the merged folder.",
        )
    return Adapter(folder, form, file, config)


def check_adapter(adapter: Adapter, base: Path, config: dict[str, Any], files: list[Path]) -> None:
    """Compare an adapter with the base that it is to go on.

    Args:
        base, config, files: folder, configuration and weight files of the base.

    Raises:
        LemError: it was made for another base: layers or widths do not fit.
    """
    factors = _factors(adapter)
    if not factors:
        raise LemError(
            f"{adapter.file} holds no LoRA weights.", _STOPPED, "Name a trained adapter."
        )
    there = _base_shapes(config, files)
    known = {m: s for m, s in factors.items() if _tail(m) in there}
    problem = ""
    if not known:
        problem = f"the base has no {_tail(next(iter(factors)))}"
    deepest, layers = max(map(_layer, factors)), max((_layer(m) for m in there), default=-1)
    if not problem and layers >= 0 and deepest > layers:
        problem = f"it changes layer {deepest}, and the base has layers 0 to {layers}"
    for module, shape in known.items():
        own = there[_tail(module)]
        if problem or own is None:
            break
        if shape != own and not (adapter.config.get("fan_in_fan_out") and shape == own[::-1]):
            problem = (
                f"{_tail(module)} is {own[0]} × {own[1]} in the base and {shape[0]} × {shape[1]} "
                "in the adapter"
            )
    if problem:
        made_for = f" (it says: for {excerpt(adapter.base)})" if adapter.base else ""
        raise LemError(
            f"{adapter.path} is an adapter for another base than {base}{made_for}: {problem}.",
            _STOPPED,
            "Name the base that it was trained on with --model.",
        )


def _factors(adapter: Adapter) -> dict[str, tuple[int, int]]:
    """(out, in) of every module that the adapter changes."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in tensor_shapes(adapter.file).items():
        match = _FACTOR[adapter.format].fullmatch(name)
        if match and len(shape) == 2:
            shapes.setdefault(match[1], {})[match[2].lower()] = shape
    pairs = {m: (f["a"], f["b"]) for m, f in shapes.items() if len(f) == 2}
    if adapter.format == "peft":  # A is rank × in, B is out × rank
        return {m: (b[0], a[1]) for m, (a, b) in pairs.items()}
    return {m: (b[1], a[0]) for m, (a, b) in pairs.items()}  # a is in × rank, b is rank × out


def _base_shapes(config: dict[str, Any], files: list[Path]) -> dict[str, tuple[int, int] | None]:
    """(out, in) of the base's modules, by the end of their names; None where the weights are
    packed in a way that hides it."""
    widen = 1
    if is_mlx_quantised(config):
        bits = config["quantization"].get("bits")
        widen = 32 // bits if bits in (2, 4, 8) else 0
    elif quantisation(config) != "none":
        widen = 0
    found: dict[str, tuple[int, int] | None] = {}
    everything: Shapes = dict(all_shapes(files))
    for name, shape in everything.items():
        module, _, leaf = name.rpartition(".")
        if leaf not in ("weight", "qweight") or any(s in module for s in _OTHER_SENSES):
            continue
        packed = len(shape) != 2 or not widen
        # mlx-lm may leave single matrices as they are; they have no scales beside them.
        factor = widen if f"{module}.scales" in everything else 1
        found[_tail(module)] = None if packed else (shape[0], shape[1] * factor)
    return found


def _tail(module: str) -> str:
    """The end of a module's name that is the same however deeply the model is wrapped:
    ``layers.3.self_attn.q_proj``, ``lm_head``."""
    parts = module.split(".")
    at = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return parts[-1] if at is None else ".".join(parts[max(0, at - 1) :])


def _layer(module: str) -> int:
    """Number of the layer that a module is in; -1 outside the layers."""
    return next((int(part) for part in module.split(".") if part.isdigit()), -1)
