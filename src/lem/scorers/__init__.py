"""Scorers: pure functions from the text of one answer to numbers, with the evidence for them.

One module a scorer, each with `VERSION`, `LABEL`, `score` and `evidence`; `get_scorer` gives any of
them by name in the shape they all share. A scorer reads no files, knows no model and never sees
how an answer was made.
"""

from lem.scorers import v2
from lem.scorers.base import Answer, Scorer
from lem.scorers.registry import get_scorer, scorer_names

__all__ = ["Answer", "Scorer", "get_scorer", "scorer_names", "v2"]
