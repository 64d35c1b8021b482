"""Answering with transformers' own cache, where shared-prefix attention does not serve.

The prefix of a group is computed once; every batch continues a copy of its cache. Prompts of a
batch have the same length, so that there is no padding, which not every architecture can do
without a trace. The decoding is transformers' own `generate`; only the choice of the next token is
ours, so that draws depend on the request alone.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from lem.engines._torch_load import give_back_memory
from lem.engines.base import Meter
from lem.engines.llamacpp import common_prefix
from lem.engines.shared_prefix.check import steady_length
from lem.engines.shared_prefix.jobs import Done, Job
from lem.engines.shared_prefix.sampling import pick
from lem.engines.shared_prefix.schedule import out_of_memory

#: Prompt tokens of a batch at most, beyond the common prefix: their activations take memory too.
PASS_TOKENS = 16_384


class _Choice(LogitsProcessor):
    """Leaves the token that `pick` chose as the only one."""

    def __init__(self, jobs: Sequence[Job], prompt: int, stop_ids: Collection[int]) -> None:
        self.jobs, self.prompt, self.stop_ids = jobs, prompt, stop_ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self.prompt
        tokens = pick(scores, self.jobs, [step] * len(self.jobs))
        only = torch.full_like(scores, -torch.inf)
        only[torch.arange(len(tokens)), torch.tensor(tokens, device=scores.device)] = 0
        return only


def generate(
    model: Any,
    jobs: Sequence[Job],
    *,
    rows: int,
    stop_ids: Collection[int] = (),
    meter: Meter | None = None,
) -> Iterator[Done]:
    """Answer jobs; see `lem.engines.shared_prefix.generate`, whose signature this has."""
    meter = meter or Meter()
    for _, same in itertools.groupby(range(len(jobs)), key=lambda i: jobs[i].group):
        indices = list(same)
        length = common_prefix([list(jobs[i].ids) for i in indices])
        steady = steady_length(model)
        if steady is not None and steady < max(
            len(jobs[i].ids) + jobs[i].max_tokens for i in indices
        ):
            length = 0  # the keys of the prefix depend on what comes after it
        cache = _prefix(model, list(jobs[indices[0]].ids)[:length]) if length else None
        unpaid = 0
        if cache is not None:
            meter.prefilled += length
            unpaid = length
        by_length = sorted(indices, key=lambda i: (len(jobs[i].ids), i))
        for _, alike in itertools.groupby(by_length, key=lambda i: len(jobs[i].ids)):
            waiting = list(alike)
            fresh = len(jobs[waiting[0]].ids) - (length if cache is not None else 0)
            while waiting:
                some = min(rows, max(1, PASS_TOKENS // fresh))
                batch, waiting = waiting[:some], waiting[some:]
                made = _try(model, [jobs[i] for i in batch], cache, stop_ids)
                if made is None:  # out of memory
                    if len(batch) == 1:
                        raise MemoryError("out of memory with a single row")
                    rows = len(batch) // 2
                    waiting = batch + waiting
                    continue
                for index, (tokens, ended, seconds) in zip(batch, made):
                    known = length - unpaid if cache is not None else 0
                    meter.prefilled += len(jobs[index].ids) - known - unpaid
                    meter.shared += known
                    meter.generated += len(tokens) + ended
                    unpaid = 0
                    yield Done(index, tokens, ended, known, seconds)


@torch.inference_mode()
def _prefix(model: Any, ids: list[int]) -> Any:
    """The cache after a prefix; None where the model has none that can be copied and repeated."""
    try:
        known = inspect.signature(model.forward).parameters
        # Of every token, with a large vocabulary, they would be the largest tensor of all.
        few = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        out = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True, **few)
        cache = getattr(out, "cache", None)
        if cache is None:
            cache = getattr(out, "past_key_values", None)
    except (TypeError, ValueError, AttributeError, RuntimeError) as e:
        if out_of_memory(e):
            raise
        return None
    return cache if hasattr(cache, "batch_repeat_interleave") and _attends_only(model) else None


def _attends_only(model: Any) -> bool:
    """Whether all layers are attention: others keep a state, which does not go on from a copy in
    every architecture."""
    kinds = getattr(model.config.get_text_config(decoder=True), "layer_types", None) or ()
    states = ("state_size", "conv_kernel", "mamba_d_state")
    stateful = any(hasattr(model.config, name) for name in states)
    return not stateful and all("attention" in kind and "linear" not in kind for kind in kinds)


def _try(
    model: Any, jobs: Sequence[Job], cache: Any, stop_ids: Collection[int]
) -> list[tuple[list[int], bool, float]] | None:
    """Answers of a batch: tokens, whether they ended, seconds; None: out of memory."""
    try:
        made: list[tuple[list[int], bool, float]] = _batch(model, jobs, cache, stop_ids)
        return made
    except (RuntimeError, MemoryError) as e:
        if not out_of_memory(e):
            raise
    give_back_memory(model.device.type)
    return None


@torch.inference_mode()
def _batch(
    model: Any, jobs: Sequence[Job], cache: Any, stop_ids: Collection[int]
) -> list[tuple[list[int], bool, float]]:
    started = time.monotonic()
    ids = torch.tensor([list(job.ids) for job in jobs], device=model.device)
    prompt = ids.shape[1]
    options: dict[str, Any] = {}
    if steady_length(model) is not None:
        model(input_ids=ids[:1, :1])  # a short pass undoes what a longer batch set ("dynamic")
    if cache is not None:
        own = copy.deepcopy(cache)
        own.batch_repeat_interleave(len(jobs))
        known = inspect.signature(model.forward).parameters
        options["cache" if "cache" in known else "past_key_values"] = own
    config = GenerationConfig(
        max_new_tokens=max(job.max_tokens for job in jobs),
        do_sample=False,
        eos_token_id=sorted(stop_ids) or None,
        pad_token_id=0,
    )
    made = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        logits_processor=LogitsProcessorList([_Choice(jobs, prompt, stop_ids)]),
        **options,
    )
    seconds = time.monotonic() - started
    answers = []
    for row, job in zip(made[:, prompt:].tolist(), jobs):
        tokens = row[: job.max_tokens]
        end = next((i for i, token in enumerate(tokens) if token in stop_ids), None)
        answers.append((tokens if end is None else tokens[:end], end is not None, seconds))
    return answers
