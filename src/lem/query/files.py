"""Results and views as JSON Lines, CSV and Parquet: to a stream, or to a file that takes its name
when everything is in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

from lem.errors import LemError
from lem.query import arrow
from lem.query.values import flat, plain
from lem.scoring.sinks import csv_cell, json_line

Format = Literal["parquet", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("parquet", "jsonl", "csv")

_NOTHING = "Nothing was written."


def format_of(path: Path) -> Format:
    """The format that the ending of a name stands for.

    Raises:
        LemError: none.
    """
    for form in FORMATS:
        if path.suffix.lower() == f".{form}":
            return form
    raise LemError(
        f"The name {path.name!r} does not say which format is meant.",
        _NOTHING,
        f"Give it one of the endings {', '.join('.' + form for form in FORMATS)}.",
    )


def write_jsonl(out: BinaryIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """One object a row. Returns the number of rows."""
    count = 0
    for row in rows:
        out.write(json_line({name: plain(v) for name, v in zip(columns, row, strict=True)}))
        count += 1
    return count


def write_csv(out: BinaryIO, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """A header and one line a row; what a spreadsheet would run is made harmless. Returns the
    number of rows."""
    text = io.TextIOWrapper(
        out, encoding="utf-8", errors="backslashreplace", newline="", write_through=True
    )
    count = 0
    try:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([csv_cell(name) for name in columns])
        for row in rows:
            writer.writerow([csv_cell(flat(value)) for value in row])
            count += 1
    finally:
        text.detach()  # the stream below stays open
    return count


def write_parquet(out: BinaryIO, schema: Any, batches: Iterable[Any]) -> int:
    """Row groups of at most `lem.query.arrow.BATCH` rows, compressed with zstd. Returns the number
    of rows.

    Raises:
        LemError: Parquet has no such type.
    """
    pyarrow = arrow.pyarrow()
    try:
        writer = pyarrow.parquet.ParquetWriter(out, schema, compression="zstd")
    except (pyarrow.ArrowNotImplementedError, pyarrow.ArrowInvalid) as e:
        raise LemError(
            f"Parquet cannot hold a column of this result: {e}.", _NOTHING, "Cast it to VARCHAR."
        ) from None
    count = 0
    try:
        for batch in batches:
            writer.write_batch(batch)
            count += batch.num_rows
    except BaseException:
        with suppress(OSError):
            writer.close()
        raise
    writer.close()
    return count


def as_tuples(batches: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    """Rows of record batches as Python values."""
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        yield from zip(*columns, strict=True)
