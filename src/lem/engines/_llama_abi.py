"""The part of llama.cpp's C interface that the engine uses, bound with ctypes.

xllamacpp's Python classes wrap llama.cpp's *server*, whose slots cannot share a prefix: each
holds a copy of the kernel's keys and values. The wheel exports the C interface underneath, where
`llama_memory_seq_cp` lets any number of sequences share the same cells. Struct layouts are those
of the pinned build; `load_library` compares the defaults the library hands out with what that
layout must show, and refuses any other build rather than write into unknown memory.
"""

from __future__ import annotations

import ctypes as c
import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lem.errors import LemError, missing_extra

ABI_BUILD = "2026.10.11549"

LOG_CALLBACK = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)


class ContextParams(c.Structure):
    """struct llama_context_params; blocks that stay at their defaults are opaque."""

    _fields_ = (
        ("n_ctx", c.c_uint32),
        ("n_batch", c.c_uint32),
        ("n_ubatch", c.c_uint32),
        ("n_seq_max", c.c_uint32),
        ("_n_rs_seq", c.c_uint32),
        ("_n_outputs", c.c_uint32 * 2),
        ("n_threads", c.c_int32),
        ("n_threads_batch", c.c_int32),
        ("_context_type", c.c_int32),
        ("rope_scaling_type", c.c_int32),
        ("pooling_type", c.c_int32),
        ("attention_type", c.c_int32),
        ("flash_attn_type", c.c_int32),
        ("_rope", c.c_uint8 * 48),
        ("type_k", c.c_int32),
        ("type_v", c.c_int32),
        ("_abort", c.c_uint8 * 24),
        ("embeddings", c.c_bool),
        ("offload_kqv", c.c_bool),
        ("no_perf", c.c_bool),
        ("op_offload", c.c_bool),
        ("swa_full", c.c_bool),
        ("kv_unified", c.c_bool),
        # Passed and returned by value through memory: room to spare is harmless, too little is not.
        ("_tail", c.c_uint8 * 122),
    )


class ModelParams(c.Structure):
    """struct llama_model_params, opaque: its defaults are what we want."""

    _fields_ = (("_bytes", c.c_uint8 * 256),)


class SamplerChainParams(c.Structure):
    _fields_ = (("no_perf", c.c_bool),)


class Batch(c.Structure):
    """struct llama_batch: one entry a token."""

    _fields_ = (
        ("n_tokens", c.c_int32),
        ("token", c.POINTER(c.c_int32)),
        ("embd", c.c_void_p),
        ("pos", c.POINTER(c.c_int32)),
        ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))),
        ("logits", c.POINTER(c.c_int8)),
    )


_P, _I, _F, _B = c.c_void_p, c.c_int32, c.c_float, c.c_bool
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [LOG_CALLBACK, _P]),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (_P, [c.c_char_p, ModelParams]),
    "llama_model_free": (None, [_P]),
    "llama_model_get_vocab": (_P, [_P]),
    "llama_model_n_ctx_train": (_I, [_P]),
    "llama_model_n_layer": (_I, [_P]),
    "llama_model_n_embd": (_I, [_P]),
    "llama_model_n_head": (_I, [_P]),
    "llama_model_n_head_kv": (_I, [_P]),
    "llama_model_desc": (_I, [_P, c.c_char_p, c.c_size_t]),
    "llama_model_meta_val_str": (_I, [_P, c.c_char_p, c.c_char_p, c.c_size_t]),
    "llama_model_chat_template": (c.c_char_p, [_P, c.c_char_p]),
    "llama_init_from_model": (_P, [_P, ContextParams]),
    "llama_free": (None, [_P]),
    "llama_n_seq_max": (c.c_uint32, [_P]),
    "llama_get_memory": (_P, [_P]),
    "llama_memory_seq_cp": (None, [_P, _I, _I, _I, _I]),
    "llama_memory_seq_rm": (_B, [_P, _I, _I, _I]),
    "llama_batch_init": (Batch, [_I, _I, _I]),
    "llama_batch_free": (None, [Batch]),
    "llama_decode": (_I, [_P, Batch]),
    "llama_get_logits": (c.POINTER(_F), [_P]),
    "llama_tokenize": (_I, [_P, c.c_char_p, _I, c.POINTER(_I), _I, _B, _B]),
    "llama_token_to_piece": (_I, [_P, _I, c.c_char_p, _I, _I, _B]),
    "llama_vocab_bos": (_I, [_P]),
    "llama_vocab_eos": (_I, [_P]),
    "llama_vocab_get_add_bos": (_B, [_P]),
    "llama_vocab_is_eog": (_B, [_P, _I]),
    "llama_vocab_is_control": (_B, [_P, _I]),
    "llama_vocab_n_tokens": (_I, [_P]),
    "llama_sampler_chain_default_params": (SamplerChainParams, []),
    "llama_sampler_chain_init": (_P, [SamplerChainParams]),
    "llama_sampler_chain_add": (None, [_P, _P]),
    "llama_sampler_init_greedy": (_P, []),
    "llama_sampler_init_temp": (_P, [_F]),
    "llama_sampler_init_top_p": (_P, [_F, c.c_size_t]),
    "llama_sampler_init_dist": (_P, [c.c_uint32]),
    "llama_sampler_sample": (_I, [_P, _P, _I]),
    "llama_sampler_free": (None, [_P]),
}

#: What the pinned build's default parameters must look like through `ContextParams`.
_EXPECTED_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_threads": 4,
    "n_threads_batch": 4,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": -1,
    "type_k": 1,
    "type_v": 1,
    "embeddings": False,
    "offload_kqv": True,
    "no_perf": True,
    "op_offload": True,
    "swa_full": True,
    "kv_unified": False,
}


class Library:
    """The bound functions, and the library's last complaints."""

    def __init__(self, path: Path, version: str) -> None:
        self.version = version
        self._cdll = c.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._cdll, name)
            function.restype, function.argtypes = result, arguments
        self.errors: list[str] = []
        self._callback = LOG_CALLBACK(self._log)  # must outlive the library's use of it
        self._cdll.llama_log_set(self._callback, None)
        self._cdll.llama_backend_init()

    def _log(self, level: int, text: bytes, _: int | None) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            self.errors = [*self.errors[-9:], text.decode("utf-8", "replace").strip()]

    def take_error(self) -> str:
        """The last complaints in one line, and forget them."""
        said, self.errors = "; ".join(e for e in self.errors if e), []
        return said

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(self._cdll, f"llama_{name}")
        return function


@functools.cache
def load_library() -> Library:
    """Bind the wheel's C interface.

    Raises:
        LemError: xllamacpp is missing, exports no C interface (Windows), or has another layout.
    """
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        raise missing_extra("xllamacpp (llama.cpp in process)", "llama")
    version = importlib.metadata.version("xllamacpp")
    candidates = sorted(Path(spec.origin).parent.glob("xllamacpp*.so"))
    problem = "no shared library with llama.cpp's C interface was found in it"
    for path in candidates:
        try:
            library = Library(path, version)
        except (OSError, AttributeError) as e:
            problem = str(e)
            continue
        defaults = library.context_default_params()
        seen = {name: getattr(defaults, name) for name in _EXPECTED_DEFAULTS}
        if seen == _EXPECTED_DEFAULTS:
            return library
        problem = "its parameter structs have another layout"
    raise LemError(
        f"xllamacpp {version} does not fit this release of lem ({problem}).",
        "GGUF files cannot be run in process.",
        f"pip install 'xllamacpp=={ABI_BUILD}'; or, where that build exports no C interface "
        "(Windows), serve the file with llama-server and use --model openai:NAME --base-url URL.",
    )
