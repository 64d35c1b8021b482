"""`lem query` and `lem export`: what the views hold, what the SQL may do, what is written."""

import csv
import datetime
import io
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from conftest import REPOSITORY, lem
from lem.ab import Experiment, run_ab
from lem.cli import cli
from lem.cli import query as query_cli
from lem.errors import LemError
from lem.query import VIEWS, database, listing
from lem.query.database import ask
from lem.query.material import Material
from lem.query.table import lines
from lem.runs import read_responses
from lem.scorers import v2

duckdb = pytest.importorskip("duckdb")
pq = pytest.importorskip("pyarrow.parquet")

V1_SIGNALS = (
    *("compliance_markers", "formulaic_preamble", "degeneration", "empty_broken"),
    *("first_person", "creative_form", "engagement_depth", "emotional_register"),
)
TEXT = "I think honesty matters, because trust grows slowly. What would she want, and why? " * 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of two runs, one of them with two samples, and an earlier one moved aside."""
    place = tmp_path_factory.mktemp("q")
    run_ab(Experiment(model="echo", limit=8, max_tokens=400, controls=True), folder=place / "r/one")
    again = Experiment(model="echo", limit=3, max_tokens=80, samples=2, temperature=0.5)
    run_ab(again, folder=place / "r/two")
    shutil.copytree(place / "r/two", place / "r/two.old-1")
    return place / "r"


def published(path, version="v2", model="m", texts=None, **more):
    """A published file by hand: two probes, three conditions."""
    texts = texts or {name: TEXT + name for name in ("baseline", "json", "txt")}
    records = []
    for number in (1, 2):
        entries = {}
        for name, text in texts.items():
            if version == "v2":
                heuristic = v2.score(text).heuristic()
            else:
                heuristic = dict.fromkeys(V1_SIGNALS, 1) | {"lek_score": 7.5}
            heuristic |= more
            entries[name] = {"response": text, "heuristic": heuristic}
            entries[name] |= {"lek_score": heuristic["lek_score"], "chars": len(text), "time_s": 1}
        prompt = {"type": "probe", "id": f"P0{number}", "category": "D", "prompt": f"Why {number}?"}
        records.append(prompt | {"conditions": entries, "ts": None})
    records.append({"type": "summary", "model": model, "max_tokens": 64})
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def sql(text, *inputs, scorers=("v2",)):
    result = ask(text, Material([str(i) for i in inputs], scorers))
    return [dict(zip(result.columns, row)) for row in result.rows]


def invoke(*arguments, stdin=None):
    return CliRunner().invoke(cli, [str(a) for a in arguments], input=stdin)


def test_runs_and_responses_hold_the_manifest_and_the_log(runs):
    found = sql("SELECT * FROM runs ORDER BY model", runs)
    assert [r["model"] for r in found] == ["echo", "echo (two)"]
    two = found[1]
    assert (two["form"], two["engine"], two["samples"], two["max_tokens"]) == ("run", "echo", 2, 80)
    assert (two["answers"], two["probes"], two["temperature"]) == (18, 3, 0.5)
    assert two["run"] == str(runs / "two") and len(two["probes_sha256"]) == 64
    assert [arm["name"] for arm in two["conditions"]] == ["baseline", "json", "txt"]
    assert json.loads(two["fingerprint"])["template_sha256"] == two["template_sha256"]
    answers = {r["key"]: r for r in sql("FROM responses", runs / "two")}
    for line in read_responses(runs / "two"):
        row = answers.pop(line.key)
        for name in ("probe", "condition", "sample", "final", "finish_reason", "seed", "seconds"):
            assert row[name] == getattr(line, name)
        assert row["completion_tokens"] == line.completion_tokens
        assert row["ts"] == datetime.datetime.fromisoformat(line.ts).replace(tzinfo=None)
        assert row["truncated"] == (line.finish_reason == "length")
    assert not answers


def test_scores_are_those_of_the_scorers(runs):
    rows = sql(
        "SELECT r.final, s.scorer, s.score FROM scores s "
        "JOIN responses r USING (model, condition, probe, sample)",
        runs / "two",
        scorers=("v2", "reasoning"),
    )
    assert len(rows) == 36 and {r["scorer"] for r in rows} == {"v2", "reasoning"}
    assert all(r["score"] == v2.score(r["final"]).lek_score for r in rows if r["scorer"] == "v2")
    assert {r["scorer"] for r in sql("FROM scores", runs / "two")} == {"v2"}


def test_parts_add_up_to_the_fields_of_the_score(tmp_path):
    file = published(tmp_path / "a.jsonl")
    rows = sql("FROM parts WHERE condition = 'json' AND probe = 'P01'", file)
    want = {k: float(v) for k, v in v2.score(TEXT + "json").heuristic().items()}
    assert {r["part"]: r["value"] for r in rows} == want


def test_effects_are_those_of_the_analysis(runs):
    found = sql("FROM effects WHERE kind IN ('kernel', 'content') ORDER BY ALL", runs)
    analysis = Material([str(runs)]).analysis
    for row in found:
        contrast = analysis.primary.by_id(row["id"])
        assert row["mean"] == contrast.effect.mean and row["n"] == contrast.effect.n
        assert (row["p_adjusted"], row["family"]) == (contrast.p_adjusted, contrast.family)
        if contrast.length:
            assert row["length_effect"] == contrast.length.effect
        finding = next((f for f in analysis.primary.findings if f.kernel_contrast == row["id"]), 0)
        assert row["finding"] == (finding.code if finding else None)
    assert {r["n"] for r in found if r["model"] == "echo"} == {8}
    assert any(r["length_effect"] is not None for r in found)
    assert all(r["finding"] for r in found if r["kind"] == "kernel")


def test_published_files_of_both_generations(tmp_path):
    old = published(tmp_path / "old.jsonl", "v1", "old")
    new = published(tmp_path / "new.jsonl", "v2", "new")
    rows = sql("FROM scores ORDER BY model, condition, probe", old, new)
    assert {(r["model"], r["stored_version"]) for r in rows} == {("old", "v1"), ("new", "v2")}
    assert {r["stored_score"] for r in rows if r["model"] == "old"} == {7.5}
    assert all(r["stored_score"] == r["score"] for r in rows if r["model"] == "new")
    run = sql("FROM runs", old)[0]
    assert (run["form"], run["max_tokens"], run["engine"]) == ("published", 64, None)
    answer = sql("FROM responses", old)[0]
    assert answer["final"] == TEXT + "baseline" and answer["key"] is None
    assert answer["finish_reason"] == "unknown" and answer["truncated"] is None


def test_nan_is_null_and_odd_names_and_texts_survive(tmp_path):
    texts = {"baseline": "nul \0 lone \ud800 \x1b[31m", 'it\'s "json"': "=1+1", "txt": ""}
    file = published(tmp_path / "it's.jsonl", "v1", "m'\"; --", texts, lek_score=float("nan"))
    rows = sql("FROM responses WHERE probe = 'P01'", file)
    assert [r["condition"] for r in rows] == list(texts)
    assert rows[0]["final"] == "nul \0 lone \\ud800 \x1b[31m" and rows[0]["model"] == "m'\"; --"
    assert all(r["stored_score"] is None for r in rows)
    made = invoke("query", "FROM responses SELECT condition, final", file)
    assert made.exit_code == 0 and "\x1b" not in made.output and "lone \\ud800" in made.output
    table = csv.reader(io.StringIO(invoke("query", "FROM responses", file, "--csv").stdout))
    assert "'=1+1" in [cell for row in table for cell in row]


@pytest.mark.parametrize(
    "text",
    [
        "COPY scores TO '{}/x.csv'",
        "COPY (SELECT 1) TO '{}/x.csv'",
        "ATTACH '{}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE t AS SELECT 1",
        "SET threads = 1",
        "EXPORT DATABASE '{}/x'",
        "DROP VIEW scores",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('{}/secret')",
        "SELECT * FROM '{}/secret.csv'",
        "SELECT * FROM glob('{}/*')",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "SELECT * FROM runs WHERE (SELECT content FROM read_text('{}/secret')) = ''",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}/x.csv'",
        "",
        "SELECT",
        "SELECT nothing FROM runs",
        "FROM pq",
    ],
)
def test_sql_can_do_nothing_but_read_the_views(tmp_path, text):
    file = published(tmp_path / "a.jsonl")
    (tmp_path / "secret").write_text("hidden")
    (tmp_path / "secret.csv").write_text("hidden\n1")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LemError) as refused:
        ask(text.format(tmp_path), Material([file]))
    assert "hidden" not in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


def test_errors_of_sql_list_views_and_columns(tmp_path):
    file = published(tmp_path / "a.jsonl")
    done = lem("query", "SELECT scroe FROM scores", file, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr
    assert "scroe" in done.stderr and "stored_version" in done.stderr
    assert "other views: runs, responses, parts, effects, probes" in done.stderr
    with pytest.raises(LemError, match="cannot be answered") as wrong:
        sql("SELECT score::DATE FROM scores", file)
    assert "so:" in str(wrong.value)


def test_other_forms_of_reading(runs):
    one = runs / "two"
    assert len(sql("DESCRIBE scores", one)) == len(VIEWS["scores"].columns)
    assert {r["name"] for r in sql("SHOW TABLES", one)} == set(VIEWS)
    assert sql("PIVOT scores ON condition USING avg(score) GROUP BY model", one)[0].keys() == {
        "model",
        *("baseline", "json", "txt"),
    }
    assert "SCAN" in str(sql("EXPLAIN SELECT model FROM runs", one)).upper()
    assert sql("WITH scores AS (SELECT 5 AS x) FROM scores", one) == [{"x": 5}]
    twice = ask("SELECT 1 AS a, 2 AS a, 3 AS a_2", Material([str(one)]))
    assert twice.columns == ["a", "a_2", "a_2_2"]


def test_types_of_columns_are_as_documented(runs):
    rows = {name: sql(f"DESCRIBE {name}", runs / "two") for name in VIEWS}
    for name, view in VIEWS.items():
        told = {c.name: c.kind for c in view.columns}
        for row in rows[name]:
            kind = told[row["column_name"]]
            want = {"number": "DOUBLE", "whole": "BIGINT", "flag": "BOOLEAN", "text": "VARCHAR"}
            assert row["column_type"].startswith(want.get(kind, ("TIMESTAMP", "STRUCT")))


def test_inputs_count_once_and_earlier_runs_are_left_out(runs):
    material = Material([str(runs), str(runs / "one"), str(runs / "one/responses.jsonl")])
    assert len(material.study.models) == 2
    notes = "\n".join(material.notes)
    assert notes.count("named twice") == 2 and "1 earlier run" in notes
    nested = Material([str(runs.parent)])
    assert len(nested.study.models) == 2


def test_bad_inputs_are_told(tmp_path, runs):
    (tmp_path / "empty").mkdir()
    for inputs, match in (
        ([], "No input"),
        (["nowhere"], "No such"),
        ([str(tmp_path / "empty")], "without responses.jsonl"),
    ):
        with pytest.raises(LemError, match=match):
            sql("FROM runs", *inputs)
    copy = tmp_path / "copy"
    shutil.copytree(runs / "two", copy)
    log = copy / "responses.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-40])
    material = Material([str(copy)])
    assert len(list(ask("FROM responses", material).rows)) == 17
    assert any("line 18" in note for note in material.notes)
    damaged = whole.splitlines(keepends=True)
    damaged[4] = b'{"key": 3\n'
    log.write_bytes(b"".join(damaged))
    for text in ("FROM responses", "FROM scores"):
        with pytest.raises(LemError, match="line 5"):
            sql(text, copy)
    log.write_bytes(whole)
    (copy / "run.json").unlink()
    material = Material([str(copy)])
    assert len(list(ask("FROM responses", material).rows)) == 18
    assert any("no run.json" in note for note in material.notes)


def test_inputs_with_nothing_in_common(tmp_path, runs):
    file = published(tmp_path / "a.jsonl")
    rows = sql("SELECT model, count(*) AS n FROM scores GROUP BY ALL ORDER BY ALL", runs, file)
    assert [r["n"] for r in rows] == [72, 18, 6]
    assert {r["model"] for r in sql("FROM effects", runs, file)} >= {"m", "echo"}


def test_no_rows_are_a_header_and_a_success(tmp_path):
    file = published(tmp_path / "a.jsonl")
    done = invoke("query", "SELECT model, score FROM scores WHERE false", file)
    assert done.exit_code == 0 and done.stdout.splitlines()[0].split() == ["model", "score"]
    assert done.stdout.splitlines()[-1] == "0 rows"
    assert invoke("query", "FROM scores WHERE false", file, "--json").stdout == ""
    empty = invoke("query", "SELECT model FROM scores WHERE false", file, "--csv")
    assert empty.stdout == "model\n"


def test_json_csv_and_files_hold_the_same(tmp_path, runs):
    text = (
        "SELECT model, condition, sum(words) AS words, avg(score) AS score, 'nan'::DOUBLE AS no, "
        "[1, 2] AS l, max(1.50::DECIMAL(4,2)) AS d FROM scores GROUP BY ALL ORDER BY ALL"
    )
    shown = [json.loads(x) for x in invoke("query", text, runs, "--json").stdout.splitlines()]
    assert shown[0]["no"] is None and shown[0]["l"] == [1, 2] and shown[0]["d"] == 1.5
    assert isinstance(shown[0]["words"], int)
    for form in ("csv", "jsonl", "parquet"):
        target = tmp_path / f"x.{form}"
        done = invoke("query", text, runs, "--output", target)
        assert done.exit_code == 0, done.output
        read = duckdb.execute(f"FROM '{target}' SELECT condition, words, score").fetchall()
        assert [r[0] for r in read] == [r["condition"] for r in shown]
        assert [r[2] for r in read] == pytest.approx([r["score"] for r in shown])
        assert invoke("query", text, runs, "--output", target).exit_code != 0
        assert invoke("query", text, runs, "--output", target, "--force").exit_code == 0
    bad = invoke("query", "FROM runs", runs, "--output", tmp_path / "x.xlsx")
    assert isinstance(bad.exception, LemError) and "endings" in str(bad.exception)
    interval = invoke(
        "query", "SELECT INTERVAL 1 DAY AS i", runs, "--output", tmp_path / "i.parquet"
    )
    assert isinstance(interval.exception, LemError) and not (tmp_path / "i.parquet").exists()


def test_an_input_is_never_replaced(tmp_path):
    file = published(tmp_path / "a.jsonl")
    before = (tmp_path / "a.jsonl").read_bytes()
    done = invoke("query", "FROM runs", file, "--output", file, "--force")
    assert isinstance(done.exception, LemError) and (tmp_path / "a.jsonl").read_bytes() == before


def test_the_log_of_a_run_is_an_input(tmp_path, runs):
    place = tmp_path / "m" / "one"
    shutil.copytree(runs / "one", place)
    (tmp_path / "link").symlink_to(place)
    before = (place / "responses.jsonl").read_bytes()
    for named in (place, tmp_path / "m", tmp_path / "link", place / "responses.jsonl"):
        done = invoke(
            *("query", "FROM runs", named, "--output", place / "responses.jsonl", "--force")
        )
        assert isinstance(done.exception, LemError), named
        assert (place / "responses.jsonl").read_bytes() == before


def test_runs_of_older_versions(tmp_path, runs):
    shutil.copytree(runs / "one", tmp_path / "one")
    path = tmp_path / "one" / "run.json"
    manifest = json.loads(path.read_text())
    for field in ("sampling", "superseded", "samples", "hardware", "template"):
        manifest.pop(field)
    path.write_text(json.dumps(manifest))
    (run,) = sql("SELECT temperature, samples FROM runs", tmp_path / "one")
    assert run == {"temperature": None, "samples": 1}


@pytest.mark.parametrize("verb", [["query", "FROM runs"], ["report"]])
def test_a_closed_standard_output_is_no_fault(tmp_path, verb):
    published(tmp_path / "a.jsonl")
    command = shlex.join([sys.executable, "-m", "lem", *verb, "a.jsonl"])
    done = subprocess.run(
        f"{command} >&-", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_sql_from_standard_input_and_mistakes_of_the_command_line(tmp_path):
    file = published(tmp_path / "a.jsonl")
    done = invoke("query", "-", file, "--json", stdin="SELECT count(*) AS n\nFROM scores -- all\n")
    assert json.loads(done.stdout) == {"n": 6}
    for arguments, match in (
        ((), "No SQL"),
        ((file, file), "must be the SQL"),
        (("-", "-"), "cannot be the SQL"),
        (("FROM runs", file, "--json", "--csv"), "exclude"),
        (("FROM runs" + " " * 5000,), "No input"),
    ):
        failed = invoke("query", *arguments)
        assert isinstance(failed.exception, LemError) and match in str(failed.exception)
    both = ("--scorer", "v2", "--scorer", "reasoning")
    assert "tell them apart" in invoke("query", "FROM scores", file, *both).stderr
    assert "tell them apart" not in invoke("query", "FROM runs", file, *both).stderr


def test_tables_fit_and_say_what_they_leave_out():
    rows = [(i, f"text {i} " * 30, None, 1 / 3, True, "界" * 40) for i in range(60)]
    names = ["n", "text", "nothing", "third", "flag", "wide"]
    for width in (70, 90, 200):
        made = list(lines(names, rows, width, 50))
        assert made[-1].startswith("… 10 more rows")
        from rich.cells import cell_len

        assert max(map(cell_len, made)) <= width
        assert len(made) == 53
    narrow = list(lines(names, rows[:2], 30, 50))
    assert narrow[0].startswith("── row 1") and len(narrow) == 14
    aligned = list(lines(["n", "t"], [(5, "a"), (10, "\x1b[31mb\n")], None, 0))
    assert aligned[2:] == [" 5  a", "10  b"]


def test_schema_is_listed(tmp_path, runs):
    assert invoke("query", "--schema").stdout == listing() + "\n"
    told = invoke("query", "--schema", runs).stdout
    assert "models: echo, echo (two)" in told and "11 arms" not in told and "P0" not in told
    assert "conditions: baseline, json, txt" in told and "90 answers" in told


def test_the_page_is_in_step_and_its_queries_run(runs):
    page = (REPOSITORY / "docs" / "query.md").read_text()
    assert f"```\n{listing()}\n```" in page
    queries = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(queries) == 6
    for text in queries:
        assert sql(text, runs), text


def test_export_parquet(tmp_path, runs):
    to = tmp_path / "tables"
    done = invoke("export", "parquet", runs, "--to", to)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in to.iterdir()) == sorted(
        f"{name}.parquet" for name in VIEWS if name != "parts"
    )
    for name in ("runs", "responses", "scores", "effects", "probes"):
        read = duckdb.execute(f"FROM '{to / name}.parquet' ORDER BY ALL").fetchall()
        asked = ask(f"FROM {name} ORDER BY ALL", Material([str(runs)]))
        assert read == list(asked.rows) and read
        shape = pq.read_schema(to / f"{name}.parquet")
        told = {c.name: c.doc for c in VIEWS[name].columns}
        assert {f.name: f.metadata[b"description"].decode() for f in shape} == told
    facts = pq.ParquetFile(to / "responses.parquet").metadata
    assert facts.row_group(0).column(0).compression == "ZSTD"
    before = {p.name: p.read_bytes() for p in to.iterdir()}
    assert invoke("export", "parquet", runs, "--to", to).exit_code == 0
    assert {p.name: p.read_bytes() for p in to.iterdir()} == before


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_export_of_text(tmp_path, form):
    file = published(tmp_path / "a.jsonl")
    assert invoke("export", form, file, "--to", tmp_path / "t").exit_code == 0
    (count,) = duckdb.execute(f"SELECT count(*) FROM '{tmp_path}/t/scores.{form}'").fetchone()
    assert count == 6
    again = invoke("export", form, file, "--to", tmp_path / "t", "-q")
    assert (again.exit_code, again.output) == (0, "")
    one = tmp_path / f"one.{form}"
    assert invoke("export", form, file, "--view", "parts", "--to", one).exit_code == 0
    assert one.stat().st_size > 1000


def test_export_replaces_nothing_of_others(tmp_path, runs):
    file = published(tmp_path / "a.jsonl")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "runs.parquet").write_bytes(b"mine")
    log = (runs / "one" / "responses.jsonl").read_bytes()
    for form, to, more, match in (
        ("parquet", tmp_path / "t", (), "was not written by"),
        ("jsonl", runs / "one", (), "run folder"),
        ("jsonl", runs, (), "run folder"),
        ("jsonl", file, ("--view", "runs"), "was not written by"),
        ("parquet", tmp_path / "x.parquet", (), "5 views"),
        ("parquet", tmp_path / "x.csv", (), "named like a csv"),
        ("csv", file, (), "is a file"),
    ):
        done = invoke("export", form, file, "--to", to, *more)
        assert isinstance(done.exception, LemError) and match in str(done.exception)
    assert (tmp_path / "t" / "runs.parquet").read_bytes() == b"mine"
    assert (runs / "one" / "responses.jsonl").read_bytes() == log
    assert not (tmp_path / "t" / "scores.parquet").exists()
    missing = invoke("export", "parquet", tmp_path / "no.jsonl", "--to", tmp_path / "new")
    assert isinstance(missing.exception, LemError) and not (tmp_path / "new").exists()


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    file = published(tmp_path / "a.jsonl")
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(LemError, match=r"duckdb.*\n.*\n.*lem-lab\[query\]"):
        sql("FROM runs", file)


def test_texts_that_are_too_long_in_all(tmp_path, runs, monkeypatch):
    monkeypatch.setattr("lem.study.load.TEXT_BUDGET", 500)
    file = published(tmp_path / "a.jsonl")
    material = Material([file, str(runs / "two")])
    rows = list(ask("SELECT model, final, words FROM responses", material).rows)
    assert len(rows) == 24 and all((r[1] is None) == (r[0] == "m") for r in rows)
    assert all(r[2] for r in rows) and any("longer than" in note for note in material.notes)
    with pytest.raises(LemError, match="too long"):
        sql("FROM parts", file)


def test_interrupts_and_memory_are_told(tmp_path, monkeypatch):
    file = published(tmp_path / "a.jsonl")
    for raised, seen, match in (
        (RuntimeError("Query interrupted"), KeyboardInterrupt, None),
        (duckdb.InterruptException("INTERRUPT Error"), KeyboardInterrupt, None),
        (duckdb.OutOfMemoryException("Out of Memory Error: full\nSET x"), LemError, "GROUP BY"),
        (RuntimeError("other"), RuntimeError, "other"),
    ):
        with pytest.raises(seen, match=match), database._told("FROM runs"):
            raise raised
    with pytest.raises(LemError, match="needs more memory"):
        monkeypatch.setattr(database, "_limits", lambda: ["SET memory_limit = '40MB'"])
        sql("SELECT len(list(range)) FROM range(20000000), runs", file)


def test_progress_is_for_terminals_only(monkeypatch):
    assert query_cli.progress() is None
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    for kind, shown in (("xterm", True), ("dumb", False)):
        monkeypatch.setenv("TERM", kind)
        assert (query_cli.progress() is not None) is shown


def test_the_listing_fits_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for width in (40, 80):
        monkeypatch.setattr(query_cli.shutil, "get_terminal_size", lambda w=width: (w, 24))
        made = [query_cli._wrapped(line) for line in listing().splitlines()]
        assert all(len(line) <= width for text in made for line in text.splitlines())
        assert " ".join("\n".join(made).split()) == " ".join(listing().split())
