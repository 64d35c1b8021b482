"""Answers by model, arm and probe: the samples of a probe averaged (rule R1), ready to be
paired."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lem.study import Answer, Study


class Cell(NamedTuple):
    """The answers of one arm to one probe."""

    scores: tuple[float | None, ...]
    """One a scorer, mean over the samples that have one."""
    seen: tuple[tuple[float, ...], ...]
    """For each scorer, the scores of the samples that have one."""
    samples: int
    """Answers, scored or not."""
    log_words: float
    """Mean log of the words an answer; an empty answer counts as one word."""
    cut: bool
    """Whether some answer was cut off at the token limit."""


Arm = Mapping[str, Cell]
"""Probe -> cell, in the order of the study's probes."""


class Cells:
    """All cells of a study.

    Args:
        study: its answers stand by model, arm and probe.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        for answer in study.answers:
            self.answers.setdefault((answer.model, answer.condition), []).append(answer)
        self._arms = {place: dict(_cells(found)) for place, found in self.answers.items()}

    def arm(self, model: str, arm: str | None) -> Arm:
        """The cells of an arm; empty where it has no answers."""
        return self._arms.get((model, arm or ""), {})

    def asked(self, model: str) -> list[str]:
        """Every probe that some arm of a model answered, in order of first sight."""
        arms = (arm for (name, _), arm in self._arms.items() if name == model)
        return list(dict.fromkeys(probe for arm in arms for probe in arm))

    def unit(self, probe: str) -> str:
        """The dilemma that a probe is a wording of."""
        return self.study.probes[probe].cluster

    def domain(self, probe: str) -> str:
        return self.study.probes[probe].domain


def _cells(answers: list[Answer]) -> Iterator[tuple[str, Cell]]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.probe, []).append(answer)
    for probe, found in groups.items():
        if len(found) == 1:  # by far the most frequent case
            a = found[0]
            seen = tuple(() if s is None else (s,) for s in a.scores)
            yield probe, Cell(a.scores, seen, 1, math.log(max(1, a.words)), bool(a.truncated))
            continue
        columns = zip(*(a.scores for a in found))
        seen = tuple(tuple(v for v in values if v is not None) for values in columns)
        scores = tuple(statistics.fmean(known) if known else None for known in seen)
        words = statistics.fmean(math.log(max(1, a.words)) for a in found)
        yield probe, Cell(scores, seen, len(found), words, any(a.truncated for a in found))


def effect(own: Arm, other: Arm) -> Arm:
    """The effect of one arm over another as an arm of its own: what a difference of differences is
    made of. A probe that one of the two lacks has no score."""
    made = {}
    for probe in dict.fromkeys([*own, *other]):
        a, b = own.get(probe), other.get(probe)
        first = a or b
        assert first is not None, "the probe is in one of the two"
        nothing: tuple[tuple[float, ...], ...] = ((),) * len(first.scores)
        if a is None or b is None:
            made[probe] = first._replace(scores=(None,) * len(first.scores), seen=nothing)
            continue
        pairs = zip(a.scores, b.scores)
        scores = tuple(None if x is None or y is None else x - y for x, y in pairs)
        made[probe] = Cell(scores, nothing, 1, a.log_words - b.log_words, a.cut or b.cut)
    return made
