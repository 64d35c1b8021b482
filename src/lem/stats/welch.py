"""Two unpaired samples: what a comparison costs that does not pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from scipy import special

from lem.stats.values import Floats, as_units, moments


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """Mean of one sample minus that of another, with no pairs."""

    n_a: int
    n_b: int
    mean: float
    low: float | None
    high: float | None
    level: float
    df: float | None
    p: float | None
    """Two-sided. low, high, df and p are None where a sample has one value; where neither has any
    spread, p is 1 for equal means and else 0, and df is None."""


def unpaired(
    a: Sequence[float] | Floats, b: Sequence[float] | Floats, *, level: float = 0.95
) -> Unpaired:
    """Welch's t test and interval of mean(a) - mean(b).

    For samples without common probes, and to show what pairing gains. Source: Welch 1947, "The
    generalization of Student's problem when several different population variances are involved".

    Raises:
        ValueError: a sample with no values, or a value that is not finite.
    """
    x, y = moments(as_units(a)), moments(as_units(b))
    mean = x.mean - y.mean
    if x.error is None or y.error is None:
        return Unpaired(x.n, y.n, mean, None, None, level, None, None)
    larger = max(x.error, y.error)
    if larger == 0:
        return Unpaired(x.n, y.n, mean, mean, mean, level, None, float(mean == 0))
    u, v = (x.error / larger) ** 2, (y.error / larger) ** 2
    error = larger * (u + v) ** 0.5
    df = (u + v) ** 2 / (u * u / (x.n - 1) + v * v / (y.n - 1))
    half = float(special.stdtrit(df, (1 + level) / 2)) * error
    p = 2 * float(special.stdtr(df, -abs(mean) / error))
    return Unpaired(x.n, y.n, mean, mean - half, mean + half, level, df, p)
