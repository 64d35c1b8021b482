"""Texts to be read: broken between words on a terminal, as they are for a pipe or a file."""

from __future__ import annotations

import shutil
import sys
import textwrap

import click

from lem.text import printable

_WIDEST = 100  # columns; longer lines are hard to read


def show_text(text: str) -> None:
    """Print an untrusted text, its own line ends kept."""
    text = printable(text)
    if sys.stdout.isatty():
        width = min(_WIDEST, shutil.get_terminal_size().columns)
        text = "\n".join(_line(line, width) for line in text.split("\n"))
    click.echo(text)


def _line(line: str, width: int) -> str:
    options = {"break_long_words": False, "break_on_hyphens": False, "replace_whitespace": False}
    indent = "  " if line.startswith("- ") else ""
    # Code and tables keep their blanks: a line that fits is not touched.
    fits = len(line) <= width
    return line if fits else textwrap.fill(line, width, subsequent_indent=indent, **options)  # type: ignore[arg-type]
