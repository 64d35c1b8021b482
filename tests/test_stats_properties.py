"""What must hold for any data: no exceptions, order inside intervals, and the right invariances."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lem import stats
from lem.stats.paired import PairedEffect

ANY = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30)
SCORES = st.lists(st.integers(-200, 200).map(lambda i: i / 10), min_size=1, max_size=30)
RARE_FAST = settings(deadline=None, max_examples=60)
INTERVALS = (("low", "high"), ("boot_low", "boot_high"), ("median_low", "median_high"))


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def plain(effect: PairedEffect) -> None:
    """Python's own types only, no nan: what JSON can hold."""
    for name, value in dataclasses.asdict(effect).items():
        assert type(value) in (int, float, bool, str, type(None)), name
        assert not (isinstance(value, float) and math.isnan(value)), name


@RARE_FAST
@given(ANY | SCORES)
def test_any_finite_differences_have_an_effect(values):
    effect = stats.paired_effect(values, resamples=200)
    plain(effect)
    assert effect.n == effect.units == len(values)
    assert effect.better + effect.same + effect.worse == effect.n
    for name in ("p", "sign_p", "wilcoxon_p"):
        assert getattr(effect, name) is None or 0 <= getattr(effect, name) <= 1
    for low, high in INTERVALS:
        ends = getattr(effect, low), getattr(effect, high)
        assert (ends[0] is None) == (ends[1] is None)
        assert ends[0] is None or ends[0] <= ends[1]
    assert effect.low is None or effect.low <= effect.mean <= effect.high
    assert effect.median_low is None or effect.median_low <= effect.median <= effect.median_high
    assert effect.better_low <= effect.better / effect.n <= effect.better_high
    assert (effect.low is None) == (effect.n < 2)
    if effect.p is not None and effect.sd and 0 < abs(effect.mean) < 1e290:
        # The interval and the test say the same, but where both are undecided by rounding.
        assert (effect.p < 0.05) == (not effect.low <= 0 <= effect.high) or (
            abs(effect.p - 0.05) < 1e-6
        )


@RARE_FAST
@given(SCORES, st.integers(-50, 50), st.sampled_from([0.25, 2.0, 64.0]))
def test_shift_scale_sign_and_order(values, shift, scale):
    def effect(changed, tie=0.5):
        return stats.paired_effect(changed, tie=tie, resamples=200)

    one = effect(values)
    moved = effect([v + shift for v in values])
    scaled = effect([v * scale for v in values], tie=0.5 * scale)
    mirror = effect([-v for v in values])
    backwards = dataclasses.asdict(effect(values[::-1]))
    for name, value in dataclasses.asdict(one).items():
        near = value if type(value) is not float else pytest.approx(value, rel=1e-7, abs=1e-7)
        assert name == "noisy_tail" or backwards[name] == near
    for low, high in INTERVALS:
        if getattr(one, low) is None:
            assert getattr(moved, low) is None
            continue
        ends = np.array([getattr(one, low), getattr(one, high)])
        near = {"rel": 1e-7, "abs": 1e-7}
        found = [getattr(moved, low), getattr(moved, high)]
        assert found == pytest.approx((ends + shift).tolist(), **near)
        found = [getattr(scaled, low), getattr(scaled, high)]
        assert found == pytest.approx((ends * scale).tolist(), **near)
        if low != "boot_low":  # a mirrored sample draws other resamples
            found = [getattr(mirror, high), getattr(mirror, low)]
            assert found == pytest.approx((-ends).tolist(), **near)
    for name in ("p", "sign_p", "wilcoxon_p"):
        if getattr(one, name) is not None:
            assert getattr(scaled, name) == pytest.approx(getattr(one, name), abs=1e-9)
            assert getattr(mirror, name) == pytest.approx(getattr(one, name), abs=1e-9)
    assert (mirror.better, mirror.worse) == (one.worse, one.better)
    assert (scaled.better, scaled.worse) == (one.better, one.worse)


@RARE_FAST
@given(SCORES, st.integers(1, 5))
def test_copies_within_clusters_are_no_evidence(values, copies):
    one = stats.paired_effect(values, resamples=100)
    clusters = [i for i in range(len(values)) for _ in range(copies)]
    many = stats.paired_effect([values[i] for i in clusters], clusters, resamples=100)
    assert many.units == copies * one.n
    for field in dataclasses.fields(PairedEffect):
        ours, theirs = getattr(many, field.name), getattr(one, field.name)
        if isinstance(ours, float) and field.name != "units":
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)
        elif field.name not in ("units", "noisy_tail", "d_z", "skew"):
            assert ours == theirs


@RARE_FAST
@given(st.lists(st.none() | st.floats(0, 1), max_size=40))
def test_adjusted_p_values(ps):
    holm, bh = stats.holm(ps), stats.benjamini_hochberg(ps)
    for p, a, b in zip(ps, holm, bh, strict=True):
        assert (p is None) == (a is None) == (b is None)
        assert p is None or p <= b <= a <= 1
    order = sorted(range(len(ps)), key=lambda i: (ps[i] is None, ps[i] or 0))
    tested = [i for i in order if ps[i] is not None]
    for adjusted in (holm, bh):
        assert [adjusted[i] for i in tested] == sorted(adjusted[i] for i in tested)
    if tested:
        assert holm[tested[0]] == pytest.approx(min(1, len(tested) * ps[tested[0]]))


@RARE_FAST
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 6)), min_size=1, max_size=40),
)
def test_pooled_means_lie_between_their_own_and_the_common_mean(pairs):
    values, groups = zip(*pairs)
    found = stats.pool_groups(values, groups)
    room = 1e-6 + 1e-9 * max(map(abs, values))
    for group in found.groups:
        ends = sorted((group.mean, found.mu))
        assert ends[0] - room <= group.pooled <= ends[1] + room
        assert (group.low is None) == (len(found.groups) == 1)
        assert group.low is None or group.low - room <= group.pooled <= group.high + room
    assert found.tau >= 0 and found.sigma >= 0
    split = stats.variance_split(values, groups)
    assert split is None or (split.between >= 0 and 0 <= split.icc <= 1)
    assert split is None or stats.error_of_mean(split, 9, 2) <= stats.error_of_mean(split, 9, 1)


@RARE_FAST
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6)), min_size=1, max_size=20))
def test_pooled_estimates(pairs):
    estimates, errors = zip(*pairs)
    found = stats.pool_estimates(estimates, errors)
    assert found.low <= found.mu <= found.high
    assert min(estimates) - 1e-3 <= found.mu <= max(estimates) + 1e-3
    assert 0 <= found.i2 <= 1
    if len(pairs) > 1:
        assert found.prediction_low <= found.low and found.high <= found.prediction_high


@RARE_FAST
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-3, 3)), min_size=1, max_size=30))
def test_length_correlation_and_gates_on_anything(pairs):
    scores, lengths = map(list, zip(*pairs))
    found = stats.length_adjusted(scores, lengths)
    if found is not None:
        assert len(pairs) >= 8 and 0 <= found.p <= 1
        assert found.low <= found.effect <= found.high
        assert found.slope_low <= found.slope <= found.slope_high
    rho = stats.spearman(scores, lengths)
    if rho is not None:
        assert -1 <= rho.low <= rho.rho <= rho.high <= 1 and 0 <= rho.p <= 1
        increasing = stats.spearman([math.atan(s / 1e3) for s in scores], scores)
        assert increasing.rho == pytest.approx(1, abs=0.5)
    same, better = stats.equivalence(scores, 2.0), stats.non_inferiority(scores, 2.0)
    assert not (same.passed and not better.passed)
    assert same.p is None or same.p >= better.p
    welch = stats.unpaired(scores, lengths)
    assert welch.p is None or 0 <= welch.p <= 1


TABLE = st.integers(1, 6).flatmap(
    lambda k: st.lists(
        st.lists(st.none() | st.integers(-20, 20), min_size=k, max_size=k), min_size=1, max_size=12
    )
)


@RARE_FAST
@given(TABLE)
def test_ranking_of_any_table(rows):
    table = np.array(rows, dtype=float)
    if not (~np.isnan(table)).any(axis=0).all():
        with pytest.raises(ValueError):
            stats.rank_systems(table)
        return
    found = stats.rank_systems(table, resamples=50)
    k = table.shape[1]
    assert sum(s.rank for s in found.systems) == pytest.approx(k * (k + 1) / 2)
    for i, one in enumerate(found.systems):
        assert 1 <= one.rank_low <= one.rank_high <= k and one.letters
        for j, other in enumerate(found.systems):
            significant = found.p[i][j] is not None and found.p[i][j] < 0.05
            assert bool(set(one.letters) & set(other.letters)) != (significant and i != j)


@RARE_FAST
@given(st.integers(1, 9), st.data())
def test_letters_say_exactly_what_the_tests_say(k, data):
    apart = [[False] * k for _ in range(k)]
    for i in range(k):
        for j in range(i):
            apart[i][j] = apart[j][i] = data.draw(st.booleans())
    letters = stats.compact_letters(apart, data.draw(st.permutations(range(k))))
    for i in range(k):
        for j in range(k):
            assert bool(set(letters[i]) & set(letters[j])) == (not apart[i][j])
    # No letter could be left out: that is what absorbing is for.
    for letter in set("".join(letters)):
        thinner = ["".join(c for c in text if c != letter) for text in letters]
        members = [i for i in range(k) if letter in letters[i]]
        others = {frozenset(i for i in range(k) if c in letters[i]) for c in set("".join(thinner))}
        assert not any(set(members) <= other for other in others)
