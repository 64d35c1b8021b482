"""Many systems on the same units: who can be told apart from whom, and how sure is each rank?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from lem.stats.bootstrap import counts, resamples_for
from lem.stats.letters import compact_letters
from lem.stats.multiplicity import holm
from lem.stats.paired import t_interval
from lem.stats.values import Floats, moments


@dataclasses.dataclass(frozen=True)
class RankedSystem:
    """One system (a column of the scores)."""

    n: int
    """Units it has a score for."""
    mean: float
    low: float | None
    high: float | None
    """t interval of the mean; None below n = 2."""
    rank: float
    """1 has the highest mean; equal means share their mean rank."""
    rank_low: float
    rank_high: float
    """Bootstrap percentile interval of the rank, units drawn whole for all systems."""
    letters: str
    """Systems that share a letter are not told apart: no test of the two is significant. ``a`` goes
    to the best."""


@dataclasses.dataclass(frozen=True)
class Ranking:
    """Systems in the order of the columns given."""

    systems: tuple[RankedSystem, ...]
    p: tuple[tuple[float | None, ...], ...]
    """Holm-adjusted p of the paired t test of each two; None on the diagonal and for pairs with
    fewer than two units in common."""
    level: float
    resamples: int
    """Resamples behind the rank intervals; fewer than asked for above 5,000 units."""


def rank_systems(
    scores: npt.ArrayLike, *, level: float = 0.95, seed: int = 0, resamples: int = 4000
) -> Ranking:
    """Rank systems by their mean, and say which cannot be told apart.

    All pairs are compared by paired t tests on the units both have, adjusted together by Holm 1979;
    letters by Piepho 2004 (`letters`). Means of systems with missing scores are over other units:
    the tests compare like with like, the ranks do not.

    Where systems are close, a percentile interval of a rank is on the narrow side, as ranks are not
    smooth (Hall & Miller 2009, "Using the bootstrap to quantify the authority of an empirical
    ranking"); read it beside the letters.

    Args:
        scores: units × systems, NaN where a system has no score for a unit. Higher is better.
        level: of all intervals; tests are at 1 - level.
        seed: of the bootstrap.
        resamples: of the bootstrap, at least 1.

    Raises:
        ValueError: not a two-dimensional table, an infinite score, or a system without any score.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0 or np.isinf(table).any():
        raise ValueError("needs a table of units × systems, finite or NaN")
    if not (~np.isnan(table)).any(axis=0).all():
        raise ValueError("a system has no score at all")
    adjusted = _pairwise(table)
    found = [moments(column[~np.isnan(column)]) for column in table.T]
    ends = [t_interval(m, level) for m in found]
    ranks = _ranks(np.array([[m.mean for m in found]]))[0]
    drawn = resamples_for(len(table), resamples)
    lows, highs = _rank_intervals(table, level, seed, drawn)
    apart = [[p is not None and p < 1 - level for p in row] for row in adjusted]
    letters = compact_letters(apart, np.argsort(ranks, kind="stable").tolist())
    systems = (
        RankedSystem(m.n, m.mean, low, high, float(rank), float(first), float(last), text)
        for m, (low, high), rank, first, last, text in zip(found, ends, ranks, lows, highs, letters)
    )
    return Ranking(tuple(systems), adjusted, level, drawn)


def _pairwise(table: Floats) -> tuple[tuple[float | None, ...], ...]:
    """Holm-adjusted p of all pairs, as a symmetric table."""
    k = table.shape[1]
    pairs: list[tuple[int, int]] = []
    raw: list[float | None] = []
    for i in range(k - 1):
        apart = table[:, i : i + 1] - table[:, i + 1 :]
        pairs += [(i, j) for j in range(i + 1, k)]
        raw += _t_tests(apart)
    adjusted: list[list[float | None]] = [[None] * k for _ in range(k)]
    for (i, j), p in zip(pairs, holm(raw)):
        adjusted[i][j] = adjusted[j][i] = p
    return tuple(map(tuple, adjusted))


def _t_tests(apart: Floats) -> Sequence[float | None]:
    """`paired.t_test` of each column, NaN left out, all at once."""
    here = ~np.isnan(apart)
    n = here.sum(axis=0)
    filled = np.where(here, apart, 0.0)
    many = np.maximum(n, 2)
    mean = filled.sum(axis=0) / np.maximum(n, 1)
    squares = np.where(here, (apart - mean) ** 2, 0.0).sum(axis=0)
    error = np.sqrt(squares / (many - 1) / many)
    noise = 1e-12 * np.abs(filled).max(axis=0, initial=0.0)  # rounding only: no spread
    still = error <= noise
    t = np.abs(mean) / np.where(still, 1.0, error)
    unmoved = np.where(np.abs(mean) <= noise, 1.0, 2.0 ** (1 - many))
    p = np.where(still, unmoved, 2 * special.stdtr(many - 1, -t))
    return [float(value) if count > 1 else None for value, count in zip(p, n)]


def _rank_intervals(
    table: Floats, level: float, seed: int, resamples: int
) -> tuple[Floats, Floats]:
    """Outer percentiles of each system's rank over resamples of the units."""
    here = ~np.isnan(table)
    filled = np.where(here, table, 0.0)
    step = max(1, 2**20 // len(table))
    parts = []
    for done in range(0, resamples, step):
        # The first block's seed is the caller's, so that small tables share the kept counts.
        drawn = counts(len(table), min(step, resamples - done), seed + done)
        present = drawn @ here
        means = np.where(present > 0, drawn @ filled / np.maximum(present, 1), np.nan)
        parts.append(_ranks(means))
    tails = [(1 - level) / 2, (1 + level) / 2]
    lows, highs = np.nanquantile(np.concatenate(parts), tails, axis=0, method="inverted_cdf")
    return lows, highs


def _ranks(means: Floats) -> Floats:
    """Rank of each column in each row, 1 the highest, ties shared; NaN stays NaN and counts not."""
    ranks = np.empty_like(means)
    for j in range(means.shape[1]):
        own = means[:, j : j + 1]
        ranks[:, j] = 0.5 + (means > own).sum(axis=1) + (means == own).sum(axis=1) / 2
    ranks[np.isnan(means)] = np.nan
    return ranks
