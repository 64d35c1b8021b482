"""`lem export`: the views as files that any other tool can read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lem.errors import LemError
from lem.query import arrow
from lem.query.files import (
    FORMATS,
    Format,
    as_tuples,
    write_csv,
    write_jsonl,
    write_parquet,
)
from lem.query.material import Material
from lem.query.rows import rows
from lem.query.views import VIEWS, View
from lem.runs.manifest import FILE as MANIFEST
from lem.scoring.sinks import new_file
from lem.text import excerpt

_NOTHING = "Nothing was written."


class Written(NamedTuple):
    """One file."""

    path: Path
    view: str
    rows: int


def targets(to: Path, form: Format, views: Sequence[str]) -> list[tuple[View, Path]]:
    """Which view goes to which file, all of them checked before any work is done.

    Args:
        to: a folder, or for a single view the file.

    Raises:
        LemError: a view that there is not; several views for one file; something else is there.
    """
    for name in views:
        if name not in VIEWS:
            raise LemError(
                f"There is no view {excerpt(name)!r}.", _NOTHING, f"Choose of: {', '.join(VIEWS)}."
            )
    if to.suffix.lower() == f".{form}" and not to.is_dir():
        if len(views) != 1:
            raise LemError(
                f"{to} is one file, but {len(views)} views were asked for.",
                _NOTHING,
                "Name a folder, or one view: --view responses",
            )
        found = [(VIEWS[views[0]], to)]
    else:
        _check_folder(to, form)
        found = [(VIEWS[name], to / f"{name}.{form}") for name in dict.fromkeys(views)]
    for view, path in found:
        _check_file(path, view, form)
    return found


def export(material: Material, files: Sequence[tuple[View, Path]], form: Format) -> list[Written]:
    """Write views to files. Each file is replaced in one step.

    Args:
        files: from `targets`.

    Raises:
        LemError: the inputs cannot be read, or a file cannot be written.
    """
    arrow.pyarrow()
    _ = material.study  # whatever is wrong with the inputs is told before a file is begun
    written = []
    for view, path in files:
        made = rows(view.name, material)
        with new_file(path) as out:
            count = _write(out, view, arrow.batches(view, made), form)
        written.append(Written(path, view.name, count))
    return written


def _write(out: BinaryIO, view: View, batches: Any, form: Format) -> int:
    if form == "parquet":
        return write_parquet(out, arrow.schema(view), batches)
    write = write_jsonl if form == "jsonl" else write_csv
    return write(out, view.names, as_tuples(batches))


def _check_folder(to: Path, form: Format) -> None:
    if to.is_file():
        raise LemError(
            f"{to} is a file, and not one named *.{form}.", _NOTHING, "Name a folder for --to."
        )
    if (to / MANIFEST).exists() or any(to.glob(f"*/{MANIFEST}")):
        raise LemError(
            f"{to} is a run folder, or holds some.",
            "Exported files would be taken for those of a run; nothing was written.",
            "Name another folder for --to.",
        )
    other = next((f for f in FORMATS if to.suffix.lower() == f".{f}"), None)
    if other is not None:
        raise LemError(
            f"{to} is named like a {other} file, but the format is {form}.",
            _NOTHING,
            f"Use lem export {other}, or name a folder or *.{form}.",
        )


def _check_file(path: Path, view: View, form: Format) -> None:
    """Refuse to replace what this command did not write."""
    if not path.exists():
        return
    if not (path.is_file() and (path.stat().st_size == 0 or _ours(path, view, form))):
        raise LemError(
            f"{path} exists and was not written by lem export {form}.",
            "It would be overwritten; nothing was written.",
            "Choose another place with --to, or remove it yourself.",
        )


def _ours(path: Path, view: View, form: Format) -> bool:
    try:
        if form == "parquet":
            metadata = arrow.pyarrow().parquet.read_schema(path).metadata or {}
            return b"lem.view" in metadata
        with path.open(encoding="utf-8") as file:
            first = file.readline(2**26)
        if form == "csv":
            return first.rstrip("\n") == ",".join(view.names)
        return tuple(json.loads(first)) == view.names
    except (OSError, ValueError, TypeError, RecursionError):
        return False
