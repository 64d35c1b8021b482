"""Weights for mlx: a Hugging Face or MLX folder, and a LoRA adapter on top of it."""

from __future__ import annotations

import math
import re
from typing import Any

from lem.engines.folder import ModelFolder
from lem.errors import LemError
from lem.text import excerpt

DTYPES = ("float32", "bfloat16", "float16")
_STOPPED = "No answer was generated."
_FACTOR = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.[^.]+)?\.weight")
#: Settings of a PEFT adapter that plain low-rank factors cannot express, and their harmless values.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "use_dora": (None, False),
    "bias": (None, "none"),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
}


def compute_dtype(config: dict[str, Any], asked: str | None) -> str:
    """The type that weights are computed in.

    A GPU is fast in the 16 bits that weights are stored in. On a CPU only mlx's 32-bit product goes
    through BLAS: 82 GFLOP/s on a core with OpenBLAS, where bfloat16 gets 5.6 and float16 3.4. (With
    the reference BLAS it is 2.5; then exactness is what 32 bits are for.)

    Raises:
        LemError: not a type there is.
    """
    if asked is not None:
        if asked not in DTYPES:
            raise LemError(
                f"--dtype {asked!r} is not a type mlx computes in.",
                "No model was loaded, and nothing was run.",
                f"One of: {', '.join(DTYPES)}.",
            )
        return asked
    if not on_gpu():
        return "float32"
    text = config.get("text_config")
    stored = [
        part.get(key)
        for part in (config, text if isinstance(text, dict) else {})
        for key in ("dtype", "torch_dtype")
    ]
    return next((d for d in stored if d in ("float16", "bfloat16")), "bfloat16")


def on_gpu() -> bool:
    """Whether mlx computes on a GPU (Apple's, or with its CUDA build another)."""
    import mlx.core as mx

    return bool(mx.default_device() == mx.Device(mx.gpu))


def load(folder: ModelFolder, dtype: str) -> Any:
    """The model with its weights in memory.

    Args:
        folder: checked; may name an adapter.
        dtype: see `compute_dtype`.

    Raises:
        LemError: mlx-lm cannot build it, or the weights do not fit the architecture or the memory.
    """
    import mlx.core as mx
    from mlx_lm.utils import load_model

    try:
        # strict: every weight has its place, and every place its weight.
        model, _ = load_model(
            folder.path, lazy=True, strict=True, model_config=adapted(folder.config)
        )
        if folder.adapter_files is not None:
            _put_on(model, folder)
        model.set_dtype(getattr(mx, dtype))
        model.eval()
        mx.eval(model.parameters())
    except LemError:
        raise
    except MemoryError:
        raise out_of_memory(f"The weights of {folder.name} do not fit into memory.") from None
    except Exception as e:  # whatever a model class trips over in a foreign configuration
        if is_memory(e):
            raise out_of_memory(f"The weights of {folder.name} do not fit into memory.") from None
        raise LemError(
            f"mlx-lm cannot load {folder.path}: {excerpt(f'{type(e).__name__}: {e}', 200)}.",
            _STOPPED,
            "Update it (pip install -U mlx-lm), download the model again, or use "
            "--engine transformers.",
        ) from None
    return model


def is_memory(error: BaseException) -> bool:
    """Whether mlx failed for lack of memory. It has no error class of its own for that."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "alloc" in words or "memory" in words


def out_of_memory(cause: str) -> LemError:
    """The error for a model or a single answer that does not fit."""
    return LemError(
        cause,
        "The answers in progress were dropped; every finished one is kept.",
        "Use a smaller or quantised model, or a smaller --max-tokens.",
    )


def adapted(config: dict[str, Any]) -> dict[str, Any]:
    """What to change in a configuration so that mlx-lm understands it.

    Since version 5, transformers writes all about rotary positions into `rope_parameters` and the
    kinds of layers into `layer_types`. Most of mlx-lm's models look for the older fields, and
    silently take their defaults (another model!) where those are missing.

    Raises:
        LemError: a model file of its own, or positions that mlx-lm has no field for.
    """
    if config.get("model_file") is not None:
        raise LemError(
            f"The model wants Python code of its own run ({excerpt(str(config['model_file']))}).",
            "Code that comes with a model is never run; nothing was run.",
            "Use a model whose architecture mlx-lm knows.",
        )
    changed = _older_fields(config)
    text = config.get("text_config")
    if isinstance(text, dict):
        changed["text_config"] = {**text, **_older_fields(text)}
    return changed


def _older_fields(config: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and "full_attention" in kinds:
        pattern = kinds.index("full_attention") + 1
        made["sliding_window_pattern"] = pattern
    rope = config.get("rope_parameters")
    if isinstance(rope, dict):
        if isinstance(rope.get("full_attention"), dict):  # one set for each kind of layer
            made |= _rope(rope["full_attention"])
            sliding = rope.get("sliding_attention")
            if isinstance(sliding, dict) and "rope_theta" in sliding:
                made["rope_local_base_freq"] = sliding["rope_theta"]
        else:
            made |= _rope(rope)
    return {k: v for k, v in made.items() if config.get(k) is None}


def _rope(rope: dict[str, Any]) -> dict[str, Any]:
    names = {"partial_rotary_factor": ("partial_rotary_factor", "rotary_pct", "rope_pct")}
    made = {
        new: rope[old]
        for old in ("rope_theta", "partial_rotary_factor")
        if old in rope
        for new in names.get(old, (old, "rotary_emb_base"))
    }
    kind = rope.get("rope_type", "default")
    if kind != "default":
        made["rope_scaling"] = {"type": kind, **rope}
    return made


def _put_on(model: Any, folder: ModelFolder) -> None:
    """Put the folder's adapter on the model's layers."""
    import mlx.core as mx
    from mlx.utils import tree_unflatten
    from mlx_lm.tuner.lora import LoRALinear
    from mlx_lm.utils import load_adapters

    adapter = folder.adapter_files
    assert adapter is not None
    if adapter.format == "mlx":
        try:
            load_adapters(model, str(adapter.path))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise _refused(folder, excerpt(str(e), 200)) from None
        return
    special = [k for k, plain in _PLAIN.items() if adapter.config.get(k) not in plain]
    if special:
        raise _refused(folder, f"it has {', '.join(special)}, which the mlx engine does not apply")
    there = dict(model.named_modules())
    pairs: dict[str, dict[str, Any]] = {}
    weights: Any = mx.load(str(adapter.file))
    for name, weight in weights.items():
        match = _FACTOR.fullmatch(name)
        if not match:
            raise _refused(folder, f"{excerpt(name)} is not a factor of a linear layer")
        pairs.setdefault(_module(match[1], there, folder), {})[match[2]] = weight.T
    alpha = float(adapter.config.get("lora_alpha", 8))
    made = []
    for name, pair in pairs.items():
        rank = pair["A"].shape[1]
        scale = alpha / (math.sqrt(rank) if adapter.config.get("use_rslora") else rank)
        layer = LoRALinear.from_base(there[name], r=rank, scale=scale)
        layer.lora_a, layer.lora_b = pair["A"], pair["B"]
        made.append((name, layer))
    model.update_modules(tree_unflatten(made))


def _module(name: str, there: dict[str, Any], folder: ModelFolder) -> str:
    """The model's linear layer of this name; models that also see wrap it in another name."""
    import mlx.nn as nn

    inner = name[name.find("layers.") :]
    found = [name] if name in there else [n for n in there if n.endswith(f".{inner}")]
    if len(found) != 1 or not isinstance(there[found[0]], (nn.Linear, nn.QuantizedLinear)):
        raise _refused(folder, f"mlx-lm has no single linear layer {excerpt(name)}")
    return found[0]


def _refused(folder: ModelFolder, why: str) -> LemError:
    return LemError(
        f"The adapter {folder.adapter} cannot be put on {folder.name} in mlx: {why}.",
        _STOPPED,
        "Merge it into its base with the tool that made it, or use --engine transformers.",
    )
