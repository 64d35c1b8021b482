"""The baseline asked a second time: its own answers, its own keys, nobody else's changed."""

import json

import pytest

from conftest import lem
from lem.ab import Experiment, run_ab
from lem.conditions import REPLICATE, all_conditions, choose
from lem.engines import EngineOptions, Meter, resolve
from lem.errors import LemError
from lem.kernels import BUILT_IN, load_kernel
from lem.kernels.load import make_kernel
from lem.probes import load_probes
from lem.records import Sampling
from lem.runs import make_plan, read_manifest, read_responses
from lem.runs.plan import REPLICATE_OFFSET, request_seed

ECHO = Experiment(model="echo", limit=3, max_tokens=400)


def conditions():
    return all_conditions([load_kernel(n, w) for n, w in BUILT_IN.items()])


def test_choice_of_the_replicate():
    arms = conditions()
    names = lambda *a: [c.name for c in choose(arms, *a)]  # noqa: E731
    assert names(None, False, True) == ["baseline", "json", "txt", REPLICATE]
    assert names(None, True, True)[-2:] == ["one-line", REPLICATE]
    assert REPLICATE not in names(None, True)
    assert names(["json", "baseline"], False, True) == ["baseline", "json", REPLICATE]
    assert names([REPLICATE, "baseline"], False) == ["baseline", REPLICATE]
    with pytest.raises(LemError, match="repeats the baseline"):
        choose(arms, ["json"], False, True)
    with pytest.raises(LemError, match="taken"):
        all_conditions([make_kernel(REPLICATE, "x", "")])
    replicate = arms[-1]
    assert (replicate.role, replicate.control_of, replicate.kernel) == ("replicate", None, None)


def test_same_prompts_other_keys_and_seeds_and_no_key_changes():
    probes = load_probes("P20")[:4]
    sampling = Sampling(max_tokens=50, temperature=0.8)
    engine = resolve("echo")
    plain = make_plan(engine, probes, choose(conditions(), None, False), sampling, 3)
    more = make_plan(engine, probes, choose(conditions(), None, False, True), sampling, 3)
    assert [r.key for r in more.requests[: len(plain.requests)]] == [r.key for r in plain.requests]
    base = [r for r in more.requests if r.condition == "baseline"]
    again = [r for r in more.requests if r.condition == REPLICATE]
    assert [(r.probe, r.sample, r.prompt) for r in again] == [
        (r.probe, r.sample, r.prompt) for r in base
    ]
    assert [r.sample for r in again[:3]] == [0, 1, 2]
    assert not {r.key for r in base} & {r.key for r in again}
    assert not {r.seed for r in base} & {r.seed for r in again}
    assert again[1].seed == request_seed(0, probes[0].id, 1 + REPLICATE_OFFSET)


def test_a_run_gains_a_replicate_and_loses_nothing(tmp_path):
    folder = tmp_path / "r"
    first = run_ab(ECHO, folder=folder)
    log = (folder / "responses.jsonl").read_bytes()
    asked = Experiment(model="echo", limit=3, max_tokens=400, replicate=True)
    more = run_ab(asked, folder=folder, output=tmp_path / "o.jsonl")
    assert (first.new_answers, more.new_answers) == (9, 3)
    assert (folder / "responses.jsonl").read_bytes().startswith(log)
    arm = read_manifest(folder)["conditions"][-1]
    assert (arm["name"], arm["role"], arm["kernel"]) == (REPLICATE, "replicate", None)
    texts = {(r.probe, r.condition): r.final for r in read_responses(folder)}
    assert all(texts[p, "baseline"] != texts[p, REPLICATE] for p, c in texts if c == "baseline")
    published = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert list(published["conditions"]) == ["baseline", "json", "txt", REPLICATE]
    contrast = more.analysis.primary.contrast("echo", REPLICATE, "baseline")
    assert contrast.kind == "noise" and contrast.family is None and contrast.effect is not None
    # A log with a replicate in it can be replayed.
    replay = Experiment(model=f"replay:{folder}", limit=3, max_tokens=400, replicate=True)
    again = run_ab(replay, folder=tmp_path / "again")
    assert {(r.probe, r.condition): r.final for r in again.responses} == texts


def test_the_command_line_knows_it(tmp_path):
    done = lem("ab", "--model", "echo", "--limit", "4", "--replicate", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    named = lem(
        *("ab", "--model", "echo", "--limit", "4", "--conditions", f"baseline,{REPLICATE}"),
        cwd=tmp_path,
    )
    assert named.returncode == 0 and "8 of 8 answers are there already" in named.stderr
    assert all(len(line) <= 80 for line in named.stdout.splitlines() if "runs/" not in line)
    shown = lem("kernel", "show", cwd=tmp_path)
    assert f"\n{REPLICATE} replicate" in shown.stdout
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())
    assert lem("kernel", "show", REPLICATE, cwd=tmp_path).stdout.strip() == "(no kernel)"
    assert REPLICATE not in lem("kernel", "check", cwd=tmp_path).stdout


def test_a_real_model_computes_it_anew(model_path):
    engine = resolve(str(model_path), EngineOptions(parallel=4))
    try:
        arms = choose(conditions(), ["baseline"], False, True)
        plan = make_plan(engine, load_probes("P20")[:4], arms, Sampling(max_tokens=8))
        meter = Meter()
        answers = list(engine.generate(plan.requests, meter))
    finally:
        engine.close()
    again = [a for a in answers if a.condition == REPLICATE]
    assert len(again) == 4 and meter.generated >= 40
    prompts = sum(len(r.token_ids) for r in plan.requests)
    # Shared is at most the template's head, within the arm: nothing of the baseline's questions.
    assert meter.prefilled > 0.7 * prompts
