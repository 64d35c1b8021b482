"""Answers generated together in mlx: the keys and values of all rows, side by side.

A prefix is computed once, at batch size 1; mlx-lm's own batch caches take copies of it, one for
each row that joins, and keep rows of unequal length aligned on the right, with the true position of
each. Whether a model's code really treats every row as if it were alone is not taken on trust:
`obstacle` compares.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from lem.engines._mlx_load import is_memory
from lem.errors import LemError

#: Tokens per forward call: long enough for full-speed matrix products, short enough that Ctrl-C is
#: answered soon.
CHUNK = 512
#: How far the logits of a row among others may be from those of the same row alone, relative to
#: their size. In 32 bits rounding makes 1e-6, a position off by one or a token of padding that is
#: seen 7e-3 and more; in 16 bits rounding alone may make 2e-2, and only gross faults can be told.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}

#: What a model remembers of the tokens so far: one cache a layer.
Memory = list[Any]


def prefix_memory(model: Any, ids: Sequence[int]) -> Memory:
    """Compute a prefix of prompts, once, for all that share it."""
    from mlx_lm.models.cache import make_prompt_cache

    memory: Memory = make_prompt_cache(model)
    _prefill(model, memory, [list(ids)])
    return memory


def token_bytes(memory: Memory) -> float:
    """Bytes that one token takes in all layers, measured on a memory that is not empty."""
    total = 0.0
    for layer in memory:
        keys = getattr(layer, "keys", None)
        cells = 1 if keys is None or isinstance(keys, tuple) else keys.shape[2]
        total += layer.nbytes / max(1, cells)
    return total


class Rows:
    """Rows side by side. Their order is that in which they joined."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.memory: Memory = []

    def join(self, prefix: Memory, suffixes: Sequence[Sequence[int]]) -> None:
        """Let rows join that go on from a prefix.

        All but the last token of each suffix is computed (of equal ones once); the last is for
        the next `step`.
        """
        distinct = list(dict.fromkeys(map(tuple, suffixes)))
        made = [layer.merge([layer] * len(distinct)) for layer in prefix]
        _prefill(self.model, made, [list(suffix[:-1]) for suffix in distinct])
        if len(distinct) < len(suffixes):
            which = {suffix: i for i, suffix in enumerate(distinct)}
            for layer in made:
                layer.filter([which[tuple(suffix)] for suffix in suffixes])
        for layer, new in zip(self.memory, made):
            layer.extend(new)
        self.memory = self.memory or made
        _settle(self.memory)

    def step(self, tokens: Sequence[int]) -> Any:
        """Take in the next token of every row; returns the logits after it, row by row."""
        return _logits(self.model, self.memory, [[token] for token in tokens])

    def keep(self, which: Sequence[int]) -> None:
        """Drop all rows but these."""
        if not which:
            self.memory = []
        for layer in self.memory:
            layer.filter(list(which))


class OneRow(Rows):
    """A single row, for models whose rows are not independent: the prefix is copied for each."""

    def join(self, prefix: Memory, suffixes: Sequence[Sequence[int]]) -> None:
        (suffix,) = suffixes
        self.memory = copy.deepcopy(prefix)
        _prefill(self.model, self.memory, [list(suffix[:-1])])

    def keep(self, which: Sequence[int]) -> None:
        if not which:
            self.memory = []


def obstacle(model: Any, prefix: Memory, dtype: str) -> str | None:
    """Why rows of this model cannot be generated together, after this prefix; None: they can.

    Three rows of unequal length, one of which joins late and one of which leaves early, are
    compared with the same rows alone.
    """
    import numpy as np

    a, b, c, then = list(range(5, 15)), [23, 3, 29], [2, 31, 37, 41], 43
    alone = [_alone(model, prefix, suffix, then) for suffix in (a, b, c)]
    try:
        rows = Rows(model)
        rows.join(prefix, [a[:-1], b[:-1]])
        rows.step([a[-2], b[-2]])
        rows.join(prefix, [c])
        first = np.array(rows.step([a[-1], b[-1], c[-1]]))
        rows.keep([0, 2])
        second = np.array(rows.step([then, then]))
    except Exception as e:  # whatever a model's code trips over when there are several rows
        if is_memory(e):
            raise
        return f"its code does not take several rows ({type(e).__name__})"
    pairs = [(first[i], alone[i][0]) for i in range(3)]
    pairs += [(second[0], alone[0][1]), (second[1], alone[2][1])]
    worst = max(float(np.linalg.norm(x - y) / np.linalg.norm(y)) for x, y in pairs)
    if worst > _TOLERANCE[dtype]:
        return f"a row among others came out {worst:.0%} off"
    return None


def _alone(model: Any, prefix: Memory, suffix: list[int], then: int) -> list[Any]:
    """Logits of a row by itself: after a suffix, and after one more token.

    Raises:
        LemError: they are no numbers.
    """
    import numpy as np

    row = OneRow(model)
    row.join(prefix, [suffix])
    made = [np.array(row.step([token])[0]) for token in (suffix[-1], then)]
    if not all(np.isfinite(logits).all() for logits in made):
        raise LemError(
            "The model's numbers overflow: its logits are not finite.",
            "Its answers would be noise; none was generated.",
            "Use --dtype float32, or bfloat16 for a model that was trained in it.",
        )
    return made


def _prefill(model: Any, memory: Memory, rows: Sequence[list[int]]) -> None:
    """Take in prompt tokens; rows are padded to the longest, and the padding is taken out again."""
    import mlx.core as mx

    lengths = [len(row) for row in rows]
    width, step = max(lengths), max(2, CHUNK // len(rows))
    if not width:
        return
    padded = min(lengths) < width
    if padded:
        # A last piece of one column would be taken for a step of generation.
        width += width % step == 1
        for layer in memory:
            layer.prepare(lengths=lengths, right_padding=[width - n for n in lengths])
    tokens = mx.array([row + [0] * (width - len(row)) for row in rows])
    for start in range(0, width, step):
        model(tokens[:, start : start + step], cache=memory)
        _settle(memory)
    if padded:
        for layer in memory:
            layer.finalize()


def _settle(memory: Memory) -> None:
    """Compute what is pending and give back what was only needed for it."""
    import mlx.core as mx

    mx.eval([layer.state for layer in memory])
    mx.clear_cache()


def _logits(model: Any, memory: Memory, tokens: list[list[int]]) -> Any:
    import mlx.core as mx

    return model(mx.array(tokens), cache=memory)[:, -1].astype(mx.float32)
