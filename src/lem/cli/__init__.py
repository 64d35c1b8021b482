"""The command line: one small file a verb. It parses, calls and prints.

This module loads click and nothing else of weight, so that ``lem --help`` answers at once; a verb
is imported when it is asked for.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import Any

import click

#: Verb -> (module, or module:name of the command in it; one line of help).
VERBS = {
    "ab": ("lem.cli.ab", "A/B-test a model: no kernel, JSON kernel, text kernel, controls."),
    "bench": ("lem.cli.bench", "Run a whole matrix of models from a recipe, and its report."),
    "report": ("lem.cli.report", "Report what answers show: terminal, HTML page, Markdown."),
    "compare": ("lem.cli.compare", "Compare models or conditions on the probes they share."),
    "score": ("lem.cli.score", "Score answers from run folders, JSONL or text files."),
    "show": ("lem.cli.show", "Show the answers of a run side by side."),
    "query": ("lem.cli.query", "Answer SQL over any number of runs and A/B files."),
    "export": ("lem.cli.export", "Write runs as Parquet, JSONL or CSV tables."),
    "kernel": ("lem.cli.kernel", "Show and check kernels and the controls made from them."),
    "probes": ("lem.cli.probes", "List, show, check and rephrase probe sets."),
    "lessons": ("lem.cli.lessons", "List, show, check and split lessons (training data)."),
    "sign": ("lem.cli.sign:sign", "Put a kernel and a signature around prompts."),
    "unsign": ("lem.cli.sign:unsign", "Recover signed prompts exactly."),
    "models": ("lem.cli.models", "List, show, fetch and verify models."),
    "doctor": ("lem.cli.doctor", "Say what this machine can run, and what to install."),
    "judge": ("lem.cli.judge", "Let a language model judge answers by rubrics."),
}


class Verbs(click.Group):
    """A group whose commands are imported only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name or "command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from lem import __version__

        click.echo(f"lem {__version__}")
        ctx.exit()


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli() -> None:
    """Measure whether a chat model's ethical reasoning sits in its prompt, in its weights, or
    nowhere.

    \b
    Examples:
      lem ab                                  the built-in model on the P20 probes
      lem ab --model model.gguf --controls    your model, with placebo controls
      lem show runs/NAME P01                  the answers to one probe, side by side
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors a user can act on exit with code 2, Ctrl-C with 130."""
    from lem.errors import LemError

    try:
        cli.main(args=arguments, prog_name="lem", standalone_mode=False)
    except LemError as e:
        _complain(str(e))
        sys.exit(e.exit_code)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has left; there is nobody to tell
        sys.exit(1)
    except OSError as e:
        if e.errno != errno.ENOSPC and e.filename is None:
            raise
        place = "" if e.filename is None else f"{e.filename}: "
        fix = (
            "Free some space." if e.errno == errno.ENOSPC else "Check the path and its permissions."
        )
        _complain(f"{place}{e.strerror}.\n  so:  Not everything was written.\n  fix: {fix}")
        sys.exit(2)


def _complain(text: str) -> None:
    from lem.text import printable

    if sys.stderr is None:  # closed by whoever started us
        return
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    colour: dict[str, Any] = {"fg": "red"} if sys.stderr.isatty() and not plain else {}
    click.echo(click.style("error: ", **colour) + printable(text), err=True)
