"""mlx: Apple silicon's own library, for MLX and Hugging Face folders; it runs on Linux too.

For each condition the longest common prefix of its prompts (the kernel) is computed once. Rows that
answer start from copies of it, side by side in one batch; a row that ends makes room for the next
request, of the same condition or of the next. Tokens come from the plan, never from mlx-lm's own
template, and each row's draws from its request's seed, so that its neighbours do not change them.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lem.engines import machine
from lem.engines._mlx_blas import faster_blas
from lem.engines._mlx_load import compute_dtype, is_memory, load, on_gpu, out_of_memory
from lem.engines._mlx_rows import Memory, OneRow, Rows, obstacle, prefix_memory, token_bytes
from lem.engines.base import Meter, finished
from lem.engines.folder import ModelFolder
from lem.engines.llamacpp import common_prefix
from lem.engines.outputs import parse
from lem.engines.sampling import draw, uniform
from lem.errors import LemError, missing_extra
from lem.records import EngineInfo, Request, Response
from lem.text import excerpt

#: Rows generated together, where memory allows: a step reads all weights once for all of them.
DEFAULT_ROWS = 32
#: Share of the free memory that keys and values may take, at the moment when rows join or leave and
#: they are there twice.
MEMORY_SHARE = 0.5
_SLOW = (
    "mlx multiplies with the reference BLAS here, some 30 times slower than with OpenBLAS: "
    "apt install libopenblas0, or use --engine transformers"
)
#: Rows join when one in so many of them is free: to join, all keys and values are copied once.
_JOIN_SHARE = 8


@dataclasses.dataclass
class _Group:
    """The requests of one condition, and the prefix they share."""

    waiting: deque[Request]
    prefix: int
    """Length of the longest common prefix, in tokens."""
    width: int
    """Tokens of the longest prompt together with its answer."""
    memory: Memory | None = None
    """Of the prefix, while requests are waiting."""
    unpaid: int = 0
    """Prefix tokens computed but not yet put down to a response."""


@dataclasses.dataclass
class _Row:
    """One answer being generated."""

    request: Request
    group: _Group
    started: float
    cached: int
    last: int
    """The token to be taken in by the next step."""
    tokens: list[int] = dataclasses.field(default_factory=list)


class _NotTogether(Exception):
    """This model's rows are not independent of each other."""


class MlxEngine(ModelFolder):
    """A model folder that answers requests with mlx.

    Args:
        path, name, adapter, thinking: as for `ModelFolder`.
        dtype: type to compute in; None: see `compute_dtype`.
        rows: answers generated together at most; None: as many as are useful and fit in memory.
        say: told in a short line what is going on, when something is.

    Raises:
        LemError: mlx is not installed, or the folder cannot be run.
    """

    engine_name = "mlx"

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        adapter: Path | None = None,
        thinking: bool | None = None,
        dtype: str | None = None,
        rows: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._fast = faster_blas()  # before anything imports mlx
        _check_installed()
        super().__init__(path, name, adapter=adapter, thinking=thinking)
        self.dtype = compute_dtype(self.config, dtype)
        self.max_rows, self.say = rows, say
        self._model: Any = None
        self._together = True
        self._checked = -1  # length of the longest prefix after which rows were compared

    @property
    def info(self) -> EngineInfo:
        mlx, mlx_lm = (importlib.metadata.version(p) for p in ("mlx", "mlx-lm"))
        return EngineInfo(
            engine="mlx",
            engine_version=f"mlx {mlx} mlx-lm {mlx_lm}",
            model=self.name,
            fingerprint={**self._fingerprint, "dtype": self.dtype},
            context_length=self.context_length,
            notes=list(self.notes),
        )

    @cached_property
    def _fingerprint(self) -> dict[str, Any]:
        return self.fingerprint()

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        groups = deque(
            _group(list(same)) for _, same in itertools.groupby(requests, key=lambda r: r.condition)
        )
        if not groups:
            return
        if self._model is None:
            self.say(f"loading {self.name} ({self.dtype})")
            if not self._fast and not on_gpu():
                self.say(_SLOW)
            self._model = load(self, self.dtype)
        self._note_windows(max(group.width for group in groups))
        from mlx_lm.generate import wired_limit

        rows = self._plan_rows(groups, len(requests))
        active: list[_Row] = []
        with wired_limit(self._model):  # on macOS: keep the weights from being paged out
            while groups or active:
                try:
                    yield from self._run(groups, active, rows, meter)
                except _NotTogether:
                    rows = 1
                except (MemoryError, RuntimeError, ValueError) as e:
                    if not is_memory(e):
                        raise _stopped(e) from e
                    if rows == 1:
                        raise out_of_memory(
                            f"mlx has too little memory for one answer: {excerpt(str(e), 120)}."
                        ) from None
                    rows = max(1, min(rows, len(active) or rows) // 2)
                    self.say(f"memory ran out; going on with {rows} at a time")
                _put_back(groups, active)

    def close(self) -> None:
        if self._model is not None:
            import mlx.core as mx

            self._model = None
            mx.clear_cache()
        super().close()

    def _run(
        self, groups: deque[_Group], active: list[_Row], limit: int, meter: Meter
    ) -> Iterator[Response]:
        """Answer all groups; what is unfinished when it fails is in ``groups`` and ``active``."""
        rows = Rows(self._model) if self._together else OneRow(self._model)
        while groups or active:
            free = limit - len(active)
            if groups and free and (not active or free >= limit // _JOIN_SHARE):
                self._admit(groups, active, free, rows, meter)
                continue
            tokens = self._choose(rows.step([row.last for row in active]), active)
            meter.generated += len(active)
            ended = [self._take(row, token) for row, token in zip(active, tokens)]
            leaving = [(row, how) for row, how in zip(active, ended) if how is not None]
            if leaving:
                staying = [i for i, how in enumerate(ended) if how is None]
                active[:] = [active[i] for i in staying]
                for row, how in leaving:
                    yield self._response(row, how == "stop")
                rows.keep(staying)

    def _admit(
        self, groups: deque[_Group], active: list[_Row], free: int, rows: Rows, meter: Meter
    ) -> None:
        """Let the next requests of the first group join."""
        group = groups[0]
        if group.memory is None:
            self._open(group, meter)
        now = time.monotonic()
        joining: list[_Row] = []
        seen: set[tuple[int, ...]] = set()
        while group.waiting and len(joining) < free:
            request = group.waiting.popleft()
            prompt = request.token_ids or []
            again = tuple(prompt) in seen  # a further sample: its prompt is computed, but the last
            cached = len(prompt) - 1 if again and self._together else group.prefix - group.unpaid
            meter.shared += cached
            meter.prefilled += len(prompt) - cached - group.unpaid
            group.unpaid = 0
            seen.add(tuple(prompt))
            joining.append(_Row(request, group, now, cached, prompt[-1]))
        memory = group.memory
        if not group.waiting:
            groups.popleft()
            group.memory = None
        active.extend(joining)  # before they join: what fails now is put back
        suffixes = [(row.request.token_ids or [])[group.prefix :] for row in joining]
        rows.join(memory or [], suffixes)

    def _open(self, group: _Group, meter: Meter) -> None:
        """Compute what the prompts of a condition have in common."""
        prefix = (group.waiting[0].token_ids or [])[: group.prefix]
        group.memory, group.unpaid = prefix_memory(self._model, prefix), group.prefix
        meter.prefilled += group.prefix
        window = max((getattr(layer, "max_size", 0) for layer in group.memory), default=0)
        # Once is enough, but for a window: what is right before it is full may be wrong after.
        new = self._checked < 0 or self._checked < window < group.prefix
        if self._together and new:
            why = obstacle(self._model, group.memory, self.dtype)
            self._checked = group.prefix
            if why is not None:
                self._together = False
                self.notes.append(f"Answers were generated one at a time: {why}.")
                raise _NotTogether

    def _choose(self, logits: Any, active: Sequence[_Row]) -> list[int]:
        """The next token of every row."""
        import mlx.core as mx
        import numpy as np

        if all(row.request.sampling.temperature == 0 for row in active):
            likeliest: Any = mx.argmax(logits, axis=-1).tolist()
            return list(likeliest)
        table = np.array(logits)
        return [
            draw(
                table[i],
                row.request.sampling.temperature,
                row.request.sampling.top_p,
                uniform(row.request.seed, len(row.tokens)),
            )
            for i, row in enumerate(active)
        ]

    def _take(self, row: _Row, token: int) -> str | None:
        """Take in a row's new token; says how the answer ends with it, if it does."""
        if token in self.stop_ids:
            return "stop"
        row.tokens.append(token)
        row.last = token
        return "length" if len(row.tokens) >= row.request.sampling.max_tokens else None

    def _response(self, row: _Row, ended: bool) -> Response:
        answer = parse(self.decode(row.tokens), self.style, prompt=row.request.prompt, ended=ended)
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

    def _plan_rows(self, groups: Sequence[_Group], requests: int) -> int:
        """Rows that are useful and fit in memory."""
        if not self._together:
            return 1
        rows = min(requests, self.max_rows or DEFAULT_ROWS)
        if self.max_rows is None:
            row = max(g.width for g in groups) * token_bytes(prefix_memory(self._model, [0]))
            rows = min(rows, int(_free_memory() * MEMORY_SHARE / (2 * max(1.0, row))))
        return max(1, rows)

    def _note_windows(self, width: int) -> None:
        """Say so where mlx-lm leaves out a sliding window that the model was trained with."""
        from mlx_lm.models.cache import make_prompt_cache

        window = sliding_window(self.config)
        if window is None or width <= window:
            return
        if any(hasattr(layer, "max_size") for layer in make_prompt_cache(self._model)):
            return
        note = (
            f"mlx-lm leaves out this model's sliding window of {window:,} tokens: longer prompts "
            "are answered as if there were none."
        )
        if note not in self.notes:
            self.notes.append(note)
            self.say(note)


def sliding_window(config: dict[str, Any]) -> int | None:
    """How far back some layers of a model look, if they do not see everything."""
    text = config.get("text_config")
    config = {**config, **text} if isinstance(text, dict) else config
    window, kinds = config.get("sliding_window"), config.get("layer_types")
    used = config.get("use_sliding_window", True)
    if isinstance(kinds, list):
        used = used and "sliding_attention" in kinds
    return window if used and isinstance(window, int) else None


def _group(requests: list[Request]) -> _Group:
    prompts = [r.token_ids or [] for r in requests]
    width = max(len(p) + r.sampling.max_tokens for p, r in zip(prompts, requests))
    return _Group(waiting=deque(requests), prefix=common_prefix(prompts), width=width)


def _put_back(groups: deque[_Group], active: list[_Row]) -> None:
    """Let the requests of dropped rows wait again, in their old order."""
    for row in reversed(active):
        if not (groups and groups[0] is row.group):
            groups.appendleft(row.group)
        row.group.waiting.appendleft(row.request)
    active.clear()
    for group in groups:
        group.memory, group.unpaid = None, 0


def _check_installed() -> None:
    """Raise the error of a missing package, or of mlx without its part for this machine."""
    try:
        import mlx.core  # noqa: F401
    except ImportError:
        raise missing_extra("mlx, with its back end for this machine,", "mlx") from None
    if importlib.util.find_spec("mlx_lm") is None:
        raise missing_extra("mlx-lm", "mlx")


def _free_memory() -> float:
    """Bytes that keys and values could take where mlx computes."""
    import mlx.core as mx

    if not on_gpu():
        return machine.free_memory()
    most = mx.device_info().get("max_recommended_working_set_size")
    if not most:  # only Metal says
        return machine.free_memory()
    return max(0.0, float(most) - float(mx.get_active_memory())) * machine.device_memory_share()


def _stopped(error: Exception) -> LemError:
    return LemError(
        f"mlx stopped: {excerpt(f'{type(error).__name__}: {error}', 200)}.",
        "The answers in progress were dropped; every finished one is kept.",
        "Run the same command again; if it recurs, lower --parallel or --max-tokens.",
    )
