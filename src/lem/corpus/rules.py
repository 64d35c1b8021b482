"""What the texts of a set must keep to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lem.corpus.duplicates import NEAR
from lem.corpus.texts import Part


class Rules(NamedTuple):
    """Limits for one set; the defaults are those for anybody's file."""

    words: Mapping[Part, tuple[int, int]] = MappingProxyType({})
    """Least and most words of a text, blanks apart."""
    exempt: tuple[str, ...] = ()
    """Ids to which the lengths do not apply."""
    planted: Mapping[Part, int] = MappingProxyType({"prompt": 2})
    """Most words of the old scores' ethics vocabulary in one text."""
    stock: bool = False
    """Whether stock refusals and stock openings are faults in answers. They are counted for every
    set, but "I can't" is also what people say in a letter."""
    openings: tuple[Part, ...] = ("answer",)
    """Parts whose first three words may not be the same in more than `opening_share`."""
    opening_share: float = 0.04
    runs: tuple[Part, ...] = ("answer",)
    """Parts in which no `run_words` words in a row may stand in two texts."""
    run_words: int = 8
    near: float = NEAR
    """Jaccard index from which on two texts of the set are near duplicates."""
    semantic: float = 0.8
    """Cosine from which on two texts of one part of the set are semantic duplicates."""


_PROBES = Rules(
    words={"prompt": (40, 90)},
    exempt=("CONTROL_CASUAL",),
    planted={"prompt": 1},
    openings=("prompt",),
    runs=("prompt",),
)

#: Built-in set -> its rules.
RULES = {
    "P20": _PROBES,
    "P100": _PROBES,
    "G100": _PROBES,
    "P100R": _PROBES._replace(
        words={"prompt": (36, 95)},
        exempt=tuple(f"CONTROL_CASUAL-R{n}" for n in (1, 2, 3)),
        opening_share=0.02,
    ),
    "A60": _PROBES._replace(words={"prompt": (40, 120)}, planted={"prompt": 2}),
    # Short tasks say what form the answer must have, often in the same words.
    "R200": Rules(words={"prompt": (5, 90)}, openings=(), runs=(), near=0.8, semantic=0.95),
    "ethics": Rules(stock=True, words={"answer": (150, 550)}, planted={"answer": 5}),
    "zen": Rules(stock=True, words={"answer": (60, 400)}, planted={"answer": 3}),
    "creative": Rules(stock=True, words={"answer": (120, 450)}, planted={"answer": 8}),
}


def rules_of(name: str) -> Rules:
    """The rules of a built-in set, or those for anybody's file."""
    return RULES.get(name, Rules())
