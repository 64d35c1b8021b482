"""Engines without a model: answers from a log, and answers made of the prompt.

Both ship for tests, users' tests included. They render through a plain ChatML template and count
UTF-8 bytes as tokens, so that everything around them behaves as with a real model.
"""

from __future__ import annotations

import datetime
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lem.engines.base import Meter, finished
from lem.errors import LemError
from lem.prompts import FROZEN_DATE, ChatTemplate, TemplateFacts, inspect_template
from lem.records import EngineInfo, FinishReason, Message, Request, Response
from lem.text import sha256

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class EchoEngine:
    """Answers with words drawn from the prompt, always the same for the same request.

    Args:
        delay: seconds to wait before each answer, to have something to interrupt.
        template: another chat template to render with.
        context_length: in bytes.
    """

    def __init__(
        self, delay: float = 0.0, template: str = CHATML, context_length: int = 1 << 20
    ) -> None:
        self.delay = delay
        self.template = ChatTemplate(template)
        self.facts: TemplateFacts = inspect_template(
            self.template.render, can_date=True, template_sha256=self.template.sha256
        )
        self.info = EngineInfo(
            engine="echo",
            engine_version="1",
            model="echo",
            fingerprint={"template_sha256": self.template.sha256},
            context_length=context_length,
        )

    def render(self, messages: Sequence[Message], date: datetime.date = FROZEN_DATE) -> str:
        return self.template.render(messages, date)

    def tokenize(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "replace"))

    def foreign_tokens(self, text: str) -> bool:
        return re.search(r"<\|\w+\|>", text) is not None

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        for request in requests:
            began = time.monotonic()
            if self.delay:
                time.sleep(self.delay)
            text, reason = self._answer(request)
            asked, told = len(request.token_ids or []), self._told(text)
            meter.prefilled += asked
            meter.generated += told
            yield finished(
                request,
                final=text,
                finish_reason=reason,
                prompt_tokens=asked,
                cached_tokens=0,
                completion_tokens=told,
                seconds=time.monotonic() - began,
            )

    def close(self) -> None:
        """Nothing is held."""

    def _told(self, text: str) -> int:
        """Tokens of an answer."""
        return len(text.encode("utf-8", "replace"))

    def _answer(self, request: Request) -> tuple[str, FinishReason]:
        rng = random.Random(request.key)
        words = re.findall(r"\w+", request.messages[-1]["content"]) or ["nothing"]
        text = f"Echo: {' '.join(rng.choice(words) for _ in range(rng.randint(12, 60)))}."
        limit = request.sampling.max_tokens
        return (text, "stop") if len(text) <= limit else (text[:limit], "length")


class ReplayEngine(EchoEngine):
    """Answers with what a log says for the same probe, condition and sample.

    Args:
        answers: (probe, condition, sample) -> (text, finish reason).
        source: where they are from.
    """

    def __init__(
        self, answers: dict[tuple[str, str, int], tuple[str, FinishReason]], source: Path
    ) -> None:
        super().__init__()
        self.answers, self.source = answers, source
        digest = sha256(repr(sorted(answers.items())))
        self.info = EngineInfo(
            engine="replay",
            engine_version="1",
            model=f"replay of {source.name}",
            fingerprint={"answers_sha256": digest, "template_sha256": self.template.sha256},
            context_length=None,
        )

    def _answer(self, request: Request) -> tuple[str, FinishReason]:
        place = (request.probe, request.condition, request.sample)
        if place not in self.answers:
            raise LemError(
                f"{self.source} holds no answer for probe {request.probe!r}, condition "
                f"{request.condition!r}, sample {request.sample}.",
                "The replay stopped there.",
                "Limit --probes, --conditions and --samples to what the log has.",
            )
        return self.answers[place]
