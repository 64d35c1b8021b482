"""Loading weights with transformers: device, type, quantisation, adapter."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lem.engines.machine import device_memory_share, free_memory
from lem.errors import LemError
from lem.text import excerpt

if TYPE_CHECKING:
    from lem.engines._folder_adapter import Adapter

DTYPES = ("float32", "bfloat16", "float16")
QUANTISATIONS = ("nf4", "int8")
#: Share of the free memory that keys and values may take.
MEMORY_SHARE = 0.5

#: Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_STOPPED = "Nothing was run."


def choose_device(wanted: str | None) -> str:
    """The device to compute on; of several GPUs the first.

    Raises:
        LemError: the one that was asked for is not there.
    """
    import torch

    mps = torch.backends.mps.is_available()
    if wanted is None:
        return "cuda:0" if torch.cuda.is_available() else "mps" if mps else "cpu"
    kind, _, number = wanted.partition(":")
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(mps)}.get(kind, 0)
    if not (number == "" or number.isdecimal()) or int(number or 0) >= count:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise LemError(
            f"--device {wanted!r} is not on this machine (torch {torch.__version__} sees "
            f"{', '.join([*there, *(['mps'] if mps else [])])}).",
            _STOPPED,
            "Leave out --device, or install the build of torch for your GPU (see pytorch.org).",
        )
    return "cuda:0" if wanted == "cuda" else wanted


def choose_dtype(wanted: str | None, device: str) -> str:
    """The type to compute in: bfloat16 where the hardware is fast in it, else float32 on a
    processor and float16 on a GPU.

    Raises:
        LemError: an unknown type.
    """
    import torch

    if wanted is not None:
        if wanted not in DTYPES:
            raise LemError(
                f"--dtype {wanted!r} is not known.", _STOPPED, f"Use one of {', '.join(DTYPES)}."
            )
        return wanted
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device == "mps":
        return "bfloat16"
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    return "bfloat16" if fast else "float32"


def load_model(
    path: Path,
    name: str,
    device: str,
    dtype: str,
    quantise: str | None,
    adapter: Adapter | None,
) -> Any:
    """The model, ready to answer.

    Args:
        path: a folder with safetensors; nothing is fetched, and no code in it is run.
        name: for messages.
        quantise: one of `QUANTISATIONS`, with bitsandbytes.

    Raises:
        LemError: it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # there is one progress bar, and it is ours
    logging.set_verbosity_error()  # what matters of its warnings is raised here
    options: dict[str, Any] = {}
    if quantise:
        options["quantization_config"] = _bitsandbytes(quantise, dtype)
    try:
        model, _told = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=getattr(torch, dtype),
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            # The one that every architecture has and that is the reference; said in any case, since
            # a configuration can name code to be fetched.
            attn_implementation="eager",
            output_loading_info=True,
            **options,
        )
    except (torch.OutOfMemoryError, MemoryError):
        raise _too_large(name, device) from None
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as e:
        if "out of memory" in str(e).lower() or "can't allocate" in str(e).lower():
            raise _too_large(name, device) from None
        raise LemError(
            f"transformers cannot load {name}: {excerpt(str(e), 300)}",
            _STOPPED,
            "Check the files (lem models verify), or update transformers.",
        ) from None
    if adapter is not None:
        model = _with_adapter(model, adapter, quantised=bool(quantise))
    model.generation_config = type(model.generation_config)()  # its defaults must not leak in
    return model.eval().requires_grad_(False)


def _bitsandbytes(quantise: str, dtype: str) -> Any:
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise LemError(
            f"--quantise {quantise} needs bitsandbytes, which is not installed.",
            _STOPPED,
            "pip install bitsandbytes",
        )
    if quantise == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, dtype)
    )


def _too_large(name: str, device: str) -> LemError:
    return LemError(
        f"The weights of {name} do not fit into the memory of {device}.",
        _STOPPED,
        "Use --quantise nf4 (with a GPU), a GGUF quantisation, or a smaller model.",
    )


def _with_adapter(model: Any, adapter: Adapter, *, quantised: bool) -> Any:
    """Put a LoRA adapter on: merged into the weights, unless those are quantised."""
    if adapter.format == "mlx":
        _merge_mlx(model, adapter)
        return model
    from peft import PeftModel

    try:
        wrapped = PeftModel.from_pretrained(model, adapter.path, use_safetensors=True)
        return wrapped if quantised else wrapped.merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as e:
        raise LemError(
            f"The adapter {adapter.path} cannot be put on: {excerpt(str(e), 200)}",
            _STOPPED,
            "Check that it was trained on this model.",
        ) from None


def _merge_mlx(model: Any, adapter: Adapter) -> None:
    """Merge an adapter of mlx-lm: W + scale · (A · B)ᵀ, with A [in, r] and B [r, out]."""
    from safetensors.torch import load_file

    factors = load_file(adapter.file)
    parameters = adapter.config.get("lora_parameters") or {}
    scale = parameters.get("scale")
    modules = dict(model.named_modules())
    kind = str(adapter.config.get("fine_tune_type", "lora")).lower()
    if kind != "lora" or not isinstance(scale, (int, float)):
        raise LemError(
            f"The adapter {adapter.path} is of mlx-lm's kind {kind!r} without a LoRA scale.",
            _STOPPED,
            "Use --engine mlx, or fuse it into its base with mlx_lm.fuse.",
        )
    for name, a in factors.items():
        if not name.endswith(".lora_a"):
            continue
        module = name.removesuffix(".lora_a")
        target = modules.get(module)
        if target is None or not hasattr(target, "weight"):
            raise LemError(
                f"The adapter {adapter.path} changes {module}, which this model does not have.",
                _STOPPED,
                "Use --engine mlx.",
            )
        weight = target.weight.data
        delta = (a.float() @ factors[f"{module}.lora_b"].float()).T * float(scale)
        target.weight.data = (weight.float() + delta.to(weight.device)).to(weight.dtype)


def keep_freed_memory() -> None:
    """Have the C library keep what torch frees: it hands large blocks back to the system at once,
    and paging new ones in took a tenth of a prefill. Only glibc has the switches."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def kv_bytes_per_token(model: Any) -> int:
    """Bytes of keys and values that one token holds in all layers."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def memory_for_rows(device: str) -> float:
    """Bytes that keys and values may take."""
    import torch

    if device.startswith("cuda"):
        free: int = torch.cuda.mem_get_info(device)[0]
        return free * MEMORY_SHARE * device_memory_share()
    return free_memory() * MEMORY_SHARE  # of a Mac, whose GPU shares it, too
