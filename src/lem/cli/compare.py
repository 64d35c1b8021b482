"""``lem compare``: models or conditions against each other, on the probes they share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import click

from lem.analysis import Pair, analyse
from lem.cli.reporting import answers_option, output_option, publish, read, scorer_option, target
from lem.errors import LemError
from lem.scoring.sources import LOG, STDIN
from lem.study import Model, Study
from lem.study.settings import differences


@click.command(
    epilog="""\b
Examples:
  lem compare runs/base runs/tuned           every condition of both, and R14
  lem compare runs/base:json runs/base:txt   two conditions of one run
  lem compare old.jsonl new.jsonl --force    though their settings differ"""
)
@click.argument("operands", nargs=-1, required=True, metavar="A B…")
@scorer_option
@output_option
@answers_option
@click.option("--force", is_flag=True, help="Compare though settings differ; the page says so.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON; write no files.")
@click.option("--quiet", "-q", is_flag=True, help="Write the files, print only where they are.")
def command(
    operands: tuple[str, ...],
    scorers: tuple[str, ...],
    output: Path | None,
    answers: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare models or conditions, paired by probe.

    A, the first one, is what the others are compared with. Each is a run folder or a file, with
    :CONDITION after it to name one condition. Probes that only one of two has are listed, never
    averaged in. Where answers were made under different settings the comparison is refused.
    """
    chosen = [_operand(text) for text in operands]
    if len(chosen) < 2:
        raise LemError(
            "Only one side was named.",
            "There is nothing to compare.",
            "Name two runs, or two conditions of one: lem compare RUN:json RUN:txt",
        )
    paths = list(dict.fromkeys(c.path for c in chosen))
    folder = target(paths, output, as_json)
    study = read(tuple(paths), scorers, keep_texts=not as_json and answers)
    models = [_only(study, c.path) for c in chosen]
    for model, operand in zip(models, chosen):
        _check_condition(model, operand)
    pairs = [
        _pair(model, operand, models[0], chosen[0])
        for model, operand in zip(models[1:], chosen[1:])
    ]
    _check_apart(pairs)
    unlike = differences(study, [m for m in study.models if m in models])
    serious = [d.text for d in unlike if d.serious]
    if serious and not force:
        raise LemError(
            f"These answers were made under different settings: {'; '.join(serious)}.",
            "A difference between them might be that of the settings; nothing was compared.",
            "Run one of them again with the other's settings, or compare anyway with --force.",
        )
    warnings = [f"Not alike, compared by --force: {text}." for text in serious]
    warnings += [f"Not alike: {d.text}." for d in unlike if not d.serious]
    title = " against ".join(reversed(operands)) if len(operands) == 2 else None
    analysis = analyse(study, compare=pairs, title=title, warnings=warnings)
    found = [c for c in analysis.primary.contrasts if c.kind == "models"]
    if all(c.effect is None for c in found):
        raise LemError(
            f"{' and '.join(operands)} have no answered probe in common.",
            "Nothing can be compared.",
            "Compare runs over the same probe set; lem report shows each by itself.",
        )
    publish(folder, study, analysis, answers=answers, as_json=as_json, quiet=quiet)


class _Operand(NamedTuple):
    path: str
    condition: str | None


def _operand(text: str) -> _Operand:
    for colon in re.finditer(":", "" if Path(text).exists() else text):
        path, condition = text[: colon.start()], text[colon.end() :]
        if path and condition and (path == STDIN or Path(path).exists()):
            return _Operand(path, condition)
    return _Operand(text, None)


def _only(study: Study, path: str) -> Model:
    """The one model of an input, whichever way it was written."""
    meant = _place(path)
    found = [m for m in study.models if meant in (place := _place(m.source), *place.parents)]
    if len(found) != 1:
        raise LemError(
            f"{path} holds answers of {len(found)} models.",
            "It cannot be told which one is meant; nothing was compared.",
            "Name run folders or files of one model each.",
        )
    return found[0]


def _place(path: str) -> Path:
    """Where answers are: the file, or the folder of a run."""
    place = Path("stdin" if path == STDIN else path).resolve()
    return place.parent if place.name == LOG else place


def _check_condition(model: Model, operand: _Operand) -> None:
    if operand.condition is not None and model.arm(operand.condition) is None:
        raise LemError(
            f"{operand.path} has no condition {operand.condition!r}.",
            "Nothing was compared.",
            f"It has: {', '.join(a.name for a in model.arms)}.",
        )


def _pair(model: Model, operand: _Operand, first: Model, against: _Operand) -> Pair:
    """What is compared with what: the conditions named, else those of both, else the only ones."""
    own, other = operand.condition, against.condition
    if (
        own is None
        and other is None
        and {a.name for a in model.arms} & {a.name for a in first.arms}
    ):
        return Pair(model.name, first.name)
    return Pair(
        model.name, first.name, own or _usual(model, operand), other or _usual(first, against)
    )


def _usual(model: Model, operand: _Operand) -> str:
    """The condition of an operand that names none, where the other one names one or shares none."""
    names = [a.name for a in model.arms]
    usual = names[0] if len(names) == 1 else model.baseline
    if usual is None:
        raise LemError(
            f"It cannot be told which condition of {operand.path} is meant.",
            "Nothing was compared.",
            f"Name one, as {operand.path}:{names[0]}. It has: {', '.join(names)}.",
        )
    return usual


def _check_apart(pairs: list[Pair]) -> None:
    for pair in pairs:
        if pair.model == pair.reference and pair.arm == pair.reference_arm:
            raise LemError(
                "Both sides are the same answers.",
                "There is nothing to compare.",
                "Name two runs, or two conditions of one: lem compare RUN:json RUN:txt",
            )
