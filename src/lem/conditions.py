"""The arms of an experiment: the standard set, the user's kernels, and controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lem.errors import LemError
from lem.kernels import one_line, placebo, shuffled
from lem.records import Condition, Kernel

BASELINE = "baseline"
REPLICATE = "baseline-replicate"

#: Names that a user's kernel may not take.
RESERVED = (BASELINE, "baseline-empty", "one-line", REPLICATE)


def all_conditions(kernels: Sequence[Kernel], control_seed: int = 0) -> list[Condition]:
    """Every condition that these kernels give, in the order they are run and shown.

    ``baseline`` (no system message: whatever the model's own template does), one arm a kernel,
    then the controls: ``baseline-empty`` (an explicit empty system message), a ``placebo-NAME``
    and a ``shuffled-NAME`` for each kernel, and ``one-line``; last, and so not next to the
    baseline, ``baseline-replicate`` (the baseline's prompts asked a second time).

    Raises:
        LemError: two kernels of one name or of one text, or a reserved name.
    """
    _check_kernels(kernels)
    arms = [Condition(name=BASELINE, role="baseline")]
    arms += [Condition(name=k.name, kernel=k, placement="system") for k in kernels]
    arms.append(Condition(name="baseline-empty", role="control", empty_system=True))
    for make in (placebo, shuffled):
        for kernel in kernels:
            made = make(kernel, control_seed)
            arms.append(
                Condition(
                    name=made.name,
                    kernel=made,
                    placement="system",
                    role="control",
                    control_of=kernel.name,
                )
            )
    arms.append(Condition(name="one-line", kernel=one_line(), placement="system", role="control"))
    arms.append(Condition(name=REPLICATE, role="replicate"))
    return arms


def choose(
    conditions: Sequence[Condition],
    names: Iterable[str] | None,
    controls: bool,
    replicate: bool = False,
) -> list[Condition]:
    """The conditions to run.

    Args:
        conditions: all there are.
        names: exactly these (in the standard order), or None for the baseline and the kernels.
        controls: with ``names`` None, add the controls.
        replicate: add the baseline's replicate, to the named conditions too.

    Raises:
        LemError: a name that does not exist, or a replicate without its baseline.
    """
    if names is None:
        left_out = {"control"} if not controls else set()
        left_out |= {"replicate"} if not replicate else set()
        return [c for c in conditions if c.role not in left_out]
    wanted = list(dict.fromkeys([*names, *([REPLICATE] if replicate else [])]))
    known = {c.name for c in conditions}
    unknown = [n for n in wanted if n not in known]
    if unknown or not wanted:
        raise LemError(
            f"Unknown condition: {', '.join(unknown) or '(none named)'}.",
            "Nothing was run.",
            f"Choose from: {', '.join(c.name for c in conditions)}.",
        )
    if REPLICATE in wanted and BASELINE not in wanted:
        raise LemError(
            f"{REPLICATE} repeats the baseline, which is not among the conditions.",
            "There would be nothing to compare it with; nothing was run.",
            f"Add {BASELINE} to the conditions, or leave the replicate out.",
        )
    return [c for c in conditions if c.name in wanted]


def _check_kernels(kernels: Sequence[Kernel]) -> None:
    names: set[str] = set()
    texts: dict[str, str] = {}
    for kernel in kernels:
        if kernel.name in names:
            raise LemError(
                f"Two kernels are named {kernel.name!r}.",
                "Their answers could not be told apart; nothing was run.",
                "Give each --kernel its own NAME.",
            )
        if kernel.name in RESERVED or kernel.name.startswith(("placebo-", "shuffled-")):
            raise LemError(
                f"The kernel name {kernel.name!r} is taken by a standard condition.",
                "Nothing was run.",
                "Choose another NAME for --kernel NAME=PATH.",
            )
        if kernel.sha256 in texts:
            raise LemError(
                f"The kernels {texts[kernel.sha256]!r} and {kernel.name!r} are the same text.",
                "The two arms would be one; nothing was run.",
                "Drop one of them. (For repeated answers use --samples.)",
            )
        names.add(kernel.name)
        texts[kernel.sha256] = kernel.name
