"""Tiny random-weight models of every architecture, for tests of the transformers engine.

All have a vocabulary of 256, 2 to 4 layers, 4 heads over 2 key/value heads of 16 (GPT-2 and its
kin have as many key/value heads as heads) and attention implementation "eager", the reference.
Weights are drawn so that a mistake shows: attention scores have a spread above 1, norms and
biases are not the identity, and the greedy path wanders instead of repeating one token.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB = 256
#: Enough for every prefix, suffix and answer of the tests.
POSITIONS = 2048

# Sizes as most configurations call them.
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


_FULL, _SLIDING = "full_attention", "sliding_attention"
# Gemma 3n and 4: the last two layers attend to the keys of the first two.
_SHARING = _SIZES | {
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "layer_types": [_SLIDING, _FULL, _SLIDING, _FULL],
    "vocab_size_per_layer_input": VOCAB,
    "hidden_size_per_layer_input": 16,
}
_MODELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    # name: (model type, settings, has a sliding window)
    "llama": ("llama", _SIZES, False),
    "mistral-window": ("mistral", _SIZES, True),
    "mistral": ("mistral", _SIZES | {"sliding_window": None}, False),
    "qwen2": ("qwen2", _SIZES | {"use_sliding_window": False}, False),
    "qwen2-window": ("qwen2", _SIZES | {"use_sliding_window": True, "max_window_layers": 1}, True),
    "qwen3": ("qwen3", _SIZES, False),
    "gemma": ("gemma", _SIZES, False),
    "gemma2": (
        "gemma2",
        _SIZES
        | {
            "num_hidden_layers": 4,
            "query_pre_attn_scalar": 16,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 30.0,
        },
        True,
    ),
    "gemma3": (
        "gemma3_text",
        _SIZES
        | {
            "num_hidden_layers": 4,
            "query_pre_attn_scalar": 16,
            "layer_types": [_SLIDING, _SLIDING, _FULL, _SLIDING],
            "rope_parameters": {
                _FULL: {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6},
                _SLIDING: {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        True,
    ),
    "gpt-oss": (
        "gpt_oss",
        _SIZES
        | {
            "num_hidden_layers": 4,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "layer_types": [_SLIDING, _FULL, _SLIDING, _FULL],
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1.5e5,
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": POSITIONS // 32,
            },
        },
        True,
    ),
    # DeepSeek-R1's distilled models: Qwen2 (with its biases) and Llama 3.1 (with its scaled rope).
    "deepseek-qwen": (
        "qwen2",
        _SIZES
        | {
            "use_sliding_window": False,
            "max_window_layers": 3,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
        False,
    ),
    "deepseek-llama": (
        "llama",
        _SIZES
        | {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 5e5,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
        False,
    ),
    "phi3": ("phi3", _SIZES | {"sliding_window": None}, False),
    "phi3-window": ("phi3", _SIZES, True),
    "cohere": ("cohere", _SIZES | {"use_qk_norm": True, "logit_scale": 1.0}, False),
    "cohere2": (
        "cohere2",
        _SIZES | {"num_hidden_layers": 4, "logit_scale": 1.0, "sliding_window_pattern": 2},
        True,
    ),
    "olmo2": ("olmo2", _SIZES, False),
    "olmo3": ("olmo3", _SIZES | {"num_hidden_layers": 4}, True),
    "granite": (
        "granite",
        _SIZES
        | {
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.8,
            "embedding_multiplier": 2.0,
            "logits_scaling": 0.5,
        },
        False,
    ),
    "smollm3": ("smollm3", _SIZES | {"no_rope_layer_interval": 2}, False),
    "qwen3-moe": (
        "qwen3_moe",
        _SIZES | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48},
        False,
    ),
    "gpt2": ("gpt2", {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS}, False),
    "gpt-neox": ("gpt_neox", _SIZES | {"rotary_pct": 0.5}, False),
    "opt": (
        "opt",
        {
            "hidden_size": 64,
            "word_embed_proj_dim": 64,
            "ffn_dim": 96,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
        },
        False,
    ),
    "starcoder2": ("starcoder2", _SIZES | {"sliding_window": None}, False),
    "starcoder2-window": ("starcoder2", _SIZES, True),
    "stablelm": ("stablelm", _SIZES | {"qk_layernorm": True, "partial_rotary_factor": 0.5}, False),
    "gptj": (
        "gptj",
        {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS, "rotary_dim": 8},
        False,
    ),
    "llama4": (
        "llama4_text",
        _SIZES
        | {
            "num_hidden_layers": 4,
            "attention_chunk_size": 16,
            "layer_types": ["chunked_attention", "chunked_attention", _FULL, "chunked_attention"],
            "no_rope_layers": [1, 1, 0, 1],
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "interleave_moe_layer_step": 2,
            "intermediate_size_mlp": 96,
        },
        False,
    ),
    "gemma3n": (
        "gemma3n_text",
        _SHARING | {"intermediate_size": [96] * 4, "activation_sparsity_pattern": [0.0] * 4},
        True,
    ),
    "gemma4": ("gemma4_text", _SHARING | {"global_head_dim": 16}, True),
    # Not served: they ignore the attention interface, have layers that are no attention, call it
    # twice, or expand their keys after the cache.
    "falcon": (
        "falcon",
        {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4},
        False,
    ),
    "bloom": ("bloom", {"hidden_size": 64, "n_layer": 3, "n_head": 4}, False),
    "mamba": ("mamba", {"hidden_size": 64, "num_hidden_layers": 3, "state_size": 8}, False),
    "lfm2": ("lfm2", _SIZES | {"layer_types": ["conv", _FULL, "conv"]}, False),
    "diffllama": ("diffllama", _SIZES, False),
    "deepseek-v3": (
        "deepseek_v3",
        {
            "hidden_size": 64,
            "intermediate_size": 96,
            "moe_intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 1,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 16,
        },
        False,
    ),
}

#: The architectures that the published studies span.
NAMED = (
    "llama",
    "mistral-window",
    "mistral",
    "qwen2",
    "qwen2-window",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "gpt-oss",
    "deepseek-qwen",
    "deepseek-llama",
)
#: Those that shared-prefix attention does not serve.
NOT_SERVED = ("falcon", "bloom", "mamba", "lfm2", "diffllama", "deepseek-v3")
NAMES = tuple(_MODELS)
SERVED = tuple(name for name in NAMES if name not in NOT_SERVED)
#: Those in which some layer sees only the last few tokens.
WINDOWED = tuple(name for name in NAMES if _MODELS[name][2])


def tiny(name: str, *, window: int = 16, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A tiny random model.

    Args:
        name: one of NAMES.
        window: the sliding window of those that have one, in tokens.
        seed: of the weights; two names never share weights.
        dtype: of the weights.

    Returns:
        The model, ready to generate greedily with attention implementation "eager".
    """
    kind, settings, windowed = _MODELS[name]
    common: dict[str, Any] = {
        "vocab_size": VOCAB,
        "tie_word_embeddings": False,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    if kind == "gpt2":
        del common["max_position_embeddings"]  # another name for n_positions there
    if windowed:
        common["sliding_window"] = window
    config = AutoConfig.for_model(kind, **common | settings)
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", dtype=torch.float32
    )
    _draw(model, torch.Generator().manual_seed(zlib.crc32(name.encode()) + seed))
    model.generation_config.do_sample = False
    return model.to(dtype).eval()


@torch.no_grad()
def _draw(model: Any, random: torch.Generator) -> None:
    """Give every parameter values that matter."""

    def normal(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=random)

    seen = set()
    for name, value in model.named_parameters():
        if value.data_ptr() in seen:  # tied: drawn already
            continue
        seen.add(value.data_ptr())
        last = name.split(".")
        if "A_log" in name or name.endswith(".D"):
            continue  # the state space of Mamba: decays that must stay decays
        if name.endswith("dt_proj.bias"):
            value.copy_(normal(value) - 3)
        elif "sinks" in last:
            value.copy_(normal(value))
        elif last[-1].endswith("bias"):
            value.copy_(0.2 * normal(value))
        elif value.ndim == 1 or "norm" in last[-2]:  # norms: near what they were, 0 or 1
            value.copy_(value.round() + 0.2 * normal(value))
        elif "embed" in name or "wte" in name or "wpe" in name:
            value.copy_(normal(value))
        else:  # matrices, and stacks of them: outputs somewhat wider than their inputs
            inputs = value.shape[-2] if _transposed(name, value) else value.shape[-1]
            value.copy_(normal(value) * (2.0 / math.sqrt(inputs)))


def _transposed(name: str, value: torch.Tensor) -> bool:
    """Is it stored as inputs × outputs (GPT-2's Conv1D, the stacked experts of GPT-OSS)?"""
    return "c_attn" in name or "c_proj" in name or ("experts" in name and value.ndim == 3)
