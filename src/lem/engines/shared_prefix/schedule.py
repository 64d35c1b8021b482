"""The loop: rows are filled, stepped together, retired, and refilled with the next job.

Rows of one group stand side by side, so that the prefix is one product for all of them. A row that
ends is overwritten by the last of its group; each later group then moves its own last row into the
gap before it. So a retirement moves one strip a group, and the rows never have holes.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from lem.engines._torch_load import give_back_memory
from lem.engines.base import Meter
from lem.engines.llamacpp import common_prefix
from lem.engines.shared_prefix.hooks import forward, layer_count, switched
from lem.engines.shared_prefix.jobs import Done, Job
from lem.engines.shared_prefix.sampling import pick
from lem.engines.shared_prefix.step import Decode, Group, Prefill, Segment, Span
from lem.engines.shared_prefix.store import Store

#: Prompt tokens of one pass: enough for matrix products at full speed, and few enough that their
#: activations stay small and Ctrl-C is answered soon.
PASS_TOKENS = 2048
#: Free rows are refilled when they are this share of all, so that prompts are computed together.
_REFILL = 1 / 8
#: Passes are not made shorter than this when memory runs out.
_FEWEST_PASS_TOKENS = 256
#: Failures in a row after which even one row is given up.
_LAST_TRIES = 3
#: What errors say when memory runs out: torch's own, then C++'s, cuBLAS's and oneDNN's.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "bad_alloc",
    "alloc_failed",
    "could not create a primitive",
    "could not create a memory",
)


@dataclasses.dataclass(eq=False)
class _Group(Group):
    """A group with its jobs that wait."""

    waiting: deque[int] = dataclasses.field(default_factory=deque)
    prefix: Sequence[int] = ()
    unpaid: int = 0
    """Prefix tokens that were computed but are not yet put down to an answer."""


@dataclasses.dataclass
class _Row:
    """An answer being made."""

    index: int
    """Of its job."""
    group: _Group
    length: int
    """Tokens in its strip: the prompt's after the prefix, and the answer's but the last."""
    cached: int
    started: float
    tokens: list[int] = dataclasses.field(default_factory=list)


def generate(
    model: Any,
    jobs: Sequence[Job],
    *,
    rows: int,
    stop_ids: Collection[int] = (),
    meter: Meter | None = None,
) -> Iterator[Done]:
    """Answer jobs, yielding each as it is done.

    Args:
        model: a causal language model of transformers for which `check.obstacle` finds nothing.
        jobs: those of one group stand together.
        rows: answers made together at most. After running out of memory it goes on with half.
        stop_ids: tokens that end an answer.

    Raises:
        torch.OutOfMemoryError: not even one row fits.
        NotServed: see `hooks.forward`.
    """
    if jobs:
        loop = _Loop(model, jobs, rows, frozenset(stop_ids), meter or Meter())
        with switched(model):
            yield from loop.run()


class _Loop:
    """One call of `generate`."""

    def __init__(
        self, model: Any, jobs: Sequence[Job], rows: int, stop_ids: frozenset[int], meter: Meter
    ) -> None:
        self.model, self.jobs, self.stop_ids, self.meter = model, jobs, stop_ids, meter
        #: With jobs that wait or rows that run, in order.
        self.groups = _groups(jobs)
        self.capacity = max(1, min(rows, len(jobs)))
        self.pass_tokens = PASS_TOKENS
        #: Passes that ran out of memory since one went well.
        self.failures = 0
        self.store = Store(layer_count(model), self.capacity)
        #: In the order of their strips, those of a group side by side.
        self.rows: list[_Row] = []

    def run(self) -> Iterator[Done]:
        while self.groups:
            filling = self._wants_refill()
            try:
                fresh = self._fill() if filling else self._decode()
            except (RuntimeError, MemoryError) as e:
                if not out_of_memory(e) or not self._can_do_with_less(filling):
                    raise
                fresh = None
            if fresh is None:  # outside of the except block, which holds the failed pass's tensors
                self._do_with_less(filling)
                self.failures += 1
                continue
            self.failures = 0
            yield from self._retire(fresh)

    # -------------------------------------------------------------------------------- filling

    def _wants_refill(self) -> bool:
        waiting = sum(len(group.waiting) for group in self.groups)
        free = self.capacity - len(self.rows)
        enough = min(waiting, max(1, round(self.capacity * _REFILL)))
        return waiting > 0 and (not self.rows or free >= enough)

    @torch.inference_mode()
    def _fill(self) -> list[_Row]:
        """Start as many jobs as one pass can take, or compute a prefix that they wait for."""
        group = next(g for g in self.groups if g.waiting)
        if group.length < len(group.prefix):
            ids = group.prefix[group.length : group.length + self.pass_tokens]
            self._pass([Segment(group, ids, None)])
            group.length += len(ids)
            group.unpaid += len(ids)
            self.meter.prefilled += len(ids)
            return []
        started = time.monotonic()
        taken = self._take()
        segments: list[Segment] = []
        sources: list[int] = []  # per job: its segment
        for at, (group, index) in enumerate(taken):
            own = self.jobs[index].ids[len(group.prefix) :]
            same = at > 0 and self.jobs[index].ids == self.jobs[taken[at - 1][1]].ids
            if not (same and group is taken[at - 1][0]):
                segments.append(Segment(group, own, len(self.rows) + at))
            sources.append(len(segments) - 1)
        logits = self._pass(self._all_but_the_end(segments))
        tokens = pick(logits[sources], [self.jobs[i] for _, i in taken], [0] * len(taken))
        return self._started(taken, segments, sources, tokens, started)

    def _take(self) -> list[tuple[_Group, int]]:
        """The jobs that come next, as many as there are rows and tokens for."""
        taken: list[tuple[_Group, int]] = []
        free, budget = self.capacity - len(self.rows), self.pass_tokens
        for group in self.groups:
            if group.length < len(group.prefix):
                break
            for index in itertools.islice(group.waiting, free - len(taken)):
                budget -= len(self.jobs[index].ids) - len(group.prefix)
                if taken and budget < 0:
                    return taken
                taken.append((group, index))
            if len(taken) == free:
                break
        return taken

    def _all_but_the_end(self, segments: list[Segment]) -> list[Segment]:
        """A prompt too long for one pass is computed piece by piece; only its end is left."""
        if len(segments) > 1 or len(segments[0].ids) <= self.pass_tokens:
            return segments
        whole = segments[0]
        last = (len(whole.ids) - 1) // self.pass_tokens * self.pass_tokens
        for start in range(0, last, self.pass_tokens):
            piece = whole.ids[start : start + self.pass_tokens]
            self._pass([Segment(whole.group, piece, whole.row, start)])
        return [Segment(whole.group, whole.ids[last:], whole.row, last)]

    def _started(
        self,
        taken: list[tuple[_Group, int]],
        segments: list[Segment],
        sources: list[int],
        tokens: list[int],
        started: float,
    ) -> list[_Row]:
        fresh = []
        for at, (group, index) in enumerate(taken):
            segment = segments[sources[at]]
            row = len(self.rows)
            own = len(segment.ids)
            if row == segment.row:
                cached = group.length - group.unpaid
                group.unpaid = 0
                self.meter.prefilled += own
            else:  # the prompt of the row before: nothing was computed for it
                assert segment.row is not None
                self.store.move(segment.row, row, own)
                cached = group.length + own
            self.meter.shared += cached
            fresh.append(_Row(index, group, own, cached, started, [tokens[at]]))
            self.rows.append(fresh[-1])
            group.waiting.popleft()
        self.meter.generated += len(fresh)
        return fresh

    def _pass(self, segments: Sequence[Segment]) -> torch.Tensor:
        return forward(self.model, self.store, Prefill(segments, self.model.device))

    # ------------------------------------------------------------------------------- stepping

    @torch.inference_mode()
    def _decode(self) -> list[_Row]:
        """One more token for every row."""
        spans: list[Span] = []
        for at, row in enumerate(self.rows):
            begin = spans.pop().begin if spans and spans[-1].group is row.group else at
            spans.append(Span(row.group, begin, at + 1))
        last = [row.tokens[-1] for row in self.rows]
        lengths = [row.length for row in self.rows]
        logits = forward(self.model, self.store, Decode(last, lengths, spans, self.model.device))
        jobs = [self.jobs[row.index] for row in self.rows]
        tokens = pick(logits, jobs, [len(row.tokens) for row in self.rows])
        for row, token in zip(self.rows, tokens):
            row.length += 1
            row.tokens.append(token)
        self.meter.generated += len(tokens)
        return list(self.rows)

    # ------------------------------------------------------------------------------- retiring

    @torch.inference_mode()
    def _retire(self, fresh: list[_Row]) -> list[Done]:
        """Take out the rows that are done."""
        done = []
        ending = {id(row) for row in fresh if self._ends(row)}
        for at in range(len(self.rows) - 1, -1, -1):
            row = self.rows[at]
            if id(row) in ending:
                ended = row.tokens[-1] in self.stop_ids
                tokens = row.tokens[:-1] if ended else row.tokens
                seconds = time.monotonic() - row.started
                done.append(Done(row.index, tokens, ended, row.cached, seconds))
                self._remove(at)
        running = {id(row.group) for row in self.rows}
        for group in [g for g in self.groups if not g.waiting and id(g) not in running]:
            self.store.forget(group)
            self.groups.remove(group)
        return done[::-1]

    def _ends(self, row: _Row) -> bool:
        return row.tokens[-1] in self.stop_ids or (
            len(row.tokens) >= self.jobs[row.index].max_tokens
        )

    def _remove(self, at: int) -> None:
        """Close the gap of a row, leaving the rows of each group side by side."""
        group = self.rows[at].group
        while True:
            end = at
            while end + 1 < len(self.rows) and self.rows[end + 1].group is group:
                end += 1
            if end != at:
                self.store.move(end, at, self.rows[end].length)
                self.rows[at] = self.rows[end]
            if end + 1 == len(self.rows):
                break
            at, group = end, self.rows[end + 1].group
        self.rows.pop()

    # -------------------------------------------------------------------------- out of memory

    def _can_do_with_less(self, filling: bool) -> bool:
        # With one row left, again: others may have given memory back.
        shorter = filling and self.pass_tokens > _FEWEST_PASS_TOKENS
        return shorter or self.capacity > 1 or self.failures < _LAST_TRIES

    @torch.inference_mode()
    def _do_with_less(self, filling: bool) -> None:
        """Shorter passes, or half the rows; the jobs of the others start anew, later. Their seeds
        are their own, so their answers stay the same."""
        if filling and self.pass_tokens > _FEWEST_PASS_TOKENS:
            self.pass_tokens //= 2
        else:
            self.capacity = max(1, min(self.capacity, len(self.rows) or self.capacity) // 2)
        for row in reversed(self.rows[self.capacity :]):
            row.group.waiting.appendleft(row.index)
            self.meter.generated -= len(row.tokens)
        del self.rows[self.capacity :]
        self.store.shrink(self.capacity)
        give_back_memory(self.model.device.type)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch means that memory ran out, on whichever device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in _OUT_OF_MEMORY)


def _groups(jobs: Sequence[Job]) -> list[_Group]:
    found = []
    for _, same in itertools.groupby(range(len(jobs)), key=lambda i: jobs[i].group):
        # By length, so that rows that stand together have strips of about the same length; and
        # equal prompts side by side.
        prompts = {i: list(jobs[i].ids) for i in same}
        order = sorted(prompts, key=lambda i: (len(prompts[i]), prompts[i]))
        length = common_prefix([prompts[i] for i in order])
        found.append(_Group(waiting=deque(order), prefix=prompts[order[0]][:length]))
    return found
