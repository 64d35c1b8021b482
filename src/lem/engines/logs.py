"""Reading answers back from logs: run folders, responses.jsonl, the published A/B shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from lem.errors import LemError
from lem.records import FinishReason
from lem.text import read_text

Answers = dict[tuple[str, str, int], tuple[str, FinishReason]]


def read_answers(path: Path) -> Answers:
    """(probe, condition, sample) -> (answer, finish reason).

    The published shape says nothing of how an answer ended: those are "unknown".

    Raises:
        LemError: unreadable, or no line of a known shape.
    """
    file = path / "responses.jsonl" if path.is_dir() else path
    answers: Answers = {}
    for number, line in enumerate(read_text(file, "log").split("\n"), 1):
        if not line.strip():
            continue
        try:
            answers.update(_read_line(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise LemError(
                f"{file}, line {number}: neither a response nor a published A/B line "
                f"({type(e).__name__}: {e}).",
                "The log was not used.",
                "Name a run folder, its responses.jsonl, or a file made with --output.",
            ) from None
    return answers


def _read_line(record: dict[str, Any]) -> Answers:
    if "key" in record:
        place = (str(record["probe"]), str(record["condition"]), int(record["sample"]))
        return {place: (str(record["final"]), cast(FinishReason, record["finish_reason"]))}
    if record["type"] == "summary":
        return {}
    return {
        (str(record["id"]), name, 0): (str(entry["response"]), "unknown")
        for name, entry in record["conditions"].items()
    }
