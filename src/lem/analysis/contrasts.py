"""One paired comparison with everything that belongs beside it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from lem.analysis.cells import Arm, Cells
from lem.analysis.cells import effect as effect_arm
from lem.analysis.records import Contrast, Kind, Unit, Worst
from lem.stats import (
    PairedEffect,
    detectable,
    holm,
    length_adjusted,
    mean_by,
    paired_effect,
    probes_needed,
    within_noise,
)

LEVEL, POWER = 0.95, 0.8

TIE = 0.5
"""Differences of at most so many points count as the same: the threshold of the published counts
of improved and regressed probes."""

DECIMALS = 9
"""Differences are rounded to so many: scores have four at most, and what the subtraction leaves
beyond is no spread."""

MISSING_TOLERANCE = 0.02
"""Arms may differ by this share of missing scores before a worst case is worked out (R13)."""


class Maker:
    """Makes the contrasts of one scorer.

    Args:
        scorer: its name; `place`: where its scores stand in a cell.
        seed: of the bootstrap.
    """

    def __init__(self, cells: Cells, scorer: str, place: int, seed: int) -> None:
        self.cells, self.scorer, self.place, self.seed = cells, scorer, place, seed

    def contrast(
        self, kind: Kind, model: str, names: tuple[str, str], arms: tuple[Arm, Arm]
    ) -> Contrast:
        """Compare an arm with a reference over the probes of both.

        Args:
            names: of the arm and of the reference.
            arms: their cells.
        """
        own, other = arms
        both = [p for p in own if p in other and self._scored(own, p) and self._scored(other, p)]
        clusters = [self.cells.unit(p) for p in both]
        differences = [self._score(own, p) - self._score(other, p) for p in both]
        shifts = [own[p].log_words - other[p].log_words for p in both]
        effect = self._effect(differences, clusters)
        whole = [i for i, p in enumerate(both) if not own[p].cut and not other[p].cut]
        complete = None
        if 0 < len(whole) < len(both):
            complete = paired_effect(
                [round(differences[i], DECIMALS) for i in whole],
                [clusters[i] for i in whole],
                level=LEVEL,
                tie=TIE,
                resamples=0,
            )
        return Contrast(
            id=f"{self.scorer}/{model}/{names[0]}−{names[1]}",
            kind=kind,
            scorer=self.scorer,
            model=model,
            arm=names[0],
            reference=names[1],
            effect=effect,
            family=None,
            family_size=1,
            p_adjusted=None,
            detectable=_detectable(effect, 1),
            needed=_needed(effect),
            length=length_adjusted(differences, shifts, clusters, level=LEVEL) if both else None,
            complete=complete,
            worst=self._worst(own, other),
            noise=None,
            in_noise=False,
            unmatched=tuple(sorted((own.keys() | other.keys()) - set(both))),
            units=self._units(both, own, other),
        )

    def of_differences(
        self, kind: Kind, model: str, names: tuple[str, str], contrasts: tuple[Contrast, Contrast]
    ) -> Contrast:
        """The difference of two effects within models, over the probes that all four arms
        answered (R14)."""
        own, other = (
            effect_arm(self.cells.arm(c.model, c.arm), self.cells.arm(c.model, c.reference))
            for c in contrasts
        )
        made = self.contrast(kind, model, names, (own, other))
        return dataclasses.replace(made, id=f"{self.scorer}/{model}/({names[0]})−({names[1]})")

    def _effect(
        self, differences: Sequence[float], clusters: Sequence[str] | None
    ) -> PairedEffect | None:
        if not differences:
            return None
        exact = [round(d, DECIMALS) for d in differences]
        return paired_effect(exact, clusters, level=LEVEL, tie=TIE, seed=self.seed)

    def _scored(self, arm: Arm, probe: str) -> bool:
        return probe in arm and arm[probe].scores[self.place] is not None

    def _score(self, arm: Arm, probe: str) -> float:
        """The score of an answer that has one."""
        value = arm[probe].scores[self.place]
        assert value is not None, "asked for only where there is one"
        return value

    def _units(self, both: Sequence[str], own: Arm, other: Arm) -> tuple[Unit, ...]:
        groups: dict[str, list[str]] = {}
        for probe in both:
            groups.setdefault(self.cells.unit(probe), []).append(probe)
        return tuple(
            Unit(
                id=name,
                domain=self.cells.domain(probes[0]),
                arm=statistics.fmean(self._score(own, p) for p in probes),
                reference=statistics.fmean(self._score(other, p) for p in probes),
                length_shift=statistics.fmean(
                    own[p].log_words - other[p].log_words for p in probes
                ),
            )
            for name, probes in groups.items()
        )

    def _worst(self, own: Arm, other: Arm) -> Worst | None:
        asked = list(dict.fromkeys([*own, *other]))
        # (scores, answers there should be) of each probe; a probe left out lacks as many answers
        # as the other arm has
        arms = [
            [
                (arm[p].seen[self.place] if p in arm else (), (arm.get(p) or rest[p]).samples)
                for p in asked
            ]
            for arm, rest in ((own, other), (other, own))
        ]
        missing = [sum(n - len(scores) for scores, n in arm) for arm in arms]
        shares = [gap / max(1, sum(n for _, n in arm)) for gap, arm in zip(missing, arms)]
        seen = [s for arm in arms for scores, _ in arm for s in scores]
        if not seen or abs(shares[0] - shares[1]) <= MISSING_TOLERANCE:
            return None

        def mean(own_fill: float, other_fill: float) -> float:
            """Of the differences, over units, with these for the missing scores."""
            filled = [
                [(sum(scores) + (n - len(scores)) * fill) / n for scores, n in arm]
                for arm, fill in zip(arms, (own_fill, other_fill))
            ]
            differences = (a - b for a, b in zip(*filled))
            units = mean_by(zip(map(self.cells.unit, asked), differences))
            return statistics.fmean(units.values())

        lowest, highest = min(seen), max(seen)
        return Worst(mean(lowest, highest), mean(highest, lowest), sum(missing))


def with_family(contrasts: Sequence[Contrast], family: str) -> list[Contrast]:
    """Contrasts with their p values adjusted (Holm) over all of them as one declared family.
    Those without a test do not count into it."""
    adjusted = holm([c.effect.p if c.effect else None for c in contrasts])
    size = sum(p is not None for p in adjusted)
    return [
        dataclasses.replace(
            c,
            family=family,
            family_size=size,
            p_adjusted=p,
            detectable=_detectable(c.effect, max(1, size)),
        )
        for c, p in zip(contrasts, adjusted)
    ]


def with_noise(contrasts: Sequence[Contrast], floor: float | None) -> list[Contrast]:
    """Contrasts that know the noise floor of their model (R7)."""
    if floor is None:
        return list(contrasts)
    return [
        c
        if c.effect is None or c.kind == "noise"
        else dataclasses.replace(c, noise=floor, in_noise=within_noise(c.effect.mean, floor))
        for c in contrasts
    ]


def _detectable(effect: PairedEffect | None, tests: int) -> float | None:
    if effect is None or not effect.sd:
        return None
    return detectable(effect.sd, effect.n, level=LEVEL, power=POWER, tests=tests)


def _needed(effect: PairedEffect | None) -> int | None:
    """Units needed for a difference of the observed size; None where it is practically none."""
    if effect is None or not effect.sd or abs(effect.mean) * 250 < effect.sd:
        return None
    return probes_needed(effect.sd, abs(effect.mean), level=LEVEL, power=POWER)
