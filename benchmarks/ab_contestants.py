"""The contestants of `ab_speed.py`: each is run in a process of its own and returns what it took.

Weights are loaded, and one token is generated, before a contestant's clock starts; what that took
is returned as ``load``.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from lem.engines import EngineOptions, Meter, resolve
from lem.engines.machine import usable_cores
from lem.records import Request

NAME = "smollm2-135m"

Found = dict[str, Any]
Plan = Callable[[Any], Sequence[Request]]


def peak_mb() -> float:
    """The most memory this process had."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kilobytes here
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def spread(requests: Sequence[Request], count: int | None) -> list[Request]:
    """So many requests, as many of each condition, evenly spaced among its probes; None: all."""
    if count is None or count >= len(requests):
        return list(requests)
    conditions: dict[str, list[Request]] = {}
    for request in requests:
        conditions.setdefault(request.condition, []).append(request)
    each = max(1, count // len(conditions))
    return [same[i * len(same) // each] for same in conditions.values() for i in range(each)]


def by_condition(requests: Sequence[Request], answers: Sequence[tuple[int, float]]) -> Found:
    """Answers, tokens and seconds of each condition.

    Args:
        answers: (tokens, seconds) of each request.
    """
    found: Found = {}
    for request, (tokens, seconds) in zip(requests, answers, strict=True):
        one = found.setdefault(request.condition, {"answers": 0, "tokens": 0, "seconds": 0.0})
        one["answers"] += 1
        one["tokens"] += tokens
        one["seconds"] += seconds
    return found


# ---------------------------------------------------------------------------- lem's own engines


def ours(options: EngineOptions, plan: Plan) -> Found:
    """One of lem's engines on the whole work. Of the shared-prefix engine also what it computed:
    how often a pass had so many tokens and so many rows of logits."""
    passes: Counter[tuple[int, int]] = Counter()
    if options.engine == "transformers":
        _count_passes(passes)
    begin = time.perf_counter()
    engine = resolve(NAME, options)
    requests = list(plan(engine))
    short = requests[0].sampling.model_copy(update={"max_tokens": 1})
    list(engine.generate([requests[0].model_copy(update={"sampling": short})], Meter()))
    passes.clear()
    meter, start = Meter(), time.perf_counter()
    answers = {a.key: a for a in engine.generate(requests, meter)}
    seconds = time.perf_counter() - start
    engine.close()
    counts = [(answers[r.key].completion_tokens or 0, 0.0) for r in requests]
    return {
        "seconds": seconds,
        "load": start - begin,
        "answers": len(answers),
        "generated": sum(tokens for tokens, _ in counts),
        "conditions": by_condition(requests, counts),
        "prefilled": meter.prefilled,
        "passes": [[*shape, n] for shape, n in sorted(passes.items())],
        "notes": engine.info.notes,
        "peak_mb": peak_mb(),
        "device_mb": device_mb(options.device),
    }


def _count_passes(passes: Counter[tuple[int, int]]) -> None:
    from lem.engines.shared_prefix import schedule

    forward = schedule.forward

    def counted(model: Any, store: Any, step: Any) -> Any:
        passes[step.size, len(step.last)] += 1
        return forward(model, store, step)

    schedule.forward = counted


def device_mb(device: str | None) -> float:
    """The most memory of the accelerator that this process's tensors had; 0 without one."""
    if not (device or "").startswith("cuda"):
        return 0.0
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e6


# ----------------------------------------------------------------------------- the alternatives


def _transformers_model(device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from lem.engines.gguf_folder import built_in_folder

    logging.disable_progress_bar()
    torch.set_num_threads(usable_cores())
    model = AutoModelForCausalLM.from_pretrained(built_in_folder(), dtype=torch.bfloat16)
    return model.to(device).eval()


def _batch(model: Any, requests: Sequence[Request], most: int) -> list[int]:
    """Answers of one padded batch, made by transformers' `generate`: tokens of each."""
    import torch

    prompts = [list(r.token_ids or []) for r in requests]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts], device=model.device)
    real = torch.tensor(
        [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device
    )
    end = model.generation_config.eos_token_id
    ends = set(end if isinstance(end, list) else [end])
    with torch.inference_mode():
        made = model.generate(
            ids, attention_mask=real, max_new_tokens=most, do_sample=False, pad_token_id=min(ends)
        )
    counts = []
    for row in made[:, longest:].tolist():
        at = next((i for i, token in enumerate(row) if token in ends), len(row))
        counts.append(at)
    return counts


def transformers_generate(plan: Plan, device: str, sample: int | None, rows: int) -> Found:
    """transformers' own `generate` in bf16: prompts one after another (rows 1), or padded batches
    of prompts of like length. Nothing is reused from one call to the next.

    Args:
        sample: requests that are measured; None: all.
        rows: prompts in a batch.
    """
    begin = time.perf_counter()
    model = _transformers_model(device)
    planner = resolve(NAME, EngineOptions(engine="transformers"))
    requests = spread(plan(planner), sample)
    planner.close()
    if rows > 1:
        requests.sort(key=lambda r: len(r.token_ids or []))
    most = requests[0].sampling.max_tokens
    _batch(model, requests[:1], 1)
    start = time.perf_counter()
    answers: list[tuple[int, float]] = []
    for at in range(0, len(requests), rows):
        batch, before = requests[at : at + rows], time.perf_counter()
        counts = _batch(model, batch, most)
        each = (time.perf_counter() - before) / len(batch)
        answers += [(count, each) for count in counts]
    return _measured(requests, answers, begin, start, device)


def mlx_generate(plan: Plan, sample: int | None) -> Found:
    """mlx-lm's own `generate`, one prompt after another, nothing reused."""
    import mlx_lm

    from lem.engines.gguf_folder import built_in_folder

    begin = time.perf_counter()
    model, tokenizer = mlx_lm.load(str(built_in_folder()))
    planner = resolve(NAME, EngineOptions(engine="mlx"))
    requests = spread(plan(planner), sample)
    planner.close()

    def answer(request: Request, most: int) -> int:
        ids = list(request.token_ids or [])
        made = list(mlx_lm.stream_generate(model, tokenizer, prompt=ids, max_tokens=most))
        return len(made) - (made[-1].finish_reason == "stop")

    answer(requests[0], 1)
    start = time.perf_counter()
    answers: list[tuple[int, float]] = []
    for request in requests:
        before = time.perf_counter()
        tokens = answer(request, request.sampling.max_tokens)
        answers.append((tokens, time.perf_counter() - before))
    return _measured(requests, answers, begin, start, "cpu")


def _measured(
    requests: Sequence[Request],
    answers: Sequence[tuple[int, float]],
    begin: float,
    start: float,
    device: str,
) -> Found:
    return {
        "seconds": time.perf_counter() - start,
        "load": start - begin,
        "answers": len(answers),
        "generated": sum(tokens for tokens, _ in answers),
        "conditions": by_condition(requests, answers),
        "peak_mb": peak_mb(),
        "device_mb": device_mb(device),
    }


# ------------------------------------------------------------------------------------ the floor


def floor(passes: Sequence[Sequence[int]], device: str) -> Found:
    """The matrix products of the linear layers alone, for the passes that the engine ran.

    Every pass of so many tokens is multiplied with every weight of the model, in bf16, once as
    `torch.nn.functional.linear` and once (CPU) with weights packed by oneDNN for that many rows;
    the quicker of the two counts, at its best of three. Attention is not in it.

    Args:
        passes: (tokens, rows of logits, how often).
    """
    import torch
    from torch import Tensor

    model = _transformers_model(device)
    head = model.get_output_embeddings().weight.detach()
    layers = [
        (m.weight.detach(), None if m.bias is None else m.bias.detach())
        for m in model.modules()
        if isinstance(m, torch.nn.Linear) and m.weight is not model.get_output_embeddings().weight
    ]
    linear = torch.nn.functional.linear
    packs: dict[int, list[Any]] = {}

    def inputs(rows: int) -> dict[int, Tensor]:
        widths = {w.shape[1] for w, _ in (*layers, (head, None))}
        return {n: torch.randn(rows, n, device=device, dtype=torch.bfloat16) for n in widths}

    def plain(weights: Sequence[tuple[Tensor, Tensor | None]], rows: int) -> None:
        x = inputs_of[rows]
        for weight, bias in weights:
            linear(x[weight.shape[1]], weight, bias)

    def packed(weights: Sequence[tuple[Tensor, Tensor | None]], rows: int) -> None:
        x = inputs_of[rows]
        for (weight, bias), pack in zip(weights, packs[rows]):
            torch.ops.mkldnn._linear_pointwise(x[weight.shape[1]], pack, bias, "none", [], "")

    def best(how: Callable[..., None], *arguments: Any) -> float:
        times = []
        for _ in range(4):  # the first warms up
            if device != "cpu":
                torch.cuda.synchronize()
            start = time.perf_counter()
            how(*arguments)
            if device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return min(times[1:])

    def seconds(weights: Sequence[tuple[Tensor, Tensor | None]], rows: int) -> float:
        found = best(plain, weights, rows)
        if device == "cpu" and torch.backends.mkldnn.is_available():
            packs[rows] = [torch.ops.mkldnn._reorder_linear_weight(w, rows) for w, _ in weights]
            found = min(found, best(packed, weights, rows))
            packs.clear()
        return found

    with torch.inference_mode():
        inputs_of: dict[int, dict[int, Tensor]] = {}
        body: dict[int, float] = {}
        ends: dict[int, float] = {}
        for tokens, logits, _ in passes:
            for rows, weights, known in ((tokens, layers, body), (logits, [(head, None)], ends)):
                if rows not in known:
                    inputs_of[rows] = inputs(rows)
                    known[rows] = seconds(weights, rows)
                    inputs_of.clear()
        values = sum(w.numel() for w, _ in layers)
        return {
            "seconds": sum((body[t] + ends[n]) * count for t, n, count in passes),
            "flop": sum(2 * (values * t + head.numel() * n) * count for t, n, count in passes),
            "peak_flops": _peak(device),
        }


def _peak(device: str) -> float:
    """FLOP a second of one large bf16 matrix product, the best of several."""
    import torch

    cuda = device.startswith("cuda")
    size = 8192 if cuda else 2048
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    ways: list[Callable[[], Any]] = [lambda: torch.nn.functional.linear(a, b)]
    if not cuda and torch.backends.mkldnn.is_available():
        pack = torch.ops.mkldnn._reorder_linear_weight(b, size)
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(a, pack, None, "none", [], ""))
    best = float("inf")
    for way in ways * 8:
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(4):
            way()
        if cuda:
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - start) / 4)
    return 2 * size**3 / best
