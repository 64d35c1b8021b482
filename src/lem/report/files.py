"""The files of a report: the page, the Markdown, the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from lem.analysis import Analysis
from lem.errors import LemError
from lem.report.html import write_html
from lem.report.markdown import render_markdown
from lem.study import Study
from lem.text import dump_json, write_atomic

PAGE, MARKDOWN, NUMBERS = "report.html", "report.md", "effects.json"


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else, before any work is done.

    Raises:
        LemError: it is a file, or has files in it and none of them is a report's.
    """
    if folder.is_dir():
        if not any(folder.iterdir()) or _is_report(folder / NUMBERS):
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
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


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
    write_atomic(numbers, dump_json(analysis.to_json(), indent=1) + "\n")
    write_atomic(text, render_markdown(study, analysis))
    write_html(page, study, analysis, answers=answers)
    return [page, text, numbers]
