"""Scorers: pure functions from the text of one answer to numbers, with the evidence for them.

A scorer reads no files, knows no model and never sees how an answer was made. The names below
are those of `lem.scorers.v2`, the published style and format index; it is an index of
vocabulary and layout, not a measure of quality, truth or ethics.
"""

from lem.scorers.v2 import COUNTS, LABEL, VERSION, V2Score, evidence, score

__all__ = ["COUNTS", "LABEL", "VERSION", "V2Score", "evidence", "score"]
