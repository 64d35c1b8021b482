"""Probes and lessons as plain passages, which is all that the checks look at."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Literal, NamedTuple

from lem.records import Lesson, Probe
from lem.scorers.overlap import folded_words

Part = Literal["prompt", "question", "answer", "system"]


class _Passage(NamedTuple):
    set: str
    id: str
    part: Part
    """prompt: of a probe; question and answer: the sides of a lesson, all turns together; system: a
    system message, which is only searched for probes."""
    text: str
    split: str
    """eval, held-out, train, valid or test."""
    cluster: str
    """What may be alike: rephrasings of one probe, or the lesson itself. A lesson is never in the
    cluster of a probe, even if it has its id."""


class Passage(_Passage):
    """One text of a set, and where it belongs."""

    @cached_property
    def words(self) -> list[str]:
        """Its words, folded: no case, marks, digits or layout (see `lem.scorers.overlap`)."""
        return folded_words(self.text)

    @property
    def name(self) -> str:
        """How it is called in findings."""
        return f"{self.set}:{self.id}" + ("" if self.part == "prompt" else f" ({self.part})")


def of_probes(probes: Iterable[Probe]) -> list[Passage]:
    """The prompts of probes."""
    return [Passage(p.set, p.id, "prompt", p.prompt, p.split, p.cluster) for p in probes]


def of_lessons(lessons: Iterable[Lesson]) -> list[Passage]:
    """The questions and answers of lessons; a lesson without a question has the answer only."""
    found = []
    for lesson in lessons:
        sides: list[tuple[Part, str]] = [("question", lesson.question), ("answer", lesson.answer)]
        found += [
            Passage(lesson.set, lesson.id, part, text, lesson.split, _own_cluster(lesson))
            for part, text in sides
            if text
        ]
    return found


def of_systems(lessons: Iterable[Lesson]) -> list[Passage]:
    """The system messages of lessons, each once."""
    found: dict[str, Passage] = {}
    for lesson in lessons:
        text = "\n\n".join(m["content"] for m in lesson.messages if m["role"] == "system")
        if text.strip() and text not in found:
            found[text] = Passage(
                lesson.set, lesson.id, "system", text, lesson.split, _own_cluster(lesson)
            )
    return list(found.values())


def _own_cluster(lesson: Lesson) -> str:
    return f"lesson {lesson.set}:{lesson.id}"


def ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    """The sequences of n words, in order."""
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)]
