"""The durable store, resume, the manifest, and the published file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lem.ab import Experiment, run_ab
from lem.engines.logs import read_answers
from lem.errors import LemError
from lem.records import Response
from lem.runs import ResponseStore, read_manifest, read_responses
from lem.scorers import v2
from lem.text import dump_json


def response(key="k1", **changes):
    fields = dict(
        key=key,
        probe="P",
        condition="baseline",
        sample=0,
        final="Héllo \x1b[31m \ud800 world",
        finish_reason="stop",
        prompt_tokens=3,
        cached_tokens=0,
        completion_tokens=2,
        seconds=0.1,
        prompt_sha256="0" * 64,
        seed=1,
        ts="2026-01-01T00:00:00.000+00:00",
    )
    return Response(**fields | changes)


def plain(key="k1"):
    return response(key, final="Hello")


def test_append_and_read_back(tmp_path):
    with ResponseStore(tmp_path / "run") as store:
        store.append(plain("k1"))
        store.append(plain("k2"))
        with pytest.raises(ValueError, match="in the log already"):
            store.append(plain("k1"))
    assert [r.key for r in read_responses(tmp_path / "run")] == ["k1", "k2"]
    assert read_responses(tmp_path / "run")[0] == plain("k1")


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_torn_last_line_is_dropped_and_overwritten(tmp_path, cut):
    with ResponseStore(tmp_path) as store:
        store.append(plain("k1"))
        store.append(plain("k2"))
    log = tmp_path / "responses.jsonl"
    raw = log.read_bytes()
    log.write_bytes(raw[:-cut])
    with ResponseStore(tmp_path) as store:
        assert list(store.responses) == ["k1"]
        store.append(plain("k3"))
    assert [r.key for r in read_responses(tmp_path)] == ["k1", "k3"]


def test_damage_in_the_middle_is_named_not_repaired(tmp_path):
    with ResponseStore(tmp_path) as store:
        store.append(plain("k1"))
    log = tmp_path / "responses.jsonl"
    log.write_bytes(b'{"key": "x"}\n' + log.read_bytes())
    before = log.read_bytes()
    with pytest.raises(LemError, match="line 1 is damaged"):
        ResponseStore(tmp_path)
    log.write_bytes(before.partition(b"\n")[2] * 2)
    with pytest.raises(LemError, match="line 2 has the key of line 1"):
        ResponseStore(tmp_path)


def test_a_second_process_is_turned_away(tmp_path):
    code = (
        "import sys; from pathlib import Path; from lem.runs import ResponseStore\n"
        "from lem.errors import LemError\n"
        "try: ResponseStore(Path(sys.argv[1]))\n"
        "except LemError as e: print(e); sys.exit(2)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with ResponseStore(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "Another process is working on" in done.stdout
    assert subprocess.run(command).returncode == 0


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path):
    """A real refusal by the kernel: the file may not grow beyond a limit."""
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_runs import plain
from lem.runs import ResponseStore
from lem.errors import LemError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with ResponseStore(Path(sys.argv[1])) as store:
    store.append(plain("k1"))
    size = store.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2, size + size // 2))
    try:
        store.append(plain("k2"))
    except LemError as e:
        print(e)
        assert store.path.stat().st_size == size, "half a line was left"
        assert list(store.responses) == ["k1"]
        sys.exit(2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stdout and "is kept" in done.stdout
    assert [r.key for r in read_responses(tmp_path)] == ["k1"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(LemError, match="Cannot write to"):
        ResponseStore(tmp_path / "file" / "run")


ECHO = Experiment(model="echo", limit=3, max_tokens=400)


def test_resume_makes_only_what_is_missing(tmp_path):
    first = run_ab(ECHO, folder=tmp_path / "r")
    log = (tmp_path / "r" / "responses.jsonl").read_bytes()
    again = run_ab(ECHO, folder=tmp_path / "r")
    assert (first.new_answers, again.new_answers) == (9, 0)
    assert (tmp_path / "r" / "responses.jsonl").read_bytes() == log
    assert dump_json(again.analysis.to_json()) == dump_json(first.analysis.to_json())
    more = run_ab(Experiment(model="echo", limit=5, max_tokens=400), folder=tmp_path / "r")
    assert more.new_answers == 6


def test_the_default_folder_is_found_again_and_depends_on_the_settings(tmp_path):
    a = run_ab(ECHO, runs=tmp_path)
    assert run_ab(ECHO, runs=tmp_path).folder == a.folder
    b = run_ab(Experiment(model="echo", limit=3, max_tokens=200), runs=tmp_path)
    assert b.folder != a.folder


def test_mixing_runs_is_refused_and_fresh_keeps_the_old_one(tmp_path):
    folder = tmp_path / "r"
    run_ab(ECHO, folder=folder)
    other = Experiment(model="echo", limit=3, max_tokens=399)
    with pytest.raises(LemError, match="other sampling"):
        run_ab(other, folder=folder)
    result = run_ab(other, folder=folder, fresh=True)
    assert any("old-1" in note for note in result.notes)
    assert len(read_responses(tmp_path / "r.old-1")) == 9
    (folder / "run.json").unlink()
    with pytest.raises(LemError, match="no manifest"):
        run_ab(other, folder=folder)


def test_the_manifest_says_what_was_run(tmp_path):
    run_ab(ECHO, folder=tmp_path / "r", command=["lem", "ab"])
    manifest = read_manifest(tmp_path / "r")
    assert manifest["command"] == ["lem", "ab"]
    assert manifest["sampling"]["max_tokens"] == 400 and manifest["sampling"]["top_k"] == 0
    assert [c["name"] for c in manifest["conditions"]] == ["baseline", "json", "txt"]
    assert manifest["conditions"][1]["kernel"]["sha256"]
    assert "LEK-1" in manifest["conditions"][1]["example_prompt"]
    assert manifest["template"]["system"] == "supported"
    assert len(manifest["probes"]["items"]) == 3
    responses = read_responses(tmp_path / "r")
    assert all(len(r.prompt_sha256) == 64 and r.prompt_tokens for r in responses)


def test_published_file_and_its_way_back(tmp_path):
    out = tmp_path / "o.jsonl"
    result = run_ab(ECHO, folder=tmp_path / "r", output=out)
    *probes, summary = map(json.loads, out.read_text().splitlines())
    assert [p["type"] for p in probes] == ["probe"] * 3
    assert set(probes[0]) == {"type", "id", "category", "prompt", "conditions", "ts"}
    entry = probes[0]["conditions"]["json"]
    assert set(entry) == {"response", "lek_score", "heuristic", "chars", "time_s"}
    assert list(entry["heuristic"]) == [*v2.COUNTS, "lek_score"]
    assert entry["lek_score"] == v2.score(entry["response"]).lek_score
    assert entry["chars"] == len(entry["response"])
    assert set(summary) == {
        *("type", "model", "total_probes", "conditions", "categories", "duration"),
        *("max_tokens", "ts"),
    }
    json_arm = summary["conditions"][1]
    assert set(json_arm) == {
        *("name", "avg_lek", "improved", "regressed", "unchanged", "delta_vs_baseline"),
    }
    effect = result.analysis.primary.contrast("echo", "json", "baseline").effect
    assert json_arm["delta_vs_baseline"] == pytest.approx(effect.mean, abs=0.006)
    assert (json_arm["improved"], json_arm["unchanged"], json_arm["regressed"]) == (
        *(effect.better, effect.same, effect.worse),
    )
    # Replaying either log gives the same texts and scores.
    for log in (out, tmp_path / "r"):
        replay = Experiment(model=f"replay:{log}", limit=3, max_tokens=400)
        replayed = run_ab(replay, folder=tmp_path / f"replay-{log.name}")
        assert [r.final for r in replayed.responses] == [r.final for r in result.responses]
    assert read_answers(out)["P01_IDENTITY_SIBLING_PAPERS", "json", 0][1] == "unknown"


def test_output_never_replaces_something_else(tmp_path):
    out = tmp_path / "probes.json"
    out.write_text('[{"id": 1}]')
    with pytest.raises(LemError, match="not an A/B file"):
        run_ab(ECHO, folder=tmp_path / "r", output=out)
    assert not (tmp_path / "r").exists() and out.read_text() == '[{"id": 1}]'


def test_samples_are_averaged_within_a_probe(tmp_path):
    e = Experiment(model="echo", limit=4, max_tokens=400, samples=3, temperature=0.7)
    result = run_ab(e, folder=tmp_path / "r", output=tmp_path / "o.jsonl")
    assert len(result.responses) == 4 * 3 * 3
    found = result.analysis.primary
    assert found.contrast("echo", "json", "baseline").effect.n == 4
    assert found.arms[0].answers == 12 and found.arms[0].probes == 4
    first = json.loads((tmp_path / "o.jsonl").read_text().splitlines()[0])
    assert first["conditions"]["json"]["samples"] == 3
    by_probe = {}
    for r in result.responses:
        by_probe.setdefault((r.probe, r.condition), set()).add(r.seed)
    assert all(len(seeds) == 3 for seeds in by_probe.values())  # each sample its own seed
    arms = {frozenset(v) for (probe, _), v in by_probe.items() if probe.startswith("P01")}
    assert len(arms) == 1  # and the arms of a probe the same ones


def test_a_log_may_hold_any_unicode(tmp_path):
    """A line separator inside an answer is no end of line, and a lone surrogate is no crash."""
    record = {
        "type": "probe",
        "id": "P1",
        "category": "c",
        "prompt": "Why?",
        "conditions": {"baseline": {"response": "one\u2028two\x85three \ud800."}},
    }
    log = tmp_path / "old.jsonl"
    log.write_text(
        json.dumps(record, ensure_ascii=False).replace("\ud800", "\\ud800") + "\n", encoding="utf-8"
    )
    probes = tmp_path / "probes.jsonl"
    probes.write_text(
        json.dumps({"id": "P1", "domain": "d", "prompt": "Why?\u2028Now?"}, ensure_ascii=False)
        + "\n"
        + json.dumps({"id": "P2", "domain": "d", "prompt": "How?"})
        + "\n",
        encoding="utf-8",
    )
    experiment = Experiment(
        model=f"replay:{log}", probes=str(probes), conditions=["baseline"], limit=1
    )
    result = run_ab(experiment, folder=tmp_path / "run")
    assert [r.final for r in result.responses] == ["one\u2028two\x85three \ufffd."]


def test_what_an_engine_finds_out_while_answering_stays_in_the_manifest(tmp_path, monkeypatch):
    from lem.engines.replay import EchoEngine

    plain = EchoEngine.generate

    def noting(self, requests, meter):
        self.info = self.info.model_copy(update={"notes": ["rows were copied"]})
        yield from plain(self, requests, meter)

    experiment = Experiment(model="echo", limit=2, max_tokens=4)
    monkeypatch.setattr(EchoEngine, "generate", noting)
    run_ab(experiment, folder=tmp_path / "run")
    monkeypatch.setattr(EchoEngine, "generate", plain)
    for _ in range(2):
        manifest = read_manifest(tmp_path / "run")
        assert "rows were copied" in manifest["notes"]
        assert manifest["engine"]["notes"].count("rows were copied") == 1
        run_ab(experiment, folder=tmp_path / "run")  # nothing is missing: nothing is found out
