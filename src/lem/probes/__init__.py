"""Probe sets: the built-in ones, and files in the published format."""

from lem.probes.load import BUILT_IN, card, load_probes
from lem.probes.union import load_union

__all__ = ["BUILT_IN", "card", "load_probes", "load_union"]
