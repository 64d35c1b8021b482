"""Tables for a terminal of 80 columns."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lem.report.summary import Contrast, Summary
from lem.report.verdict import interval, is_shown, number, verdict
from lem.text import excerpt, printable


def print_summary(summary: Summary, console: Console) -> None:
    """The arms, the domains, and the verdict."""
    arms = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    arms.add_column("condition", no_wrap=True, overflow="ellipsis", max_width=14)
    for name in ("n", "v2"):
        arms.add_column(name, justify="right", no_wrap=True)
    arms.add_column(f"− {summary.reference} (95 %)", no_wrap=True)
    arms.add_column("↑/=/↓", justify="right", no_wrap=True)
    for name in ("words", "loops", "cut", "empty"):
        arms.add_column(name, justify="right", no_wrap=True)
    for arm in summary.arms:
        contrast = summary.contrast(arm.name)
        arms.add_row(
            excerpt(arm.name, 14),
            str(arm.probes),
            number(arm.mean),
            _difference(contrast),
            _moves(contrast),
            f"{arm.words:.0f}",
            str(arm.repetitive),
            str(arm.truncated),
            str(arm.empty),
        )
    console.print(arms)
    console.print(
        Text(
            "v2 = style and format index, mean over probes. Brackets: 95 % interval of the mean "
            "paired difference; * = kernel arm with p < 0.05 after Holm. ↑/=/↓ = probes more than "
            "0.5 above, within, below. loops = answers in which v2 finds under half of the words "
            "distinct. cut = stopped at the token limit.",
            style="dim",
        )
    )
    console.print()
    console.print(_domains(summary))
    console.print()
    console.print(Text(verdict(summary)))


def _difference(contrast: Contrast | None) -> Text:
    if contrast is None:
        return Text("")
    return Text(interval(contrast.effect, "[{}, {}]") + (" *" if is_shown(contrast) else ""))


def _moves(contrast: Contrast | None) -> str:
    if contrast is None:
        return ""
    effect = contrast.effect
    return f"{effect.better}/{effect.same}/{effect.worse}"


def _domains(summary: Summary) -> Table:
    """Mean score a domain and its difference under each kernel: description, not inference."""
    kernels = [a.name for a in summary.arms if a.role == "kernel" and a.name != summary.reference]
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    table.add_column("domain", no_wrap=True, max_width=22, overflow="ellipsis")
    table.add_column("n", justify="right")
    table.add_column(excerpt(summary.reference, 12), justify="right", no_wrap=True)
    for name in kernels[:3]:
        table.add_column(f"{excerpt(name, 10)} −", justify="right", no_wrap=True)
    for domain, means in summary.domains.items():
        base = means.get(summary.reference)
        row = [excerpt(domain, 22), str(summary.domain_probes[domain])]
        row.append("" if base is None else number(base))
        for name in kernels[:3]:
            own = means.get(name)
            row.append("" if own is None or base is None else number(own - base, "+"))
        table.add_row(*row)
    return table


def print_answer(console: Console, title: str, answer: str) -> None:
    """One model answer, made harmless."""
    console.print(Text(printable(title), style="bold"))
    console.print(Text(printable(answer)))
    console.print()
