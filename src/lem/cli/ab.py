"""``lem ab``: run an A/B and print what it shows."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from lem.ab import AbResult, Experiment, run_ab
from lem.cli.modelling import model_options
from lem.engines import EngineOptions
from lem.kernels import BUILT_IN, parse_kernel_option
from lem.report.progress import BarWatcher, LogWatcher
from lem.report.terminal import print_report
from lem.runs import Plan
from lem.text import dump_json, printable


@click.command(
    epilog="""\b
Examples:
  lem ab
  lem ab --model model.gguf --kernel json=axioms.json --kernel txt=kernel.txt \\
      --prompts P01-P100.json --output results.jsonl --max-tokens 1024
  lem ab --model Qwen/Qwen3-0.6B --no-thinking
  lem ab --model base-folder --adapter adapter-folder
  lem ab --model openai:qwen3 --base-url http://127.0.0.1:8080/v1 --controls
  lem ab --limit 5 --conditions baseline,json --samples 3 --temperature 0.8

A run stopped at any moment goes on where it was with the same command."""
)
@click.option(
    "--model",
    default="smollm2-135m",
    show_default=True,
    help="smollm2-135m (built in), a GGUF file, a model or adapter folder, a hub id (org/name), "
    "openai:NAME, or replay:RUN.",
)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME=PATH",
    help="A kernel and the name of its condition; repeatable. Default: LEK-1 as json and txt.",
)
@click.option(
    "--prompts",
    "--probes",
    "probes",
    default="P20",
    show_default=True,
    metavar="SET|FILE",
    help="Built-in probe set, or a JSON/JSONL file of {id, domain|category, prompt}.",
)
@click.option(
    "--conditions", metavar="A,B,…", help="Exactly these conditions (see lem kernel show)."
)
@click.option("--controls", is_flag=True, help="Add the control arms: placebo, shuffled, …")
@click.option(
    "--replicate", is_flag=True, help="Ask the baseline twice: how much do answers vary anyway?"
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N probes.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=1024, show_default=True, help="Per answer."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Per probe."
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="0 = greedy.",
)
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=1.0,
    show_default=True,
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the sampling and of the controls.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Also write the published A/B JSONL here."
)
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    help="Run folder. Default: runs/MODEL-PROBES-MARK.",
)
@click.option(
    "--resume/--fresh",
    default=True,
    help="Go on with an earlier run (default), or move it aside and start anew.",
)
@model_options()
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, no table; errors only.")
def command(
    model: str,
    kernels: tuple[str, ...],
    probes: str,
    conditions: str | None,
    controls: bool,
    replicate: bool,
    limit: int | None,
    max_tokens: int,
    samples: int,
    temperature: float,
    top_p: float,
    seed: int,
    output: Path | None,
    folder: Path | None,
    resume: bool,
    options: EngineOptions,
    as_json: bool,
    quiet: bool,
) -> None:
    """A/B-test a chat model under ethics kernels.

    Every probe is put to the model under every condition: as it is (baseline), with the kernel as
    JSON, with the kernel as text, and with --controls also under prompts that share the kernel's
    length or words but not its content. Then the answers are scored and compared in pairs.
    """
    errors = Console(stderr=True, highlight=False)
    talk = _Talk(errors, quiet)
    experiment = Experiment(
        model=model,
        probes=probes,
        kernels=[parse_kernel_option(k) for k in kernels] or tuple(BUILT_IN.items()),
        conditions=[c.strip() for c in conditions.split(",") if c.strip()] if conditions else None,
        controls=controls,
        replicate=replicate,
        control_seed=seed,
        limit=limit,
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        samples=samples,
    )
    bar = BarWatcher(errors) if errors.is_terminal else LogWatcher(sys.stderr)
    try:
        result = run_ab(
            experiment,
            folder=folder,
            fresh=not resume,
            output=output,
            options=dataclasses.replace(options, say=talk.say),
            watcher=None if quiet else bar,
            on_plan=talk.plan,
            command=sys.argv,
        )
    except KeyboardInterrupt:
        talk.interrupted()
        raise
    if as_json:
        click.echo(dump_json({"run": str(result.folder), **result.analysis.to_json()}, indent=1))
    elif not quiet:
        _print(result, output)


class _Talk:
    """What is said on the error stream around a run."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._folder: Path | None = None

    def say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(Text(printable(text), style="dim"))

    def plan(self, plan: Plan, folder: Path, missing: int) -> None:
        self._folder = folder
        have = len(plan.requests) - missing
        arms = ", ".join(arm.condition.name for arm in plan.arms)
        self.say(f"{len(plan.probes)} probes × {len(plan.arms)} conditions ({arms}) → {folder}")
        if have:
            self.say(f"{have} of {len(plan.requests)} answers are there already")
        for note in plan.notes:
            self.say(f"note: {note}")

    def interrupted(self) -> None:
        if self._folder is not None:
            self._console.print(
                Text(
                    f"Stopped. Every finished answer is kept in {printable(str(self._folder))}; "
                    "the same command goes on from there."
                )
            )


def _print(result: AbResult, output: Path | None) -> None:
    console = Console(highlight=False)
    print_report(result.study, result.analysis, console)
    console.print()
    first = result.plan.probes[0].id
    lines = [
        f"report:  lem report {result.folder}",
        f"answers: lem show {result.folder} {first}",
        f"run:     {result.folder}",
    ]
    if output:
        lines.append(f"output:  {output}")
    for line in lines:
        console.print(Text(printable(line), style="dim"), soft_wrap=True)
