"""Showing what a scorer counted: the answer with its evidence marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rich.console import Console
from rich.text import Text

from lem.scorers.base import Field, Span
from lem.scoring.shapes import Item
from lem.scoring.tables import cell
from lem.scoring.work import Scored, ScorerInfo, Worker
from lem.text import excerpt, printable

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")
SHOWN = 20_000
"""Characters of an answer that are shown; --output jsonl has the evidence in all of it."""

_STYLES = tuple(_COLOURS) + tuple(f"reverse {colour}" for colour in _COLOURS)


class ExplainSink:
    """Shows the evidence of the first `rows` answers, then wants no more.

    Args:
        rows: how many answers to show; 0 for all.
    """

    def __init__(
        self, console: Console, worker: Worker, scorers: Sequence[ScorerInfo], rows: int
    ) -> None:
        self._console, self._worker, self._scorers = console, worker, list(scorers)
        self._rows, self._count = rows, 0

    @property
    def full(self) -> bool:
        """Whether it has shown all it was asked for."""
        return bool(self._rows) and self._count >= self._rows

    def add(self, item: Item, scored: Scored) -> None:
        """Show one answer."""
        self._count += 1
        print_evidence(item, scored, self._worker.evidence(item), self._scorers, self._console)

    def close(self) -> None:
        """Nothing is left to show."""


def print_evidence(
    item: Item,
    scored: Scored,
    evidence: Mapping[str, Mapping[str, Sequence[Span]]],
    scorers: Sequence[ScorerInfo],
    console: Console,
) -> None:
    """The answer once for each scorer, its evidence in colour, or in brackets where there is no
    colour; then every part of the score with the number of its spans."""
    told = ("" if item.id is None else str(item.id), item.condition, item.model)
    name = " · ".join(part for part in told if part)
    console.print(Text(f"══ {excerpt(name, 100)}", style="bold"))
    for info in scorers:
        fields, spans = scored.scores[info.name], evidence[info.name]
        value = cell(fields[info.headline])
        title = f"── {info.name}: {info.label} = {value} ({info.version})"
        console.print(Text(title, style="bold"))
        styles = {part: _STYLES[i % len(_STYLES)] for i, part in enumerate(_used(spans))}
        console.print(_marked(item.text, spans, styles, bool(console.color_system)))
        console.print(_legend(fields, spans, styles))
        console.print()


def segments(
    text: str, spans: Mapping[str, Sequence[Span]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Cut a text wherever a span begins or ends.

    Yields:
        (piece, names of the parts whose spans cover it, in the order of `spans`). Together the
        pieces are the text, so overlapping spans need no nesting.
    """
    order = {name: i for i, name in enumerate(spans)}
    changes: dict[int, list[tuple[str, int]]] = {0: [], len(text): []}
    for name, found in spans.items():
        for start, end in found:
            if start < end:
                changes.setdefault(start, []).append((name, 1))
                changes.setdefault(end, []).append((name, -1))
    open_spans: dict[str, int] = {}
    for here, there in pairwise(sorted(changes)):
        for name, step in changes[here]:
            open_spans[name] = open_spans.get(name, 0) + step
            if not open_spans[name]:
                del open_spans[name]
        yield text[here:there], tuple(sorted(open_spans, key=order.__getitem__))


def _marked(
    text: str, spans: Mapping[str, Sequence[Span]], styles: Mapping[str, str], colour: bool
) -> Text:
    """The text with its evidence marked; white space that counts is shown as ¶ or ␣."""
    marked = Text()
    done = 0
    for piece, parts in segments(text, spans):
        safe = printable(piece[: SHOWN - done])
        done += len(piece)
        if parts and not piece.strip():
            after = "\n" * safe.count("\n")
            safe = "¶" * len(after) or "␣"
        else:
            after = ""
        if not parts:
            marked.append(safe)
        elif colour:
            style = styles[parts[0]]
            marked.append(safe, f"{style} underline" if len(parts) > 1 else style)
        else:
            marked.append(f"[{'+'.join(parts)}: {safe}]")
        marked.append(after)
        if done >= SHOWN and len(text) > SHOWN:
            marked.append(f"\n… {len(text) - SHOWN:,} more characters (--output jsonl has it all)")
            break
    return marked


def _legend(
    fields: Mapping[str, Field], spans: Mapping[str, Sequence[Span]], styles: Mapping[str, str]
) -> Text:
    """Each field of the score, then the spans shown, each in its colour."""
    legend = Text("parts:   ")
    legend.append(", ".join(f"{name} {_value(value)}" for name, value in fields.items()))
    legend.append("\nmarked:  ")
    for part, style in styles.items():
        legend.append(f"{part} {len(spans[part])}", style)
        legend.append("  ")
    return legend if styles else legend.append("nothing")


def _value(value: Field) -> str:
    if value is None:
        return "n/a"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _used(spans: Mapping[str, Sequence[Span]]) -> list[str]:
    return [name for name, found in spans.items() if found]
