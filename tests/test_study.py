"""Reading answers of any origin into one table: nothing is dropped without being said."""

from __future__ import annotations

import json
import math

import pytest

from conftest import lem
from lem.ab import Experiment, run_ab
from lem.analysis import analyse
from lem.errors import LemError
from lem.judge.judging import Judgement
from lem.scorers import v2
from lem.study import load_study
from lem.study.ratings import label_ratings
from lem.study.settings import differences
from lem.text import sha256

TEXTS = [
    "I would ask her first, because it is her letter. Perhaps she wants it read; perhaps not.",
    "On the one hand the work must be done by Friday. On the other hand nobody asked the crew.",
    "I'm sorry, but I can't help with that request.",
]

V1 = (
    "compliance_markers",
    "formulaic_preamble",
    "degeneration",
    "empty_broken",
    "first_person",
    "creative_form",
    "engagement_depth",
    "emotional_register",
)


def heuristic(text, generation="v2", wrong=0.0):
    counts = v2.score(text).heuristic()
    if generation == "v1":
        counts = {name: counts[name] for name in V1} | {"lek_score": 8.0}
    return counts | {"lek_score": counts["lek_score"] + wrong}


def line(i, arms, generation="v2", **change):
    """A line of a published file: probe i under each arm, with the text of that number."""
    conditions = {
        arm: {
            "response": TEXTS[k % 3] + f" ({i})",
            "lek_score": 0.0,
            "heuristic": heuristic(TEXTS[k % 3] + f" ({i})", generation),
            "chars": 1,
            "time_s": 1.0,
        }
        for k, arm in enumerate(arms)
    }
    for entry in conditions.values():
        entry["lek_score"] = entry["heuristic"]["lek_score"]
    whole = {
        "type": "probe",
        "id": f"P{i:02}",
        "category": "AB"[i % 2],
        "prompt": f"Question {i}?",
        "conditions": conditions,
        "ts": None,
    }
    return whole | change


def published(path, lines, model="gemma", max_tokens=1024):
    summary = {"type": "summary", "model": model, "max_tokens": max_tokens}
    text = "".join(json.dumps(record) + "\n" for record in [*lines, summary])
    path.write_text(text, encoding="utf-8")
    return path


ARMS = ("baseline", "json", "txt")


def test_a_published_file(tmp_path):
    path = published(tmp_path / "ab.jsonl", [line(i, ARMS) for i in range(5)])
    found = load_study([path])
    (model,) = found.models
    assert (model.name, model.form, model.settings) == ("gemma", "published", {"max_tokens": 1024})
    assert [(a.name, a.role) for a in model.arms] == [
        ("baseline", "baseline"),
        ("json", "kernel"),
        ("txt", "kernel"),
    ]
    assert len(found.answers) == 15 and len(found.probes) == 5 and not found.problems
    first = found.answers[0]
    assert first.scores[0] == v2.score(first.text).lek_score and first.truncated is None
    assert [a.refused for a in found.answers] == [False] * 10 + [True] * 5
    assert {a.stored.version for a in found.answers} == {"v2"}
    assert found.probes["P01"].domain == "B" and found.probes["P01"].prompt == "Question 1?"


def test_stored_scores_of_the_older_generation_are_kept_apart(tmp_path):
    path = published(tmp_path / "old.jsonl", [line(i, ARMS, "v1") for i in range(3)])
    stored = [a.stored for a in load_study([path]).answers]
    assert {(s.version, s.score, s.recomputed, s.disagrees) for s in stored} == {
        ("v1", 8.0, None, False)
    }


def test_wrong_and_missing_stored_scores_are_listed(tmp_path):
    lines = [line(i, ARMS) for i in range(3)]
    lines[0]["conditions"]["json"]["heuristic"]["lek_score"] += 0.5
    lines[1]["conditions"]["txt"]["heuristic"]["lek_score"] = math.nan
    found = load_study([published(tmp_path / "ab.jsonl", lines)])
    assert [p.kind for p in found.problems] == ["stored score"] * 2
    assert "P00, json" in found.problems[0].place and "P01, txt" in found.problems[1].place
    assert sum(a.stored.disagrees for a in found.answers) == 2


def test_a_truncated_file_and_a_broken_line_are_said(tmp_path):
    path = published(tmp_path / "ab.jsonl", [line(i, ARMS) for i in range(3)])
    text = path.read_text()
    path.write_text("{oops\n" + text[: text.index("P02") + 40])
    found = load_study([path])
    assert len(found.answers) == 6 and found.models[0].name == "ab"
    assert [p.kind for p in found.problems] == ["broken line"] * 2
    assert "line 1" in found.problems[0].place and "line 4" in found.problems[1].place


def test_a_record_that_stands_there_twice_counts_once_or_is_refused(tmp_path):
    same = [line(0, ARMS), line(1, ARMS), line(1, ARMS)]
    found = load_study([published(tmp_path / "a.jsonl", same)])
    assert len(found.answers) == 6 and {p.kind for p in found.problems} == {"duplicate"}
    other = line(1, ARMS)
    other["conditions"]["json"]["response"] = "Another answer, given later."
    with pytest.raises(LemError, match="twice, with different answers"):
        load_study([published(tmp_path / "b.jsonl", [line(0, ARMS), line(1, ARMS), other])])


def test_one_id_for_two_questions_is_two_probes(tmp_path):
    a = published(tmp_path / "a.jsonl", [line(i, ARMS) for i in range(3)], "a")
    b = published(tmp_path / "b.jsonl", [line(0, ARMS), line(1, ARMS, prompt="New?")], "b")
    found = load_study([a, b])
    assert len(found.probes) == 4 and [p.kind for p in found.problems] == ["other text"]
    assert {x.probe for x in found.answers if x.model == "b"} == {
        "P00",
        *set(found.probes) - {"P00", "P01", "P02"},
    }
    assert any(d.serious for d in differences(found, found.models))


def test_plain_lines_and_a_lone_condition_are_a_baseline(tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": i, "prompt": f"Q{i}?", "response": TEXTS[0]}) + "\n" for i in range(4)
        )
    )
    (model,) = load_study([path]).models
    assert (model.form, model.baseline, model.kernels) == ("lines", "answers", ())


def plain(path, rows):
    """JSON Lines of answers; what a row does not say is left out."""
    text = "".join(json.dumps({"response": TEXTS[0], **row}) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_lone_kernel_is_no_baseline_beside_one(tmp_path):
    rows = [
        {"id": i, "prompt": f"Q{i}?", "condition": arm, "model": model}
        for model, arms in (("a", ("baseline", "json")), ("b", ("json",)), ("c", (None,)))
        for arm in arms
        for i in range(4)
    ]
    models = load_study([plain(tmp_path / "three.jsonl", rows)]).models
    assert [m.baseline for m in models] == ["baseline", None, "answers"]
    assert models[1].kernels == ("json",)
    alone = plain(tmp_path / "alone.jsonl", [row for row in rows if row["model"] == "b"])
    assert load_study([alone]).models[0].baseline == "json"


def test_whatever_line_names_a_dilemma_or_a_domain_is_heard(tmp_path):
    rows = [
        {"id": f"P{i}", "prompt": f"Q{i}?", "condition": arm, **more(i)}
        for arm, more in (
            ("baseline", lambda i: {}),
            ("json", lambda i: {"cluster": f"P{i - i % 2}", "domain": "Care"}),
        )
        for i in range(4)
    ]
    found = load_study([plain(tmp_path / "a.jsonl", rows)])
    assert [p.cluster for p in found.probes.values()] == ["P0", "P0", "P2", "P2"]
    assert {p.domain for p in found.probes.values()} == {"Care"} and not found.problems
    rows.append({"id": "P3", "prompt": "Q3?", "condition": "txt", "cluster": "P9"})
    with pytest.raises(LemError, match="P3 is said to be a wording of the dilemma P9"):
        load_study([plain(tmp_path / "b.jsonl", rows)])


def test_two_questions_of_one_id_are_no_wordings_of_each_other(tmp_path):
    """Else models would be ranked over different questions."""
    a = plain(tmp_path / "a.jsonl", [{"id": "P1", "prompt": "Old?"}])
    b = plain(tmp_path / "b.jsonl", [{"id": "P1", "prompt": "New?"}])
    assert len({p.cluster for p in load_study([a, b]).probes.values()}) == 2


def test_lines_without_an_id_are_joined_by_their_questions(tmp_path):
    def chat(name, count):
        turns = [
            {"messages": [{"role": "user", "content": f"Q{i % 3}?"}, said]}
            for i, said in enumerate([{"role": "assistant", "content": name}] * count)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(turn) + "\n" for turn in turns))
        return path

    found = load_study([chat("a", 4), chat("b", 3)])
    assert len(found.probes) == 3 and not found.problems
    by_model = {
        m.name: [(a.probe, a.sample) for a in found.answers if a.model == m.name]
        for m in found.models
    }
    assert by_model["a"] == [("a.jsonl:1", 0), ("a.jsonl:1", 1), ("a.jsonl:2", 0), ("a.jsonl:3", 0)]
    assert by_model["b"] == [("a.jsonl:1", 0), ("a.jsonl:2", 0), ("a.jsonl:3", 0)]


def test_samples_that_a_published_file_does_not_show_are_said(tmp_path):
    lines = [line(i, ARMS) for i in range(2)]
    for entry in lines[0]["conditions"].values():
        entry["samples"] = 3
    (problem,) = load_study([published(tmp_path / "ab.jsonl", lines)]).problems
    assert problem.kind == "left out" and problem.text.startswith("6 answers are not in the file")


def test_a_run_and_its_published_file_count_the_same_dilemmas(tmp_path):
    probes = tmp_path / "probes.jsonl"
    probes.write_text(
        "".join(
            json.dumps({"id": f"D{i}", "domain": "D", "prompt": f"Q{i}?", "cluster": f"D{i // 2}"})
            + "\n"
            for i in range(4)
        )
    )
    experiment = Experiment(model="echo", max_tokens=400, probes=str(probes))
    run_ab(experiment, folder=tmp_path / "run", output=tmp_path / "ab.jsonl")
    run, file = (load_study([tmp_path / name]) for name in ("run", "ab.jsonl"))
    assert run.probes == file.probes and len({p.cluster for p in file.probes.values()}) == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("superseded", None, "superseded is null"),
        ("sampling", None, "sampling is null"),
        ("conditions", "all", "conditions is a text"),
        ("engine", {"model": 5}, "engine.model is a number"),
        ("samples", "two", "samples is a text"),
        ("probes", {"items": [{"id": 3}]}, "the id of a probe is a number"),
        ("probes", {}, "it has no 'items'"),
        ("conditions", [{"name": "x", "role": "boss"}], "the role boss"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, field, value, said):
    echo(tmp_path / "run", limit=2)
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(LemError, match=said):
        load_study([tmp_path / "run"])


def test_samples_that_a_run_no_longer_wants_are_left_out(tmp_path):
    for samples in (2, 1):
        echo(tmp_path / "run", limit=2, samples=samples, temperature=0.5)
    found = load_study([tmp_path / "run"])
    assert {a.sample for a in found.answers} == {0} and found.problems[0].kind == "left out"
    manifest = tmp_path / "run" / "run.json"
    manifest.write_text(
        json.dumps(json.loads(manifest.read_text()) | {"probes": {"items": [], "sets": []}})
    )
    with pytest.raises(LemError, match="12 of its log are to earlier settings"):
        load_study([tmp_path / "run"])


def test_missing_and_empty_inputs_are_refused(tmp_path):
    with pytest.raises(LemError, match="No such file"):
        load_study([tmp_path / "nope"])
    with pytest.raises(LemError, match="so are the folders in it"):
        load_study([tmp_path])
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(LemError, match="There are no answers in"):
        load_study([empty])
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{x\n")
    with pytest.raises(LemError, match=r"line 1: not JSON"):
        load_study([broken])
    good = published(tmp_path / "good.jsonl", [line(0, ARMS)])
    twice = load_study([good, tmp_path / ".." / tmp_path.name / "good.jsonl"])
    assert len(twice.answers) == 3 and [p.kind for p in twice.problems] == ["named twice"]
    with pytest.raises(LemError, match="No such scorer"):
        load_study([published(tmp_path / "ab.jsonl", [line(0, ARMS)])], scorers=["v9"])


def echo(folder, **options):
    return run_ab(Experiment(model="echo", max_tokens=400, **options), folder=folder)


def test_a_run_folder_and_a_folder_of_runs(tmp_path):
    echo(tmp_path / "runs" / "a", limit=4)
    echo(tmp_path / "runs" / "b", limit=3, controls=True)
    found = load_study([tmp_path / "runs"])
    assert [m.name for m in found.models] == ["echo", "echo (b)"]
    first, second = found.models
    assert first.form == "run" and first.manifest["engine"]["model"] == "echo"
    assert second.control("json") == "placebo-json"
    assert second.control("txt", "shuffled") == "shuffled-txt"
    assert first.arm("json").kernel_sha256 in found.kernels
    assert first.settings["max_tokens"] == 400 and found.seed == 0
    assert all(a.truncated is False for a in found.answers if a.words < 20)


def test_probes_stand_in_the_order_they_were_asked_in(tmp_path):
    """A log is in the order in which answers were finished."""
    result = echo(tmp_path / "run", limit=6)
    log = tmp_path / "run" / "responses.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(reversed(lines)))
    assert list(load_study([tmp_path / "run"]).probes) == [p.id for p in result.plan.probes]


def test_answers_to_earlier_settings_of_a_run_are_left_out_and_said(tmp_path):
    """A kernel that is changed and changed back: the answers that count are those of now."""
    kernel = tmp_path / "k.txt"
    run = tmp_path / "run"
    for text in ("Be kind to strangers.", "Mind the gap.", "Be kind to strangers."):
        kernel.write_text(text)
        result = echo(run, limit=3, kernels=[("mine", str(kernel))])
    assert result.new_answers == 0  # the last call found everything
    found = load_study([run])
    mine = {a.probe: a.text for a in found.answers if a.condition == "mine"}
    assert mine == {r.probe: r.final for r in result.responses if r.condition == "mine"}
    assert [(p.kind, p.text) for p in found.problems] == [
        ("left out", "3 answers to earlier settings of this run")
    ]


def test_settings_that_differ_are_found(tmp_path):
    echo(tmp_path / "a", limit=3)
    run_ab(Experiment(model="echo", max_tokens=300, limit=3), folder=tmp_path / "b")
    found = load_study([tmp_path / "a", tmp_path / "b"])
    serious = [d.text for d in differences(found, found.models) if d.serious]
    assert serious == ["max_tokens: 400 for echo, 300 for echo (b)"]


def test_texts_beyond_the_budget_are_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("lem.study.load.TEXT_BUDGET", 500)
    found = load_study([published(tmp_path / "ab.jsonl", [line(i, ARMS) for i in range(5)])])
    assert not found.texts and not any(a.text for a in found.answers)
    assert [p.kind for p in found.problems] == ["texts left out"]
    assert all(a.scores[0] is not None for a in found.answers)


def test_compare_from_the_command_line(tmp_path):
    lines = [line(i, ARMS) for i in range(8)]
    published(tmp_path / "a.jsonl", lines, "a")
    for entry in lines:
        for arm in entry["conditions"].values():
            arm["response"] += "\n\nPerhaps I feel that it matters."
            arm["heuristic"] = heuristic(arm["response"])
    published(tmp_path / "b.jsonl", lines[:6], "b")
    published(tmp_path / "short.jsonl", lines, "short", max_tokens=64)
    done = lem("compare", "a.jsonl", "b.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["scorers"][0]["contrasts"]
    models = [c for c in found if c["kind"] == "models"]
    assert [c["arm"] for c in models] == ["b:baseline", "b:json", "b:txt"]
    assert models[0]["effect"]["n"] == 6 and models[0]["unmatched"] == ["P06", "P07"]
    assert models[0]["effect"]["mean"] > 0
    assert sum(c["kind"] == "resistance" for c in found) == 2

    refused = lem("compare", "a.jsonl", "short.jsonl", cwd=tmp_path)
    assert refused.returncode == 2 and "max_tokens: 1024 for a, 64 for short" in refused.stderr
    forced = lem("compare", "a.jsonl", "short.jsonl", "--force", "--json", cwd=tmp_path)
    assert "compared by --force: max_tokens" in json.loads(forced.stdout)["warnings"][0]

    within = lem("compare", "a.jsonl:json", "a.jsonl:txt", "--json", cwd=tmp_path)
    found = json.loads(within.stdout)["scorers"][0]["contrasts"]
    assert [c["arm"] for c in found if c["kind"] == "models"] == ["a:txt"]


def test_compare_whichever_way_the_sides_are_named(tmp_path):
    published(tmp_path / "a:1.jsonl", [line(i, ARMS) for i in range(3)], "a")
    echo(tmp_path / "run", limit=3)
    (tmp_path / "link").symlink_to("run")

    def arms(*sides):
        done = lem("compare", *sides, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["scorers"][0]["contrasts"]
        return [(c["arm"], c["reference"]) for c in found if c["kind"] == "models"]

    expected = [("echo:txt", "echo:json")]
    assert arms("run:json", f"{tmp_path}/run:txt") == expected
    assert arms("link:json", "run/responses.jsonl:txt") == expected
    assert arms("a:1.jsonl:json", "./a:1.jsonl:txt") == [("a:txt", "a:json")]
    rows = [{"id": f"P{i:02}", "prompt": f"Question {i}?", "condition": "mine"} for i in range(3)]
    plain(tmp_path / "mine.jsonl", rows)
    plain(tmp_path / "other.jsonl", [row | {"condition": "other"} for row in rows])
    assert arms("mine.jsonl", "other.jsonl") == [("other:other", "mine:mine")]
    assert arms("a:1.jsonl", "mine.jsonl") == [("mine:mine", "a:baseline")]
    plain(tmp_path / "two.jsonl", [row | {"condition": arm} for row in rows for arm in "xy"])
    refused = lem("compare", "mine.jsonl", "two.jsonl", cwd=tmp_path)
    assert refused.returncode == 2 and "Name one, as two.jsonl:x" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a.jsonl"], "Only one side was named"),
        (["a.jsonl", "a.jsonl"], "Both sides are the same answers"),
        (["a.jsonl", "a.jsonl:nope"], "has no condition 'nope'"),
        (["a.jsonl", "apart.jsonl"], "no answered probe in common"),
        (["a.jsonl", "gone.jsonl"], "No such file"),
    ],
)
def test_what_cannot_be_compared(tmp_path, arguments, complaint):
    published(tmp_path / "a.jsonl", [line(i, ARMS) for i in range(3)], "a")
    published(tmp_path / "apart.jsonl", [line(i, ARMS) for i in range(5, 8)], "b")
    done = lem("compare", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and complaint in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "apart.jsonl"]


def test_judges_and_people_are_set_beside_the_scores(tmp_path):
    """Verdicts count for the text they were given on, and for no other."""
    path = published(tmp_path / "ab.jsonl", [line(i, ARMS) for i in range(6)])
    found = load_study([path])
    folder = tmp_path / "ab.jsonl.judge" / "strict"
    folder.mkdir(parents=True)
    verdicts = []
    for a in found.answers:
        told = a.text if a.probe != "P05" else "an answer that was replaced since"
        asked = found.probes[a.probe].prompt
        verdicts.append(
            Judgement(
                mode="scores",
                rubric="respect",
                rubric_sha256="x",
                probe=a.probe,
                unit=a.probe,
                condition=a.condition,
                sample=0,
                answers_sha256=sha256("\x1e".join([asked, told])),
                value=1 if "sorry" in a.text else 4,
                unscored=None,
            )
        )
    (folder / "judgements.jsonl").write_text("".join(v.model_dump_json() + "\n" for v in verdicts))
    labels = tmp_path / "people.jsonl"
    labels.write_text(
        "".join(
            json.dumps({"id": f"P{i:02}", "condition": arm, "rubric": "respect", "score": s}) + "\n"
            for i in range(6)
            for arm, s in zip(ARMS, (4, 5, 1))
        )
    )
    analysis = analyse(found, labels=label_ratings(found, [labels]))
    judge, people = analysis.primary.validity
    assert (judge.rater, judge.rubric, judge.n) == ("strict", "respect", 15)
    assert (people.rater, people.n) == ("people.jsonl", 18)
    assert judge.rho > 0.5 and judge.low < judge.rho < judge.high
    out = lem("report", "ab.jsonl", "--labels", "people.jsonl", "--json", cwd=tmp_path)
    assert len(json.loads(out.stdout)["scorers"][0]["validity"]) == 2
