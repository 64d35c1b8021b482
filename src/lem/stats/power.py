"""How large an effect so many probes can show, and how many probes an effect needs.

Sources: Bloom 1995, "Minimum detectable effects", with t for normal quantiles; Cohen 1988,
"Statistical Power Analysis", chapter 2, with the exact power of the t test from the noncentral t
distribution (Johnson & Welch 1940).
"""

from __future__ import annotations

import math

from scipy import special


def detectable(
    sd: float, n: int, *, level: float = 0.95, power: float = 0.8, tests: int = 1
) -> float:
    """Smallest true mean difference that a two-sided paired t test finds with ``power``.

    (t(1-α/2) + t(power)) · sd/√n with n - 1 degrees of freedom and α = (1 - level) / tests. Bloom's
    sum of quantiles is an approximation: the exact power at this difference is 0.791 for n = 5,
    0.797 for n = 7, and 0.800 from n = 21 on (`power_paired`).

    Args:
        sd: of the paired differences, in points.
        n: units.
        level: of the interval, 1 - α for one test.
        tests: in the family; Bonferroni, which Holm's first step is.

    Raises:
        ValueError: n below 2.
    """
    if n < 2:
        raise ValueError("an effect needs at least two units to be seen")
    quantiles = special.stdtrit(n - 1, [_upper(level, tests), power])
    return float(quantiles.sum()) * sd / math.sqrt(n)


def power_paired(sd: float, n: int, effect: float, *, level: float = 0.95, tests: int = 1) -> float:
    """Chance that a two-sided paired t test of n units finds a true mean difference, exactly.

    Args:
        effect: true mean difference, in points; its sign does not matter.
        sd, n, level, tests: as in `detectable`.

    Raises:
        ValueError: n below 2, or an sd that is not above 0.
    """
    if n < 2 or not sd > 0:
        raise ValueError("power needs at least two units and an sd above 0")
    shift = abs(effect) / sd * math.sqrt(n)
    critical = float(special.stdtrit(n - 1, _upper(level, tests)))
    beyond = 1 - _noncentral(critical, n - 1, shift) + _noncentral(-critical, n - 1, shift)
    return min(1.0, beyond)


def probes_needed(
    sd: float, effect: float, *, level: float = 0.95, power: float = 0.8, tests: int = 1
) -> int:
    """Fewest probes with which a two-sided paired t test finds ``effect`` with ``power``.

    Arguments are those of `power_paired`.

    Raises:
        ValueError: an sd that is not above 0, an effect of 0, or a power outside 0 to 1.
    """
    if effect == 0 or not 0 < power < 1:
        raise ValueError("an effect other than 0, and a power between 0 and 1")
    few, many = 1, 2
    while power_paired(sd, many, effect, level=level, tests=tests) < power:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        enough = power_paired(sd, middle, effect, level=level, tests=tests) >= power
        few, many = (few, middle) if enough else (middle, many)
    return many


def _upper(level: float, tests: int) -> float:
    return 1 - (1 - level) / (2 * tests)


def _noncentral(t: float, df: int, shift: float) -> float:
    """P(T < t); scipy answers nan for some chances under about 1e-9, which are 0 here."""
    below = float(special.nctdtr(df, shift, t))
    return 0.0 if math.isnan(below) else below
