"""`lem score` as users meet it."""

import csv
import gzip
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from conftest import lem
from lem.cli import main
from lem.kernels.load import data_text
from lem.scoring.summary import MAX_GROUPS, OTHERS

ANSWER = "I think that trust grows slowly. However, it depends: would she want to know?"
LONG = (
    "I would tell her what happened, because she has to live with the result. However, it "
    "depends on who is asking and what they need. If the company loses money, the workers may "
    "suffer first; perhaps a slower change would serve both. What would they say themselves?"
)


def pairs(path, count, **more):
    rows = [
        {"id": f"q{i}", "prompt": f"Question {i}?", "response": f"{LONG} Case {i}."} | more
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def records(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def echo_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("echo")
    (folder / "mine.txt").write_text("Weigh what others want before what you want yourself.")
    done = lem(
        *("ab", "--model", "echo", "--limit", "3", "-q", "--run", "run", "--output", "ab.jsonl"),
        *("--kernel", "mine=mine.txt", "--kernel", "json=lek-1.json"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder


MEASURES = {
    "leak",
    "citations",
    "kernel_overlap",
    "kernel_longest_run",
    "prompt_overlap",
    "prompt_longest_run",
}
STATISTICS = [
    "words",
    "sentences",
    "markdown_share",
    "empty",
    "truncated",
    "refused",
    "language",
    "repetition",
]


def test_the_default_record(tmp_path):
    pairs(tmp_path / "a.jsonl", 2, model="m", category="Health")
    first, second = records(lem("score", "a.jsonl", "--json", cwd=tmp_path))
    assert list(first) == [
        "id",
        "model",
        "category",
        "text",
        "overlap",
        "v2",
        "grammar",
        "reasoning",
    ]
    assert list(first["text"]) == STATISTICS and set(first["overlap"]) == MEASURES
    assert first["text"]["language"] == "en" and first["text"]["truncated"] is None
    assert list(first["v2"])[-2:] == ["lek_score", "version"] and len(first["v2"]) == 16
    assert list(first["grammar"])[-2:] == ["profile", "version"]
    assert first["grammar"]["profile"] == "head" and "uplift" not in first["grammar"]
    assert second["id"] == "q1"


def test_every_scorer_can_be_asked_for_by_name(tmp_path):
    listed = json.loads(lem("score", "--list", "--json", cwd=tmp_path).stdout)
    names = [info["name"] for info in listed]
    assert {"v2", "v2-distill", "grammar", "grammar:paper", "grammar-wide", "reasoning"} <= {*names}
    assert all(info["version"] and info["label"] and info["headline"] for info in listed)
    asked = [part for name in names for part in ("--scorer", name)]
    pairs(tmp_path / "a.jsonl", 1)
    (record,) = records(lem("score", "a.jsonl", "--json", "--delta", *asked, cwd=tmp_path))
    assert list(record)[3:] == names
    for info in listed:
        own = record[info["name"]]
        assert info["headline"] in own and own["version"] == info["version"]
        assert own.get("profile") == info["profile"]
    assert record["grammar:paper"]["uplift"] is not None
    plain = lem("score", "--list", cwd=tmp_path).stdout.splitlines()
    assert len(plain) == len(names) + 1


def test_a_run_and_its_published_file_get_the_same_scores(echo_run):
    shared = ("id", "condition", "category", "model", "overlap", "v2", "grammar", "reasoning")
    run = records(lem("score", "run", "--json", cwd=echo_run))
    published = records(lem("score", "ab.jsonl", "--json", cwd=echo_run))
    key = lambda r: (r["id"], r["condition"])  # noqa: E731
    assert sorted(map(key, run)) == sorted(map(key, published)) and len(run) == 9
    for one, other in zip(sorted(run, key=key), sorted(published, key=key)):
        names = [n for n in shared if n != "overlap"]  # the run knows one more kernel
        assert {n: one[n] for n in names} == {n: other[n] for n in names}
    heuristic = {
        (p["id"], name): entry["heuristic"]
        for p in map(json.loads, (echo_run / "ab.jsonl").read_text().splitlines()[:-1])
        for name, entry in p["conditions"].items()
    }
    for record in run:
        own = {k: v for k, v in record["v2"].items() if k != "version"}
        assert own == heuristic[record["id"], record["condition"]]
        assert record["text"]["truncated"] is False


def test_a_leaked_kernel_is_found_and_can_be_left_out(tmp_path):
    leaked = data_text("lek-1.txt").strip()[:900]
    own = "Stones are laid in courses, and the longest of them tie both faces of a wall together."
    (tmp_path / "own.txt").write_text(own)
    rows = [
        {"id": "clean", "prompt": "Q?", "response": LONG},
        {"id": "leak", "prompt": "Q?", "response": leaked},
        {"id": "own", "prompt": "Q?", "response": own},
        {"messages": [{"role": "system", "content": own}, {"role": "assistant", "content": own}]},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows[:3])))
    (tmp_path / "chat.jsonl").write_text(json.dumps(rows[3]))
    ask = ("score", "a.jsonl", "--scorer", "v2", "--json")
    found = {r["id"]: r["overlap"] for r in records(lem(*ask, cwd=tmp_path))}
    assert found["leak"]["kernel_overlap"] > 0.8 > 0.1 > found["clean"]["kernel_overlap"]
    assert found["own"]["kernel_overlap"] < 0.1
    for kernel in ("own.txt", "mine=own.txt"):
        found = {
            r["id"]: r["overlap"] for r in records(lem(*ask, "--kernel", kernel, cwd=tmp_path))
        }
        assert found["own"]["kernel_overlap"] > 0.8
    (chat,) = records(lem("score", "chat.jsonl", *ask[2:], cwd=tmp_path))
    assert chat["overlap"]["kernel_overlap"] > 0.8 and chat["id"] == "chat.jsonl:1"
    kept = lem(*ask, "--max-kernel-overlap", "0.5", cwd=tmp_path)
    assert [r["id"] for r in records(kept)] == ["clean", "own"]
    summary = lem(*ask[:-1], "--max-kernel-overlap", "0.5", "--summary", "--json", cwd=tmp_path)
    data = json.loads(summary.stdout)
    assert (data["answers"], data["scored"], sum(data["dropped"].values())) == (3, 2, 1)
    assert data["groups"][0]["answers"] == 2


def test_standard_input(tmp_path):
    done = lem("score", "--json", "--scorer", "v2", cwd=tmp_path, input=ANSWER)
    assert records(done)[0]["id"] == "stdin"
    done = lem(
        "score",
        "-",
        "--json",
        "--scorer",
        "v2",
        cwd=tmp_path,
        input=json.dumps({"prompt": "Q", "response": ANSWER}) + "\n",
    )
    assert records(done)[0]["id"] == "stdin:1"
    done = lem("score", cwd=tmp_path, input="")
    assert done.returncode == 2 and "no answers in stdin" in done.stderr
    done = lem("score", "-", "-", cwd=tmp_path, input="x")
    assert done.returncode == 2 and "named twice" in done.stderr


def test_several_inputs_name_their_file(tmp_path):
    pairs(tmp_path / "a.jsonl", 1)
    (tmp_path / "b.txt").write_text(ANSWER)
    found = records(lem("score", "a.jsonl", "b.txt", "--json", "--scorer", "v2", cwd=tmp_path))
    assert [(r["id"], r["file"]) for r in found] == [("q0", "a.jsonl"), ("b.txt", "b.txt")]
    done = lem(
        "score",
        "a.jsonl",
        "b.txt",
        "--summary",
        "--by",
        "file",
        "--json",
        "--scorer",
        "v2",
        cwd=tmp_path,
    )
    assert [g["by"]["file"] for g in json.loads(done.stdout)["groups"]] == ["a.jsonl", "b.txt"]


def test_broken_lines_are_shown_counted_and_skipped(tmp_path):
    lines = ['{"response": "A good answer."}'] + ["{torn"] * 12 + ['{"response": ""}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    before = (tmp_path / "a.jsonl").read_bytes()
    done = lem("score", "a.jsonl", "--scorer", "v2", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.count("skipped: a.jsonl, line ") == 10
    assert "a.jsonl, line 2: not JSON" in done.stderr and "line 12" not in done.stderr
    assert "warning: broken lines skipped: 12 (2 of them not shown); answers read: 2" in done.stderr
    assert "2 answers scored, 12 broken lines skipped." in " ".join(done.stdout.split())
    assert (tmp_path / "a.jsonl").read_bytes() == before
    done = lem("score", "a.jsonl", "--json", "--scorer", "v2", cwd=tmp_path)
    found = records(done)
    assert "warning: empty answers: 1 of 2" in done.stderr
    assert found[1]["text"]["empty"] is True and found[1]["v2"]["empty_broken"] == 1
    strict = lem("score", "a.jsonl", "--strict", "--to", "s.jsonl", cwd=tmp_path)
    assert strict.returncode == 2 and "a.jsonl, line 2: not JSON" in strict.stderr
    assert "--strict" in strict.stderr and not (tmp_path / "s.jsonl").exists()
    (tmp_path / "a.jsonl").write_text("{torn\n{torn\n")
    done = lem("score", "a.jsonl", "--json", cwd=tmp_path)
    assert done.returncode == 2 and "All 2 lines are broken" in done.stderr and not done.stdout


BAD = [
    (["none.jsonl"], "No such file"),
    (["empty"], "no run"),
    (["empty.jsonl"], "no answers in empty.jsonl"),
    (["latin.txt"], "not UTF-8: byte 0xe9"),
    (["list.json"], "jq -c"),
    (["a.jsonl", "--scorer", "v3"], "No such scorer: 'v3'"),
    (["a.jsonl", "--scorer", "grammar:typo"], "no profile 'typo'"),
    (["a.jsonl", "--scorer", "v2:paper"], "no profiles"),
    (["a.jsonl", "--kernel", "none.txt"], "No such kernel file"),
    (["a.jsonl", "--output", "parquet"], "Add --to"),
    (["a.jsonl", "--to", "a.jsonl", "--force"], "one of the inputs"),
    (["a.jsonl", "--to", "./link.jsonl", "--force"], "one of the inputs"),
    (["a.jsonl", "--to", "latin.txt"], "exists"),
    (["a.jsonl", "--to", "empty"], "not a file"),
    (["a.jsonl", "--to", "latin.txt/x.csv"], "Cannot write"),
    (["a.jsonl", "--summary", "--explain"], "contradict"),
    (["a.jsonl", "--summary", "--output", "csv"], "no csv form"),
    (["a.jsonl", "--json", "--output", "csv"], "contradict"),
    (["a.jsonl", "--max-kernel-overlap", "2"], "max-kernel-overlap"),
    (["a.jsonl", "--max-kernel-overlap", "nan"], "not a number"),
    (["a.jsonl", "--strict", "torn.jsonl", "--to", "new/folder/s.csv"], "line 1: not JSON"),
    (["a.jsonl", "packed.jsonl", "--json"], "gzip -dc"),
    (["a.jsonl", "--by", "mood"], "--by"),
    (["a.jsonl", "--limit", "0"], "--limit"),
    (["bad-run"], "is damaged"),
    (["odd-run"], "no manifest of a run"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_exits_2_says_why_and_writes_nothing(
    tmp_path, monkeypatch, capsys, arguments, said
):
    pairs(tmp_path / "a.jsonl", 2)
    (tmp_path / "link.jsonl").symlink_to("a.jsonl")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "torn.jsonl").write_text("{torn")
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(b'{"response": "A"}'))
    (tmp_path / "list.json").write_text('[\n  {"response": "a"},\n  {"response": "b"}]\n')
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "empty").mkdir()
    for name, manifest in (("bad-run", "{"), ("odd-run", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(manifest)
        (tmp_path / name / "responses.jsonl").write_text("")
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as e:
        main(["score", *arguments])
    printed = capsys.readouterr()
    assert e.value.code == 2 and not printed.out
    assert said in " ".join(printed.err.split())
    if "Usage:" not in printed.err:
        assert "so:" in printed.err and "fix:" in printed.err
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


def test_csv(tmp_path):
    rows = [
        {"id": "=1+1", "prompt": "Q?", "response": ANSWER, "sample": 1},
        {"id": 'two\nlines, "quoted" \ud800', "response": ""},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = lem("score", "a.jsonl", "--scorer", "v2", "--output", "csv", cwd=tmp_path)
    first, second = csv.DictReader(io.StringIO(done.stdout))
    assert list(first)[:7] == [
        "id",
        "file",
        "model",
        "condition",
        "sample",
        "category",
        "text.words",
    ]
    assert list(first)[-2:] == ["v2.lek_score", "v2.version"]
    assert (first["id"], first["sample"], first["model"]) == ("'=1+1", "1", "")
    assert second["id"] == 'two\nlines, "quoted" \\ud800' and second["text.empty"] == "true"
    (record, _) = records(lem("score", "a.jsonl", "--scorer", "v2", "--json", cwd=tmp_path))
    assert float(first["v2.lek_score"]) == record["v2"]["lek_score"]


def test_json_survives_what_utf8_cannot_hold(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "\ud800 é", "response": "a \udfff b"}))
    (record,) = records(lem("score", "a.jsonl", "--json", cwd=tmp_path))
    assert record["id"] == "\ud800 é"
    for view in (["--explain"], [], ["--output", "csv"]):
        done = lem("score", "a.jsonl", *view, cwd=tmp_path)
        assert done.returncode == 0 and "Traceback" not in done.stderr


def test_parquet_holds_what_json_lines_holds(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pairs(tmp_path / "a.jsonl", 5000, model="m", response="Who knows?")
    ask = ("score", "a.jsonl", "--scorer", "v2", "--scorer", "grammar")
    done = lem(*ask, "--to", "s.parquet", cwd=tmp_path)
    assert done.returncode == 0 and "5,000 answers scored" in done.stdout
    table = parquet.read_table(tmp_path / "s.parquet")
    assert (
        table.num_rows == 5000 and parquet.ParquetFile(tmp_path / "s.parquet").num_row_groups == 2
    )
    lem(*ask, "--to", "s.jsonl", cwd=tmp_path)
    lines = (tmp_path / "s.jsonl").read_text().splitlines()
    for row, text in zip(table.to_pylist(), lines, strict=True):
        record = json.loads(text)
        for part in ("text", "overlap", "v2", "grammar"):
            assert {k: row[f"{part}.{k}"] for k in record[part]} == record[part]
        assert (row["id"], row["model"], row["sample"]) == (record["id"], "m", None)
    assert str(table.schema.field("v2.degeneration").type) == "double"
    assert str(table.schema.field("text.empty").type) == "bool"


def test_force_replaces_a_file_and_only_a_finished_one(tmp_path):
    pairs(tmp_path / "a.jsonl", 2)
    (tmp_path / "s.jsonl").write_text("precious")
    (tmp_path / "torn.jsonl").write_text((tmp_path / "a.jsonl").read_text() + "{torn")
    failed = lem("score", "torn.jsonl", "--strict", "--to", "s.jsonl", "--force", cwd=tmp_path)
    assert failed.returncode == 2 and (tmp_path / "s.jsonl").read_text() == "precious"
    done = lem("score", "a.jsonl", "--to", "s.jsonl", "--force", cwd=tmp_path)
    assert done.returncode == 0 and len((tmp_path / "s.jsonl").read_text().splitlines()) == 2
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_table_fits_the_terminal(tmp_path, columns):
    rows = [
        {
            "id": "an id that is really much longer than any table would like " + "漢字" * 20,
            "prompt": "Q?",
            "response": LONG,
            "condition": "a-rather-long-condition-name",
        },
        {"id": "\x1b[31mred", "response": "", "condition": "\x1b[1m\ud800"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = subprocess.run(
        [sys.executable, "-m", "lem", "score", "a.jsonl", "--delta"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": columns},
    )
    assert done.returncode == 0, done.stderr
    assert all(cell_len(text) <= int(columns) for text in done.stdout.splitlines())
    assert "\x1b" not in done.stdout
    header = done.stdout.splitlines()[0].split()
    assert header == ["id", "condition", "words", "lang", "v2", "grammar", "reasoning"] or header[
        :6
    ] == ["id", "condition", "words", "lang", "v2", "grammar"]


def test_wide_characters_do_not_break_the_table(tmp_path):
    pairs(tmp_path / "a.jsonl", 2, id="識別" * 20, condition="条件" * 5, category="分類" * 10)
    done = lem("score", "a.jsonl", "--by", "condition", "--by", "category", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert all(cell_len(text) <= 80 for text in lines), done.stdout
    assert lines[1].endswith(lines[2][-30:]) and cell_len(lines[1]) == len(lines[0])
    assert f"{'条件' * 5} / {'分類' * 10}" in lines  # too long for its column, so by itself


def test_names_are_told_apart_and_labels_are_whole(tmp_path):
    pairs(tmp_path / "a.jsonl", 2, condition="baseline", category="Governance")
    both = ("--scorer", "grammar:head", "--scorer", "grammar:head_unloaded")
    done = lem("score", "a.jsonl", *both, "--scorer", "reasoning", "--delta", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0].split()[-2:] == ["grammar:head", "grammar:head_unloaded"]
    assert "no room for reasoning" in done.stdout
    assert all(cell_len(text) <= 80 for text in lines), done.stdout
    two = ("--by", "condition", "--by", "category", "--scorer", "reasoning", "--scorer", "grammar")
    done = lem("score", "a.jsonl", *two, "--delta", cwd=tmp_path)
    assert "reasoning = reasoning (content not judged)" in " ".join(done.stdout.split())
    assert "\nreasoning (content not judged): reasoning.score" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines.index(["baseline"]) + 1 == lines.index(["Governance"])  # heads of the card
    summary = lem("score", "a.jsonl", *two, "--summary", "--json", cwd=tmp_path)
    (group,) = json.loads(summary.stdout)["groups"]
    assert group["scorers"]["reasoning"]["label"] == "reasoning (content not judged)"


def test_numbers_as_ids_stay_numbers(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 0, "response": "A"}\n{"id": 2.5, "response": "B"}\n')
    ask = ("score", "a.jsonl", "--scorer", "v2")
    assert [r["id"] for r in records(lem(*ask, "--json", cwd=tmp_path))] == [0, 2.5]
    table = lem(*ask, cwd=tmp_path).stdout.splitlines()
    assert [row.split()[0] for row in table[1:3]] == ["0", "2.5"]
    rows = csv.DictReader(io.StringIO(lem(*ask, "--output", "csv", cwd=tmp_path).stdout))
    assert [row["id"] for row in rows] == ["0", "2.5"]


def test_a_file_named_twice_is_told_of(tmp_path):
    pairs(tmp_path / "a.jsonl", 2)
    (tmp_path / "b.jsonl").symlink_to("a.jsonl")
    done = lem("score", "a.jsonl", "b.jsonl", "--scorer", "v2", "--json", cwd=tmp_path)
    assert "note: b.jsonl is named more than once" in done.stderr and len(records(done)) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", ["--json", "--output=csv", "--summary", "--explain", "--rows=0"])
def test_a_full_disk_behind_standard_output(tmp_path, form):
    pairs(tmp_path / "a.jsonl", 2)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lem", "score", "a.jsonl", "--scorer", "v2", form],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2 and "Cannot write to standard output: No space" in done.stderr
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_call_leaves_nothing_behind(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "lem", "score", "--scorer", "v2", "--to", "s.parquet"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(json.dumps({"response": ANSWER}).encode() + b"\n")
    process.stdin.flush()
    until = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.strip() == b"" and list(tmp_path.iterdir()) == []


def test_rows_and_limit(tmp_path):
    pairs(tmp_path / "a.jsonl", 30)
    ask = ("score", "a.jsonl", "--scorer", "v2")
    shown = lem(*ask, cwd=tmp_path).stdout
    assert sum(text.startswith("q") for text in shown.splitlines()) == 20
    assert "… and 10 more" in shown and "30 answers scored" in shown
    assert (
        sum(t.startswith("q") for t in lem(*ask, "--rows", "0", cwd=tmp_path).stdout.split("\n"))
        == 30
    )
    assert "7 answers scored" in lem(*ask, "--limit", "7", cwd=tmp_path).stdout


def test_the_summary_says_what_belongs_beside_a_mean(tmp_path):
    rows = [
        {"response": LONG, "condition": "a", "finish_reason": "stop", "prompt": "Should I tell?"},
        {"response": "Be kind. " * 40, "condition": "a", "finish_reason": "length"},
        {"response": "", "condition": "a"},
        {
            "response": "Je pense que la confiance grandit lentement, mais cela dépend de la "
            "situation et des personnes qui sont concernées.",
            "condition": "b",
        },
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ask = ("score", "a.jsonl", "--summary", "--delta")
    data = json.loads(lem(*ask, "--json", cwd=tmp_path).stdout)
    first, second = data["groups"]
    assert (first["by"], first["answers"], second["answers"]) == ({"condition": "a"}, 3, 1)
    assert first["truncated"] == {"count": 1, "of": 2, "share": 0.5}
    assert first["empty"]["count"] == 1 and first["repetitive"]["count"] == 1
    assert second["not_english"]["share"] == 1.0 and second["truncated"]["share"] is None
    single = records(lem("score", "a.jsonl", "--json", cwd=tmp_path))
    values = [r["v2"]["lek_score"] for r in single[:3]]
    v2 = first["scorers"]["v2"]
    assert v2["mean"] == pytest.approx(statistics.fmean(values)) and v2["n"] == 3
    assert v2["low"] < v2["mean"] < v2["high"] and v2["version"].startswith("v2/")
    assert first["scorers"]["grammar"]["card"]["uplift"]["n"] == 1  # only one has its question
    one_line = lem(*ask, "--output", "jsonl", cwd=tmp_path).stdout
    assert json.loads(one_line) == data and one_line.count("\n") == 1
    text = lem(*ask, cwd=tmp_path).stdout
    assert "v2/1" in text and "grammar/1:head" in text and "content not judged" in text
    assert "sycophancy (high overlap, low gain)" in text and "positive uplift" in text
    assert "LEK leakage" in text and not any(t.startswith("a.jsonl:") for t in text.splitlines())


def test_a_group_for_every_answer_does_not_fill_the_memory(tmp_path):
    count = MAX_GROUPS + 20
    with (tmp_path / "a.jsonl").open("w") as file:
        for i in range(count):
            file.write(json.dumps({"response": "Short.", "category": f"c{i}"}) + "\n")
    ask = ("score", "a.jsonl", "--scorer", "v2", "--summary", "--by", "category", "--json")
    groups = json.loads(lem(*ask, cwd=tmp_path).stdout)["groups"]
    assert len(groups) == MAX_GROUPS + 1
    assert groups[-1]["by"] == {"category": OTHERS} and groups[-1]["answers"] == 20


def test_explain_marks_the_evidence(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("I think, however, it depends.\n\nWhy?")
    ask = ("score", "a.txt", "--scorer", "v2", "--explain")
    text = lem(*ask, cwd=tmp_path).stdout
    assert "[nuance: however]" in text and "[questioning: ?]" in text and "\x1b" not in text
    assert "[creative_form+engagement_depth: ¶¶]" in text and "nuance 2" in text
    (record,) = records(lem(*ask, "--json", cwd=tmp_path))
    body = (tmp_path / "a.txt").read_text()
    assert [body[s:e] for s, e in record["evidence"]["v2"]["nuance"]] == ["however", "it depends"]
    pairs(tmp_path / "many.jsonl", 30)
    many = lem("score", "many.jsonl", *ask[2:], "--rows", "3", cwd=tmp_path).stdout
    assert many.count("══ q") == 3
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = lem(*ask, cwd=tmp_path)
    assert "\x1b[" in coloured.stdout and "[nuance:" not in coloured.stdout


def test_two_processes_give_the_same_bytes(tmp_path):
    pairs(tmp_path / "a.jsonl", 300)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("{torn\n" + json.dumps({"response": "x " * 300_000, "id": "long"}) + "\n")
    one = lem("score", "a.jsonl", "--json", "--delta", cwd=tmp_path)
    two = lem("score", "a.jsonl", "--json", "--delta", "--jobs", "2", cwd=tmp_path)
    assert one.returncode == two.returncode == 0 and len(one.stdout.splitlines()) == 301
    assert (one.stdout, one.stderr) == (two.stdout, two.stderr)
    limited = lem("score", "a.jsonl", "--json", "--jobs", "2", "--limit", "5", cwd=tmp_path)
    assert [r["id"] for r in records(limited)] == ["q0", "q1", "q2", "q3", "q4"]


def scoring_processes(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            of = int(status.read_text().rpartition(")")[2].split()[1])
            if of == parent and b"spawn_main" in status.with_name("cmdline").read_bytes():
                found.append(int(status.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_killed_scoring_process_is_an_error_and_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "lem", "score", "--scorer", "v2", "--jobs", "2", "--to", "s.jsonl"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    one = json.dumps({"response": ANSWER}).encode() + b"\n"
    process.stdin.write(one * 1000)
    process.stdin.flush()
    until = time.monotonic() + 30
    while not (workers := scoring_processes(process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(workers[0], signal.SIGKILL)
    try:
        process.stdin.write(one * 200_000)
        process.stdin.close()
    except BrokenPipeError:
        pass
    process.stdin = None
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2 and b"scoring process ended" in said, said
    assert b"Traceback" not in said and list(tmp_path.iterdir()) == []


def test_the_reader_of_a_pipe_may_leave(tmp_path):
    pairs(tmp_path / "a.jsonl", 2000)
    for jobs in ("1", "2"):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "lem",
                "score",
                "a.jsonl",
                "--json",
                "--scorer",
                "v2",
                "--jobs",
                jobs,
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert json.loads(process.stdout.readline())["id"] == "q0"
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr.read() == b""
        process.stderr.close()


MEASURE = """
import resource, sys
from lem.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_memory_does_not_grow_with_the_input(tmp_path, jobs):
    peaks = []
    for megabytes in (5, 60):
        file = tmp_path / f"{megabytes}.jsonl"
        one = json.dumps({"response": LONG, "prompt": "Q?", "notes": "x" * 20_000}) + "\n"
        with file.open("w") as out:
            for _ in range(megabytes * 10**6 // len(one)):
                out.write(one)
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                MEASURE,
                "score",
                str(file),
                "--scorer",
                "v2",
                "--jobs",
                jobs,
                "--to",
                f"{megabytes}.csv",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.split()[-1]))
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there
    assert (peaks[1] - peaks[0]) / unit < 30, peaks
