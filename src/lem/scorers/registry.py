"""The scorers by name."""

from __future__ import annotations

import importlib

from lem.errors import LemError
from lem.scorers.base import Scorer

#: Name -> (module with `scorer(name, profile) -> Scorer`; profiles, the first one the default).
SCORERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "v2": ("lem.scorers.v2", ()),
    "v2-distill": ("lem.scorers.v2_distill", ()),
    "grammar": ("lem.scorers.grammar", ("head", "head_unloaded", "paper")),
    "grammar-wide": ("lem.scorers.grammar_wide", ()),
    "checks": ("lem.scorers.checks", ()),
    "reasoning": ("lem.scorers.reasoning", ("core", "likelihood")),
}


def get_scorer(spec: str) -> Scorer:
    """Return the scorer a user named as `NAME` or `NAME:PROFILE`.

    Raises:
        LemError: no such scorer or profile.
    """
    name, colon, profile = spec.partition(":")
    if name not in SCORERS:
        raise LemError(
            f"No such scorer: {spec!r}.",
            "Nothing was scored.",
            f"Choose from: {', '.join(scorer_names())}.",
        )
    module, profiles = SCORERS[name]
    if colon and profile not in profiles:
        known = f"its profiles are {', '.join(profiles)}" if profiles else "it has no profiles"
        raise LemError(
            f"The scorer {name} has no profile {profile!r}: {known}.",
            "Nothing was scored.",
            f"For example: --scorer {name}{':' + profiles[0] if profiles else ''}",
        )
    scorer: Scorer = importlib.import_module(module).scorer(spec, profile or None)
    return scorer


def scorer_names() -> list[str]:
    """Return every name `get_scorer` knows, profiles written out."""
    names: list[str] = []
    for name, (_, profiles) in SCORERS.items():
        names += [name, *(f"{name}:{profile}" for profile in profiles)]
    return names
