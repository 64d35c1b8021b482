"""The record of one scored answer, nested for JSON and flat for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from lem.scorers.base import Field
from lem.scoring.shapes import Item
from lem.scoring.work import Job, Scored, Worker

FACTS = ("id", "file", "model", "condition", "sample", "category")
"""What a record says of where an answer came from, in this order."""

Kind = Literal["text", "number", "whole", "flag"]

#: An answer of which every measure can be taken: it tells the columns and their kinds.
_SPECIMEN = Item(
    text=(
        "I think that honesty matters, because trust grows slowly. However, your neighbour may "
        "see this differently: would she want to know? If she asks, tell her what happened, and "
        "ask what she needs. She decided to help others in 2019, and both of them gained from it."
    ),
    id="specimen",
    prompt="Should I tell my neighbour what happened to her fence, and who decided that?",
    system="A kernel asks everyone to be honest and to weigh what others want.",
    finish_reason="stop",
    check={"kind": "number", "value": 2019},
)


def record(item: Item, scored: Scored, with_file: bool = False) -> dict[str, Any]:
    """The record as it is written to JSON Lines.

    Args:
        with_file: name the input too; wanted where there is more than one.
    """
    facts = {name: getattr(item, name) for name in FACTS}
    if not with_file:
        del facts["file"]
    known = {name: value for name, value in facts.items() if value is not None}
    return {**known, "text": scored.text, "overlap": scored.overlap, **scored.scores}


def columns(job: Job) -> dict[str, Kind]:
    """The columns of the flat form, in order, and what each of them holds."""
    keeps_all = job._replace(max_kernel_overlap=None, max_prompt_overlap=None, allow_leaks=True)
    cells = flat(_SPECIMEN, Worker(keeps_all).score(_SPECIMEN))
    return {name: _kind(name, value) for name, value in cells.items()}


def flat(item: Item, scored: Scored) -> dict[str, Field]:
    """One cell a measure: `text.words`, `overlap.leak`, `v2.lek_score`. All facts have a cell."""
    cells: dict[str, Field] = {name: getattr(item, name) for name in FACTS}
    parts: Mapping[str, Mapping[str, Field]] = {
        "text": scored.text,
        "overlap": scored.overlap,
        **scored.scores,
    }
    for part, fields in parts.items():
        cells |= {f"{part}.{name}": value for name, value in fields.items()}
    return cells


def _kind(name: str, value: Field) -> Kind:
    if name == "sample":
        return "whole"
    if name in FACTS or value is None or isinstance(value, str):
        return "text"
    return "flag" if isinstance(value, bool) else "number"
