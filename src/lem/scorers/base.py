"""What all scorers share: what they are given, and how they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

Span = tuple[int, int]
"""Start and end of a piece of text, in characters, as `text[start:end]`."""

Field = float | int | str | bool | None
"""One named part of a score. None: not applicable, which is never the same as 0."""


class Answer(NamedTuple):
    """One answer and what is known of where it came from."""

    text: str
    """The response, exactly as the model gave it."""
    prompt: str | None = None
    """The question it answers; None where the input does not say."""
    kernels: tuple[str, ...] = ()
    """Texts of kernels that may have stood in front of the question."""
    check: Mapping[str, Any] | None = None
    """How to tell a right answer (`lem.records.Check`); None where its probe does not say."""
    gain: float | None = None
    """How much likelier a language model finds the answer after its prompt than after another one,
    in nats a token (`lem.engines.likelihood`); None where nobody has measured it."""


class Scorer(Protocol):
    """A pure, deterministic function of one answer. It reads no files and knows no model."""

    @property
    def name(self) -> str:
        """As the user asks for it: `v2`, `grammar:paper`."""

    @property
    def version(self) -> str:
        """Name of the rules; it changes whenever any score of any text could change. Numbers of
        different versions are never compared."""

    @property
    def label(self) -> str:
        """What to call the headline number in tables and on axes."""

    @property
    def headline(self) -> str:
        """The field that is the score."""

    def score(self, answer: Answer) -> dict[str, Field]:
        """Return the fields of the score under their published names, in a fixed order."""

    def delta(self, answer: Answer) -> dict[str, Field]:
        """Return what compares the answer with its prompt; empty where a scorer has no such
        thing. Without a prompt every field is None."""

    def evidence(self, answer: Answer) -> Mapping[str, list[Span]]:
        """Return the spans of the text behind each part of the score."""
