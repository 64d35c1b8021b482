"""The noise floor: how far two runs of the same condition differ."""

from __future__ import annotations

import math

from lem.stats.paired import PairedEffect


def noise_floor(replicate: PairedEffect) -> float:
    """Largest |mean difference| that the interval of a replicate allows (rule R7).

    Args:
        replicate: the baseline compared with a second run of itself.

    Returns:
        In points; infinite where the replicate has one unit, and so no interval.
    """
    if replicate.low is None or replicate.high is None:
        return math.inf
    return max(abs(replicate.low), abs(replicate.high))


def within_noise(effect_mean: float, floor: float) -> bool:
    """Whether a mean difference is no larger than one that a replicate could show."""
    return abs(effect_mean) <= floor
