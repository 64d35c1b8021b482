"""The command line as users meet it."""

import io
import json
import signal
import subprocess
import sys
import time

import pytest

from conftest import REPOSITORY, lem
from lem.cli import main
from lem.probes import load_probes


def ab(cwd, *more, **options):
    return lem("ab", "--model", "echo", "--limit", "4", *more, cwd=cwd, **options)


def test_the_published_command_line_works_as_it_stands(tmp_path):
    (tmp_path / "axioms.json").write_text('{"axioms": ["Be good."]}')
    (tmp_path / "kernel.txt").write_text("Be good to everyone.")
    probes = [{"id": f"P{i}", "domain": "D", "prompt": f"Question {i}?"} for i in range(3)]
    (tmp_path / "P.json").write_text(json.dumps(probes))
    done = lem(
        *("ab", "--model", "echo", "--kernel", "json=axioms.json", "--kernel", "txt=kernel.txt"),
        *("--prompts", "P.json", "--output", "O.jsonl", "--max-tokens", "1024"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "O.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["probe"] * 3 + ["summary"]
    assert list(lines[0]["conditions"]) == ["baseline", "json", "txt"]
    assert "style and format index" in done.stdout and "over baseline" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "runs/" not in line)


def test_json_and_quiet(tmp_path):
    done = ab(tmp_path, "--json")
    data = json.loads(done.stdout)
    assert data["scorers"][0]["arms"][0]["probes"] == 4 and data["run"].startswith("runs/echo-p20-")
    assert "12/12 answers" in done.stderr  # the plain log line
    quiet = ab(tmp_path, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_show(tmp_path):
    run = json.loads(ab(tmp_path, "--json", "-q").stdout)["run"]
    listed = lem("show", run, cwd=tmp_path)
    assert "P04_NETWORK_NULL_ROUTE" in listed.stdout and "3 answers" in listed.stdout
    one = lem("show", run, "P02", cwd=tmp_path)
    assert one.stdout.count("Echo: ") == 3 and "── json" in one.stdout
    none = lem("show", run, "Q", cwd=tmp_path)
    assert none.returncode == 2 and "begins with 'Q'" in none.stderr


def test_kernel_and_probes(tmp_path):
    assert json.loads(lem("kernel", "show", "json", cwd=tmp_path).stdout)["hierarchy"]
    check = json.loads(lem("kernel", "check", "--json", cwd=tmp_path).stdout)
    placebos = [f for f in check if f["name"].startswith("placebo-")]
    assert len(placebos) == 2 and all(f["ethics_words"] == 0 for f in placebos)
    assert (
        "No rule is broken" in lem("probes", "check", "P20", "--no-semantic", cwd=tmp_path).stdout
    )
    assert "Tampere" in lem("probes", "show", "P20", "P02", cwd=tmp_path).stdout
    assert "P20" in lem("probes", "list", cwd=tmp_path).stdout


def test_kernel_check_refuses_what_does_not_fit(tmp_path):
    (tmp_path / "long.txt").write_text("Be good to everyone. " * 60_000)
    done = lem("kernel", "check", "--kernel", "k=long.txt", "--model", "echo", cwd=tmp_path)
    assert done.returncode == 2 and "the model's context 1048576" in done.stderr


BAD = [
    (["--prompts", "none.json"], "No such probe set"),
    (["--prompts", "empty.json"], "holds no probes"),
    (["--prompts", "latin.json"], "not UTF-8"),
    (["--kernel", "json=none.json"], "No such kernel file"),
    (["--kernel", "nonsense"], "NAME=PATH"),
    (["--conditions", "baseline,typo"], "Unknown condition: typo"),
    (["--model", "none.gguf"], "No such model"),
    (["--model", "cut.gguf"], "not a GGUF file"),
    (["--model", "openai:x"], "needs the address"),
    (["--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1"], "127.0.0.1:9"),
    (["--run", "latin.json/run"], "Cannot write to"),
    (["--output", "latin.json"], "not an A/B file"),
    (["--samples", "2"], "temperature 0"),
    (["--max-tokens", "0"], "max-tokens"),
    (["--max-tokens", "2000000"], "more than the context"),
    (["--top-p", "0"], "top-p"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_exits_2_says_why_and_writes_nothing(tmp_path, arguments, said):
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "latin.json").write_bytes(b'[{"id": "\xe9"}]')
    (tmp_path / "cut.gguf").write_bytes(b"GGU")
    before = sorted(p.name for p in tmp_path.iterdir())
    done = ab(tmp_path, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in " ".join(done.stderr.split())
    if "Usage:" not in done.stderr:
        assert "so:" in done.stderr and "fix:" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    assert "Traceback" not in done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "lem", "ab", "--model", "echo:0.05", "--run", "r"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "r" / "responses.jsonl"
    until = time.monotonic() + 30
    while time.monotonic() < until and not (log.exists() and log.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped." in said and "the same command goes on" in said and "Traceback" not in said
    kept = len(log.read_text().splitlines())
    assert 0 < kept < 63
    done = lem(*command[3:], cwd=tmp_path)
    assert done.returncode == 0 and f"{kept} of 63 answers are there already" in done.stderr
    assert len(log.read_text().splitlines()) == 63


def test_the_reference_page_is_in_step():
    done = subprocess.run(
        [sys.executable, "docs/make_cli.py", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_help_lists_every_verb():
    done = subprocess.run([sys.executable, "-m", "lem", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for verb in ("ab", "show", "kernel", "probes"):
        assert f"\n  {verb} " in done.stdout


def test_readme_commands_exist():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target} " in readme and f"\n{target}:" in makefile
    assert "make test" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("setting", "coloured"),
    [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_errors_are_coloured_only_where_that_is_wanted(monkeypatch, setting, coloured):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["report", "no such file"])
    assert ("\x1b[31m" in terminal.getvalue()) is coloured


def test_texts_are_broken_between_words_on_a_terminal_only(capsys, monkeypatch):
    main(["probes", "show", "P20", "P02"])
    prompt = next(p.prompt for p in load_probes("P20") if p.id.startswith("P02"))
    assert prompt in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    main(["probes", "show", "P20", "P02"])
    shown = capsys.readouterr().out
    assert all(len(line) <= 60 for line in shown.splitlines())
    assert " ".join(prompt.split()) in " ".join(shown.split())
