"""``lem export``: runs as files for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from lem.cli.query import progress, tell
from lem.query.views import EXPORTED, VIEWS

if TYPE_CHECKING:
    from lem.query.files import Format


@click.command(
    epilog="""\b
Examples:
  lem export parquet runs/* --to tables
  lem export parquet ab.jsonl --view scores --to scores.parquet
  lem export csv runs/NAME --view effects --to effects.csv
  lem export jsonl runs --to tables --scorer v2 --scorer grammar

\b
docs/query.md explains the views and their columns."""
)
@click.argument("format", type=click.Choice(["parquet", "jsonl", "csv"]))
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER|FILE",
    help="Where to; a file for a single --view.",
)
@click.option(
    "--view",
    "views",
    multiple=True,
    type=click.Choice(list(VIEWS)),
    help=f"Repeatable. Default: {', '.join(EXPORTED)}.",
)
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME[:PROFILE]",
    help="Repeatable; the first one is the primary one. Default: v2.",
)
@click.option("-q", "--quiet", is_flag=True, help="No notes, no progress, no list of files.")
def command(
    format: str,
    inputs: tuple[str, ...],
    to: Path,
    views: tuple[str, ...],
    scorers: tuple[str, ...],
    quiet: bool,
) -> None:
    """Write the views of run folders and published A/B files as files.

    Each view is a file of its own, replaced in one step; a file that this command did not write is
    never replaced.
    """
    from lem.query.export import export, targets
    from lem.query.material import Material

    form = cast("Format", format)
    files = targets(to, form, views or EXPORTED)
    texts = bool({"responses", "parts"} & {view.name for view, _ in files})
    material = Material(inputs, scorers, texts=texts, progress=None if quiet else progress())
    written = export(material, files, form)
    if quiet:
        return
    tell(material.notes)
    for path, view, rows in written:
        click.echo(f"{path}: {rows:,} {'row' if rows == 1 else 'rows'} of {view}")
