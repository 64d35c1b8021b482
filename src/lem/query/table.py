"""The result of a query for a terminal: columns, or one block a row where they do not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from rich.cells import cell_len, set_cell_size

from lem.query.values import plain
from lem.text import excerpt

_NARROWEST = 8  # cells that a column of text keeps when there is little room
_WIDEST = 80  # cells of a text where there is no limit of width
_GAP = 2


def lines(
    columns: Sequence[str], rows: Iterable[tuple[Any, ...]], width: int | None, limit: int
) -> Iterable[str]:
    """The lines to print; all values are made harmless.

    Args:
        width: of the terminal, in cells; None: no limit.
        limit: rows shown; 0: all.
    """
    left = iter(rows)
    shown = list(islice(left, limit)) if limit else list(left)
    more = sum(1 for _ in left)
    names = [excerpt(name, _WIDEST) for name in columns]
    right = [_numeric(row[i] for row in shown) for i in range(len(names))]
    cells = [[cell(value) for value in row] for row in shown]
    widths = _widths(names, cells, right, width)
    if widths is None:
        yield from _blocks(names, cells, width or _WIDEST)
    else:
        yield _line(names, widths, right)
        yield "  ".join("─" * w for w in widths)
        for row in cells:
            yield _line(row, widths, right)
    if more:
        yield f"… {more:,} more {'row' if more == 1 else 'rows'} (--rows 0 shows all)"
    if not shown:
        yield "0 rows"


def cell(value: Any) -> str:
    """One value as text of one line; NULL and NaN are empty."""
    value = plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return excerpt(value, _WIDEST)
    if isinstance(value, int):
        return str(value)
    return excerpt(json.dumps(value, ensure_ascii=False), _WIDEST)


def _numeric(values: Iterable[Any]) -> bool:
    known = [v for v in map(plain, values) if v is not None]
    return bool(known) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in known
    )


def _widths(
    names: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> list[int] | None:
    """Cells for each column; None where they do not fit. Numbers keep their room, texts share
    what is left."""
    wanted = [
        max(cell_len(name), *(cell_len(row[i]) for row in cells), 1) if cells else cell_len(name)
        for i, name in enumerate(names)
    ]
    if width is None:
        return wanted
    room = width - _GAP * (len(names) - 1)
    least = [w if r else min(w, _NARROWEST) for w, r in zip(wanted, right)]
    if sum(least) > room:
        return None
    spare = room - sum(least)
    widths = least
    for i in sorted(range(len(names)), key=lambda i: wanted[i]):
        open_columns = sum(wanted[j] > widths[j] for j in range(len(names)))
        if wanted[i] > widths[i]:
            given = min(wanted[i] - widths[i], math.ceil(spare / open_columns), spare)
            widths[i] += given
            spare -= given
    return widths


def _line(values: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for text, width, to_the_right in zip(values, widths, right):
        fitted = _fit(text, width)
        pad = " " * (width - cell_len(fitted))
        parts.append(pad + fitted if to_the_right else fitted + pad)
    return (" " * _GAP).join(parts).rstrip()


def _fit(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _blocks(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> Iterable[str]:
    label = min(max(map(cell_len, names)), max(_NARROWEST, width // 3))
    for number, row in enumerate(cells, 1):
        yield _fit(f"── row {number} " + "─" * width, width).rstrip("…")
        for name, text in zip(names, row):
            name = _fit(name, label)
            yield _fit(f"{name}{' ' * (label - cell_len(name))}  {text}", width).rstrip()
