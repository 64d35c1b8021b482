"""The tokenizer and the chat template of a Hugging Face folder."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lem.engines._folder_files import read_object
from lem.errors import LemError, missing_extra
from lem.text import excerpt, read_text

_STOPPED = "No model was loaded, and nothing was run."
#: Files that a tokenizer can be made from, with the library's help.
_SOURCES = ("tokenizer.model", "vocab.json", "spiece.model", "vocab.txt", "tekken.json")


class FolderTokenizer:
    """A folder's tokenizer, without any rule of its own about which tokens start a prompt.

    Raises:
        LemError: there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_object(folder / "tokenizer_config.json", "tokenizer configuration")
        self._named = read_object(folder / "special_tokens_map.json", "list of special tokens")
        self._raw = _load(folder)
        self._raw.no_truncation()
        self._raw.no_padding()
        self._lock = threading.Lock()

    def ids(self, text: str, *, special: bool) -> list[int]:
        """Ids of a text; ``special``: control tokens in it are recognised."""
        text = text.encode("utf-8", "replace").decode("utf-8")
        with self._lock:  # the switch belongs to the tokenizer, not to the call
            self._raw.encode_special_tokens = not special
            return list(self._raw.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._raw.decode(list(ids), skip_special_tokens=False)
        return text

    def text_of(self, token: int) -> str:
        """A token as it is written in the vocabulary; empty where there is no such token."""
        return self._raw.id_to_token(token) or ""

    def id_of(self, text: str) -> int | None:
        found: int | None = self._raw.token_to_id(text)
        return found

    @cached_property
    def control(self) -> dict[str, int]:
        """Texts and ids of the control tokens."""
        added = self._raw.get_added_tokens_decoder()
        return {str(t.content): int(i) for i, t in added.items() if t.special}

    def special(self, name: str, fallback: int | None) -> str:
        """Text of ``bos_token`` or ``eos_token``: as the tokenizer's files have it, else of the
        id that the model's configuration has."""
        for source in (self.config, self._named):
            if name in source:
                value = source[name]
                value = value.get("content") if isinstance(value, dict) else value
                return value if isinstance(value, str) else ""
        return "" if fallback is None else self.text_of(fallback)

    def adds(self, token: int) -> bool:
        """Whether the tokenizer begins every prompt with this token."""
        wanted = self.config.get("add_bos_token")
        if isinstance(wanted, bool):
            return wanted
        with self._lock:
            return list(self._raw.encode("x", add_special_tokens=True).ids[:1]) == [token]


def _load(folder: Path) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise missing_extra("tokenizers (reading model folders)", "torch") from None
    file = folder / "tokenizer.json"
    if not file.exists():
        return _convert(folder)
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as e:  # the library raises plain Exceptions
        raise _unreadable(file, e) from None


def _convert(folder: Path) -> Any:
    """The tokenizer of a folder that has only an older form of it."""
    there = [name for name in _SOURCES if (folder / name).exists()]
    if not there:
        raise LemError(
            f"{folder} has no tokenizer (tokenizer.json or tokenizer.model).",
            "A prompt could not be turned into tokens; nothing was run.",
            "Download the tokenizer's files of the same model into the folder.",
        )
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise missing_extra("transformers (reading model folders)", "torch") from None
    try:
        made = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as e:  # whatever a broken file makes the library raise
        raise _unreadable(folder / there[0], e) from None
    raw = getattr(made, "backend_tokenizer", None)
    if raw is None:
        raise LemError(
            f"The tokenizer in {folder} ({', '.join(there)}) cannot be converted to "
            "tokenizer.json.",
            _STOPPED,
            "Use a release of the model that has tokenizer.json.",
        )
    return raw


def _unreadable(file: Path, error: Exception) -> LemError:
    return LemError(
        f"The tokenizer {file} cannot be read: {excerpt(str(error), 160)}.",
        _STOPPED,
        "Download it again; if it needs packages of its own, use a release with tokenizer.json.",
    )


def template_source(folder: Path, tokenizer_config: dict[str, Any]) -> str:
    """The chat template of a folder: a file of its own, else out of the configuration.

    Raises:
        LemError: there is none.
    """
    file = folder / "chat_template.jinja"
    found: Any = read_text(file, "chat template") if file.exists() else None
    if found is None:
        found = read_object(folder / "chat_template.json", "chat template").get("chat_template")
    if found is None:
        found = tokenizer_config.get("chat_template")
    if isinstance(found, list):  # several, with names
        named = {t.get("name"): t.get("template") for t in found if isinstance(t, dict)}
        found = named.get("default", next(iter(named.values())) if len(named) == 1 else None)
    if isinstance(found, dict):
        found = found.get("default")
    if not isinstance(found, str) or not found.strip():
        raise LemError(
            f"{folder} carries no chat template.",
            "A base model has no turns to put a kernel and a probe into; nothing was run.",
            "Use the instruction-tuned version of the model.",
        )
    return found
