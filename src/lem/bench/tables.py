"""Tables of a matrix for a terminal of 80 columns."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lem.bench.inputs import Inputs
from lem.bench.overview import Row
from lem.bench.run import MatrixResult
from lem.text import dump_json, excerpt, printable


def print_check(inputs: Inputs, as_json: bool) -> None:
    recipe = inputs.recipe
    complete = not inputs.missing_sets
    found = {
        "name": recipe.name,
        "models": len(recipe.models),
        "conditions": [c.name for c in inputs.conditions],
        "probes": len(inputs.probes) if complete else None,
        "answers": inputs.answers * len(recipe.models) if complete else None,
        "sha256": inputs.sha256 if complete else None,
        "missing_sets": list(inputs.missing_sets),
    }
    if as_json:
        click.echo(dump_json(found, indent=1))
        return
    click.echo(
        f"{recipe.name}: the recipe is in order: {_count(len(recipe.models), 'model')}, "
        f"{_count(len(inputs.conditions), 'condition')}"
    )
    if complete:
        click.echo(f"{_count(len(inputs.probes), 'probe')}, sha256 {inputs.sha256[:12]}")
    else:
        missing = ", ".join(inputs.missing_sets)
        click.echo(f"It cannot run yet: this release has no probe set {missing}.")


def print_plan(inputs: Inputs, rows: list[Row], folder: Path, as_json: bool) -> None:
    recipe = inputs.recipe
    if as_json:
        plan = {
            "name": recipe.name,
            "sha256": inputs.sha256,
            "folder": str(folder),
            "conditions": [c.name for c in inputs.conditions],
            "probes": len(inputs.probes),
            "samples": recipe.samples,
            "models": [row.to_json() for row in rows],
        }
        click.echo(dump_json(plan, indent=1))
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", no_wrap=True, max_width=32, overflow="ellipsis")
    for name in ("answers", "there", "to make"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        mark = "done" if row.finished else "cannot run here" if row.obstacle else ""
        left = 0 if row.finished else max(0, row.answers - row.there)
        table.add_row(
            excerpt(row.name, 32), f"{row.answers:,}", f"{row.there:,}", f"{left:,}", mark
        )
    console.print(table)
    conditions = _count(len(inputs.conditions), "condition")
    sizes = f"{conditions} × {_count(len(inputs.probes), 'probe')}"
    total = sum(row.answers for row in rows)
    names = ", ".join(c.name for c in inputs.conditions)
    console.print(
        Text(
            f"{_count(len(rows), 'model')} × {sizes} × {recipe.samples} = {total:,} answers at "
            f"most. Conditions: {printable(names)}. Primary score: {recipe.scorers[0]}. "
            f"Recipe: {inputs.sha256[:12]}.",
            style="dim",
        )
    )
    for row in rows:
        if row.obstacle:
            console.print(Text(f"{printable(row.name)}: {excerpt(row.obstacle.cause, 200)}"))


def print_outcome(inputs: Inputs, result: MatrixResult, report: Path | None) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("model", no_wrap=True, max_width=32, overflow="ellipsis")
    table.add_column("answers", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for model in inputs.recipe.models:
        entry = result.state.models.get(model.name)
        if entry:
            minutes, seconds = divmod(round(entry.seconds), 60)
            clock = f"{minutes}:{seconds:02}"
            table.add_row(excerpt(model.name, 32), f"{entry.answers:,}", clock, entry.status)
    console.print(table)
    console.print(Text(f"recipe:  {result.state.sha256[:12]}", style="dim"))
    lines = [f"answers: {result.folder}"]
    lines += [f"report:  {report}"] if report else []
    for line in lines:
        console.print(Text(printable(line), style="dim"), soft_wrap=True)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
