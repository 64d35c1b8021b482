"""effects.json against an independent computation from the raw scores, with scipy and
statsmodels: nothing of lem.stats or lem.analysis is called to make the expected numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections import defaultdict

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from lem.analysis import analyse
from lem.study import Group
from lem.text import dump_json
from studies import study

ARMS = ("baseline", "json", "txt", "placebo-json", "placebo-txt", "baseline-replicate")
PROBES, SAMPLES = 60, 2


def drawn(seed):
    """Three models, unequal clusters, samples, holes, lengths that move the score."""
    rng = random.Random(seed)
    moves = {"json": 2.0, "txt": -1.0, "placebo-json": 1.0}

    def score(model, arm, i):
        if rng.random() < (0.15 if arm == "json" else 0.01):
            return rng.choice([None, "missing"])
        return 5 + i % 7 + moves.get(arm, 0) * (1 + (model == "c")) + rng.gauss(0, 3)

    models = {
        model: {
            arm: [[score(model, arm, i) for _ in range(SAMPLES)] for i in range(PROBES)]
            for arm in ARMS
        }
        for model in ("a", "b", "c")
    }
    made = study(
        models,
        clusters=lambda i: i // 2 if i < 20 else i,  # ten dilemmas of two wordings, forty of one
        domains=("D", "E", "F"),
        groups={"b": Group("F", "1", 1.0, "a")},
    )
    answers = []
    for a in made.answers:
        words = rng.randint(30, 300)
        score = None if a.scores[0] is None else round(a.scores[0] + 2 * math.log(words), 2)
        answers.append(a._replace(words=words, scores=(score,)))
    return dataclasses.replace(made, answers=tuple(answers))


def units(made, pairs):
    """(differences, length shifts) by dilemma, of signed (model, arm) pairs over common probes."""
    scores, logs = defaultdict(list), defaultdict(list)
    for a in made.answers:
        logs[a.model, a.condition, a.probe].append(math.log(a.words))
        if a.scores[0] is not None:
            scores[a.model, a.condition, a.probe].append(a.scores[0])
    by_unit = defaultdict(list)
    for name, probe in made.probes.items():
        if all((*place, name) in scores for place, _ in pairs):
            d = sum(sign * np.mean(scores[*place, name]) for place, sign in pairs)
            x = sum(sign * np.mean(logs[*place, name]) for place, sign in pairs)
            by_unit[probe.cluster].append((d, x))
    means = np.array([np.mean(rows, axis=0) for rows in by_unit.values()])
    return means[:, 0], means[:, 1]


def expected(c):
    """The signed arms behind a contrast of effects.json."""
    if c["kind"] == "tuned":
        return [(tuple(c["arm"].split(":")), 1), (tuple(c["reference"].split(":")), -1)]
    if c["kind"] == "resistance":
        kernel = c["arm"].partition(":")[2].partition("−")[0]
        arms = [("b", kernel, 1), ("b", "baseline", -1), ("a", kernel, -1), ("a", "baseline", 1)]
    elif c["kind"] == "layout":
        arms = [
            (c["model"], arm, sign)
            for arm, sign in (("json", 1), ("placebo-json", -1), ("txt", -1), ("placebo-txt", 1))
        ]
    else:
        arms = [(c["model"], c["arm"], 1), (c["model"], c["reference"], -1)]
    return [((model, arm), sign) for model, arm, sign in arms]


@pytest.mark.parametrize("seed", range(3))
def test_effects_are_what_scipy_and_statsmodels_make_of_the_scores(seed):
    made = drawn(seed)
    found = json.loads(dump_json(analyse(made).to_json()))["scorers"][0]
    near = lambda value: pytest.approx(value, rel=1e-9, abs=1e-9)  # noqa: E731
    families = defaultdict(list)
    seen = set()
    for c in found["contrasts"]:
        seen.add(c["kind"])
        d, x = units(made, expected(c))
        e, n = c["effect"], len(d)
        t = scipy_stats.ttest_1samp(d, 0)
        ends = t.confidence_interval(0.95)
        assert (e["n"], e["mean"], e["sd"]) == (n, near(d.mean()), near(d.std(ddof=1)))
        assert (e["low"], e["high"], e["p"]) == (near(ends.low), near(ends.high), near(t.pvalue))
        assert e["d_z"] == near(d.mean() / d.std(ddof=1)) and e["median"] == near(np.median(d))
        assert e["skew"] == near(scipy_stats.skew(d, bias=False))
        better, worse = int((d > 0.5).sum()), int((d < -0.5).sum())
        assert (e["better"], e["same"], e["worse"]) == (better, n - better - worse, worse)
        assert e["sign_p"] == near(scipy_stats.binomtest(better, better + worse).pvalue)
        shares = proportion_confint(better, n, method="wilson")
        assert (e["better_low"], e["better_high"]) == (near(shares[0]), near(shares[1]))
        line = sm.OLS(d, sm.add_constant(x)).fit(cov_type="HC3", use_t=True)
        (low, high), length = line.conf_int()[0], c["length"]
        assert length["effect"] == near(line.params[0]) and length["p"] == near(line.pvalues[0])
        assert (length["low"], length["high"]) == (near(low), near(high))
        assert (length["slope"], length["mean_shift"]) == (near(line.params[1]), near(x.mean()))
        if c["family"]:
            families[c["family"]].append((t.pvalue, c))
    assert seen == {"kernel", "content", "control", "noise", "layout", "tuned", "resistance"}
    for tests in families.values():
        holm = multipletests([p for p, _ in tests], method="holm")[1]
        for p, (_, c) in zip(holm, tests):
            assert (c["p_adjusted"], c["family_size"]) == (near(p), len(tests))
            n, sd = c["effect"]["n"], c["effect"]["sd"]
            quantiles = scipy_stats.t.ppf([1 - 0.025 / len(tests), 0.8], n - 1)
            assert c["detectable"] == near(quantiles.sum() * sd / math.sqrt(n))


def test_the_worst_case_bounds_what_the_missing_scores_could_have_been():
    """Any filling of the holes with scores that were seen lies within the bounds."""
    made, rng = drawn(1), random.Random(0)
    bounded = [c for c in analyse(made).primary.contrasts if c.worst]
    assert bounded
    for c in bounded:
        arms = [(c.model, c.arm), (c.model, c.reference)]
        known = defaultdict(list)
        for a in made.answers:
            known[a.model, a.condition, a.probe].append(a.scores[0])
        seen = [
            s for (m, arm, _), v in known.items() if (m, arm) in arms for s in v if s is not None
        ]
        for _ in range(20):
            by_unit = defaultdict(list)
            for name, probe in made.probes.items():
                cells = [known.get((*place, name)) for place in arms]
                if any(cells):
                    size = max(len(v or ()) for v in cells)
                    one, other = (
                        np.mean([rng.choice(seen) if s is None else s for s in v or [None] * size])
                        for v in cells
                    )
                    by_unit[probe.cluster].append(one - other)
            mean = np.mean([np.mean(v) for v in by_unit.values()])
            assert c.worst.low <= mean <= c.worst.high


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_any_scale_and_any_number_of_probes_gives_json(unit, n):
    """No NaN, no infinity, for scores of any size, constant arms, and one probe."""
    rng = random.Random(n)
    noisy = lambda: [unit * rng.gauss(10, 2) for _ in range(n)]  # noqa: E731
    arms = {arm: noisy() for arm in ARMS}
    arms |= {"txt": arms["baseline"], "placebo-txt": [unit] * n}
    made = study({"a": arms, "b": {"baseline": [0.0] * n}}, words=lambda arm, i: len(arm) * (i % 5))
    found = analyse(made)
    json.loads(dump_json(found.to_json()), parse_constant=pytest.fail)
    base = found.primary.contrast("a", "json", "baseline")
    assert (base.noise is None) == (n == 1)  # one unit has no interval, so no floor
