"""What an input says of itself: its model, its conditions, its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from lem.conditions import BASELINE, REPLICATE
from lem.errors import LemError
from lem.runs import read_manifest
from lem.runs.manifest import FILE as MANIFEST
from lem.scoring.sources import LOG, Source, last_record
from lem.study.records import Arm, Group, Problem, Role
from lem.text import read_text

#: Fields of a run's sampling that are settings; the others are fixed (see `lem.records.Sampling`).
_SAMPLING = ("max_tokens", "temperature", "top_p", "seed")

MATRIX = "bench.json"
"""What `lem bench` keeps beside the run folders of a matrix."""

_ASIDE = re.compile(r"\.old-\d+$")  # how `lem ab --fresh` keeps an earlier run

_CONTROLS = ("baseline-empty", "one-line")

UNNAMED = "answers"
"""The condition of answers whose lines name none."""


class Input(NamedTuple):
    """A run folder or a file of answers."""

    path: str
    name: str | None = None
    """What a matrix calls its model."""
    group: Group = Group()


def expand(inputs: Sequence[str]) -> tuple[list[Input], list[Problem]]:
    """The run folders and files that were meant, each once.

    Args:
        inputs: run folders, the folder of a matrix, folders that hold run folders at any depth,
            files of answers.

    Returns:
        Them, and what a reader must know of how they were chosen.

    Raises:
        LemError: nothing was named, or a folder has no answers in it.
    """
    notes: list[Problem] = []
    found: dict[Path, Input] = {}
    for name in inputs:
        for meant in _meant(name, notes):
            place = Path(meant.path).resolve()
            place = place.parent if place.name == LOG else place
            if place in found:
                text = f"was named twice (as {found[place].path}); it counts once"
                notes.append(Problem("named twice", meant.path, text))
            else:
                found[place] = meant
    if not found:
        raise LemError(
            "No input was named.", "There is nothing to report on.", "Name a run folder or file."
        )
    return list(found.values()), notes


def _meant(name: str, notes: list[Problem]) -> list[Input]:
    path = Path(name)
    if not path.is_dir() or (path / LOG).is_file():
        return [Input(name)]
    if (path / MATRIX).is_file():
        return _matrix(path)
    logs = sorted(log.parent for log in path.rglob(LOG))
    runs = [folder for folder in logs if (folder / MANIFEST).is_file()] or logs
    notes += [Problem("left out", str(f), f"it has no {MANIFEST}") for f in logs if f not in runs]
    aside = [run for run in runs if _ASIDE.search(run.name)]
    if aside and len(aside) < len(runs):
        runs = [run for run in runs if run not in aside]
        text = (
            f"{len(aside)} earlier runs (*.old-N), moved aside by --fresh; name them to have them"
        )
        notes.append(Problem("left out", name, text))
    if not runs:
        raise LemError(
            f"{name} is a folder without {LOG}, and so are the folders in it.",
            "There are no answers to report on.",
            "Name run folders, folders of run folders, or files of answers.",
        )
    return [Input(str(run)) for run in runs]


def _matrix(folder: Path) -> list[Input]:
    """The models of a matrix that have answers, as its recipe names and groups them."""
    try:
        state = json.loads(read_text(folder / MATRIX, "matrix"))
        found = []
        for model in state["recipe"]["models"]:
            entry = state["models"].get(model["name"], {})
            place = folder / entry.get("folder", "")
            if entry and (place / LOG).is_file() and (place / LOG).stat().st_size:
                group = Group(*(model.get(field) for field in Group.__dataclass_fields__))
                found.append(Input(str(place), model["name"], group))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise LemError(
            f"{folder / MATRIX} is no record of a matrix ({type(e).__name__}: {e}).",
            "Its models cannot be told apart; nothing was reported.",
            "Name its run folders one by one.",
        ) from None
    if not found:
        raise LemError(
            f"No model of the matrix {folder} has answers.",
            "There is nothing to report on.",
            "Run it: lem bench RECIPE",
        )
    return found


def manifest_of(source: Source) -> dict[str, Any] | None:
    """The manifest of a run folder; None for a file."""
    return read_manifest(source.path.parent) if source.run and source.path else None


def arms_of_manifest(manifest: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The arms of a run, in its order."""
    return tuple(
        Arm(
            name=c["name"],
            role=_role(c["name"], c["role"]),
            control_of=c.get("control_of"),
            kernel_sha256=(c.get("kernel") or {}).get("sha256"),
            placement=c.get("placement"),
            note=c.get("note"),
        )
        for c in manifest["conditions"]
    )


def arms_of_names(names: Iterable[str], lone: bool = True) -> tuple[Arm, ...]:
    """The arms of a file that only names them. Names of the standard conditions have their
    meaning; any other name is taken for a kernel, and a lone condition for the baseline.

    Args:
        lone: False where the study has a baseline by name: a lone condition is then what its name
            says, and the baseline only if it has none.
    """
    ordered = list(dict.fromkeys(names))
    if len(ordered) == 1 and (lone or ordered[0] == UNNAMED):
        return (Arm(ordered[0], "baseline"),)
    arms = []
    for name in ordered:
        kind, dash, kernel = name.partition("-")
        if kind in ("placebo", "shuffled") and dash:
            arms.append(Arm(name, "control", kernel))
        elif name in _CONTROLS:
            arms.append(Arm(name, "control"))
        else:
            arms.append(Arm(name, _role(name, "baseline" if name == BASELINE else "kernel")))
    return tuple(arms)


def _role(name: str, role: str) -> Role:
    return "replicate" if name == REPLICATE else cast(Role, role)


def settings_of_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree before answers of two runs are compared."""
    engine, template = manifest["engine"], manifest.get("template") or {}
    sampling = manifest.get("sampling") or {}
    return {
        **{name: sampling[name] for name in _SAMPLING if name in sampling},
        "samples": manifest.get("samples", 1),
        "engine": f"{engine.get('engine')} {engine.get('engine_version')}",
        "template": template.get("template_sha256"),
        "kernels": {
            c["name"]: c["kernel"]["sha256"] for c in manifest["conditions"] if c.get("kernel")
        },
    }


def settings_of_file(source: Source) -> dict[str, Any]:
    """What the summary line of a published file says."""
    record = last_record(source.path) if source.path else {}
    value = record.get("max_tokens")
    return {"max_tokens": value} if isinstance(value, int) else {}
