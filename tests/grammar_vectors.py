"""Shared by the tests of the grammar score: the vectors, and what differs from them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"
# Texts of third parties and the specification live beside the repository, not in it.
SPECS = Path(__file__).parents[2] / "shared" / "specs" / "grammar"


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def outside(name: str) -> Path:
    """Return a file of the specification, or skip the test where it is not at hand."""
    path = SPECS / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout (looked in ../shared/specs/grammar)")
    return path


def differences(ours: Any, wanted: Any, where: str = "") -> list[str]:
    """Return where two nested records differ, numbers by more than 1e-9."""
    if isinstance(wanted, Mapping):
        if ours.keys() != wanted.keys():
            return [f"{where}: fields {sorted(ours)} instead of {sorted(wanted)}"]
        return [d for k in wanted for d in differences(ours[k], wanted[k], f"{where}/{k}")]
    if isinstance(wanted, str | bool):
        return [] if ours == wanted else [f"{where}: {ours!r} instead of {wanted!r}"]
    return [] if abs(ours - wanted) <= 1e-9 else [f"{where}: {ours} instead of {wanted}"]


def without_profile(record: Any) -> dict[str, Any]:
    fields = asdict(record)
    del fields["profile"]
    return fields
