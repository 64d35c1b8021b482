"""A Hugging Face folder: what can be known of a model without loading its weights.

The engines that run such folders (`transformers`, `mlx`) build on this: they add the weights. All
that can be wrong with a folder is found here, before the first token.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lem.engines import architectures
from lem.engines._folder_adapter import Adapter, check_adapter, read_adapter
from lem.engines._folder_files import (
    context_length,
    is_mlx_quantised,
    language_config,
    quantisation,
    read_config,
    read_object,
    token_ids,
    weight_files,
)
from lem.engines._folder_tokens import FolderTokenizer, template_source
from lem.engines.fingerprint import file_sha256
from lem.errors import LemError
from lem.prompts import (
    FROZEN_DATE,
    ChatTemplate,
    TemplateFacts,
    TemplateRefused,
    families,
    inspect_template,
)
from lem.prompts.template import check_switch
from lem.records import Message
from lem.text import dump_json, sha256

if TYPE_CHECKING:
    from lem.engines.outputs import OutputStyle

#: Written by a conversion beside config.json: where the weights came from.
ORIGIN = "lem.json"

_STOPPED = "No model was loaded, and nothing was run."


class ModelFolder:
    """A Hugging Face folder read without its weights: configuration, tokenizer, chat template.

    Args:
        path: the folder.
        name: how the model is called in reports.
        adapter: folder of a LoRA adapter to put on top.
        thinking: what a template with a switch for reasoning is told; None: its own default.

    Raises:
        LemError: something is missing, broken or unsafe, or does not fit together.
    """

    #: The engine whose list of architectures counts.
    engine_name: ClassVar[Literal["transformers", "mlx"]] = "transformers"

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        adapter: Path | None = None,
        thinking: bool | None = None,
    ) -> None:
        self.path, self.name, self.adapter, self.thinking = path, name, adapter, thinking
        self.notes: list[str] = []
        self.config = read_config(path)
        self.generation_config = read_object(path / "generation_config.json", "configuration")
        self.weight_files = weight_files(path)
        self.check_architecture()
        self.context_length = context_length(self.config)
        origin = read_object(path / ORIGIN, "note of origin")
        self.quantisation = str(origin.get("quantisation") or quantisation(self.config))
        self.tokenizer = FolderTokenizer(path)
        text = language_config(self.config)
        bos, eos = (min(token_ids(text.get(f"{n}_token_id")), default=None) for n in ("bos", "eos"))
        self.bos_token = self.tokenizer.special("bos_token", bos)
        self.template = ChatTemplate(
            template_source(path, self.tokenizer.config),
            bos_token=self.bos_token,
            eos_token=self.tokenizer.special("eos_token", eos),
            thinking=thinking,
        )
        check_switch(self.template, name)
        self.bos = self.tokenizer.id_of(self.bos_token) if self.bos_token else None
        self.wants_bos = self.bos is not None and self.tokenizer.adds(self.bos)
        self.adapter_files: Adapter | None = None
        if adapter is not None:
            self.adapter_files = read_adapter(adapter)
            check_adapter(self.adapter_files, path, self.config, self.weight_files)
        self.stop_ids: frozenset[int] = self._stop_ids()

    def check_architecture(self) -> None:
        """Raise the error of a model that the engine cannot build.

        Raises:
            LemError: an unknown architecture, one that needs code of its own, or weights in a
                format of another engine.
        """
        kind = architectures.architecture(self.config)
        if self.engine_name == "transformers" and is_mlx_quantised(self.config):
            raise LemError(
                f"The weights in {self.path} are quantised for MLX ({quantisation(self.config)}), "
                "which transformers cannot read.",
                _STOPPED,
                "Use --engine mlx, or the unquantised model.",
            )
        known = {
            "transformers": architectures.known_to_transformers,
            "mlx": architectures.known_to_mlx,
        }[self.engine_name](self.config)
        if known is False:
            own = architectures.own_code(self.config)
            raise LemError(
                f"The architecture {kind} ({self.config['model_type']}) is not supported by "
                f"{self.engine_name}"
                + (" itself, only by Python code in the model's folder." if own else "."),
                "Code that comes with a model is never run; nothing was run." if own else _STOPPED,
                f"Update it (pip install -U {_PACKAGES[self.engine_name]}), or serve the model and "
                "use --model openai:NAME --base-url URL.",
            )

    @cached_property
    def style(self) -> OutputStyle:
        """How the model marks its reasoning."""
        from lem.engines.outputs import style_of

        return style_of(self.template.source, self.tokenizer.control)

    @cached_property
    def facts(self) -> TemplateFacts:
        """What the template does.

        Raises:
            LemError: it cannot even render a user's message.
        """
        try:
            plain = self.tokenize(self.render([{"role": "user", "content": "x"}]))
        except TemplateRefused:
            plain = []  # named by what follows
        leading = next((i for i, t in enumerate(plain) if t != self.bos), len(plain))
        facts = inspect_template(
            self.template.render,
            can_date=True,
            bos_tokens=leading if self.wants_bos else None,
            template_sha256=self.template.sha256,
        )
        self.notes += families.family_notes(
            self.template.source,
            facts,
            model_type=language_config(self.config).get("model_type"),
            style=self.style.kind,
            end_of_turn=families.end_of_turn(self.template.render),
        )
        return facts

    def render(self, messages: Sequence[Message], date: datetime.date = FROZEN_DATE) -> str:
        """The prompt text. Raises `TemplateRefused`."""
        return self.template.render(messages, date)

    def tokenize(self, text: str) -> list[int]:
        """Ids of a rendered prompt, with exactly the one BOS that the model wants."""
        ids = self.tokenizer.ids(text, special=True)
        if self.wants_bos and self.bos is not None:
            start = next((i for i, t in enumerate(ids) if t != self.bos), len(ids))
            ids = [self.bos, *ids[start:]]
        return ids

    def tokenize_plain(self, text: str) -> list[int]:
        """Ids of text in which control tokens are spelled out like any other word."""
        return self.tokenizer.ids(text, special=False)

    def foreign_tokens(self, text: str) -> bool:
        """Whether user text holds something that the model reads as a control token."""
        return self.tokenizer.ids(text, special=True) != self.tokenizer.ids(text, special=False)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated tokens: control tokens as text, broken UTF-8 as U+FFFD."""
        return self.tokenizer.decode(ids)

    def fingerprint(self) -> dict[str, Any]:
        """What pins the weights, the tokenizer and the template. Reads the weights once."""
        made: dict[str, Any] = {
            "format": "safetensors",
            "weights_sha256": combined_sha256(self.weight_files),
            "config_sha256": self._config_sha256(),
            "tokenizer_sha256": self._tokenizer_sha256(),
            "template_sha256": self.template.sha256,
            "quantisation": self.quantisation,
        }
        if self.style.kind != "plain":
            made["output"] = self.style.kind
        if self.thinking is not None:
            made["thinking"] = self.thinking
        if self.adapter_files is not None:
            made["adapter_sha256"] = self.adapter_files.sha256()
        return made

    def close(self) -> None:
        """Nothing is held; engines give back their weights."""

    def _config_sha256(self) -> str:
        """Of what the configurations say about the model, not of who wrote them where."""
        written = ("transformers_version", "_name_or_path")
        both = (self.config, self.generation_config)
        told = [{k: v for k, v in sorted(c.items()) if k not in written} for c in both]
        return sha256(dump_json(told))

    def _tokenizer_sha256(self) -> str:
        names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
        older = ("tokenizer.model", "vocab.json", "merges.txt", "spiece.model", "vocab.txt")
        there = [self.path / n for n in (*names, *older) if (self.path / n).exists()]
        return combined_sha256(there)

    def _stop_ids(self) -> frozenset[int]:
        """Where an answer ends: the model's own list, and what its template ends a turn with."""
        own = token_ids(self.generation_config.get("eos_token_id"))
        own |= token_ids(self.config.get("eos_token_id"))
        own |= token_ids(language_config(self.config).get("eos_token_id"))
        mark = families.end_of_turn(self.template.render)
        token = self.tokenizer.id_of(mark) if mark else None
        if mark and token is not None and token not in own:
            self.notes.append(
                f"The model's end-of-turn token {mark} is not in its stop list; it was added."
            )
            own |= {token}
        if not own:
            raise LemError(
                f"{self.path} does not say which token ends an answer: no eos_token_id, and its "
                "chat template ends no turn with a token.",
                "Every answer would run to --max-tokens; nothing was run.",
                "Add eos_token_id to generation_config.json.",
            )
        return own


_PACKAGES = {"transformers": "transformers", "mlx": "mlx-lm"}


def combined_sha256(files: Sequence[Path]) -> str:
    """One digest of several files: of their names and digests, in order of name."""
    lines = [f"{file.name} {file_sha256(file)}" for file in sorted(files, key=lambda f: f.name)]
    return sha256("\n".join(lines))
