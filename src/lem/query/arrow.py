"""Rows as Arrow batches of a fixed schema. The only module here that imports pyarrow."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from lem.errors import missing_extra
from lem.query.rows import Row
from lem.query.views import Kind, View

BATCH = 8192
"""Rows in a batch, and in a row group of a file: what is held before it is passed on."""


def pyarrow() -> Any:
    """The package.

    Raises:
        LemError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow (which holds the views)", "query") from None
    return pyarrow


def schema(view: View) -> Any:
    """The Arrow schema of a view, with what each field means as its metadata."""
    arrow = pyarrow()
    text = arrow.string()
    arm = [(name, text) for name in ("name", "role", "control_of", "kernel_sha256", "placement")]
    types: dict[Kind, Any] = {
        "text": text,
        "number": arrow.float64(),
        "whole": arrow.int64(),
        "flag": arrow.bool_(),
        "time": arrow.timestamp("us"),
        "arms": arrow.list_(arrow.struct(arm)),
    }
    fields = [
        arrow.field(c.name, types[c.kind], metadata={"description": c.doc}) for c in view.columns
    ]
    return arrow.schema(fields, metadata={"lem.view": view.name, "description": view.doc})


def batches(view: View, rows: Iterable[Row]) -> Iterator[Any]:
    """The rows of a view as record batches, made as they are asked for."""
    arrow, shape = pyarrow(), schema(view)
    left = iter(rows)
    while held := list(islice(left, BATCH)):
        columns = [
            arrow.array([_CELLS[c.kind](row.get(c.name)) for row in held], field.type)
            for c, field in zip(view.columns, shape)
        ]
        yield arrow.record_batch(columns, schema=shape)


def table(view: View, rows: Iterable[Row]) -> Any:
    """All rows of a view."""
    return pyarrow().Table.from_batches(batches(view, rows), schema(view))


def _text(value: Any) -> str | None:
    """As UTF-8 holds it: a lone surrogate is written as an escape."""
    if value is None:
        return None
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _number(value: Any) -> float | None:
    """A finite number."""
    if not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _whole(value: Any) -> int | None:
    """A whole number of 64 bits."""
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if fits else None


def _flag(value: Any) -> bool | None:
    return None if value is None else bool(value)


def _time(value: Any) -> datetime.datetime | None:
    return value if isinstance(value, datetime.datetime) else None


def _arms(value: Any) -> list[dict[str, str | None]]:
    return [{name: _text(v) for name, v in arm.items()} for arm in value or []]


_CELLS: dict[Kind, Callable[[Any], Any]] = {
    "text": _text,
    "number": _number,
    "whole": _whole,
    "flag": _flag,
    "time": _time,
    "arms": _arms,
}
