"""What is judged: the answers of a run folder, a published A/B file, or a plain JSONL file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from lem.errors import LemError
from lem.judge.rubrics import faults
from lem.runs import read_manifest, read_responses
from lem.text import printable, read_text

_STOPPED = "Nothing was judged."

#: Names come from untrusted files and go to tables.
Name = Annotated[str, AfterValidator(printable)]


def _as_text(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and math.isfinite(value) else value


#: An id may also be a number, which goes by how it is written.
Id = Annotated[Name, BeforeValidator(_as_text)]


class _Line(BaseModel):
    """A line of a file; other fields are allowed and left alone."""

    model_config = ConfigDict(strict=True)
    id: Id
    prompt: str


class _PlainLine(_Line):
    notice: list[str] = []
    response: str
    condition: Name = "answer"
    sample: int = 0


class _Entry(BaseModel):
    response: str


class _PublishedLine(_Line):
    conditions: dict[Name, _Entry]


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer and the question it was given to."""

    probe: str
    unit: str
    """What counts as one in statistics: the cluster of the probe, or the probe itself."""
    condition: str
    sample: int
    question: str
    text: str
    cut: bool = False
    """Stopped at the token limit."""
    notice: tuple[str, ...] = ()
    """What a good answer to the question notices, where the probe says so."""


@dataclasses.dataclass(frozen=True)
class Material:
    folder: Path
    """Where the folders of its judges are."""
    answers: list[Answer]
    model: str | None = None
    """That gave the answers; None where the input does not say."""
    fingerprint: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def conditions(self) -> list[str]:
        return list(dict.fromkeys(a.condition for a in self.answers))


def read_material(path: Path, limit: int | None = None) -> Material:
    """Read answers to judge.

    Args:
        path: a run folder; or JSONL, either published (one probe a line with its conditions) or
            plain (``{"prompt", "response"}``, optionally ``id``, ``condition``, ``sample``).
        limit: only the first so many probes.

    Raises:
        LemError: unreadable, of no known shape (naming the line), two answers in one place, or
            no answers.
    """
    material = _run(path) if path.is_dir() else _file(path)
    keep = list(dict.fromkeys(a.probe for a in material.answers))[:limit]
    answers = [a for a in material.answers if a.probe in set(keep)]
    if not answers:
        raise LemError(f"{path} holds no answers.", _STOPPED, "Run lem ab first.")
    return dataclasses.replace(material, answers=answers)


def _run(folder: Path) -> Material:
    if not (folder / "run.json").exists():
        raise LemError(
            f"{folder} is a folder without run.json, so it is no run.",
            _STOPPED,
            "Name a run folder or a file of answers.",
        )
    manifest = read_manifest(folder)
    probes = {p["id"]: p for p in manifest["probes"]["items"]}
    conditions = [c["name"] for c in manifest["conditions"]]
    answers: dict[tuple[int, str, int], Answer] = {}
    left_out = 0
    for r in read_responses(folder):
        if r.probe not in probes or r.condition not in conditions:
            left_out += 1
            continue
        place = (conditions.index(r.condition), r.probe, r.sample)
        left_out += place in answers  # the later one is of the kernel used last
        probe = probes[r.probe]
        answers[place] = Answer(
            probe=r.probe,
            unit=probe["cluster"],
            condition=r.condition,
            sample=r.sample,
            question=probe["prompt"],
            text=r.final,
            cut=r.finish_reason == "length",
            notice=tuple(probe.get("notice", ())),
        )
    order = {probe: number for number, probe in enumerate(probes)}
    engine = manifest["engine"]
    notes = [f"{left_out} answers of earlier settings of this run are left out."]
    return Material(
        folder=folder / "judge",
        answers=[answers[p] for p in sorted(answers, key=lambda p: (p[0], order[p[1]], p[2]))],
        model=engine["model"],
        fingerprint=engine["fingerprint"],
        notes=notes if left_out else [],
    )


def _file(path: Path) -> Material:
    answers: dict[tuple[str, str, int], Answer] = {}
    model = None
    # Not splitlines, which would also break at marks that a JSON text may hold (U+2028).
    for number, line in enumerate(read_text(path, "answer").split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
            if record.get("type") == "summary":
                model = printable(str(record.get("model") or "")) or None
                continue
            for answer in _answers(record, number):
                place = (answer.probe, answer.condition, answer.sample)
                if place in answers:
                    raise ValueError(f"a second answer to {place}")
                answers[place] = answer
        except (ValueError, RecursionError) as e:
            raise LemError(
                f"{path}, line {number}: not an answer: {faults(e)}.",
                _STOPPED,
                'Name a run folder, a file made with --output, or JSONL of {"prompt", "response"}.',
            ) from None
    rank = {name: n for n, name in enumerate(dict.fromkeys(a.condition for a in answers.values()))}
    ordered = sorted(answers.values(), key=lambda a: rank[a.condition])
    return Material(folder=path.with_name(f"{path.name}.judge"), answers=ordered, model=model)


def _answers(record: dict[str, Any], number: int) -> list[Answer]:
    """The answers in one line of a file."""
    if "conditions" in record:
        told = _PublishedLine.model_validate(record)
        pairs = [(name, entry.response) for name, entry in told.conditions.items()]
        return [Answer(told.id, told.id, name, 0, told.prompt, text) for name, text in pairs]
    line = _PlainLine.model_validate({"id": f"line {number}"} | record)
    notice = tuple(line.notice)
    place = line.id, line.id, line.condition, line.sample
    return [Answer(*place, line.prompt, line.response, notice=notice)]
