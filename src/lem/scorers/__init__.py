"""Scorers: pure functions from the text of one answer to numbers, with the evidence for them.

One module a scorer, each with `VERSION`, `LABEL`, `score` and `evidence`. A scorer reads no files,
knows no model and never sees how an answer was made.
"""

from lem.scorers import v2

__all__ = ["v2"]
