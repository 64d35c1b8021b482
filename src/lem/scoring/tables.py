"""Rows and summary for a terminal. Texts from files are made harmless; nothing wraps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from lem.scorers.base import Field
from lem.scoring.rows import record
from lem.scoring.shapes import Item
from lem.scoring.summary import CARD_MEANS, REPETITIVE, Group, Share, Summary
from lem.scoring.work import Scored, ScorerInfo
from lem.text import excerpt, number

_CONDITION, _NUMBERS = 12, 8  # columns, in characters
_SYCOPHANCY = "sycophancy (high overlap, low gain)"


class TableSink:
    """One line an answer, the first `rows` of them.

    The widths are fixed beforehand, so that lines can be shown while scoring goes on.

    Args:
        rows: how many answers to show; 0 for all.
    """

    full = False  # rows beyond the last one shown still count in the summary

    def __init__(self, console: Console, scorers: Sequence[ScorerInfo], rows: int) -> None:
        self._console, self._scorers, self._rows = console, list(scorers), rows
        self._count = 0
        self._with_condition = False

    def add(self, item: Item, scored: Scored) -> None:
        """Show one answer, with a header above the first."""
        self._count += 1
        if self._rows and self._count > self._rows:
            return
        if self._count == 1:
            self._with_condition = item.condition is not None
            self._show(self._line("id", "condition", "words", "lang", [s.name for s in self._fit]))
        cells = record(item, scored)
        values = [cell(cells[s.name][s.headline]) for s in self._fit]
        words, language = cells["text"]["words"], cells["text"]["language"]
        name = "" if item.id is None else str(item.id)
        self._show(self._line(name, item.condition or "", str(words), str(language), values))

    def close(self) -> None:
        """Say what was not shown, and what the columns are."""
        if not self._count:
            return
        left = self._count - self._rows if self._rows else 0
        if left > 0:
            self._show(f"… and {left:,} more (--rows 0, or --output jsonl, shows all)")
        if len(self._fit) < len(self._scorers):
            names = ", ".join(s.name for s in self._scorers[len(self._fit) :])
            self._console.print(Text(f"… no room for {names} (--output jsonl has all scorers)"))
        self._console.print(Text("; ".join(f"{s.name} = {s.label}" for s in self._fit) + "."))
        self._show("")

    @property
    def silent(self) -> bool:
        """Whether it will show nothing more before it is closed."""
        return bool(self._rows) and self._count >= self._rows

    @property
    def _fit(self) -> list[ScorerInfo]:
        """The scorers that there is room for beside an id of at least 12 characters."""
        ends = accumulate(self._column(scorer) + 1 for scorer in self._scorers)
        return self._scorers[: max(1, sum(end <= self._room for end in ends))]

    @property
    def _room(self) -> int:
        return self._console.width - 12 - 12 - (_CONDITION + 1 if self._with_condition else 0)

    def _column(self, scorer: ScorerInfo) -> int:
        return max(_NUMBERS, min(len(scorer.name), self._room - 1))

    def _line(
        self, name: str, condition: str, words: str, language: str, values: Sequence[str]
    ) -> str:
        right = f"{words:>6} {language[:4]:4}"
        for value, scorer in zip(values, self._fit):
            right += f" {_short(value, self._column(scorer)):>{self._column(scorer)}}"
        middle = _cell(condition, _CONDITION) + " " if self._with_condition else ""
        width = max(12, self._console.width - len(right) - 1 - cell_len(middle))
        return f"{_cell(name, min(width, 40))} {middle}{right}"

    def _show(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


def print_summary(summary: Summary, console: Console) -> None:
    """A block for each scorer, a line in it for each group, then what has to be known of it."""
    for line in summary_lines(summary, console.width):
        console.print(Text(line), soft_wrap=True)
    for note in _notes(summary):
        console.print(Text(note))


def summary_lines(summary: Summary, width: int) -> Iterator[str]:
    """The tables of the summary, at most `width` wide from 80 on (but for a scorer's label)."""
    groups = list(summary.groups.values())
    room = max(8, min(30, width - 65))
    names = [_name(group, groups) for group in groups]
    for info in summary.infos:
        title = f"{info.label}: {info.name}.{info.headline}"
        yield from _joined(title, info.version, width)
        yield (
            f"{_cell('', room)} {'n':>6} {'mean':>6} {'95 %':16} {'n/a':>4} {'words':>6} "
            f"{'empty':>5} {'cut':>4} {'≠en':>4} {'loops':>5}"
        )
        for name, group in zip(names, groups):
            if cell_len(excerpt(name, width)) > room:  # a line of its own, so that it can be read
                yield _cell(name, width).rstrip()
                name = ""
            yield _group_line(name, group, info, room)
        yield ""
    for info in summary.infos:
        if any(group.scorers[info.name].card for group in groups):
            yield from _card(groups, info, width)
            yield ""


def cell(value: Field) -> str:
    """A headline as text; `n/a` where a scorer does not apply."""
    if value is None:
        return "n/a"
    return number(float(value)) if isinstance(value, int | float) else excerpt(value, _NUMBERS)


def _name(group: Group, groups: Sequence[Group]) -> str:
    """What to call a group; `all` where nothing tells groups apart."""
    return group.name if len(groups) > 1 or any(group.by.values()) else "all"


def _group_line(name: str, group: Group, info: ScorerInfo, room: int) -> str:
    sums = group.scorers[info.name]
    interval = sums.headline.interval()
    low_high = f"[{number(interval[0])}, {number(interval[1])}]" if interval else "[n < 2]"
    mean = number(sums.headline.mean) if sums.headline.n else "–"
    return (
        f"{_cell(name, room)} {sums.headline.n:>6} {mean:>6} {low_high:16} "
        f"{sums.unscored:>4} {group.words.mean:>6.0f} {_percent(group.empty):>5} "
        f"{_percent(group.truncated):>4} {_percent(group.not_english):>4} "
        f"{_percent(group.repetitive):>5}"
    )


def _card(groups: Sequence[Group], info: ScorerInfo, width: int) -> Iterator[str]:
    """The lines of the published model cards, a column for each group that there is room for."""
    label, column = len(_SYCOPHANCY), 10
    shown = groups[: max(1, (width - label) // (column + 1))]
    yield from _joined(f"{info.name}, means as on the published cards", info.version, width)
    for names in zip_longest(*(_heads(g, groups) for g in shown), fillvalue=""):
        yield _columns("", (_right(name, column) for name in names), label, column)
    sums = [g.scorers[info.name] for g in shown]
    means = [("grammar", [s.headline for s in sums])]
    means += [(name.replace("_", " "), [s.card[name] for s in sums]) for name in CARD_MEANS]
    for name, values in means:
        sign = "+" if name in ("uplift", "enrichment") else ""
        texts = (number(v.mean, sign) if v.n else "–" for v in values)
        yield _columns(name, texts, label, column)
    positive = (f"{s.positive.count}/{s.positive.of}" if s.positive.of else "–" for s in sums)
    yield _columns("positive uplift", positive, label, column)
    yield _columns(_SYCOPHANCY, (_percent(s.sycophantic) for s in sums), label, column)
    yield _columns("LEK leakage", (_percent(g.leaks) for g in shown), label, column)
    if len(shown) < len(groups):
        yield f"… no room for {len(groups) - len(shown)} more groups (--summary --json has all)"


def _heads(group: Group, groups: Sequence[Group]) -> list[str]:
    """The name of a group, a line for each fact that makes it."""
    if _name(group, groups) == "all":
        return ["all"]
    return ["(none)" if value is None else value for value in group.by.values()]


def _columns(name: str, values: Iterator[str], label: int, column: int) -> str:
    return f"{name:{label}}" + "".join(f" {value:>{column}}" for value in values)


def _notes(summary: Summary) -> Iterator[str]:
    yield (
        "95 %: t interval of the mean over answers, taken as independent. n/a: not scored. "
        f"cut: stopped at the token limit (– unknown). ≠en: not told to be English. loops: at "
        f"least {REPETITIVE:.0%} of the runs of four words said before."
    )
    if summary.resampled:
        yield "Some questions were answered more than once: the intervals are too narrow."
    scored = summary.answers - sum(summary.dropped.values())
    parts = [f"{scored:,} answer{'' if scored == 1 else 's'} scored"]
    parts += [f"{count:,} left out ({reason})" for reason, count in summary.dropped.items()]
    if summary.broken:
        parts.append(f"{summary.broken:,} broken line{'' if summary.broken == 1 else 's'} skipped")
    yield ", ".join(parts) + "."


def _percent(share: Share) -> str:
    return "–" if share.share is None else f"{share.share:.0%}"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _joined(first: str, second: str, width: int) -> list[str]:
    """Two texts on one line if there is room, else on two."""
    line = f"{first}, {second}"
    return [line] if len(line) <= width else [first + ",", second]


def _right(text: str, width: int) -> str:
    text = excerpt(text, width)
    return " " * (width - cell_len(text)) + set_cell_size(text, min(width, cell_len(text)))


def _cell(text: str, width: int) -> str:
    """A safe text in exactly `width` columns of a terminal."""
    return set_cell_size(excerpt(text, width), width)
