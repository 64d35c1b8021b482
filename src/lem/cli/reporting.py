"""What the verbs that report have in common: their options, reading, printing, writing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.text import Text

from lem.analysis import Analysis
from lem.report.files import check_folder, write_report
from lem.report.terminal import print_report
from lem.study import SCORERS, Study, load_study
from lem.text import dump_json, printable

Command = TypeVar("Command", bound=Callable[..., Any])


def scorer_option(command: Command) -> Command:
    """`--scorer NAME`, repeatable; the first one is the primary one."""
    return click.option(
        "--scorer",
        "scorers",
        multiple=True,
        metavar="NAME",
        help="Score to compare on; repeatable, the first is the primary one. "
        "Default: v2 and reasoning. (lem score --list)",
    )(command)


def output_option(command: Command) -> Command:
    """`--output FOLDER`."""
    return click.option(
        "--output",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where the report goes. Default: RUN/report, FILE.report, or report for several.",
    )(command)


def answers_option(command: Command) -> Command:
    """`--answers/--no-answers`."""
    return click.option(
        "--answers/--no-answers",
        default=True,
        help="Put the models' answers into the page (default), or leave them out.",
    )(command)


def read(inputs: tuple[str, ...], scorers: tuple[str, ...], *, keep_texts: bool) -> Study:
    """Read and score the inputs, with a bar on a terminal where it takes a while."""
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        BarColumn(bar_width=20),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None)
        return load_study(
            inputs,
            scorers=tuple(dict.fromkeys(scorers)) or SCORERS,
            keep_texts=keep_texts,
            jobs=0,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def target(inputs: Sequence[str], output: Path | None, as_json: bool) -> Path:
    """The folder of the report, checked before any work is done.

    Raises:
        LemError: it holds something else.
    """
    folder = output or default_folder(inputs)
    if not as_json:
        check_folder(folder)
    return folder


def publish(
    folder: Path,
    study: Study,
    analysis: Analysis,
    *,
    answers: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print a report and write its files, or print its numbers."""
    if as_json:
        click.echo(dump_json(analysis.to_json(), indent=1))
        return
    files = write_report(folder, study, analysis, answers="auto" if answers else "none")
    console = Console(highlight=False)
    if not quiet:
        print_report(study, analysis, console)
        console.print()
    for name, path in zip(("page", "text", "numbers"), files):
        line = Text(printable(f"{name + ':':9}{path}"), style="dim")
        console.print(line, soft_wrap=True)
    if sys.stdout is not None:  # closed by whoever started us
        sys.stdout.flush()


def default_folder(inputs: Sequence[str]) -> Path:
    """Where a report goes if nobody says: into the folder, beside the file, or here."""
    if len(inputs) > 1 or inputs[0] == "-":
        return Path("report")
    path = Path(inputs[0])
    return path / "report" if path.is_dir() else path.with_name(f"{path.name}.report")
