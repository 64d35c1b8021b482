"""Tiny model folders for tests: random weights, the built-in model's tokenizer and template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

VOCAB, WIDTH, LAYERS = 49152, 32, 2
#: Tokens of the tiny GGUF file.
FEW = 2048
_KEPT = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


def llama_config(**changes: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": VOCAB,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
        **changes,
    }


def tiny_folder(place: Path, like: Path, **config: Any) -> Path:
    """A Llama of two layers; ``like`` is the built-in model's folder, ``config`` changes fields."""
    place.mkdir(parents=True)
    for name in _KEPT:
        shutil.copy(like / name, place / name)
    (place / "config.json").write_text(json.dumps(llama_config(**config)))
    draw = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> Any:
        return draw.normal(0, columns**-0.5, (rows, columns)).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": matrix(VOCAB, WIDTH),
        "model.norm.weight": np.ones(WIDTH),
    }
    for i in range(LAYERS):
        at = f"model.layers.{i}."
        for name, rows, columns in (
            ("self_attn.q_proj", WIDTH, WIDTH),
            ("self_attn.k_proj", 16, WIDTH),
            ("self_attn.v_proj", 16, WIDTH),
            ("self_attn.o_proj", WIDTH, WIDTH),
            ("mlp.gate_proj", 48, WIDTH),
            ("mlp.up_proj", 48, WIDTH),
            ("mlp.down_proj", WIDTH, 48),
        ):
            tensors[f"{at}{name}.weight"] = matrix(rows, columns)
        tensors[f"{at}input_layernorm.weight"] = np.ones(WIDTH)
        tensors[f"{at}post_attention_layernorm.weight"] = np.ones(WIDTH)
    weights = {name: value.astype(np.float32) for name, value in tensors.items()}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def change_json(file: Path, **fields: Any) -> None:
    """Set fields of a JSON object; None removes one."""
    value = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({k: v for k, v in value.items() if v is not None}))


def peft_adapter(
    place: Path, width: int = WIDTH, layers: int = LAYERS, base: str = "tiny", **config: Any
) -> Path:
    """An adapter on the query projections, as PEFT writes it."""
    place.mkdir(parents=True)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
    }
    (place / "adapter_config.json").write_text(json.dumps(settings | config))
    draw, tensors = np.random.default_rng(1), {}
    for i in range(layers):
        at = f"base_model.model.model.layers.{i}.self_attn.q_proj"
        tensors[f"{at}.lora_A.weight"] = draw.normal(0, 0.3, (4, width)).astype(np.float32)
        tensors[f"{at}.lora_B.weight"] = draw.normal(0, 0.3, (width, 4)).astype(np.float32)
    save_file(tensors, place / "adapter_model.safetensors")
    return place


def mlx_adapter(place: Path, width: int = WIDTH, layers: int = LAYERS) -> Path:
    """Likewise, as mlx-lm writes it."""
    place.mkdir(parents=True)
    settings = {
        "fine_tune_type": "lora",
        "model": "tiny",
        "num_layers": layers,
        "lora_parameters": {"rank": 4, "scale": 2.0, "dropout": 0.0, "keys": ["self_attn.q_proj"]},
    }
    (place / "adapter_config.json").write_text(json.dumps(settings))
    draw, tensors = np.random.default_rng(1), {}
    for i in range(layers):
        at = f"model.layers.{i}.self_attn.q_proj"
        tensors[f"{at}.lora_a"] = draw.normal(0, 0.3, (width, 4)).astype(np.float32)
        tensors[f"{at}.lora_b"] = draw.normal(0, 0.3, (4, width)).astype(np.float32)
    save_file(tensors, place / "adapters.safetensors")
    return place


def tiny_gguf(file: Path, like: Path) -> dict[str, Any]:
    """A Llama of two layers as Q8_0; ``like`` is the built-in model's file, for its tokenizer.

    Returns:
        The matrices as they are once dequantised, by their GGUF names.
    """
    import gguf

    reader = gguf.GGUFReader(like)
    writer = gguf.GGUFWriter(file, "llama")
    contents = {name: field.contents() for name, field in reader.fields.items()}
    tokens = contents["tokenizer.ggml.tokens"][:FEW]  # the library takes seconds for all of them
    known, merges = set(tokens), contents["tokenizer.ggml.merges"]
    changed = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": contents["tokenizer.ggml.token_type"][:FEW],
        "tokenizer.ggml.merges": [m for m in merges if {*m.split(), m.replace(" ", "")} <= known],
        "llama.vocab_size": FEW,
        "llama.block_count": LAYERS,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 8,
        "general.file_type": int(gguf.LlamaFileType.MOSTLY_Q8_0),
    }
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        is_array = field.types[0] == gguf.GGUFValueType.ARRAY
        value = changed.get(name, contents[name])
        writer.add_key_value(name, value, field.types[0], field.types[-1] if is_array else None)
    draw, stored = np.random.default_rng(2), {}
    shapes = {"token_embd": (FEW, WIDTH)}
    for i in range(LAYERS):
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", 16, WIDTH),
            ("attn_v", 16, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", 64, WIDTH),
            ("ffn_up", 64, WIDTH),
            ("ffn_down", WIDTH, 64),
        ):
            shapes[f"blk.{i}.{name}"] = (rows, columns)
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, shape in shapes.items():
        values = draw.normal(0, shape[1] ** -0.5, shape).astype(np.float32)
        packed = gguf.quantize(values, kind)
        stored[f"{name}.weight"] = gguf.dequantize(packed, kind)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=kind)
    norms = ["output_norm", *(f"blk.{i}.{n}_norm" for i in range(LAYERS) for n in ("attn", "ffn"))]
    for name in norms:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stored
