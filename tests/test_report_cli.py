"""`lem report` as users meet it: a study of known truth, files of both generations, refusals."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

from conftest import lem
from lem.ab import Experiment, run_ab
from lem.bench import builtin_recipes
from planted_probes import numbered_probes
from test_study import ARMS, line, published

KERNELS = ("real", "length", "prompt", "null")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """101 probes under four kernels of known effect, their placebos, and the baseline twice."""
    folder = tmp_path_factory.mktemp("planted")
    data = builtin_recipes()["planted"].parent
    result = run_ab(
        Experiment(
            model="planted:1",
            probes=str(numbered_probes(folder / "probes.jsonl", 101)),
            kernels=[(name, str(data / f"planted-{name}.txt")) for name in KERNELS],
            conditions=[
                *("baseline", "baseline-replicate"),
                *KERNELS,
                *(f"placebo-{name}" for name in KERNELS),
            ],
        ),
        folder=folder / "run",
    )
    return folder, result.analysis


def test_the_report_says_what_was_planted(planted):
    folder, analysis = planted
    said = {f.kernel: (f.code, f.sentence) for f in analysis.primary.findings}
    assert {name: code for name, (code, _) in said.items()} == {
        "real": "content",
        "length": "length",
        "prompt": "any prompt",
        "null": "not shown",
    }
    assert "an effect of what the kernel says (at equal length +" in said["real"][1]
    assert "cannot be told from an effect of length" in said["length"][1]
    assert "cannot be told from the effect of any long prompt" in said["prompt"][1]
    assert said["null"][1].endswith(": not shown.")
    printed = " ".join(lem("report", "run", cwd=folder).stdout.split())
    page = (folder / "run" / "report" / "report.html").read_text()
    text = (folder / "run" / "report" / "report.md").read_text()
    for _, sentence in said.values():
        assert sentence in printed
        assert sentence.replace("'", "&#39;") in page
        assert sentence in text.replace("\\", "")


def test_a_report_rebuilds_byte_for_byte(planted):
    """Whatever the hash seed, the time zone, the folder and the width of the terminal."""
    folder, _ = planted
    digests = []
    for seed, width, zone, cwd in (
        ("1", "80", "UTC", folder),
        ("2", "200", "Asia/Tokyo", folder.parent),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "lem", "report", os.path.relpath(folder / "run", cwd), "-q"],
            cwd=cwd,
            env=os.environ | {"PYTHONHASHSEED": seed, "COLUMNS": width, "TZ": zone},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        made = sorted((folder / "run" / "report").iterdir())
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in made])
    assert len(digests[0]) == 3 and digests[0] == digests[1]


def test_published_files_of_both_generations(tmp_path):
    published(tmp_path / "old.jsonl", [line(i, ARMS, "v1") for i in range(12)], "old")
    lines = [line(i, ARMS) for i in range(12)]
    lines[3]["conditions"]["txt"]["heuristic"]["lek_score"] += 1
    published(tmp_path / "new.jsonl", lines, "new")
    done = lem("report", "old.jsonl", "new.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "! 1 stored score is not what the text gives." in done.stdout
    stored = [row.split() for row in done.stdout.splitlines() if row[:4] in ("old ", "new ")]
    rows = {(r[0], r[1]): r[2:] for r in stored if len(r) == 7 and r[2] in ("v1", "v2")}
    assert len(rows) == 6
    assert rows["old", "json"] == ["v1", "12", "8.0", "–", "n/a"]
    assert rows["new", "txt"][-1] == "1" and rows["new", "json"][-1] == "0"
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Scores stated in the files, and worked out again" in page


def test_what_is_there_is_not_overwritten(tmp_path):
    published(tmp_path / "ab.jsonl", [line(i, ARMS) for i in range(3)])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "effects.json").write_text('{"a": 1}')
    run_ab(Experiment(model="echo", limit=2, max_tokens=400), folder=tmp_path / "run")
    before = (tmp_path / "run" / "effects.json").read_bytes()
    for target in ("mine", "ab.jsonl", "other", "run"):
        done = lem("report", "ab.jsonl", "--output", target, cwd=tmp_path)
        assert done.returncode == 2 and "nothing was written" in done.stderr
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "run" / "effects.json").read_bytes() == before


def test_json_writes_no_files_and_answers_can_be_left_out(tmp_path):
    published(tmp_path / "ab.jsonl", [line(i, ARMS) for i in range(3)])
    found = json.loads(lem("report", "ab.jsonl", "--json", cwd=tmp_path).stdout)
    assert found["schema_version"] == 2 and [p.name for p in tmp_path.iterdir()] == ["ab.jsonl"]
    quiet = lem("report", "ab.jsonl", "-q", "--no-answers", "--output", "r", cwd=tmp_path)
    assert quiet.stdout.split()[::2] == ["page:", "text:", "numbers:"]
    assert "asked the crew" not in (tmp_path / "r" / "report.html").read_text()
