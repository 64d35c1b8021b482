"""The mathematics: one softmax over the scores of [shared prefix | own tokens | sink].

The prefix part is one matrix product for all rows; the own parts are small products, row by row.
Both write into one buffer, so that the softmax over it is attention over all keys, exactly. (The
other way, attention with log-sum-exp over each part and a merge, is equally exact and was two to
three times slower in a decode step on a CPU: docs/experiments.md.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

#: Added to the score of a key that may not be seen. Finite, so that a filler query that sees no key
#: at all stays finite; exp(-30000) is 0.
HIDDEN = -30000.0


class Scratch:
    """Memory for scores and weights that is used again and again: what is freed and asked for anew
    is paged in anew, which takes as long as a product."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor of this shape, of the type and place of another; what it holds is undefined."""
        size = 1
        for n in shape:
            size *= n
        held = self._held.get(name)
        if held is None or held.numel() < size or held.device != like.device:
            held = like.new_empty(size)
            self._held[name] = held
        return held[:size].view(shape)

    def clear(self) -> None:
        """Give the memory back."""
        self._held.clear()


Part = tuple[Tensor, Tensor]
"""Keys [KV, K, D] and values [KV, K, Dv]."""


def attend(
    q: Tensor,
    parts: list[Part],
    mask: Tensor | None,
    triangle: Tensor | None,
    softcap: float | None,
    sinks: Tensor | None,
    scratch: Scratch,
) -> Tensor:
    """Attention of some tokens of one sequence to keys that stand in several places.

    Args:
        q: [KV, G, n, D], scaled; G queries share a head of keys.
        parts: in order of position.
        mask: added to the scores, [n, all keys]; None: see `triangle`.
        triangle: added to the last n keys, [n, n]: the tokens' own, of which each sees those up to
            itself; None: with a mask, or for one token.
        softcap: scores become softcap · tanh(score / softcap), before the mask (Gemma 2).
        sinks: scores of a further key with the value 0, [KV, G] (GPT-OSS).

    Returns:
        [KV, G, n, Dv].
    """
    heads, g, n, d = q.shape
    lengths = [keys.shape[1] for keys, _ in parts]
    whole = sum(lengths)
    scores = scratch.take("scores", (heads, g * n, whole + (sinks is not None)), q)
    folded = q.reshape(heads, g * n, d)
    at = 0
    for (keys, _), length in zip(parts, lengths):
        torch.bmm(folded, keys.transpose(1, 2), out=scores[..., at : at + length])
        at += length
    _cap(scores[..., :whole], softcap)
    view = scores.view(heads, g, n, -1)
    if mask is not None:
        view[..., :whole] += mask
    elif triangle is not None:
        view[..., whole - n : whole] += triangle
    if sinks is not None:
        view[..., whole] = sinks.to(q.dtype)[..., None]
    weights = _softmax(scores, scratch)
    out: Tensor | None = None
    at = 0
    for (_, values), length in zip(parts, lengths):
        seen = torch.bmm(_compact(weights, at, length, scratch), values)
        out = seen if out is None else out.add_(seen)
        at += length
    assert out is not None
    return out.view(heads, g, n, -1)


@dataclasses.dataclass(frozen=True)
class Sharing:
    """Neighbouring rows of a decode step that share a prefix, or have none."""

    rows: slice
    prefix: Part | None
    mask: Tensor | None
    """Added to the prefix's scores, [n, P]; None: all visible."""


def attend_step(
    q: Tensor,
    own: Part,
    own_mask: Tensor | None,
    groups: Sequence[Sharing],
    softcap: float | None,
    sinks: Tensor | None,
    scratch: Scratch,
) -> Tensor:
    """Attention of rows with one token each.

    Args:
        q: [KV, B, G, D], scaled.
        own: the rows' own keys [B, KV, W, D] and values [B, KV, W, Dv]; contiguous, else they are
            copied.
        own_mask: [B, W], added; None: all visible.
        groups: which rows share what; together all rows, in order.
        softcap, sinks: see `attend`.

    Returns:
        [B, KV, G, Dv].
    """
    heads, b, g, d = q.shape
    width = own[0].shape[2]
    # Keys times queries: on a CPU twice as fast as queries times transposed keys.
    by_row = q.permute(1, 0, 3, 2).contiguous()  # [B, KV, D, G]
    mine = torch.matmul(own[0], by_row).permute(1, 0, 3, 2)  # [KV, B, G, W]
    own_weights = scratch.take("own", (b, heads, g, width), q)
    shared: list[tuple[slice, Tensor]] = []
    for group in groups:
        rows, prefix = group.rows, group.prefix
        n = rows.stop - rows.start
        length = 0 if prefix is None else prefix[0].shape[1]
        whole = length + width
        scores = scratch.take("scores", (heads, n * g, whole + (sinks is not None)), q)
        view = scores.view(heads, n, g, -1)
        if prefix is not None:
            folded = q[:, rows].reshape(heads, n * g, d)
            torch.bmm(folded, prefix[0].transpose(1, 2), out=scores[..., :length])
        view[..., length:whole] = mine[:, rows]
        _cap(scores[..., :whole], softcap)
        if group.mask is not None:
            view[..., :length] += group.mask[:, None]
        if own_mask is not None:
            view[..., length:whole] += own_mask[rows, None]
        if sinks is not None:
            view[..., whole] = sinks.to(q.dtype)[:, None]
        weights = _softmax(scores, scratch)
        own_weights[rows] = weights.view(heads, n, g, -1)[..., length:whole].transpose(0, 1)
        if prefix is not None:
            seen = torch.bmm(_compact(weights, 0, length, scratch), prefix[1])
            shared.append((rows, seen.view(heads, n, g, -1).transpose(0, 1)))
    out = torch.matmul(own_weights, own[1])
    for rows, seen in shared:
        out[rows] += seen
    return out


def _softmax(scores: Tensor, scratch: Scratch) -> Tensor:
    weights = scratch.take("weights", tuple(scores.shape), scores)
    torch.softmax(scores, -1, out=weights)
    return weights


def _compact(weights: Tensor, start: int, length: int, scratch: Scratch) -> Tensor:
    """Columns of the weights, copied: a product would copy them too, into new memory."""
    if length == weights.shape[-1]:
        return weights
    made = scratch.take("columns", (*weights.shape[:-1], length), weights)
    return made.copy_(weights[..., start : start + length])


def _cap(scores: Tensor, softcap: float | None) -> None:
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
