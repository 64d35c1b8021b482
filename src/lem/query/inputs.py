"""What a reader must know of the inputs before believing a table made of them."""

from __future__ import annotations

from pathlib import Path

from lem.errors import LemError
from lem.runs.manifest import FILE as MANIFEST
from lem.runs.store import FILE as LOG
from lem.study import Study

_NOTHING = "Nothing was shown or written."


def problems(study: Study) -> list[str]:
    """What a reader must know of the inputs, a line each.

    Raises:
        LemError: a line is damaged. The last line of a file may be: whoever wrote it was stopped.
    """
    notes = []
    for problem in study.problems:
        if problem.kind == "broken line" and not _torn(problem.place):
            raise LemError(
                f"{problem.place} cannot be read: {problem.text}.",
                _NOTHING,
                "Delete or mend that line. Of a run, its answer is then made again by lem ab.",
            )
        notes.append(f"{problem.place}: {problem.text}")
    for model in study.models:
        if model.manifest is None and Path(model.source).name == LOG:
            notes.append(f"{model.source} has no {MANIFEST}: its model and questions are not known")
    return notes


def _torn(place: str) -> bool:
    """Whether a place is the last line of a file that does not end with a line feed."""
    name, _, number = place.rpartition(", line ")
    try:
        with Path(name).open("rb") as file:
            lines, last = 0, b"\n"
            while piece := file.read(2**20):
                lines, last = lines + piece.count(b"\n"), piece[-1:]
    except OSError:
        return False
    return last != b"\n" and number == str(lines + 1)
