"""Statistics against published worked examples and against statsmodels and scipy."""

import math

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from lem import stats
from lem.stats.rank_tests import median_interval, wilcoxon

RNG = np.random.Generator(np.random.PCG64(11))

# Student 1908, "The probable error of a mean": extra hours of sleep. R's dataset `sleep`.
DRUG_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
DRUG_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

# Hollander & Wolfe 1973, table 3.1: depression scores at two visits. R's example of wilcox.test.
FIRST = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
SECOND = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])

# Colditz et al. 1994: 13 trials of the BCG vaccine, ill and well with and without. metafor's
# dat.bcg, whose results below are those it prints for rma(yi, vi, test="knha").
BCG = np.array(
    [
        [4, 119, 11, 128],
        [6, 300, 29, 274],
        [3, 228, 11, 209],
        [62, 13536, 248, 12619],
        [33, 5036, 47, 5761],
        [180, 1361, 372, 1079],
        [8, 2537, 10, 619],
        [505, 87886, 499, 87892],
        [29, 7470, 45, 7232],
        [17, 1699, 65, 1600],
        [186, 50448, 141, 27197],
        [5, 2493, 3, 2338],
        [27, 16886, 29, 17825],
    ],
    dtype=float,
).T


def exactly(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_students_sleep():
    effect = stats.paired_effect(DRUG_1 - DRUG_2)
    # as R prints it: t = -4.0621, df = 9, p-value = 0.002833
    assert effect.d_z * math.sqrt(10) == pytest.approx(-4.0621, abs=5e-5)
    assert effect.p == pytest.approx(0.002833, abs=5e-7)
    assert (effect.low, effect.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert effect.mean == pytest.approx(-1.58)


def test_welch_of_students_sleep():
    found = stats.unpaired(DRUG_1, DRUG_2)
    # as R prints it: t = -1.8608, df = 17.776, p-value = 0.07939
    assert found.df == pytest.approx(17.776, abs=5e-4)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert (found.low, found.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)
    theirs = reference.ttest_ind(DRUG_1, DRUG_2[:7], equal_var=False)
    ends = theirs.confidence_interval()
    found = stats.unpaired(DRUG_1, DRUG_2[:7])
    assert (found.p, found.low, found.high) == exactly((theirs.pvalue, ends.low, ends.high))


def test_wilcoxon_of_hollander_and_wolfe():
    assert wilcoxon(FIRST - SECOND) == pytest.approx(0.0390625, abs=1e-12)  # R: V = 40, 0.03906
    assert stats.paired_effect(FIRST - SECOND).wilcoxon_p == wilcoxon(FIRST - SECOND)


@pytest.mark.parametrize("n", [3, 12, 40, 150])
def test_wilcoxon_against_scipy_where_nothing_ties(n):
    values = RNG.normal(0.2, 1, n)
    assert wilcoxon(values) == exactly(reference.wilcoxon(values, method="exact").pvalue)


def test_wilcoxon_with_ties_is_exact_and_beyond_200_as_scipy():
    small = np.array([1.0, 1, 2, -2, 3, 3, 0, -1, 4, 5])
    moved = small[small != 0]
    ranks = reference.rankdata(abs(moved))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(moved))).reshape(len(moved), -1).T
    sums = signs @ ranks
    away = abs(sums - ranks.sum() / 2) >= abs(ranks[moved > 0].sum() - ranks.sum() / 2) - 1e-9
    assert wilcoxon(small) == exactly(away.mean())
    many = np.round(RNG.normal(0.15, 1, 400), 1)  # ties and zeros
    theirs = reference.wilcoxon(many, correction=True, method="approx")
    assert wilcoxon(many) == exactly(theirs.pvalue)
    assert wilcoxon(np.array([5.1 - 3.0, 2.1, -0.5])) == wilcoxon(np.array([2.1, 2.1, -0.5]))
    assert wilcoxon(np.zeros(4)) == 1.0


@pytest.mark.parametrize("n", range(1, 30))
def test_median_interval_is_the_narrowest_with_coverage(n):
    ends = median_interval(np.arange(1.0, n + 1), 0.95)
    k = max((k for k in range(1, n) if reference.binom.cdf(k - 1, n, 0.5) <= 0.025), default=0)
    assert ends == ((k, n + 1 - k) if k else None)


def test_median_interval_published():
    # Conover 1999, section 3.2: for n = 16 at 95 % the 4th and the 13th value.
    assert median_interval(np.arange(16.0) + 1, 0.95) == (4, 13)


@pytest.mark.parametrize("seed", range(4))
def test_adjusted_p_values_against_statsmodels(seed):
    ps = np.random.default_rng(seed).beta(0.4, 2, 58).round(2).tolist()  # with ties
    assert stats.holm(ps) == exactly(multipletests(ps, method="holm")[1])
    assert stats.benjamini_hochberg(ps) == exactly(multipletests(ps, method="fdr_bh")[1])


def test_benjamini_hochberg_published():
    # Benjamini & Hochberg 1995, section 3.2: of 15 p values the first four are discoveries at 5 %,
    # and Bonferroni's (so Holm's) first step finds three.
    ps = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    ps += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert sum(p <= 0.05 for p in stats.benjamini_hochberg(ps)) == 4
    assert sum(p <= 0.05 for p in stats.holm(ps)) == 3
    assert stats.benjamini_hochberg([0.9, None, 0.6]) == [0.9, None, 0.9]
    assert stats.benjamini_hochberg([]) == []


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (13, 21), (101, 101), (1, 1)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_against_statsmodels(hits, n, level):
    theirs = proportion_confint(hits, n, 1 - level, "wilson")
    assert stats.wilson(hits, n, level) == exactly(theirs)


def test_wilson_published():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
    assert stats.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert stats.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert stats.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert stats.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize(("n", "effect"), [(2, 1.0), (7, 0.5), (21, 0.65), (101, 0.28), (101, 0.6)])
@pytest.mark.parametrize("tests", [1, 58])
def test_power_against_statsmodels(n, effect, tests):
    sides = [
        TTestPower().power(effect, n, 0.025 / tests, alternative=side)
        for side in ("larger", "smaller")
    ]
    theirs = np.nan_to_num(sides).sum()  # it has no number for tails under about 1e-16
    assert stats.power_paired(2.0, n, -2 * effect, tests=tests) == pytest.approx(theirs, abs=1e-9)
    if theirs < 0.9999:
        needed = stats.probes_needed(2.0, 2 * effect, power=theirs - 1e-9, tests=tests)
        assert needed == n


def test_power_published():
    # As G*Power prints it for the paired t test, two-sided at 5 %, power 0.8.
    assert stats.probes_needed(1.0, 0.5) == 34
    assert stats.probes_needed(1.0, 0.2) == 199
    assert stats.probes_needed(1.0, 0.8) == 15
    assert stats.power_paired(1.0, 101, 3.0, tests=58) == 1.0  # statsmodels says nan
    # The numbers of rule R6.
    assert stats.detectable(1.0, 101) == pytest.approx(0.28, abs=5e-3)
    assert stats.detectable(1.0, 101, tests=58) == pytest.approx(0.42, abs=1e-2)


def test_hc3_against_statsmodels():
    length = RNG.normal(0.4, 0.3, 60)
    score = 3 * length + RNG.normal(0, 1 + abs(length), 60) + 1
    ours = stats.length_adjusted(score, length)
    theirs = sm.OLS(score, sm.add_constant(length)).fit(cov_type="HC3", use_t=True)
    ends = theirs.conf_int()
    assert (ours.effect, ours.slope) == exactly(theirs.params)
    assert (ours.low, ours.high, ours.slope_low, ours.slope_high) == exactly(ends.ravel())
    assert ours.p == exactly(theirs.pvalues[0])
    assert ours.mean_shift == exactly(length.mean())
    assert ours.effect + ours.slope * ours.mean_shift == exactly(score.mean())


def test_bcg_vaccine_as_metafor_prints_it():
    a, b, c, d = BCG
    risks = np.log(a / (a + b) / (c / (c + d)))
    errors = np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    found = stats.pool_estimates(risks, errors)
    assert found.tau**2 == pytest.approx(0.3132, abs=5e-5)
    assert found.mu == pytest.approx(-0.7145, abs=5e-5)
    assert found.error == pytest.approx(0.1808, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-1.1084, -0.3206), abs=5e-5)
    assert found.i2 == pytest.approx(0.9222, abs=5e-5)
    weights = 1 / (found.tau**2 + errors**2)
    assert weights.sum() ** -0.5 == pytest.approx(0.1798, abs=5e-5)  # with test="z"
    # The restricted likelihood is highest there: its slope is 0 to the last digits.
    squares = weights * (risks - found.mu) ** 2
    slope = weights.sum() - weights @ weights / weights.sum() - weights @ squares
    assert abs(slope) < 1e-9 * weights.sum()


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_pooled_groups_against_mixed_model(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(8), [1, 2, 3, 5, 7, 9, 4, 1])
    values = 5 + 1.5 * rng.normal(size=8)[groups] + 2 * rng.normal(size=groups.size)
    ours = stats.pool_groups(values, groups.tolist())
    frame = pd.DataFrame({"y": values, "g": groups})
    theirs = smf.mixedlm("y ~ 1", frame, groups="g").fit(reml=True, method="bfgs", gtol=1e-8)
    assert ours.mu == pytest.approx(theirs.fe_params.iloc[0], abs=1e-6)
    assert ours.sigma**2 == pytest.approx(theirs.scale, rel=1e-6)
    assert ours.tau**2 == pytest.approx(theirs.cov_re.iloc[0, 0], rel=1e-6)
    pulled = [float(effect.iloc[0]) for effect in theirs.random_effects.values()]
    assert [g.pooled - ours.mu for g in ours.groups] == pytest.approx(pulled, abs=1e-6)
    # The error of mu from the whole covariance matrix (statsmodels' is another: it is taken from
    # the curvature in all parameters at once).
    whole = ours.tau**2 * np.equal.outer(groups, groups) + ours.sigma**2 * np.eye(groups.size)
    error = np.linalg.inv(whole).sum() ** -0.5
    assert ours.high - ours.mu == pytest.approx(reference.t.ppf(0.975, 7) * error)


def test_variance_split_of_balanced_data():
    # Snedecor & Cochran 1967, table 10.13.1: calcium in 4 turnip leaves, 4 determinations each;
    # between leaves MS = 0.2961 and within MS = 0.0066, so components 0.0724 and 0.0066.
    leaves = [3.28, 3.09, 3.03, 3.03, 3.52, 3.48, 3.38, 3.38]
    leaves += [2.88, 2.80, 2.81, 2.76, 3.34, 3.38, 3.23, 3.26]
    split = stats.variance_split(leaves, [i // 4 for i in range(16)])
    assert split.within == pytest.approx(0.0066, abs=5e-5)
    assert split.between == pytest.approx(0.0724, abs=5e-5)
    pooled = stats.pool_groups(leaves, [i // 4 for i in range(16)])  # balanced: REML is ANOVA
    assert (pooled.tau**2, pooled.sigma**2) == pytest.approx((split.between, split.within))
    mean_error = (pooled.high - pooled.mu) / reference.t.ppf(0.975, 3)
    assert stats.error_of_mean(split, 4, 4) == pytest.approx(mean_error)


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_equivalence_against_statsmodels(margin):
    a, b = RNG.normal(0.1, 1, 21), RNG.normal(0, 1, 21)
    p, lower, upper = ttost_paired(a, b, -margin, margin)
    assert stats.equivalence(a - b, margin).p == exactly(p)
    assert stats.non_inferiority(a - b, margin).p == exactly(lower[1])
    assert stats.non_inferiority(b - a, margin).p == exactly(upper[1])
    gate = stats.equivalence(a - b, margin)
    assert gate.passed == (p < 0.05) == (-margin < gate.low and gate.high < margin)
    ends = reference.ttest_rel(a, b).confidence_interval(0.9)
    assert (gate.low, gate.high) == exactly((ends.low, ends.high))


def test_spearman_against_scipy():
    x = RNG.normal(size=30).round(1)
    y = (x + RNG.normal(size=30)).round(1)
    found, theirs = stats.spearman(x, y), reference.spearmanr(x, y)
    assert (found.rho, found.p) == exactly((theirs.statistic, theirs.pvalue))
    error = math.sqrt((1 + found.rho**2 / 2) / 27)
    ends = np.tanh(np.arctanh(found.rho) + np.array([-1, 1]) * reference.norm.ppf(0.975) * error)
    assert (found.low, found.high) == exactly(ends)


def test_skewness_against_scipy():
    values = RNG.exponential(size=40)
    assert stats.paired_effect(values).skew == exactly(reference.skew(values, bias=False))


# Efron & Tibshirani 1993, table 2.1: days that treated and untreated mice lived.
MICE = [94.0, 197, 16, 38, 99, 141, 23]


@pytest.mark.parametrize("values", [MICE, RNG.exponential(size=40).tolist()], ids=len)
def test_bca_against_scipy_within_monte_carlo_error(values):
    theirs = reference.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="BCa", rng=1
    ).confidence_interval
    ours = np.mean([stats.bca(values, seed=s, resamples=10_000) for s in range(4)], axis=0)
    assert ours == pytest.approx(theirs, abs=0.06 * np.std(values) / math.sqrt(len(values)))


def test_bootstrap_t_against_the_slow_way():
    values = RNG.exponential(size=25)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(20_000):
        sample = rng.choice(values, 25)
        drawn.append((sample.mean() - values.mean()) / (sample.std(ddof=1) / 5))
    high, low = np.quantile(drawn, [0.025, 0.975])
    error = values.std(ddof=1) / 5
    slow = values.mean() - np.array([low, high]) * error
    ours = np.mean([stats.bootstrap_t(values, seed=s, resamples=10_000) for s in range(3)], axis=0)
    assert ours == pytest.approx(slow, abs=0.08 * error)
    t = reference.ttest_1samp(values, 0).confidence_interval()
    assert ours[1] - t.high > 0.2 * error  # the long tail is on the right, and so is the room
