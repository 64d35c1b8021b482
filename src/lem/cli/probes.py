"""``lem probes``: look at probe sets."""

from __future__ import annotations

import click

from lem.errors import LemError
from lem.probes import BUILT_IN, load_probes
from lem.text import excerpt, printable


@click.group(name="probes")
def command() -> None:
    """List, show and check probe sets."""


@command.command("list")
def list_sets() -> None:
    """List the built-in probe sets."""
    for name in BUILT_IN:
        probes = load_probes(name)
        domains = dict.fromkeys(p.domain for p in probes)
        click.echo(f"{name:6} {len(probes):4} probes  {', '.join(domains)}")


@command.command(epilog="\b\nExamples:\n  lem probes show P20\n  lem probes show P20 P07")
@click.argument("probes", metavar="SET|FILE")
@click.argument("probe", required=False)
def show(probes: str, probe: str | None) -> None:
    """Print a probe set, or the one PROBE whose id begins so."""
    loaded = load_probes(probes)
    if probe is None:
        for p in loaded:
            click.echo(f"{excerpt(p.id, 32):32} {excerpt(p.domain, 14):14} {excerpt(p.prompt, 30)}")
        return
    found = [p for p in loaded if p.id.startswith(probe)]
    if not found:
        raise LemError(
            f"{probes} has no probe whose id begins with {probe!r}.",
            "Nothing was shown.",
            f"See all of them with: lem probes show {probes}",
        )
    for p in found:
        click.echo(printable(f"{p.id} ({p.domain}; {p.source})\n\n{p.prompt}\n"))


@command.command(epilog="\b\nExample:\n  lem probes check my-probes.jsonl")
@click.argument("probes", metavar="SET|FILE")
def check(probes: str) -> None:
    """Check a probe file: format, ids, lengths. Exits with 2 and the place of the first fault."""
    loaded = load_probes(probes)
    words = sorted(len(p.prompt.split()) for p in loaded)
    clusters = len({p.cluster for p in loaded})
    click.echo(
        f"{len(loaded)} probes in {len({p.domain for p in loaded})} domains, {clusters} clusters; "
        f"{words[0]} to {words[-1]} words (median {words[len(words) // 2]}). No faults found."
    )
