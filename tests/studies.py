"""Studies made of numbers, for tests of what is concluded from them."""

from __future__ import annotations

from lem.scoring.work import describe
from lem.study import Answer, Group, Model, ProbeText, Study
from lem.study.inputs import arms_of_names


def study(
    models, *, scorers=("v2",), words=None, domains=("D",), clusters=None, groups=None, **flags
):
    """A study of {model: {arm: scores}}; a score is a number, None, or a list of samples.

    Args:
        words: (arm, number of the probe) -> words of the answer.
        domains: of the probes, by turns.
        clusters: number of the probe -> cluster; None: each is its own.
        groups: model -> Group.
        flags: fields of every answer (truncated=True, repetitive=True, ...).
    """
    names = {arm for arms in models.values() for arm in arms}
    n = max((len(v) for arms in models.values() for v in arms.values()), default=0)
    probes = {
        f"P{i:03}": ProbeText(
            f"P{i:03}",
            domains[i % len(domains)],
            f"C{clusters(i)}" if clusters else f"P{i:03}",
            f"Question {i}?",
        )
        for i in range(n)
    }
    facts = dict(
        empty=False,
        truncated=False,
        malformed=False,
        refused=False,
        repetitive=False,
        foreign=False,
        leak=False,
        stored=None,
    )
    answers = []
    for model, arms in models.items():
        for arm, values in arms.items():
            for i, value in enumerate(values):
                for sample, one in enumerate(value if isinstance(value, list) else [value]):
                    if one == "missing":
                        continue
                    answers.append(
                        Answer(
                            model=model,
                            condition=arm,
                            probe=f"P{i:03}",
                            sample=sample,
                            text="one two three",
                            words=words(arm, i) if words else 100,
                            scores=(one,) * len(scorers),
                            **(facts | flags),
                        )
                    )
    assert names
    return Study(
        models=tuple(
            Model(name, name, "lines", arms_of_names(arms), {}, (groups or {}).get(name, Group()))
            for name, arms in models.items()
        ),
        probes=probes,
        answers=tuple(answers),
        scorers=tuple(map(describe, scorers)),
        problems=(),
        texts=True,
    )


def moved(base, by, noise):
    """Scores that differ from `base` by `by`, give or take `noise`."""
    return [b + by + noise * (-1) ** i for i, b in enumerate(base)]


BASE = [10.0 + i % 5 for i in range(21)]
