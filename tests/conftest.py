"""Shared by the tests: the built-in model, and the command line as users run it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lem.conditions import all_conditions, choose
from lem.engines.builtin import NAME, built_in_model
from lem.engines.gguf_folder import built_in_folder as make_built_in_folder
from lem.engines.llamacpp import LlamaEngine
from lem.kernels import BUILT_IN, load_kernel
from lem.records import Condition

# A shell starts what it puts in the background with Ctrl-C ignored, and children inherit that; the
# tests of Ctrl-C must not depend on how they were started.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The built-in model, fetched and prepared once."""
    return built_in_model(print)


@pytest.fixture(scope="session")
def built_in_folder(model_path: Path) -> Path:
    """The built-in model as a Hugging Face folder, converted once and kept in the cache."""
    return make_built_in_folder(print)


@pytest.fixture(scope="session")
def engine(model_path: Path) -> Iterator[LlamaEngine]:
    made = LlamaEngine(model_path, NAME)
    yield made
    made.close()


@pytest.fixture
def standard() -> list[Condition]:
    """baseline, json, txt."""
    kernels = [load_kernel(name, where) for name, where in BUILT_IN.items()]
    return choose(all_conditions(kernels), None, controls=False)


def lem(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lem", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"COLUMNS": "80"},
        **options,  # type: ignore[call-overload]
    )
