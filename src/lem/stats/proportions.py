"""The interval of a share. Source: Wilson 1927, "Probable inference, the law of succession, and
statistical inference"."""

from __future__ import annotations

import math

from scipy import special


def wilson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share of ``hits`` in ``n`` by Wilson's score.

    Returns:
        (low, high), each 0 to 1; (0, 1) for n = 0.
    """
    if n == 0:
        return 0.0, 1.0
    z = float(special.ndtri((1 + level) / 2))
    share, z2n = hits / n, z * z / n
    middle = (share + z2n / 2) / (1 + z2n)
    half = z / (1 + z2n) * math.sqrt(share * (1 - share) / n + z2n / (4 * n))
    return middle - half if hits else 0.0, middle + half if hits < n else 1.0
