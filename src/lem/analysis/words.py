"""Findings in plain words. One place for every sentence that says what numbers mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lem.analysis.records import FEW, ArmStats, Contrast, FindingCode, ScorerAnalysis
from lem.stats import PairedEffect
from lem.study import Study
from lem.text import excerpt, number

CAUTION = {
    "v2": "v2 counts wording and layout, so none of this is evidence about ethics.",
    "v2-distill": "v2-distill counts wording and layout, so none of this is evidence about ethics.",
    "grammar": "grammar v3 counts word endings and question marks, whatever their order, so none "
    "of this is evidence about ethics.",
    "grammar-wide": "grammar-wide counts word classes, whatever their order, so none of this is "
    "evidence about ethics.",
    "checks": "checks tells whether checkable answers are right; it says nothing about ethics, and "
    "probes without a check have no score.",
    "reasoning": "reasoning measures whether an answer takes up its prompt concretely and with "
    "reasons, not whether it is right: fluent bad advice scores like good advice.",
}
"""What the headline number of each scorer is not."""


def caution(scorer: str) -> str:
    """What this scorer's number is not."""
    return CAUTION[scorer.partition(":")[0]]


def kernel_name(kernel: str) -> str:
    """`JSON kernel`, `Text kernel`, `Kernel 'mine'`: they begin sentences."""
    named = {"json": "JSON kernel", "txt": "Text kernel"}
    return named.get(kernel, f"Kernel '{excerpt(kernel, 40)}'")


def interval(effect: PairedEffect, percent: bool = False) -> str:
    """`+1.9 (+0.4…+3.4)`; with `percent`, `+1.9 (95 % +0.4…+3.4)`."""
    if effect.low is None or effect.high is None:
        return f"{number(effect.mean, '+')} (no interval at n = {effect.n})"
    level = f"{effect.level * 100:.0f} % " if percent else ""
    ends = f"{number(effect.low, '+')}…{number(effect.high, '+')}"
    return f"{number(effect.mean, '+')} ({level}{ends})"


def finding(kernel: str, code: FindingCode, base: Contrast, content: Contrast | None) -> str:
    """The sentence of one kernel."""
    name = kernel_name(kernel)
    if base.effect is None or base.effect.n < 2:
        n = base.effect.n if base.effect else 0
        return (
            f"{name}: only {n} {_units(n, base)} in common with the {base.reference}, so "
            "nothing can be concluded."
        )
    said = f"{name}: {interval(base.effect, percent=True)} over {excerpt(base.reference, 30)}"
    if content and content.effect and content.effect.n > 1:
        n = content.effect.n
        shared = "" if n == base.effect.n else f" ({n} of the {_units(n, content)})"
        said += f", {interval(content.effect)} over placebo{shared}"
    return f"{said}: {_meaning(code, base, content)}."


def _meaning(code: FindingCode, base: Contrast, content: Contrast | None) -> str:
    assert base.effect is not None, "a finding rests on an effect"
    if code == "untestable":
        n = base.effect.n
        return f"{n} {_units(n, base)} are a first look, too few to conclude anything"
    if code == "content":
        return f"an effect of what the kernel says{_equal_length(content)}"
    if code == "length":
        return (
            f"not shown between answers of equal length{_told_length(content)}, so it cannot be "
            "told from an effect of length"
        )
    if code == "any prompt":
        return f"{_no_content(content)}, so it cannot be told from the effect of any long prompt"
    if code == "placebo differs":
        return "no change from the baseline is shown, though it differs from its placebo"
    if code == "mixed":
        return "above one and below the other, so it cannot be put down to what the kernel says"
    if code == "noise":
        floor = number(base.noise or 0.0)
        return f"no more than asking the baseline a second time may give (±{floor})"
    if code == "unattributed":
        way = "more" if base.effect.mean > 0 else "less"
        without = "without a placebo" if content is None else "with too few answers to its placebo"
        return (
            f"{way} than the baseline{_equal_length(base)}; {without} it cannot be told from the "
            "effect of any long prompt"
        )
    if base.effect.sd == 0 and base.effect.mean == 0:
        return "every probe has the same score with it and without it"
    nominal = base.effect.p is not None and base.effect.p < 0.05
    once = f" once {base.family_size} tests are counted" if nominal and base.family_size > 1 else ""
    return f"not shown{once}"


def _no_content(content: Contrast | None) -> str:
    if content and content.shown and content.in_noise:
        floor = number(content.noise or 0.0)
        return f"no further from its placebo than asking the baseline twice may give (±{floor})"
    return "not shown to differ from its placebo"


def _equal_length(contrast: Contrast | None) -> str:
    told = _adjusted(contrast)
    return f" (at equal length {told})" if told else ""


def _told_length(content: Contrast | None) -> str:
    return f" ({_adjusted(content) or 'all differ in length alike'})"


def _adjusted(contrast: Contrast | None) -> str | None:
    length = contrast.length if contrast else None
    if length is None:
        return None
    ends = f"{number(length.low, '+')}…{number(length.high, '+')}"
    far = ", beyond the lengths seen" if length.extrapolated else ""
    return f"{number(length.effect, '+')}, {ends}{far}"


def _units(n: int, contrast: Contrast) -> str:
    """What n counts: probes, or dilemmas where several probes are wordings of one."""
    effect = contrast.effect
    return _plural(n, "dilemma" if effect and effect.units > effect.n else "probe")


def headline(primary: ScorerAnalysis, study: Study) -> str:
    """The sentence on top of a report."""
    findings = primary.findings
    score = f"the {primary.label}"
    asked = [c for c in primary.contrasts if c.kind == "models"]
    if asked:  # lem compare
        return f"On {score}: {_all_compared(asked)}"
    if not findings and primary.across:
        return f"On {score}: " + " ".join(primary.across[:3])
    if not findings:
        return f"Nothing is compared on {score}: {_why_nothing(study)}."
    if len({f.model for f in findings}) == 1:
        on = f" and {excerpt(findings[0].model, 60)}" if len(study.models) > 1 else ""
        return f"On {score}{on}: " + " ".join(f.sentence for f in findings)
    codes = Counter(f.code for f in findings)
    shown = [c for c in primary.contrasts if c.kind == "kernel" and c.shown and not c.in_noise]
    up = sum(c.effect is not None and c.effect.mean > 0 for c in shown)
    parts = [
        f"On {score}, {len(shown)} of {len(findings)} kernel effects are shown after Holm "
        f"({up} up, {len(shown) - up} down)"
    ]
    tested = sum(f.content_contrast is not None for f in findings)
    if tested:
        parts.append(
            f"{codes['content']} of the {tested} that have a placebo "
            f"{'is' if codes['content'] == 1 else 'are'} shown to be what the kernel says"
        )
    else:
        parts.append(
            "no model was asked with a placebo, so none can be told from the effect of any long "
            "prompt"
        )
    return "; ".join(parts) + "."


def _all_compared(contrasts: Sequence[Contrast]) -> str:
    """The first comparison that was asked for, and how many of all are shown."""
    first = compared(contrasts[0])
    if len(contrasts) == 1:
        return first
    shown = sum(c.shown for c in contrasts)
    verb = "is" if shown == 1 else "are"
    return f"{first} {shown} of the {len(contrasts)} comparisons asked for {verb} shown."


def _why_nothing(study: Study) -> str:
    if all(m.baseline is None for m in study.models):
        return "there is no baseline arm"
    return "there is no kernel arm beside the baseline"


def summary(primary: ScorerAnalysis) -> list[str]:
    """The sentences behind the headline: power, noise, tails, missing answers, and what the score
    is not."""
    declared = [c for c in primary.contrasts if c.family]
    kernels = [c for c in declared if c.kind == "kernel"]
    said = [*_power(kernels or declared), *_noise(primary.contrasts), *_tails(declared)]
    return [*said, *_worst(declared), *_answers(primary.arms), caution(primary.scorer)]


def _power(contrasts: Sequence[Contrast]) -> list[str]:
    small = min((c.effect.n for c in contrasts if c.effect), default=FEW)
    first = [f"n = {small} is a first look, not a measurement."] if small < FEW else []
    known = [c for c in contrasts if c.effect and c.detectable is not None]
    if not known:
        return first
    sizes = sorted({c.effect.n for c in known if c.effect})
    n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    floors = sorted(c.detectable for c in known if c.detectable is not None)
    family = max(c.family_size for c in known)
    tests = "" if family == 1 else f" ({family} tests counted)"
    what = "dilemmas" if any(c.effect.units > c.effect.n for c in known if c.effect) else "probes"
    about = (
        number(floors[0])
        if number(floors[0]) == number(floors[-1])
        else f"{number(floors[0])} to {number(floors[-1])}"
    )
    return [
        f"With n = {n} {what}, true differences below about {about} points would be missed more "
        f"often than one time in five{tests}.",
        *first,
    ]


def _noise(contrasts: Sequence[Contrast]) -> list[str]:
    floors = [c.noise for c in contrasts if c.kind == "kernel" and c.noise is not None]
    if not floors:
        return ["No noise floor was measured (lem ab --replicate asks the baseline twice)."]
    return [f"Asking the baseline twice leaves room for ±{number(max(floors))} points by itself."]


def _tails(contrasts: Sequence[Contrast]) -> list[str]:
    tails = [c for c in contrasts if c.effect and c.effect.noisy_tail]
    if not tails:
        return []
    return [
        f"In {len(tails)} of {len(contrasts)} comparisons a few probes may carry much of the "
        "difference: intervals and p are less sure there than they say (benchmarks/coverage.py)."
    ]


def _worst(contrasts: Sequence[Contrast]) -> list[str]:
    """What missing scores could do (R13)."""
    uneven = [c for c in contrasts if c.worst]
    if not uneven:
        return []
    told = [
        f"{excerpt(c.arm, 30)} − {excerpt(c.reference, 30)} at {number(c.worst.low, '+')} to "
        f"{number(c.worst.high, '+')}"
        for c in uneven[:3]
        if c.worst
    ]
    more = f" ({len(uneven) - 3} more on the page)" if len(uneven) > 3 else ""
    return [
        f"In {len(uneven)} of {len(contrasts)} comparisons one side lacks more scores than the "
        "other, by over 2 points in 100; the worst case for those would put the mean of "
        f"{'; of '.join(told)}{more}."
    ]


def _answers(arms: Sequence[ArmStats]) -> list[str]:
    answers = sum(a.answers for a in arms)
    said = []
    cut = sum(a.truncated for a in arms)
    if cut:
        said.append(
            f"{cut:,} of {answers:,} answers were cut off at the token limit and are scored "
            "unfinished."
        )
    unknown = sum(a.unknown_end for a in arms)
    if unknown:
        said.append(f"{unknown:,} of {answers:,} answers do not say whether they were cut off.")
    for field, one, many, what in (
        ("empty", "is", "are", "empty"),
        ("malformed", "was", "were", "withheld or broken"),
        ("unscored", "has", "have", "no score"),
        ("missing", "is", "are", "missing"),
    ):
        count = sum(getattr(a, field) for a in arms)
        if count:
            verb = one if count == 1 else many
            said.append(f"{count:,} {_plural(count, 'answer')} {verb} {what}.")
    loops = sum(a.repetitive for a in arms)
    if loops > answers / 10:
        said.append(f"{loops:,} of {answers:,} answers repeat themselves: the score follows that.")
    refused = sum(a.refused for a in arms)
    if refused > answers / 20:
        said.append(f"{refused:,} of {answers:,} answers open by declining.")
    return said


def compared(contrast: Contrast) -> str:
    """The sentence of one comparison of models."""
    effect = contrast.effect
    if effect is None or effect.n < 2:
        return f"{contrast.arm} against {contrast.reference}: nothing in common to compare."
    about = f"{interval(effect, percent=True)}, n = {effect.n}"
    if contrast.kind == "resistance":
        meaning = (
            "the kernel changes the two models' scores differently"
            if contrast.shown
            else "not shown that the kernel changes the two models' scores differently"
        )
        own, other = f"({contrast.arm})", f"({contrast.reference})"
    else:
        meaning = "shown" if contrast.shown else "not shown"
        own, other = contrast.arm, contrast.reference
    tests = f" after Holm over {contrast.family_size}" if contrast.family_size > 1 else ""
    few = f" (n below {FEW})" if effect.n < FEW else ""
    return f"{own} − {other}: {about}: {meaning}{tests}{few}{_equal_length(contrast)}."


def warnings(study: Study) -> list[str]:
    """What must be known of the inputs before anything else."""
    kinds = Counter(p.kind for p in study.problems)
    texts = {
        "broken line": "{n} {lines} could not be read and {are} missing here",
        "duplicate": "{n} {answers} stood in a file twice and {count} once",
        "other text": "{n} probe {ids} mean different questions in different inputs",
        "stored score": "{n} stored {scores} {are} not what the text gives",
        "left out": "some answers were left out of {n} {inputs}",
        "named twice": "{n} {inputs} {were} named twice and {count} once",
        "texts left out": "the answers' texts were too long to keep",
    }
    said = []
    for kind, n in kinds.items():
        forms = {
            "n": n,
            "lines": _plural(n, "line"),
            "answers": _plural(n, "answer"),
            "ids": _plural(n, "id"),
            "scores": _plural(n, "score"),
            "inputs": _plural(n, "input"),
            "are": "is" if n == 1 else "are",
            "were": "was" if n == 1 else "were",
            "count": "counts" if n == 1 else "count",
        }
        said.append((texts[kind].format(**forms) + ".").capitalize())
    return said


def _plural(n: int, word: str) -> str:
    return word if n == 1 else f"{word}s"
