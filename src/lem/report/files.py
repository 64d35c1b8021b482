"""The files of a report: the page, the Markdown, the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from lem.analysis import Analysis
from lem.errors import LemError
from lem.report.html import build_html
from lem.report.markdown import render_markdown
from lem.study import Study
from lem.text import dump_json, write_atomic

PAGE, MARKDOWN, NUMBERS = "report.html", "report.md", "effects.json"


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else, before any work is done.

    Raises:
        LemError: it is a file, or has files in it that are not those of a report alone.
    """
    if folder.is_dir():
        there = {path.name for path in folder.iterdir()}
        if not there or (there <= {PAGE, MARKDOWN, NUMBERS} and _is_report(folder / NUMBERS)):
            return
        cause = f"{folder} has files in it that are no report."
    elif folder.exists():
        cause = f"{folder} is a file."
    else:
        return
    raise LemError(
        cause,
        "A report there might replace something; nothing was written.",
        "Name another folder with --output.",
    )


def _is_report(path: Path) -> bool:
    """Whether a file has the numbers of a report in it."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"schema_version", "headline", "scorers"} <= found.keys()


def write_report(
    folder: Path, study: Study, analysis: Analysis, *, answers: Literal["auto", "none"] = "auto"
) -> list[Path]:
    """Write report.html, report.md and effects.json, replacing an earlier report.

    Args:
        answers: "none" leaves the models' answers out of the page.

    Returns:
        The files, the page first.

    Raises:
        LemError: the folder holds something else, or cannot be written.
    """
    check_folder(folder)
    page, text, numbers = folder / PAGE, folder / MARKDOWN, folder / NUMBERS
    made = {
        page: build_html(study, analysis, answers=answers),
        text: render_markdown(study, analysis),
        numbers: dump_json(analysis.to_json(), indent=1) + "\n",
    }
    for path, content in made.items():
        try:
            write_atomic(path, content)
        except LemError as e:
            so = "The report is not complete; the answers it is made of are untouched."
            raise LemError(e.cause, so, "Free some space, or name another --output.") from None
    return [page, text, numbers]
