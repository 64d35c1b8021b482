"""Comparisons of models: tuned against untuned, version against version, size, families, rank.

All are paired by probe: models are compared on the questions they share, never by their means.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lem.analysis.cells import Cells
from lem.analysis.contrasts import LEVEL, TIE, Maker
from lem.analysis.records import Contrast, Families, Kind, Ranked, Scale
from lem.stats import (
    EstimatePooling,
    mean_by,
    paired_effect,
    pool_estimates,
    rank_systems,
)
from lem.study import Model, Study

_SAME_SIZE = 1.6
"""Versions are compared at sizes no further apart than this factor: 7 and 9 billion are, 2 and 7
are not. Ours."""


Table = npt.NDArray[np.float64]


class Pair(NamedTuple):
    """Two models to compare."""

    model: str
    reference: str
    arm: str | None = None
    reference_arm: str | None = None
    """Conditions to compare; None: the same ones of both."""


def tuned_pairs(study: Study) -> list[Pair]:
    """Each tuned model and its untuned base, where both are there."""
    names = {m.name for m in study.models}
    bases = ((m.name, m.group.tuned_from) for m in study.models)
    return [Pair(name, base) for name, base in bases if base is not None and base in names]


def lineage_pairs(study: Study) -> list[Pair]:
    """Each untuned model and the one of the version before it, of about the same size."""
    families: dict[str, list[Model]] = {}
    for m in study.models:
        if m.group.family and m.group.version and m.group.tuned_from is None:
            families.setdefault(m.group.family, []).append(m)
    pairs = []
    for members in families.values():
        versions = sorted({_version(m) for m in members})
        for before, after in itertools.pairwise(versions):
            for model in (m for m in members if _version(m) == after):
                near = [
                    m for m in members if _version(m) == before and _apart(m, model) is not None
                ]
                if near:
                    reference = min(near, key=lambda m: _apart(m, model) or 0.0)
                    pairs.append(Pair(model.name, reference.name))
    return pairs


def _version(model: Model) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", model.group.version or ""))


def _apart(a: Model, b: Model) -> float | None:
    """How far two sizes are apart, as a logarithm; None where they are no match."""
    if a.group.size is None or b.group.size is None:
        return None
    apart = abs(math.log(a.group.size / b.group.size))
    return apart if apart <= math.log(_SAME_SIZE) else None


def baselines(maker: Maker, kind: Kind, pairs: Sequence[Pair]) -> list[Contrast]:
    """Baseline against baseline, for each pair of models."""
    study = maker.cells.study
    found = []
    for pair in pairs:
        own, other = study.model(pair.model), study.model(pair.reference)
        if own.baseline and other.baseline:
            found.append(_models(maker, kind, pair, own.baseline, other.baseline))
    return found


def conditions(maker: Maker, pairs: Sequence[Pair]) -> list[Contrast]:
    """Condition against the same condition, for each pair of models (`lem compare`)."""
    study = maker.cells.study
    found = []
    for pair in pairs:
        own, other = study.model(pair.model), study.model(pair.reference)
        names: list[tuple[str | None, str | None]] = [(own.baseline, other.baseline)]
        names += [(a.name, a.name) for a in own.arms if a.role != "baseline" and other.arm(a.name)]
        if pair.arm or pair.reference_arm:
            names = [(pair.arm or own.baseline, pair.reference_arm or other.baseline)]
        found += [_models(maker, "models", pair, a, b) for a, b in names if a and b]
    return found


def _models(maker: Maker, kind: Kind, pair: Pair, arm: str, reference: str) -> Contrast:
    names = f"{pair.model}:{arm}", f"{pair.reference}:{reference}"
    arms = maker.cells.arm(pair.model, arm), maker.cells.arm(pair.reference, reference)
    model = pair.model if pair.model == pair.reference else f"{pair.model} − {pair.reference}"
    return maker.contrast(kind, model, names, arms)


def resistance(
    maker: Maker, pairs: Sequence[Pair], contrasts: Sequence[Contrast]
) -> list[Contrast]:
    """A kernel's effect on one model minus its effect on the other (rule R14): the drop of a
    tuned model alone shows nothing, since its base may drop as much. Each pair of models once;
    pairs of single conditions have none.

    Args:
        contrasts: within the models.
    """
    effects = {(c.model, c.arm): c for c in contrasts if c.kind == "kernel"}
    found = []
    whole = ((p.model, p.reference) for p in pairs if p.arm is None and p.reference_arm is None)
    for pair in itertools.starmap(Pair, dict.fromkeys(whole)):
        kernels = [arm for model, arm in effects if model == pair.model]
        for kernel in kernels:
            own = effects[pair.model, kernel]
            other = effects.get((pair.reference, kernel))
            if other is not None:
                names = (
                    f"{pair.model}:{kernel}−{own.reference}",
                    f"{pair.reference}:{kernel}−{other.reference}",
                )
                model = f"{pair.model} − {pair.reference}"
                found.append(maker.of_differences("resistance", model, names, (own, other)))
    return found


def scales(maker: Maker, cells: Cells) -> list[Scale]:
    """Change of the baseline score for each doubling of the size, within a family and version of
    at least three untuned models: the slope of each unit by least squares, then their mean."""
    groups: dict[str, list[Model]] = {}
    for m in cells.study.models:
        if m.group.family and m.group.size and m.group.tuned_from is None and m.baseline:
            name = f"{m.group.family} {m.group.version or ''}".strip()
            groups.setdefault(name, []).append(m)
    found = []
    for name, members in groups.items():
        if len({m.group.size for m in members}) < 3:
            continue
        members = sorted(members, key=lambda m: m.group.size or 0.0)
        table = _table(cells, [(m.name, m.baseline or "") for m in members], maker.place)
        whole = table[~np.isnan(table).any(axis=1)]
        sizes = [m.group.size or 0.0 for m in members]
        x = np.log2(sizes) - np.mean(np.log2(sizes))
        slopes = whole @ x / (x @ x)
        found.append(
            Scale(
                scorer=maker.scorer,
                family=name,
                condition="baseline",
                models=tuple(m.name for m in members),
                sizes=tuple(sizes),
                effect=paired_effect(slopes, level=LEVEL, tie=TIE, seed=maker.seed)
                if len(slopes)
                else None,
            )
        )
    return found


def families(scorer: str, study: Study, contrasts: Sequence[Contrast]) -> list[Families]:
    """Each kernel's effect pooled over models, and over the models of each family. Models tuned
    from another one of the study are left out: they are no further model, and would count its
    effect twice. The models answered the same probes, so the covariances of their effects are
    counted in."""
    names = {m.name for m in study.models}
    tuned = {m.name for m in study.models if m.group.tuned_from in names}
    found = []
    for kind in ("kernel", "content"):
        kernels = dict.fromkeys(c.arm for c in contrasts if c.kind == kind)
        for kernel in kernels:
            usable = [
                c
                for c in contrasts
                if (c.kind, c.arm) == (kind, kernel) and c.model not in tuned
                if c.effect and c.effect.n > 1 and c.effect.sd
            ]
            if len(usable) < 2:
                continue
            named = [study.model(c.model).group.family for c in usable]
            by_family = {}
            for family in dict.fromkeys(f for f in named if f):
                own = [c for c, f in zip(usable, named) if f == family]
                if len(own) > 1:
                    by_family[family] = _pooled(own)
            found.append(
                Families(
                    scorer=scorer,
                    kernel=kernel,
                    kind=kind,
                    models=tuple(c.model for c in usable),
                    families=tuple(named),
                    overall=_pooled(usable),
                    by_family=by_family,
                )
            )
    return found


def _pooled(contrasts: Sequence[Contrast]) -> EstimatePooling:
    effects = [c.effect for c in contrasts if c.effect and c.effect.sd]
    means = [e.mean for e in effects]
    errors = [(e.sd or 0.0) / math.sqrt(e.n) for e in effects]
    columns = [{u.id: u.arm - u.reference for u in c.units} for c in contrasts]
    together = np.array([[_covariance(a, b) for b in columns] for a in columns])
    return pool_estimates(means, errors, level=LEVEL, covariance=together)


def _covariance(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Of the means of two sets of differences, by the units that both have."""
    both = [name for name in a if name in b]
    if len(both) < 2:
        return 0.0
    pairs = np.array([(a[name], b[name]) for name in both])
    return float(np.cov(pairs.T)[0, 1]) * len(both) / (len(a) * len(b))


def rankings(maker: Maker, cells: Cells) -> list[Ranked]:
    """The models in order, in the baseline and under each kernel, with groups that cannot be told
    apart, over the units that all of them have."""
    models = cells.study.models
    arms = ["baseline", *dict.fromkeys(k for m in models for k in m.kernels)]
    found = []
    for arm in arms:
        places = [(m.name, m.baseline if arm == "baseline" else arm) for m in models]
        there = [(name, a) for name, a in places if a and cells.arm(name, a)]
        if len(there) < 2:
            continue
        table = _table(cells, there, maker.place)
        scored: npt.NDArray[np.bool_] = np.logical_not(np.isnan(table).all(axis=0))
        shared = table[:, scored]
        shared = shared[~np.isnan(shared).any(axis=1)]  # like is ranked with like
        names = [name for (name, _), keep in zip(there, scored.tolist()) if keep]
        if len(names) < 2 or len(shared) < 2:
            continue
        found.append(
            Ranked(
                scorer=maker.scorer,
                condition=arm,
                ranking=rank_systems(shared, level=LEVEL, seed=maker.seed),
                models=tuple(names),
                n=len(shared),
            )
        )
    return found


def _table(cells: Cells, places: Sequence[tuple[str, str]], place: int) -> Table:
    """Units × arms, NaN where there is no score."""
    columns = []
    for model, arm in places:
        scored = (
            (cells.unit(p), s)
            for p, cell in cells.arm(model, arm).items()
            if (s := cell.scores[place]) is not None
        )
        columns.append(mean_by(scored))
    units = list(dict.fromkeys(u for column in columns for u in column))
    table = np.array([[column.get(u, math.nan) for column in columns] for u in units])
    return table.reshape(len(units), len(places))
