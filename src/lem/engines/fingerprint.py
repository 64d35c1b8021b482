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
    real = path.resolve()
    stat = real.stat()
    mark = [str(real), stat.st_size, stat.st_ino, stat.st_mtime_ns]
    memory = cache_folder() / "hashes.json"
    try:
        known: dict[str, list[object]] = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    entry = known.get(str(real))
    if isinstance(entry, list) and entry[:-1] == mark and isinstance(entry[-1], str):
        return entry[-1]
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known[str(real)] = [*mark, digest]
    # A cache folder that cannot be written costs a second reading, nothing else.
    with contextlib.suppress(LemError):
        write_atomic(memory, json.dumps(known, indent=0))
    return digest
