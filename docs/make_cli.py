"""Write docs/cli.md from the command line's own help.

python docs/make_cli.py          write it
python docs/make_cli.py --check  fail if it is out of step
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lem.cli import cli

TARGET = Path(__file__).with_name("cli.md")


def pages(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """(full name, help text) of a command and everything below it."""
    context = click.Context(command, info_name=name, terminal_width=80, max_content_width=80)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            child = command.get_command(context, verb)
            if child:
                yield from pages(child, f"{name} {verb}")


def text() -> str:
    """The whole page."""
    parts = ["# The command line\n\nMade from `lem --help` by `make docs`.\n"]
    parts += [f"## {name}\n\n```\n{help_text}\n```\n" for name, help_text in pages(cli, "lem")]
    return "\n".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(TARGET.read_text(encoding="utf-8") != text() and "docs/cli.md: run `make docs`")
    TARGET.write_text(text(), encoding="utf-8")
