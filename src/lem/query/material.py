"""What the views are made of. Each part is worked out once, when a view asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from lem.analysis import Analysis, analyse
from lem.errors import LemError
from lem.query.inputs import problems
from lem.records import Response
from lem.runs import read_responses
from lem.scoring.shapes import Item
from lem.scoring.work import Job, Scored, score_all
from lem.study import Answer, Model, Study, load_study

SCORERS = ("v2",)
"""Used where nobody names any: one, so that a mean over `scores` is a mean of one score."""

_PARALLEL_FROM = 2_000  # answers from which a second process pays for its start

Place = tuple[str, str, int]
"""(probe, condition, sample) as the study calls them."""


class Material:
    """The inputs of one call.

    Args:
        inputs: see `lem.study.load_study`.
        scorers: the first one is the primary one.
        texts: keep the answers' texts.
        progress: told (bytes read, bytes in all).

    Raises:
        LemError: nothing was named, or a folder has no answers.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        scorers: Sequence[str] = SCORERS,
        *,
        texts: bool = True,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> None:
        self.inputs, self.notes = list(inputs), list[str]()
        self.scorers = tuple(dict.fromkeys(scorers)) or SCORERS
        self._texts, self._progress = texts, progress

    @cached_property
    def study(self) -> Study:
        """All answers, scored.

        Raises:
            LemError: as `load_study`; a damaged line.
        """
        study = load_study(
            self.inputs,
            scorers=self.scorers,
            keep_texts=self._texts,
            jobs=0,
            progress=self._progress,
        )
        self.notes += problems(study)
        return study

    @cached_property
    def analysis(self) -> Analysis:
        """The effects over all inputs."""
        return analyse(self.study)

    @cached_property
    def answers(self) -> dict[str, list[Answer]]:
        """Model -> its answers, in the order of the study."""
        found: dict[str, list[Answer]] = {model.name: [] for model in self.study.models}
        for answer in self.study.answers:
            found[answer.model].append(answer)
        return found

    def log(self, model: Model) -> dict[Place, Response]:
        """What a run's log says of each of its answers; empty for a file.

        Raises:
            LemError: it is damaged.
        """
        if model.manifest is None:
            return {}
        superseded = set(model.manifest.get("superseded", ()))
        found: dict[Place, Response] = {}
        for response in read_responses(Path(model.source)):
            if response.key not in superseded:
                found[response.probe, response.condition, response.sample] = response
        return found

    def parts(self) -> Iterator[tuple[Answer, Scored]]:
        """Every answer with all parts of its scores. The answers are scored anew: a study keeps
        only what is compared.

        Raises:
            LemError: the texts are not kept, because there are too many of them.
        """
        if not self.study.texts:
            raise LemError(
                "The answers are too long in all to be kept, so parts of scores cannot be shown.",
                "Nothing was shown or written.",
                "Name fewer inputs, or use lem score INPUT --to parts.parquet, which streams.",
            )
        answers = self.study.answers
        jobs = (os.cpu_count() or 1) if len(answers) >= _PARALLEL_FROM else 1
        job = Job(scorers=self.scorers, kernels=tuple(self.study.kernels.values()))
        items = (Item(a.text, prompt=self.study.probes[a.probe].prompt) for a in answers)
        for answer, (_, scored) in zip(answers, score_all(items, job, jobs)):
            yield answer, scored


def logged(log: dict[Place, Response], answer: Answer) -> Response | None:
    """The line of a log that an answer was read from. The study may call its probe otherwise,
    `ID~HASH`, where another input has another question of that id."""
    for probe in (answer.probe, answer.probe.rpartition("~")[0]):
        found = log.get((probe, answer.condition, answer.sample))
        if found is not None:
            return found
    return None
