"""Agreement: published worked examples, and the definitions worked out the slow way."""

import itertools
import random

import pytest
from scipy import stats as reference

from lem.stats.agreement import cohen_kappa, krippendorff_alpha, wilson, with_interval

# Krippendorff 2011, section C: four observers, twelve units, some missing.
FOUR_OBSERVERS = list(
    zip(
        *(
            [None if c == "." else int(c) for c in row.split()]
            for row in (
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            )
        )
    )
)


@pytest.mark.parametrize(
    ("metric", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_of_the_published_four_observers(metric, alpha):
    assert round(krippendorff_alpha(FOUR_OBSERVERS, metric), 3) == alpha


def test_alpha_of_the_published_two_observers():
    binary = list(zip(map(int, "0100000010"), map(int, "1110010000")))
    assert round(krippendorff_alpha(binary, "nominal"), 3) == 0.095  # section A
    letters = [tuple(map(ord, pair)) for pair in zip("aabbdcccedda", "babbbccceddd")]
    assert round(krippendorff_alpha(letters, "nominal"), 3) == 0.692  # section B


def pairs_of(table):
    return [
        (i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)
    ]


def test_kappa_of_published_tables():
    cohen_1968 = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    assert cohen_kappa(pairs_of(cohen_1968), "nominal") == pytest.approx(0.492, abs=5e-4)
    two_by_two = [[20, 5], [10, 15]]
    assert cohen_kappa(pairs_of(two_by_two), "nominal") == pytest.approx(0.4)


def slow_alpha(units, metric):
    """Mean disagreement within units over the mean over all pairs, as the words say it."""
    units = [[r for r in unit if r is not None] for unit in units]
    units = [unit for unit in units if len(unit) > 1]
    everything = [r for unit in units for r in unit]

    def apart(a, b):
        if metric == "nominal":
            return a != b
        if metric == "interval":
            return (a - b) ** 2
        low, high = sorted((a, b))
        between = sum(low <= r <= high for r in everything)
        return (between - (everything.count(a) + everything.count(b)) / 2) ** 2

    observed = sum(
        sum(apart(a, b) for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1)
        for unit in units
    ) / len(everything)
    chance = [apart(a, b) for a, b in itertools.permutations(everything, 2)]
    return 1 - observed / (sum(chance) / len(chance))


@pytest.mark.parametrize("seed", range(12))
def test_alpha_and_kappa_against_their_definitions(seed):
    rng = random.Random(seed)
    raters = rng.randint(2, 4)
    units = [tuple(rng.choice([None, 1, 2, 3, 4, 5]) for _ in range(raters)) for _ in range(25)]
    for metric in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(units, metric) == pytest.approx(slow_alpha(units, metric))
    pairs = [(rng.randint(1, 5), rng.randint(1, 5)) for _ in range(30)]
    for weights, cost in (
        ("nominal", lambda a, b: a != b),
        ("quadratic", lambda a, b: (a - b) ** 2),
    ):
        observed = sum(cost(a, b) for a, b in pairs) / 30
        chance = sum(cost(a, b) for a, _ in pairs for _, b in pairs) / 900
        assert cohen_kappa(pairs, weights) == pytest.approx(1 - observed / chance)


def test_where_there_is_nothing_to_agree_on():
    for nothing in ([], [(3, 3), (3, 3)]):
        assert cohen_kappa(nothing) is None and krippendorff_alpha(nothing) is None
    assert krippendorff_alpha([(1, None), (None, 2)]) is None
    assert cohen_kappa([(1, 1), (4, 4)]) == krippendorff_alpha([(1, 1), (4, 4)]) == 1
    assert cohen_kappa([(1, 5), (5, 1)]) == -1


def test_the_interval_is_seeded_and_draws_clusters_whole():
    rng = random.Random(1)
    rows = [
        (a, min(5, max(1, a + rng.choice((-1, 0, 0, 1))))) for a in rng.choices(range(1, 6), k=40)
    ]
    alone = with_interval(krippendorff_alpha, rows)
    assert alone == with_interval(krippendorff_alpha, rows)
    assert alone != with_interval(krippendorff_alpha, rows, seed=1)
    assert alone.n == 40 and alone.low < alone.value < alone.high
    # Five copies of every unit are no more evidence than one, if they are known as copies.
    copies, cluster = rows * 5, [i % 40 for i in range(200)]
    together = with_interval(cohen_kappa, copies, cluster)
    fooled = with_interval(cohen_kappa, copies)
    once = with_interval(cohen_kappa, rows)
    assert (together.low, together.high) == pytest.approx((once.low, once.high))
    assert fooled.high - fooled.low < 0.6 * (together.high - together.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(2)

    def draw(n):
        rows = []
        for _ in range(n):
            truth = rng.randint(1, 3)
            rows.append(tuple(truth if rng.random() < 0.7 else rng.randint(1, 3) for _ in range(2)))
        return rows

    truth = cohen_kappa(draw(200_000))
    hits = 0
    for _ in range(100):
        found = with_interval(cohen_kappa, draw(60), resamples=200)
        hits += found.low <= truth <= found.high
    assert 86 <= hits <= 100


def test_no_interval_from_one_cluster_and_one_missing_rater():
    one = with_interval(cohen_kappa, [(1, 2), (3, 3)], ["same", "same"])
    assert (one.low, one.high) == (None, None) and one.value is not None
    partly = with_interval(krippendorff_alpha, [(1, 1), (2, None), (5, 4)])
    assert partly.n == 2
    none = with_interval(cohen_kappa, [])
    assert (none.n, none.value, none.low) == (0, None, None)
    with pytest.raises(ValueError):
        with_interval(cohen_kappa, [(1, 1)], ["a", "b"])


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (8, 10), (10, 10), (1, 3), (500, 1000)])
def test_wilson_against_scipy(hits, n):
    low, high = reference.binomtest(hits, n).proportion_ci(0.95, "wilson")
    assert wilson(hits, n) == pytest.approx((low, high))


def test_wilson_of_nothing():
    assert wilson(0, 0) == (0.0, 1.0)
