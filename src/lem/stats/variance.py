"""Where the noise comes from: between probes, or between samples of one probe."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence

import numpy as np

from lem.stats.values import Floats, as_units


@dataclasses.dataclass(frozen=True)
class Groups:
    """Values by group, in order of first sight."""

    keys: tuple[Hashable, ...]
    sizes: Floats
    means: Floats
    within: float
    """Sum of squares about the groups' own means."""


def grouped(values: Sequence[float] | Floats, groups: Sequence[Hashable]) -> Groups:
    """Sizes and means of groups.

    Raises:
        ValueError: no values, one that is not finite, or another number of groups.
    """
    array = as_units(values)
    if len(groups) != array.size:
        raise ValueError(f"{array.size} values, but {len(groups)} groups")
    number: dict[Hashable, int] = {}
    place = np.array([number.setdefault(key, len(number)) for key in groups])
    sizes = np.bincount(place).astype(np.float64)
    centre = float(array[0])  # keeps the digits of values far from 0
    means = centre + np.bincount(place, weights=array - centre) / sizes
    apart = array - means[place]
    if float(np.abs(apart).max()) <= 1e-12 * float(np.abs(array).max()):
        apart[:] = 0.0  # nothing but rounding
    return Groups(tuple(number), sizes, means, float(apart @ apart))


@dataclasses.dataclass(frozen=True)
class VarianceSplit:
    """Variance components of samples within probes, in squared points."""

    between: float
    """Between the probes' true means; cut off at 0 where the estimate is negative."""
    within: float
    """Between samples of one probe."""
    icc: float
    """between / (between + within); 0 where both are 0."""
    n_probes: int
    n_values: int


def variance_split(
    values: Sequence[float] | Floats, probes: Sequence[Hashable]
) -> VarianceSplit | None:
    """Split the variance of scores by the one-way analysis of variance.

    within = MSW; between = (MSB - MSW) / n0 with n0 = (N - Σn²/N) / (k - 1): Searle, Casella &
    McCulloch 1992, "Variance Components", section 3.6. For equal numbers of samples this is REML
    too. A negative estimate is cut off at 0, so that on average between is a little too large
    where it is near 0.

    Args:
        values: scores, or paired differences, one a sample.
        probes: the probe of each.

    Returns:
        None where the parts cannot be told apart: one probe, or no probe with two samples.

    Raises:
        ValueError: no values, one that is not finite, or another number of probes.
    """
    found = grouped(values, probes)
    k, total = len(found.keys), float(found.sizes.sum())
    if k < 2 or total == k:
        return None
    mean = float(found.sizes @ found.means) / total
    within = found.within / (total - k)
    among = float(found.sizes @ (found.means - mean) ** 2) / (k - 1)
    usual = (total - float(found.sizes @ found.sizes) / total) / (k - 1)
    between = max(0.0, (among - within) / usual)
    whole = between + within
    return VarianceSplit(between, within, between / whole if whole else 0.0, k, int(total))


def error_of_mean(split: VarianceSplit, probes: int, samples: int) -> float:
    """Standard error of the mean over so many probes with so many samples each.

    √(between / probes + within / (probes · samples)): Miller 2024, "Adding Error Bars to Evals"
    (arXiv 2411.00640), section 3.1. More samples only lower the second part.

    Raises:
        ValueError: probes or samples below 1.
    """
    if probes < 1 or samples < 1:
        raise ValueError("a mean needs at least one sample of one probe")
    return math.sqrt((split.between + split.within / samples) / probes)
