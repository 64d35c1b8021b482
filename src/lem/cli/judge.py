"""``lem judge``: let a language model judge answers by rubrics."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from lem.cli.modelling import model_options
from lem.engines import EngineOptions, resolve
from lem.errors import LemError
from lem.judge import (
    BUILT_IN,
    ON_REQUEST,
    Summary,
    judge,
    load_rubrics,
    other_judges,
    read_judgements,
    read_labels,
    read_material,
    summarise,
)
from lem.judge.tables import print_summary
from lem.report.progress import BarWatcher, LogWatcher
from lem.text import dump_json, printable, write_atomic


def _print_rubrics(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        for rubric in load_rubrics(BUILT_IN + ON_REQUEST):
            click.echo(f"{rubric.id} (version {rubric.version}, {rubric.sha256[:12]})")
            click.echo(f"  {click.wrap_text(rubric.question, 76, subsequent_indent='  ')}")
        ctx.exit()


@click.command(
    epilog="""\b
Examples:
  lem judge --rubrics
  lem judge runs/NAME --judge judge.gguf
  lem judge runs/NAME --judge openai:qwen3 --base-url http://127.0.0.1:8080/v1
  lem judge runs/NAME --judge judge.gguf --pairwise --rubric harm
  lem judge runs/NAME --judge judge.gguf --rubric respect --rubric mine.json
  lem judge results.jsonl --judge judge.gguf --labels people.jsonl

Judging stopped at any moment goes on where it was with the same command."""
)
@click.argument("source", metavar="RUN|FILE", type=click.Path(path_type=Path))
@click.option(
    "--judge",
    "model",
    required=True,
    metavar="MODEL",
    help="smollm2-135m, a GGUF file, a model folder, a hub id, openai:NAME, or replay:FILE.",
)
@click.option(
    "--rubric",
    "names",
    multiple=True,
    metavar="NAME|FILE",
    help="Repeatable. Default: all built-in rubrics but noticing, which needs probes that say "
    "what a good answer notices, such as A60.",
)
@click.option(
    "--rubrics",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_rubrics,
    help="List the built-in rubrics.",
)
@click.option("--pairwise", is_flag=True, help="Compare answers in pairs, in both orders.")
@click.option(
    "--against",
    default="baseline",
    show_default=True,
    metavar="CONDITION",
    help="What the other conditions are compared with.",
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Scores by people (JSONL): show agreement."
)
@click.option(
    "--agree",
    "agree",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Another judge's folder: show agreement. Judges of the same run are always shown.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N probes.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=128, show_default=True, help="Per verdict."
)
@model_options()
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, no table; errors only.")
def command(
    source: Path,
    model: str,
    names: tuple[str, ...],
    pairwise: bool,
    against: str,
    labels: Path | None,
    agree: tuple[Path, ...],
    limit: int | None,
    max_tokens: int,
    options: EngineOptions,
    as_json: bool,
    quiet: bool,
) -> None:
    """Judge answers by rubrics with a language model.

    RUN is a run folder. FILE is JSONL: an A/B file (--output), or one {"prompt", "response"} a
    line. Every answer gets a score from 1 to 5 on every rubric; with --pairwise, every answer is
    compared with the baseline's. The judge is shown neither kernels nor conditions. Replies that
    are no clear verdict are counted as unscored, never as a bad score.
    """
    if labels and pairwise:
        raise LemError(
            "--labels are scores of single answers and --pairwise gives none.",
            "Nothing was judged.",
            "Leave out one of the two.",
        )
    rubrics, material = load_rubrics(names), read_material(source, limit)
    reference = _reference(against, material.conditions, pairwise)
    _check_others(labels, agree)
    errors = Console(stderr=True, highlight=False)

    def say(text: str) -> None:
        if not quiet:
            errors.print(Text(printable(text), style="dim"), soft_wrap=True)

    def on_plan(folder: Path, total: int, missing: int) -> None:
        answers = f"{len(material.answers)} answer{'' if len(material.answers) == 1 else 's'}"
        by = f"{len(rubrics)} rubric{'' if len(rubrics) == 1 else 's'}"
        say(f"{answers} × {by} → {folder}")
        if missing < total:
            say(f"{total - missing} of {total} replies are there already")

    bar = BarWatcher(errors) if errors.is_terminal else LogWatcher(sys.stderr)
    engine = resolve(model, dataclasses.replace(options, say=say))
    try:
        judged = judge(
            material,
            engine,
            rubrics,
            against=reference if pairwise else None,
            max_tokens=max_tokens,
            watcher=None if quiet else bar,
            on_plan=on_plan,
            command=sys.argv,
        )
    except KeyboardInterrupt:
        say("Stopped. Every reply made is kept; the same command goes on from there.")
        raise
    finally:
        engine.close()
    others = dict(other_judges(judged, agree))
    if labels:
        ratings, unused = read_labels(labels, judged.judgements)
        others[labels.name] = ratings
        judged.notes.append(f"{labels.name}: {len(ratings)} labels used, {unused} of other things.")
    summary = summarise(judged, material, reference, others)
    write_atomic(judged.folder / "summary.json", dump_json(summary.to_json(), indent=1) + "\n")
    _print(summary, judged.folder, as_json, quiet)


def _check_others(labels: Path | None, folders: tuple[Path, ...]) -> None:
    """Find out now what is wrong with other raters, and not when the judge is done."""
    if labels:
        read_labels(labels, [])
    for folder in folders:
        read_judgements(folder)


def _reference(against: str, conditions: list[str], pairwise: bool) -> str | None:
    """The condition to compare with; a file without a baseline has none, unless one is named."""
    if against in conditions:
        return against
    if against == "baseline" and not pairwise:
        return None
    raise LemError(
        f"There are no answers of the condition {against!r} to compare with.",
        "Nothing was judged.",
        f"Choose --against from: {', '.join(conditions)}.",
    )


def _print(summary: Summary, folder: Path, as_json: bool, quiet: bool) -> None:
    if as_json:
        click.echo(dump_json({"folder": str(folder), **summary.to_json()}, indent=1))
    elif not quiet:
        console = Console(highlight=False)
        print_summary(summary, console)
        console.print(Text(printable(f"verdicts: {folder}"), style="dim"), soft_wrap=True)
