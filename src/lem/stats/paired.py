"""The paired difference of two conditions over the same probes."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from scipy import special

Key = TypeVar("Key", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class PairedEffect:
    """Differences d = treatment - reference over n units (probes)."""

    n: int
    mean: float
    sd: float | None
    """Of the differences; None below n = 2."""
    low: float | None
    high: float | None
    """Two-sided t interval of the mean at ``level``."""
    level: float
    p: float | None
    """Two-sided paired t test; None below n = 2. Where all differences are the same number, the
    limit of vanishing noise: 1 if that number is 0, else 0."""
    d_z: float | None
    """Standardised effect mean / sd (Cohen's d for paired data); None where sd is 0 and mean is
    not."""
    median: float
    better: int
    same: int
    worse: int
    """Units beyond ± ``tie``."""
    tie: float
    sign_p: float
    """Two-sided exact sign test of better against worse."""
    mde: float | None
    """Smallest true mean difference that a test at 1 - ``level`` finds with 80 % power."""


def paired_effect(
    differences: Sequence[float], *, level: float = 0.95, tie: float = 0.5
) -> PairedEffect:
    """Describe paired differences.

    Args:
        differences: one a unit (average samples of a probe first: the probe is the unit).
        level: of the interval.
        tie: differences of at most this size count as "same".

    Raises:
        ValueError: no differences, or one that is not finite.

    Formulas: mean ± t(n-1) · sd/√n (Student 1908). Minimal detectable effect: Bloom 1995,
    "Minimum detectable effects", with t instead of normal quantiles, which matters below n = 30.
    """
    n = len(differences)
    if n == 0 or not all(map(math.isfinite, differences)):
        raise ValueError("paired_effect needs at least one finite difference")
    mean = statistics.fmean(differences)
    better = sum(d > tie for d in differences)
    worse = sum(d < -tie for d in differences)
    sd = low = high = p = d_z = mde = None
    if n > 1:
        sd = statistics.stdev(differences)
        error = sd / math.sqrt(n)
        quantile = float(special.stdtrit(n - 1, (1 + level) / 2))
        low, high = mean - quantile * error, mean + quantile * error
        mde = (quantile + float(special.stdtrit(n - 1, 0.8))) * error
        if error > 0:
            p = 2 * float(special.stdtr(n - 1, -abs(mean) / error))
            d_z = mean / sd
        else:
            p, d_z = (1.0, 0.0) if mean == 0 else (0.0, None)
    return PairedEffect(
        n=n,
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        level=level,
        p=p,
        d_z=d_z,
        median=statistics.median(differences),
        better=better,
        same=n - better - worse,
        worse=worse,
        tie=tie,
        sign_p=_sign_test(better, worse),
        mde=mde,
    )


def _sign_test(better: int, worse: int) -> float:
    """Two-sided exact binomial test with p = 1/2; ties are left out."""
    n, k = better + worse, min(better, worse)
    return min(1.0, 2 * float(special.bdtr(k, n, 0.5))) if n else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p values that hold the chance of any false positive in the family (Holm 1979).

    A None (no test possible) stays None and does not count into the family.
    """
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (p, i) in enumerate(tested):
        running = max(running, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = running
    return adjusted


def mean_by(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """Mean of the values of each key, keys in order of first sight."""
    groups: dict[Key, list[float]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: statistics.fmean(values) for key, values in groups.items()}
