"""The options about how a model is run, the same for every verb that runs one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_ENGINES = ("llama.cpp", "transformers", "mlx")

_WHICH = {
    "base_urls": click.option(
        "--base-url",
        "base_urls",
        multiple=True,
        metavar="URL",
        help="Address of the server for openai:NAME (key: LEM_API_KEY); repeat it for several "
        "servers with the same model.",
    ),
    "engine": click.option(
        "--engine",
        type=click.Choice(_ENGINES),
        help="What runs the model. Default: what suits its files and this machine.",
    ),
    "adapter": click.option(
        "--adapter", metavar="FOLDER|ID", help="A LoRA adapter to put on top of the model."
    ),
    "revision": click.option(
        "--revision", metavar="REV", help="Branch, tag or commit of a model from the hub."
    ),
    "thinking": click.option(
        "--thinking/--no-thinking",
        default=None,
        help="Tell a model that has the switch to reason first, or not to. Default: its own.",
    ),
    "device": click.option(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (transformers). Default: the best."
    ),
    "dtype": click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="What to compute in (transformers, mlx). Default: what the hardware is fast in.",
    ),
    "quantise": click.option(
        "--quantise",
        type=click.Choice(["nf4", "int8"]),
        help="Load the weights in 4 or 8 bits (transformers, with bitsandbytes).",
    ),
    "workers": click.option(
        "--workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Processes that share the work: one for each GPU, or shares of the cores.",
    ),
    "parallel": click.option(
        "--parallel", type=click.IntRange(min=1), help="Answers generated together."
    ),
    "threads": click.option(
        "--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores."
    ),
}

#: Those that say how this machine is used, and not what is measured.
MACHINE = ("workers", "parallel", "threads")
#: Those that are enough to find and read a model without running it.
READING = ("base_urls", "engine", "adapter", "revision")


def model_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add options about how a model is run to a command, which gets them as one argument,
    ``options`` (an `EngineOptions`).

    Args:
        names: of those options; none: all.
    """
    chosen = names or tuple(_WHICH)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_options(*arguments: Any, **given: Any) -> Any:
            from lem.engines import EngineOptions

            mine = {name: given.pop(name) for name in chosen}
            return command(*arguments, options=EngineOptions(**mine), **given)

        decorated: Callable[..., Any] = with_options
        for name in reversed(chosen):
            decorated = _WHICH[name](decorated)
        return decorated

    return decorate
