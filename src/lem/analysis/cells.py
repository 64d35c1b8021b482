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
            yield probe, Cell(a.scores, math.log(max(1, a.words)), bool(a.truncated))
            continue
        scores = []
        for values in zip(*(a.scores for a in found)):
            known = [v for v in values if v is not None]
            scores.append(statistics.fmean(known) if known else None)
        words = statistics.fmean(math.log(max(1, a.words)) for a in found)
        yield probe, Cell(tuple(scores), words, any(a.truncated for a in found))
