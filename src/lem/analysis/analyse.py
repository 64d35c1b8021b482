"""From a study to its analysis: every contrast, every family of tests, every sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lem.analysis import across, words
from lem.analysis.cells import Cells
from lem.analysis.contrasts import LEVEL, Maker, with_family
from lem.analysis.findings import findings_of
from lem.analysis.records import Analysis, Contrast, Kind, ScorerAnalysis
from lem.analysis.within import (
    arm_stats,
    contrasts_of,
    domains_of,
    stored_scores,
    validity_of,
    variance_of,
)
from lem.study import Study
from lem.study.ratings import Rating, judge_ratings

QUESTIONS = ("kernel", "content", "lineage", "scale", "tuned", "resistance")
"""What a matrix can ask; the default is all of them."""

FAMILIES: Mapping[Kind, str] = {
    "kernel": "kernel effects",
    "content": "kernel against placebo",
    "models": "models compared",
    "tuned": "tuned against untuned",
    "resistance": "realignment resistance",
    "lineage": "versions",
}
"""Declared families of tests (R5): all contrasts of a kind, over all models, by Holm; each holds
5 % by itself. The first one is the primary family. Contrasts of other kinds are exploratory."""


def analyse(
    study: Study,
    *,
    questions: Sequence[str] = QUESTIONS,
    compare: Sequence[across.Pair] = (),
    title: str | None = None,
    recipe: Mapping[str, Any] | None = None,
    exploratory: str | None = None,
    warnings: Sequence[str] = (),
    labels: Sequence[Rating] = (),
    seed: int | None = None,
) -> Analysis:
    """Work out what a study shows.

    Args:
        study: its first scorer is the primary one.
        questions: which comparisons of models are made, of `QUESTIONS`.
        compare: pairs of models that are compared condition by condition.
        title: of the report; None: the models' names.
        recipe: name, sha256 and text of a matrix recipe, for the page.
        exploratory: why all of it is exploratory (R16).
        warnings: shown on top, before those of the study itself.
        labels: what people said of the answers; judges' verdicts are found beside the runs.
        seed: of all resampling (R17); None: that of the first run.
    """
    seed = study.seed if seed is None else seed
    cells = Cells(study)
    ratings = [*judge_ratings(study), *labels]
    scorers = tuple(
        _scorer(study, cells, place, questions, compare, ratings, seed)
        for place in range(len(study.scorers))
    )
    return Analysis(
        title=title or _title(study),
        headline=words.headline(scorers[0], study),
        summary=tuple(words.summary(scorers[0])),
        scorers=scorers,
        stored=tuple(s for model in study.models for s in stored_scores(cells, model)),
        warnings=(*warnings, *words.warnings(study)),
        seed=seed,
        level=LEVEL,
        exploratory=exploratory,
        recipe=recipe,
    )


def _scorer(
    study: Study,
    cells: Cells,
    place: int,
    questions: Sequence[str],
    compare: Sequence[across.Pair],
    ratings: Sequence[Rating],
    seed: int,
) -> ScorerAnalysis:
    info = study.scorers[place]
    maker = Maker(cells, info.name, place, seed)
    within = [c for model in study.models for c in contrasts_of(maker, model)]
    between = _between(maker, study, questions, compare, within)
    contrasts = _declared([*within, *between])
    several = len(study.models) > 1
    variance = {
        m.name: split for m in study.models if (split := variance_of(cells, m, place)) is not None
    }
    made = [domains_of(c) for c in contrasts if c.kind in ("kernel", "content")]
    return ScorerAnalysis(
        scorer=info.name,
        version=info.version,
        label=info.label,
        caution=words.caution(info.name),
        primary=place == 0,
        arms=tuple(arm_stats(cells, m, arm, place) for m in study.models for arm in m.arms),
        contrasts=tuple(contrasts),
        domains=tuple(d for d in made if d is not None),
        findings=tuple(
            finding
            for m in study.models
            for finding in findings_of(m, [c for c in contrasts if c.model == m.name])
        ),
        variance=variance,
        families=tuple(across.families(info.name, study, contrasts)) if several else (),
        rankings=tuple(across.rankings(maker, cells)) if several else (),
        scales=tuple(across.scales(maker, cells)) if "scale" in questions else (),
        validity=tuple(validity_of(cells, ratings, place)),
        across=tuple(words.compared(c) for c in contrasts if c.kind in _BETWEEN),
    )


_BETWEEN: tuple[Kind, ...] = ("models", "tuned", "resistance", "lineage")


def _between(
    maker: Maker,
    study: Study,
    questions: Sequence[str],
    compare: Sequence[across.Pair],
    within: Sequence[Contrast],
) -> list[Contrast]:
    """Contrasts of different models."""
    tuned = across.tuned_pairs(study)
    found = across.conditions(maker, compare)
    if "tuned" in questions:
        found += across.baselines(maker, "tuned", tuned)
    if "resistance" in questions:
        found += across.resistance(maker, [*tuned, *compare], within)
    if "lineage" in questions:
        found += across.baselines(maker, "lineage", across.lineage_pairs(study))
    once: dict[str, Contrast] = {}
    for c in found:
        once.setdefault(c.id, c)  # a pair that was named may be one of the recipe's, too
    return list(once.values())


def _declared(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Every contrast with its family, in the order given."""
    made: dict[str, Contrast] = {}
    for kind in dict.fromkeys(c.kind for c in contrasts):
        own = [c for c in contrasts if c.kind == kind]
        name = FAMILIES.get(kind)
        made |= {c.id: c for c in (with_family(own, name) if name else own)}
    return [made[c.id] for c in contrasts]


def _title(study: Study) -> str:
    names = [m.name for m in study.models]
    return names[0] if len(names) == 1 else f"{len(names)} models"
