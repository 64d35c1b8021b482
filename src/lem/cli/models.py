"""``lem models``: what models there are, what they are, fetching them, checking their files."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lem.errors import LemError
from lem.text import dump_json, excerpt, printable

if TYPE_CHECKING:
    from lem.engines.locate import Found

_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
_REVISION = click.option("--revision", metavar="REV", help="Branch, tag or commit on the hub.")
_WIDTH = 80


@click.group(name="models")
def command() -> None:
    """List, show, fetch and verify models."""


@command.command("list", epilog="\b\nExamples:\n  lem models list\n  lem models list --json")
@_JSON
def list_models(as_json: bool) -> None:
    """List the models on this machine: built in, converted, and from the hub."""
    from lem.engines.catalogue import entries

    found = list(entries())
    if as_json:
        click.echo(dump_json([entry.to_json() for entry in found], indent=1))
        return
    for entry in found:
        what = "" if entry.format == "gguf" else f"{entry.format} "
        kind = f"{what}{entry.quantisation}"
        size = _size(entry.size) if entry.path else "not here"
        name = Path(entry.name).name if entry.kind == "converted" else entry.name
        click.echo(f"{excerpt(name, 36):36} {excerpt(kind, 21):21} {size:>8}  ", nl=False)
        click.echo(excerpt(entry.licence or "no licence", 10))
        click.echo(_wrapped("  runs on: ", _abilities(entry.engines, short=True)))


@command.command(
    epilog="\b\nExamples:\n  lem models show smollm2-135m\n  lem models show my-folder --json"
)
@click.argument("model")
@_REVISION
@click.option("--adapter", metavar="FOLDER|ID", help="Together with this adapter.")
@_JSON
def show(model: str, revision: str | None, adapter: str | None, as_json: bool) -> None:
    """Show what MODEL is: files, template, stop tokens, licence, what runs it.

    MODEL is what --model takes, if it has files of its own and is on this machine.
    """
    from lem.engines.portrait import portrait

    made = portrait(_here(model, revision, adapter))
    click.echo(dump_json(made, indent=1) if as_json else "\n".join(_lines(made)))


@command.command(
    epilog="\b\nExamples:\n  lem models pull smollm2-135m\n  lem models pull Qwen/Qwen3-0.6B\n"
    "  lem models pull bartowski/SmolLM2-135M-Instruct-GGUF:Q8_0"
)
@click.argument("model")
@_REVISION
@_JSON
def pull(model: str, revision: str | None, as_json: bool) -> None:
    """Fetch MODEL: the built-in one, or one from the hub. Prints where it is.

    Of a model on the hub only safetensors or one GGUF file, the tokenizer and descriptions are
    fetched: no code, no pickles. What is there already is kept, and the newest state is asked for.
    """
    from lem.engines import builtin, hub

    def say(text: str) -> None:
        click.echo(printable(text), err=True)

    if model.lower() == builtin.NAME:
        path = builtin.built_in_model(say)
    elif hub.is_id(model) and not Path(model).exists():
        path = hub.pull(model, revision, say)
    else:
        raise LemError(
            f"{model} is not the name of a model that can be fetched.",
            "Nothing was fetched.",
            f"Give {builtin.NAME}, or the name of one on the hub: org/name, org/name:Q4_K_M.",
        )
    if as_json:
        click.echo(dump_json({"model": model, "path": str(path), "commit": hub.commit_of(path)}))
    else:
        click.echo(str(path))


@command.command(
    epilog="\b\nExamples:\n  lem models verify smollm2-135m\n  lem models verify my-folder"
)
@click.argument("model")
@_REVISION
@_JSON
def verify(model: str, revision: str | None, as_json: bool) -> None:
    """Read every file of MODEL again and compare its hash with the one that is known.

    Known are the hashes of the hub, those recorded when a file was converted, and those of files
    that were run before and not touched since. Of other files the form is checked. Exits with 2 if
    a file is not what it should be.
    """
    from lem.engines.verification import verify as check

    found = _here(model, revision, None)
    assert found.path is not None
    places = [found.path, *([found.adapter.path] if found.adapter else [])]
    tell = lambda name: None if as_json else click.echo(f"reading {excerpt(name)}", err=True)  # noqa: E731
    checks = [c for place in places for c in check(place, tell)]
    bad = [c for c in checks if not c.is_good]
    if as_json:
        told = {"path": str(found.path), "files": [c.to_json() for c in checks], "good": not bad}
        click.echo(dump_json(told, indent=1))
    else:
        for c in checks:
            known = f"hash known from: {c.against}" if c.verdict == "same" else c.against
            click.echo(
                f"{c.verdict:8} {excerpt(c.name, 30):30} {_size(c.size):>8}  {excerpt(known, 29)}"
            )
    if bad:
        first = bad[0]
        raise LemError(
            f"{len(bad)} of {len(checks)} files are not what they should be: "
            f"{excerpt(', '.join(c.name for c in bad), 100)}. {first.name}: "
            + (_SOURCES.get(first.against, first.against).removesuffix(".") + "."),
            "Answers of this copy would not be the model's.",
            "Delete the damaged files and fetch them again.",
        )


def _here(model: str, revision: str | None, adapter: str | None) -> Found:
    """A model that is on this machine.

    Raises:
        LemError: it is not, or is no model with files.
    """
    from lem.engines.locate import NotFetched, locate
    from lem.engines.resolve import is_remote

    if is_remote(model):
        raise LemError(
            f"{model} has no files on this machine.",
            "There is nothing to look at.",
            "Name a model that runs in this process: a built-in one, a file, a folder or a hub id.",
        )
    try:
        found = locate(model, revision=revision, adapter=adapter, fetch=False)
    except NotFetched as missing:
        raise _not_here(str(missing)) from None
    if found.path is None:
        raise _not_here(model)
    return found


def _not_here(model: str) -> LemError:
    return LemError(
        f"{model} is not on this machine yet.",
        "There is nothing to look at.",
        f"Fetch it: lem models pull {model}",
    )


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _abilities(engines: dict[str, str], *, short: bool) -> str:
    """Which engines run it; with the reasons of the others."""
    groups: dict[str, list[str]] = {}
    for engine, able in engines.items():
        groups.setdefault(able, []).append(engine)
    parts = [", ".join(groups.pop("yes"))] if "yes" in groups else []
    if "after conversion" in groups:
        parts.append(f"{', '.join(groups.pop('after conversion'))} (converted once)")
    if short and parts:
        return "; ".join(parts)
    reasons = [f"not {', '.join(e)} ({printable(why)})" for why, e in groups.items()]
    return "; ".join([*parts, *reasons])


def _wrapped(label: str, text: str) -> str:
    width = min(_WIDTH, shutil.get_terminal_size().columns)
    return textwrap.fill(
        " ".join(printable(text).split()),
        width,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_on_hyphens=False,
    )


def _lines(made: dict[str, Any]) -> list[str]:
    """A portrait for people."""
    rows: list[tuple[str, str]] = [("model", f"{made['name']}: {made['kind']}")]
    rows.append(("path", made["path"]))
    if made["commit"]:
        rows.append(("hub commit", made["commit"]))
    adapter = made.get("adapter")
    if adapter:
        base = f", trained on {adapter['base']}" if adapter["base"] else ""
        rows.append(("adapter", f"{adapter['path']} ({adapter['format']}{base})"))
    for label, key in (("architecture", "architecture"), ("stored", "quantisation")):
        if made.get(key):
            rows.append((label, str(made[key])))
    if made.get("parameters"):
        rows.append(("parameters", f"{made['parameters'] / 1e6:,.0f} million"))
    rows.append(("size", _size(made["size"])))
    if made.get("context"):
        rows.append(("context", f"{made['context']:,} tokens"))
    rows.append(("licence", made["licence"] or "not stated"))
    if "family" in made:
        remark = f" ({made['family_remark']})" if made["family_remark"] else ""
        rows.append(("template of", (made["family"] or "no known family") + remark))
    rows += _template_rows(made.get("template"))
    if made.get("output"):
        rows.append(("answers", _OUTPUT.get(made["output"], made["output"])))
    if made.get("stop_tokens"):
        rows.append(("stops at", ", ".join(f"{t} ({i})" for t, i in made["stop_tokens"].items())))
    rows.append(("runs on", _abilities(made["engines"], short=False)))
    rows += [("note", note) for note in made.get("notes", [])]
    rows += [("problem", problem) for problem in made["problems"]]
    lines = [_wrapped(f"{label + ':':14}", text) for label, text in rows]
    lines.append("files:")
    for file in made["files"]:
        digest = (file["sha256"] or "")[:16]
        lines.append(f"  {excerpt(file['name'], 42):42} {_size(file['size']):>8}  {digest}")
    return lines


_SOURCES = {
    "hub": "its hash is not the hub's",
    "conversion": "its hash is not the one recorded when it was converted",
    "first use": "its hash is not the one recorded when it was first used",
}
_OUTPUT = {
    "plain": "plain text",
    "think": "reasoning between tags, then the answer",
    "harmony": "harmony channels",
}
_ROLES = {
    "supported": "in a block of its own",
    "folded": "put in front of the user's text",
    "ignored": "left out",
    "refused": "refused (the kernel goes in front of the user's text)",
    "repeated": "written more than once",
}


def _template_rows(facts: dict[str, Any] | None) -> list[tuple[str, str]]:
    if not facts:
        return []
    rows = [("system role", _ROLES.get(facts["system"], facts["system"]))]
    if facts["default_system"]:
        rows.append(("its default", f"“{excerpt(facts['default_system'], 200)}”"))
    if facts["dated"]:
        rows.append(("date", f"written, and frozen at {facts['frozen_date']}"))
    if facts.get("thinking_switch"):
        rows.append(("thinking", "has a switch (--thinking, --no-thinking)"))
    return rows
