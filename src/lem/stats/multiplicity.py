"""Adjusted p values of many tests. A None (no test possible) stays None and does not count."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values that hold the chance of any false positive in the family.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure". Valid whatever the
    dependence between the tests.
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values that hold the expected share of false ones among those called positive.

    Source: Benjamini & Hochberg 1995, "Controlling the false discovery rate". Valid for independent
    tests and for positively dependent ones (Benjamini & Yekutieli 2001).
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 1.0
    for rank, (p, i) in reversed(list(enumerate(tested, start=1))):
        running = min(running, len(tested) / rank * p)
        adjusted[i] = running
    return adjusted
