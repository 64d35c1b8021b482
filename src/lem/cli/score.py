"""``lem score``: score answers that exist already."""

from __future__ import annotations

import io
import math
import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import click
from rich.console import Console

from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel
from lem.kernels.load import data_text
from lem.scorers.registry import scorer_names
from lem.scoring.explain import ExplainSink
from lem.scoring.gains import Gains, needs_gains
from lem.scoring.rows import columns
from lem.scoring.run import Plan, run
from lem.scoring.sinks import (
    CsvSink,
    JsonlSink,
    ParquetSink,
    Sink,
    check_target,
    json_line,
    new_file,
    standard_output,
)
from lem.scoring.sources import Format, Source, open_inputs
from lem.scoring.summary import Summary
from lem.scoring.tables import TableSink, print_summary
from lem.scoring.talk import Talk
from lem.scoring.work import Job, Worker, describe
from lem.text import dump_json

DEFAULT_SCORERS = ("v2", "grammar", "reasoning")

_NOTHING = "Nothing was scored."


class _Share(click.FloatRange):
    """A number from 0 to 1; `nan` is none, though no comparison finds that out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@click.command(
    epilog="""\b
Examples:
  lem score runs/NAME                              a run of lem ab
  lem score answers.jsonl --scorer grammar:paper --delta
  lem score ab.jsonl --summary --by condition --by category
  cat answer.txt | lem score --explain --scorer v2
  lem score big.jsonl --jobs 0 --to scores.parquet
  lem score train.jsonl --no-leaks --max-kernel-overlap 0.3 --to kept.csv

\b
Formats, told by the first line that is not blank:
  a run folder, or its responses.jsonl
  the A/B file of lem ab --output: each probe x condition is an answer
  {"messages": [{"role": ..., "content": ...}, ...]}: the last assistant
      message is the answer, the last user message before it the question
  {"prompt": ..., "response": ...}; also question, instruction, input for the
      question; answer, output, completion, text for the answer
  anything else is a plain text: one answer"""
)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME[:PROFILE]",
    help=f"Repeatable. Default: {', '.join(DEFAULT_SCORERS)}. See --list.",
)
@click.option("--list", "list_scorers", is_flag=True, help="List the scorers and stop.")
@click.option("--delta", is_flag=True, help="Also compare each answer with its question.")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="FILE",
    help="A kernel that may have leaked into the answers, beside LEK-1; repeatable.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "jsonl", "text"]),
    default="auto",
    show_default=True,
    help="Of the inputs.",
)
@click.option(
    "--output",
    type=click.Choice(["table", "jsonl", "csv", "parquet"]),
    help="Default: by the name given to --to, else table.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --output jsonl.")
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="FILE", help="Write to a new file instead."
)
@click.option("--force", is_flag=True, help="Let --to replace a file (never an input).")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Answers shown by the table and by --explain; 0 = all.",
)
@click.option("--summary", "only_summary", is_flag=True, help="Only the summary.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["condition", "category", "model", "file"]),
    help="Groups of the summary; repeatable. Default: condition.",
)
@click.option("--explain", is_flag=True, help="Show each answer with what was counted in it.")
@click.option(
    "--max-kernel-overlap",
    type=_Share(0, 1),
    metavar="F",
    help="Leave out answers that share more than this with a kernel.",
)
@click.option(
    "--max-prompt-overlap",
    type=_Share(0, 1),
    metavar="F",
    help="Leave out answers that share more than this with their question.",
)
@click.option("--no-leaks", is_flag=True, help="Leave out answers that cite or quote a kernel.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N answers.")
@click.option("--strict", is_flag=True, help="Stop at the first broken line.")
@click.option(
    "--jobs",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes; 0 = one for each core.",
)
def command(
    inputs: tuple[str, ...],
    scorers: tuple[str, ...],
    list_scorers: bool,
    delta: bool,
    kernels: tuple[str, ...],
    form: str,
    output: str | None,
    as_json: bool,
    to: Path | None,
    force: bool,
    rows: int,
    only_summary: bool,
    by: tuple[str, ...],
    explain: bool,
    max_kernel_overlap: float | None,
    max_prompt_overlap: float | None,
    no_leaks: bool,
    limit: int | None,
    strict: bool,
    jobs: int,
) -> None:
    """Score answers: run folders, JSON Lines, text files, or standard input (-).

    Every answer gets text statistics (words, language, repetition, ...), its overlap with kernel
    and question, and the scorers asked for. Inputs are streamed and never written to. A line that
    cannot be scored is reported, skipped and counted.
    """
    if list_scorers:
        _list(as_json)
        return
    output = _output(output, as_json, to)
    _check_options(output, to, only_summary, explain)
    sources = open_inputs(inputs)
    if to is not None:
        check_target(to, _files(sources, kernels), force)
    job = Job(
        scorers=tuple(dict.fromkeys(scorers or DEFAULT_SCORERS)),
        delta=delta,
        kernels=_kernel_texts(kernels, sources),
        max_kernel_overlap=max_kernel_overlap,
        max_prompt_overlap=max_prompt_overlap,
        allow_leaks=not no_leaks,
    )
    groups = tuple(dict.fromkeys(by)) or ("condition",)
    cores = jobs or os.cpu_count() or 1
    plan = Plan(sources, job, cast(Format, form), groups, limit, strict, cores)
    talk = Talk(Console(stderr=True, highlight=False), sources)
    for note in _notes(sources):
        talk.say(f"note: {note}")
    view = _View(output, to, rows, only_summary, explain, as_json)
    summary = _run(plan, view, talk)
    if to is not None and not only_summary and output != "table":
        with standard_output():
            print_summary(summary, Console(highlight=False))
    talk.end(summary)


class _View(NamedTuple):
    """What is shown, and where."""

    output: str
    to: Path | None
    rows: int
    only_summary: bool
    explain: bool
    indented: bool


def _gains(plan: Plan, stack: ExitStack, talk: Talk) -> Gains | None:
    """Start the model that reads the answers, if a scorer asks for it."""
    if not needs_gains(plan.job.scorers):
        return None
    from lem.engines.likelihood import open_reader

    reader = open_reader(talk.say)
    stack.callback(reader.close)
    return reader.gains


def _run(plan: Plan, view: _View, talk: Talk) -> Summary:
    """Score, and write rows and summary to the file or the terminal."""
    with ExitStack() as stack:
        stack.enter_context(_ended_politely())
        out = stack.enter_context(new_file(view.to) if view.to else standard_output())
        console = _console(out, view.to)
        sink = None if view.only_summary else _sink(plan, view, out, console)
        if isinstance(sink, ParquetSink):
            stack.callback(sink.abandon)
        talk.sink = sink
        talk.shares_screen = sink is not None and view.to is None and _may_be_read(view.output)
        try:
            summary = run(
                plan,
                sink,
                on_broken=talk.broken,
                on_scored=talk.tick,
                meter=talk.meter,
                gains=_gains(plan, stack, talk),
            )
        finally:
            talk.stop()
        if sink is not None:
            sink.close()
        if view.only_summary and view.output == "jsonl":
            out.write(json_line(summary.to_json(), indent=1 if view.indented else None))
        elif view.only_summary or (view.output == "table" and not view.explain):
            print_summary(summary, console)
        out.flush()
    return summary


@contextmanager
def _ended_politely() -> Iterator[None]:
    """Let a request to end (SIGTERM, a closed terminal) clean up behind it, as Ctrl-C does."""
    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        wanted = []
    wanted = [number for number in wanted if signal.getsignal(number) is signal.SIG_DFL]  # nohup
    for number in wanted:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in wanted:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def _notes(sources: list[Source]) -> Iterator[str]:
    """What has to be known of the inputs before anything is scored."""
    seen: set[tuple[int, int]] = set()
    for source in sources:
        yield from source.run.notes if source.run else ()
        if source.path is None or not source.path.is_file():
            continue
        facts = source.path.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            yield f"{source.name} is named more than once, so its answers count more than once"
        seen.add((facts.st_dev, facts.st_ino))


def _may_be_read(output: str) -> bool:
    """Whether what is written to standard output may appear on the terminal: always so where it is
    the terminal; a table through a pipe most likely goes to `head` or `less`."""
    if sys.stdout.isatty() or output != "table":
        return sys.stdout.isatty()
    try:
        return stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except io.UnsupportedOperation:  # a stream of Python's own, in the place of standard output
        return False


def _output(output: str | None, as_json: bool, to: Path | None) -> str:
    if as_json and output not in (None, "jsonl"):
        raise LemError(
            f"--json and --output {output} contradict each other.", _NOTHING, "Leave one out."
        )
    if as_json or output:
        return "jsonl" if as_json else str(output)
    named = to.suffix.lower().removeprefix(".") if to else ""
    return named if named in ("jsonl", "csv", "parquet") else "table"


def _check_options(output: str, to: Path | None, only_summary: bool, explain: bool) -> None:
    if output == "parquet" and to is None:
        raise LemError(
            "Parquet cannot be written to the terminal.", _NOTHING, "Add --to scores.parquet"
        )
    if only_summary and explain:
        raise LemError("--summary and --explain contradict each other.", _NOTHING, "Leave one out.")
    if (only_summary or explain) and output in ("csv", "parquet"):
        what = "--summary" if only_summary else "--explain"
        raise LemError(
            f"{what} has no {output} form.", _NOTHING, "Use --output table or --output jsonl."
        )


def _sink(plan: Plan, view: _View, out: BinaryIO, console: Console) -> Sink:
    infos = [describe(spec) for spec in plan.job.scorers]
    if view.output == "jsonl":
        worker = Worker(plan.job) if view.explain else None
        return JsonlSink(out, len(plan.sources) > 1, worker)
    if view.output == "csv":
        return CsvSink(out, list(columns(plan.job)))
    if view.output == "parquet":
        return ParquetSink(out, columns(plan.job))
    if view.explain:
        return ExplainSink(console, Worker(plan.job), infos, view.rows)
    return TableSink(console, infos, view.rows)


def _console(out: BinaryIO, to: Path | None) -> Console:
    if to is None:
        return Console(highlight=False)
    text = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    return Console(file=text, highlight=False, width=80)


def _kernel_texts(files: tuple[str, ...], sources: list[Source]) -> tuple[str, ...]:
    texts = [data_text(file).strip() for file in BUILT_IN.values()]
    texts += [load_kernel("kernel", _kernel_file(file)).text for file in files]
    for source in sources:
        texts += source.run.kernels if source.run else ()
    return tuple(dict.fromkeys(texts))


def _kernel_file(value: str) -> str:
    """The path in a --kernel option; NAME=PATH, as other verbs write it, is understood."""
    _, equals, path = value.partition("=")
    return path if equals and not Path(value).exists() else value


def _files(sources: list[Source], kernels: tuple[str, ...]) -> list[Path]:
    """Every file that is read, none of which may be written to."""
    paths = [source.path for source in sources if source.path is not None]
    paths += [path.parent / "run.json" for path in paths]
    paths += [Path(_kernel_file(kernel)) for kernel in kernels]
    return [path for path in paths if path.exists()]


def _list(as_json: bool) -> None:
    found = [describe(name) for name in scorer_names()]
    if as_json:
        click.echo(dump_json([info._asdict() for info in found], indent=1))
        return
    click.echo(f"{'name':22} {'profile':14} {'version':24} label")
    for info in found:
        click.echo(f"{info.name:22} {info.profile or '–':14} {info.version:24} {info.label}")
