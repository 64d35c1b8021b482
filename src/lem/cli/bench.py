"""``lem bench``: run a matrix of models from a recipe and report it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from lem.bench import (
    Events,
    Failure,
    Inputs,
    MatrixResult,
    ModelSpec,
    builtin_recipes,
    check_unchanged,
    choose_models,
    find_recipe,
    load_inputs,
    load_recipe,
    matrix_folder,
    overview,
    read_state,
    run_matrix,
)
from lem.bench.report import make_report
from lem.bench.tables import print_check, print_outcome, print_plan
from lem.cli.modelling import MACHINE, model_options
from lem.engines import EngineOptions
from lem.errors import LemError
from lem.report.progress import BarWatcher, LogWatcher
from lem.runs import Plan
from lem.text import dump_json, excerpt, printable


def _print_recipes(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        for name, path in builtin_recipes().items():
            recipe = load_recipe(path)
            models = f"{len(recipe.models)} model{'' if len(recipe.models) == 1 else 's'}"
            click.echo(f"{name} ({models})")
            about = " ".join(recipe.about.split())
            click.echo(click.wrap_text(about, 78, "  ", "  "))
        ctx.exit()


@click.command(
    epilog="""\b
Examples:
  lem bench --list
  lem bench small
  lem bench planted                    known effects: does a report find them
  lem bench my-study.yaml --plan       what it would be; nothing is run
  lem bench my-study.yaml --only gemma-3-1b --only gemma-3-4b

\b
A recipe:
  name: my-study
  about: Does my kernel change what two models say?
  scorers: [v2, reasoning]                # the first is the primary one
  probes: [P20, more.jsonl]
  kernels: {mine: kernel.txt}             # default: LEK-1 as json and txt
  controls: true
  replicate: true
  sampling: {max_tokens: 1024, temperature: 0.0}
  models:
    - {name: base, model: base.gguf, family: Own, version: "1", size: 1}
    - {name: tuned, model: "openai:tuned", base_url: "http://127.0.0.1/v1",
       family: Own, version: "1", size: 1, tuned_from: base}
    - {name: adapted, model: Org/base, revision: main, adapter: my-adapter,
       engine: transformers, dtype: bfloat16, tuned_from: base}

A matrix stopped at any moment goes on where it was with the same command."""
)
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_recipes,
    help="List the built-in recipes.",
)
@click.option("--check", "only_check", is_flag=True, help="Check the recipe; run nothing.")
@click.option(
    "--plan",
    "only_plan",
    is_flag=True,
    help="Show answers wanted, answers there, and models that cannot run here; run nothing.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Only this model; repeatable.")
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The matrix goes into the folder of the recipe's name in this one.",
)
@click.option(
    "--accept-change",
    metavar="REASON",
    help="Run a recipe changed after its first answers; the report says it is exploratory.",
)
@model_options(*MACHINE)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, no table; errors only.")
def command(
    recipe: str,
    only_check: bool,
    only_plan: bool,
    only: tuple[str, ...],
    runs: Path,
    accept_change: str | None,
    options: EngineOptions,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a whole matrix: every model of RECIPE under every condition, then one report.

    RECIPE is a YAML file or the name of a built-in recipe. It says beforehand what is asked and
    which score is the primary one, and its hash is printed on the report. A model that cannot run
    is recorded and the others go on; the exit code is then 2.
    """
    path = find_recipe(recipe)
    inputs = load_inputs(load_recipe(path), path)
    models = choose_models(inputs, only)
    if only_check:
        print_check(inputs, as_json)
        return
    inputs.check_complete()
    console = Console(stderr=True, highlight=False)
    talk = _Talk(console, quiet)
    options = dataclasses.replace(options, say=talk.say)
    if only_plan:
        folder = matrix_folder(inputs, runs)
        check_unchanged(folder, inputs, read_state(folder), accept_change)
        print_plan(inputs, overview(inputs, runs, models, options), folder, as_json)
        return
    try:
        result = run_matrix(
            inputs,
            runs,
            only=only,
            accept_change=accept_change,
            options=options,
            make_watcher=lambda: None if quiet else _watcher(console),
            events=talk,
            command=sys.argv,
        )
    except KeyboardInterrupt:
        talk.say("Stopped. Every finished answer is kept; the same command goes on from there.")
        raise
    report = _report(inputs, result, console=None if quiet or as_json else Console(highlight=False))
    if as_json:
        click.echo(dump_json({**_outcome(result), "report": report and str(report)}, indent=1))
    elif not quiet:
        print_outcome(inputs, result, report)
    _complain(result, report)


def _watcher(console: Console) -> BarWatcher | LogWatcher:
    return BarWatcher(console) if console.is_terminal else LogWatcher(sys.stderr)


class _Talk(Events):
    """What is said on the error stream while a matrix runs."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet

    def say(self, text: str, style: str = "dim") -> None:
        if not self._quiet:
            self._console.print(Text(printable(text), style=style), soft_wrap=True)

    def model(self, number: int, of: int, model: ModelSpec) -> None:
        self.say(f"model {number} of {of}: {model.name}", style="bold")

    def kept(self, model: ModelSpec, answers: int) -> None:
        self.say(f"  all {answers} answers are there already")

    def plan(self, plan: Plan, folder: Path, missing: int) -> None:
        have = len(plan.requests) - missing
        there = f", {have} of {len(plan.requests)} there already" if have else ""
        sizes = f"{len(plan.arms)} conditions × {len(plan.probes)} probes × {plan.samples}"
        self.say(f"  {sizes} = {len(plan.requests)} answers{there} → {folder}")
        for note in plan.notes:
            self.say(f"  note: {note}")

    def failed(self, model: ModelSpec, error: Failure) -> None:
        self.say(f"  failed: {error.cause}", style="red")
        self.say(f"  fix: {error.fix}")


def _report(inputs: Inputs, result: MatrixResult, console: Console | None) -> Path | None:
    """Write the report of all models that have answers, and print it; its page, or None where no
    model has any."""
    made = make_report(result.folder, inputs, result.state)
    if made is None:
        return None
    study, analysis, files = made
    if console is not None:
        from lem.report.terminal import print_report

        print_report(study, analysis, console)
        console.print()
    return files[0]


def _outcome(result: MatrixResult) -> dict[str, object]:
    return {
        "folder": str(result.folder),
        "new_answers": result.new_answers,
        "failed": list(result.failed),
        "exploratory": result.state.exploratory,
        **result.state.model_dump(mode="json", include={"sha256", "models"}),
    }


def _complain(result: MatrixResult, report: Path | None) -> None:
    if not result.failed:
        return
    names = excerpt(", ".join(result.failed), 120)
    first = result.state.models[result.failed[0]].error
    cause = f" First error: {first.cause}" if first else ""
    raise LemError(
        f"{len(result.failed)} of {len(result.state.models)} models failed: {names}.{cause}",
        f"The report is of the answers there are; bench.json in {result.folder} has every error."
        if report
        else f"bench.json in {result.folder} has every error.",
        first.fix if first else "Run the same command again: it goes on from there.",
    )
