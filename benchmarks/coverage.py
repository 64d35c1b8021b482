"""Do the intervals and tests of lem.stats keep what they promise?

    python benchmarks/coverage.py [--quick]

Draws data whose truth is known, many times, and counts: how often do nominal 95 % intervals of a
mean contain it (t, BCa and bootstrap-t, n = 21 and 101)? How often does a family of 58 tests
without any true effect find one? What does pairing gain? The functions measured are those that
reports call. About two minutes on one core; `--quick` takes a tenth of the replications. The table
stands in lem/stats/paired.py, with what follows from it.

normal     the differences are normal
jumps      noise with sd 4; 12 % of the probes jump by +15 (skewness 0.9)
rare jumps noise with sd 4; 5 % of the probes jump by +30 (skewness 2.6)
lopsided   exponential (skewness 2)
exchanged  jumps minus jumps: both conditions jump alike, so that differences are symmetric. This is
           what "the condition changes nothing" means; a mean of 0 with lopsided differences is not
clusters   4 rephrasings a dilemma, half of the variance between dilemmas; n dilemmas, averaged
ignored    the same data, every rephrasing taken for a unit of its own: the named alternative
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lem.stats import bca, benjamini_hochberg, bootstrap_t, holm, power_paired, unpaired
from lem.stats.paired import noisy_tail, t_interval, t_test
from lem.stats.values import as_units, moments

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

SIZES = (21, 101)
REPHRASINGS, FAMILY, CORRELATION, SD = 4, 58, 0.7, 10.0


def jumps(rng: Rng, n: int, share: float, height: float) -> Floats:
    return rng.normal(0, 4, n) + height * (rng.random(n) < share) - share * height


def clustered(rng: Rng, n: int) -> Floats:
    """n × rephrasings values in a row, those of a dilemma side by side."""
    dilemma = rng.normal(0, math.sqrt(0.5), (n, 1))
    return (dilemma + rng.normal(0, math.sqrt(0.5), (n, REPHRASINGS))).ravel()


def averaged(rng: Rng, n: int) -> Floats:
    values = clustered(rng, n)
    return as_units(values, [i // REPHRASINGS for i in range(values.size)])


SOURCES: dict[str, Callable[[Rng, int], Floats]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "jumps": lambda rng, n: jumps(rng, n, 0.12, 15),
    "rare jumps": lambda rng, n: jumps(rng, n, 0.05, 30),
    "lopsided": lambda rng, n: rng.exponential(size=n) - 1,
    "exchanged": lambda rng, n: jumps(rng, n, 0.12, 15) - jumps(rng, n, 0.12, 15),
    "clusters": averaged,
    "ignored": clustered,
}
"""Each draws values whose true mean is 0."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Shares for one kind of data at one n."""

    data: str
    n: int
    t: float
    bca: float
    bootstrap_t: float
    flagged: float
    """Share of data sets with noisy_tail."""


def covers(ends: tuple[float | None, float | None] | None) -> bool:
    """Whether an interval holds the truth, 0. None, an interval without ends, always does."""
    low, high = ends or (None, None)
    return low is None or high is None or low <= 0 <= high


def coverage(data: str, n: int, times: int, boot_times: int, seed: int = 0) -> Cell:
    """Coverage of the three intervals; the bootstraps on the first ``boot_times`` data sets."""
    rng = np.random.Generator(np.random.PCG64(seed))
    hits, flagged = np.zeros(3), 0
    for i in range(times):
        values = SOURCES[data](rng, n)
        m = moments(values)
        hits[0] += covers(t_interval(m, 0.95))
        flagged += noisy_tail(m)
        if i < boot_times:
            hits[1] += covers(bca(values, seed=i % 8))
            hits[2] += covers(bootstrap_t(values, seed=i % 8))
    t, b, bt = hits / [times, boot_times, boot_times]
    return Cell(data, n, float(t), float(b), float(bt), flagged / times)


def false_positives(data: str, n: int, times: int, seed: int = 0) -> dict[str, float]:
    """Share of families of tests without true effects in which something has p < 0.05."""
    rng = np.random.Generator(np.random.PCG64(seed))
    found = {"uncorrected": 0, "Holm": 0, "BH": 0}
    for _ in range(times):
        raw = [t_test(moments(SOURCES[data](rng, n))) for _ in range(FAMILY)]
        for name, ps in (
            ("uncorrected", raw),
            ("Holm", holm(raw)),
            ("BH", benjamini_hochberg(raw)),
        ):
            found[name] += any(p is not None and p < 0.05 for p in ps)
    return {name: count / times for name, count in found.items()}


def power(n: int, effect: float, times: int, seed: int = 0) -> tuple[float, float, float]:
    """Power of the paired test, simulated and by formula, and of Welch's on the same scores."""
    rng = np.random.Generator(np.random.PCG64(seed))
    covariance = SD**2 * np.array([[1, CORRELATION], [CORRELATION, 1]])
    root = np.linalg.cholesky(covariance)
    paired = welch = 0
    for _ in range(times):
        reference, treatment = root @ rng.normal(size=(2, n))
        treatment = treatment + effect
        paired += (t_test(moments(treatment - reference)) or 0.0) < 0.05
        welch += (unpaired(treatment, reference).p or 0.0) < 0.05
    by_formula = power_paired(SD * math.sqrt(2 - 2 * CORRELATION), n, effect)
    return paired / times, by_formula, welch / times


def error(share: float, times: int) -> float:
    """Monte Carlo standard error of a share."""
    return math.sqrt(share * (1 - share) / times)


def outside(cells: list[Cell], method: str) -> list[str]:
    """The cells in which a method does not cover what it should, 93 to 97 %."""
    return [
        f"{cell.data} {cell.n}"
        for cell in cells
        if cell.data != "ignored" and not 0.93 <= getattr(cell, method) <= 0.97
    ]


def show_coverage(times: int, boot_times: int) -> list[Cell]:
    print(f"Coverage of nominal 95 % intervals; {times} data sets (bootstraps: {boot_times})")
    print("n    data           t     BCa   bootstrap-t   noisy_tail")
    cells = [coverage(data, n, times, boot_times) for n in SIZES for data in SOURCES]
    for c in cells:
        shares = f"{c.t:5.1%} {c.bca:7.1%} {c.bootstrap_t:13.1%} {c.flagged:12.0%}"
        print(f"{c.n:<4} {c.data:11} {shares}", flush=True)
    print(
        f"Monte Carlo error: {error(0.95, times):.1%} (t), {error(0.95, boot_times):.1%}"
        " (bootstraps)."
    )
    for name in ("t", "bca", "bootstrap_t"):
        out = outside(cells, name)
        print(f"{'FAIL' if out else 'PASS'} {name}: outside 93-97 %: {', '.join(out) or 'none'}")
    print('(without "ignored", which is there to fail: rule R1)')
    return cells


def show_families(times: int) -> None:
    print(f"\nAny p < 0.05 among {FAMILY} tests without effects; {times} families")
    print("n    data      uncorrected   Holm     BH")
    worst = 0.0
    for n in SIZES:
        for data in ("normal", "exchanged", "jumps"):
            found = false_positives(data, n, times)
            a, b, c = found.values()
            print(f"{n:<4} {data:9} {a:11.1%} {b:6.1%} {c:6.1%}", flush=True)
            worst = worst if data == "jumps" else max(worst, b)
    print(f"Monte Carlo error: {error(0.05, times):.1%}.")
    print(f"{'PASS' if worst <= 0.06 else 'FAIL'} t + Holm where nothing changes: at most 6 %")
    print("(jumps: mean 0, but lopsided differences; something does change there.)")


def show_power(times: int) -> None:
    print(f"\nPower at correlation {CORRELATION} within probes, sd {SD:g}; {times} data sets")
    print("n    effect   paired   by formula   unpaired (Welch)")
    for n, effect in zip(SIZES, (5.0, 2.25)):
        paired, formula, welch = power(n, effect, times)
        print(f"{n:<4} {effect:6} {paired:8.1%} {formula:12.1%} {welch:18.1%}", flush=True)
    print(f"Monte Carlo error: {error(0.8, times):.1%}.")
    gain = 1 / (1 - CORRELATION)
    print(f"Unpaired tests would need about {gain:.1f} times the probes.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    scale = 10 if parser.parse_args().quick else 1
    show_coverage(10_000 // scale, 4_000 // scale)
    show_families(4_000 // scale)
    show_power(10_000 // scale)


if __name__ == "__main__":
    main()
