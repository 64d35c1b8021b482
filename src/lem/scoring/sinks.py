"""Where scored answers go: JSON Lines, CSV and Parquet, to a stream or a new file."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lem.errors import LemError, missing_extra
from lem.scorers.base import Field
from lem.scoring.rows import Kind, flat, record
from lem.scoring.shapes import Item
from lem.scoring.work import Scored, Worker
from lem.text import dump_json, replacing

_PARQUET_ROWS = 4096  # in a row group; what is held before it is written
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

# What a terminal obeys, what reorders text, and what some readers take for the end of a line.
# JSON itself escapes only the characters below U+0020.
_HARMFUL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Sink(Protocol):
    """Takes scored answers one by one."""

    @property
    def full(self) -> bool:
        """Whether it wants no more, so that scoring can stop."""

    def add(self, item: Item, scored: Scored) -> None: ...

    def close(self) -> None: ...


class JsonlSink:
    """One record a line, written at once.

    Args:
        out: open for bytes; it stays open.
        with_file: name the input in each record.
        worker: where given, each record also has the spans behind the scores, as `evidence`:
            scorer -> part -> [[start, end], ...], in characters of the answer.
    """

    full = False

    def __init__(self, out: BinaryIO, with_file: bool, worker: Worker | None = None) -> None:
        self._out, self._with_file, self._worker = out, with_file, worker

    def add(self, item: Item, scored: Scored) -> None:
        """Write one line."""
        value = record(item, scored, self._with_file)
        if self._worker is not None:
            value["evidence"] = self._worker.evidence(item)
        self._out.write(json_line(value))
        self._out.flush()

    def close(self) -> None:
        """Nothing is left to write."""


def json_line(value: dict[str, Any], indent: int | None = None) -> bytes:
    """An object as UTF-8; lone surrogates and control characters are written as JSON escapes."""
    text = _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", dump_json(value, indent))
    return (text + "\n").encode("utf-8", "backslashreplace")


class CsvSink:
    """A header and one line an answer (RFC 4180, but with line feeds), UTF-8."""

    full = False

    def __init__(self, out: BinaryIO, columns: Sequence[str]) -> None:
        self._columns = columns
        self._text = io.TextIOWrapper(
            out, encoding="utf-8", errors="backslashreplace", newline="", write_through=True
        )
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(columns)

    def add(self, item: Item, scored: Scored) -> None:
        """Write one line."""
        cells = flat(item, scored)
        self._writer.writerow([csv_cell(cells.get(name)) for name in self._columns])

    def close(self) -> None:
        """Write what is left; the stream below stays open."""
        self._text.detach()


class ParquetSink:
    """Columns of text, doubles and flags; unknown is null. Written in row groups."""

    full = False

    def __init__(self, out: BinaryIO, columns: dict[str, Kind]) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise missing_extra("pyarrow (which writes Parquet)", "parquet") from None
        kinds = {
            "text": pyarrow.string(),
            "number": pyarrow.float64(),
            "whole": pyarrow.int64(),
            "flag": pyarrow.bool_(),
        }
        self._arrow, self._columns = pyarrow, columns
        self._schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer = pyarrow.parquet.ParquetWriter(out, self._schema)
        self._rows: list[dict[str, Field]] = []

    def add(self, item: Item, scored: Scored) -> None:
        """Take one answer."""
        cells = flat(item, scored)
        self._rows.append(
            {name: parquet_cell(cells.get(name), kind) for name, kind in self._columns.items()}
        )
        if len(self._rows) >= _PARQUET_ROWS:
            self._write()

    def close(self) -> None:
        """Write what is left and the footer."""
        self._write()
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the stream, which has to be open still; what was not closed is no file."""
        with suppress(OSError):
            self._writer.close()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
            self._rows = []


def csv_cell(value: Field) -> str:
    """A cell as text; None is empty. Control characters other than tabs and line ends become
    U+FFFD. A text that a spreadsheet would run as a formula gets an apostrophe in front (numbers
    do not)."""
    if isinstance(value, str):
        value = _CONTROL.sub("\ufffd", value)
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else repr(value)


def parquet_cell(value: Field, kind: Kind) -> Field:
    """A value as its column holds it; a lone surrogate is written as an escape."""
    if value is None:
        return None
    if kind == "text":
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if kind == "flag":
        return bool(value)
    return int(value) if kind == "whole" else float(value)


def check_target(path: Path, inputs: Sequence[Path], force: bool) -> None:
    """Refuse a file that must not be written, before any work is done.

    Raises:
        LemError: it is one of the inputs, it exists and `force` is not given, or it is no file.
    """
    stopped = "It would be overwritten; nothing was scored."
    if not path.exists():
        return
    if any(path.samefile(source) for source in inputs):
        raise LemError(f"--to {path} is one of the inputs.", stopped, "Choose another name.")
    if not path.is_file():
        raise LemError(
            f"--to {path} is not a file.", "Nothing was scored.", "Name a file: scores.jsonl"
        )
    if not force:
        raise LemError(
            f"--to {path} exists.", stopped, "Choose another name, or add --force to replace it."
        )


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only when everything is in it; else nothing of it is left.

    Raises:
        LemError: the folder cannot be written, or the disk is full.
    """
    path = path.resolve()  # a link keeps pointing to where it did
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        try:
            with replacing(path) as file:
                yield file
        except BaseException:
            with suppress(OSError):  # somebody else may use the new folders by now
                for folder in missing:
                    folder.rmdir()
            raise
    except OSError as e:
        raise LemError(
            f"Cannot write {path}: {e.strerror or e}.",
            "Scoring stopped, and no file of that name was made.",
            "Free some space or choose a folder that can be written.",
        ) from None


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Standard output, for bytes.

    Raises:
        LemError: it is closed, or what it goes to is full.
        BrokenPipeError: its reader has left.
    """
    if sys.stdout is None:
        raise LemError("Standard output is closed.", "Nothing was scored.", "Add --to FILE.")
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        # What is still buffered would fail again when Python ends.
        with suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise LemError(
            f"Cannot write to standard output: {e.strerror or e}.",
            "Scoring stopped; what was written before is not complete.",
            "Free some space, or write elsewhere with --to FILE.",
        ) from None
