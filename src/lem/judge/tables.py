"""The summary on a terminal of 80 columns."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lem.judge.summary import Compared, Row, Summary
from lem.text import excerpt, printable

_SCORES_NOTE = (
    "Scores from 1 to 5, higher is better (harm: less harm); the judge's opinion, not a fact. n = "
    "probes; samples of a probe are averaged first. Brackets: 95 % intervals, not corrected for "
    "the number of rubrics and conditions."
)
_PAIRS_NOTE = (
    "won/tied/lost = probes on which the condition's answer was preferred to the reference's. "
    "Every pair is shown in both orders; a verdict that changes with the order is a flip and "
    "counts as a tie. won of decided: Wilson interval, ties left out; p: sign test, not corrected "
    "for the number of rubrics and conditions."
)
_AGREEMENT_NOTE = (
    "Over the answers that both rated: Cohen's κ (quadratic weights) and Krippendorff's α "
    "(ordinal), 95 % bootstrap intervals over probes. 1 = perfect, 0 = chance."
)


def print_summary(summary: Summary, console: Console) -> None:
    """Warnings, one table a rubric, agreement, and what the numbers rest on."""
    for warning in summary.self_judging:
        console.print(Text(f"warning: {warning}", style="yellow"))
    for rubric in dict.fromkeys(row.rubric for row in summary.rows):
        rows = [row for row in summary.rows if row.rubric == rubric]
        console.print(Text(rubric, style="bold"))
        console.print(_scores(summary, rows) if summary.mode == "scores" else _pairs(rows))
    console.print()
    console.print(Text(_SCORES_NOTE if summary.mode == "scores" else _PAIRS_NOTE, style="dim"))
    for line in (*_limits(summary), *summary.notes):
        console.print(Text(printable(line)))
    for other in dict.fromkeys(c.other for c in summary.agreement):
        console.print(Text(f"\nAgreement with {excerpt(other, 60)}"))
        console.print(_agreement([c for c in summary.agreement if c.other == other]))
    if summary.agreement:
        console.print(Text(_AGREEMENT_NOTE, style="dim"))


def _table(*columns: tuple[str, int]) -> Table:
    """The first column to the left, the others to the right, all of fixed width."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for number, (name, width) in enumerate(columns):
        table.add_column(
            name,
            width=width,
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    return table


def _scores(summary: Summary, rows: list[Row]) -> Table:
    against = f"− {excerpt(summary.reference, 12)} (95 %)" if summary.reference else ""
    table = _table(
        ("  condition", 17), ("mean (95 %)", 18), ("n", 4), ("unscored", 8), (against, 22)
    )
    for row in rows:
        effect = row.effect
        table.add_row(
            f"  {excerpt(row.condition, 15)}",
            _interval(row.value, row.low, row.high),
            str(row.n),
            str(sum(row.unscored.values())),
            _interval(effect.mean, effect.low, effect.high, "+") if effect else "",
        )
    return table


def _pairs(rows: list[Row]) -> Table:
    table = _table(
        ("  condition", 17),
        ("won/tied/lost", 13),
        ("won of decided", 15),
        ("p", 5),
        ("flips", 11),
        ("unscored", 8),
    )
    for row in rows:
        effect, share = row.effect, "–"
        if row.value is not None and row.low is not None and row.high is not None:
            share = f"{row.value:.0%} [{100 * row.low:.0f}, {100 * row.high:.0f}]"
        flips = (
            f"{row.flips} ({row.flips / row.both:.0%})"
            if row.flips is not None and row.both
            else "–"
        )
        table.add_row(
            f"  {excerpt(row.condition, 15)}",
            f"{effect.better}/{effect.same}/{effect.worse}" if effect else "–",
            share,
            f"{effect.sign_p:.3f}" if effect else "–",
            flips,
            str(sum(row.unscored.values())),
        )
    return table


def _agreement(compared: list[Compared]) -> Table:
    table = _table(("  rubric", 27), ("n", 4), ("κ (95 %)", 20), ("α (95 %)", 20))
    for c in compared:
        kappa, alpha = (_interval(a.value, a.low, a.high) for a in (c.kappa, c.alpha))
        table.add_row(f"  {excerpt(c.rubric, 25)}", str(c.kappa.n), kappa, alpha)
    return table


def _limits(summary: Summary) -> list[str]:
    """What is missing, how long the answers are, how many are unfinished."""
    arms = "; ".join(
        f"{excerpt(a.condition, 20)} {a.answers} of {a.words:.0f} words, {a.cut} cut off"
        for a in summary.arms
    )
    lines = [f"Answers: {arms}."]
    reasons: Counter[str] = Counter()
    for row in summary.rows:
        reasons.update(row.unscored)
    if reasons:
        total = sum(row.judgements for row in summary.rows)
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"Unscored: {reasons.total()} of {total} judgements ({told}).")
    cases = [
        f"{r.rubric}, {r.condition}: {_number(r.worst, '+')} to {_number(r.best, '+')}"
        for r in summary.rows
        if r.worst is not None and r.best is not None
    ]
    if cases:
        lines.append(
            "The conditions are not unscored alike. The difference, if all that is unscored "
            f"counted against the condition, or for it: {'; '.join(cases)}."
        )
    return lines


def _interval(value: float | None, low: float | None, high: float | None, sign: str = "") -> str:
    if value is None:
        return "–"
    if low is None or high is None:
        return _number(value, sign)
    return f"{_number(value, sign)} [{_number(low, sign)}, {_number(high, sign)}]"


def _number(value: float, sign: str = "") -> str:
    """Two decimals, a true minus sign, no negative zero."""
    text = f"{value:{sign}.2f}"
    return ("0.00" if float(text) == 0 else text).replace("-", "−")
