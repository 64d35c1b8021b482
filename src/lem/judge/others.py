"""Other raters of the same answers: further judges, and people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from lem.errors import LemError
from lem.judge.judging import FILE, Judged, Judgement, read_judgements
from lem.judge.material import Id
from lem.judge.rubrics import HIGHEST, LOWEST, faults
from lem.text import read_text

Ratings = dict[tuple[str, ...], float]


class _Label(BaseModel):
    """A line of a file of labels; other fields are allowed and left alone."""

    model_config = ConfigDict(strict=True)
    probe: Id = Field(validation_alias=AliasChoices("probe", "id"))
    condition: str
    rubric: str
    sample: int = 0
    score: int = Field(ge=LOWEST, le=HIGHEST)


def other_judges(judged: Judged, folders: Sequence[Path] = ()) -> dict[str, Ratings]:
    """Folder name -> values of the judges beside this one, and of those in ``folders``.

    Raises:
        LemError: a folder without judgements, or with damaged ones.
    """
    beside = [path.parent for path in sorted(judged.folder.parent.glob(f"*/{FILE}"))]
    found: dict[str, Ratings] = {}
    for folder in dict.fromkeys(p.resolve() for p in [*beside, *folders]):
        if folder != judged.folder.resolve():
            ratings = {
                j.place: float(j.value)
                for j in read_judgements(folder)
                if j.value is not None and j.mode == judged.mode
            }
            if ratings:
                found[folder.name] = ratings
    return found


Labels = dict[tuple[str, str, str, int], int]
"""(probe, condition, rubric, sample) -> score."""


def read_labels(path: Path, judgements: Sequence[Judgement]) -> tuple[Ratings, int]:
    """Scores that people gave of what was judged.

    Returns:
        The scores, and the number of labels of anything else.

    Raises:
        LemError: as `read_label_file`.
    """
    labels = read_label_file(path)
    known = {(j.probe, j.condition, j.rubric, j.sample): j.place for j in judgements}
    ratings = {known[place]: float(score) for place, score in labels.items() if place in known}
    return ratings, len(labels) - len(ratings)


def read_label_file(path: Path) -> Labels:
    """A file of labels: JSONL of ``{"probe" or "id", "condition", "rubric", "score"}`` and
    optionally ``sample``.

    Raises:
        LemError: a malformed line, or two labels for one answer and rubric.
    """
    labels: Labels = {}
    for number, line in enumerate(read_text(path, "label").split("\n"), 1):
        if not line.strip():
            continue
        try:
            label = _Label.model_validate(json.loads(line))
            place = (label.probe, label.condition, label.rubric, label.sample)
            if place in labels:
                raise ValueError(f"a second label of {place}")
        except (ValueError, RecursionError) as e:
            raise LemError(
                f"{path}, line {number}: not a label: {faults(e)}.",
                "The labels cannot be compared with what the judge says.",
                'Write {"probe", "condition", "sample", "rubric", "score"}, one object a line.',
            ) from None
        labels[place] = label.score
    return labels
