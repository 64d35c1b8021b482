"""The proof, before anything is answered, that a model's logits come out right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lem.engines.shared_prefix.hooks import NotServed, forward, layer_count, switched
from lem.engines.shared_prefix.schedule import out_of_memory
from lem.engines.shared_prefix.step import Decode, Group, Prefill, Segment, Span
from lem.engines.shared_prefix.store import Store

#: Largest mean difference of two logit vectors, as a share of their standard deviation. In float32
#: the two computations differ by rounding, about 1e-6; in 16 bits by about 1 %. A model that
#: ignores the interface is off by much more than 10 %.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_TOLERANCE_16_BITS = 0.1
#: bitsandbytes rounds activations to 16 (nf4) or 8 bits, and not alike for one row and for several:
#: the same computation twice differs by up to 0.3 on the built-in model.
_TOLERANCE_QUANTISED = 0.5

_PREFIX, _SUFFIXES = 24, (7, 3)


def obstacle(model: Any) -> str | None:
    """Why shared-prefix attention does not serve a model; None: it does.

    A prefix, two suffixes of different lengths and one decode step are computed both ways. Windows
    are longer than that; they rest on the model's own mask rule, which is asked about true
    positions (see `hooks`).

    Args:
        model: a causal language model of transformers.
    """
    if steady_length(model) is not None:
        return "its rotary embedding depends on the longest prompt of a batch"
    generator = torch.Generator().manual_seed(0)
    most = min(model.config.get_text_config(decoder=True).vocab_size, 30_000)
    whole = _PREFIX + max(_SUFFIXES) + 1
    ids = torch.randint(0, most, (len(_SUFFIXES), whole), generator=generator)
    ids[:, :_PREFIX] = ids[0, :_PREFIX]
    try:
        with torch.inference_mode():
            plain = [_plain(model, ids[i, : _PREFIX + n + 1]) for i, n in enumerate(_SUFFIXES)]
            shared = _shared(model, ids.tolist())
    except NotServed as e:
        return str(e)
    except (ValueError, TypeError, AttributeError, LookupError, RuntimeError) as e:
        if out_of_memory(e):
            raise
        return f"{type(e).__name__}: {e}"
    limit = _TOLERANCE.get(model.dtype, _TOLERANCE_16_BITS)
    if getattr(model, "is_quantized", False):
        limit = _TOLERANCE_QUANTISED
    for a, b in zip(plain, shared):
        difference = float((a - b).float().abs().mean() / a.float().std())
        if not difference < limit:
            return f"its logits differ from those of plain attention by {difference:.2g} sd"
    return None


def steady_length(model: Any) -> int | None:
    """Tokens up to which a rotary embedding is the same, of those kinds that look at the longest
    position of a pass: longer rows of a packed pass would change the others. None: of other kinds.
    """
    config = model.config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    known = []
    for each in (rope, *(r for r in rope.values() if isinstance(r, dict))):
        if each.get("rope_type") == "dynamic":
            known.append(config.max_position_embeddings)
        elif each.get("rope_type") == "longrope":
            known.append(each.get("original_max_position_embeddings", 0))
    return min(known, default=None)


def _plain(model: Any, ids: Tensor) -> Tensor:
    """Logits of the last two tokens, [2, vocabulary]."""
    logits: Tensor = model(input_ids=ids[None].to(model.device)).logits
    return logits[0, -2:]


def _shared(model: Any, ids: list[list[int]]) -> list[Tensor]:
    group, n = Group(), len(_SUFFIXES)
    store = Store(layer_count(model), n)
    ends = [_PREFIX + length for length in _SUFFIXES]
    with switched(model):
        device = model.device
        forward(model, store, Prefill([Segment(group, ids[0][:_PREFIX], None)], device))
        group.length = _PREFIX
        own = [Segment(group, ids[i][_PREFIX:end], i) for i, end in enumerate(ends)]
        first = forward(model, store, Prefill(own, device))
        last = [ids[i][end] for i, end in enumerate(ends)]
        step = Decode(last, list(_SUFFIXES), [Span(group, 0, n)], device)
        second = forward(model, store, step)
    return [torch.stack([a, b]) for a, b in zip(first, second)]
