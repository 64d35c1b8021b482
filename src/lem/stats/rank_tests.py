"""Tests and intervals from order alone: they hold for any shape of distribution.

Sources: Wilcoxon 1945, "Individual comparisons by ranking methods"; Conover 1999, "Practical
Nonparametric Statistics", sections 3.2 (quantiles), 3.4 (sign test) and 5.7 (signed ranks).
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from lem.stats.values import Floats

EXACT = 200
"""Differences up to which every pattern of signs is counted (5 ms); beyond, the sum is normal."""

ROUNDING = 12
"""Decimals, in units of the largest difference, that are told apart: 5.1 - 3.0 ties with 2.1."""


def sign_test(better: int, worse: int) -> float:
    """Two-sided exact binomial test with p = 1/2; ties are left out; 1 where nothing is left."""
    n, k = better + worse, min(better, worse)
    return min(1.0, 2 * float(special.bdtr(k, n, 0.5))) if n else 1.0


def wilcoxon(differences: Floats) -> float:
    """Two-sided p of the signed-rank test: are the differences symmetric about 0?

    Zeros are left out, as Wilcoxon did; ties get their mean rank. Up to `EXACT` differences p is
    exact given the ranks, ties included (scipy and R turn to the normal curve where there are
    ties); beyond, it is normal with correction for ties and, like R's, for continuity.

    Returns:
        1 where all differences are zero, as `sign_test` does: there is no evidence.
    """
    largest = float(np.abs(differences).max())
    if largest == 0:
        return 1.0
    rounded = np.round(differences / largest, ROUNDING)
    moved = rounded[rounded != 0]
    ranks = doubled_ranks(np.abs(moved))
    smaller = min(int(ranks[moved > 0].sum()), int(ranks[moved < 0].sum()))
    if moved.size <= EXACT:
        return min(1.0, 2 * _chance_of_at_most(smaller, ranks))
    # In halves of a rank: the mean is Σr/2, the variance Σr²/4, the continuity correction 1.
    away = float(ranks.sum()) / 2 - smaller - 1
    spread = math.sqrt(float(np.square(ranks, dtype=np.float64).sum())) / 2
    return min(1.0, 2 * float(special.ndtr(-max(0.0, away) / spread)))


def doubled_ranks(values: Floats) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Twice the rank of each value, ties sharing their mean rank: whole numbers from 2 on."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    doubled: np.ndarray[tuple[int], np.dtype[np.int64]] = (2 * last - count + 1)[place]
    return doubled


def _chance_of_at_most(limit: int, ranks: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    """Chance that the ranks with a plus sum to at most this, every pattern of signs alike."""
    chance = np.zeros(limit + 1)
    chance[0] = 1.0
    for rank in ranks.tolist():
        shifted = np.zeros_like(chance)
        shifted[rank:] = chance[: max(0, limit + 1 - rank)]
        chance = (chance + shifted) / 2
    return float(chance.sum())


def median_interval(values: Floats, level: float) -> tuple[float, float] | None:
    """Between two order statistics: the k-th smallest and the k-th largest value.

    k is the largest with P(Binomial(n, 1/2) < k) at most (1 - level) / 2, so that the coverage is
    at least ``level`` whatever the distribution.

    Returns:
        None where there is no such k: below n = 6 for 95 %.
    """
    n, tail = values.size, (1 - level) / 2
    if special.bdtr(0, n, 0.5) > tail:
        return None
    k = int(special.bdtrik(tail, n, 0.5)) + 2  # above the answer, then down to it
    while special.bdtr(k - 1, n, 0.5) > tail:
        k -= 1
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[n - k])
