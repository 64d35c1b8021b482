"""An engine without a model whose answers have known effects: does a report say the truth?

``--model planted`` (``planted:SEED`` for another draw) answers in made-up prose about kitchens and
workshops. Its v2 score is planned before it is written: a level, a shift for each probe (standard
deviation 4, the same in every condition), noise for each answer (2), and a part that depends on
length, with one slope in all arms. To that, four kernel names add a known effect:

========  =========================  ==================================================
kernel    its placebo                what was planted
========  =========================  ==================================================
real      as the baseline            +4 points at the same length
length    as the baseline            1.6 times as long, and as many points as that brings
prompt    does the same              +4 points, whatever the prompt says
null      as the baseline            nothing
========  =========================  ==================================================

For comparisons of models, ``planted:SEED,level=3,strength=0`` is a model whose answers are all 3
points higher and in which nothing of the above happens (``strength=0.5``: half of it).

All other conditions (baseline, its replicate, shuffled and one-line prompts) answer alike. The log
of the ratio of two answers' lengths has a standard deviation of 0.25 in every pair of arms, so that
length can be adjusted for. `TRUTH` has the effects as they come out in v2, measured
(tests/test_planted.py measures them again).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
from types import MappingProxyType

from lem.engines._planted_text import write
from lem.engines.replay import EchoEngine
from lem.records import EngineInfo, FinishReason, Request

VERSION = "1"

LEVEL = 15.0
"""v2 points of an answer of `LENGTH` words to an ordinary probe."""
LENGTH = 160
"""Words of an ordinary answer."""
SLOPE = 6.0
"""Points for each unit of log length, in every arm."""
PROBE_SD, NOISE_SD = 4.0, 1.7
PROBE_LENGTH_SD, LENGTH_SD = 0.15, 0.25 / math.sqrt(2)
"""Of the log of the length: by probe, and by answer."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a condition does to its answers."""

    points: float = 0.0
    """Added at equal length."""
    length: float = 1.0
    """Factor of the length."""

    @property
    def raw(self) -> float:
        """Points in all, those that come with length included."""
        return self.points + SLOPE * math.log(self.length)


#: Condition -> what it does, for the conditions that do something.
EFFECTS = MappingProxyType(
    {
        "real": Effect(points=4.0),
        "length": Effect(length=1.6),
        "prompt": Effect(points=4.0),
        "placebo-prompt": Effect(points=4.0),
    }
)


#: Condition -> what it adds to the v2 score of the baseline: in all, and at equal length. Measured
#: on 20,000 probes, standard error 0.02; conditions that are not named add nothing.
TRUTH = MappingProxyType(
    {
        "real": (3.97, 3.97),
        "length": (2.79, -0.01),
        "prompt": (3.93, 3.94),
        "placebo-prompt": (3.95, 3.96),
    }
)


class PlantedEngine(EchoEngine):
    """Answers of planned score and length, always the same for the same request.

    An answer depends on the seeds of the engine and of the request, on probe, condition and
    sample, and on nothing else: neither kernels nor questions are read. Three words count as four
    tokens.

    Args:
        seed: of the noise. The level and the length of a probe do not depend on it.
        level: points added to every answer.
        strength: factor of all effects, on points and on the log of the length.

    Raises:
        ValueError: a number that no answer can be written for.
    """

    def __init__(self, seed: int = 0, level: float = 0.0, strength: float = 1.0) -> None:
        super().__init__()
        if not (seed >= 0 and abs(level) <= 5 and 0 <= strength <= 1.5):
            raise ValueError("seed, level or strength is out of range")
        self.seed, self.level = seed, level
        self.effects = {
            name: Effect(e.points * strength, e.length**strength) for name, e in EFFECTS.items()
        }
        traits = [str(seed)] if seed or level or strength != 1 else []
        traits += [f"level-{level:g}"] if level else []
        traits += [f"strength-{strength:g}"] if strength != 1 else []
        self.info = EngineInfo(
            engine="planted",
            engine_version=VERSION,
            model="-".join(["planted", *traits]),
            fingerprint={
                "seed": seed,
                "level": level,
                "effects": {name: dataclasses.asdict(e) for name, e in self.effects.items()},
                "template_sha256": self.template.sha256,
            },
            context_length=1 << 20,
        )

    def _told(self, text: str) -> int:
        return _tokens(len(text.split()))

    def _answer(self, request: Request) -> tuple[str, FinishReason]:
        of_probe = _random("probe", request.probe)
        level = LEVEL + self.level + of_probe.gauss(0, PROBE_SD)
        log_length = of_probe.gauss(0, PROBE_LENGTH_SD)
        own = (self.seed, request.seed, request.probe, request.condition, request.sample)
        rng = _random("answer", *own)
        effect = self.effects.get(request.condition, Effect())
        log_length += rng.gauss(0, LENGTH_SD) + math.log(effect.length)
        points = level + rng.gauss(0, NOISE_SD) + effect.points + SLOPE * log_length
        text = write(points, round(LENGTH * math.exp(log_length)), rng)
        words = text.split(" ")
        most = request.sampling.max_tokens
        if _tokens(len(words)) <= most:
            return text, "stop"
        return " ".join(words[: max(1, most * 3 // 4)]), "length"


def _random(*parts: object) -> random.Random:
    mark = "\x1e".join(map(str, ("lem-planted/1", *parts)))
    return random.Random(hashlib.sha256(mark.encode()).digest())


def _tokens(words: int) -> int:
    return math.ceil(words * 4 / 3)
