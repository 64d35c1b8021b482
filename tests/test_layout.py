"""The house: who may import whom, and how light the front door is."""

import json
import subprocess
import sys

import pytest

from conftest import REPOSITORY


def test_rooms_import_downwards_only():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


HEAVY = {
    "numpy",
    "scipy",
    "pydantic",
    "jinja2",
    "httpx",
    "rich",
    "matplotlib",
    "duckdb",
    "pyarrow",
    "yaml",
    "xllamacpp",
    "gguf",
    "torch",
    "transformers",
    "sentence_transformers",
    "datasketch",
}


@pytest.mark.parametrize("code", ["import lem", "from lem.cli import main; main(['--help'])"])
def test_the_front_door_is_light(code):
    tail = "; import sys, json; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    wrapped = f"import atexit\natexit.register(lambda: exec({tail[2:]!r}))\n{code}"
    done = subprocess.run([sys.executable, "-c", wrapped], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = {m.partition(".")[0] for m in json.loads(done.stderr)}
    assert "lem" in modules
    assert not modules & HEAVY


def test_no_large_file_is_committed():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / f for f in done.stdout.split("\0") if f]
    assert files
    large = [f for f in files if f.is_file() and f.stat().st_size > 1_000_000]
    assert not large
