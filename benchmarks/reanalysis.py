"""What the published averages of the 29-model study can carry, and the figure made of them.

    python benchmarks/reanalysis.py [--figure docs/figures/reanalysis.svg] [--no-figure]

Reads published.json and the recipes beside it. Every line that begins with ``doc:`` is
a part of a sentence or a table row of docs/reanalysis.md; a test holds the two together.

Where only averages are on record the scatter of the paired differences has to come from somewhere:

- P100: from the stored category means. With m_k the mean difference of category k over n_k probes,
  sum(n_k (m_k - m)^2) / (K - 1) estimates the variance of one probe's difference. If
  categories truly differ it errs high. Its t quantiles have K - 1 degrees of freedom.
- P20: assumed, 6 points, which is typical of the P100 pairs. Twelve P20 pairs can be estimated from
  stored category means; their range is printed.

Detectable effect: the smallest true difference that a two-sided paired t test finds with 80 %
power; for k tests at 0.05 / k, which Holm's procedure starts from.

The figure needs matplotlib; it is byte-identical on every rebuild with one version of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Any

import yaml
from scipy import stats

from lem.stats import detectable, holm

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "src" / "lem" / "bench" / "data" / "published.json"
FIGURE = ROOT / "docs" / "figures" / "reanalysis.svg"
ASSUMED_SD = 6.0
KERNELS = ("json", "txt")
HEADLINE = "LEK-Gemma3 1B v1"
GEMMA3 = ("Gemma 3 4B", "Gemma 3 12B", "Gemma 3 27B")

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Effect:
    """A mean paired difference with the scatter that was assumed or estimated for it."""

    label: str
    mean: float
    sd: float
    n: int
    df: int

    @property
    def half(self) -> float:
        """Half the width of the 95 % interval."""
        return float(stats.t.ppf(0.975, self.df)) * self.sd / math.sqrt(self.n)

    @property
    def p(self) -> float:
        """Two-sided."""
        return 2 * float(stats.t.sf(abs(self.mean) / (self.sd / math.sqrt(self.n)), self.df))

    @property
    def interval(self) -> str:
        return f"{signed(self.mean - self.half)} to {signed(self.mean + self.half)}"


def signed(x: float, digits: int = 2) -> str:
    """+1.50, −0.28."""
    return f"{x:+.{digits}f}".replace("-", "−")


def p_text(p: float) -> str:
    return (
        f"{p:.2f}" if p >= 0.01 else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}".replace("e-0", "e-")
    )


def load() -> Json:
    data: Json = json.loads(DATA.read_text(encoding="utf-8"))
    data["by_name"] = {m["name"]: m for m in data["models"]}
    return data


def from_categories(label: str, differences: dict[str, float], sizes: dict[str, int]) -> Effect:
    """The mean and the scatter that category means imply."""
    n = sum(sizes[c] for c in differences)
    mean = sum(sizes[c] * d for c, d in differences.items()) / n
    df = len(differences) - 1
    sd = math.sqrt(sum(sizes[c] * (d - mean) ** 2 for c, d in differences.items()) / df)
    return Effect(label, mean, sd, n, df)


Arm = tuple[str, str]


def compare(data: Json, plus: list[Arm], minus: list[Arm], which: str, label: str) -> Effect:
    """Sum of the arms in `plus` minus sum of those in `minus`; an arm is (model, condition)."""
    runs = {m: data["by_name"][m][which]["stored"] for m, _ in plus + minus}
    first = next(iter(runs.values()))["categories"]
    differences = {
        c: sum(runs[m]["categories"][c][k] for m, k in plus)
        - sum(runs[m]["categories"][c][k] for m, k in minus)
        for c in first
    }
    small = min(run["n"] for run in runs.values())
    key = "P20_21" if which == "P20" and small == 21 else which
    return from_categories(label, differences, data["category_sizes"][key])


def kernel_deltas(data: Json) -> list[tuple[str, str, Effect]]:
    """All printed P20 kernel deltas with the assumed scatter."""
    found = []
    for model in data["models"]:
        n = model["P20"]["stored"]["n"]
        for kernel in KERNELS:
            mean = model["P20"]["document"][f"{kernel}_delta"]
            found.append((model["name"], kernel, Effect(kernel, mean, ASSUMED_SD, n, n - 1)))
    return found


def p100_kernel_effects(data: Json) -> list[tuple[str, str, Effect]]:
    found = []
    for name in ("Gemma 3 4B", "Gemma 3 12B", "Gemma 3 27B", "Qwen3 8B", HEADLINE):
        for kernel in KERNELS:
            pair = ([(name, kernel)], [(name, "baseline")])
            found.append((name, kernel, compare(data, *pair, "P100", f"{name}: {kernel}")))
    return found


def comparisons(data: Json) -> list[Effect]:
    """The model comparisons that the headlines rest on."""
    lek1, lek4 = [(HEADLINE, "baseline")], [("LEK-Gemma3 4B", "baseline")]
    rows = [(lek1, [(m, "baseline")], f"LEK-1B − {m[8:]}") for m in GEMMA3]
    rows += [(lek4, [(m, "baseline")], f"LEK-4B − {m[8:]}") for m in GEMMA3]
    rows.append(([(GEMMA3[0], "baseline")], [(GEMMA3[2], "baseline")], "4B − 27B"))
    rows += [(lek1, [(m, "json")], f"LEK-1B − {m[8:]} with json") for m in GEMMA3]
    found = [compare(data, plus, minus, "P100", label) for plus, minus, label in rows]
    for kernel in KERNELS:
        for m in GEMMA3:
            plus = [(HEADLINE, kernel), (m, "baseline")]
            minus = [(HEADLINE, "baseline"), (m, kernel)]
            label = f"{kernel} effect, LEK-1B − {m[8:]}"
            found.append(compare(data, plus, minus, "P100", label))
    return found


def across(values: list[float]) -> str:
    """Mean over models with a t interval that takes the models as the sample."""
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return f"{signed(mean)} ({signed(mean - half)} to {signed(mean + half)})"


def say_p20(data: Json) -> None:
    """Counts over the printed P20 kernel deltas."""
    deltas = kernel_deltas(data)
    one, many = detectable(ASSUMED_SD, 20), detectable(ASSUMED_SD, 20, tests=len(deltas))
    size = [abs(e.mean) for *_, e in deltas]
    print(f"doc: {len(data['models'])} models, {len(deltas)} kernel deltas")
    print(f"doc: {one:.1f} points for one test and {many:.1f} for {len(deltas)}")
    beyond_one = sum(d > one for d in size)
    beyond_many = sum(d > many for d in size)
    print(
        f"doc: {beyond_one} of {len(deltas)} exceed {one:.1f} and {beyond_many} exceed {many:.1f}"
    )
    clear = sum(abs(e.mean) > e.half for *_, e in deltas)
    print(f"doc: {clear} of {len(deltas)} intervals exclude zero")
    print(f"doc: the median size of a printed delta is {statistics.median(size):.2f}")
    estimated = [
        compare(data, [(m["name"], k)], [(m["name"], "baseline")], "P20", k).sd
        for m in data["models"]
        if "categories" in m["P20"]["stored"]
        for k in KERNELS
    ]
    low, high, mid = min(estimated), max(estimated), statistics.median(estimated)
    print(f"doc: {len(estimated)} P20 pairs gives {low:.1f} to {high:.1f}, median {mid:.1f}")
    for sd in (4.0, 10.0):
        beyond = sum(d > detectable(sd, 20) for d in size)
        many_sd = sum(d > detectable(sd, 20, tests=len(deltas)) for d in size)
        print(f"doc: with an SD of {sd:.0f}, {beyond} for one test and {many_sd} for {len(deltas)}")
    answers = sum(3 * m["P20"]["stored"]["n"] for m in data["models"])
    answers += sum(
        m["P100"]["stored"]["n"] * sum(m["P100"]["stored"][k] is not None for k in ARMS)
        for m in data["models"]
        if m["P100"]
    )
    print(f"doc: {answers:,} stored answers")
    n20 = sum(m["P20"]["stored"]["n"] == 20 for m in data["models"])
    v2 = sum(m["P20"]["stored"]["scorer"] == "v2" for m in data["models"])
    print(f"doc: {n20} of the {len(data['models'])} stored P20 files hold 20 probes")
    print(f"doc: {v2} of the {len(data['models'])} P20 files hold v2 scores")


ARMS = ("baseline", *KERNELS)


def say_disagreements(data: Json) -> None:
    gaps = []
    for m in data["models"]:
        run = m["P20"]
        if run["stored"]["scorer"] == "v2":
            gaps += [abs(run["document"][k] - run["stored"][k]) for k in KERNELS]
    apart = sorted(g for g in gaps if g > 0.005)
    print(f"doc: {len(apart)} of {len(gaps)} kernel averages differ")
    print(
        f"doc: by {apart[0]:.2f} to {apart[-1]:.2f} points, median {statistics.median(apart):.2f}"
    )
    for m in data["models"]:
        run = m["P20"]
        if run["stored_disagrees"]:
            cells = []
            for k in KERNELS:
                for where in ("document", "stored"):
                    delta = run[where][k] - run[where]["baseline"]
                    cells.append(signed(delta))
            print(f"doc: | {m['name']} | {' | '.join(cells)} |")


def say_families(data: Json) -> None:
    """What the models as a sample say: kernels, size, tuning, resistance."""
    by_name = data["by_name"]
    base = [m for m in data["models"] if not m["tuned_from"]]
    tuned = [m for m in data["models"] if m["tuned_from"]]

    def delta(m: Json, k: str) -> float:
        return float(m["P20"]["document"][f"{k}_delta"])

    for k in KERNELS:
        up = sum(delta(m, k) > 0 for m in base)
        mean = across([delta(m, k) for m in base])
        print(f"doc: {k} rises in {up} of {len(base)} untuned models, mean {mean}")
    every = [delta(m, k) for m in tuned for k in KERNELS]
    print(f"doc: {sum(d < 0 for d in every)} of the {len(every)} tuned kernel deltas are negative")
    for k in KERNELS:
        gap = [delta(m, k) - delta(by_name[m["tuned_from"]], k) for m in tuned]
        negative = sum(g < 0 for g in gap)
        print(f"doc: {k} {negative} of {len(gap)} negative, mean {across(gap)}")
    one, many = (detectable(ASSUMED_SD * math.sqrt(2), 20, tests=k) for k in (1, 2 * len(tuned)))
    print(f"doc: {one:.1f} points for one test, {many:.1f} for {2 * len(tuned)}")
    for m in tuned:
        gaps = [signed(delta(m, k) - delta(by_name[m["tuned_from"]], k)) for k in KERNELS]
        own = [signed(delta(m, k)) for k in KERNELS]
        print(f"doc: | {m['name']} | {own[0]} | {own[1]} | {gaps[0]} | {gaps[1]} |")

    def level(m: Json) -> float:
        return float(m["P20"]["document"]["baseline"])

    gain = [level(m) - level(by_name[m["tuned_from"]]) for m in tuned]
    up = sum(g > 0 for g in gain)
    sign = stats.binomtest(up, len(gain)).pvalue
    print(f"doc: {up} of {len(gain)} gains are positive (sign test p {p_text(sign)})")
    print(f"doc: mean gain {across(gain)}")
    one, many = detectable(ASSUMED_SD, 20), detectable(ASSUMED_SD, 20, tests=len(gain))
    above = sum(abs(g) > one for g in gain), sum(abs(g) > many for g in gain)
    print(f"doc: {above[0]} of {len(gain)} exceed {one:.1f}, {above[1]} exceeds {many:.1f}")
    rho = stats.spearmanr([m["size"] for m in base], [level(m) for m in base]).statistic
    print(f"doc: between size and baseline is {signed(rho)} over {len(base)} untuned models")
    for k in KERNELS:
        rho = stats.spearmanr([m["size"] for m in base], [delta(m, k) for m in base])
        print(f"doc: {k} {signed(rho.statistic)} (p {p_text(rho.pvalue)})")
    for new, old in (("Mistral 7B v0.2", "Mistral 7B v0.1"), ("Qwen 2 7B", "Qwen 1.5 7B")):
        e = compare(data, [(new, "baseline")], [(old, "baseline")], "P20", new)
        print(f"doc: {signed(e.mean)} ({e.interval}, SD {e.sd:.1f}, n = {e.n}, p {p_text(e.p)})")


def say_p100(data: Json) -> None:
    effects = p100_kernel_effects(data)
    for (name, kernel, e), adjusted in zip(effects, holm([e.p for *_, e in effects])):
        counts = data["by_name"][name]["P100"]["stored"]["counts"][kernel]
        up, down = counts["improved"], counts["regressed"]
        sign = stats.binomtest(up, up + down).pvalue
        print(
            f"doc: | {name} {kernel} | {signed(e.mean)} | {e.sd:.1f} | {e.interval} "
            f"| {p_text(e.p)} | {p_text(adjusted)} | {up} / {down} | {p_text(sign)} |"
        )
    for e in comparisons(data):
        row = f"{signed(e.mean)} | {e.sd:.1f} | {e.interval} | {p_text(e.p)} |"
        print(f"doc: | {e.label} | {row}")
    for name in (*GEMMA3, "Qwen3 8B", HEADLINE):
        e = compare(data, [(name, "json")], [(name, "txt")], "P100", name)
        print(f"doc: | {name} | {signed(e.mean)} | {e.sd:.1f} | {e.interval} | {p_text(e.p)} |")
    seven = holm([e.p for e in comparisons(data)[:7]])
    print(f"doc: p {p_text(seven[2])} after Holm over the seven")
    sds = [e.sd for e in comparisons(data)[:10]] + [e.sd for *_, e in effects]
    print(f"doc: SD from {min(sds):.1f} to {max(sds):.1f}, median {statistics.median(sds):.1f}")
    needed = (
        math.ceil((2.8016 * comparisons(data)[0].sd / comparisons(data)[0].mean) ** 2 / 10) * 10
    )
    print(f"doc: about {needed} probes")
    card = data["card_grammar_v3"]["distillation"]
    share = stats.binomtest(card["positive_uplift"], card["n"]).proportion_ci(method="wilson")
    print(
        f"doc: 238 of 244 (Wilson interval {share.low:.1%} to {share.high:.1%})".replace("%", " %")
    )


def designs(data: Json) -> dict[str, tuple[float, int]]:
    """Recipe -> (paired SD assumed for its primary contrast, primary tests)."""
    kernel = round(statistics.median(e.sd for *_, e in p100_kernel_effects(data)), 1)
    return {
        "settle-1b-beats-27b": (6.0, 8),
        "settle-kernel-content": (kernel, 8),
        "settle-realignment-resistance": (10.0, 10),
        "settle-family-lineages": (10.0, 8),
        "settle-scale": (6.0, 9),
        "settle-tuning": (6.0, 9),
        "settle-grammar-card": (1.0, 1),
    }


def say_designs(data: Json) -> None:
    """Size and detectable effect of the shipped recipes, at 101 and at 303 probes."""
    doubles = [e.sd for e in comparisons(data)[-6:]]
    print(f"doc: {min(doubles):.1f} to {max(doubles):.1f}, median {statistics.median(doubles):.1f}")
    for name, (sd, tests) in designs(data).items():
        recipe = yaml.safe_load((DATA.parent / f"{name}.yaml").read_text(encoding="utf-8"))
        arms = len(recipe["conditions"] or ()) if "conditions" in recipe else 9
        arms += recipe["replicate"]
        models, samples = len(recipe["models"]), recipe["samples"]
        answers = models * arms * 101 * samples
        few, more = detectable(sd, 101, tests=tests), detectable(sd, 303, tests=tests)
        points = f"{few:.1f} ({more:.1f})"
        if sd == 1.0:
            points = f"{few:.2f} sd ({more:.2f} sd)"
        size = f"{models} × {arms} × 101 × {samples} = {answers:,}"
        scatter = f"{sd:.1f}" if sd != 1.0 else "unknown"
        print(f"doc: | `{name}` | {size} | {tests} | {scatter} | {points} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--no-figure", action="store_true")
    options = parser.parse_args()
    data = load()
    say_p20(data)
    say_disagreements(data)
    say_p100(data)
    say_families(data)
    say_designs(data)
    if not options.no_figure:
        from reanalysis_figure import draw  # matplotlib is not needed for the numbers

        draw(data, options.figure)


if __name__ == "__main__":
    main()
