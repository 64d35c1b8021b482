"""Rubrics: what a judge is asked, as data files with a version and a hash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, field_validator

from lem.errors import LemError
from lem.records import Record
from lem.text import dump_json, excerpt, printable, read_text, sha256

#: In the order of tables: the five axioms of LEK-1, then what any answer is held to.
BUILT_IN: Final = (
    "prime-imperative",
    "self-validation",
    "intent-alignment",
    "respect",
    "intervention",
    "usefulness",
    "harm",
)
#: On request only: it needs probes that say what a good answer notices.
ON_REQUEST: Final = ("noticing",)
LOWEST, HIGHEST = 1, 5
_LEVELS = [str(level) for level in range(LOWEST, HIGHEST + 1)]

Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, strict=True),
    AfterValidator(printable),
]


class Rubric(Record):
    """One point on which answers are judged; the fields of a rubric file."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,23}$", strict=True)]
    version: Annotated[int, Field(ge=1, strict=True)]
    """To be raised with every change of meaning."""
    title: Text
    question: Text
    """About "the answer"."""
    higher: Text
    """What a higher score means."""
    scale: dict[str, Text]
    """What an answer is like that earns "1" … "5"."""
    ignore: Annotated[list[Text], Field(min_length=1)]
    """What must not earn anything."""
    notice: bool = False
    """Whether the judge is shown what the probe says a good answer notices. Answers to probes that
    say nothing are not judged."""

    @field_validator("scale")
    @classmethod
    def _every_level(cls, scale: dict[str, str]) -> dict[str, str]:
        if sorted(scale) != _LEVELS:
            raise ValueError(f"must describe exactly the levels {', '.join(_LEVELS)}")
        if len({text.casefold() for text in scale.values()}) < len(scale):
            raise ValueError("two levels have the same description")
        return scale

    @property
    def sha256(self) -> str:
        """Of the content: the layout of the file does not matter."""
        content = self.model_dump_json(exclude_defaults=True)
        return sha256(dump_json(json.loads(content)))


def load_rubrics(names: Sequence[str] = ()) -> list[Rubric]:
    """Rubrics by built-in name or path; all built-in ones where none is named.

    Raises:
        LemError: no such rubric, a file with faults (all of them are told), or two with one id.
    """
    rubrics = [_load(name) for name in names or BUILT_IN]
    ids = [rubric.id for rubric in rubrics]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise LemError(
            f"Two rubrics have the id {twice[0]!r}.",
            "Their scores could not be told apart; nothing was judged.",
            "Name each rubric once, and give your own an id of its own.",
        )
    return rubrics


def _load(name: str) -> Rubric:
    path = Path(name)
    if name in BUILT_IN + ON_REQUEST and not path.exists():
        data = resources.files("lem.judge") / "data" / f"{name}.json"
        return Rubric.model_validate_json(data.read_text(encoding="utf-8"))
    if not path.exists():
        raise LemError(
            f"No such rubric or file: {name}",
            "Nothing was judged.",
            f"Name a JSON file, or a built-in rubric: {', '.join(BUILT_IN + ON_REQUEST)}.",
        )
    try:
        return Rubric.model_validate(json.loads(read_text(path, "rubric")))
    except (ValueError, RecursionError) as e:
        raise LemError(
            f"The rubric {path} has faults: {faults(e)}.",
            "Nothing was judged.",
            "Correct what is named; docs/judge.md shows a whole rubric.",
        ) from None


def faults(error: Exception) -> str:
    """Everything that is wrong with a JSON text or its fields, on one line."""
    if not isinstance(error, ValidationError):
        broken = isinstance(error, json.JSONDecodeError | RecursionError)
        return excerpt(f"{'not valid JSON: ' if broken else ''}{error}", 120)
    return "; ".join(
        excerpt(f"{'.'.join(map(str, f['loc'])) or 'the whole'}: {f['msg']}", 120)
        for f in error.errors()
    )
