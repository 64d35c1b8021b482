"""``lem query``: SQL over any number of runs."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lem.errors import LemError
from lem.query import listing

if TYPE_CHECKING:
    from lem.query.database import Batches, Result
    from lem.query.material import Material

_NOTHING = "Nothing was shown or written."
_ROWS = 50
_DOC_COLUMN = 32  # of the listing: where the meaning of a column begins
_MOST_NOTES = 5  # shown; the others are counted


@click.command(
    epilog="""\b
Examples:
  lem query "SELECT condition, avg(score) FROM scores GROUP BY ALL" runs/*
  lem query "FROM effects SELECT model, arm, mean, low, high" runs
  lem query "FROM responses SELECT probe, final WHERE refused" ab.jsonl --csv
  lem query - runs/* --output means.parquet < means.sql
  lem query --schema

\b
Views: runs, responses, scores, parts, effects, probes; docs/query.md explains
them. SQL is DuckDB's. It can read the views and nothing else."""
)
@click.argument("arguments", nargs=-1, metavar="SQL INPUT...")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME[:PROFILE]",
    help="Repeatable; the first one is the primary one. Default: v2.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to FILE.csv, FILE.jsonl or FILE.parquet instead.",
)
@click.option("--force", is_flag=True, help="Let --output replace a file (never an input).")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    help=f"Rows of the table; 0 = all. Default: {_ROWS} on a terminal, else all.",
)
@click.option("--schema", is_flag=True, help="List the views and their columns.")
@click.option("-q", "--quiet", is_flag=True, help="No notes, no progress.")
def command(
    arguments: tuple[str, ...],
    scorers: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
    output: Path | None,
    force: bool,
    rows: int | None,
    schema: bool,
    quiet: bool,
) -> None:
    """Answer SQL over run folders, folders of them, and published A/B files.

    SQL is one statement, or - for standard input.
    """
    if schema:
        _schema(arguments, scorers, quiet)
        return
    if sum((as_json, as_csv, output is not None)) > 1:
        raise LemError("--json, --csv and --output exclude each other.", _NOTHING, "Choose one.")
    sql, inputs = _sql(arguments)
    from lem.query.database import ask, ask_arrow, views_in
    from lem.query.files import format_of
    from lem.query.material import Material

    if output is not None:
        format_of(output)
        _check_output(output, inputs, force)
    texts = bool({"responses", "parts"} & set(views_in(sql)))
    material = Material(inputs, scorers, texts=texts, progress=None if quiet else progress())
    if output is not None and format_of(output) == "parquet":
        batches = ask_arrow(sql, material)
        _notes(sql, material, quiet)
        _write_parquet(batches, output)
        return
    result = ask(sql, material)
    _notes(sql, material, quiet)
    if output is not None:
        _write(result, output)
    elif as_json or as_csv:
        _print(result, as_json)
    else:
        _table(result, rows)


def _notes(sql: str, material: Material, quiet: bool) -> None:
    if not quiet:
        tell([*_mixed(sql, material.scorers), *material.notes])


def _mixed(sql: str, scorers: tuple[str, ...]) -> list[str]:
    """A warning where the numbers of several scorers may be averaged."""
    from lem.query.database import views_in

    named = {"scores", "effects", "parts"} & set(views_in(sql))
    if len(scorers) < 2 or not named or "scorer" in sql.lower():
        return []
    return [
        f"{min(named)} has rows of {len(scorers)} scorers, and the SQL does not tell them apart"
    ]


def _sql(arguments: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    if not arguments or not arguments[0].strip():
        raise LemError(
            "No SQL was given.",
            _NOTHING,
            'For example: lem query "SELECT model, avg(score) FROM scores GROUP BY ALL" runs/*',
        )
    sql, inputs = arguments[0], arguments[1:]
    if sql == "-":
        if "-" in inputs:
            raise LemError(
                "Standard input (-) cannot be the SQL and an input.", _NOTHING, "Name a file."
            )
        try:
            return sys.stdin.buffer.read().decode("utf-8"), inputs
        except UnicodeDecodeError as e:
            raise LemError(
                f"The SQL is not UTF-8: byte {e.start + 1}.", _NOTHING, "Convert it."
            ) from None
    if _is_path(sql):
        raise LemError(
            f"The first argument is a file or folder ({sql}); it must be the SQL.",
            _NOTHING,
            f'For example: lem query "FROM runs" {sql}  (SQL in a file: lem query - INPUT < FILE)',
        )
    return sql, inputs


def _is_path(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        return False


def _check_output(output: Path, inputs: tuple[str, ...], force: bool) -> None:
    if not output.exists():
        return
    if not output.is_file():
        raise LemError(f"--output {output} is no file.", _NOTHING, "Name a file: result.parquet")
    if not force or any(output.samefile(path) for path in _files(inputs)):
        raise LemError(
            f"--output {output} exists.",
            "It would be overwritten; nothing was written.",
            "Choose another name, or add --force to replace it (an input is never replaced).",
        )


def _files(inputs: tuple[str, ...]) -> Iterator[Path]:
    """The files that answers are read from, those in folders too."""
    from lem.runs.manifest import FILE as MANIFEST
    from lem.runs.store import FILE as LOG
    from lem.study.inputs import MATRIX, expand

    found = [Path(name) / MATRIX for name in inputs]
    for meant in expand(inputs)[0] if inputs else ():
        path = Path(meant.path)
        home = path.parent if path.name == LOG else path
        found += [path, home / LOG, home / MANIFEST, home.parent / MATRIX]
    return (path for path in found if path.is_file())


def _write_parquet(result: Batches, output: Path) -> None:
    from lem.query.files import write_parquet
    from lem.scoring.sinks import new_file

    with new_file(output) as out:
        _say(output, write_parquet(out, result.schema, result.batches))


def _write(result: Result, output: Path) -> None:
    from lem.query.files import format_of, write_csv, write_jsonl
    from lem.scoring.sinks import new_file

    write = write_csv if format_of(output) == "csv" else write_jsonl
    with new_file(output) as out:
        _say(output, write(out, result.columns, result.rows))


def _say(output: Path, count: int) -> None:
    click.echo(f"{output}: {count:,} {'row' if count == 1 else 'rows'}", err=True)


def _print(result: Result, as_json: bool) -> None:
    from lem.query.files import write_csv, write_jsonl
    from lem.scoring.sinks import standard_output

    with standard_output() as out:
        write = write_jsonl if as_json else write_csv
        write(out, result.columns, result.rows)


def _table(result: Result, rows: int | None) -> None:
    from lem.query.table import lines

    wide = sys.stdout is not None and sys.stdout.isatty()
    limit = rows if rows is not None else (_ROWS if wide else 0)
    width = shutil.get_terminal_size().columns if wide else None
    for line in lines(result.columns, result.rows, width, limit):
        click.echo(line)


def _schema(inputs: tuple[str, ...], scorers: tuple[str, ...], quiet: bool) -> None:
    for line in listing().splitlines():
        click.echo(_wrapped(line))
    if not inputs:
        return
    from lem.query.material import Material
    from lem.text import excerpt

    material = Material(inputs, scorers, texts=False, progress=None if quiet else progress())
    study = material.study
    conditions = dict.fromkeys(arm.name for model in study.models for arm in model.arms)
    domains = dict.fromkeys(probe.domain for probe in study.probes.values())
    click.echo("\nIn these inputs:")
    for label, names in (
        ("models", [model.name for model in study.models]),
        ("conditions", list(conditions)),
        ("domains", list(domains)),
        ("scorers", [info.name for info in study.scorers]),
    ):
        click.echo(f"  {label}: {', '.join(excerpt(name) for name in names)}")
    click.echo(f"  {len(study.probes):,} probes, {len(study.answers):,} answers")
    if not quiet:
        tell(material.notes)


def _wrapped(line: str) -> str:
    """A line of the listing, on a terminal as wide as that is."""
    width = shutil.get_terminal_size()[0]
    if sys.stdout is None or not sys.stdout.isatty() or len(line) <= width:
        return line
    wrap = textwrap.TextWrapper(width, break_on_hyphens=False)
    if line.startswith(" ") and width >= 2 * _DOC_COLUMN:
        wrap.initial_indent, line = line[:_DOC_COLUMN], line[_DOC_COLUMN:]
        wrap.subsequent_indent = " " * _DOC_COLUMN
    else:  # no room for columns
        wrap.initial_indent = "  " if line.startswith(" ") else ""
        wrap.subsequent_indent, line = "    ", " ".join(line.split())
    return wrap.fill(line)


def tell(notes: list[str]) -> None:
    """Show what must be known of the inputs, on standard error."""
    from lem.text import excerpt

    for note in notes[:_MOST_NOTES]:
        click.echo(f"note: {excerpt(note, 300)}", err=True)
    if len(notes) > _MOST_NOTES:
        click.echo(f"note: and {len(notes) - _MOST_NOTES} more such notes", err=True)


def progress() -> Callable[[int, int | None], None] | None:
    """Shows on a terminal how far reading and scoring have come; nothing elsewhere, and nothing on
    one that cannot wipe a line."""
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return None
    shown = -1

    def show(read: int, whole: int | None) -> None:
        nonlocal shown
        percent = 100 * read // whole if whole else 0
        if percent != shown:
            shown = percent
            done = "\r\x1b[K" if percent >= 100 else f"\rreading and scoring … {percent} %"
            click.echo(done, err=True, nl=False)

    return show
