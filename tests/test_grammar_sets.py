"""The grammar score of sets: summaries, reference sets, and profiles that are never mixed."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from grammar_vectors import DATA, differences, without_profile
from lem.errors import LemError
from lem.scorers import grammar
from lem.scorers.grammar import PROFILES
from lem.scorers.registry import get_scorer

# --- sets of answers -----------------------------------------------------------------------------


def test_summary_of_a_set() -> None:
    prompt = "Did the tests fail?"
    answers = ["Did the tests fail?", "", "   ", "Why?", "Why did they run? They passed."]
    pairs = [grammar.score_pair(prompt, answer) for answer in answers]
    summary = grammar.summarise(iter(pairs), leakage_share=0.25)
    scores = [grammar.score(answer) for answer in answers]
    deltas = [grammar.delta(prompt, answer) for answer in answers]
    assert summary.profile == "head"
    assert summary.n == 5
    assert summary.grammar == pytest.approx(sum(s.composite for s in scores) / 5)
    assert summary.verb_diversity == pytest.approx(sum(s.verb_diversity for s in scores) / 5)
    assert summary.noun_diversity == pytest.approx(sum(s.noun_diversity for s in scores) / 5)
    assert summary.uplift == pytest.approx(sum(d.uplift for d in deltas) / 5)
    assert summary.echo == pytest.approx(sum(d.echo for d in deltas) / 5)
    assert summary.enrichment == pytest.approx(sum(d.enrichment for d in deltas) / 5)
    assert summary.positive_uplift == sum(d.uplift > 0 for d in deltas) == 1
    assert summary.positive_share == 0.2
    assert summary.sycophancy_share == sum(d.sycophantic for d in deltas) / 5 == 0.2
    assert summary.leakage_share == 0.25
    assert summary.mean_words == (4 + 0 + 0 + 1 + 6) / 5
    assert summary.empty_share == 0.4
    assert grammar.summarise(pairs).leakage_share is None


def test_a_set_of_nothing_has_no_mean() -> None:
    with pytest.raises(LemError, match="no answers"):
        grammar.summarise([])


# --- profiles are never mixed --------------------------------------------------------------------


def test_every_number_says_its_profile() -> None:
    for profile in PROFILES:
        assert grammar.imprint("We ran.", profile).profile == profile
        assert grammar.score("We ran.", profile).profile == profile
        assert grammar.delta("Ran?", "We ran.", profile).profile == profile
    versions = {get_scorer(f"grammar:{profile}").version for profile in PROFILES}
    assert len(versions) == len(PROFILES)


def test_numbers_of_different_profiles_are_not_compared() -> None:
    head, paper = grammar.imprint("We ran.", "head"), grammar.imprint("We ran.", "paper")
    references = grammar.build_references([("a", head), ("b", head)])
    pairs = [grammar.score_pair("Ran?", "We ran.", profile) for profile in ("head", "paper")]
    half = replace(pairs[0], delta=pairs[1].delta)
    for compare in (
        lambda: grammar.similarity(head, paper),
        lambda: grammar.delta_imprints(paper, head),
        lambda: grammar.summarise(pairs),
        lambda: grammar.summarise([half]),
        lambda: grammar.build_references([("a", head), ("b", paper)]),
        lambda: grammar.classify(paper, references),
        lambda: grammar.distances(paper, references.centroids["a"]),
        lambda: grammar.find_anomalies([("a", paper)], references),
    ):
        with pytest.raises(LemError, match="head, paper"):
            compare()


def test_unknown_profiles_are_refused() -> None:
    for use in (grammar.tokenise, grammar.imprint, grammar.score):
        with pytest.raises(LemError, match="no profile 'tail'"):
            use("We ran.", "tail")
    with pytest.raises(LemError, match="no profile 'tail'"):
        grammar.scorer("grammar:tail", "tail")


# --- reference sets ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference_vectors() -> dict[str, Any]:
    source = DATA / "grammar_golden_reference.json"
    vectors: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return vectors


@pytest.fixture(scope="module")
def references(reference_vectors: dict[str, Any]) -> grammar.ReferenceSet:
    train = [(row["Domain"], grammar.imprint(row["Text"])) for row in reference_vectors["train"]]
    return grammar.build_references([*train, ("", grammar.imprint("Without a label."))])


def test_centroid_vectors(
    reference_vectors: dict[str, Any], references: grammar.ReferenceSet
) -> None:
    ours = {}
    for label, centroid in references.centroids.items():
        rest = {"sample_count": centroid.sample_count, "variance": centroid.variance}
        ours[label] = without_profile(centroid.imprint) | rest
    assert differences(ours, reference_vectors["centroids"]) == []


def test_distance_vectors(
    reference_vectors: dict[str, Any], references: grammar.ReferenceSet
) -> None:
    ties = 0
    for row in reference_vectors["tests"]:
        found = grammar.classify(grammar.imprint(row["text"]), references)
        ours = {label: asdict(d) for label, d in found.distances.items()}
        assert differences(ours, row["distances"], row["text"]) == []
        assert differences(found.confidence, row["confidence"], row["text"]) == []
        if row["confidence"]:
            assert found.label == row["domain"]
        else:  # the original picks any of the nearest, we the first by name
            ties += 1
            assert found.label == "creative"
    assert ties == 2


def test_anomaly_vectors(
    reference_vectors: dict[str, Any], references: grammar.ReferenceSet
) -> None:
    rows = [row for row in reference_vectors["anomalies"] if row["confidence"]]
    samples = [(row["model_domain"], grammar.imprint(row["text"])) for row in rows]
    found = grammar.find_anomalies([*samples, ("", samples[0][1])], references)
    assert len(found.verdicts) == found.total == len(rows) == 6
    for verdict, row in zip(found.verdicts, rows):
        assert (verdict.given, verdict.classified) == (row["model_domain"], row["imprint_domain"])
        assert verdict.confidence == pytest.approx(row["confidence"], abs=1e-9)
        assert verdict.anomaly is row["is_anomaly"]
    assert (found.anomalies, found.rate) == (1, 1 / 6)
    assert found.by_pair == {"ethical->creative": 1}


def test_a_single_label_wins_without_a_lead() -> None:
    only = grammar.build_references([("only", grammar.imprint("We ran."))])
    assert only.centroids["only"].variance == {}
    found = grammar.classify(grammar.imprint("They build files?"), only)
    assert (found.label, found.confidence) == ("only", 0)


def test_references_need_a_label() -> None:
    with pytest.raises(LemError, match="No sample has a label"):
        grammar.build_references([("", grammar.imprint("We ran."))])
