"""Partial pooling: groups (domains, model families) borrow strength from each other.

A group's mean is pulled towards the mean of all, the more the fewer values it has and the less the
groups differ. Everything here is the normal random-effects model, fitted by REML.

Sources: Searle, Casella & McCulloch 1992, "Variance Components", chapters 6 and 7 (REML, BLUP);
Prasad & Rao 1990, "The estimation of the mean squared error of small-area estimators", and Datta &
Lahiri 2000 (what not knowing tau adds to the error of a pooled mean); Knapp & Hartung 2003,
"Improved tests for a random effects meta-regression"; Röver, Knapp & Friede 2015 (its factor is
never below 1); Higgins & Thompson 2002 (I²); Higgins, Thompson & Spiegelhalter 2009 (prediction
interval).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy import special

from lem.stats.values import Floats, as_units, moments
from lem.stats.variance import grouped


@dataclasses.dataclass(frozen=True)
class PooledGroup:
    """One group, alone and among the others."""

    key: Hashable
    n: int
    mean: float
    """Of its own values, or its own estimate."""
    pooled: float
    """Pulled towards the mean of all (the empirical best linear unbiased predictor)."""
    low: float | None
    high: float | None
    """Interval of the group's true mean; it counts in that mu and tau are estimated. None where
    there is one group."""


@dataclasses.dataclass(frozen=True)
class GroupPooling:
    """Values in groups: value = mu + group (sd tau) + value within group (sd sigma)."""

    mu: float
    low: float | None
    high: float | None
    """Interval of mu, t with groups - 1 degrees of freedom; None where there is one group."""
    level: float
    tau: float
    """sd between groups; 0 where it cannot be told from sigma (no group has two values)."""
    sigma: float
    """sd within groups."""
    groups: tuple[PooledGroup, ...]


@dataclasses.dataclass(frozen=True)
class EstimatePooling:
    """Estimates with known errors: estimate = mu + group (sd tau) + its error."""

    mu: float
    low: float
    high: float
    """Hartung-Knapp interval of mu; the normal interval of the one estimate where k = 1."""
    level: float
    error: float
    """Standard error of mu, Hartung & Knapp's factor and the covariances included."""
    tau: float
    i2: float
    """I²: share of the estimates' variance that is not their errors', 0 to 1."""
    prediction_low: float | None
    prediction_high: float | None
    """Where the true value of one more such group would lie, t with k - 1 degrees of freedom (as
    metafor does); None where k = 1."""
    groups: tuple[PooledGroup, ...]
    """In the order given; key is the index and n is 1."""


def pool_groups(
    values: Sequence[float] | Floats, groups: Sequence[Hashable], *, level: float = 0.95
) -> GroupPooling:
    """Pool the means of groups by a one-way random-effects model.

    Args:
        values: one a unit, for example paired differences of probes.
        groups: the group of each, for example its domain; groups of one are welcome.
        level: of all intervals.

    Raises:
        ValueError: no values, one that is not finite, or another number of groups.
    """
    found = grouped(values, groups)
    n, means = found.sizes, found.means
    k, total = len(n), float(n.sum())
    if k == 1:
        sigma = math.sqrt(found.within / (total - 1)) if total > 1 else 0.0
        one = PooledGroup(found.keys[0], int(total), float(means[0]), float(means[0]), None, None)
        return GroupPooling(float(means[0]), None, None, level, 0.0, sigma, (one,))
    spread = (moments(means).sd or 0.0) ** 2
    if total == k:  # one value each: all spread is called sigma
        tau2, sigma2 = 0.0, spread
    elif found.within == 0:  # groups without any spread know their means exactly
        tau2, sigma2 = spread, 0.0
    else:
        tau2, sigma2 = _components(n, means, found.within)
    fit = _Fit.of(means, sigma2 / n, tau2)
    low, high = _interval(fit.mu, fit.error, k - 1, level)
    return GroupPooling(
        mu=fit.mu,
        low=low,
        high=high,
        level=level,
        tau=math.sqrt(tau2),
        sigma=math.sqrt(sigma2),
        groups=fit.groups(found.keys, n, means, level),
    )


def pool_estimates(
    estimates: Sequence[float] | Floats,
    errors: Sequence[float] | Floats,
    *,
    level: float = 0.95,
    covariance: Floats | None = None,
) -> EstimatePooling:
    """Pool estimates whose standard errors are known: a random-effects meta-analysis.

    Args:
        estimates: one a group, for example the effect in each model family.
        errors: their standard errors, above 0.
        level: of all intervals.
        covariance: of the estimates' errors, where these go together (models that answered the
            same probes); the diagonal is not looked at. mu, tau and I² are as without it. The
            error of mu is that of the same weighted mean, w'(tau²·I + covariance)w, where this is
            larger.

    Raises:
        ValueError: no estimates, one that is not finite, or errors that are not above 0.
    """
    y, spreads = as_units(estimates), as_units(errors)
    k, variances = y.size, spreads**2
    if k != spreads.size or spreads.min() <= 0 or variances.min() <= 0:
        raise ValueError("each estimate needs a standard error above 0")
    if k == 1:
        mu, error = float(y[0]), math.sqrt(float(variances[0]))
        half = float(special.ndtri((1 + level) / 2)) * error
        alone = PooledGroup(0, 1, mu, mu, None, None)
        return EstimatePooling(
            mu, mu - half, mu + half, level, error, 0.0, 0.0, None, None, (alone,)
        )
    tau2 = _tau2(y, variances)
    fit = _Fit.of(y, variances, tau2)
    weights = 1 / (tau2 + variances)
    factor = float(weights @ (y - fit.mu) ** 2) / (k - 1)
    error = fit.error * math.sqrt(max(1.0, factor))
    if covariance is not None:
        share = weights / weights.sum()
        whole = np.array(covariance, dtype=np.float64)
        np.fill_diagonal(whole, tau2 + variances)
        error = max(error, math.sqrt(max(0.0, float(share @ whole @ share))))
    low, high = _interval(fit.mu, error, k - 1, level)
    ahead = _interval(fit.mu, math.sqrt(tau2 + error**2), k - 1, level)
    exact = np.sort(1 / variances)
    pairs = 2 * float(exact[1:] @ np.cumsum(exact)[:-1])  # (Σw)² - Σw², with nothing cancelled
    typical = (k - 1) * float(exact.sum()) / pairs
    return EstimatePooling(
        mu=fit.mu,
        low=low,
        high=high,
        level=level,
        error=error,
        tau=math.sqrt(tau2),
        i2=tau2 / (tau2 + typical),
        prediction_low=ahead[0],
        prediction_high=ahead[1],
        groups=fit.groups(tuple(range(k)), np.ones(k), y, level),
    )


@dataclasses.dataclass(frozen=True)
class _Fit:
    """Group means with sampling variances, given the variance between groups."""

    mu: float
    error: float
    pull: Floats
    """Weight of mu in each group's pooled mean."""
    errors: Floats
    """Of the pooled means: g1 + g2 + 2·g3 of Prasad & Rao, the last from the variance 2 / Σw² of
    the REML tau²."""

    @classmethod
    def of(cls, means: Floats, variances: Floats, tau2: float) -> _Fit:
        if not variances.any():  # each group knows its mean
            nothing = np.zeros_like(means)
            return cls(moments(means).mean, math.sqrt(tau2 / means.size), nothing, nothing)
        whole = tau2 + variances
        least = float(whole.min())
        weights = least / whole  # the largest is 1, however small the variances
        mu, pull = float(weights @ means / weights.sum()), variances / whole
        of_mu = least / float(weights.sum())
        unsure = 2 * least / float(weights @ weights) * weights * pull**2
        squares = tau2 * pull + of_mu * pull**2 + 2 * unsure
        return cls(mu, math.sqrt(of_mu), pull, np.sqrt(squares))

    def groups(
        self, keys: Sequence[Hashable], sizes: Floats, means: Floats, level: float
    ) -> tuple[PooledGroup, ...]:
        pooled = means + self.pull * (self.mu - means)
        ends = [_interval(*pair, len(means) - 1, level) for pair in zip(pooled, self.errors)]
        return tuple(
            PooledGroup(key, int(n), float(mean), float(middle), *end)
            for key, n, mean, middle, end in zip(keys, sizes, means, pooled, ends)
        )


def _interval(middle: float, error: float, df: int, level: float) -> tuple[float, float]:
    half = float(special.stdtrit(df, (1 + level) / 2)) * float(error)
    return float(middle) - half, float(middle) + half


def _components(sizes: Floats, means: Floats, within: float) -> tuple[float, float]:
    """REML (tau², sigma²); the ratio x = tau² / sigma² is found, then sigma² follows from it."""
    df = float(sizes.sum()) - 1

    def deviance(x: float) -> tuple[float, float]:
        weights = 1 / (x + 1 / sizes)
        squares = weights * (means - weights @ means / weights.sum()) ** 2
        whole = within + float(squares.sum())
        value = df * math.log(whole) - float(np.log(weights).sum()) + math.log(weights.sum())
        return value, _slope(weights, squares, df / whole)

    x = _lowest(deviance, float(np.var(means)) / within * float(sizes.sum()))
    weights = 1 / (x + 1 / sizes)
    apart = (means - weights @ means / weights.sum()) ** 2
    sigma2 = (within + float(weights @ apart)) / df
    return x * sigma2, sigma2


def _tau2(y: Floats, variances: Floats) -> float:
    """REML variance between estimates of known variance."""

    def deviance(x: float) -> tuple[float, float]:
        weights = 1 / (x + variances)
        squares = weights * (y - weights @ y / weights.sum()) ** 2
        value = float(squares.sum() - np.log(weights).sum()) + math.log(weights.sum())
        return value, _slope(weights, squares, 1.0)

    return _lowest(deviance, float(np.var(y)))


def _slope(weights: Floats, squares: Floats, scale: float) -> float:
    """Derivative of -2 × the restricted log likelihood by the variance between groups."""
    total = float(weights.sum())
    return total - float(weights @ weights) / total - scale * float(weights @ squares)


def _lowest(deviance: Callable[[float], tuple[float, float]], size: float) -> float:
    """The x >= 0 of the lowest deviance, to the last digits.

    The deviance may have more than one minimum: its slope is looked at on a grid that is wide about
    ``size``, and every crossing from below is closed in on by bisection.
    """
    if size == 0:
        return 0.0
    grid = [0.0, *(size * np.geomspace(1e-6, 1e4, 101)).tolist()]
    slopes = [deviance(x)[1] for x in grid]
    found = [0.0] if slopes[0] >= 0 else []
    for left, right, before, after in zip(grid, grid[1:], slopes, slopes[1:]):
        if before < 0 <= after:
            for _ in range(70):
                middle = (left + right) / 2
                left, right = (left, middle) if deviance(middle)[1] >= 0 else (middle, right)
            found.append((left + right) / 2)
    return min(found, key=lambda x: deviance(x)[0]) if found else grid[-1]
