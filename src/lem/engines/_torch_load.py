"""Loading weights with transformers: device, type, quantisation, adapter."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lem.engines._folder_files import all_shapes, weight_files
from lem.engines.machine import device_memory_share, free_memory, memory_share
from lem.errors import LemError, missing_extra
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
    at = int(number or 0) if number.isdecimal() or not number else count
    if at >= count:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise LemError(
            f"--device {wanted!r} is not on this machine (torch {torch.__version__} sees "
            f"{', '.join([*there, *(['mps'] if mps else [])])}).",
            _STOPPED,
            "Leave out --device, or install the build of torch for your GPU (see pytorch.org).",
        )
    return f"cuda:{at}" if kind == "cuda" else kind


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
    if device == "mps":  # systems before 14 do not have it there
        return "bfloat16" if torch.backends.mps.is_macos_or_newer(14, 0) else "float16"
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
        LemError: it cannot be loaded, or not whole.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as telling

    telling.disable_progress_bar()  # there is one progress bar, and it is ours
    telling.set_verbosity_error()  # what matters of its warnings is raised here
    options: dict[str, Any] = {}
    if device == "cpu" and not quantise:
        _check_size(path, name, getattr(torch, dtype).itemsize)
    if quantise:
        options["quantization_config"] = _bitsandbytes(quantise, dtype)
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=getattr(torch, dtype),
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            # The one that every architecture has and that is the reference; said in any case, since
            # a configuration can name code to be fetched.
            attn_implementation="eager",
            # What does not fit is told, and raised below, instead of printed.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    except (torch.OutOfMemoryError, MemoryError):
        raise _too_large(name, device) from None
    except ImportError as e:  # of the packages that a kind of quantisation needs
        raise LemError(
            f"transformers cannot load {name} as it is stored: {excerpt(str(e), 300)}",
            _STOPPED,
            "Install what is named, or use another form of the model.",
        ) from None
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as e:
        if "out of memory" in str(e).lower() or "can't allocate" in str(e).lower():
            raise _too_large(name, device) from None
        raise LemError(
            f"transformers cannot load {name}: {excerpt(str(e), 300)}",
            _STOPPED,
            "Check the files (lem models verify), or update transformers.",
        ) from None
    _check_whole(name, told)
    if adapter is not None:
        quantised = getattr(model, "is_quantized", False)
        model = _with_adapter(model, adapter, quantised=quantised)
    model.generation_config = type(model.generation_config)()  # its defaults must not leak in
    return model.eval().requires_grad_(False)


def _check_size(path: Path, name: str, itemsize: int) -> None:
    """Raise the error of weights larger than the memory, where the system says how much is free:
    it would end the process without a word."""
    if sys.platform != "linux":
        return
    shapes = all_shapes(weight_files(path))
    # Packed in pairs (GPT-OSS), and unpacked on a processor.
    numbers = sum(math.prod(s) * (2 if key.endswith("_blocks") else 1) for key, s in shapes)
    if numbers * itemsize > free_memory() / memory_share():
        raise _too_large(name, "cpu")


def _check_whole(name: str, told: dict[str, Any]) -> None:
    """Raise the error of weights that do not fill the model: transformers draws the rest at random,
    with no more than a warning."""
    unfit = [
        f"{key} is {_shape(stored)} in the files and {_shape(wanted)} in config.json"
        for key, stored, wanted in sorted(told["mismatched_keys"])
    ]
    missing = [f"{key} is not there" for key in sorted(told["missing_keys"])]
    problems = unfit + missing
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise LemError(
            f"The weights of {name} do not fill the model of its config.json: {problems[0]}{more}.",
            "What is missing would have been random numbers; nothing was run.",
            "Download or save the model again: weights and config.json must be of one model.",
        )


def _shape(sizes: Any) -> str:
    return " × ".join(map(str, sizes))


def check_quantise(quantise: str, name: str, stored: str) -> None:
    """Raise what is in the way of loading weights with bitsandbytes.

    Args:
        stored: how they are quantised in the files.

    Raises:
        LemError: an unknown kind, weights that are quantised already, or no bitsandbytes.
    """
    if quantise not in QUANTISATIONS:
        raise LemError(
            f"--quantise {quantise!r} is not known.",
            _STOPPED,
            f"Use one of {', '.join(QUANTISATIONS)}.",
        )
    if stored != "none":
        raise LemError(
            f"--quantise {quantise} is for plain weights, and those of {name} are stored as "
            f"{stored}.",
            _STOPPED,
            "Leave out --quantise, or use the unquantised model.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise missing_extra(f"bitsandbytes (for --quantise {quantise})", "bits")


def _bitsandbytes(quantise: str, dtype: str) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns in every product
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
        if quantised:
            raise LemError(
                f"The adapter {adapter.path} is of mlx-lm, and the weights it is to be merged "
                "into are quantised.",
                _STOPPED,
                "Leave out --quantise, or use --engine mlx.",
            )
        _merge_mlx(model, adapter)
        return model
    if importlib.util.find_spec("peft") is None:
        raise missing_extra("peft (for --adapter)", "torch")
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # Weights under names that the model does not have would be left out, with a warning.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            wrapped = PeftModel.from_pretrained(model, adapter.path, use_safetensors=True)
        # Unmerged, the layers are in the model already; the wrapper would hide its arguments.
        return wrapped.get_base_model() if quantised else wrapped.merge_and_unload(safe_merge=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, UserWarning) as e:
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
        weight: Any = getattr(modules.get(module), "weight", None)
        b = factors.get(f"{module}.lora_b")
        fits = weight is not None and b is not None and a.ndim == b.ndim == weight.ndim == 2
        if not fits or (b.shape[1], a.shape[0]) != tuple(weight.shape):
            raise LemError(
                f"The adapter {adapter.path} changes {module}, which is not a linear layer of that "
                "size in this model.",
                _STOPPED,
                "Use --engine mlx.",
            )
        delta = (a.float() @ b.float()).T * float(scale)
        weight.data = (weight.data.float() + delta.to(weight.device)).to(weight.dtype)


def keep_freed_memory() -> None:
    """Have the C library keep what torch frees: it hands large blocks back to the system at once,
    and paging new ones in took a tenth of a prefill. Only glibc has the switches."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def give_back_memory(device: str) -> None:
    """Give what torch holds but does not use back to the system or the driver, where pieces of
    another size can be had for it.

    Args:
        device: the kind: cpu, cuda, mps.
    """
    import torch

    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()
    else:
        with contextlib.suppress(OSError, AttributeError):  # only glibc has it
            ctypes.CDLL(None).malloc_trim(0)


def kv_bytes_per_token(model: Any) -> int:
    """Bytes of keys and values that one token holds in all layers."""
    config = model.config.get_text_config(decoder=True)

    def said(*names: str) -> int:
        values = (getattr(config, name, None) for name in names)
        return max((v for v in values if isinstance(v, int)), default=0)

    # Some layers of Gemma 4 have wider heads; DeepSeek's keys are made of two parts.
    size = max(said("head_dim", "global_head_dim"), said("qk_nope_head_dim") + said("v_head_dim"))
    heads = said("num_key_value_heads") or said("num_attention_heads")
    size = size or config.hidden_size // max(1, said("num_attention_heads"))
    # Without heads (a state space): the whole width, which is more than it holds.
    return int(2 * config.num_hidden_layers * max(1, heads) * size * model.dtype.itemsize)


def memory_for_rows(device: str) -> float:
    """Bytes that keys and values may take."""
    import torch

    if device.startswith("cuda"):
        free: int = torch.cuda.mem_get_info(device)[0]
        return free * MEMORY_SHARE * device_memory_share()
    if device == "mps":
        left = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return float(max(0, left) * MEMORY_SHARE * device_memory_share())
    return free_memory() * MEMORY_SHARE
