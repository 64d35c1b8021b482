"""Whether the files of a model are whole and what they should be: every byte is read again."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lem.engines import hub
from lem.engines._folder_files import read_object, tensor_shapes, weight_files
from lem.engines._gguf_header import read_header
from lem.engines.fingerprint import remembered_sha256
from lem.engines.folder import ORIGIN
from lem.errors import LemError

_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True)
class FileCheck:
    """One file of a model."""

    name: str
    size: int
    sha256: str
    verdict: Literal["same", "differs", "whole", "broken"]
    """same, differs: from the hash that is known; whole: no hash is known, but its form is in
    order; broken: it is not."""
    against: str
    """Where the known hash comes from: hub, conversion, first use; of a broken file, what is
    wrong."""

    @property
    def is_good(self) -> bool:
        return self.verdict in ("same", "whole")

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "good": self.is_good}


def verify(path: Path, progress: Callable[[str], None] = lambda _: None) -> list[FileCheck]:
    """Check a folder's files, or one file.

    Args:
        path: of a model or an adapter.
        progress: told the name of each file before it is read.

    Raises:
        LemError: weights are missing.
    """
    if path.is_file():
        progress(path.name)
        return [_check(path, {})]
    recorded = read_object(path / ORIGIN, "note of origin").get("files")
    known = {str(k): str(v) for k, v in recorded.items()} if isinstance(recorded, dict) else {}
    files = [f for f in sorted(path.iterdir()) if f.is_file() and f.name != ORIGIN]
    checks = []
    for file in files:
        progress(file.name)
        checks.append(_check(file, known))
    gone = sorted(set(known) - {f.name for f in files})
    checks += [FileCheck(name, 0, "", "broken", "it is missing") for name in gone]
    if all(c.is_good for c in checks) and (path / "config.json").exists():
        weight_files(path)  # raises where a shard is missing
    return checks


def _check(file: Path, known: dict[str, str]) -> FileCheck:
    size = file.stat().st_size
    sha256, git_sha1 = _digests(file, size)
    problem = _form(file)
    if problem:
        return FileCheck(file.name, size, sha256, "broken", problem)
    expected: list[tuple[str, str, str]] = []
    if file.name in known:
        expected.append((known[file.name], sha256, "conversion"))
    told = hub.expected_hash(file)
    if told:
        expected.append((told[1], git_sha1 if told[0] == "git-sha1" else sha256, "hub"))
    remembered = remembered_sha256(file)
    if remembered:
        expected.append((remembered, sha256, "first use"))
    for wanted, found, source in expected:
        if wanted != found:
            return FileCheck(file.name, size, sha256, "differs", source)
    if expected:
        return FileCheck(file.name, size, sha256, "same", expected[0][2])
    return FileCheck(file.name, size, sha256, "whole", "no hash is known")


def _form(file: Path) -> str | None:
    """What is wrong with a file's form, as far as its kind has one."""
    try:
        if file.suffix == ".safetensors":
            tensor_shapes(file)
        elif file.suffix == ".gguf":
            read_header(file)
        elif file.suffix == ".json":
            read_object(file, "file")
    except LemError as e:
        return e.cause
    return None


def _digests(file: Path, size: int) -> tuple[str, str]:
    """sha256 and git's sha1 of a file, in one reading."""
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            if size < _CHUNK * 64:  # large files are known by their sha256
                sha1.update(chunk)
    return sha256.hexdigest(), sha1.hexdigest()
