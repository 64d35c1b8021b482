"""The report of a matrix, made of whatever answers there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lem.bench.inputs import Inputs
from lem.bench.state import State
from lem.runs.store import FILE as LOG
from lem.text import excerpt, read_text

if TYPE_CHECKING:
    from lem.analysis import Analysis
    from lem.study import Study

FOLDER = "report"
"""Of the report, in the folder of the matrix."""


def make_report(
    folder: Path, inputs: Inputs, state: State
) -> tuple[Study, Analysis, list[Path]] | None:
    """Compare all models that have answers and write the report; None where no model has any.

    Args:
        folder: of the matrix.

    Returns:
        The study, its analysis, and the files written, the page first.

    Raises:
        LemError: an answer file is damaged, or the report cannot be written.
    """
    recipe = inputs.recipe
    if not any(_has_log(folder / entry.folder) for entry in state.models.values()):
        return None
    from lem.analysis import analyse
    from lem.report.files import write_report
    from lem.study import load_study

    study = load_study([folder], scorers=recipe.scorers, jobs=0)
    analysis = analyse(
        study,
        questions=recipe.questions,
        title=recipe.name,
        recipe=declaration(inputs, state),
        exploratory=state.exploratory,
        warnings=unfinished(inputs, state),
    )
    return study, analysis, write_report(folder / FOLDER, study, analysis)


def unfinished(inputs: Inputs, state: State) -> list[str]:
    """A sentence for each model of the recipe that is not finished."""
    said = []
    for model in inputs.recipe.models:
        entry = state.models.get(model.name)
        if entry is None:
            said.append(f"{excerpt(model.name)} has not been run.")
        elif entry.status != "done":
            why = f" ({excerpt(entry.error.cause, 120)})" if entry.error else ""
            part = f"{entry.answers} answers of it are in here" if entry.answers else "no answers"
            said.append(f"{excerpt(model.name)} is not finished: {part}{why}.")
    return said


def declaration(inputs: Inputs, state: State) -> dict[str, Any]:
    """What a report says of the recipe (rule R16)."""
    return {
        "name": inputs.recipe.name,
        "about": inputs.recipe.about,
        "sha256": state.sha256,
        "text": read_text(inputs.path, "recipe"),
        "texts": state.texts,
        "changes": [change.model_dump() for change in state.changes],
    }


def _has_log(place: Path) -> bool:
    log = place / LOG
    return log.exists() and log.stat().st_size > 0
