"""What ``lem probes check`` and ``lem lessons check`` share: options, running, printing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from lem.errors import LemError
from lem.text import dump_json, excerpt, printable

if TYPE_CHECKING:
    from lem.corpus import CheckReport, Embedder, SetOf
    from lem.corpus.check import PartFigures
    from lem.corpus.duplicates import Pair

_SHOWN = 20  # findings in the terminal; --json has all


def check_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both commands."""
    for option in (
        click.option(
            "--semantic/--no-semantic",
            default=None,
            help="Compare meanings too. Default: if the semantic extra is installed.",
        ),
        click.option(
            "--embedder",
            type=click.Path(path_type=Path),
            help="A sentence-transformers folder to compare meanings with.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print everything as JSON."),
    ):
        command = option(command)
    return command


def embedder(semantic: bool | None, folder: Path | None) -> Embedder | None:
    """The embedding model asked for, or None.

    Raises:
        LemError: it is asked for and not there.
    """
    from lem.corpus import Embedder, available
    from lem.engines.fingerprint import cache_folder

    if semantic is False and folder is not None:
        raise LemError(
            "--embedder and --no-semantic contradict each other.",
            "Nothing was checked.",
            "Leave one of them out.",
        )
    if semantic is False or (semantic is None and folder is None and not available()):
        return None
    return Embedder(folder, cache_folder() / "embeddings")


def run_check(
    sets: list[SetOf],
    against: list[SetOf],
    semantic: bool | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Check, print, and exit with 2 if a rule is broken."""
    from rich.console import Console

    from lem.corpus import apart, check

    sets, against = apart(sets, against)
    model = embedder(semantic, folder)
    errors = Console(stderr=True, highlight=False)
    with errors.status("") as status:
        report = check(sets, against, embedder=model, say=lambda t: status.update(f"{t} …"))
    if as_json:
        click.echo(dump_json(report.to_json(), indent=1))
    else:
        click.echo(table(report, against))
    if report.findings:
        rules = dict.fromkeys(f.rule for f in report.findings)
        raise LemError(
            f"{len(report.findings)} findings: {', '.join(rules)}.",
            "Numbers measured with, and models trained on, these texts would not mean what they "
            "seem to.",
            "Mend or remove the texts named above (all of them: --json).",
        )


def table(report: CheckReport, against: list[SetOf]) -> str:
    """The report in 80 columns."""
    lines = [f"{'set, part':22}{'texts':>6}{'words':>14}{'level':>7}{'planted':>9}  likest two"]
    lines += [_row(p) for p in report.parts]
    lines += _wrapped(
        "words: least–median–most; level: reading years (ARI, median); planted: words of the old "
        "scores a thousand; likest two: cosine, and the mean over all pairs."
    )
    for p in report.parts:
        if p.texts >= 20:
            lines += _wrapped(
                f"{p.set} {p.part}s: most frequent opening {excerpt(p.opening.words, 40)!r}, "
                f"{p.opening.texts} of {p.texts} ({p.opening.share:.1%})"
            )
        if p.part == "answer":
            lines += _wrapped(f"{p.set} answers with a stock refusal or opening: {p.stock}")
    for name, fields in report.counts.items():
        for field, values in fields.items():
            lines += _balance(name, field, values)
    lines += _meaning(report)
    lines += _contamination(report)
    shown = report.findings[:_SHOWN]
    for f in shown:
        lines += _wrapped(f"- {f.rule}: {excerpt(f.where, 50)}: {excerpt(f.what, 90)}")
    if len(report.findings) > _SHOWN:
        lines.append(f"… and {len(report.findings) - _SHOWN} more (--json has all)")
    if not report.findings:
        names = ", ".join(s.name for s in against)
        lines += _wrapped("No rule is broken." + (f" Compared with: {names}." if names else ""))
    return "\n".join(lines)


def _balance(name: str, field: str, values: dict[str, int]) -> list[str]:
    """How a set is spread over a field; values of one item each are only counted, if many."""
    if len(values) < 2:
        return []
    single = [v for v, n in values.items() if n == 1] if len(values) > 24 else []
    parts = [f"{excerpt(v, 20)} {n}" for v, n in values.items() if v not in single]
    parts += [f"{len(single)} others once each"] if single else []
    return _wrapped(f"{name}, by {field}: {', '.join(parts)}")


def _row(p: PartFigures) -> str:
    words = f"{p.lengths.least}–{p.lengths.median:.0f}–{p.lengths.most}"
    likest = "not measured"
    if p.nearest is not None and p.mean_likeness is not None:
        likest = f"{p.nearest.likeness:.2f} (mean {p.mean_likeness:.2f})"
    name = excerpt(f"{p.set}, {p.part}s", 22)
    return f"{name:22}{p.texts:6}{words:>14}{p.reading_level:7.1f}{p.planted:9.2f}  {likest}"


def _meaning(report: CheckReport) -> list[str]:
    if not report.semantic:
        from lem.corpus import available

        why = "" if available() else " (pip install 'lem-lab[semantic]')"
        return [f"Likeness of meaning: not measured{why}."]
    lines = []
    if report.nearest_across:
        lines.append(
            f"Likest between sets (cosine; with a probe, a duplicate from {report.semantic_limit}):"
        )
        lines += [_pair_line(p) for p in report.nearest_across[:8]]
    if report.rephrasings:
        low, middle, high = report.rephrasings
        lines.append(
            f"Rephrasings to their originals: {low:.2f}–{middle:.2f}–{high:.2f} "
            "(least, median, greatest)"
        )
    return lines


def _pair_line(pair: Pair) -> str:
    return (
        f"  {pair.likeness:.2f}  {excerpt(pair.first.name, 34):34}  {excerpt(pair.second.name, 34)}"
    )


def _contamination(report: CheckReport) -> list[str]:
    found = report.contamination
    if found is None:
        return []
    from lem.corpus.contamination import Kind

    kinds = [h.kind for h in found.hits]
    counts = ", ".join(f"{kinds.count(k)} {k}" for k in get_args(Kind))
    return _wrapped(
        f"Probes found in the lessons: {len(found.hits)} of {found.probes} ({counts}); "
        f"{found.texts} questions, answers and system messages read."
    )


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(printable(text), 80, subsequent_indent="  ")
