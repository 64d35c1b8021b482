"""Scoring answers, in this process or in several. The results are the same either way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

from lem.errors import LemError
from lem.scorers import overlap
from lem.scorers.base import Answer, Field
from lem.scorers.registry import SCORERS, get_scorer
from lem.scorers.textstats import text_statistics
from lem.scoring.shapes import Item

Fields = dict[str, Field]

_BATCH_ITEMS, _BATCH_CHARACTERS = 64, 2**18
_AHEAD = 3  # batches under way for each process; what bounds the memory


class Job(NamedTuple):
    """What is to be done with every answer. It travels to each scoring process once."""

    scorers: tuple[str, ...]
    """As the user asked for them; also the keys of the record."""
    delta: bool = False
    """Add what compares the answer with its question."""
    kernels: tuple[str, ...] = ()
    """Texts that are looked for in every answer."""
    max_kernel_overlap: float | None = None
    max_prompt_overlap: float | None = None
    allow_leaks: bool = True


class Scored(NamedTuple):
    """All that was measured of one answer."""

    text: Fields
    overlap: Fields
    scores: dict[str, Fields]
    """By scorer, in the order of the job; empty for an answer that a filter drops."""
    dropped: str | None
    """Why a filter drops it; None where it is kept."""


class ScorerInfo(NamedTuple):
    """What a number of one scorer is called."""

    name: str
    profile: str | None
    version: str
    label: str
    headline: str


def describe(spec: str) -> ScorerInfo:
    """The names that go with a scorer's numbers.

    Raises:
        LemError: no such scorer.
    """
    scorer = get_scorer(spec)
    name, _, profile = spec.partition(":")
    profiles = SCORERS[name][1]
    return ScorerInfo(
        name=spec,
        profile=profile or (profiles[0] if profiles else None),
        version=scorer.version,
        label=scorer.label,
        headline=scorer.headline,
    )


class Worker:
    """Scores one answer after the other.

    Raises:
        LemError: the job names a scorer that does not exist.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._scorers = [(describe(spec), get_scorer(spec)) for spec in job.scorers]

    def score(self, item: Item) -> Scored:
        """Measure one answer; the scorers are not asked about one that a filter drops."""
        job, answer = self._job, self.answer(item)
        text = text_statistics(item.text, item.finish_reason)
        measured = overlap.measures(answer)
        dropped = _drop(job, measured)
        if dropped is not None:
            return Scored(text, measured, {}, dropped)
        scores: dict[str, Fields] = {}
        for info, scorer in self._scorers:
            fields = scorer.score(answer)
            if job.delta:
                fields |= scorer.delta(answer)
            fields.pop("profile", None)  # names go last, after everything measured
            named: Fields = {} if info.profile is None else {"profile": info.profile}
            scores[info.name] = {**fields, **named, "version": info.version}
        return Scored(text, measured, scores, None)

    def evidence(self, item: Item) -> dict[str, dict[str, list[tuple[int, int]]]]:
        """The spans behind each part of each score: scorer -> part -> spans."""
        answer = self.answer(item)
        return {info.name: dict(scorer.evidence(answer)) for info, scorer in self._scorers}

    def answer(self, item: Item) -> Answer:
        """What the scorers are given of an item."""
        own = () if item.system is None else (item.system,)
        kernels = self._job.kernels + own
        return Answer(item.text, item.prompt, kernels, item.check, item.gain)


def _drop(job: Job, measured: Fields) -> str | None:
    """Why an answer is left out; what cannot be measured is no reason.

    The limits mean what they mean in `lem.scorers.overlap.keep`.
    """
    if measured["leak"] and not job.allow_leaks:
        return "leak"
    limits = (
        ("kernel overlap", measured["kernel_overlap"], job.max_kernel_overlap),
        ("prompt overlap", measured["prompt_overlap"], job.max_prompt_overlap),
    )
    for reason, share, limit in limits:
        if limit is not None and isinstance(share, float) and share > limit:
            return reason
    return None


def score_all(items: Iterable[Item], job: Job, jobs: int = 1) -> Iterator[tuple[Item, Scored]]:
    """Score answers in order.

    Args:
        items: read only as far as the scoring needs them.
        jobs: processes. With more than one, a few batches for each are under way at a time.

    Raises:
        LemError: a scorer that does not exist; a scoring process that ended by itself.
    """
    if jobs == 1:
        worker = Worker(job)
        for item in items:
            yield item, worker.score(item)
        return
    # spawn, because it is the same on every system and needs no care about threads
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_start, initargs=(job,)
    )
    under_way: deque[tuple[list[Item], Future[list[Scored]]]] = deque()
    try:
        for batch in _batches(items):
            under_way.append((batch, pool.submit(_score_batch, batch)))
            if len(under_way) > jobs * _AHEAD:
                yield from _finish(*under_way.popleft())
        while under_way:
            yield from _finish(*under_way.popleft())
    except BrokenProcessPool:
        raise LemError(
            "A scoring process ended by itself (killed, or out of memory).",
            "Scoring stopped; a file asked for with --to was not written.",
            "Run it again, with --jobs 1 if memory is short.",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _finish(batch: list[Item], scores: Future[list[Scored]]) -> Iterator[tuple[Item, Scored]]:
    yield from zip(batch, scores.result(), strict=True)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += len(item.text) + len(item.prompt or "") + len(item.system or "")
        if len(batch) >= _BATCH_ITEMS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


_worker: Worker | None = None  # of this scoring process


def _start(job: Job) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that was asked ends the others
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _worker = Worker(job)


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _score_batch(batch: list[Item]) -> list[Scored]:
    assert _worker is not None, "the initializer has run"
    return [_worker.score(item) for item in batch]
