"""Is it not worse, or is it the same? Tests that absence of evidence does not pass.

Sources: Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach
for assessing the equivalence of average bioavailability"; Wellek 2010, "Testing Statistical
Hypotheses of Equivalence and Noninferiority", section 1.6 and chapter 5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence

from scipy import special

from lem.stats.paired import t_interval
from lem.stats.values import Floats, Moments, as_units, moments


@dataclasses.dataclass(frozen=True)
class Gate:
    """Passed or not, with α = 1 - level."""

    n: int
    mean: float
    low: float | None
    high: float | None
    """The 1 - 2α interval of the mean (90 % for level 0.95), whose ends tell the same as the test;
    None below n = 2."""
    level: float
    margin: float
    p: float | None
    """One-sided; for equivalence the larger of the two. None below n = 2."""
    passed: bool
    """p below α; never below n = 2."""


def non_inferiority(
    differences: Sequence[float] | Floats,
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> Gate:
    """Is the treatment worse by less than the margin? One-sided t test of mean > -margin.

    Args:
        differences: treatment - reference, higher is better.
        margin: the loss that would not matter, in points, above 0; chosen before looking.
        clusters: one a difference; the mean within a cluster is the unit.
        level: 1 - α of the one-sided test.

    Raises:
        ValueError: as `paired_effect`, or a margin that is not above 0.
    """
    return _gate(differences, margin, clusters, level, both=False)


def equivalence(
    differences: Sequence[float] | Floats,
    margin: float,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> Gate:
    """Is the mean difference within ± margin? Two one-sided t tests, both at α = 1 - level.

    Arguments and errors are those of `non_inferiority`.
    """
    return _gate(differences, margin, clusters, level, both=True)


def _gate(
    differences: Sequence[float] | Floats,
    margin: float,
    clusters: Sequence[Hashable] | None,
    level: float,
    both: bool,
) -> Gate:
    if not margin > 0:
        raise ValueError("the margin must be above 0")
    m = moments(as_units(differences, clusters))
    low, high = t_interval(m, 2 * level - 1)
    p = _one_sided(m, m.mean + margin)
    if both and p is not None:
        p = max(p, _one_sided(m, margin - m.mean) or 0.0)
    passed = p is not None and p < 1 - level
    return Gate(m.n, m.mean, low, high, level, margin, p, passed)


def _one_sided(m: Moments, above: float) -> float | None:
    """p of a mean that lies so far on the right side."""
    if m.error is None:
        return None
    if m.error == 0:  # as `paired.t_test`: every sign the same
        return 2.0**-m.n if above > 0 else 1.0
    return float(special.stdtr(m.n - 1, -above / m.error))
