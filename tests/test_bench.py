"""The matrix: recipes, resuming, failures that stay where they are, changes that are refused."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import yaml

from conftest import lem
from lem.ab import Experiment, run_ab
from lem.bench import (
    Events,
    builtin_recipes,
    check_unchanged,
    find_recipe,
    load_inputs,
    load_recipe,
    overview,
    read_state,
    run_matrix,
)
from lem.bench.report import unfinished
from lem.errors import LemError
from lem.probes import load_union
from lem.runs import read_manifest, read_responses
from lem.study import load_study
from planted_probes import numbered_probes

ECHO = {
    "name": "two-echoes",
    "scorers": ["v2"],
    "limit": 3,
    "controls": False,
    "sampling": {"max_tokens": 400},
    "models": [{"name": "One", "model": "echo"}, {"name": "two", "model": "planted"}],
}
ANSWERS = 4 * 3  # baseline, json, txt, replicate


def recipe(folder: Path, **changes) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**ECHO, **changes}), encoding="utf-8")
    return path


def inputs_of(path: Path):
    return load_inputs(load_recipe(path), path)


def run(path: Path, runs: Path, **options):
    return run_matrix(inputs_of(path), runs, **options)


# --- the schema ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", builtin_recipes())
def test_shipped_recipes_are_in_order(name):
    path = builtin_recipes()[name]
    found = inputs_of(path)
    assert found.recipe.name == name == path.stem
    assert found.recipe.about.strip()
    assert found.missing_sets or found.answers > 0


def test_defaults(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nmodels:\n  - {name: e, model: echo, version: 3, size: 1}\n")
    made = load_recipe(path)
    assert (made.scorers, made.probes, made.samples) == (("v2", "reasoning"), ("P20",), 1)
    assert made.controls and made.replicate and made.sampling.max_tokens == 1024
    assert made.models[0].version == "3" and made.models[0].size == 1.0
    assert len(made.questions) == 6
    assert inputs_of(path).answers == 10 * 21


BAD = {
    "not yaml": ("name: [x\n", "not valid YAML", "line 2"),
    "not a mapping": ("- a\n- b\n", "holds no fields", ""),
    "unknown field": ("name: x\nmodel: echo\nmodels: []\n", "no such field", "line 2"),
    "unknown field of a model": (
        "name: x\nmodels:\n  - name: a\n    model: echo\n    famly: F\n",
        "no such field",
        "line 5, field models.1.famly",
    ),
    "missing": ("name: x\n", "it is missing", "field models"),
    "no models": ("name: x\nmodels: []\n", "it is empty", "line 2"),
    "type": ("name: x\nlimit: many\nmodels: [{name: a, model: echo}]\n", "integer", "line 2"),
    "slug": ("name: My Study\nmodels: [{name: a, model: echo}]\n", "match", "line 1"),
    "twice": ("name: x\nname: y\nmodels: [{name: a, model: echo}]\n", "written twice", "line 2"),
    "names": (
        "name: x\nmodels:\n  - {name: a, model: echo}\n  - {name: a, model: planted}\n",
        "was used before",
        "line 4",
    ),
    "folders": (
        "name: x\nmodels:\n  - {name: a b, model: echo}\n  - {name: A-B, model: planted}\n",
        "no folder name of its own",
        "line 4",
    ),
    "base": (
        "name: x\nmodels:\n  - {name: a, model: echo, tuned_from: b}\n",
        "no model of this recipe is named 'b'",
        "line 3, field models.1.tuned_from",
    ),
    "circle": (
        "name: x\nmodels:\n  - {name: a, model: echo, tuned_from: b}\n"
        "  - {name: b, model: echo, tuned_from: a}\n",
        "tuned from itself",
        "line 3",
    ),
    "scorer": (
        "name: x\nscorers: [v2, v9]\nmodels: [{name: a, model: echo}]\n",
        "No such scorer: 'v9'",
        "field scorers.2",
    ),
    "question": (
        "name: x\nquestions: [why]\nmodels: [{name: a, model: echo}]\n",
        "'kernel'",
        "line 2, field questions.1",
    ),
    "samples": (
        "name: x\nsamples: 3\nmodels: [{name: a, model: echo}]\n",
        "so many times the same answer",
        "line 2",
    ),
    "list": ("name: x\nscorers: v2\nmodels: [{name: a, model: echo}]\n", "a list", "line 2"),
    "its own file": (
        "name: x\nmodels: [{name: bench.json, model: echo}]\n",
        "no folder name of its own",
        "line 2, field models.1.name",
    ),
    "nul": ('name: x\nmodels: [{name: "a\\0b", model: echo}]\n', "it holds control", "line 2"),
    "bidi": (
        'name: x\nmodels: [{name: a, model: echo, family: "a\\u202eb"}]\n',
        "it holds control characters",
        "field models.1.family",
    ),
    "holds itself": ("name: x\nmodels: &a [*a]\n", "holds itself", "line 2"),
    "escape": ('name: "\\e[31mx"\nmodels: [{name: a, model: echo}]\n', "match", "line 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_line_and_field(tmp_path, case):
    text, said, where = BAD[case]
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(LemError) as caught:
        load_recipe(path)
    assert said in caught.value.cause and where in caught.value.cause
    assert "\x1b" not in str(caught.value) and caught.value.fix


def test_python_tags_are_not_run(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: !!python/object/apply:os.system ['touch hit']\n")
    with pytest.raises(LemError, match="not valid YAML"):
        load_recipe(path)


def test_recipes_by_name_and_path(tmp_path, monkeypatch):
    assert find_recipe("planted") == builtin_recipes()["planted"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted").mkdir()  # a folder is no recipe
    assert find_recipe("planted") == builtin_recipes()["planted"]
    with pytest.raises(LemError, match="No such recipe"):
        find_recipe("nope")


def test_paths_are_beside_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "k.txt").write_text("Keep the yard tidy and the gate shut.")
    numbered_probes(tmp_path / "p.jsonl", 5)
    path = recipe(tmp_path, kernels={"mine": "k.txt"}, probes=["p.jsonl"], limit=None)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = inputs_of(path)
    assert [c.name for c in found.conditions] == ["baseline", "mine", "baseline-replicate"]
    assert found.answers == 15
    assert run(path, tmp_path / "runs").failed == ()


def test_a_set_that_is_not_there_yet(tmp_path):
    path = recipe(tmp_path, probes=["P20", "G999"])
    found = inputs_of(path)
    assert found.missing_sets == ("G999",)
    with pytest.raises(LemError, match="does not have"):
        run_matrix(found, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    done = lem("bench", str(path), "--check", cwd=tmp_path)
    assert done.returncode == 0 and "no probe set G999" in done.stdout
    refused = lem("bench", str(path), "--plan", cwd=tmp_path)
    assert refused.returncode == 2 and "G999" in refused.stderr
    with pytest.raises(LemError, match="No such probe set or file"):
        inputs_of(recipe(tmp_path, probes=["none.jsonl"]))


def test_union_of_probe_sets(tmp_path):
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    a, b = ({"id": i, "domain": "d", "prompt": f"Question {i}?"} for i in "ab")
    one.write_text(json.dumps(a) + "\n" + json.dumps(b) + "\n")
    two.write_text(json.dumps(b) + "\n" + json.dumps({**a, "id": "c", "prompt": "C?"}) + "\n")
    assert [p.id for p in load_union([str(one), str(two)])] == ["a", "b", "c"]
    two.write_text(json.dumps({**b, "prompt": "Another?"}) + "\n")
    with pytest.raises(LemError, match="another prompt"):
        load_union([str(one), str(two)])
    two.write_text(json.dumps({**b, "id": "z"}) + "\n")
    with pytest.raises(LemError, match="the same prompt"):
        load_union([str(one), str(two)])
    assert len(load_union(["P20", str(one)])) == 23
    path = recipe(tmp_path, probes=["P20", "one.jsonl"], limit=None)
    result = run(path, tmp_path / "runs", only=["two"])
    assert len(read_manifest(result.folder / "two")["probes"]["items"]) == 23


# --- running ------------------------------------------------------------------------------------


class Log(Events):
    def __init__(self):
        self.said = []

    def model(self, number, of, model):
        self.said.append((number, of, model.name))

    def kept(self, model, answers):
        self.said.append(("kept", answers))

    def failed(self, model, error):
        self.said.append(("failed", error.cause))


def test_a_matrix_and_the_second_time(tmp_path, monkeypatch):
    path = recipe(tmp_path)
    first = run(path, tmp_path / "runs")
    assert first.folder == tmp_path / "runs" / "two-echoes"
    assert (first.new_answers, first.failed) == (2 * ANSWERS, ())
    assert len(read_responses(first.folder / "one")) == ANSWERS
    state = read_state(first.folder)
    assert {n: (m.status, m.answers) for n, m in state.models.items()} == {
        "One": ("done", ANSWERS),
        "two": ("done", ANSWERS),
    }
    assert state.sha256 == inputs_of(path).sha256 and state.exploratory is None
    assert [m.name for m in load_study([first.folder]).models] == ["One", "two"]
    assert unfinished(inputs_of(path), state) == []
    # The second time no model is even made.
    monkeypatch.setattr("lem.ab.resolve", lambda *_: pytest.fail("a model was loaded"))
    log = Log()
    again = run(path, tmp_path / "runs", events=log)
    assert again.new_answers == 0
    assert log.said == [(1, 2, "One"), ("kept", ANSWERS), (2, 2, "two"), ("kept", ANSWERS)]


def test_lost_answers_are_made_again(tmp_path):
    path = recipe(tmp_path)
    first = run(path, tmp_path / "runs")
    log = first.folder / "one" / "responses.jsonl"
    log.write_bytes(b"\n".join(log.read_bytes().splitlines()[:5]) + b"\n")
    assert run(path, tmp_path / "runs").new_answers == ANSWERS - 5


def test_only_some_models(tmp_path):
    path = recipe(tmp_path)
    result = run(path, tmp_path / "runs", only=["two"])
    assert list(result.state.models) == ["two"]
    assert unfinished(inputs_of(path), result.state) == ["One has not been run."]
    with pytest.raises(LemError, match="has no model three"):
        run(path, tmp_path / "runs", only=["three"])
    assert run(path, tmp_path / "runs").new_answers == ANSWERS


def test_a_model_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    models = [
        {"name": "gone", "model": "gone.gguf"},
        {"name": "broken", "model": "planted:9"},
        {"name": "fine", "model": "echo"},
    ]
    path = recipe(tmp_path, models=models)

    def broken(*_):
        raise ZeroDivisionError("division \x1b[31mby zero")

    monkeypatch.setattr("lem.engines.planted.PlantedEngine._answer", broken)
    log = Log()
    result = run(path, tmp_path / "runs", events=log)
    assert result.failed == ("gone", "broken") and result.new_answers == ANSWERS
    state = read_state(result.folder)
    assert [state.models[n].status for n in ("gone", "broken", "fine")] == [
        *("failed", "failed", "done")
    ]
    assert "No such model" in state.models["gone"].error.cause
    fault = state.models["broken"].error
    assert fault.cause.startswith("ZeroDivisionError: division by zero") and fault.traceback
    assert [m.name for m in load_study([result.folder]).models] == ["fine"]
    assert len(unfinished(inputs_of(path), state)) == 2
    monkeypatch.undo()
    again = run(path, tmp_path / "runs")
    assert again.failed == ("gone",) and again.new_answers == ANSWERS
    assert read_state(result.folder).models["broken"].error is None


def test_a_changed_recipe_is_refused_once_there_are_answers(tmp_path):
    runs = tmp_path / "runs"
    missing = [{"name": "gone", "model": "gone.gguf"}]
    run(recipe(tmp_path, models=missing), runs)
    path = recipe(tmp_path)
    first = run(path, runs)  # nothing was answered before: another recipe is no change
    assert first.state.changes == []
    run(recipe(tmp_path, about="Said better."), runs)  # nor is its description
    changed = recipe(tmp_path, limit=4)
    with pytest.raises(LemError, match=r"was changed since .*limit"):
        run(changed, runs)
    assert read_state(first.folder).sha256 == first.state.sha256
    accepted = run(changed, runs, accept_change="a probe was \x1b[1mmissing")
    assert accepted.new_answers == 2 * 4
    assert "a probe was missing" in accepted.state.exploratory
    assert "missing" in run(changed, runs).state.exploratory  # for good
    assert len(read_state(first.folder).changes) == 1


def test_changed_texts_and_settings(tmp_path):
    runs, kernel = tmp_path / "runs", tmp_path / "k.txt"
    kernel.write_text("Keep the yard tidy and the gate shut.")
    path = recipe(tmp_path, kernels={"mine": "k.txt"})
    run(path, runs)
    kernel.write_text("Keep the yard tidy and the gate open.")
    with pytest.raises(LemError, match="text of kernels"):
        run(path, runs)
    hotter = recipe(
        tmp_path, kernels={"mine": "k.txt"}, sampling={"max_tokens": 400, "temperature": 1.0}
    )
    result = run(hotter, runs, accept_change="warmer")
    assert result.failed == ()
    assert (result.folder / "one.old-1" / "responses.jsonl").exists()  # kept, not mixed
    cooler = inputs_of(recipe(tmp_path, kernels={"mine": "k.txt"}))
    with pytest.raises(LemError, match="sampling"):
        check_unchanged(result.folder, cooler, result.state, None)


def test_another_model_more_leaves_the_others_alone(tmp_path, monkeypatch):
    run(recipe(tmp_path), tmp_path / "runs")
    more = [*ECHO["models"], {"name": "three", "model": "planted:3"}]
    log = Log()
    result = run(
        recipe(tmp_path, models=more), tmp_path / "runs", accept_change="one more", events=log
    )
    assert result.new_answers == ANSWERS and log.said.count(("kept", ANSWERS)) == 2


def test_another_file_under_the_same_name_is_noticed(tmp_path, monkeypatch):
    """A finished model is not skipped when its file is no longer the one that answered."""
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF one")
    path = recipe(tmp_path, models=[{"name": "m", "model": "m.gguf"}])
    found = inputs_of(path)
    from lem.bench.run import is_finished
    from lem.engines.fingerprint import file_sha256

    monkeypatch.setattr("lem.ab.resolve", lambda *_: fake())

    def fake():
        from lem.engines.replay import EchoEngine

        engine = EchoEngine()
        mark = {"file_sha256": file_sha256(file)}
        engine.info = engine.info.model_copy(update={"fingerprint": mark})
        return engine

    result = run(path, tmp_path / "runs")
    entry = result.state.models["m"]
    assert is_finished(result.folder, found, found.recipe.models[0], entry)
    file.write_bytes(b"GGUF another")
    assert not is_finished(result.folder, found, found.recipe.models[0], entry)
    again = run(path, tmp_path / "runs")
    assert again.failed == ("m",)
    assert "another fingerprint" in again.state.models["m"].error.cause
    assert "Move " in again.state.models["m"].error.fix


def test_rephrasings_are_declared_with_the_probes(tmp_path):
    """They decide what is counted."""
    probes = tmp_path / "probes.jsonl"
    rows = [{"id": f"D{i}", "domain": "D", "prompt": f"Q{i}?"} for i in range(3)]
    hashes = []
    for cluster in (None, "D0"):
        rows[1] |= {"cluster": cluster} if cluster else {}
        probes.write_text("".join(json.dumps(row) + "\n" for row in rows))
        hashes.append(inputs_of(recipe(tmp_path, probes=["probes.jsonl"])).sha256)
    assert hashes[0] != hashes[1]


def test_a_folder_that_lem_ab_was_given_since_is_run_again(tmp_path):
    """Else the report would be of what the folder was last asked, not of the recipe."""
    path = recipe(tmp_path)
    first = run(path, tmp_path / "runs")
    model = inputs_of(path).recipe.models[0]
    other = Experiment(model="echo", limit=3, max_tokens=400, conditions=["baseline"])
    run_ab(other, folder=first.folder / model.folder)
    log = Log()
    again = run(path, tmp_path / "runs", events=log)
    assert again.new_answers == 0 and log.said.count(("kept", ANSWERS)) == 1
    arms = [c["name"] for c in read_manifest(first.folder / model.folder)["conditions"]]
    assert arms == ["baseline", "json", "txt", "baseline-replicate"]


def test_damage_and_company(tmp_path):
    path = recipe(tmp_path)
    result = run(path, tmp_path / "runs")
    log = result.folder / "one" / "responses.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"{}\n" + whole)
    found = inputs_of(path)
    rows = overview(found, tmp_path / "runs", list(found.recipe.models))
    assert "line 1 is damaged" in rows[0].obstacle.cause and rows[1].finished
    hurt = run(path, tmp_path / "runs")
    assert hurt.failed == ("One",) and hurt.new_answers == 0
    log.write_bytes(whole)
    assert run(path, tmp_path / "runs").failed == ()
    from lem.bench.state import StateFile

    with (
        StateFile(result.folder, inputs_of(path)),
        pytest.raises(LemError, match="Another process"),
    ):
        StateFile(result.folder, inputs_of(path))
    (result.folder / "bench.json").write_text('{"schema_version": 9}')
    with pytest.raises(LemError, match="is damaged"):
        run(path, tmp_path / "runs")
    (result.folder / "bench.json").unlink()  # no way around a declaration
    with pytest.raises(LemError, match=r"has answers but no bench\.json"):
        run(path, tmp_path / "runs")
    adopted = run(path, tmp_path / "runs", accept_change="the file was lost")
    assert adopted.new_answers == 0 and "was lost" in adopted.state.exploratory


def test_overview_runs_nothing(tmp_path):
    models = [{"name": "gone", "model": "gone.gguf"}, {"name": "two", "model": "planted"}]
    models.append({"name": "far", "model": "openai:x", "base_url": "http://127.0.0.1:9/v1"})
    path = recipe(tmp_path, models=models)
    found = inputs_of(path)
    rows = overview(found, tmp_path / "runs", list(found.recipe.models))
    assert [(r.answers, r.there, r.finished) for r in rows] == [(ANSWERS, 0, False)] * 3
    assert "No such model" in rows[0].obstacle.cause and rows[1].obstacle is None
    assert "127.0.0.1:9" in rows[2].obstacle.cause
    (tmp_path / "gone.gguf").write_bytes(b"<html>")
    late = overview(found, tmp_path / "runs", [found.recipe.models[0]])
    assert "not a GGUF file" in late[0].obstacle.cause
    (tmp_path / "gone.gguf").write_bytes(b"GGUF")  # no weights are loaded to tell
    assert overview(found, tmp_path / "runs", [found.recipe.models[0]])[0].obstacle is None
    assert not (tmp_path / "runs").exists()
    run(path, tmp_path / "runs", only=["two"])
    done = overview(found, tmp_path / "runs", list(found.recipe.models))[1]
    assert (done.answers, done.there, done.finished) == (ANSWERS, ANSWERS, True)


def test_sigkill_and_resume(tmp_path):
    path = recipe(
        tmp_path,
        models=[{"name": "slow", "model": "echo:0.05"}, {"name": "two", "model": "planted"}],
        limit=10,
    )
    command = [sys.executable, "-m", "lem", "bench", str(path), "-q"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    log = tmp_path / "runs" / "two-echoes" / "slow" / "responses.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (log.exists() and log.read_bytes().count(b"\n") > 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = {r.key: r for r in read_responses(log.parent)}
    assert 3 < len(kept) < 40
    assert read_state(log.parent.parent).models["slow"].status == "running"
    result = run(path, tmp_path / "runs")
    assert result.failed == () and result.new_answers == 80 - len(kept)
    assert kept.items() <= {r.key: r for r in read_responses(log.parent)}.items()


# --- the command line ---------------------------------------------------------------------------


def test_the_recipe_in_the_help_is_one(tmp_path):
    shown = lem("bench", "--help", cwd=tmp_path).stdout
    assert all(len(line) <= 80 for line in shown.splitlines())
    path = tmp_path / "r.yaml"
    path.write_text(textwrap.dedent(shown.partition("A recipe:\n")[2].partition("\n\n")[0]))
    assert load_recipe(path).models[1].tuned_from == "base"


def test_plan_check_and_list(tmp_path):
    path = recipe(tmp_path, models=[*ECHO["models"], {"name": "gone", "model": "gone.gguf"}])
    plan = lem("bench", str(path), "--plan", cwd=tmp_path)
    assert plan.returncode == 0, plan.stderr
    assert f"3 models × 4 conditions × 3 probes × 1 = {3 * ANSWERS} answers" in plan.stdout
    assert "cannot run here" in plan.stdout and "gone: No such model" in plan.stdout
    assert all(len(line) <= 80 for line in plan.stdout.splitlines())
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.yaml"]
    only = lem("bench", str(path), "--plan", "--only", "two", "--json", cwd=tmp_path)
    told = json.loads(only.stdout)
    assert [m["name"] for m in told["models"]] == ["two"] and told["probes"] == 3
    assert "planted" in lem("bench", "--list", cwd=tmp_path).stdout
    check = lem("bench", str(path), "--check", "--json", cwd=tmp_path)
    assert json.loads(check.stdout)["answers"] == 3 * ANSWERS


def test_a_report_is_made_of_what_there_is(tmp_path):
    path = recipe(tmp_path, models=[*ECHO["models"], {"name": "gone", "model": "gone.gguf"}])
    done = lem("bench", str(path), cwd=tmp_path)
    assert done.returncode == 2
    assert "1 of 3 models failed: gone" in done.stderr and "model 3 of 3: gone" in done.stderr
    assert "Traceback" not in done.stderr
    page = tmp_path / "runs" / "two-echoes" / "report" / "report.html"
    assert page.exists() and "report:  " in done.stdout
    again = lem("bench", str(path), "--json", cwd=tmp_path)
    told = json.loads(again.stdout)
    assert (again.returncode, told["new_answers"], told["failed"]) == (2, 0, ["gone"])
    assert told["report"].endswith("report.html")
    changed = recipe(tmp_path, limit=2)
    assert lem("bench", str(changed), "--plan", cwd=tmp_path).returncode == 2
    refused = lem("bench", str(changed), cwd=tmp_path)
    assert refused.returncode == 2 and "--accept-change" in refused.stderr
    quiet = lem("bench", str(changed), "-q", "--accept-change", "fewer probes", cwd=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert "fewer probes" in page.read_text(encoding="utf-8")


def test_nothing_but_failures(tmp_path):
    path = recipe(tmp_path, models=[{"name": "gone", "model": "gone.gguf"}])
    done = lem("bench", str(path), cwd=tmp_path)
    assert done.returncode == 2 and "1 of 1 models failed" in done.stderr
    assert not (tmp_path / "runs" / "two-echoes" / "report").exists()


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    path = recipe(tmp_path, models=[{"name": "slow", "model": "echo:0.05"}], limit=20)
    command = [sys.executable, "-m", "lem", "bench", str(path)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "runs" / "two-echoes" / "slow" / "responses.jsonl"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Stopped." in said and "Traceback" not in said
    assert read_state(log.parent.parent).models["slow"].status == "stopped"
