"""How much faster is the A/B runner than asking one prompt at a time?

24 probes × 3 conditions × up to 128 greedy tokens on the built-in model, twice, each in a process
of its own: with the runner's shared prefixes and refilled rows, and with the same engine, one
request after the other, nothing reused. Prints both, the ratio, the peak memory, and the prompt
tokens computed against the fewest that any sharing of prefixes could do with.

    python benchmarks/ab_speed.py [--probes 24] [--max-tokens 128]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

from lem.conditions import all_conditions, choose
from lem.engines import EngineOptions, Meter, resolve
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


def work(how: str, probes: int, max_tokens: int) -> dict[str, float]:
    """Run the workload one way and measure it."""
    engine = resolve("smollm2-135m", EngineOptions(parallel=1 if how == "plain" else None))
    requests = plan(engine, probes, max_tokens).requests
    meter, start = Meter(), time.perf_counter()
    if how == "plain":
        answers = [a for r in requests for a in engine.generate([r], meter)]
    else:
        answers = list(engine.generate(requests, meter))
    seconds = time.perf_counter() - start
    engine.close()
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kilobytes here
    return {
        "seconds": seconds,
        "answers": len(answers),
        "generated": sum(a.completion_tokens or 0 for a in answers),
        "prefilled": meter.prefilled,
        "shared": meter.shared,
        "distinct": distinct_tokens(requests),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=24)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--work", choices=("runner", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work, options.probes, options.max_tokens)))
        return
    resolve("smollm2-135m", EngineOptions(say=print)).close()  # prepared before any clock runs
    print(
        f"{options.probes} probes × 3 conditions × {options.max_tokens} tokens, "
        f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else '?'} cores"
    )
    found = {}
    for how in ("runner", "plain"):
        command = [sys.executable, __file__, "--work", how, "--probes", str(options.probes)]
        command += ["--max-tokens", str(options.max_tokens)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[how] = f = json.loads(done.stdout)
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


if __name__ == "__main__":
    main()
