"""A GGUF file loaded for llama.cpp: tokens, template and facts, without any generation."""

from __future__ import annotations

import ctypes as c
import datetime
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from lem.engines._llama_abi import load_library
from lem.engines.fingerprint import file_sha256
from lem.errors import LemError
from lem.prompts import FROZEN_DATE, ChatTemplate, TemplateFacts, inspect_template
from lem.records import EngineInfo, Message
from lem.text import excerpt


class LlamaModel:
    """Weights and vocabulary of one GGUF file (memory-mapped).

    Args:
        path: the file.
        name: how the model is called in reports.

    Raises:
        LemError: not a GGUF file, cut short, of an unknown architecture, or without a chat
            template.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.lib = load_library()
        check_magic(path)
        self.lib.take_error()
        self.pointer = self.lib.model_load_from_file(
            str(path).encode(), self.lib.model_default_params()
        )
        if not self.pointer:
            raise LemError(
                f"llama.cpp cannot load {path}: {excerpt(self.lib.take_error(), 300)}.",
                "The model is damaged, cut short or of an unknown kind; nothing was run.",
                "Download or convert the file again and compare its size with the original's.",
            )
        self.vocab = self.lib.model_get_vocab(self.pointer)
        self.context_length = int(self.lib.model_n_ctx_train(self.pointer))
        source = self.lib.model_chat_template(self.pointer, None)
        if not source:
            raise LemError(
                f"{path} carries no chat template.",
                "A base model has no turns to put a kernel and a probe into; nothing was run.",
                "Use the instruction-tuned version of the model.",
            )
        self.template = ChatTemplate(
            source.decode("utf-8", "replace"),
            bos_token=self._special(self.lib.vocab_bos(self.vocab)),
            eos_token=self._special(self.lib.vocab_eos(self.vocab)),
        )
        self.wants_bos = bool(self.lib.vocab_get_add_bos(self.vocab))
        self.bos = int(self.lib.vocab_bos(self.vocab))

    @cached_property
    def info(self) -> EngineInfo:
        description = c.create_string_buffer(256)
        self.lib.model_desc(self.pointer, description, len(description))
        return EngineInfo(
            engine="llama.cpp",
            engine_version=f"xllamacpp {self.lib.version}",
            model=self.name,
            fingerprint={
                "format": "gguf",
                "file_sha256": file_sha256(self.path),
                "description": description.value.decode("utf-8", "replace"),
                "template_sha256": self.template.sha256,
            },
            context_length=self.context_length,
        )

    @cached_property
    def facts(self) -> TemplateFacts:
        probe = self.tokenize(self.render([{"role": "user", "content": "x"}]))
        leading = next((i for i, t in enumerate(probe) if t != self.bos), len(probe))
        return inspect_template(
            self.template.render,
            can_date=True,
            bos_tokens=leading if self.wants_bos else None,
            template_sha256=self.template.sha256,
        )

    def render(self, messages: Sequence[Message], date: datetime.date = FROZEN_DATE) -> str:
        return self.template.render(messages, date)

    def tokenize(self, text: str) -> list[int]:
        ids = self._ids(text, special=True)
        if self.wants_bos:
            # Exactly one, whether or not the template writes it too.
            start = next((i for i, t in enumerate(ids) if t != self.bos), len(ids))
            ids = [self.bos, *ids[start:]]
        return ids

    def tokenize_plain(self, text: str) -> list[int]:
        """Ids of text in which control tokens are spelled out like any other word."""
        return self._ids(text, special=False)

    def foreign_tokens(self, text: str) -> bool:
        return self._ids(text, special=True) != self._ids(text, special=False)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens; control tokens have none, broken UTF-8 becomes U+FFFD."""
        return b"".join(self._piece(t, special=False) for t in ids).decode("utf-8", "replace")

    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values that one token holds in all layers (16-bit)."""
        lib, model = self.lib, self.pointer
        head = lib.model_n_embd(model) // max(1, lib.model_n_head(model))
        return int(2 * 2 * lib.model_n_layer(model) * lib.model_n_head_kv(model) * head)

    def close(self) -> None:
        if self.pointer:
            self.lib.model_free(self.pointer)
            self.pointer = None

    def _ids(self, text: str, *, special: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        ids = (c.c_int32 * (len(raw) + 8))()  # never more tokens than bytes, and a margin
        count = self.lib.tokenize(self.vocab, raw, len(raw), ids, len(ids), False, special)
        return list(ids[:count])

    def _piece(self, token: int, *, special: bool) -> bytes:
        size = 128
        while True:
            buffer = c.create_string_buffer(size)
            written = self.lib.token_to_piece(self.vocab, token, buffer, size, 0, special)
            if written >= 0:
                return buffer.raw[:written]
            size = -written

    def _special(self, token: int) -> str:
        return self._piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""


def check_magic(path: Path) -> None:
    """Raise the error of a file that does not begin as a GGUF file does."""
    stopped = "No model was loaded, and nothing was run."
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as e:
        raise LemError(
            f"Cannot read the model {path}: {e.strerror}.", stopped, "Check the path."
        ) from None
    if magic != b"GGUF":
        raise LemError(
            f"{path} is not a GGUF file (it starts with {magic!r}).",
            stopped,
            "Name a .gguf file; if it was downloaded, it may be an error page or a pointer file.",
        )
