"""What a language model makes of the answers, for the scorers that ask for it.

Answers are read a batch at a time, before any scoring and in this process alone: the model is
the slow part and uses all cores by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from lem.scoring.shapes import Item

_BATCH = 32

Gains = Callable[[Sequence[tuple[str, str]]], list[float | None]]
"""Prompts and answers in, nats a token out; see `lem.engines.likelihood`."""


def needs_gains(scorers: Sequence[str]) -> bool:
    """Tell whether one of these scorers uses a language model's reading."""
    return any(name.endswith(":likelihood") for name in scorers)


def with_gains(items: Iterable[Item], gains: Gains) -> Iterator[Item]:
    """Add its gain to every answer whose prompt is known."""
    source = iter(items)
    while batch := list(islice(source, _BATCH)):
        asked = [i for i, item in enumerate(batch) if item.prompt]
        found = gains([(batch[i].prompt or "", batch[i].text) for i in asked])
        for i, gain in zip(asked, found, strict=True):
            batch[i] = batch[i]._replace(gain=gain)
        yield from batch
