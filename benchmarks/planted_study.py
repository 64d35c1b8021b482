"""Does the report say what was planted?

    python benchmarks/planted_study.py            (about a minute on one core)
    python benchmarks/planted_study.py --studies 10

Each study asks the engine `planted` (see src/lem/engines/planted.py) neutral probes under four
kernels with known effects: one real, one that only lengthens, one that its placebo shares, one
null. A finding is right if it is the one that the truth calls for. The named alternative is what
the published tables did: a difference of means over the baseline, called an effect if it is larger
than half a point.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

from lem.ab import Experiment, run_ab
from lem.bench import builtin_recipes
from lem.stats import wilson

RIGHT = {
    "real": ("content",),
    "length": ("length",),
    "prompt": ("any prompt",),
    "null": ("not shown", "noise"),
}
DATA = builtin_recipes()["planted"].parent
KERNELS = [(name, str(DATA / f"planted-{name}.txt")) for name in RIGHT]
CONDITIONS = ["baseline", "baseline-replicate", *RIGHT, *(f"placebo-{name}" for name in RIGHT)]


def probes(path: Path, count: int) -> Path:
    """So many neutral probes."""
    lines = (
        {"id": f"N{i:04}", "domain": f"D{i % 8}", "prompt": f"Order {i} came in. What comes first?"}
        for i in range(count)
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def study(folder: Path, count: int, seed: int) -> tuple[dict[str, str], dict[str, bool]]:
    """(finding of each kernel, whether the alternative calls it an effect of the kernel)."""
    result = run_ab(
        Experiment(
            model=f"planted:{seed}",
            probes=str(probes(folder / f"p{count}.jsonl", count)),
            kernels=KERNELS,
            conditions=CONDITIONS,
            scorers=["v2"],
        ),
        folder=folder / f"run-{count}-{seed}",
    )
    found = result.analysis.primary
    means = {c.arm: c.effect.mean for c in found.contrasts if c.kind == "kernel" and c.effect}
    return {f.kernel: f.code for f in found.findings}, {k: m > 0.5 for k, m in means.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=40, help="of each size")
    studies = parser.parse_args().studies
    print(f"{studies} studies of each size; share of right findings [95 % Wilson]")
    print(f"{'n':>4} {'planted':8} {'right':>6} {'':14} {'other findings':26} alternative")
    claims, wrongly, arms = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for count in (21, 101):
            codes: dict[str, Counter[str]] = {kernel: Counter() for kernel in RIGHT}
            called: Counter[str] = Counter()
            for seed in range(1, studies + 1):
                findings, effects = study(Path(folder), count, seed)
                for kernel, code in findings.items():
                    codes[kernel][code] += 1
                    called[kernel] += effects[kernel]
            for kernel, right in RIGHT.items():
                if kernel != "real":
                    claims, wrongly = claims + codes[kernel]["content"], wrongly + called[kernel]
                    arms += studies
                hits = sum(codes[kernel].pop(code, 0) for code in right)
                low, high = wilson(hits, studies)
                others = ", ".join(f"{n} × {c}" for c, n in codes[kernel].most_common() if n)
                wrong = "right" if kernel == "real" else "wrong"
                print(
                    f"{count:4} {kernel:8} {hits / studies:6.0%} [{low:4.0%}, {high:4.0%}] "
                    f"  {others:26} {called[kernel]}/{studies} “effect” ({wrong})"
                )
    low, high = wilson(claims, arms)
    print(
        f"Of {arms} arms in which the kernel's content does nothing, the report calls {claims} an "
        f"effect of it [{low:.1%}, {high:.1%}], the alternative {wrongly}."
    )


if __name__ == "__main__":
    main()
