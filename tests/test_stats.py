"""Paired statistics against scipy's and against simulation."""

import random

import pytest
from scipy import stats as reference

from lem.stats import holm, mean_by, paired_effect

RNG = random.Random(3)
SAMPLES = [[RNG.gauss(0.4 * i, 2) for _ in range(n)] for i, n in enumerate((2, 7, 21, 101))]


@pytest.mark.parametrize("differences", SAMPLES, ids=len)
def test_against_scipy(differences):
    effect = paired_effect(differences)
    test = reference.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(0.95)
    assert effect.p == pytest.approx(test.pvalue)
    assert (effect.low, effect.high) == pytest.approx((low, high))
    up, down = effect.better, effect.worse
    if up + down:
        assert effect.sign_p == pytest.approx(reference.binomtest(up, up + down).pvalue)
    assert up + down + effect.same == effect.n == len(differences)


def test_detectable_effect_is_found_four_times_in_five():
    rng, n, sd = random.Random(5), 21, 3.0
    true = paired_effect([rng.gauss(0, 1) for _ in range(n)])
    assert true.mde is not None and true.sd is not None
    size = true.mde / true.sd * sd  # the mde scales with the sd
    found = 0
    for _ in range(1500):
        p = paired_effect([rng.gauss(size, sd) for _ in range(n)]).p
        found += p is not None and p < 0.05
    assert 0.77 < found / 1500 < 0.83


def test_edges():
    one = paired_effect([2.0])
    assert (one.n, one.low, one.p, one.mde, one.better) == (1, None, None, None, 1)
    still = paired_effect([0.0, 0.0, 0.0])
    assert (still.p, still.d_z, still.same, still.sign_p) == (1.0, 0.0, 3, 1.0)
    constant = paired_effect([1.0, 1.0])
    assert (constant.p, constant.d_z) == (0.0, None)
    assert paired_effect([0.5, -0.5, 0.51, -0.51]).same == 2  # the threshold itself is "same"
    for bad in ([], [float("nan")]):
        with pytest.raises(ValueError):
            paired_effect(bad)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_mean_by():
    assert mean_by([("b", 1), ("a", 5), ("b", 3)]) == {"b": 2, "a": 5}
