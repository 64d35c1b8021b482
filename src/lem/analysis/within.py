"""What is worked out for one model under one scorer: its arms, its contrasts, its domains."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lem.analysis.cells import Cells
from lem.analysis.contrasts import Maker, with_noise
from lem.analysis.records import ArmStats, Contrast, Domains, StoredScores, Validity
from lem.stats import (
    VarianceSplit,
    benjamini_hochberg,
    mean_by,
    noise_floor,
    paired_effect,
    pool_groups,
    spearman,
    variance_split,
)
from lem.study import Answer, Arm, Model
from lem.study.ratings import Rating


def arm_stats(cells: Cells, model: Model, arm: Arm, place: int) -> ArmStats:
    """Describe one arm; an arm without a single answer is described too."""
    answers = cells.answers.get((model.name, arm.name), [])
    scored = [(a, s) for a in answers if (s := a.scores[place]) is not None]
    per_probe = mean_by((a.probe, s) for a, s in scored)
    units = list(mean_by((cells.unit(p), s) for p, s in per_probe.items()).values())
    # an effect on zero is a mean with its interval
    described = paired_effect(units, resamples=0) if units else None
    words = mean_by((cells.unit(a.probe), float(a.words)) for a in answers)
    rho = spearman([s for _, s in scored], [float(a.words) for a, _ in scored]) if scored else None
    probes = {a.probe for a in answers}
    return ArmStats(
        model=model.name,
        arm=arm.name,
        role=arm.role,
        n=len(units),
        probes=len(probes),
        answers=len(answers),
        mean=described.mean if described else None,
        low=described.low if described else None,
        high=described.high if described else None,
        sd=described.sd if described else None,
        quartiles=_quartiles(units),
        words=statistics.fmean(words.values()) if words else None,
        missing=sum(p not in probes for p in cells.asked(model.name)),
        unscored=len(answers) - len(scored),
        empty=_count(answers, "empty"),
        truncated=sum(a.truncated is True for a in answers),
        unknown_end=sum(a.truncated is None for a in answers),
        malformed=_count(answers, "malformed"),
        refused=_count(answers, "refused"),
        repetitive=_count(answers, "repetitive"),
        foreign=_count(answers, "foreign"),
        leaks=_count(answers, "leak"),
        length_rho=rho.rho if rho else None,
    )


def _count(answers: Sequence[Answer], field: str) -> int:
    return sum(bool(getattr(a, field)) for a in answers)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float] | None:
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def contrasts_of(maker: Maker, model: Model) -> list[Contrast]:
    """Every comparison within one model. Families are declared later, over all models."""

    def pair(kind: str, arm: str | None, reference: str | None) -> Contrast | None:
        if arm is None or reference is None:
            return None
        arms = maker.cells.arm(model.name, arm), maker.cells.arm(model.name, reference)
        return maker.contrast(kind, model.name, (arm, reference), arms)  # type: ignore[arg-type]

    base = model.baseline
    made = [pair("kernel", kernel, base) for kernel in model.kernels]
    made += [pair("content", kernel, model.control(kernel)) for kernel in model.kernels]
    made += [pair("words", k, model.control(k, "shuffled")) for k in model.kernels]
    made += [pair("control", a.name, base) for a in model.arms if a.role == "control"]
    made += [pair("noise", a.name, base) for a in model.arms if a.role == "replicate"]
    found = [c for c in made if c is not None]
    found += _layout(maker, model, found)
    replicate = next((c.effect for c in found if c.kind == "noise" and c.effect), None)
    known = replicate is not None and replicate.n > 1
    return with_noise(found, noise_floor(replicate) if known and replicate else None)


def _layout(maker: Maker, model: Model, found: Sequence[Contrast]) -> list[Contrast]:
    """JSON against text: against their own placebos, which have their layouts and lengths, where
    there are any."""
    if not {"json", "txt"} <= set(model.kernels):
        return []
    content = {c.arm: c for c in found if c.kind == "content"}
    if {"json", "txt"} <= content.keys():
        names = ("json−placebo-json", "txt−placebo-txt")
        pair = content["json"], content["txt"]
        return [maker.of_differences("layout", model.name, names, pair)]
    arms = maker.cells.arm(model.name, "json"), maker.cells.arm(model.name, "txt")
    return [maker.contrast("layout", model.name, ("json", "txt"), arms)]


def domains_of(contrast: Contrast) -> Domains | None:
    """A contrast by domain; None where there is one domain only."""
    names = [u.domain for u in contrast.units]
    if len(set(names)) < 2:
        return None
    differences = [u.arm - u.reference for u in contrast.units]
    groups: dict[str, list[float]] = {}
    for name, d in zip(names, differences):
        groups.setdefault(name, []).append(d)
    raw = [
        paired_effect(values, resamples=0).p if len(values) > 1 else None
        for values in groups.values()
    ]
    return Domains(
        contrast=contrast.id,
        pooling=pool_groups(differences, names),
        p=dict(zip(groups, benjamini_hochberg(raw))),
    )


def variance_of(cells: Cells, model: Model, place: int) -> VarianceSplit | None:
    """Baseline scores split between and within units; None where no unit has two answers."""
    answers = cells.answers.get((model.name, model.baseline or ""), [])
    pairs = [(s, cells.unit(a.probe)) for a in answers if (s := a.scores[place]) is not None]
    if len({u for _, u in pairs}) < 2 or len(pairs) == len({u for _, u in pairs}):
        return None
    return variance_split([s for s, _ in pairs], [u for _, u in pairs])


def stored_scores(cells: Cells, model: Model) -> list[StoredScores]:
    """What the file of a model states, arm by arm and score generation by generation."""
    found = []
    for arm in model.arms:
        answers = cells.answers.get((model.name, arm.name), [])
        stored = [a.stored for a in answers if a.stored is not None]
        for version in dict.fromkeys(s.version for s in stored):
            own = [s for s in stored if s.version == version]
            said = [s.score for s in own if s.score is not None]
            ours = [s.recomputed for s in own if s.recomputed is not None]
            found.append(
                StoredScores(
                    model=model.name,
                    arm=arm.name,
                    version=version,
                    n=len(own),
                    stored=statistics.fmean(said) if said else None,
                    recomputed=statistics.fmean(ours) if ours else None,
                    disagreements=sum(s.disagrees for s in own),
                )
            )
    return found


def validity_of(cells: Cells, ratings: Sequence[Rating], place: int) -> list[Validity]:
    """A scorer against each rater and rubric, over the answers that both have."""
    scores = {
        (a.model, a.condition, a.probe, a.sample): s
        for answers in cells.answers.values()
        for a in answers
        if (s := a.scores[place]) is not None
    }
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for r in ratings:
        score = scores.get((r.model, r.condition, r.probe, r.sample))
        if score is not None:
            pairs.setdefault((r.rater, r.rubric), []).append((score, r.value))
    found = []
    for (rater, rubric), rated in pairs.items():
        rho = spearman(*zip(*rated))
        ends = (rho.rho, rho.low, rho.high) if rho else (None, None, None)
        found.append(Validity(rater, rubric, len(rated), *ends))
    return found
