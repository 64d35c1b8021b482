"""``lem report``: what answers show, on the terminal and as a page."""

from __future__ import annotations

from pathlib import Path

import click

from lem.analysis import analyse
from lem.cli.reporting import answers_option, output_option, publish, read, scorer_option, target
from lem.study.ratings import label_ratings
from lem.study.settings import differences


@click.command(
    epilog="""\b
Examples:
  lem report runs/NAME                      the page goes to runs/NAME/report/
  lem report results.jsonl                  a published A/B file
  lem report runs/a runs/b runs/c           several models, each by itself and ranked
  lem report runs/NAME --scorer grammar:paper --scorer v2
  lem report runs/NAME --json | jq .headline"""
)
@click.argument("inputs", nargs=-1, required=True, metavar="RUN|FILE…")
@scorer_option
@output_option
@answers_option
@click.option(
    "--labels",
    multiple=True,
    type=click.Path(path_type=Path),
    help="People's scores, as lem judge reads them; the scorers are held against them. Repeatable.",
)
@click.option("--title", help="Of the page. Default: the model's name.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON; write no files.")
@click.option("--quiet", "-q", is_flag=True, help="Write the files, print only where they are.")
def command(
    inputs: tuple[str, ...],
    scorers: tuple[str, ...],
    output: Path | None,
    answers: bool,
    labels: tuple[Path, ...],
    title: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Report what answers show, and how sure that is.

    RUN is a run folder or a folder of them; FILE a published A/B file or JSON Lines of answers.
    Every kernel is compared with the baseline and with its placebo on the same probes; the first
    --scorer is the primary one. Written: report.html (one file that opens offline), report.md and
    effects.json.
    """
    folder = target(inputs, output, as_json)
    study = read(inputs, scorers, keep_texts=True)
    unlike = [d.text for d in differences(study, study.models) if d.serious]
    warnings = [f"The inputs are not alike: {text}." for text in unlike]
    people = label_ratings(study, labels)
    analysis = analyse(study, title=title, warnings=warnings, labels=people)
    publish(folder, study, analysis, answers=answers, as_json=as_json, quiet=quiet)
