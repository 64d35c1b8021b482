"""``lem show``: read a run without running anything."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from lem.errors import LemError
from lem.report.terminal import print_answer
from lem.runs import read_manifest, read_responses
from lem.text import excerpt


@click.command(epilog="\b\nExamples:\n  lem show runs/NAME\n  lem show runs/NAME P01")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("probe", required=False)
@click.option("--condition", "conditions", multiple=True, help="Only this condition; repeatable.")
def command(run: Path, probe: str | None, conditions: tuple[str, ...]) -> None:
    """Show the answers of RUN: a list of its probes, or all answers to one PROBE.

    PROBE is an id or the beginning of one.
    """
    manifest, responses = read_manifest(run), read_responses(run)
    console = Console(highlight=False)
    items = {item["id"]: item for item in manifest["probes"]["items"]}
    if probe is None:
        for item in items.values():
            count = sum(r.probe == item["id"] for r in responses)
            click.echo(
                f"{excerpt(item['id'], 30):30}  {count:3} answers  {excerpt(item['prompt'], 32)}"
            )
        return
    found = [i for i in items if i == probe] or [i for i in items if i.startswith(probe)]
    if len(found) != 1:
        raise LemError(
            f"{run} has {len(found) or 'no'} probes whose id begins with {probe!r}.",
            "Nothing was shown.",
            f"Choose one of: {', '.join(found or list(items))}.",
        )
    print_answer(console, found[0], items[found[0]]["prompt"])
    for response in responses:
        if response.probe == found[0] and (not conditions or response.condition in conditions):
            ended = {"length": ", cut off"}.get(response.finish_reason, "")
            sample = f", sample {response.sample}" if manifest.get("samples", 1) > 1 else ""
            title = f"── {response.condition}{sample} ({response.completion_tokens} tokens{ended})"
            print_answer(console, title, response.final or "(empty)")
