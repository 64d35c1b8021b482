"""How the model is run: transformers' attention and mask hooks, and one pass.

`transformers.AttentionInterface` calls `attention` in every attention layer of a model whose
implementation is set to `NAME`; `AttentionMaskInterface` calls `masks` once for each kind of mask
(all keys, sliding window, chunks) with the model's own rule, as a function of two positions. The
rule is asked about *true* positions, which is why windows come out right in packed passes.
A model that does not take part ignores `NAME` without a word and returns wrong logits: the calls
are counted, and `check.obstacle` compares logits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, causal_mask_function

from lem.engines.shared_prefix import attention as maths
from lem.engines.shared_prefix.step import Decode, Group, Prefill, Segment, Step
from lem.engines.shared_prefix.store import LayerStore, Store

#: Of this attention among transformers' implementations.
NAME = "lem_shared_prefix"

#: Tokens whose scores are computed at a time: their scores should stay in the processor's cache.
BLOCK = 256

_running = threading.local()

_uses: weakref.WeakKeyDictionary[Any, _Use] = weakref.WeakKeyDictionary()
#: Reentrant: a generator that is left behind may be closed by the garbage collector, at any point.
_switching = threading.RLock()


class NotServed(Exception):
    """The model's attention does not go through the interface as is needed."""


@dataclasses.dataclass
class _Use:
    """Of a model by this attention."""

    times: int = 0
    """How many use it at once."""
    before: str = ""
    """The attention that it goes back to after the last of them."""


@dataclasses.dataclass(frozen=True)
class Block:
    """Neighbouring tokens of a prefill step that are attended for together."""

    segment: Segment
    origin: int
    """Where the segment begins among the packed tokens."""
    begin: int
    end: int
    first: int
    """The first key of the group's prefix that any of them sees."""
    mask: Tensor | None
    """[end - begin, keys]; None: everything that is causal is visible."""
    triangle: Tensor | None
    """Then: what hides each token's successors, [end - begin, end - begin]."""


@dataclasses.dataclass(frozen=True)
class Masks:
    """One kind of mask in one step."""

    blocks: Sequence[Block] = ()
    """Of a prefill step."""
    own: Tensor | None = None
    """Of a decode step: [B, places of a strip]; None: all are visible."""
    prefix: dict[Group, tuple[int, Tensor | None]] = dataclasses.field(default_factory=dict)
    """Of a decode step, where not all is visible: the first prefix key that any of the group's rows
    sees, and [n, P - first]."""


def register() -> None:
    """Make `NAME` known to transformers. May be called again."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, masks)


@contextlib.contextmanager
def switched(model: Any) -> Iterator[None]:
    """The model with this attention, and after the last of those who use it at once with its own.

    A generator that was left but is not closed yet is one of them: when it is, the model must not
    be switched under the next.
    """
    with _switching:
        use = _uses.setdefault(model, _Use())
        if not use.times:
            register()
            use.before = model.config._attn_implementation
            model.set_attn_implementation(NAME)
        use.times += 1
    try:
        yield
    finally:
        with _switching:
            use.times -= 1
            if not use.times:
                model.set_attn_implementation(use.before)


def layer_count(model: Any) -> int:
    """Layers that should have called `attention` once in a pass."""
    return int(model.config.get_text_config(decoder=True).num_hidden_layers)


def forward(model: Any, store: Store, step: Step) -> Tensor:
    """Compute a step's tokens, and keep their keys and values.

    Args:
        model: switched to this attention.

    Returns:
        Logits [tokens of `step.last`, vocabulary].

    Raises:
        NotServed: some layer did not take part, or positions cannot be given.
    """
    known = inspect.signature(model.forward).parameters
    if "position_ids" not in known:  # it would swallow them, and count packed tokens instead
        raise NotServed(f"{type(model).__name__} takes no positions")
    arguments: dict[str, Any] = {
        "input_ids": step.ids[None],
        "position_ids": step.positions[None],
        "cache" if "cache" in known else "past_key_values": store,
        "use_cache": True,
    }
    few = "logits_to_keep" in known
    if few:
        arguments["logits_to_keep"] = step.last
    store.begin(step)
    _running.step, _running.places = step, store.places
    try:
        logits: Tensor = model(**arguments).logits[0]
    finally:
        store.step = _running.step = None
    if step.calls != len(store.layers):
        raise NotServed(f"{step.calls} of {len(store.layers)} layers called the interface")
    return logits if few else logits[step.last]


# ------------------------------------------------------------------------------------------ masks


def masks(
    *args: Any,
    mask_function: Callable[..., Tensor] = causal_mask_function,
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> Masks:
    """transformers' hook for masks; see `Masks`."""
    step: Step | None = getattr(_running, "step", None)
    if step is None:
        raise NotServed("the model was called outside of hooks.forward")
    rule = None if mask_function is causal_mask_function else mask_function
    if isinstance(step, Decode):
        return _decode_masks(step, rule, dtype)
    assert isinstance(step, Prefill)
    return _prefill_masks(step, rule, dtype)


def _decode_masks(step: Decode, rule: Callable[..., Tensor] | None, dtype: torch.dtype) -> Masks:
    assert step.slots is not None
    place = torch.arange(_running.places, device=step.device)[None]
    seen = place <= step.slots[:, None]
    if rule is None:
        return Masks(own=_additive(seen, dtype))
    shift = (step.positions - step.slots)[:, None]
    seen = seen & _visible(rule, step.positions[:, None], place + shift)[:, 0]
    prefix: dict[Group, tuple[int, Tensor | None]] = {}
    for span in step.spans:
        if span.group.length:
            at = torch.arange(span.group.length, device=step.device)[None]
            shared = _visible(rule, step.positions[span.begin : span.end, None], at)[:, 0]
            first = _first(shared)
            prefix[span.group] = first, _additive(shared[:, first:], dtype)
    return Masks(own=_additive(seen, dtype), prefix=prefix)


def _prefill_masks(step: Prefill, rule: Callable[..., Tensor] | None, dtype: torch.dtype) -> Masks:
    most = min(BLOCK, step.size)
    hidden = torch.full((most, most), maths.HIDDEN, dtype=dtype, device=step.device).triu_(1)
    blocks = []
    for segment, begin in zip(step.segments, step.begins):
        end = begin + len(segment.ids)
        for at in range(begin, end, BLOCK):
            to = min(end, at + BLOCK)
            n, first, mask = to - at, 0, None
            if rule is not None:
                # Keys stand as their positions do: the prefix, the row's strip, this segment.
                keys = torch.arange(
                    segment.group.length + segment.start + to - begin, device=step.device
                )[None]
                q = step.positions[None, at:to]
                seen = _visible(rule, q, keys)[0] & (keys <= q[0, :, None])
                first = min(_first(seen), segment.group.length)
                mask = _additive(seen[:, first:], dtype)
            triangle = hidden[:n, :n] if rule is None and n > 1 else None
            blocks.append(Block(segment, begin, at, to, first, mask, triangle))
    return Masks(blocks)


def _visible(rule: Callable[..., Tensor], q: Tensor, k: Tensor) -> Tensor:
    """Ask the model's rule about positions: [n, Q] and [n or 1, K] -> [n, Q, K]."""
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=q.device)
    return rule(zero, zero, q[:, None, :, None], k[:, None, None, :])[:, 0]


def _first(seen: Tensor) -> int:
    """The first key that any query sees."""
    some = seen.any(0)
    return int(some.int().argmax()) if bool(some.any()) else seen.shape[1]


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor | None:
    if bool(seen.all()):
        return None
    made = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return made.masked_fill_(~seen, maths.HIDDEN)


# -------------------------------------------------------------------------------------- attention


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Masks,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' hook for attention.

    Args:
        query: [1, H, T, D].
        key, value: as `LayerStore.update` returned them, [1, KV, T, D].
        s_aux: scores of the attention sinks, [H] (GPT-OSS).

    Returns:
        [1, T, H, Dv], and no weights.
    """
    layer: LayerStore | None = getattr(key, "lem_layer", None)
    step: Step | None = getattr(_running, "step", None)
    biased = kwargs.get("position_bias") is not None
    if layer is None or step is None or biased or not isinstance(attention_mask, Masks):
        name = type(module).__name__
        raise NotServed(f"{name} changes its keys after the cache, or has a mask of its own")
    step.calls += 1
    scale = query.shape[3] ** -0.5 if scaling is None else scaling
    q = query[0] * scale
    run = _decode if isinstance(step, Decode) else _prefill
    return run(layer, step, q, key[0], value[0], attention_mask, softcap, s_aux), None


def _decode(
    layer: LayerStore,
    step: Step,
    q: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Masks,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """[H, B, D] -> [1, B, H, Dv]"""
    heads, b, d = q.shape
    kv = key.shape[0]
    groups = []
    for span in step.spans:
        prefix = layer.before(span.group)
        first, hidden = mask.prefix.get(span.group, (0, None))
        if prefix is not None:
            prefix = prefix[0][:, first:], prefix[1][:, first:]
        if first == span.group.length:
            prefix = None
        groups.append(maths.Sharing(slice(span.begin, span.end), prefix, hidden))
    out = maths.attend_step(
        q.view(kv, heads // kv, b, d).transpose(1, 2),
        (layer.keys[:b], layer.values[:b]),
        mask.own,
        groups,
        softcap,
        None if sinks is None else sinks.view(kv, -1),
        layer.store.scratch,
    )
    return out.reshape(1, b, heads, -1)


def _prefill(
    layer: LayerStore,
    step: Step,
    q: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Masks,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """[H, T, D] -> [1, T, H, Dv]"""
    heads, t, d = q.shape
    kv = key.shape[0]
    grouped = q.view(kv, heads // kv, t, d)
    out = q.new_empty(1, t, heads, value.shape[2])
    for block in mask.blocks:
        segment, parts = block.segment, []
        prefix = layer.before(segment.group)
        if prefix is not None and block.first < segment.group.length:
            parts.append((prefix[0][:, block.first :], prefix[1][:, block.first :]))
        if segment.start and segment.row is not None:
            strip = slice(0, segment.start)
            parts.append((layer.keys[segment.row, :, strip], layer.values[segment.row, :, strip]))
        now = slice(block.origin, block.end)
        parts.append((key[:, now], value[:, now]))
        found = maths.attend(
            grouped[:, :, block.begin : block.end],
            parts,
            block.mask,
            block.triangle,
            softcap,
            None if sinks is None else sinks.view(kv, -1),
            layer.store.scratch,
        )  # [KV, G, n, Dv]
        flat = found.reshape(heads, block.end - block.begin, -1)
        out[0, block.begin : block.end] = flat.transpose(0, 1)
    return out
