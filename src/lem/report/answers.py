"""The table of all probes and the answers behind it, as data that a page carries with it.

Answers are packed probe by probe, so that a page of thousands of answers opens at once and
unpacks only what is looked at. Model text never becomes HTML: the page's script writes it as text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lem.report.packing import pack, pack_all
from lem.scorers.base import Answer as Scorable
from lem.scorers.registry import get_scorer
from lem.scoring.explain import segments
from lem.study import Answer, Study
from lem.text import excerpt, printable

ROWS = 3000
"""Rows of the table (probe × model): enough for 29 models and 101 probes; of more, those with the
largest differences."""

LONGEST = 60_000
"""Characters of one answer that are ever shown; real answers are far below."""

SHORTEST = 400
"""No answer is cut below this many characters, whatever the page's size."""

_MARK = "\x7f"
"""Stands about a marked piece; `printable` leaves none in any text."""


@dataclasses.dataclass
class Explorer:
    """What the page's script is given."""

    data: dict[str, Any]
    """The rows, the names they refer to by number, and the parts of the score."""
    chunks: list[str]
    """One a probe; empty where answers are left out."""
    words: list[str]
    """The table of words that the chunks refer to."""
    rows: int
    """All there are; the table may hold fewer."""
    answers: int
    shortened: int
    """Answers of which only an excerpt is kept, to hold the page's size."""
    limit: int
    """Characters that an excerpt has."""


@dataclasses.dataclass(frozen=True)
class _Row:
    model: str
    probe: str
    answers: Mapping[str, Sequence[Answer]]
    """By condition."""
    scores: Mapping[str, float]
    differences: Mapping[str, float]
    """By kernel arm: its score − the baseline's."""

    @property
    def size(self) -> float:
        return max(map(abs, self.differences.values()), default=-1.0)


def explorer(study: Study, budget: int, texts: bool) -> Explorer:
    """Collect the rows and pack the answers.

    Args:
        budget: bytes that the packed answers may take.
        texts: whether the answers themselves are wanted.
    """
    every = _rows(study)
    rows = every
    if len(every) > ROWS:
        first = sorted(range(len(every)), key=lambda i: (-every[i].size, i))[:ROWS]
        rows = [every[i] for i in sorted(first)]
    conditions = list(dict.fromkeys(a.name for m in study.models for a in m.arms))
    kernels = [c for c in conditions if any(c in m.kernels for m in study.models)]
    probes = list(dict.fromkeys(row.probe for row in rows))
    place = {name: i for i, name in enumerate(probes)}
    models = [m.name for m in study.models]
    data: dict[str, Any] = {
        "conditions": [printable(c) for c in conditions],
        "baselines": sorted({conditions.index(b) for m in study.models if (b := m.baseline)}),
        "kernels": [conditions.index(k) for k in kernels],
        "models": [printable(m) for m in models],
        "probes": [_probe(study, name) for name in probes],
        "rows": [
            [
                place[row.probe],
                models.index(row.model),
                [_short(row.scores.get(c)) for c in conditions],
                [_short(row.differences.get(k)) for k in kernels],
            ]
            for row in rows
        ],
    }
    answers = sum(len(own) for row in rows for own in row.answers.values())
    made = Explorer(data, [], [], len(every), answers, 0, 0)
    if texts and study.texts:
        _pack(made, study, rows, probes, conditions, budget)
    return made


def _probe(study: Study, name: str) -> list[str]:
    probe = study.probes[name]
    return [printable(probe.id), printable(probe.domain), excerpt(probe.prompt or "", 160)]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _rows(study: Study) -> list[_Row]:
    """Every probe of every model, models in order."""
    table: dict[tuple[str, str], dict[str, list[Answer]]] = {}
    for answer in study.answers:
        place = table.setdefault((answer.model, answer.probe), {})
        place.setdefault(answer.condition, []).append(answer)
    found = []
    by_name = {m.name: m for m in study.models}
    for (model, probe), answers in table.items():
        scores = {}
        for condition, own in answers.items():
            known = [a.scores[0] for a in own if a.scores[0] is not None]
            if known:
                scores[condition] = sum(known) / len(known)
        base = scores.get(by_name[model].baseline or "")
        kernels = by_name[model].kernels
        differences = {k: scores[k] - base for k in kernels if k in scores and base is not None}
        found.append(_Row(model, probe, answers, scores, differences))
    return found


def _pack(
    made: Explorer,
    study: Study,
    rows: Sequence[_Row],
    probes: Sequence[str],
    conditions: Sequence[str],
    budget: int,
) -> None:
    """Pack the answers into the budget, with shorter excerpts until they fit."""
    marker = _Marker(study)
    by_probe: dict[str, list[_Row]] = {}
    for row in rows:
        by_probe.setdefault(row.probe, []).append(row)
    models = [m.name for m in study.models]
    lengths = [len(a.text) for r in rows for own in r.answers.values() for a in own]
    limit = LONGEST
    while True:
        chunks, words = pack_all(
            [
                _chunk(study, name, by_probe[name], models, conditions, limit, marker)
                for name in probes
            ]
        )
        size = sum(map(len, chunks)) + len(pack(words))
        if size <= budget or limit <= SHORTEST:
            break
        limit = _lower(lengths, limit, 0.97 * budget / size)
    made.chunks, made.words = chunks, words
    made.limit = limit
    made.shortened = sum(length > limit for length in lengths)
    made.data["parts"] = marker.parts
    made.data["combinations"] = marker.combinations


def _lower(lengths: Iterable[int], limit: int, factor: float) -> int:
    """The limit that leaves this share of the characters kept so far."""
    kept = sorted(min(length, limit) for length in lengths)
    wanted = factor * sum(kept)
    below = 0
    for i, length in enumerate(kept):
        if below + length * (len(kept) - i) >= wanted:
            return max(SHORTEST, int((wanted - below) / (len(kept) - i)))
        below += length
    return max(SHORTEST, kept[-1] - 1)


class _Marker:
    """Marks the evidence of the primary scorer, as `\\x7f`, the combination of parts, the piece,
    `\\x7f`. Marks within the text compress far better than numbers beside it, as the same words
    carry the same marks."""

    def __init__(self, study: Study) -> None:
        self._scorer = get_scorer(study.scorers[0].name)
        self._kernels = tuple(text for _, text in sorted(study.kernels.items()))
        self._study = study
        self.parts: list[str] = []
        self.combinations: list[list[int]] = []
        self._codes: dict[tuple[str, ...], str] = {}
        self._marked: dict[int, str] = {}

    def mark(self, answer: Answer, limit: int) -> str:
        """The first characters of an answer with their marks."""
        marked = self._marked.get(id(answer))
        if marked is None:
            marked = self._marked[id(answer)] = self._mark(answer)
        return marked if len(answer.text) <= limit else _cut(marked, limit)

    def _mark(self, answer: Answer) -> str:
        text = answer.text[:LONGEST]
        prompt = self._study.probes[answer.probe].prompt
        spans = self._scorer.evidence(Scorable(text, prompt, self._kernels))
        clean = printable(text) == text
        pieces = []
        for piece, parts in segments(text, spans):
            safe = piece if clean else printable(piece)
            # marked white space is shown as ¶ by the page's script
            pieces.append(f"{_MARK}{self._code(parts)}{safe}{_MARK}" if parts and piece else safe)
        return "".join(pieces)

    def _code(self, parts: tuple[str, ...]) -> str:
        code = self._codes.get(parts)
        if code is None:
            self.parts += [p for p in parts if p not in self.parts]
            code = self._codes[parts] = chr(0x30 + len(self.combinations))
            self.combinations.append([self.parts.index(p) for p in parts])
        return code


def _cut(marked: str, limit: int) -> str:
    """The first characters of a marked text, marks not counted."""
    kept, left = [], limit
    for i, piece in enumerate(marked.split(_MARK)):
        code, shown = (piece[:1], piece[1:]) if i % 2 else ("", piece)
        shown = shown[: max(0, left)]
        left -= len(shown)
        kept.append(f"{_MARK}{code}{shown}{_MARK}" if i % 2 else shown)
        if left <= 0:
            break
    return "".join(kept)


_FLAGS: tuple[tuple[str, Callable[[Answer], bool]], ...] = (
    ("empty", lambda a: a.empty),
    ("cut off", lambda a: a.truncated is True),
    ("end unknown", lambda a: a.truncated is None),
    ("malformed", lambda a: a.malformed),
    ("refused", lambda a: a.refused),
    ("loops", lambda a: a.repetitive),
    ("not English", lambda a: a.foreign),
    ("recites a kernel", lambda a: a.leak),
)


def _chunk(
    study: Study,
    probe: str,
    rows: Sequence[_Row],
    models: Sequence[str],
    conditions: Sequence[str],
    limit: int,
    marker: _Marker,
) -> dict[str, Any]:
    """One probe's prompt and answers."""
    answers = {
        models.index(row.model): {
            i: [_answer(a, limit, marker) for a in row.answers[name]]
            for i, name in enumerate(conditions)
            if name in row.answers
        }
        for row in rows
    }
    prompt = study.probes[probe].prompt
    return {"prompt": None if prompt is None else printable(prompt[:LONGEST]), "answers": answers}


def _answer(answer: Answer, limit: int, marker: _Marker) -> list[Any]:
    """Text with marks, characters left out, score, words, flags, sample."""
    return [
        marker.mark(answer, limit),
        max(0, len(answer.text) - limit),
        _short(answer.scores[0]),
        answer.words,
        [name for name, applies in _FLAGS if applies(answer)],
        answer.sample,
    ]
