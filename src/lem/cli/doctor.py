"""``lem doctor``: what this machine can run, and what to install."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import click

from lem.text import dump_json, printable

_WIDTH = 80


@click.command(epilog="\b\nExamples:\n  lem doctor\n  lem doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(as_json: bool) -> None:
    """Say what this machine can run, and what to install.

    Looks at cores, memory, GPUs, engines, caches and keys (whether they are set, never what they
    are). Exits with 0 if at least one engine can run, else with 2.
    """
    from lem.engines.doctor import examine

    report = examine()
    if as_json:
        click.echo(dump_json(report, indent=1))
    else:
        for label, text in _rows(report):
            click.echo(_line(label, text))
    if not report["can_run"]:
        sys.exit(2)


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    memory, cache, hub = report["memory"], report["cache"], report["hub"]
    limit = f", limit {_gb(memory['limit'])}" if memory["limit"] else ""
    rows = [
        ("machine", f"{report['system']}, Python {report['python']}"),
        ("cores", f"{report['cores']} usable"),
        ("memory", f"{_gb(memory['free'])} free of {_gb(memory['total'])}{limit}"),
    ]
    if report["cpu_bf16"] is not None:
        state = "supported" if report["cpu_bf16"] else "not supported; float32 is used"
        rows.append(("bfloat16", f"on the CPU {state}"))
    for gpu in report["gpus"]:
        size = f", {_gb(gpu['free'])} free of {_gb(gpu['memory'])}" if gpu["memory"] else ""
        rows.append(("GPU", f"{gpu['device']}: {gpu['name']}{size}"))
    if not report["gpus"]:
        rows.append(("GPU", "none that torch can use"))
    for engine, found in report["engines"].items():
        versions = ", ".join(f"{name} {v}" for name, v in found["versions"].items())
        if not found["installed"]:
            state = "not installed"
        else:
            state = f"{'runs' if found['loads'] else 'does not load'} ({versions})"
        rows.append((engine, state))
    built_in = report["built_in"]
    state = "prepared" if built_in["prepared"] else "not prepared yet"
    rows.append(("built-in", state + (", and as a folder" if built_in["converted"] else "")))
    rows.append(("cache", f"{cache['path']}: {_gb(cache['size'])} used, {_gb(cache['free'])} free"))
    if hub["installed"]:
        rows.append(("hub", "offline (HF_HUB_OFFLINE)" if hub["offline"] else "allowed"))
    keys = [name for name, is_set in report["keys"].items() if is_set]
    rows.append(("keys", ", ".join(keys) or "none set"))
    rows += [("advice", text) for text in report["advice"]]
    return rows


def _gb(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.1f} GB"


def _line(label: str, text: str) -> str:
    return textwrap.fill(
        printable(text),
        _WIDTH,
        initial_indent=f"{label + ':':14}",
        subsequent_indent=" " * 14,
        break_on_hyphens=False,
        break_long_words=False,
    )
