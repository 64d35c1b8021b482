"""The files of a Hugging Face folder, read and checked without loading any weights."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lem.errors import LemError
from lem.text import excerpt

_STOPPED = "No model was loaded, and nothing was run."
#: A header larger than this is no header (safetensors itself has the same limit).
_LARGEST_HEADER = 100_000_000
_INDEX = "model.safetensors.index.json"
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "consolidated*.pth", "*.pkl")
#: Where configurations say how many tokens a model takes.
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length")

#: A tensor's shape, by its name.
Shapes = dict[str, tuple[int, ...]]


def read_object(path: Path, what: str) -> dict[str, Any]:
    """A JSON file that holds an object; empty where there is no such file.

    Raises:
        LemError: it cannot be read, or holds something else.
    """
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise LemError(
            f"The {what} {path} cannot be read: {excerpt(str(e), 120)}.",
            _STOPPED,
            "Download or save the model again.",
        ) from None
    if not isinstance(value, dict):
        raise LemError(f"The {what} {path} is not a JSON object.", _STOPPED, "Save it again.")
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model.

    Raises:
        LemError: no such file, or it does not say what kind of model it is.
    """
    path = folder / "config.json"
    if not path.exists():
        raise LemError(
            f"{folder} is a folder without config.json, so it holds no model.",
            _STOPPED,
            "Name the folder that holds config.json, the tokenizer and *.safetensors, or a "
            ".gguf file.",
        )
    config = read_object(path, "configuration")
    if not isinstance(config.get("model_type"), str):
        raise LemError(
            f"{path} does not say what kind of model it is (model_type).",
            _STOPPED,
            "Download or save the model again.",
        )
    return config


def language_config(config: dict[str, Any]) -> dict[str, Any]:
    """The part about the language model: all of it, or of a model that also sees, a part."""
    part = config.get("text_config")
    return {**config, **part} if isinstance(part, dict) else config


def context_length(config: dict[str, Any]) -> int | None:
    """Tokens a model takes, as its configuration says."""
    text = language_config(config)
    for key in _CONTEXT_KEYS:
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def token_ids(value: Any) -> frozenset[int]:
    """Ids in a field that holds one, a list or none."""
    several = value if isinstance(value, list) else [value]
    return frozenset(i for i in several if isinstance(i, int) and not isinstance(i, bool))


def quantisation(config: dict[str, Any]) -> str:
    """How the stored weights are quantised, in words; "none" where they are not."""
    q = config.get("quantization_config") or language_config(config).get("quantization_config")
    q = q if isinstance(q, dict) else {}
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and not q.get("quant_method"):
        mode = mlx.get("mode", "affine")
        form = "" if mode == "affine" else f", {mode}"
        return f"mlx {mlx.get('bits')}-bit, group {mlx.get('group_size')}{form}"
    if not q:
        return "none"
    method = str(q.get("quant_method") or "unknown")
    if method == "bitsandbytes":
        four = q.get("load_in_4bit") or q.get("_load_in_4bit")
        return f"bitsandbytes {q.get('bnb_4bit_quant_type', 'fp4') if four else 'int8'}"
    bits = q.get("bits", q.get("w_bit"))
    group = q.get("group_size", q.get("q_group_size"))
    if bits is None:
        return method
    return f"{method} {bits}-bit" + ("" if group is None else f", group {group}")


def is_mlx_quantised(config: dict[str, Any]) -> bool:
    """Whether only MLX can read these weights."""
    return quantisation(config).startswith("mlx ")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold a model, all there and whole.

    Raises:
        LemError: none, pickled ones only, a missing shard, a pointer file or one cut short.
    """
    index = folder / _INDEX
    if index.exists():
        names = read_object(index, "weight index").get("weight_map")
        named = sorted(set(names.values())) if isinstance(names, dict) else []
        files = [_shard(folder, name) for name in named]
    elif (folder / "model.safetensors").exists():
        files = [folder / "model.safetensors"]
    else:
        files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise _no_weights(folder)
    if not index.exists() and len(files) > 1:
        raise LemError(
            f"{folder} has {len(files)} weight files and no {_INDEX}.",
            _STOPPED,
            "Download or save the model again: the index says which file holds what.",
        )
    missing = [f.name for f in files if not f.exists()]
    if missing:
        raise LemError(
            f"{folder} lacks {len(missing)} of its {len(files)} weight files: "
            f"{excerpt(', '.join(missing), 120)}.",
            _STOPPED,
            "Download the rest; lem models pull goes on with what is there.",
        )
    for file in files:
        tensor_shapes(file)
    return files


def _shard(folder: Path, name: Any) -> Path:
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
        raise LemError(
            f"{folder / _INDEX} names {excerpt(str(name))!r} as a weight file, which is not a "
            ".safetensors file of this folder.",
            _STOPPED,
            "Download the model again, from somebody you trust.",
        )
    return folder / name


def _no_weights(folder: Path) -> LemError:
    pickled = sorted({p.name for pattern in _PICKLES for p in folder.glob(pattern)})
    if pickled:
        return LemError(
            f"The weights in {folder} are pickled ({excerpt(', '.join(pickled))}), and there is "
            "no *.safetensors.",
            "A pickle can run any code when it is opened, so it was not; nothing was run.",
            "Use a release of the model with model.safetensors, or convert it with a tool you "
            "trust.",
        )
    return LemError(
        f"{folder} holds no weights (model.safetensors, or shards with {_INDEX}).",
        _STOPPED,
        "Download the whole model; config and tokenizer alone cannot answer.",
    )


def tensor_shapes(file: Path) -> Shapes:
    """The tensors of a safetensors file, from its header.

    Raises:
        LemError: it is not one, or its length is not what the header says.
    """
    again = "Download it again (git lfs pull, or lem models pull)."
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            first = stream.read(8)
            if first == b"version ":
                raise LemError(
                    f"{file} is a Git LFS pointer, not the weights themselves.", _STOPPED, again
                )
            length = int.from_bytes(first, "little")
            if len(first) < 8 or not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ValueError("no header")
            header = json.loads(stream.read(length))
        tensors = {k: v for k, v in header.items() if k != "__metadata__"}
        shapes = {k: tuple(int(n) for n in v["shape"]) for k, v in tensors.items()}
        end = max((int(v["data_offsets"][1]) for v in tensors.values()), default=0)
    except OSError as e:
        raise LemError(f"Cannot read {file}: {e.strerror}.", _STOPPED, "Check the path.") from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise LemError(f"{file} is not a safetensors file.", _STOPPED, again) from None
    if size != 8 + length + end:
        what = "cut short" if size < 8 + length + end else "longer than its header says"
        raise LemError(
            f"{file} is {what}: {size:,} bytes instead of {8 + length + end:,}.", _STOPPED, again
        )
    return shapes


def parameters(files: list[Path]) -> int:
    """Stored numbers of a model (of quantised weights: of their packed words)."""
    return sum(math.prod(shape) for file in files for shape in tensor_shapes(file).values())


def all_shapes(files: list[Path]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors."""
    for file in files:
        yield from tensor_shapes(file).items()
