"""The table of a study. Frozen records; numbers are worked out in `lem.analysis`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lem.scoring.work import ScorerInfo

Role = Literal["baseline", "kernel", "control", "replicate"]

Form = Literal["run", "published", "lines"]
"""A run folder, a published A/B file, or any other lines of answers."""


@dataclasses.dataclass(frozen=True)
class Group:
    """What a model is, in the words of the one who compares it."""

    family: str | None = None
    version: str | None = None
    size: float | None = None
    """In billions of parameters."""
    tuned_from: str | None = None
    """Name of the untuned model that this one was made from."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One condition of one model."""

    name: str
    role: Role
    control_of: str | None = None
    """For a control made from a kernel: the name of that kernel's arm."""
    kernel_sha256: str | None = None
    """None without a kernel, and where a file does not say."""
    placement: str | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True)
class Model:
    """One source of answers: a model under one set of settings."""

    name: str
    """Unique in the study."""
    source: str
    """The run folder or file, as the user named it."""
    form: Form
    arms: tuple[Arm, ...]
    """In the order they are shown."""
    settings: Mapping[str, Any]
    """What must agree before answers are compared: max_tokens, temperature, top_p, samples,
    template, ...; only what the source says."""
    group: Group = Group()
    manifest: Mapping[str, Any] | None = None
    """run.json, for a run folder."""

    @property
    def baseline(self) -> str | None:
        """Name of the baseline arm."""
        return next((arm.name for arm in self.arms if arm.role == "baseline"), None)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernel arms, in order."""
        return tuple(arm.name for arm in self.arms if arm.role == "kernel")

    def arm(self, name: str) -> Arm | None:
        """The arm of this name."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def control(self, kernel: str, kind: str = "placebo") -> str | None:
        """Name of a kernel's placebo or shuffled arm, where there is one."""
        arm = self.arm(f"{kind}-{kernel}")
        return arm.name if arm is not None and arm.role == "control" else None


class ProbeText(NamedTuple):
    """A question. Models share a probe only if its id and its text are the same."""

    id: str
    """Unique in the study."""
    domain: str
    cluster: str
    """The dilemma it is a wording of: the unit of all statistics (rule R1)."""
    prompt: str | None
    """None where a file does not say."""


class Stored(NamedTuple):
    """The score that a file states for an answer, beside the one worked out here."""

    version: Literal["v1", "v2", "unknown"]
    """v1: 8 signals, an older score under the same name; v2: 14."""
    score: float | None
    """None where the file holds no number (NaN, text)."""
    recomputed: float | None
    """v2 of the answer's text; None for v1, which is not recomputed."""

    @property
    def disagrees(self) -> bool:
        """Whether a stored v2 score is not what its text gives (to the two decimals stored)."""
        if self.version != "v2":
            return False
        if self.score is None or self.recomputed is None:
            return True
        return abs(self.score - self.recomputed) > 0.0051


class Answer(NamedTuple):
    """One scored answer."""

    model: str
    condition: str
    probe: str
    sample: int
    text: str
    """Empty where texts are not kept (`Study.texts`)."""
    words: int
    empty: bool
    truncated: bool | None
    """Cut off at the token limit; None: nobody knows."""
    malformed: bool
    """Withheld by a server, or its form was broken."""
    refused: bool
    repetitive: bool
    foreign: bool
    """Not in English, as far as can be told."""
    leak: bool
    """Recites a kernel."""
    scores: tuple[float | None, ...]
    """One for each of `Study.scorers`; None: this scorer does not apply to this answer."""
    stored: Stored | None


class Problem(NamedTuple):
    """Something found in the inputs that a reader must know of."""

    kind: str
    """`broken line`, `duplicate`, `other text`, `stored score`, ..."""
    place: str
    text: str


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything the inputs hold."""

    models: tuple[Model, ...]
    probes: Mapping[str, ProbeText]
    answers: tuple[Answer, ...]
    """By model, then arm, then probe, then sample."""
    scorers: tuple[ScorerInfo, ...]
    """The first is the primary one."""
    problems: tuple[Problem, ...]
    texts: bool
    """Whether the answers' texts are kept."""
    kernels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """sha256 -> text, of the kernels that could be found."""

    @property
    def seed(self) -> int:
        """Of the first run that states one: all resampling starts from it (R17)."""
        seeds = (m.settings.get("seed") for m in self.models)
        return next((s for s in seeds if isinstance(s, int)), 0)

    def model(self, name: str) -> Model:
        """The model of this name (KeyError if there is none)."""
        return next(m for m in self.models if m.name == name)

    def scorer(self, name: str) -> int:
        """Place of a scorer in `Answer.scores`."""
        return [s.name for s in self.scorers].index(name)
