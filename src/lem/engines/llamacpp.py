"""llama.cpp in process: continuous batching over sequences that share the kernel's cells.

For each condition the longest common prefix of its prompts (the kernel) is computed once, in a
sequence of its own. Every row is another sequence that shares those cells (`seq_cp` copies no
data), adds its probe, and is refilled with the next request as soon as its answer ends: of the
same condition or of the next, so that long answers at the end of a condition do not run alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lem.engines._llama_context import LlamaContext
from lem.engines._llama_model import LlamaModel
from lem.engines.base import Meter, finished
from lem.engines.machine import free_memory as free_memory  # also imported from here
from lem.engines.machine import usable_cores as usable_cores
from lem.engines.outputs import parse
from lem.errors import LemError
from lem.records import FinishReason, Request, Response, Sampling
from lem.text import excerpt

#: Tokens per decode call: long enough for full-speed matrix products, short enough that Ctrl-C is
#: answered soon (512 tokens take about two seconds for a 135M model on 2 cores).
CHUNK = 512
#: Rows generated together. From 64 rows on, llama.cpp's CPU attention changes to a tiled kernel
#: that also multiplies what is masked, and each row reads the masks of all others' own tokens.
#: Measured: docs/experiments.md.
DEFAULT_ROWS = 32
#: Share of the free memory that keys and values may take.
MEMORY_SHARE = 0.5
#: A step decodes one token a row in a single call.
MOST_ROWS = 256

#: Conditions that may be under way at a time: the one that is ending and the one that begins.
_OPEN_GROUPS = 2


@dataclasses.dataclass
class _Group:
    """The requests of one condition, and the prefix they share."""

    waiting: deque[Request]
    prefix: int
    """Length of the longest common prefix, in tokens."""
    own: int
    """Most tokens that one request adds to it: the rest of its prompt, and its answer."""
    sequence: int = -1
    """That holds the prefix while the group is open."""
    running: int = 0
    unpaid: int = 0
    """Prefix tokens computed but not yet put down to a response."""


@dataclasses.dataclass
class _Row:
    """One answer being generated."""

    request: Request
    group: _Group
    sequence: int
    sampler: int
    position: int
    """Of the next token."""
    started: float
    cached: int
    last: int = -1
    """The token sampled last, not yet decoded."""
    tokens: list[int] = dataclasses.field(default_factory=list)


class LlamaEngine(LlamaModel):
    """A GGUF model that answers requests.

    Args:
        path, name, thinking: as for `LlamaModel`.
        rows: answers generated together at most; None: as many as are useful and fit in memory.
        threads: None: one for each core this process may use.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        rows: int | None = None,
        threads: int | None = None,
        *,
        thinking: bool | None = None,
    ) -> None:
        super().__init__(path, name, thinking=thinking)
        self.max_rows, self.threads = rows, threads or usable_cores()
        self._context: Any = None

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        groups = deque(
            _group(list(same)) for _, same in itertools.groupby(requests, key=lambda r: r.condition)
        )
        rows = self._make_context(groups, len(requests))
        prefix_sequences = list(range(_OPEN_GROUPS))
        free = list(range(_OPEN_GROUPS, _OPEN_GROUPS + rows))
        opened: deque[_Group] = deque()  # in order; only the last can have requests waiting
        fresh: list[_Row] = []  # have just sampled a token
        active: list[_Row] = []  # wait for their next step
        try:
            while groups or opened:
                for row in fresh:
                    reason = self._finish_reason(row)
                    if reason is None:
                        active.append(row)
                    else:
                        self._retire(row, free)
                        yield self._response(row, reason)
                for group in [g for g in opened if not g.waiting and not g.running]:
                    self._context.forget(group.sequence)
                    prefix_sequences.append(group.sequence)
                    opened.remove(group)
                if free and groups and prefix_sequences and not (opened and opened[-1].waiting):
                    opened.append(groups.popleft())
                    self._open(opened[-1], prefix_sequences.pop(), meter)
                if free and opened and opened[-1].waiting:
                    fresh = self._admit(opened[-1], free, meter)
                else:
                    if active:
                        self._context.step(active)
                    fresh, active = active, []
                meter.generated += len(fresh)
        finally:
            for row in (*fresh, *active):
                self._free_sampler(row)

    def close(self) -> None:
        self._free_context()
        super().close()

    def _free_context(self) -> None:
        if self._context:
            self._context.close()
            self._context = None

    def _open(self, group: _Group, sequence: int, meter: Meter) -> None:
        """Compute what the prompts of a condition have in common."""
        group.sequence, group.unpaid = sequence, group.prefix
        prefix = (group.waiting[0].token_ids or [])[: group.prefix]
        self._context.prefill(sequence, prefix, 0, want_logits=False)
        meter.prefilled += group.prefix

    def _admit(self, group: _Group, free: list[int], meter: Meter) -> list[_Row]:
        """Start the next request, together with those behind it that have the same prompt
        (further samples of it): the prompt is computed once and its cells are shared."""
        now = time.monotonic()
        prompt = group.waiting[0].token_ids or []
        rows: list[_Row] = []
        while group.waiting and free and group.waiting[0].token_ids == prompt:
            request, sequence = group.waiting.popleft(), free.pop()
            if rows:
                self._context.share(rows[0].sequence, sequence, len(prompt))
                cached = len(prompt)
            else:
                self._context.share(group.sequence, sequence, group.prefix)
                self._context.prefill(
                    sequence, prompt[group.prefix :], group.prefix, want_logits=True
                )
                cached = group.prefix - group.unpaid
                meter.prefilled += len(prompt) - group.prefix
                group.unpaid = 0
            meter.shared += cached
            rows.append(
                _Row(
                    request=request,
                    group=group,
                    sequence=sequence,
                    sampler=make_sampler(self.lib, request.sampling, request.seed),
                    position=len(prompt),
                    started=now,
                    cached=cached,
                )
            )
        for row in rows:
            row.last = self.lib.sampler_sample(row.sampler, self._context.pointer, -1)
        group.running += len(rows)
        return rows

    def _finish_reason(self, row: _Row) -> FinishReason | None:
        """Take in the token sampled last; say whether the answer ends with it."""
        if self.ends_answer(row.last):
            return "stop"
        row.tokens.append(row.last)
        return "length" if len(row.tokens) >= row.request.sampling.max_tokens else None

    def _retire(self, row: _Row, free: list[int]) -> None:
        self._free_sampler(row)
        self._context.forget(row.sequence)
        free.append(row.sequence)
        row.group.running -= 1

    def _free_sampler(self, row: _Row) -> None:
        if row.sampler:
            self.lib.sampler_free(row.sampler)
            row.sampler = 0

    def _response(self, row: _Row, reason: FinishReason) -> Response:
        text, prompt = self.decode(row.tokens), row.request.prompt
        answer = parse(text, self.style, prompt=prompt, ended=reason == "stop")
        return finished(
            row.request,
            final=answer.final,
            reasoning=answer.reasoning,
            finish_reason=answer.finish_reason,
            format_errors=answer.format_errors,
            prompt_tokens=len(row.request.token_ids or []),
            cached_tokens=row.cached,
            completion_tokens=len(row.tokens),
            seconds=time.monotonic() - row.started,
        )

    def _make_context(self, groups: Sequence[_Group], requests: int) -> int:
        """Set up memory for these groups; returns the number of rows. A context that is large
        enough is kept."""
        prefixes = sum(sorted((g.prefix for g in groups), reverse=True)[:_OPEN_GROUPS])
        own = max((g.own for g in groups), default=1)
        rows = min(requests, self.max_rows or DEFAULT_ROWS, MOST_ROWS)
        if self.max_rows is None:
            budget = free_memory() * MEMORY_SHARE / max(1, self.kv_bytes_per_token())
            rows = max(1, min(rows, int((budget - prefixes) // own)))
        cells = prefixes + rows * own
        current = self._context
        if not (current and current.cells >= cells and current.rows >= rows):
            self._free_context()
            self._context = _Context(self, cells, rows)
        self._context.forget_all()
        return rows


def _group(requests: list[Request]) -> _Group:
    prompts = [r.token_ids or [] for r in requests]
    prefix = common_prefix(prompts)
    own = max(len(p) - prefix + r.sampling.max_tokens for p, r in zip(prompts, requests))
    return _Group(waiting=deque(requests), prefix=prefix, own=own)


class _Context(LlamaContext):
    """The context of a run: rows that answer, and groups of requests whose prefix is kept."""

    def __init__(self, engine: LlamaEngine, cells: int, rows: int) -> None:
        self.rows = rows
        refusal = "No answer was generated.", "Try --parallel 4, or a smaller --max-tokens."
        super().__init__(engine, cells, rows + _OPEN_GROUPS, CHUNK, engine.threads, refusal)

    def prefill(self, sequence: int, ids: Sequence[int], start: int, *, want_logits: bool) -> None:
        """Compute prompt tokens of one sequence from position ``start``."""
        for offset in range(0, len(ids), CHUNK):
            chunk = ids[offset : offset + CHUNK]
            last = offset + len(chunk) == len(ids)
            for i, token in enumerate(chunk):
                at_end = want_logits and last and i == len(chunk) - 1
                self._put(i, token, start + offset + i, sequence, at_end)
            self._decode(len(chunk))

    def step(self, rows: Sequence[_Row]) -> None:
        """Decode every row's last token and sample its next."""
        for i, row in enumerate(rows):
            self._put(i, row.last, row.position, row.sequence, True)
            row.position += 1
        self._decode(len(rows))
        sample: Callable[..., int] = self.lib.sampler_sample
        for i, row in enumerate(rows):
            row.last = sample(row.sampler, self.pointer, i)

    def _put(self, i: int, token: int, position: int, sequence: int, logits: bool) -> None:
        batch = self.batch
        batch.token[i], batch.pos[i] = token, position
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        batch.logits[i] = logits

    def _decode(self, count: int) -> None:
        self.batch.n_tokens = count
        code = self.lib.decode(self.pointer, self.batch)
        if code != 0:
            raise LemError(
                f"llama.cpp stopped with code {code}: {excerpt(self.lib.take_error(), 200)}.",
                "The answers in progress were dropped; every finished one is kept.",
                "Run the same command again; if it recurs, lower --parallel or --max-tokens.",
            )


def make_sampler(lib: Any, sampling: Sampling, seed: int) -> int:
    """A sampler of one row: greedy at temperature 0, else temperature, top-p and a seeded draw.

    Each row has its own generator, so that the rows it is batched with do not change its draws.
    """
    chain: int = lib.sampler_chain_init(lib.sampler_chain_default_params())
    if sampling.temperature == 0:
        lib.sampler_chain_add(chain, lib.sampler_init_greedy())
        return chain
    lib.sampler_chain_add(chain, lib.sampler_init_temp(sampling.temperature))
    if sampling.top_p < 1:
        lib.sampler_chain_add(chain, lib.sampler_init_top_p(sampling.top_p, 1))
    lib.sampler_chain_add(chain, lib.sampler_init_dist(seed))
    return chain


def common_prefix(prompts: Sequence[list[int]]) -> int:
    """Length of the longest prefix of all prompts that leaves each at least one token.

    With one prompt there is nothing to share, and the answer is 0.
    """
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)  # in sorted order the outermost two differ first
    length = next((i for i, (a, b) in enumerate(zip(low, high)) if a != b), min(map(len, prompts)))
    return max(0, min(length, min(map(len, prompts)) - 1))
