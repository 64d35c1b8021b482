"""llama.cpp's working memory: one pool of cells (keys and values) for all sequences."""

from __future__ import annotations

from typing import Any

from lem.engines._llama_model import LlamaModel
from lem.errors import LemError
from lem.text import excerpt


class LlamaContext:
    """A pool of cells, and the batch that fills it.

    Args:
        model: whose context it is.
        cells: tokens it can hold at least.
        sequences: that can share them.
        chunk: most tokens of one decode call.
        threads: for the computation.
        refusal: consequence and fix of the error when the memory does not suffice.

    Raises:
        LemError: llama.cpp cannot set it up.
    """

    def __init__(
        self,
        model: LlamaModel,
        cells: int,
        sequences: int,
        chunk: int,
        threads: int,
        refusal: tuple[str, str],
    ) -> None:
        self.lib, self.cells = model.lib, cells
        params = self.lib.context_default_params()
        params.n_ctx = -(-cells // 256) * 256
        params.n_batch = params.n_ubatch = chunk
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = 1  # on: skips masked cells, so that rows do not pay for each other
        params.kv_unified = True  # one pool: what makes sharing a prefix free
        self.lib.take_error()
        self.pointer: Any = self.lib.init_from_model(model.pointer, params)
        if not self.pointer or self.lib.n_seq_max(self.pointer) != sequences:
            need = cells * model.kv_bytes_per_token() / 1e9
            raise LemError(
                f"llama.cpp could not set up a context of {cells:,} tokens, {need:.1f} GB: "
                f"{excerpt(self.lib.take_error(), 200)}.",
                *refusal,
            )
        self.memory = self.lib.get_memory(self.pointer)
        self.batch = self.lib.batch_init(chunk, 0, 1)

    def close(self) -> None:
        """Give back the memory."""
        self.lib.batch_free(self.batch)
        self.lib.free(self.pointer)

    def forget_all(self) -> None:
        """Empty the pool."""
        self.lib.memory_seq_rm(self.memory, -1, -1, -1)

    def forget(self, sequence: int) -> None:
        """Give back the cells that only this sequence has."""
        self.lib.memory_seq_rm(self.memory, sequence, -1, -1)

    def share(self, source: int, target: int, length: int) -> None:
        """Let a sequence see another's first cells too. No data is copied."""
        if length:
            self.lib.memory_seq_cp(self.memory, source, target, 0, length)
