"""What does shared-prefix attention add to what bfloat16 costs anyway?

    python benchmarks/bf16_divergence.py [--probes 8] [--max-tokens 128]

Greedy answers of the built-in model, three ways: transformers' own `generate` in float32 (one
prompt at a time: the yardstick), the same in bfloat16, and shared-prefix attention in bfloat16, all
rows together as in a run. Printed is where answers first differ.

Then the float32 answers are put in the mouth of all three ("teacher forcing"): each computes its
next-token distribution at every token of them, along the path it takes when it generates (prompt,
then token by token, with its own cache). Printed is the Kullback-Leibler divergence from one
distribution to another per token, in nats, and how often the likeliest token is the same.

Shared-prefix attention in float32 is the check on the instrument: it must differ nowhere.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LogitsProcessor, LogitsProcessorList
from transformers.utils import logging

from ab_contestants import NAME
from ab_speed import plan
from lem.engines import EngineOptions, resolve
from lem.engines._torch_load import load_model
from lem.engines.gguf_folder import built_in_folder
from lem.engines.machine import usable_cores
from lem.engines.shared_prefix import Job, generate, obstacle, schedule
from lem.engines.shared_prefix.packing import pack
from lem.records import Request

Answers = list[list[int]]
#: Pairs whose first difference is looked for: (name, one, other).
PAIRS = (
    ("shared fp32  ~ plain fp32", "shared fp32", "plain fp32"),
    ("plain bf16   ~ plain fp32", "plain bf16", "plain fp32"),
    ("shared bf16  ~ plain fp32", "shared bf16", "plain fp32"),
    ("shared bf16  ~ plain bf16", "shared bf16", "plain bf16"),
)


class Forced(LogitsProcessor):
    """Makes `generate` say given tokens, whatever the logits are."""

    def __init__(self, prompt: int, tokens: Sequence[int]) -> None:
        self.prompt, self.tokens = prompt, tokens

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.tokens[input_ids.shape[1] - self.prompt]] = 0
        return forced


@torch.inference_mode()
def plain(model: Any, ids: Sequence[int], most: int, force: Sequence[int] | None = None) -> Any:
    """transformers' own `generate` of one prompt.

    Args:
        force: tokens to say; None: the greedy ones.

    Returns:
        The tokens without the one that ended it, and the raw logits of each step if forced.
    """
    prompt = torch.tensor([ids])
    rules = LogitsProcessorList([] if force is None else [Forced(len(ids), force)])
    ends = model.generation_config.eos_token_id
    made = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=most if force is None else len(force),
        do_sample=False,
        logits_processor=rules,
        eos_token_id=ends if force is None else -1,
        pad_token_id=0,
        output_logits=force is not None,
        return_dict_in_generate=True,
    )
    if force is not None:
        return torch.cat(made.logits)
    tokens = made.sequences[0, len(ids) :].tolist()
    return tokens[:-1] if tokens[-1] in stops(model) else tokens


def load(dtype: str) -> tuple[Any, Any]:
    """The model as transformers loads it, and as lem's engine does."""
    folder = built_in_folder()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    ours = load_model(folder, NAME, "cpu", dtype, None, None)
    why = obstacle(ours)
    if why:
        sys.exit(f"shared-prefix attention does not serve it: {why}")
    pack(ours)
    return theirs, ours


def stops(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends if isinstance(ends, list) else [ends])


def jobs_of(requests: Sequence[Request], lengths: Sequence[int]) -> list[Job]:
    """Their seeds are their numbers: greedy rows draw nothing, and `forced` knows them by it."""
    return [
        Job(r.token_ids or [], r.condition, n, seed=i)
        for i, (r, n) in enumerate(zip(requests, lengths, strict=True))
    ]


def shared(model: Any, jobs: Sequence[Job], rows: int, stop_ids: set[int]) -> Answers:
    done = sorted(generate(model, jobs, rows=rows, stop_ids=stop_ids), key=lambda one: one.job)
    return [answer.tokens for answer in done]


def shared_forced(model: Any, jobs: Sequence[Job], rows: int, answers: Answers) -> list[Tensor]:
    """The logits of every step of given answers, rows filled and refilled as in a run."""
    found: list[list[Tensor]] = [[] for _ in jobs]
    pick = schedule.pick

    def forced(logits: Tensor, some: Sequence[Job], steps: Sequence[int]) -> list[int]:
        for job, row in zip(some, logits, strict=True):
            found[job.seed].append(row.clone())
        return [answers[job.seed][step] for job, step in zip(some, steps, strict=True)]

    schedule.pick = forced  # type: ignore[assignment]
    try:
        for _ in generate(model, jobs, rows=rows):
            pass
    finally:
        schedule.pick = pick
    return [torch.stack(rows_of) for rows_of in found]


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of each row of logits, in nats."""
    a, b = torch.log_softmax(p.double(), -1), torch.log_softmax(q.double(), -1)
    return (a.exp() * (a - b)).sum(-1)


def first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    """Index of the first token that differs, or at which one has ended; None: they are equal."""
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return None if len(a) == len(b) else min(len(a), len(b))


def quantiles(values: Sequence[float], *shares: float) -> list[float]:
    ordered = torch.tensor(list(values), dtype=torch.float64)
    return [float(torch.quantile(ordered, share)) for share in shares]


def print_differences(name: str, one: Answers, other: Answers) -> None:
    at = [first_difference(a, b) for a, b in zip(one, other, strict=True)]
    found = [i for i in at if i is not None]
    same = 1 - len(found) / len(at)
    line = f"{name}   {same:6.0%} identical ({len(at) - len(found)} of {len(at)})"
    if found:
        low, middle, high = quantiles(found, 0.25, 0.5, 0.75)
        line += f"; of the others, first difference at token {middle:.0f} ({low:.0f} to {high:.0f})"
    print(line, flush=True)


def print_divergences(conditions: Sequence[str], kinds: dict[str, list[Any]]) -> None:
    """Mean KL with its standard error over answers, which are what was sampled; then percentiles
    over tokens, and agreement of the likeliest token."""
    print(f"\n{'KL per token, nats':34} {'mean':>9} {'s.e.':>8} {'median':>8} {'99 %':>8}   top-1")
    for place in (*dict.fromkeys(conditions), "all"):
        for name, values in kinds.items():
            mine = [v for v, c in zip(values, conditions, strict=True) if place in (c, "all")]
            means = [float(kl.mean()) for kl, _ in mine]
            tokens = torch.cat([kl for kl, _ in mine])
            top = torch.cat([same for _, same in mine]).double().mean()
            error = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else float("nan")
            median, most = quantiles(tokens.tolist(), 0.5, 0.99)
            print(
                f"{place:9} {name:24} {float(tokens.mean()):9.2e} {error:8.1e} {median:8.1e} "
                f"{most:8.1e}  {float(top):.2%}"
            )


def compared(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    return divergence(p, q), p.argmax(-1) == q.argmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--probes", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--rows", type=int, default=24, help="answers generated together")
    options = parser.parse_args()
    logging.disable_progress_bar()
    torch.set_num_threads(usable_cores())
    planner = resolve(NAME, EngineOptions(engine="llama.cpp", say=print))
    requests = list(plan(planner, options.probes, options.max_tokens).requests)
    planner.close()
    prompts = [r.token_ids or [] for r in requests]
    conditions = [r.condition for r in requests]
    print(
        f"{NAME}: {len(requests)} answers ({options.probes} probes × "
        f"{', '.join(dict.fromkeys(conditions))}), prompts of {min(map(len, prompts))} to "
        f"{max(map(len, prompts))} tokens, up to {options.max_tokens} greedy tokens, "
        f"{options.rows} rows\n{platform.processor() or platform.machine()}, CPU "
        f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}; plain: transformers generate, its default attention (SDPA)",
        flush=True,
    )

    answers: dict[str, Answers] = {}
    models: dict[str, Any] = {}
    limited = jobs_of(requests, [options.max_tokens] * len(requests))
    for short, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        theirs, ours = models[f"plain {short}"], models[f"shared {short}"] = load(dtype)
        answers[f"plain {short}"] = [
            plain(theirs, ids, options.max_tokens) for ids in told(prompts, f"plain {short}")
        ]
        answers[f"shared {short}"] = shared(ours, limited, options.rows, stops(theirs))
    tokens = sum(map(len, answers["plain fp32"]))
    print(f"{tokens} tokens in the float32 answers\n")
    for name, one, other in PAIRS:
        print_differences(name, answers[one], answers[other])

    said = answers["plain fp32"]
    kept = [i for i, answer in enumerate(said) if answer]  # an empty one has nothing to force
    said, requests = [said[i] for i in kept], [requests[i] for i in kept]
    jobs = jobs_of(requests, [len(answer) for answer in said])
    ours = shared_forced(models["shared bf16"], jobs, options.rows, said)
    ours_exact = shared_forced(models["shared fp32"], jobs, options.rows, said)
    kinds: dict[str, list[Any]] = {
        "fp32 to shared fp32": [],
        "fp32 to plain bf16": [],
        "fp32 to shared bf16": [],
        "plain to shared bf16": [],
    }
    for i in told(range(len(said)), "teacher forcing"):
        ids = requests[i].token_ids or []
        truth = plain(models["plain fp32"], ids, 0, said[i])
        theirs = plain(models["plain bf16"], ids, 0, said[i])
        pairs = ((truth, ours_exact[i]), (truth, theirs), (truth, ours[i]), (theirs, ours[i]))
        for values, pair in zip(kinds.values(), pairs, strict=True):
            values.append(compared(*pair))
    print_divergences([conditions[i] for i in kept], kinds)
    added = [
        float(ours.mean() - theirs.mean())
        for (theirs, _), (ours, _) in zip(kinds["fp32 to plain bf16"], kinds["fp32 to shared bf16"])
    ]
    error = statistics.stdev(added) / len(added) ** 0.5 if len(added) > 1 else float("nan")
    print(
        f"\nSharing adds {statistics.mean(added):+.1e} ± {error:.1e} nats per token to what "
        f"bfloat16 costs (mean over {len(added)} answers ± s.e., paired).\n"
        "'a to b' is KL(a || b) of the next-token distributions at every token of the float32 "
        "answers; s.e. over answers."
    )


def told(items: Any, what: str) -> Iterator[Any]:
    """The items; how far it is goes to the terminal."""
    start = time.monotonic()
    for i, item in enumerate(items):
        yield item
        seconds = time.monotonic() - start
        print(f"\r{what}: {i + 1} of {len(items)}, {seconds:.0f} s ", end="", file=sys.stderr)
    print(file=sys.stderr)


if __name__ == "__main__":
    main()
