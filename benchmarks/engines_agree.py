"""Do the engines agree? One A/B for each, on the same weights, compared answer by answer.

The built-in model answers P20 under baseline, json and txt, greedily, through every engine. The
weights are the same; the arithmetic is not (16-bit floats of two kinds, 32-bit floats, sums in
another order), and a greedy answer goes another way at the first near-tie. What such a turn does to
the v2 score by itself is the noise floor here: llama.cpp against llama.cpp with another number of
rows, where nothing differs but the order of sums.

    python benchmarks/engines_agree.py [--max-tokens 64] [--limit 21] [--folder DIR]

Prints a Markdown table: mean difference of the v2 score from the reference with its 95 % interval
(units: probes, each the mean of its conditions), the share of identical answers, and whether the
mean is within the noise floor. Runs that are in --folder are not made again, and not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lem.engines.builtin import built_in_model
from lem.records import Response
from lem.runs import read_responses
from lem.scorers import v2
from lem.stats import noise_floor, paired_effect, within_noise

REFERENCE, AGAIN = "transformers, float32", "llama.cpp, 5 rows"
FLOOR_OF = "llama.cpp"
#: Name -> options of `lem ab`; URL stands for the address of the server.
ENGINES = {
    REFERENCE: ["--engine", "transformers", "--dtype", "float32"],
    "transformers, bfloat16": ["--engine", "transformers", "--dtype", "bfloat16"],
    FLOOR_OF: ["--engine", "llama.cpp"],
    AGAIN: ["--engine", "llama.cpp", "--parallel", "5"],
    "mlx, float32": ["--engine", "mlx", "--dtype", "float32"],
    "llama.cpp's server": ["--model", "openai:smollm2-135m", "--base-url", "URL"],
}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """llama.cpp's own HTTP server with the built-in model."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(built_in_model())
    params.n_parallel, params.n_ctx = 4, 4 * 4096
    params.verbosity, params.warmup, params.cache_ram_mib = 0, False, 0
    made = xllamacpp.Server(params)
    yield f"{made.listening_address}/v1"
    del made


def run(name: str, options: list[str], folder: Path, common: list[str]) -> float:
    """One A/B in a process of its own; returns its seconds."""
    with server() if "URL" in options else contextlib.nullcontext("") as url:
        chosen = [url if option == "URL" else option for option in options]
        command = [sys.executable, "-m", "lem", "ab", *chosen, "--run", str(folder), *common]
        start = time.perf_counter()
        done = subprocess.run([*command, "--quiet"], stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        return time.perf_counter() - start


def answers(folder: Path) -> dict[tuple[str, str], Response]:
    return {(r.condition, r.probe): r for r in read_responses(folder)}


def compared(
    one: dict[tuple[str, str], Response], other: dict[tuple[str, str], Response]
) -> tuple[object, float]:
    """The paired difference of the v2 scores, and the share of identical answers."""
    places = sorted(one)
    assert places == sorted(other), "the runs do not hold the same probes and conditions"

    def score(response: Response) -> float:
        return float(v2.score(response.final).lek_score)

    differences = [score(one[p]) - score(other[p]) for p in places]
    same = sum(one[p].final == other[p].final for p in places) / len(places)
    return paired_effect(differences, [probe for _, probe in places]), same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--limit", type=int, default=21)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = asked.folder or Path(temporary)
        common = ["--limit", str(asked.limit), "--max-tokens", str(asked.max_tokens)]
        found, seconds = {}, {}
        for name, options in ENGINES.items():
            folder = place / name.replace(", ", "-").replace(" ", "-").replace("'", "")
            there = folder.exists()
            took = run(name, options, folder, common)
            seconds[name] = "–" if there else f"{took:.0f}"
            found[name] = answers(folder)
            print(f"{name}: {len(found[name])} answers, {seconds[name]} s", file=sys.stderr)
    floor = noise_floor(compared(found[AGAIN], found[FLOOR_OF])[0])
    n = asked.limit
    print(f"v2, {n} probes × 3 conditions, at most {asked.max_tokens} tokens, greedy. ", end="")
    print(f"Noise floor ({AGAIN} − {FLOOR_OF}): {floor:.2f} points.\n")
    print("| engine | v2 − reference | 95 % | identical answers | within the floor | seconds |")
    print("|---|---|---|---|---|---|")
    for name in ENGINES:
        effect, same = compared(found[name], found[REFERENCE])
        if name == REFERENCE:
            print(f"| {name} (reference) | | | | | {seconds[name]} |")
            continue
        within = "yes" if within_noise(effect.mean, floor) else "no"
        cells = (
            name,
            f"{effect.mean:+.2f}",
            f"{effect.low:+.2f} … {effect.high:+.2f}",
            f"{same:.0%}",
            within,
            seconds[name],
        )
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
