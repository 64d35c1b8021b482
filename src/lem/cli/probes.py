"""``lem probes``: look at probe sets, check them, make rephrasings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lem.cli.checking import check_options, run_check
from lem.cli.modelling import model_options
from lem.cli.reading import show_text
from lem.errors import LemError
from lem.probes import BUILT_IN, card, load_probes
from lem.text import excerpt

if TYPE_CHECKING:
    from lem.corpus.rephrase import Candidate
    from lem.engines import EngineOptions


@click.group(name="probes")
def command() -> None:
    """List, show, check and rephrase probe sets."""


@command.command("list")
def list_sets() -> None:
    """List the built-in probe sets."""
    for name in BUILT_IN:
        what = card(name).split("\n\n")[1].replace("\n", " ")
        click.echo(f"{name:6} {excerpt(what, 72)}")


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
        text = f"{p.id} ({p.domain}; {p.source})\n\n{p.prompt}\n"
        if p.notice:
            text += "\nA good answer notices:\n" + "".join(f"- {n}\n" for n in p.notice)
        if p.check:
            text += f"\nChecked as {p.check.kind}: {p.check.value}\n"
        show_text(text)


@command.command("card", epilog="\b\nExample:\n  lem probes card G100")
@click.argument("name", metavar="SET")
def show_card(name: str) -> None:
    """Print the card of a built-in set: purpose, making, counts, limits."""
    click.echo(card(name).rstrip())


@command.command(
    epilog="\b\nExamples:\n  lem probes check\n  lem probes check my-probes.jsonl --against P100"
)
@click.argument("probes", nargs=-1, metavar="[SET|FILE]...")
@click.option(
    "--against",
    multiple=True,
    metavar="SET|FILE",
    help="Further probe sets to compare with; repeatable. Default: the built-in ones.",
)
@check_options
def check(
    probes: tuple[str, ...],
    against: tuple[str, ...],
    semantic: bool | None,
    embedder: Path | None,
    as_json: bool,
) -> None:
    """Check probe sets; without a name, the built-in ones.

    Format and ids; exact, near and semantic duplicates within and across sets; lengths; openings;
    word sequences in two texts; words that the old scores count; names of axioms; reading level;
    balance. Exits with 2 if a rule is broken, with the place of each fault.
    """
    from lem.corpus import SetOf

    names = probes or tuple(BUILT_IN)
    sets = [SetOf(_name(name), load_probes(name)) for name in names]
    others = [SetOf(_name(n), load_probes(n)) for n in against or BUILT_IN if n not in names]
    run_check(sets, others, semantic, embedder, as_json)


@command.command(
    epilog="\b\nExamples:\n  lem probes rephrase P20 --model model.gguf --output more.json\n"
    "  lem probes rephrase my.json --model openai:qwen3 --base-url http://127.0.0.1:8080/v1 \\\n"
    "      --samples 4 --output more.json"
)
@click.argument("probes", metavar="SET|FILE")
@click.option("--model", default="smollm2-135m", show_default=True, help="As for lem ab.")
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help="Probe file to write."
)
@click.option(
    "--variants",
    default="stakeholder,urgency,register",
    show_default=True,
    metavar="A,B,…",
    help="What to change; one rephrasing each.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Tries for each rephrasing.",
)
@click.option("--temperature", type=click.FloatRange(min=0), default=0.8, show_default=True)
@click.option("--max-tokens", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N probes.")
@click.option(
    "--known",
    multiple=True,
    metavar="SET|FILE",
    help="Rephrasings there are; new ones must differ from them. Repeatable.",
)
@click.option(
    "--semantic/--no-semantic",
    default=None,
    help="Check that the meaning is kept. Default: if the semantic extra is installed.",
)
@click.option("--run", "folder", type=click.Path(path_type=Path), help="Run folder of the tries.")
@model_options()
@click.option("--json", "as_json", is_flag=True, help="Print every candidate as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def rephrase(
    probes: str,
    model: str,
    output: Path,
    variants: str,
    samples: int,
    temperature: float,
    max_tokens: int,
    seed: int,
    limit: int | None,
    known: tuple[str, ...],
    semantic: bool | None,
    folder: Path | None,
    options: EngineOptions,
    as_json: bool,
    quiet: bool,
) -> None:
    """Let a model write rephrasings of probes, and keep those that pass the filters.

    Kept is what still asks the same (cosine of embeddings), no longer says the same (common word
    sequences), and is a question like a probe: one paragraph, of like length, no refusal, no name
    of an axiom, no added ethics vocabulary. OUTPUT is a probe file with the originals' clusters;
    an existing file is never replaced. Tries are kept in a run folder, and the same command
    goes on after a stop. Read what was kept before you use it: the filters are no reader.
    """
    import dataclasses
    import math
    import sys

    from rich.console import Console

    from lem.cli.checking import embedder as embedding_model
    from lem.corpus import rephrase as room
    from lem.records import Sampling
    from lem.report.progress import BarWatcher, LogWatcher
    from lem.text import dump_json, is_there, write_atomic

    if is_there(output):
        raise _taken(output, "nothing was generated")
    if not math.isfinite(temperature):
        raise LemError(
            f"--temperature {temperature} is no temperature.",
            "Nothing was generated.",
            "Give a number from 0 on, for example 0.8.",
        )
    everything = load_probes(probes)
    originals = everything[:limit]
    there = [p for name in known for p in load_probes(name)]
    meaning = embedding_model(semantic, None)
    errors = Console(stderr=True, highlight=False)
    bar = BarWatcher(errors) if errors.is_terminal else LogWatcher(sys.stderr)
    responses, place = room.generate(
        originals,
        [v.strip() for v in variants.split(",") if v.strip()],
        model,
        Sampling(max_tokens=max_tokens, temperature=temperature, seed=seed),
        samples,
        folder=folder,
        options=dataclasses.replace(
            options, say=lambda t: None if quiet else click.echo(t, err=True)
        ),
        watcher=None if quiet else bar,
        command=sys.argv,
    )
    kept, candidates = room.select(originals, responses, [p.prompt for p in there], meaning)
    found = room.Rephrasings(kept, candidates, place)
    if kept:
        if is_there(output):  # it has come while the model was writing
            raise _taken(output, f"nothing was written, and the candidates are kept in {place}")
        taken = [p.id for p in (*everything, *there, *load_probes("P100R"))]
        write_atomic(output, room.as_probes(kept, taken, model))
    if as_json:
        click.echo(dump_json([_candidate(c) for c in candidates], indent=1))
        return
    click.echo(
        f"{len(kept)} rephrasings kept of {len(candidates)} candidates"
        + (f" → {output}" if kept else "; nothing was written")
    )
    for reason, count in found.rejections().items():
        click.echo(f"  {count:4}  {reason}")
    if meaning is None:
        click.echo("Meaning was not checked (pip install 'lem-lab[semantic]').", err=True)
    click.echo(f"candidates: {place}", err=True)


def _taken(output: Path, stopped: str) -> LemError:
    return LemError(
        f"{output} is already there.",
        f"Rephrasings are never overwritten; {stopped}.",
        "Name another --output.",
    )


def _candidate(c: Candidate) -> dict[str, Any]:
    return {**c._asdict(), "probe": c.probe.id}


def _name(where: str) -> str:
    """How a set is called in the report."""
    built_in = where.upper() in BUILT_IN and not Path(where).exists()
    return where.upper() if built_in else Path(where).stem
