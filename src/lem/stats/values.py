"""What every statistic here starts from: checked values, one a unit, and their moments."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key", bound=Hashable)
Floats: TypeAlias = npt.NDArray[np.float64]


def mean_by(pairs: Iterable[tuple[Key, float]]) -> dict[Key, float]:
    """Mean of the values of each key, keys in order of first sight."""
    groups: dict[Key, list[float]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return {key: math.fsum(values) / len(values) for key, values in groups.items()}


def as_units(
    values: Sequence[float] | Floats, clusters: Sequence[Hashable] | None = None
) -> Floats:
    """The values as an array, averaged within clusters where there are any.

    Args:
        values: one a measurement.
        clusters: one a measurement; measurements of a cluster (samples or rephrasings of one probe)
            say the same thing again, so their mean is the unit (rule R1).

    Raises:
        ValueError: no values, one that is not finite, or another number of clusters.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError("needs at least one value, and all of them finite")
    if clusters is None:
        return array
    if len(clusters) != array.size:
        raise ValueError(f"{array.size} values, but {len(clusters)} clusters")
    return np.array(list(mean_by(zip(clusters, array.tolist())).values()))


@dataclasses.dataclass(frozen=True)
class Moments:
    """Of n values. Values that are all the same number have sd 0, without rounding noise."""

    n: int
    mean: float
    sd: float | None
    """With n - 1; None below n = 2."""
    ratio: float | None
    """mean / sd; None where sd is None or 0."""
    skew: float | None
    """G1 of Joanes & Gill 1998, "Comparing measures of sample skewness and kurtosis":
    √(n(n-1)) / (n-2) · m3 / m2^1.5. None below n = 3 or where sd is 0."""
    standard: Floats | None
    """(value - mean) / sd, in order; None where ratio is."""

    @property
    def error(self) -> float | None:
        """Standard error of the mean."""
        return None if self.sd is None else self.sd / math.sqrt(self.n)


def moments(values: Floats) -> Moments:
    """Moments of any finite values: they are computed in units of a power of two near the largest
    one, which is exact, so that neither squares of large values overflow nor small ones vanish.
    """
    n, low, high = values.size, float(values.min()), float(values.max())
    if low == high:
        return Moments(n, low, 0.0 if n > 1 else None, None, None, None)
    unit = math.ldexp(1.0, math.frexp(max(abs(low), abs(high)))[1] - 1)
    scaled = values / unit
    mean = math.fsum(scaled) / n
    apart = scaled - mean
    sd = math.sqrt(float(apart @ apart) / (n - 1))
    standard = apart / sd
    skew = None
    if n > 2:  # Σz³ with z by n - 1, turned into G1
        skew = float((standard**3).sum()) * n / ((n - 1) * (n - 2))
    return Moments(n, mean * unit, sd * unit, mean / sd, skew, standard)
