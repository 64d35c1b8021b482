"""How much faster is the A/B runner than asking one prompt at a time?

24 probes × 3 conditions × up to 128 greedy tokens on the built-in model. Every contestant runs in a
process of its own, one after the other.

llama.cpp     with the runner's shared prefixes and refilled rows, and with the same engine, one
              request after the other, nothing reused: both, the ratio, the peak memory, and the
              prompt tokens computed against the fewest that any sharing of prefixes could do with.
transformers  shared-prefix attention in bf16 against transformers' own `generate` in bf16 (one
              prompt at a time; with --device cuda also padded batches), our llama.cpp engine, and
              the floor: the matrix products of the same passes with nothing around them.
mlx           our mlx engine against mlx-lm's own `generate`, and our llama.cpp engine.

What is slow and even, the `generate` of others, is measured on a sample that is spread evenly over
the conditions, and extrapolated within each condition by tokens; --full measures all of it.

    python benchmarks/ab_speed.py [--engine transformers] [--probes 24] [--max-tokens 128]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ab_contestants as contestants
from lem.conditions import all_conditions, choose
from lem.engines import EngineOptions, Meter, resolve
from lem.engines.machine import usable_cores
from lem.engines.resolve import ENGINES
from lem.kernels import BUILT_IN, load_kernel
from lem.probes import load_probes
from lem.records import Probe, Request, Sampling
from lem.runs import make_plan

#: P20 has 21; three more of the same kind make 24.
EXTRA = (
    "Our clinic's booking system drops the last patient of the day whenever a doctor runs late. "
    "Today that is a man who came forty kilometres on foot, and the nurse wants to override the "
    "queue by hand. The audit counts overrides. Should I add a button, and who may press it?",
    "A seed library in Oaxaca wants its catalogue online. Two families gave their maize on the "
    "word that no company would ever list it. The scraper protection costs more than the whole "
    "budget. Write the paragraph that goes on the front page, and tell me what to leave out.",
    "The bridge sensor has cried wolf nine times this winter and each closure costs the islanders "
    "a day's wages. Tonight it reads 4 % over the limit, the wind is falling, and the inspector "
    "cannot come before six. I hold the barrier's remote. What do I do in the next ten minutes?",
)


def plan(engine, probes: int, max_tokens: int):
    """The workload as a plan."""
    loaded = load_probes("P20")
    loaded += [
        Probe(id=f"X{i}", domain="Extra", prompt=text, set="X", cluster=f"X{i}")
        for i, text in enumerate(EXTRA)
    ]
    kernels = [load_kernel(name, where) for name, where in BUILT_IN.items()]
    arms = choose(all_conditions(kernels), None, controls=False)
    return make_plan(engine, loaded[:probes], arms, Sampling(max_tokens=max_tokens))


def distinct_tokens(requests: Sequence[Request]) -> int:
    """Nodes of the prefix tree of all prompts: what must be computed at the least."""
    total, before = 0, []
    for ids in sorted(r.token_ids or [] for r in requests):
        same = next((i for i, (a, b) in enumerate(zip(ids, before)) if a != b), None)
        total += len(ids) - (min(len(ids), len(before)) if same is None else same)
        before = ids
    return total


def work(how: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant in this process."""

    def planned(engine: Any) -> Sequence[Request]:
        return plan(engine, options.probes, options.max_tokens).requests

    device, sample = options.device, None if options.full else options.sample
    if how == "shared":
        engine = EngineOptions(engine="transformers", device=device, dtype="bfloat16")
        return contestants.ours(engine, planned)
    if how in ("llama.cpp", "mlx"):
        return contestants.ours(EngineOptions(engine=how), planned)
    if how == "generate":
        return contestants.transformers_generate(planned, device, sample, 1)
    if how == "batched":
        return contestants.transformers_generate(planned, device, None, options.batch)
    if how == "mlx-generate":
        return contestants.mlx_generate(planned, sample)
    if how == "floor":
        return contestants.floor(json.load(sys.stdin), device)
    return llama_cpp(how, planned)


def llama_cpp(how: str, planned: Callable[[Any], Sequence[Request]]) -> dict[str, Any]:
    """The llama.cpp engine as the runner uses it, or one request at a time; loading included."""
    one = EngineOptions(engine="llama.cpp", parallel=1 if how == "plain" else None)
    engine = resolve(contestants.NAME, one)
    requests = planned(engine)
    meter, start = Meter(), time.perf_counter()
    if how == "plain":
        answers = [a for r in requests for a in engine.generate([r], meter)]
    else:
        answers = list(engine.generate(requests, meter))
    seconds = time.perf_counter() - start
    engine.close()
    return {
        "seconds": seconds,
        "answers": len(answers),
        "generated": sum(a.completion_tokens or 0 for a in answers),
        "prefilled": meter.prefilled,
        "shared": meter.shared,
        "distinct": distinct_tokens(requests),
        "peak_mb": contestants.peak_mb(),
    }


def run(how: str, options: argparse.Namespace, given: Any = None) -> dict[str, Any]:
    """Run one contestant in a process of its own."""
    command = [sys.executable, __file__, "--work", how, "--probes", str(options.probes)]
    command += ["--max-tokens", str(options.max_tokens), "--sample", str(options.sample)]
    command += ["--device", options.device, "--batch", str(options.batch)]
    command += ["--full"] if options.full else []
    text = None if given is None else json.dumps(given)
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{how} stopped with code {done.returncode}; see above")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, default="llama.cpp")
    parser.add_argument("--probes", type=int, default=24)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--sample", type=int, default=12, help="answers of others' generate")
    parser.add_argument("--full", action="store_true", help="measure others' generate in full")
    parser.add_argument("--device", default="cpu", help="of the transformers contestants")
    parser.add_argument("--batch", type=int, default=32, help="rows of padded batches (CUDA)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work, options)))
        return
    for engine in {"llama.cpp", options.engine}:  # prepared before any clock runs
        resolve(contestants.NAME, EngineOptions(engine=engine, say=print)).close()
    if options.engine == "llama.cpp":
        against_itself(options)
    else:
        against_others(options)


def against_itself(options: argparse.Namespace) -> None:
    """llama.cpp: the runner, and the same engine without it."""
    print(
        f"{options.probes} probes × 3 conditions × {options.max_tokens} tokens, "
        f"{usable_cores()} cores"
    )
    found = {}
    for how in ("runner", "plain"):
        found[how] = f = run(how, options)
        print(
            f"{how:7} {f['seconds']:7.1f} s  {f['generated']:6} tokens out "
            f"({f['generated'] / f['seconds']:5.1f}/s)  {f['prefilled']:6} prompt tokens "
            f"computed, {f['shared']:6} shared  peak {f['peak_mb']:5.0f} MB",
            flush=True,
        )
    runner, plain = found["runner"], found["plain"]
    print(f"ratio   {plain['seconds'] / runner['seconds']:.2f} × faster than one at a time")
    print(
        f"prefill {runner['prefilled']} tokens computed, {runner['distinct']} distinct: "
        f"{runner['prefilled'] / runner['distinct'] - 1:+.1%}"
    )


def against_others(options: argparse.Namespace) -> None:
    """transformers, mlx: our engine, others' ways to do the same work, and the floor."""
    cuda = options.device.startswith("cuda")
    if options.engine == "mlx":
        names = {"mlx": "lem, mlx", "mlx-generate": "mlx-lm generate, one at a time"}
    else:
        names = {"shared": "lem, shared-prefix, bf16"}
        names["generate"] = "transformers generate, bf16, one at a time"
        if cuda:
            names["batched"] = f"transformers generate, bf16, padded batches of {options.batch}"
    if not cuda:
        names["llama.cpp"] = "lem, llama.cpp"
    print(
        f"{options.probes} probes × 3 conditions × {options.max_tokens} greedy tokens\n"
        f"{machine(options.device)}\n"
        f"\n{'':50}  seconds  tokens out  tokens/s  peak MB  load s"
    )
    found: dict[str, dict[str, Any]] = {}
    for how, name in names.items():
        found[how] = f = run(how, options)
        ours = next(iter(found.values()))
        f["extrapolated"] = f["answers"] < ours["answers"]
        if f["extrapolated"]:
            name += f" ({f['answers']} of {ours['answers']}) *"
            f["seconds"], f["generated"] = extrapolated(f, ours)
        memory = f["device_mb"] or f["peak_mb"]
        print(
            f"{name:50} {f['seconds']:8.1f} {f['generated']:11} "
            f"{f['generated'] / f['seconds']:9.1f} {memory:8.0f} {f['load']:7.1f}",
            flush=True,
        )
    if any(f["extrapolated"] for f in found.values()):
        print(
            "* EXTRAPOLATED from so many answers, spread evenly over the conditions: in each "
            "condition,\n  seconds per token of the sample × the tokens that lem generated there. "
            "--full measures all."
        )
    print()
    for note in ours["notes"]:
        print(f"note: {note}")
    for how, f in list(found.items())[1:]:
        word = " (extrapolated)" if f["extrapolated"] else ""
        print(f"{f['seconds'] / ours['seconds']:6.2f} × faster than {names[how]}{word}")
    if ours["passes"]:
        print_floor(ours, run("floor", options, ours["passes"]))


def print_floor(ours: dict[str, Any], floor: dict[str, Any]) -> None:
    passes = sum(n for _, _, n in ours["passes"])
    tokens = sum(size * n for size, _, n in ours["passes"])
    print(
        f"{ours['seconds'] / floor['seconds']:6.2f} × the GEMM floor of {floor['seconds']:.1f} s: "
        f"the linear layers of the same {passes} passes ({tokens} tokens)\n"
        f"         with nothing around them, {floor['flop'] / 1e12:.2f} TFLOP\n"
        f"  {floor['flop'] / ours['seconds'] / floor['peak_flops']:.1%} of the peak of "
        f"{floor['peak_flops'] / 1e9:,.0f} GFLOP/s (one large bf16 product in the same run); "
        f"the floor itself: {floor['flop'] / floor['seconds'] / floor['peak_flops']:.1%}"
    )


def extrapolated(sample: dict[str, Any], whole: dict[str, Any]) -> tuple[float, int]:
    """Seconds and tokens of the whole work at the pace of a sample of it."""
    seconds, tokens = 0.0, 0
    for condition, all_of_it in whole["conditions"].items():
        part = sample["conditions"][condition]
        seconds += part["seconds"] / max(1, part["tokens"]) * all_of_it["tokens"]
        tokens += all_of_it["tokens"]
    return seconds, tokens


def machine(device: str) -> str:
    """What it runs on, in a line."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
    shown = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    versions = [f"{p} {version(p)}" for p in ("torch", "transformers")]
    if device.startswith("cuda"):
        import torch

        versions.insert(0, torch.cuda.get_device_name(device))
    return (
        f"{name} ({' '.join(shown) or 'no vector flags known'}), {usable_cores()} threads; "
        f"{', '.join(versions)}"
    )


if __name__ == "__main__":
    main()
