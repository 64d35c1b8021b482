"""What judges and people said of the answers: the outside measure that scores are held against
(rule R10)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lem.judge.judging import FILE, read_judgements
from lem.judge.others import read_label_file
from lem.study.records import Study
from lem.text import printable, sha256


class Rating(NamedTuple):
    """One rating of one answer."""

    rater: str
    """A judge's folder, or the file of the people's labels."""
    rubric: str
    model: str
    condition: str
    probe: str
    sample: int
    value: float


def judge_ratings(study: Study) -> list[Rating]:
    """The scores that `lem judge` left beside the runs and files of a study. A verdict counts only
    for the very text that it was given on.

    Raises:
        LemError: a judge's folder is damaged.
    """
    answers = {(a.model, a.condition, a.probe, a.sample): a.text for a in study.answers}
    found = []
    for model in study.models:
        path = Path(model.source)
        home = path / "judge" if model.form == "run" else path.with_name(f"{path.name}.judge")
        for folder in sorted(p.parent for p in home.glob(f"*/{FILE}")):
            for j in read_judgements(folder):
                text = answers.get((model.name, j.condition, j.probe, j.sample))
                if j.mode != "scores" or j.value is None or text is None:
                    continue
                asked = study.probes[j.probe].prompt
                if j.answers_sha256 == sha256("\x1e".join([asked or "", text])):
                    place = (model.name, j.condition, j.probe, j.sample)
                    name = printable(folder.name)
                    found.append(Rating(name, printable(j.rubric), *place, float(j.value)))
    return found


def label_ratings(study: Study, files: Sequence[Path]) -> list[Rating]:
    """The scores that people gave, from files as `lem judge --labels` reads them. A label is of
    the answers of every model that has its probe, condition and sample.

    Raises:
        LemError: a file cannot be read, or a line is malformed.
    """
    return [rating for path in files for rating in _labels(study, path)]


def _labels(study: Study, path: Path) -> Iterator[Rating]:
    labels: dict[tuple[str, str, int], list[tuple[str, int]]] = {}
    for (probe, condition, rubric, sample), score in read_label_file(path).items():
        labels.setdefault((probe, condition, sample), []).append((rubric, score))
    for a in study.answers:
        for rubric, score in labels.get((a.probe, a.condition, a.sample), ()):
            place = (a.model, a.condition, a.probe, a.sample)
            yield Rating(printable(path.name), printable(rubric), *place, float(score))
