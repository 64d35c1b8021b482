"""A GGUF file loaded for llama.cpp: tokens, template and facts, without any generation."""

from __future__ import annotations

import ctypes as c
import datetime
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lem.engines._llama_abi import load_library
from lem.engines.fingerprint import file_sha256
from lem.engines.outputs import OutputStyle, style_of
from lem.errors import LemError
from lem.prompts import (
    FROZEN_DATE,
    ChatTemplate,
    TemplateFacts,
    TemplateRefused,
    inspect_template,
)
from lem.prompts.families import end_of_turn, family_notes
from lem.prompts.template import check_switch
from lem.records import EngineInfo, Message
from lem.text import excerpt


class LlamaModel:
    """Weights and vocabulary of one GGUF file (memory-mapped).

    Args:
        path: the file.
        name: how the model is called in reports.
        thinking: what a template with a switch for reasoning is told; None: its own default.

    Raises:
        LemError: not a GGUF file, cut short, of an unknown architecture, or without a chat
            template.
    """

    def __init__(self, path: Path, name: str, *, thinking: bool | None = None) -> None:
        self.path, self.name, self.thinking = path, name, thinking
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
            thinking=thinking,
        )
        self.wants_bos = bool(self.lib.vocab_get_add_bos(self.vocab))
        self.bos = int(self.lib.vocab_bos(self.vocab))
        check_switch(self.template, name)

    @cached_property
    def info(self) -> EngineInfo:
        description = c.create_string_buffer(256)
        self.lib.model_desc(self.pointer, description, len(description))
        fingerprint: dict[str, Any] = {
            "format": "gguf",
            "file_sha256": file_sha256(self.path),
            "description": description.value.decode("utf-8", "replace"),
            "template_sha256": self.template.sha256,
        }
        # Only where they apply: earlier runs of other models must stay what they were.
        if self.style.kind != "plain":
            fingerprint["output"] = self.style.kind
        if self.thinking is not None:
            fingerprint["thinking"] = self.thinking
        return EngineInfo(
            engine="llama.cpp",
            engine_version=f"xllamacpp {self.lib.version}",
            model=self.name,
            fingerprint=fingerprint,
            context_length=self.context_length,
            notes=self._notes(),
        )

    @cached_property
    def architecture(self) -> str:
        """What the file says it is, for example ``llama``; empty where it says nothing."""
        buffer = c.create_string_buffer(64)
        key = b"general.architecture"
        if self.lib.model_meta_val_str(self.pointer, key, buffer, len(buffer)) < 0:
            return ""
        return buffer.value.decode("utf-8", "replace")

    @cached_property
    def facts(self) -> TemplateFacts:
        try:
            probe = self.tokenize(self.render([{"role": "user", "content": "x"}]))
        except TemplateRefused:
            probe = []  # named by what follows
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
        """The text of generated tokens: control tokens as text, broken UTF-8 as U+FFFD."""
        return b"".join(self._piece(t, special=True) for t in ids).decode("utf-8", "replace")

    @cached_property
    def style(self) -> OutputStyle:
        """How the model marks its reasoning."""
        lib, vocab = self.lib, self.vocab
        control = [
            self._special(token)
            for token in range(lib.vocab_n_tokens(vocab))
            if lib.vocab_is_control(vocab, token) or lib.vocab_is_eog(vocab, token)
        ]
        return style_of(self.template.source, control)

    @cached_property
    def missing_stop(self) -> int | None:
        """The token that the template ends a turn with, where the file does not list it among
        those that end an answer."""
        if self.style.kind == "harmony":
            return None  # each channel ends with a mark of its own, which ends no answer
        mark = end_of_turn(self.template.render)
        if mark is None or not self.foreign_tokens(mark):
            return None  # none, or ordinary text
        ids = self._ids(mark, special=True)
        return None if len(ids) != 1 or self.lib.vocab_is_eog(self.vocab, ids[0]) else ids[0]

    def ends_answer(self, token: int) -> bool:
        """Whether an answer ends with this token."""
        return token == self.missing_stop or bool(self.lib.vocab_is_eog(self.vocab, token))

    def _notes(self) -> list[str]:
        notes = family_notes(
            self.template.source,
            self.facts,
            model_type=self.architecture,
            style=self.style.kind,
            end_of_turn=end_of_turn(self.template.render),
        )
        if self.missing_stop is not None:
            mark = self._special(self.missing_stop)
            notes.append(
                f"The model's end-of-turn token {excerpt(mark, 40)} is not in the file's list of "
                "those that end an answer; it was added."
            )
        return notes

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
