"""Corpus checks: duplicates, contamination, style; making rephrasings."""

from lem.corpus.check import CheckReport, Finding, SetOf, apart, check
from lem.corpus.contamination import contamination
from lem.corpus.duplicates import duplicates
from lem.corpus.semantic import Embedder, available

__all__ = [
    "CheckReport",
    "Embedder",
    "Finding",
    "SetOf",
    "apart",
    "available",
    "check",
    "contamination",
    "duplicates",
]
