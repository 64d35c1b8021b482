"""Probe sets: the built-in ones, and files in the published format."""

from lem.probes.load import BUILT_IN, load_probes

__all__ = ["BUILT_IN", "load_probes"]
