"""The engine with known effects has them."""

import json
import math
import statistics
from importlib import resources

import pytest

from conftest import lem
from lem.ab import Experiment, run_ab
from lem.engines import resolve
from lem.engines.planted import EFFECTS, SLOPE, TRUTH, PlantedEngine
from lem.errors import LemError
from lem.records import Request, Sampling
from lem.scorers import v2
from planted_probes import numbered_probes

PROBES = 2000
KERNELS = ("real", "length", "prompt", "null")
ARMS = ("baseline", "baseline-replicate", "one-line", "shuffled-real")
ARMS += (*KERNELS, *(f"placebo-{name}" for name in KERNELS))


def request(probe, condition, sample=0, seed=5, max_tokens=1024):
    return Request(
        key="",
        probe=probe,
        condition=condition,
        sample=sample,
        messages=[],
        prompt="",
        prompt_sha256="",
        token_ids=[],
        sampling=Sampling(max_tokens=max_tokens),
        seed=seed,
    )


@pytest.fixture(scope="module")
def answers():
    """Arm -> (scores, log words), a probe each."""
    engine = PlantedEngine()
    table = {}
    for arm in ARMS:
        texts = [engine._answer(request(f"P{i}", arm))[0] for i in range(PROBES)]
        found = [v2.score(text) for text in texts]
        for text, score in zip(texts, found, strict=True):
            words = text.split()
            assert len(set(words)) >= len(words) / 2 and not score.counts["degeneration"]
            for name, (points, most) in v2._WEIGHTS.items():
                assert points * score.counts[name] <= most, (name, text)
        scores = [score.lek_score for score in found]
        table[arm] = scores, [math.log(len(text.split())) for text in texts]
    return table


def difference(answers, arm, reference, what):
    return [a - b for a, b in zip(answers[arm][what], answers[reference][what], strict=True)]


@pytest.mark.parametrize("arm", ARMS[1:])
def test_effects_against_the_baseline(answers, arm):
    points = difference(answers, arm, "baseline", 0)
    log_words = difference(answers, arm, "baseline", 1)
    raw, adjusted = TRUTH.get(arm, (0.0, 0.0))
    effect = EFFECTS.get(arm)
    assert raw == pytest.approx(effect.raw if effect else 0, abs=0.08)
    error = statistics.stdev(points) / math.sqrt(PROBES)
    assert statistics.fmean(points) == pytest.approx(raw, abs=3.3 * error)
    assert statistics.fmean(log_words) == pytest.approx(
        math.log(1.6) if arm == "length" else 0, abs=0.02
    )
    assert statistics.stdev(log_words) == pytest.approx(0.25, abs=0.015)
    assert statistics.stdev(points) == pytest.approx(2.85, abs=0.2)
    line = statistics.linear_regression(log_words, points)
    assert line.slope == pytest.approx(SLOPE, abs=0.8)  # one slope in all arms
    assert line.intercept == pytest.approx(adjusted, abs=0.5)


def test_levels_of_probes_make_pairing_matter(answers):
    scores, _ = answers["baseline"]
    again, _ = answers["baseline-replicate"]
    assert statistics.fmean(scores) == pytest.approx(15, abs=0.4)
    assert statistics.stdev(scores) == pytest.approx(4.4, abs=0.3)
    assert statistics.correlation(scores, again) == pytest.approx(0.8, abs=0.04)


def test_an_answer_depends_on_its_place_and_seeds_alone():
    engine = PlantedEngine()
    one = engine._answer(request("P", "real"))
    assert engine._answer(request("P", "real")) == one
    others = [
        engine._answer(request("Q", "real")),
        engine._answer(request("P", "null")),
        engine._answer(request("P", "real", sample=1)),
        engine._answer(request("P", "real", seed=6)),
        PlantedEngine(1)._answer(request("P", "real")),
    ]
    assert len({one, *others}) == 6
    cut, why = engine._answer(request("P", "real", max_tokens=40))
    assert why == "length" and len(cut.split(" ")) == 30


def test_a_model_of_another_level_without_effects():
    plain, tuned = PlantedEngine(0), resolve("planted:2,level=3,strength=0")
    assert tuned.info.model == "planted-2-level-3-strength-0"
    assert tuned.info.fingerprint != plain.info.fingerprint

    def mean(engine, arm):
        texts = (engine._answer(request(f"P{i}", arm))[0] for i in range(500))
        return statistics.fmean(v2.score(text).lek_score for text in texts)

    # The levels of probes are the same in all models, so 500 probes are enough.
    assert mean(tuned, "baseline") - mean(plain, "baseline") == pytest.approx(3, abs=0.5)
    assert mean(tuned, "real") - mean(tuned, "baseline") == pytest.approx(0, abs=0.5)
    half = PlantedEngine(2, strength=0.5)
    assert mean(half, "real") - mean(half, "baseline") == pytest.approx(2, abs=0.5)


def test_it_is_a_model_like_any_other(tmp_path):
    assert resolve("planted:7").info.model == "planted-7"
    for bad in ("planted:x", "planted:1,level", "planted:1,size=3", "planted:1,level=nan"):
        with pytest.raises(LemError, match="is not planted:SEED"):
            resolve(bad)
    probes = numbered_probes(tmp_path / "p.jsonl", 101)
    data = resources.files("lem.bench") / "data"
    kernels = [(n, str(data / f"planted-{n}.txt")) for n in KERNELS]
    result = run_ab(
        Experiment(
            model="planted", probes=str(probes), kernels=kernels, controls=True, replicate=True
        ),
        folder=tmp_path / "run",
    )
    assert result.notes == []
    scores = {(r.probe, r.condition): v2.score(r.final).lek_score for r in result.responses}
    ids = {r.probe for r in result.responses}
    assert len(ids) == 101 and all(r.finish_reason == "stop" for r in result.responses)

    def effect(arm, reference="baseline"):
        return statistics.fmean(scores[i, arm] - scores[i, reference] for i in ids)

    assert effect("real") == pytest.approx(4, abs=1)
    assert effect("real", "placebo-real") == pytest.approx(4, abs=1)
    assert effect("prompt") == pytest.approx(4, abs=1)
    assert effect("prompt", "placebo-prompt") == pytest.approx(0, abs=1)
    assert effect("length") == pytest.approx(2.8, abs=1)
    assert effect("null") == pytest.approx(0, abs=1)


def test_from_the_command_line(tmp_path):
    done = lem("ab", "--model", "planted:3", "--limit", "3", "--run", "r", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "r" / "run.json").read_text())["engine"]["model"] == "planted-3"
