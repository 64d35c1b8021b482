"""The effect at equal length: longer answers often score higher whatever they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np
from scipy import special

from lem.stats.values import Floats, as_units

LEAST = 8
"""Below this many units a slope is a guess."""


@dataclasses.dataclass(frozen=True)
class LengthAdjusted:
    """Paired score differences, as they would be if both answers were of one length."""

    n: int
    effect: float
    """The intercept: the fitted score difference where the lengths are equal."""
    low: float
    high: float
    level: float
    p: float
    """Two-sided, of an effect of 0."""
    slope: float
    """Points a unit of log length: an answer e = 2.718 times as long scores so much more."""
    slope_low: float
    slope_high: float
    mean_shift: float
    """Mean difference of log length; the raw mean difference is effect + slope · mean_shift."""
    extrapolated: bool
    """A length difference of 0 lies outside the central 90 % of those observed: (nearly) all pairs
    differ in length one way, and the effect at equal length is the straight line's guess."""


def length_adjusted(
    differences: Sequence[float] | Floats,
    length_differences: Sequence[float] | Floats,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> LengthAdjusted | None:
    """Regress paired score differences on paired differences of log length.

    Least squares; the errors are HC3 (MacKinnon & White 1985, "Some heteroskedasticity-consistent
    covariance matrix estimators": squared residuals over (1 - leverage)²), the intervals take t
    quantiles with n - 2 degrees of freedom.

    What it is: the idea of length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475),
    the score difference one would predict if lengths did not differ, with a line for their
    logistic model. What it is not: a causal decomposition. The condition may cause the length, and
    the length the score: length is a mediator, and anything else that goes with long answers (more
    reasons, more mistakes) is taken out with it. Show it beside the raw effect, never instead
    (rule R9).

    Args:
        differences: scores, treatment - reference.
        length_differences: log length of the treatment's answer - that of the reference's.
        clusters: one a difference; both are averaged within a cluster, which is then the unit.
        level: of the intervals.

    Returns:
        None below n = 8, where the length differences do not vary, or where the line hangs on one
        unit alone (its leverage is 1, and HC3 is not defined).

    Raises:
        ValueError: as `paired_effect`, for either, and unequal numbers.
    """
    y, x = as_units(differences, clusters), as_units(length_differences, clusters)
    if y.size != x.size:
        raise ValueError(f"{y.size} score differences, but {x.size} length differences")
    n, shift = y.size, float(x.mean())
    if n < LEAST or np.ptp(x) <= 1e-12 * np.abs(x).max():
        return None
    apart = (x - shift) / np.ptp(x)
    squares = float(apart @ apart)
    leverage = 1 / n + apart**2 / squares
    if leverage.max() > 1 - 1e-9:
        return None
    slope = float(apart @ (y - y.mean())) / squares / float(np.ptp(x))
    effect = float(y.mean()) - slope * shift
    # Each estimate is a weighted sum of y; the rows hold its weights.
    tilt = apart / squares / float(np.ptp(x))
    weights = np.stack([1 / n - shift * tilt, tilt])
    kept = (y - effect - slope * x) / (1 - leverage)
    errors = np.sqrt(((weights * kept) ** 2).sum(axis=1))
    half = float(special.stdtrit(n - 2, (1 + level) / 2)) * errors
    outer = np.quantile(x, [0.05, 0.95])
    return LengthAdjusted(
        n=n,
        effect=effect,
        low=effect - float(half[0]),
        high=effect + float(half[0]),
        level=level,
        p=_two_sided(effect, float(errors[0]), n - 2),
        slope=slope,
        slope_low=slope - float(half[1]),
        slope_high=slope + float(half[1]),
        mean_shift=shift,
        extrapolated=bool(outer[0] > 0 or outer[1] < 0),
    )


def _two_sided(estimate: float, error: float, df: int) -> float:
    if error == 0:
        return float(estimate == 0)
    return 2 * float(special.stdtr(df, -abs(estimate) / error))
