"""Running sums over scored answers: what is said of each group at the end. Memory does not grow
with the number of answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import special

from lem.scorers.base import Field
from lem.scoring.shapes import Item
from lem.scoring.work import Scored, ScorerInfo

REPETITIVE = 0.2
"""Answers count as repetitive from this `repetition` on: one run of four words in five was said
before."""

MAX_GROUPS = 1000
"""Groups beyond these are summed up together, so that an id in the place of a category cannot
fill the memory."""

OTHERS = "(all other groups)"
LEVEL = 0.95


class Running:
    """n, mean and spread of numbers that come one by one (Welford 1962)."""

    def __init__(self) -> None:
        self.n, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        """Take in one number."""
        self.n += 1
        off = value - self.mean
        self.mean += off / self.n
        self._squares += off * (value - self.mean)

    @property
    def sd(self) -> float | None:
        """Standard deviation (n - 1); None below two numbers."""
        return math.sqrt(self._squares / (self.n - 1)) if self.n > 1 else None

    def interval(self) -> tuple[float, float] | None:
        """Two-sided t interval of the mean at `LEVEL` (Student 1908); None below two numbers.
        It takes the numbers as independent."""
        if self.sd is None:
            return None
        half = float(special.stdtrit(self.n - 1, (1 + LEVEL) / 2)) * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def to_json(self) -> dict[str, Any]:
        """n, mean, sd, low, high; None where there is no such number."""
        low, high = self.interval() or (None, None)
        return {
            "n": self.n,
            "mean": self.mean if self.n else None,
            "sd": self.sd,
            "low": low,
            "high": high,
        }


class Share:
    """How many of those that can be told have a property."""

    def __init__(self) -> None:
        self.count, self.of = 0, 0

    def add(self, value: Field) -> None:
        """Take in a yes or a no; None is not counted."""
        if value is not None:
            self.of += 1
            self.count += bool(value)

    @property
    def share(self) -> float | None:
        """0 to 1; None where nothing could be told."""
        return self.count / self.of if self.of else None

    def to_json(self) -> dict[str, Any]:
        """count, of, share."""
        return {"count": self.count, "of": self.of, "share": self.share}


class ScorerSums:
    """One scorer in one group."""

    def __init__(self, info: ScorerInfo) -> None:
        self.info = info
        self.headline, self.unscored = Running(), 0
        self.card: dict[str, Running] = {}
        """Means of the published cards, for scorers that compare an answer with its question."""
        self.positive, self.sycophantic = Share(), Share()

    def add(self, fields: Mapping[str, Field]) -> None:
        """Take in one answer's fields."""
        value = _number(fields.get(self.info.headline))
        if value is None:
            self.unscored += 1
        else:
            self.headline.add(value)
        if "uplift" not in fields:
            return
        for name in CARD_MEANS:
            mean = self.card.setdefault(name, Running())
            if (value := _number(fields.get(name))) is not None:
                mean.add(value)
        uplift = _number(fields["uplift"])
        self.positive.add(None if uplift is None else uplift > 0)
        self.sycophantic.add(fields.get("sycophantic"))

    def to_json(self) -> dict[str, Any]:
        """The headline with its names, and the card where there is one."""
        info = self.info
        found = {
            "version": info.version,
            "profile": info.profile,
            "label": info.label,
            "headline": info.headline,
            **self.headline.to_json(),
            "not_applicable": self.unscored,
        }
        if self.card:
            found["card"] = {
                **{name: mean.to_json() for name, mean in self.card.items()},
                "positive_uplift": self.positive.to_json(),
                "sycophantic": self.sycophantic.to_json(),
            }
        return found


CARD_MEANS = ("noun_diversity", "verb_diversity", "uplift", "enrichment")
"""Fields whose means the published cards list, beside the headline."""


class Group:
    """All answers of one condition, category or model."""

    def __init__(self, by: Mapping[str, str | None], scorers: Sequence[ScorerInfo]) -> None:
        self.by = dict(by)
        self.answers, self.words = 0, Running()
        self.empty, self.truncated, self.leaks = Share(), Share(), Share()
        self.not_english, self.repetitive = Share(), Share()
        self.scorers = {info.name: ScorerSums(info) for info in scorers}

    @property
    def name(self) -> str:
        """What to call it: `json`, `json / Health`; `(none)` where a fact is not known."""
        return " / ".join("(none)" if value is None else value for value in self.by.values())

    def add(self, scored: Scored) -> None:
        """Take in one answer."""
        text = scored.text
        self.answers += 1
        if (words := _number(text["words"])) is not None:
            self.words.add(words)
        self.empty.add(text["empty"])
        self.truncated.add(text["truncated"])
        self.not_english.add(None if text["empty"] else text["language"] != "en")
        repetition = _number(text["repetition"])
        self.repetitive.add(repetition is not None and repetition >= REPETITIVE)
        self.leaks.add(scored.overlap["leak"])
        for name, fields in scored.scores.items():
            self.scorers[name].add(fields)

    def to_json(self) -> dict[str, Any]:
        """Everything, by name."""
        return {
            "by": self.by,
            "answers": self.answers,
            "words": self.words.to_json(),
            "empty": self.empty.to_json(),
            "truncated": self.truncated.to_json(),
            "not_english": self.not_english.to_json(),
            "repetitive": self.repetitive.to_json(),
            "leak": self.leaks.to_json(),
            "scorers": {name: sums.to_json() for name, sums in self.scorers.items()},
        }


class Summary:
    """The sums of a whole call.

    Args:
        scorers: asked for, in order.
        by: names of the facts that make a group: `condition`, `category`, `model`, `file`.
    """

    def __init__(self, scorers: Sequence[ScorerInfo], by: Sequence[str]) -> None:
        self.infos, self.by = list(scorers), tuple(by)
        self.groups: dict[tuple[str | None, ...], Group] = {}
        self.answers, self.broken = 0, 0
        self.dropped: dict[str, int] = {}
        self.resampled = False
        """Whether some question was answered more than once."""

    def add(self, item: Item, scored: Scored) -> None:
        """Take in one answer, or count it as dropped."""
        self.answers += 1
        if scored.dropped is not None:
            self.dropped[scored.dropped] = self.dropped.get(scored.dropped, 0) + 1
            return
        self.resampled = self.resampled or bool(item.sample)
        key = tuple(getattr(item, name) for name in self.by)
        if key not in self.groups and len(self.groups) >= MAX_GROUPS:
            key = (OTHERS,) * len(self.by)
        if key not in self.groups:
            self.groups[key] = Group(dict(zip(self.by, key)), self.infos)
        self.groups[key].add(scored)

    def to_json(self) -> dict[str, Any]:
        """The machine form of the summary."""
        return {
            "answers": self.answers,
            "scored": sum(group.answers for group in self.groups.values()),
            "broken": self.broken,
            "dropped": self.dropped,
            "interval": f"{LEVEL:.0%} t interval of the mean over answers, taken as independent",
            "several_samples_a_question": self.resampled,
            "repetitive_from": REPETITIVE,
            "groups": [group.to_json() for group in self.groups.values()],
        }


def _number(value: Field) -> float | None:
    """The value, where it is a number that can be averaged."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
