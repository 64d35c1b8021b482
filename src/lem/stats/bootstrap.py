"""Bootstrap intervals of a mean: bootstrap-t and BCa, vectorised and seeded.

Sources: Efron 1987, "Better bootstrap confidence intervals"; Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", sections 12.5 (bootstrap-t) and 14.3 (BCa); Davison & Hinkley 1997,
"Bootstrap Methods and their Application", sections 5.2 and 5.3.

The values are sorted first, so that an interval does not depend on their order. Which values a
resample draws depends on n, resamples and seed alone; reports ask again and again for the same
three, so the counts are kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from lem.stats.values import Floats, Moments, as_units, moments

Interval = tuple[float, float]

LEAST = 5
"""Fewer values have at most 35 distinct resamples (n = 4): too few to find a tail of 2.5 %."""

DRAWS, FLOOR = 20_000_000, 400
"""No more draws than this are made, unless that left fewer resamples than FLOOR: above n = 5,000,
where the interval hardly differs from the t interval, 4,000 resamples become fewer."""

ROUNDING = 1e-9
"""Resampled means nearer than this to the mean, in units of the sd, are equal to it."""

BLOCK = 2**20
"""Draws held at a time (8 MB), and the largest table of counts that is kept."""


def resamples_for(n: int, asked: int) -> int:
    """How many resamples of n values are really drawn where so many are asked for."""
    return min(asked, max(DRAWS // n, FLOOR))


def bootstrap_t(
    values: Sequence[float] | Floats, *, level: float = 0.95, seed: int = 0, resamples: int = 4000
) -> Interval | None:
    """The bootstrap-t (studentized) interval of the mean.

    Args:
        values: one a unit.
        level: of the interval.
        seed: the same seed draws the same resamples.
        resamples: how many; fewer above n = 5,000, see `resamples_for`.

    Returns:
        (low, high): mean - sd/√n times the upper and lower quantile of t* = (mean* - mean) /
        (sd*/√n). None below n = 5, and where so many resamples have no spread at all that an end
        lies at infinity. Equal values give (value, value).

    Raises:
        ValueError: no values, or one that is not finite.
    """
    return bootstrap_t_of(moments(as_units(values)), level, seed, resamples)


def bca(
    values: Sequence[float] | Floats, *, level: float = 0.95, seed: int = 0, resamples: int = 4000
) -> Interval | None:
    """The bias-corrected and accelerated bootstrap interval of the mean.

    Arguments and errors are those of `bootstrap_t`.

    Returns:
        (low, high): quantiles of the resampled means at Φ(z0 + (z0 + z) / (1 - a(z0 + z))). z0 is
        the normal quantile of the share of them below the mean (half of those equal to it), and
        the acceleration a, from the jackknife, is Σd³ / (6 (Σd²)^1.5) for a mean. None below
        n = 5. Equal values give (value, value).
    """
    m = moments(as_units(values))
    if m.n < LEAST:
        return None
    if m.standard is None:
        return m.mean, m.mean
    means, _ = _resampled(m.standard, seed, resamples_for(m.n, resamples))
    below = np.mean(means < -ROUNDING) + np.mean(np.abs(means) <= ROUNDING) / 2
    z0 = float(special.ndtri(below))
    a = float((m.standard**3).sum()) / (6 * (m.n - 1) ** 1.5)
    z = z0 + float(special.ndtri((1 + level) / 2)) * np.array([-1.0, 1.0])
    ends = _quantiles(means, special.ndtr(z0 + z / (1 - a * z)))
    return _in_points(m, ends)


def bootstrap_t_of(m: Moments, level: float, seed: int, resamples: int) -> Interval | None:
    """`bootstrap_t` of values whose moments are known already."""
    if m.n < LEAST:
        return None
    if m.standard is None:
        return m.mean, m.mean
    means, spreads = _resampled(m.standard, seed, resamples_for(m.n, resamples))
    flat = spreads < 1e-6  # every value of the resample is the same, but for rounding
    t = means / np.where(flat, 1.0, spreads)
    t[flat & (means > ROUNDING)], t[flat & (means < -ROUNDING)] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):  # between two infinite ones
        ends = _quantiles(t, np.array([(1 + level) / 2, (1 - level) / 2]))
    return _in_points(m, -ends) if np.isfinite(ends).all() else None


def _in_points(m: Moments, ends: Floats) -> Interval:
    assert m.sd is not None
    return m.mean + m.sd * float(ends[0]), m.mean + m.sd * float(ends[1])


def _quantiles(sample: Floats, shares: Floats) -> Floats:
    """The (R + 1)p-th of R sorted values, interpolated: Davison & Hinkley, section 5.2."""
    return np.asarray(np.quantile(sample, shares, method="weibull"))


def _resampled(z: Floats, seed: int, resamples: int) -> tuple[Floats, Floats]:
    """Mean and sd (with n - 1) of each resample, in units of the sd of all."""
    z, n = np.sort(z), z.size
    if resamples * n <= BLOCK:
        sums = counts(n, resamples, seed) @ np.stack([z, z * z], axis=1)
    else:
        blocks = (z[drawn] for drawn in _draws(n, resamples, seed))
        parts = [[b.sum(axis=1), np.einsum("ij,ij->i", b, b)] for b in blocks]
        sums = np.concatenate([np.stack(part, axis=1) for part in parts])
    means = sums[:, 0] / n
    squares = np.maximum(sums[:, 1] - n * means * means, 0.0)
    return means, np.sqrt(squares / (n - 1))


@functools.lru_cache(maxsize=12)
def counts(n: int, resamples: int, seed: int) -> Floats:
    """How often each of n units is drawn, one row a resample. Kept: do not write to it."""
    rows = [
        np.bincount((drawn + n * np.arange(len(drawn))[:, None]).ravel(), minlength=drawn.size)
        for drawn in _draws(n, resamples, seed)
    ]
    table = np.concatenate(rows).reshape(resamples, n).astype(np.float64)
    table.setflags(write=False)
    return table


def _draws(n: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """The numbers of the units drawn, some resamples at a time."""
    rng = np.random.Generator(np.random.PCG64(seed))
    step = max(1, BLOCK // n)
    for done in range(0, resamples, step):
        yield rng.integers(n, size=(min(step, resamples - done), n))
