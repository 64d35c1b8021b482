"""Agreement between raters.

Sources: Cohen 1960, "A coefficient of agreement for nominal scales", and 1968, "Weighted kappa";
Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"; Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", section 13.3.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Literal, TypeVar

from lem.stats.proportions import wilson as wilson

Row = tuple[float | None, ...]
"""The ratings of one unit, one a rater; None where a rater gave none."""

Rated = TypeVar("Rated", bound=Row)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """An agreement coefficient over n units."""

    n: int
    """Units that at least two raters rated."""
    value: float | None
    """1 is perfect, 0 what chance gives; None where it is not defined."""
    low: float | None
    high: float | None
    level: float


def cohen_kappa(
    pairs: Iterable[tuple[float, float]], weights: Literal["nominal", "quadratic"] = "quadratic"
) -> float | None:
    """Cohen's kappa of two raters: 1 - (observed disagreement) / (disagreement by chance).

    Args:
        pairs: what the two said of each unit.
        weights: what a disagreement of a with b costs. nominal: 1 (the kappa of 1960);
            quadratic: (a - b)² (the kappa of 1968).

    Returns:
        At most 1; None where both raters always said the same one thing, or for no pairs.
    """
    counts = Counter(pairs)
    n = counts.total()
    first, second = Counter[float](), Counter[float]()
    for (a, b), count in counts.items():
        first[a] += count
        second[b] += count

    def cost(a: float, b: float) -> float:
        return float(a != b) if weights == "nominal" else (a - b) ** 2

    observed = sum(count * cost(a, b) for (a, b), count in counts.items())
    chance = sum(x * y * cost(a, b) for a, x in first.items() for b, y in second.items())
    return 1 - n * observed / chance if chance else None


def krippendorff_alpha(
    units: Iterable[Row], metric: Literal["nominal", "ordinal", "interval"] = "ordinal"
) -> float | None:
    """Krippendorff's alpha of any number of raters: 1 - observed / expected disagreement.

    Pairs of ratings of one unit are counted in a coincidence matrix o, a unit with m ratings
    weighing 1 / (m - 1); its margins are n_c. The squared difference of c and k is 0 or 1
    (nominal), (c - k)² (interval), or the square of the ratings from c to k, those of c and of k
    by half (ordinal): that is the difference of their mean ranks.

    Args:
        units: the ratings of each unit; units with fewer than two ratings do not count.

    Returns:
        At most 1; None where all ratings that count are the same, or there are none.
    """
    together: dict[tuple[float, float], float] = {}
    for row, count in Counter(units).items():
        ratings = Counter(r for r in row if r is not None)
        m = ratings.total()
        if m < 2:
            continue
        for c, k in itertools.product(ratings, repeat=2):
            weight = count * ratings[c] * (ratings[k] - (c == k)) / (m - 1)
            together[c, k] = together.get((c, k), 0.0) + weight
    margin: dict[float, float] = {}
    for (c, _), weight in together.items():
        margin[c] = margin.get(c, 0.0) + weight
    place = {c: c for c in margin}
    if metric == "ordinal":
        below = 0.0
        for c in sorted(margin):
            place[c] = below + margin[c] / 2
            below += margin[c]

    def apart(c: float, k: float) -> float:
        return float(c != k) if metric == "nominal" else (place[c] - place[k]) ** 2

    observed = sum(weight * apart(c, k) for (c, k), weight in together.items())
    chance = sum(x * y * apart(c, k) for c, x in margin.items() for k, y in margin.items())
    return 1 - (sum(margin.values()) - 1) * observed / chance if chance else None


def with_interval(
    statistic: Callable[[Iterable[Rated]], float | None],
    rows: Sequence[Rated],
    clusters: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """A coefficient with its bootstrap percentile interval.

    Args:
        statistic: for example `cohen_kappa` or `krippendorff_alpha`.
        rows: the ratings of each unit.
        clusters: one a unit; units of a cluster (answers to one question) are drawn together.
            None: every unit is drawn by itself.

    Returns:
        No interval where there is one cluster only. Resamples in which the coefficient is not
        defined (one rating for everything) are left out.
    """
    groups: dict[Hashable, list[Rated]] = {}
    for row, cluster in zip(rows, clusters or range(len(rows)), strict=True):
        groups.setdefault(cluster, []).append(row)
    drawn_from, rng, drawn = list(groups.values()), random.Random(seed), []
    if len(groups) > 1:
        for _ in range(resamples):
            sample = rng.choices(drawn_from, k=len(drawn_from))
            value = statistic(itertools.chain.from_iterable(sample))
            if value is not None:
                drawn.append(value)
    drawn.sort()
    low = high = None
    if drawn:
        tail = math.floor((1 - level) / 2 * len(drawn))
        low, high = drawn[tail], drawn[-1 - tail]
    rated = sum(sum(r is not None for r in row) > 1 for row in rows)
    return Agreement(n=rated, value=statistic(rows), low=low, high=high, level=level)
