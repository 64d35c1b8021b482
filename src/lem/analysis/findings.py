"""What the contrasts of one kernel, taken together, allow to be said."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from lem.analysis import words
from lem.analysis.records import FEW, Contrast, Finding, FindingCode
from lem.study import Model

ALPHA = 0.05

SAME_LENGTH = 0.05
"""A difference of log words up to this, 5 %, is none where lengths cannot be adjusted for."""


def findings_of(model: Model, contrasts: Sequence[Contrast]) -> list[Finding]:
    """One finding for each kernel of a model.

    Args:
        contrasts: of this model, with their families declared.
    """
    by_kind: Mapping[tuple[str, str], Contrast] = {(c.kind, c.arm): c for c in contrasts}
    found = []
    for kernel in model.kernels:
        base = by_kind.get(("kernel", kernel))
        content = by_kind.get(("content", kernel))
        if base is None:
            continue
        code = judge(base, content)
        found.append(
            Finding(
                scorer=base.scorer,
                model=model.name,
                kernel=kernel,
                code=code,
                sentence=words.finding(kernel, code, base, content),
                kernel_contrast=base.id,
                content_contrast=content.id if content else None,
            )
        )
    return found


def judge(base: Contrast, content: Contrast | None) -> FindingCode:
    """Decide what a kernel's effect may be put down to.

    An effect is called shown at 5 %, adjusted over its family (Holm). An effect of the kernel's
    content is claimed only against its placebo (R11), beyond the noise floor there too (R7), and
    only if it is also shown at equal length (R9).
    """
    if base.effect is None or base.effect.n < FEW:
        return "untestable"
    if content is None or content.effect is None or content.effect.n < FEW:
        content = None
    beyond = content is not None and content.shown and not content.in_noise
    if not base.shown:
        return "placebo differs" if beyond else "not shown"
    if base.in_noise:
        return "noise"
    if content is None or content.effect is None:
        return "unattributed"
    if not beyond:
        return "any prompt"
    if (content.effect.mean > 0) != (base.effect.mean > 0):
        return "mixed"
    return "content" if at_equal_length(content) else "length"


def at_equal_length(contrast: Contrast) -> bool:
    """Whether a difference that is shown stays shown, in the same direction, between answers of
    equal length, all tests of its family counted (Bonferroni). Where lengths do not vary enough
    to tell, it stands only if they are the same."""
    length = contrast.length
    if length is None or contrast.effect is None:
        shifts = [u.length_shift or 0.0 for u in contrast.units]
        return abs(statistics.median(shifts)) <= SAME_LENGTH
    p = length.p * contrast.family_size
    return p < ALPHA and (length.effect > 0) == (contrast.effect.mean > 0)
