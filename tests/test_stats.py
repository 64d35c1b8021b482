"""Paired statistics against scipy's and against simulation, and every statistic at its edges."""

import importlib.util
import math
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as reference

from lem import stats
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
    assert (effect.better_low, effect.better_high) == stats.wilson(up, effect.n)
    assert (effect.worse_low, effect.worse_high) == stats.wilson(down, effect.n)


def test_detectable_effect_is_found_four_times_in_five():
    rng, n, sd = random.Random(5), 21, 3.0
    true = paired_effect([rng.gauss(0, 1) for _ in range(n)])
    assert true.mde is not None and true.sd is not None
    size = true.mde / true.sd * sd  # the mde scales with the sd
    found = 0
    for _ in range(1500):
        p = paired_effect([rng.gauss(size, sd) for _ in range(n)], resamples=0).p
        found += p is not None and p < 0.05
    assert 0.77 < found / 1500 < 0.83
    assert stats.power_paired(sd, n, size) == pytest.approx(0.8, abs=0.002)


def test_edges():
    one = paired_effect([2.0])
    assert (one.n, one.low, one.p, one.mde, one.better) == (1, None, None, None, 1)
    assert (one.boot_low, one.boot_method, one.median_low, one.skew) == (None, None, None, None)
    assert (one.wilcoxon_p, one.sign_p, one.noisy_tail) == (1.0, 1.0, False)
    still = paired_effect([0.0, 0.0, 0.0])
    assert (still.p, still.d_z, still.same, still.sign_p) == (1.0, 0.0, 3, 1.0)
    assert still.wilcoxon_p == 1.0
    constant = paired_effect([1.0, 1.0])
    assert (constant.p, constant.d_z) == (0.5, None)  # two equal differences are no proof
    assert paired_effect([1.0] * 10).p == 2 / 2**10
    assert (constant.low, constant.high, constant.mde) == (1.0, 1.0, 0.0)
    tenths = paired_effect([0.1] * 7)  # 0.1 * 7 / 7 is not 0.1 in floating point
    assert (tenths.mean, tenths.sd, tenths.p) == (0.1, 0.0, 2 / 2**7)
    assert (tenths.boot_low, tenths.boot_high, tenths.median_low) == (0.1, 0.1, 0.1)
    assert paired_effect([0.5, -0.5, 0.51, -0.51]).same == 2  # the threshold itself is "same"
    for bad in ([], [float("nan")], [1.0, math.inf]):
        with pytest.raises(ValueError):
            paired_effect(bad)
    with pytest.raises(ValueError):
        paired_effect([1.0, 2.0], ["only one"])


def test_clusters_are_the_units():
    values = [1.0, 3.0, -2.0, 0.0, 0.5, 5.0]
    effect = paired_effect(values, ["a", "a", "b", "c", "c", "b"])
    plain = paired_effect([2.0, 1.5, 0.25])
    assert (effect.n, effect.units, plain.units) == (3, 6, 3)
    assert (effect.mean, effect.low, effect.p, effect.better) == (
        plain.mean,
        plain.low,
        plain.p,
        plain.better,
    )


def test_bootstrap_is_seeded_skippable_and_none_where_it_cannot_be():
    values = SAMPLES[2]
    assert paired_effect(values).boot_low == pytest.approx(paired_effect(values[::-1]).boot_low)
    one, same, other = (paired_effect(values, seed=s).boot_low for s in (0, 0, 1))
    assert one == same != other
    assert one == pytest.approx(other, abs=0.1)
    assert (one, paired_effect(values).boot_high) == stats.bootstrap_t(values)
    none = paired_effect(values, resamples=0)
    assert (none.boot_low, none.boot_high, none.boot_method, none.boot_resamples) == (None,) * 4
    for too_few in ([1.0], [1.0, 2.0], [1.0, 2, 3, 4]):
        assert stats.bca(too_few) is None and stats.bootstrap_t(too_few) is None
    mostly_zero = [0.0] * 9 + [1.0]  # a third of the resamples have no spread
    assert stats.bootstrap_t(mostly_zero) is None
    low, high = stats.bca(mostly_zero)
    assert 0 <= low < 0.1 < high <= 0.5


def test_large_samples_in_bounded_time_and_memory():
    values = np.random.default_rng(0).exponential(size=100_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    effect = paired_effect(values)
    assert time.process_time() - start < 3
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 200
    assert effect.boot_resamples == 400
    assert effect.boot_low == pytest.approx(effect.low, abs=0.002)
    assert effect.boot_high == pytest.approx(effect.high, abs=0.002)
    assert paired_effect(values[:5000]).boot_resamples == 4000


def test_kept_counts_and_blocks_draw_the_same(monkeypatch):
    from lem.stats import bootstrap

    values = SAMPLES[3]
    kept = stats.bca(values), stats.bootstrap_t(values)
    monkeypatch.setattr(bootstrap, "BLOCK", 50_000)
    in_blocks = stats.bca(values), stats.bootstrap_t(values)
    for one, other in zip(kept, in_blocks):
        assert one == pytest.approx(other, rel=1e-9)


def test_four_hundred_effects_are_quick():
    values = SAMPLES[3]
    paired_effect(values)
    start = time.process_time()
    for _ in range(20):
        paired_effect(values)
    assert (time.process_time() - start) / 20 < 0.03


def test_noisy_tail_is_cochrans_rule():
    tail = [0.0] * 19 + [1.0, 9.0]
    assert paired_effect(tail).skew ** 2 * 25 > 21 and paired_effect(tail).noisy_tail
    assert not paired_effect([float(i) for i in range(21)]).noisy_tail
    long = tail * 30  # the same shape, and enough of it
    assert not paired_effect(long).noisy_tail


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_mean_by():
    assert mean_by([("b", 1), ("a", 5), ("b", 3)]) == {"b": 2, "a": 5}


def test_power_edges():
    assert stats.power_paired(1.0, 21, 0.0) == pytest.approx(0.05)
    assert stats.probes_needed(1.0, 100.0) == 2
    assert stats.probes_needed(1.0, 0.001) == pytest.approx(7_848_863, abs=2)
    assert stats.probes_needed(1.0, -0.5) == 34
    for wrong in (
        lambda: stats.detectable(1.0, 1),
        lambda: stats.power_paired(0.0, 9, 1.0),
        lambda: stats.probes_needed(1.0, 0.0),
        lambda: stats.probes_needed(1.0, 1.0, power=1.0),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_length_finds_the_effect_that_length_hides():
    rng = np.random.default_rng(4)
    lengths = rng.normal(0.5, 0.4, 80)
    scores = 6 * lengths + rng.normal(0, 0.5, 80)  # nothing but length
    found = stats.length_adjusted(scores, lengths)
    assert found.low < 0 < found.high and found.slope == pytest.approx(6, abs=0.5)
    assert not found.extrapolated
    longer = stats.length_adjusted(scores + 12, lengths + 2)
    assert longer.extrapolated and longer.effect == pytest.approx(found.effect, abs=0.5)
    clusters = [i // 2 for i in range(80)]
    halved = stats.length_adjusted(scores, lengths, clusters)
    means = scores.reshape(40, 2).mean(1), lengths.reshape(40, 2).mean(1)
    assert halved == stats.length_adjusted(*means) and halved.n == 40


def test_length_says_none_where_it_cannot_say():
    eight = list(range(8))
    assert stats.length_adjusted(eight[:7], eight[:7]) is None
    assert stats.length_adjusted(eight, [0.3] * 8) is None
    assert stats.length_adjusted(eight, [0.0] * 7 + [1.0]) is None  # the line hangs on the last
    exact = stats.length_adjusted([2.0 * i for i in eight], eight)
    assert exact.slope == pytest.approx(2) and exact.effect == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError):
        stats.length_adjusted([1.0], [1.0, 2.0])


def test_pooling_edges():
    one = stats.pool_groups([1.0, 3.0], ["a", "a"])
    assert (one.mu, one.low, one.tau, one.sigma) == (2.0, None, 0.0, pytest.approx(math.sqrt(2)))
    single = stats.pool_groups([4.0], ["a"])
    assert (single.mu, single.sigma, single.groups[0].pooled) == (4.0, 0.0, 4.0)
    alone = stats.pool_groups([1.0, 2.0, 6.0], ["a", "b", "c"])  # nothing to tell tau from sigma
    assert alone.tau == 0 and {g.pooled for g in alone.groups} == {3.0}
    assert (alone.low, alone.high) == pytest.approx(
        reference.ttest_1samp([1.0, 2.0, 6.0], 0).confidence_interval()
    )
    still = stats.pool_groups([1.0, 1.0, 2.0, 2.0], ["a", "a", "b", "b"])
    assert still.sigma == 0 and [g.pooled for g in still.groups] == [1.0, 2.0]
    nothing = stats.pool_groups([0.1] * 6, [0, 0, 1, 1, 2, 2])
    assert (nothing.mu, nothing.tau, nothing.sigma) == (0.1, 0.0, 0.0)
    with pytest.raises(ValueError):
        stats.pool_groups([1.0, 2.0], ["a"])


def test_pool_estimates_edges():
    one = stats.pool_estimates([2.0], [0.5])
    assert (one.low, one.high) == pytest.approx((2 - 0.98, 2 + 0.98), abs=1e-3)
    assert one.prediction_low is None and one.tau == 0
    alike = stats.pool_estimates([1.0, 1.0, 1.0], [0.3, 0.4, 0.5])
    fixed = (1 / np.array([0.3, 0.4, 0.5]) ** 2).sum() ** -0.5
    assert (alike.tau, alike.i2) == (0.0, 0.0)
    assert alike.error == pytest.approx(fixed)  # Hartung & Knapp alone would say 0
    for errors in ([0.0], [-1.0], [1.0, 2.0]):
        with pytest.raises(ValueError):
            stats.pool_estimates([1.0], errors)


def test_pooled_intervals_hold_the_groups_true_means():
    rng, hits, count = np.random.default_rng(8), 0, 0
    sizes = [3, 2, 2, 2, 2, 3, 2, 2, 1, 1, 1, 5]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for tau in (0.0, 1.0, 3.0):
        for _ in range(100):
            truth = rng.normal(1, tau, len(sizes))
            found = stats.pool_groups(rng.normal(truth[groups], 2), groups.tolist())
            hits += sum(g.low <= truth[g.key] <= g.high for g in found.groups)
            count += len(sizes)
    assert 0.93 < hits / count < 0.985


def test_variance_split_finds_what_was_put_in():
    rng = np.random.default_rng(2)
    probes = np.repeat(np.arange(400), 5)
    values = rng.normal(0, 3, 400)[probes] + rng.normal(0, 4, 2000)
    split = stats.variance_split(values, probes.tolist())
    assert split.between == pytest.approx(9, rel=0.2) and split.within == pytest.approx(16, rel=0.1)
    assert split.icc == pytest.approx(0.36, abs=0.05)
    assert (split.n_probes, split.n_values) == (400, 2000)
    means = [values[probes == p].mean() for p in range(400)]
    assert stats.error_of_mean(split, 400, 5) == pytest.approx(np.std(means, ddof=1) / 20)
    assert stats.error_of_mean(split, 400, 10**9) == pytest.approx(math.sqrt(split.between) / 20)
    cut = stats.variance_split([1.0, -1.0, 1.0, -1.0], ["a", "a", "b", "b"])
    assert (cut.between, cut.icc) == (0.0, 0.0)
    assert stats.variance_split([1.0, 2.0], ["a", "b"]) is None
    assert stats.variance_split([1.0, 2.0], ["a", "a"]) is None
    with pytest.raises(ValueError):
        stats.error_of_mean(split, 0, 1)


def test_noise_floor():
    replicate = paired_effect([0.5, -1.5, 0.2, 0.1, -0.4])
    floor = stats.noise_floor(replicate)
    assert floor == max(abs(replicate.low), abs(replicate.high)) > abs(replicate.mean)
    assert stats.within_noise(-floor, floor) and not stats.within_noise(1.01 * floor, floor)
    assert stats.noise_floor(paired_effect([0.1])) == math.inf


def test_gates():
    better = [1.0, 2.0, 1.5, 0.5, 1.0]
    assert stats.non_inferiority(better, 0.5).passed
    assert not stats.equivalence(better, 0.5).passed  # it is better by more than the margin
    assert not stats.non_inferiority([-d for d in better], 0.5).passed
    few = stats.non_inferiority([0.0], 1.0)
    assert (few.passed, few.p, few.low) == (False, None, None)  # no evidence is not a pass
    wide = stats.non_inferiority([-9.0, 9.0, 8.0, -8.0], 1.0)
    assert not wide.passed
    still = stats.equivalence([0.0] * 5, 1.0)
    assert still.passed and still.p == 1 / 2**5
    assert not stats.equivalence([0.0] * 4, 1.0).passed
    edge = stats.non_inferiority([-1.0] * 5, 1.0)
    assert not edge.passed and edge.p == 1.0
    clustered = stats.non_inferiority(better + better, 0.5, [0, 1, 2, 3, 4] * 2)
    assert clustered == stats.non_inferiority(better, 0.5)
    for margin in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError):
            stats.equivalence(better, margin)


def test_a_gate_at_its_margin_passes_one_time_in_twenty():
    rng = np.random.default_rng(6)
    passed = sum(stats.non_inferiority(rng.normal(-1, 2, 21), 1.0).passed for _ in range(3000))
    assert 0.035 < passed / 3000 < 0.065


def test_unpaired_edges():
    assert stats.unpaired([1.0], [1.0, 2.0]).p is None
    same = stats.unpaired([1.0, 1.0], [1.0, 1.0])
    assert (same.p, same.low, same.high) == (1.0, 0.0, 0.0)
    assert stats.unpaired([2.0, 2.0], [1.0, 1.0]).p == 0.0


def test_ranking_tells_apart_what_is_apart_and_nothing_else():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(101, 1)) * 5 + rng.normal(size=(101, 4)) + [0, 3, 3, 9]
    found = stats.rank_systems(table)
    assert [s.letters for s in found.systems] == ["c", "b", "b", "a"]
    last, second, third, first = found.systems
    assert (first.rank_low, first.rank_high) == (1, 1) and (last.rank_low, last.rank_high) == (4, 4)
    assert (second.rank_low, second.rank_high) == (third.rank_low, third.rank_high) == (2, 3)
    raw = [reference.ttest_rel(table[:, i], table[:, j]).pvalue for i in range(4) for j in range(i)]
    ours = [found.p[i][j] for i in range(4) for j in range(i)]
    assert ours == pytest.approx(holm(raw)) and found.p[0][0] is None
    ends = reference.ttest_1samp(table[:, 1], 0).confidence_interval()
    assert (second.low, second.high) == pytest.approx((ends.low, ends.high))
    assert found == stats.rank_systems(table)


def test_ranking_with_gaps_ties_and_copies():
    nan = math.nan
    gaps = stats.rank_systems([[1.0, nan, 3.0], [2.0, 5.0, nan], [3.0, 6.0, nan]])
    assert gaps.p[1][2] is None and [s.n for s in gaps.systems] == [3, 2, 1]
    assert gaps.systems[2].low is None and gaps.systems[2].letters
    copies = stats.rank_systems([[0.1, 0.1], [0.7, 0.7], [0.3, 0.3]])
    assert copies.p[0][1] == 1.0 and [s.rank for s in copies.systems] == [1.5, 1.5]
    assert [s.letters for s in copies.systems] == ["a", "a"]
    for wrong in ([1.0, 2.0], [[1.0, nan]], [[math.inf]], [[]]):
        with pytest.raises(ValueError):
            stats.rank_systems(wrong)


def test_ranking_of_29_systems_takes_under_a_second():
    table = np.random.default_rng(0).normal(size=(101, 29))
    start = time.process_time()
    stats.rank_systems(table, seed=77)
    assert time.process_time() - start < 1


def test_letters_of_piephos_kind():
    # Best first: 0 differs from 2 and 3, 1 from 3.
    apart = [[abs(i - j) >= 2 for j in range(4)] for i in range(4)]
    assert stats.compact_letters(apart, [0, 1, 2, 3]) == ["a", "ab", "bc", "c"]
    assert stats.compact_letters(apart, [3, 2, 1, 0]) == ["c", "bc", "ab", "a"]
    everyone = [[i != j for j in range(60)] for i in range(60)]
    names = stats.compact_letters(everyone, list(range(60)))
    assert names[0] == "a" and names[51] == "Z" and names[52] == "(53)" and len(set(names)) == 60


def test_spearman_edges():
    assert stats.spearman([1, 2, 3], [1, 2, 3]) is None
    assert stats.spearman([1, 1, 1, 1], [1, 2, 3, 4]) is None
    up = stats.spearman(range(8), [i**3 for i in range(8)])
    assert (up.rho, up.high, up.p) == (1.0, 1.0, 0.0) and 0.7 < up.low < 0.95
    down = stats.spearman(range(8), [-i for i in range(8)])
    assert (down.rho, down.low, down.high) == (-1.0, -1.0, -up.low)
    with pytest.raises(ValueError):
        stats.spearman([1, 2, 3, 4], [1, 2, 3])


@pytest.fixture(scope="module")
def coverage():
    path = Path(__file__).parents[1] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_coverage_benchmark_in_small(coverage):
    clusters = coverage.coverage("clusters", 21, 800, 300)
    ignored = coverage.coverage("ignored", 21, 800, 1)
    assert 0.92 < clusters.t < 0.98 and 0.90 < clusters.bootstrap_t < 0.98
    assert 0.72 < ignored.t < 0.84  # a nominal 95 % that ignores clusters
    rare = coverage.coverage("rare jumps", 21, 400, 1)
    assert rare.t < 0.92 and rare.flagged > 0.5
    assert coverage.coverage("normal", 101, 200, 1).flagged < 0.02
    for data in coverage.SOURCES:
        values = coverage.SOURCES[data](np.random.default_rng(0), 20_000)
        assert abs(values.mean()) < 5 * values.std() / math.sqrt(20_000 / coverage.REPHRASINGS)


def test_families_and_power_in_small(coverage):
    found = coverage.false_positives("normal", 21, 120)
    assert found["uncorrected"] > 0.8 and found["Holm"] <= found["BH"] < 0.15
    paired, formula, welch = coverage.power(21, 5.0, 400)
    assert paired == pytest.approx(formula, abs=0.06) and welch < paired - 0.3
