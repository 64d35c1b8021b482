"""What is concluded: which contrasts are made, what they are put down to, in which words."""

from __future__ import annotations

import dataclasses
import json
import random
import re

import pytest

from conftest import REPOSITORY
from lem.analysis import Pair, analyse
from lem.scorers.registry import SCORERS
from lem.study import Group, Problem
from lem.text import dump_json
from studies import BASE, moved, study


def one(arms, **options):
    return analyse(study({"m": arms}, **options))


def sentence(arms, **options):
    return one(arms, **options).primary.findings[0].sentence


def code(arms, **options):
    return one(arms, **options).primary.findings[0].code


def test_without_a_placebo_a_clear_difference_is_not_put_down_to_the_kernel():
    arms = {"baseline": BASE, "json": moved(BASE, 3, 1)}
    assert code(arms) == "unattributed"
    assert "JSON kernel: +3.0 (95 % +2.6…+3.5) over baseline" in sentence(arms)
    assert "cannot be told from the effect of any long prompt" in sentence(arms)
    assert "none of this is evidence about ethics" in " ".join(one(arms).summary)


def test_noise_is_not_shown_and_the_detectable_size_is_told():
    found = one({"baseline": BASE, "json": moved(BASE, 0.3, 4)})
    assert found.primary.findings[0].code == "not shown"
    assert "n = 21 probes, true differences below about 2.6 points" in " ".join(found.summary)


def test_the_placebo_decides_about_content():
    arms = {"baseline": BASE, "json": moved(BASE, 3, 1), "placebo-json": moved(BASE, 3.1, 0.5)}
    assert code(arms) == "any prompt"
    assert sentence(arms).endswith(
        "not shown to differ from its placebo, so it cannot be told from the effect of any long "
        "prompt."
    )
    arms["placebo-json"] = moved(BASE, 0, 0.5)
    assert code(arms) == "content" and "an effect of what the kernel says" in sentence(arms)
    arms["placebo-json"] = moved(BASE, 8, 0.5)
    assert code(arms) == "mixed"
    flat = {"baseline": BASE, "json": moved(BASE, 0, 1), "placebo-json": moved(BASE, -4, 0.5)}
    assert code(flat) == "placebo differs"


def test_length_takes_away_what_comes_with_it():
    """Longer answers score more, in both arms alike; the kernel only makes them longer."""
    rng = random.Random(1)
    logs = {
        (arm, i): rng.gauss(0.5 if arm == "json" else 0.0, 0.3)
        for arm in ("baseline", "json", "placebo-json")
        for i in range(101)
    }
    base = [10.0 + i % 5 for i in range(101)]
    words = lambda arm, i: round(200 * 2.718281828 ** logs[arm, i])  # noqa: E731
    arms = {
        arm: [b + 6 * logs[arm, i] + rng.gauss(0, 0.5) for i, b in enumerate(base)]
        for arm in ("baseline", "json", "placebo-json")
    }
    assert code(arms, words=words) == "length"
    assert "not shown between answers of equal length (" in sentence(arms, words=words)
    arms["json"] = [s + 4 for s in arms["json"]]
    assert code(arms, words=words) == "content"


def test_an_effect_inside_the_noise_floor_is_noise():
    arms = {
        "baseline": BASE,
        "json": moved(BASE, 1, 0.5),
        "baseline-replicate": moved(BASE, 1, 4),
    }
    found = one(arms)
    assert found.primary.findings[0].code == "noise"
    contrast = found.primary.contrast("m", "json", "baseline")
    assert contrast.in_noise and contrast.noise > contrast.effect.mean
    assert "asking the baseline a second time" in found.primary.findings[0].sentence


def test_a_claim_about_content_must_leave_the_noise_over_the_placebo_too():
    """Shown over the placebo, but by less than the baseline differs from itself."""
    arms = {
        "baseline": BASE,
        "json": moved(BASE, 4, 0.5),
        "placebo-json": moved(BASE, 3, 0.4),
        "baseline-replicate": moved(BASE, 1, 1),
    }
    content = one(arms).primary.contrast("m", "json", "placebo-json")
    assert content.shown and content.in_noise and code(arms) == "any prompt"
    assert "no further from its placebo than asking the baseline twice may give" in sentence(arms)
    arms |= {"json": moved(BASE, 0, 1), "placebo-json": moved(BASE, -1, 0.5)}
    assert code(arms) == "not shown"


@pytest.mark.parametrize("n", [2, 7, 9, 10])
def test_nothing_is_shown_below_ten_probes(n):
    """R3: equal differences of a few probes have a tiny p and prove nothing."""
    base = BASE[:n]
    arms = {"baseline": base, "json": moved(base, 3, 0.1), "placebo-json": moved(base, 0, 0.2)}
    assert code(arms) == ("content" if n == 10 else "untestable")
    contrast = one(arms).primary.contrast("m", "json", "baseline")
    assert contrast.shown == (n == 10)
    if n < 10:
        assert f"{n} probes are a first look, too few to conclude anything" in sentence(arms)
        assert f"n = {n} is a first look, not a measurement." in one(arms).summary


def test_equal_differences_have_no_power_to_speak_of():
    """Without spread nobody knows what could be shown."""
    found = one({"baseline": BASE, "json": BASE})
    assert found.primary.contrast("m", "json", "baseline").detectable is None
    assert not any("would be missed" in s for s in found.summary)


def test_content_is_not_claimed_where_length_cannot_be_held_equal():
    """Every answer is twice as long: no line can tell what equal lengths would give."""
    arms = {"baseline": BASE, "json": moved(BASE, 3, 1), "placebo-json": moved(BASE, 0, 0.5)}
    assert code(arms, words=lambda arm, _: 200 if arm == "json" else 100) == "length"
    assert code(arms, words=lambda arm, _: 102 if arm == "json" else 100) == "content"
    told = sentence(arms, words=lambda arm, _: 200 if arm == "json" else 100)
    assert "equal length (all differ in length alike), so it cannot be told from" in told


def test_a_placebo_with_few_answers_is_said():
    few = [*moved(BASE, 0, 0.5)[:12], *["missing"] * 9]
    arms = {"baseline": BASE, "json": moved(BASE, 3, 1), "placebo-json": few}
    assert "over placebo (12 of the probes): an effect" in sentence(arms)
    arms["placebo-json"] = [*few[:5], *["missing"] * 16]
    assert code(arms) == "unattributed"
    assert "with too few answers to its placebo it cannot be told" in sentence(arms)


def test_holm_guards_the_family_over_models_and_kernels():
    """A p of about 0.03 alone is shown; as one of two kernel arms it is not."""
    borderline = moved(BASE, 1.0, 2.2)
    assert code({"baseline": BASE, "json": borderline}) == "unattributed"
    both = {"baseline": BASE, "json": borderline, "txt": moved(BASE, 0, 3)}
    assert code(both) == "not shown"
    assert sentence(both).endswith("not shown once 2 tests are counted.")
    two = analyse(study({"a": {"baseline": BASE, "json": borderline}, "b": dict(both)}))
    families = {(c.family, c.family_size) for c in two.primary.contrasts if c.kind == "kernel"}
    assert families == {("kernel effects", 3)}
    assert not any(c.shown for c in two.primary.contrasts if c.kind == "kernel")


def test_controls_are_exploratory_and_every_kind_is_made():
    arms = {
        name: moved(BASE, i, 1)
        for i, name in enumerate(
            ["json", "txt", "placebo-json", "placebo-txt", "shuffled-json", "one-line"]
        )
    }
    found = one({"baseline": BASE, **arms, "baseline-replicate": BASE}).primary
    kinds = {c.kind: c for c in found.contrasts}
    assert set(kinds) == {"kernel", "content", "words", "control", "noise", "layout"}
    assert kinds["control"].family is None and kinds["words"].p_adjusted is None
    assert kinds["content"].family == "kernel against placebo"
    assert kinds["layout"].arm == "json−placebo-json" and kinds["layout"].effect.mean == 0
    without = one({"baseline": BASE, "json": BASE, "txt": moved(BASE, 1, 1)}).primary
    assert without.contrast("m", "json", "txt").kind == "layout"


def test_samples_and_rephrasings_are_one_unit():
    """Four wordings of one dilemma are one unit, not four."""
    noisy = [b + (3 if (i // 4) % 2 else -2) for i, b in enumerate([10.0] * 40)]
    arms = {"baseline": [10.0] * 40, "json": noisy}
    alone = one(arms).primary.contrast("m", "json", "baseline").effect
    clustered = one(arms, clusters=lambda i: i // 4).primary.contrast("m", "json", "baseline")
    assert (alone.n, clustered.effect.n, clustered.effect.units) == (40, 10, 40)
    assert clustered.effect.high - clustered.effect.low > 1.9 * (alone.high - alone.low)
    assert [u.id for u in clustered.units] == [f"C{i}" for i in range(10)]
    samples = {"baseline": [[9.0, 11.0]] * 21, "json": [[10.0, 14.0]] * 21}
    averaged = one(samples).primary.contrast("m", "json", "baseline").effect
    assert (averaged.n, averaged.mean) == (21, 2.0)
    assert one(samples).primary.variance["m"].n_values == 42


def test_missing_scores_are_listed_and_bounded():
    """Three of 21 answers without a score: unmatched, counted, and a worst case."""
    broken = [None, "missing", None, *moved(BASE, 1, 0.5)[3:]]
    found = one({"baseline": BASE, "json": broken}).primary
    contrast = found.contrast("m", "json", "baseline")
    assert contrast.unmatched == ("P000", "P001", "P002") and contrast.effect.n == 18
    assert contrast.worst.missing == 3
    assert contrast.worst.low < contrast.effect.low and contrast.worst.high > contrast.effect.high
    arm = next(a for a in found.arms if a.arm == "json")
    assert (arm.n, arm.probes, arm.answers, arm.missing, arm.unscored) == (18, 20, 20, 1, 2)


def test_the_worst_case_is_of_units_and_counts_samples_without_a_score():
    """Ten wordings of one dilemma weigh as much as one of another; a probe of which two samples
    of three have no score lacks two thirds of its score."""
    base = [10.0] * 10 + [20.0] * 10
    arms = {"baseline": base, "json": [*(b + 1 for b in base[:-1]), None]}
    found = one(arms, clusters=lambda i: 0 if i < 10 else i).primary.contrasts[0]
    # 11 units: the dilemma of ten wordings and nine others +1, the last one 10 − 20 or 21 − 20
    assert (found.worst.low, found.worst.high) == pytest.approx((0, 1))
    arms = {"baseline": [[1.0, 2.0, 3.0]] * 21, "json": [[None, None, 3.0]] * 21}
    found = one(arms)
    worst = found.primary.contrasts[0].worst
    assert (worst.low, worst.high, worst.missing) == (pytest.approx(-1 / 3), 1, 42)
    assert any("would put the mean of json − baseline at −0.3 to +1.0" in s for s in found.summary)


def test_a_difference_of_differences_takes_the_probes_of_all_four():
    """Two wordings a dilemma; one model lacks a wording, which has an effect of its own."""
    base = [10.0, 10.0] * 12
    full = {"baseline": base, "json": [b + (5 if i % 2 else 1) for i, b in enumerate(base)]}
    holes = full | {"json": [full["json"][0], "missing", *full["json"][2:]]}
    groups = {"b": Group("F", "1", 1.0, "a")}
    found = analyse(study({"b": holes, "a": full}, clusters=lambda i: i // 2, groups=groups))
    (contrast,) = [c for c in found.primary.contrasts if c.kind == "resistance"]
    assert (contrast.effect.mean, contrast.effect.n, contrast.effect.units) == (0, 12, 23)
    assert contrast.unmatched == ("P001",)
    assert any(s.startswith("With n = 12 dilemmas") for s in found.summary)


def test_an_empty_arm_one_probe_and_equal_scores_are_said():
    empty = one({"baseline": BASE, "json": ["missing"] * 21})
    assert empty.primary.findings[0].code == "untestable"
    assert "only 0 probes in common" in empty.headline
    single = one({"baseline": [1.0], "json": [2.0]})
    assert single.primary.findings[0].code == "untestable"
    assert "only 1 probe in common" in single.headline
    equal = one({"baseline": [5.0] * 21, "json": [5.0] * 21})
    assert "every probe has the same score with it and without it" in equal.headline
    assert "Nothing is compared" in one({"baseline": BASE}).headline
    none = one({"baseline": [None] * 5, "json": [None] * 5})
    assert none.primary.findings[0].code == "untestable"
    for found in (empty, single, equal, none):
        json.loads(dump_json(found.to_json()))  # no NaN


def test_what_is_wrong_with_the_answers_is_said():
    arms = {"baseline": BASE, "json": moved(BASE, 0, 1)}
    said = " ".join(one(arms, truncated=True, repetitive=True, refused=True).summary)
    assert "42 of 42 answers were cut off" in said and "42 of 42 answers repeat themselves" in said
    assert "42 of 42 answers open by declining" in said
    assert "42 of 42 answers do not say" in " ".join(one(arms, truncated=None).summary)
    assert "cut off" not in " ".join(one(arms).summary)


def test_complete_pairs_leave_out_cut_answers():
    made = study({"m": {"baseline": BASE, "json": moved(BASE, 2, 1)}})
    answers = [
        a._replace(truncated=a.condition == "json" and a.probe < "P005") for a in made.answers
    ]
    found = analyse(dataclasses.replace(made, answers=tuple(answers))).primary
    contrast = found.contrast("m", "json", "baseline")
    assert (contrast.effect.n, contrast.complete.n) == (21, 16)


def test_domains_are_pooled():
    uneven = [b + (5 if i % 3 == 0 else 0) for i, b in enumerate(moved(BASE, 0, 3))]
    arms = {"baseline": BASE, "json": uneven}
    found = one(arms, domains=("A", "B", "C")).primary
    groups = {g.key: g for g in found.domains[0].pooling.groups}
    assert set(groups) == {"A", "B", "C"} and 3 < groups["A"].pooled < groups["A"].mean
    assert not one(arms).primary.domains  # one domain is no split


GROUPS = {
    "old-7b": Group("Fam", "1", 7.0),
    "new-7b": Group("Fam", "2", 7.0),
    "new-1b": Group("Fam", "2", 1.0),
    "new-30b": Group("Fam", "2", 30.0),
    "tuned-7b": Group("Fam", "2", 7.0, "new-7b"),
}


def family(**effects):
    levels = {"old-7b": 0, "new-7b": 4, "new-1b": 1, "new-30b": 6, "tuned-7b": 9}
    models = {}
    for name, level in levels.items():
        base = moved(BASE, level, 0.7)
        models[name] = {"baseline": base, "json": moved(base, effects.get(name[:5], 2), 0.4)}
    return analyse(study(models, groups=GROUPS))


def test_models_are_compared_as_the_recipe_groups_them():
    found = family(tuned=-1).primary
    by_kind = {}
    for c in found.contrasts:
        by_kind.setdefault(c.kind, []).append(c)
    (tuned,) = by_kind["tuned"]
    assert (tuned.arm, tuned.reference) == ("tuned-7b:baseline", "new-7b:baseline")
    assert tuned.effect.mean == pytest.approx(5)
    (resistance,) = by_kind["resistance"]
    assert resistance.effect.mean == pytest.approx(-3)  # −1 on the tuned, +2 on its base
    assert resistance.shown
    assert any("the kernel changes the two models' scores differently" in s for s in found.across)
    (pooled,) = [f for f in found.families if f.kind == "kernel"]
    assert "tuned-7b" not in pooled.models and len(pooled.models) == 4
    (lineage,) = by_kind["lineage"]
    assert (lineage.arm, lineage.reference) == ("new-7b:baseline", "old-7b:baseline")
    (scale,) = found.scales
    assert scale.models == ("new-1b", "new-7b", "new-30b") and 0.9 < scale.effect.mean < 1.2


def test_a_drop_that_the_base_has_too_is_no_resistance():
    found = family(tuned=-3, **{"new-7": -3}).primary
    (resistance,) = [c for c in found.contrasts if c.kind == "resistance"]
    assert resistance.effect.mean == pytest.approx(0) and not resistance.shown


def test_families_are_pooled_and_ranks_have_groups():
    found = family().primary
    (kernel,) = [f for f in found.families if f.kind == "kernel"]
    assert kernel.overall.mu == pytest.approx(2, abs=0.1) and "Fam" in kernel.by_family
    ranked = next(r for r in found.rankings if r.condition == "baseline")
    order = sorted(zip(ranked.models, ranked.ranking.systems), key=lambda p: p[1].rank)
    assert [name for name, _ in order] == ["tuned-7b", "new-30b", "new-7b", "new-1b", "old-7b"]
    assert ranked.n == 21


def test_models_that_say_the_same_of_the_same_probes_are_one_model_to_the_pooling():
    """A copy of a model is no further evidence about other probes."""
    arms = {"baseline": BASE, "json": moved(BASE, 2, 1.5)}
    one_effect = one(arms).primary.contrast("m", "json", "baseline").effect
    for copies in (2, 5):
        made = study({f"m{i}": arms for i in range(copies)})
        (pooled,) = analyse(made).primary.families
        assert pooled.overall.error == pytest.approx(one_effect.sd / one_effect.n**0.5)


def test_compare_pairs_conditions_of_two_models():
    made = study({"a": {"baseline": BASE, "json": BASE}, "b": {"baseline": moved(BASE, 2, 1)}})
    found = analyse(made, compare=[Pair("b", "a")]).primary
    (contrast,) = [c for c in found.contrasts if c.kind == "models"]
    assert (contrast.arm, contrast.reference) == ("b:baseline", "a:baseline")
    own = analyse(made, compare=[Pair("a", "a", "json", "baseline")]).primary
    (within,) = [c for c in own.contrasts if c.kind == "models"]
    assert within.effect.mean == 0 and within.model == "a"


def test_a_named_pair_that_is_a_tuned_pair_is_compared_once():
    made = study(
        {name: {"baseline": BASE, "json": moved(BASE, 1, 1)} for name in "ab"},
        groups={"b": Group("F", "1", 1.0, "a")},
    )
    found = analyse(made, compare=[Pair("b", "a")]).primary
    assert len({c.id for c in found.contrasts}) == len(found.contrasts)
    assert [c.family_size for c in found.contrasts if c.kind == "resistance"] == [1]
    own = analyse(made, compare=[Pair("a", "a", "json", "baseline")]).primary
    assert not any(c.model == "a − a" for c in own.contrasts)


def test_a_comparison_without_kernels_is_the_headline_and_has_its_power():
    made = study({"a": {"baseline": BASE}, "b": {"baseline": moved(BASE, 2, 1)}})
    found = analyse(made, compare=[Pair("b", "a")])
    assert "b:baseline − a:baseline: +2.0" in found.headline
    assert any("would be missed" in s for s in found.summary)


def test_ids_are_unique_and_the_numbers_repeat():
    first, second = family(), family()
    ids = [c.id for s in first.scorers for c in s.contrasts]
    assert len(ids) == len(set(ids))
    assert dump_json(first.to_json()) == dump_json(second.to_json())


def test_every_scorer_has_its_caution():
    from lem.analysis.words import caution

    for name in SCORERS:
        assert len(caution(name)) > 40


def test_every_kind_of_problem_has_its_sentence():
    kinds = {
        "broken line",
        "duplicate",
        "other text",
        "stored score",
        "left out",
        "named twice",
        "texts left out",
    }
    rooms = (REPOSITORY / "src" / "lem" / "study").glob("*.py")
    source = "".join(path.read_text() for path in rooms)
    made = set(re.findall(r'(?:problem|Problem)\(\s*"([^"]+)"', source))
    assert made == kinds
    for kind in kinds:
        problems = (Problem(kind, "f", "x"),)
        found = analyse(dataclasses.replace(study({"m": {"baseline": BASE}}), problems=problems))
        assert (
            len(found.warnings) == 1 and found.warnings[0][0].isupper()
        ) or "1" in found.warnings[0]
