"""One honest paragraph: what can and what cannot be concluded."""

from __future__ import annotations

from lem.report.summary import Contrast, Summary
from lem.stats import PairedEffect

ALPHA = 0.05


def verdict(summary: Summary) -> str:
    """What this run shows at its n, in plain words.

    A kernel's difference is called shown when its p value, adjusted over the kernel arms (Holm),
    is below 5 %. A kernel *effect* is claimed only against its placebo (rule R11).
    """
    kernels = [a.name for a in summary.arms if a.role == "kernel" and a.name != summary.reference]
    against = [c for name in kernels if (c := summary.contrast(name))]
    if not against:
        return (
            f"Nothing is compared: this run has no kernel arm beside {summary.reference!r}, so it "
            f"only describes its answers. {_limits(summary)}"
        )
    parts = "; ".join(map(_against_reference, against))
    n = min(c.effect.n for c in against)
    detectable = [c.effect.mde for c in against if c.effect.mde is not None]
    power = (
        f"with n = {n} probes, true differences below about {max(detectable):.1f} points would "
        "be missed more often than one time in five"
        if detectable
        else f"with n = {n} no uncertainty can be told, and nothing can be concluded"
    )
    return (
        f"Against {summary.reference}, {parts}; {power}. "
        f"{_content(summary, kernels)} {_limits(summary)}"
    )


def interval(effect: PairedEffect, form: str = "({} to {})") -> str:
    """``+1.9 (+0.4 to +3.4)``."""
    if effect.low is None or effect.high is None:
        return f"{number(effect.mean, '+')} (no interval at n = 1)"
    low, high = number(effect.low, "+"), number(effect.high, "+")
    return f"{number(effect.mean, '+')} {form.format(low, high)}"


def number(value: float, sign: str = "") -> str:
    """One decimal, a true minus sign, no negative zero; ``sign="+"`` marks positive ones too."""
    text = f"{value:{sign}.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", "−")


def is_shown(contrast: Contrast) -> bool:
    """Whether the difference survives the correction for the number of kernel arms."""
    return contrast.p_holm is not None and contrast.p_holm < ALPHA


def _against_reference(contrast: Contrast) -> str:
    effect = contrast.effect
    if is_shown(contrast):
        way = "raises" if effect.mean > 0 else "lowers"
        return f"{contrast.arm} {way} the v2 index: {interval(effect)}"
    once = " once all kernel arms are counted" if effect.p is not None and effect.p < ALPHA else ""
    return f"{contrast.arm} is not shown to change the v2 index{once}: {interval(effect)}"


def _content(summary: Summary, kernels: list[str]) -> str:
    """Kernel against placebo: the only ground for speaking of the kernel's content."""
    tested = [c for k in kernels if (c := summary.contrast(k, f"placebo-{k}"))]
    if not tested:
        return (
            "Without a placebo arm, no difference can be put down to what a kernel says rather "
            "than to any long prompt (add --controls)."
        )
    said = []
    for contrast in tested:
        effect = contrast.effect
        shown = effect.p is not None and effect.p * len(tested) < ALPHA  # Bonferroni
        ground = "more than" if effect.mean > 0 else "less than"
        said.append(
            f"{contrast.arm} does {ground} its placebo: {interval(effect)}"
            if shown
            else f"{contrast.arm} is not shown to differ from its placebo: {interval(effect)}"
        )
    return f"Against a neutral text of the same length, {'; '.join(said)}."


def _limits(summary: Summary) -> str:
    answers = sum(a.answers for a in summary.arms)
    cut = sum(a.truncated for a in summary.arms)
    loops = sum(a.repetitive for a in summary.arms)
    said = ["v2 counts wording and layout, so none of this is evidence about ethics."]
    if cut:
        said.append(
            f"{cut} of {answers} answers were cut off at {summary.max_tokens} tokens and are "
            "scored unfinished."
        )
    if loops > answers / 10:
        said.append(f"{loops} of {answers} answers repeat themselves: the score follows that.")
    return " ".join(said)
