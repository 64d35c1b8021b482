"""Hashes of model files, remembered so that a large file is read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import platformdirs

from lem.errors import LemError
from lem.text import write_atomic


def cache_folder() -> Path:
    """Where prepared models and hashes are kept; ``LEM_CACHE`` overrides it."""
    return Path(os.environ.get("LEM_CACHE") or platformdirs.user_cache_dir("lem"))


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes.

    It is looked up by path, size, inode and modification time before the file is read.
    """
    known_already = remembered_sha256(path)
    if known_already is not None:
        return known_already
    real = path.resolve()
    mark = _mark(real)
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = _known()
    known[str(real)] = [*mark, digest]
    # A cache folder that cannot be written costs a second reading, nothing else.
    with contextlib.suppress(LemError):
        write_atomic(_memory(), json.dumps(known, indent=0))
    return digest


def remembered_sha256(path: Path) -> str | None:
    """The digest of a file that was read before and has not been touched since."""
    real = path.resolve()
    entry = _known().get(str(real))
    if isinstance(entry, list) and entry[:-1] == _mark(real) and isinstance(entry[-1], str):
        return entry[-1]
    return None


def _mark(real: Path) -> list[object]:
    stat = real.stat()
    return [str(real), stat.st_size, stat.st_ino, stat.st_mtime_ns]


def _memory() -> Path:
    return cache_folder() / "hashes.json"


def _known() -> dict[str, list[object]]:
    try:
        known = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
