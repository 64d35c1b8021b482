"""Rank correlation with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from lem.stats.rank_tests import doubled_ranks
from lem.stats.values import Floats, as_units

LEAST = 4
"""Pairs; the interval divides by n - 3."""


class Correlation(NamedTuple):
    """Spearman's rho with its interval and two-sided p."""

    rho: float
    low: float
    high: float
    p: float


def spearman(
    x: Sequence[float] | Floats, y: Sequence[float] | Floats, *, level: float = 0.95
) -> Correlation | None:
    """Correlation of the ranks; ties share their mean rank.

    Interval: Fisher's z with error √((1 + rho²/2) / (n - 3)), Bonett & Wright 2000, "Sample size
    requirements for estimating Pearson, Kendall and Spearman correlations". Where rho is ±1, whose
    z is infinite, the inner end is that of the nearest rho that n ranks can have (two neighbours
    swapped), 1 - 12 / (n(n² - 1)): ours. p: t = rho √((n-2) / (1-rho²)) with n - 2 degrees of
    freedom, as scipy has it.

    Args:
        x, y: values of the same units in the same order.

    Returns:
        None below n = 4, or where x or y is one constant.

    Raises:
        ValueError: unequal numbers, none, or a value that is not finite.
    """
    a, b = doubled_ranks(as_units(x)), doubled_ranks(as_units(y))
    n = a.size
    if n != b.size:
        raise ValueError(f"{n} values, but {b.size} partners")
    u, v = a - a.mean(), b - b.mean()
    if n < LEAST or not u.any() or not v.any():
        return None
    rho = float(np.clip(u @ v / math.sqrt(float(u @ u) * float(v @ v)), -1.0, 1.0))
    perfect = 1 - abs(rho) < 1e-12
    rho = round(rho) if perfect else rho
    inner = rho * (1 - 12 / (n * (n * n - 1))) if perfect else rho
    error = math.sqrt((1 + inner**2 / 2) / (n - 3))
    half = float(special.ndtri((1 + level) / 2)) * error
    low, high = math.tanh(math.atanh(inner) - half), math.tanh(math.atanh(inner) + half)
    if perfect:
        low, high = (low, 1.0) if rho > 0 else (-1.0, high)
        return Correlation(float(rho), low, high, 0.0)
    t = abs(rho) * math.sqrt((n - 2) / (1 - rho * rho))
    return Correlation(rho, low, high, 2 * float(special.stdtr(n - 2, -t)))
