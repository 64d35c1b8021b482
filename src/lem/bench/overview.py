"""What a matrix would be, what there is of it, and what cannot run here; nothing is run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lem.bench.inputs import Inputs
from lem.bench.recipe import ModelSpec
from lem.bench.run import count_answers, is_finished, matrix_folder
from lem.bench.state import State, read_state
from lem.engines import EngineOptions
from lem.engines.resolve import obstacle
from lem.errors import LemError


@dataclasses.dataclass(frozen=True)
class Row:
    """One model of a matrix."""

    name: str
    model: str
    answers: int
    """That it gives, at most."""
    there: int
    """That are in its run folder."""
    finished: bool
    obstacle: LemError | None
    """Why it cannot run here; None: nothing is known to be in its way."""
    folder: Path

    def to_json(self) -> dict[str, Any]:
        cause = self.obstacle.cause if self.obstacle else None
        return {**dataclasses.asdict(self), "folder": str(self.folder), "obstacle": cause}


def overview(
    inputs: Inputs,
    runs: Path,
    models: list[ModelSpec],
    options: EngineOptions | None = None,
) -> list[Row]:
    """A row for each of these models.

    Raises:
        LemError: bench.json is damaged.
    """
    folder = matrix_folder(inputs, runs)
    state = read_state(folder)
    return [_row(inputs, folder, state, model, options or EngineOptions()) for model in models]


def _row(
    inputs: Inputs, folder: Path, state: State | None, model: ModelSpec, options: EngineOptions
) -> Row:
    known = state.models.get(model.name) if state else None
    in_the_way: LemError | None = None
    there = 0
    try:
        there = count_answers(folder / model.folder, inputs)
    except LemError as e:
        in_the_way = e
    finished = known is not None and is_finished(folder, inputs, model, known)
    if not finished and in_the_way is None:
        in_the_way = obstacle(inputs.experiment(model).model, inputs.options(model, options))
    return Row(
        name=model.name,
        model=model.model,
        answers=known.answers if known and finished else inputs.answers,
        there=there,
        finished=finished,
        obstacle=in_the_way,
        folder=folder / model.folder,
    )
