"""``lem kernel``: look at kernels and their controls before anything is run with them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from lem.cli.modelling import READING, model_options
from lem.conditions import all_conditions
from lem.errors import LemError
from lem.kernels import BUILT_IN, ethics_words, load_kernel, parse_kernel_option
from lem.kernels.load import data_text
from lem.records import Condition, Kernel
from lem.text import dump_json, excerpt, printable

if TYPE_CHECKING:
    from lem.engines import EngineOptions

_KERNELS = click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME=PATH",
    help="A kernel of your own; repeatable. Default: LEK-1 as json and txt.",
)
_SEED = click.option("--seed", type=int, default=0, show_default=True, help="Of the controls.")


@click.group(name="kernel")
def command() -> None:
    """Show and check kernels and the controls made from them."""


@command.command(epilog="\b\nExamples:\n  lem kernel show\n  lem kernel show placebo-json")
@click.argument("name", required=False)
@_KERNELS
@_SEED
def show(name: str | None, kernels: tuple[str, ...], seed: int) -> None:
    """Print the kernel text of condition NAME, or the list of all conditions."""
    arms = _arms(kernels, seed)
    if name is None:
        for arm in arms:
            text = arm.kernel.text if arm.kernel else ""
            click.echo(
                f"{arm.name:18} {arm.role:9} {len(text.encode()):6} bytes  {excerpt(text, 36)}"
            )
        return
    chosen = next((a for a in arms if a.name == name), None)
    if chosen is None:
        raise LemError(
            f"There is no condition {name!r}.",
            "Nothing was shown.",
            f"Choose from: {', '.join(a.name for a in arms)}.",
        )
    click.echo(printable(chosen.kernel.text) if chosen.kernel else "(no kernel)")


@command.command("card")
def show_card() -> None:
    """Print the card of the built-in kernel and its controls."""
    click.echo(data_text("LEK-1.md").rstrip())


@command.command(
    epilog="\b\nExamples:\n  lem kernel check\n"
    "  lem kernel check --kernel mine=kernel.txt --model model.gguf"
)
@_KERNELS
@_SEED
@click.option(
    "--model", help="Count tokens with this model and check that the prompts fit its context."
)
@model_options(*READING)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(
    kernels: tuple[str, ...], seed: int, model: str | None, options: EngineOptions, as_json: bool
) -> None:
    """Check kernels and their controls: sizes, hashes, ethics words, tokens.

    Exits with 2 if a kernel does not fit the context of --model, if a placebo holds ethics words,
    or if it differs from its kernel by more than 5 % in length (in tokens with --model, else in
    words, digits and marks).
    """
    findings = _findings(_arms(kernels, seed), model, options)
    if as_json:
        click.echo(dump_json(findings, indent=1))
    else:
        unit = "tokens" if model else "pieces"
        click.echo(
            f"{'kernel':16} {'bytes':>6} {'words':>6} {unit:>6} {'ethics':>6} "
            f"{'vs kernel':>9}  sha256"
        )
        for f in findings:
            off = "" if f["length_vs_kernel"] is None else f"{f['length_vs_kernel']:+.1%}"
            click.echo(
                f"{f['name']:16} {f['bytes']:6} {f['words']:6} {f['length']:6} "
                f"{f['ethics_words']:6} {off:>9}  {f['sha256'][:12]}"
            )
    broken = [f"{f['name']}: {p}" for f in findings for p in f["problems"]]
    if broken:
        raise LemError(
            "; ".join(broken),
            "Such an arm could not be run, or would not control for what it is meant to.",
            "Shorten the kernel, try another --seed, or remove unusual markup from it.",
        )


def _arms(kernels: tuple[str, ...], seed: int) -> list[Condition]:
    named = [parse_kernel_option(k) for k in kernels] or list(BUILT_IN.items())
    return all_conditions([load_kernel(name, where) for name, where in named], seed)


def _findings(
    arms: list[Condition], model: str | None, options: EngineOptions
) -> list[dict[str, Any]]:
    from lem.kernels.controls import pieces
    from lem.runs.plan import PLACEBO_TOLERANCE

    measure = pieces
    engine = None
    if model:
        from lem.engines import resolve

        say = dataclasses.replace(options, say=lambda text: click.echo(text, err=True))
        engine = resolve(model, say)
        tokenize = engine.tokenize
        measure = lambda text: len(tokenize(text) or [])  # noqa: E731
    try:
        with_kernel = [a for a in arms if a.kernel]
        lengths = {a.name: measure(a.kernel.text) for a in with_kernel if a.kernel}
        context = engine.info.context_length if engine else None
        return [
            _finding(a, a.kernel, lengths, PLACEBO_TOLERANCE, context)
            for a in with_kernel
            if a.kernel
        ]
    finally:
        if engine:
            engine.close()


def _finding(
    arm: Condition,
    kernel: Kernel,
    lengths: dict[str, int],
    tolerance: float,
    context: int | None,
) -> dict[str, Any]:
    original = lengths.get(arm.control_of or "")
    off = lengths[arm.name] / original - 1 if original else None
    placebo = arm.name.startswith("placebo-")
    words = ethics_words(kernel.text)
    problems = []
    if context is not None and lengths[arm.name] >= context:
        problems.append(f"has {lengths[arm.name]} tokens, the model's context {context}")
    if placebo and words:
        problems.append(f"holds ethics words ({', '.join(sorted(set(words))[:5])})")
    if placebo and off is not None and abs(off) > tolerance:
        problems.append(f"is {off:+.1%} long against its kernel")
    return {
        "name": arm.name,
        "source": kernel.source,
        "bytes": len(kernel.text.encode()),
        "words": len(kernel.text.split()),
        "length": lengths[arm.name],
        "ethics_words": len(words),
        "length_vs_kernel": off,
        "sha256": kernel.sha256,
        "problems": problems,
    }
