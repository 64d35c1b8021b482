"""The records that pass between rooms; their field names are the file contract."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = 1

Placement = Literal["none", "system", "user-prefix"]
FinishReason = Literal["stop", "length", "filtered", "unknown"]
Message = dict[str, str]


class Record(BaseModel):
    """A frozen record: made once, passed on, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(Record):
    """How an answer that has one right content is told from a wrong one; see
    `lem.scorers.checks` for what each kind accepts."""

    kind: Literal["number", "one-of", "choice", "regex", "json"]
    value: float | str | list[str] | dict[str, Any]
    """number: the number; one-of: the accepted texts; choice: the letter; regex: a pattern for the
    whole answer; json: the object."""


class Probe(Record):
    """One question put to the model under every condition."""

    id: str
    domain: str
    prompt: str
    set: str
    """Name of the probe set it was loaded from."""
    cluster: str
    """Id of the dilemma it belongs to: a rephrasing has the cluster of its original."""
    split: Literal["eval", "train", "held-out"] = "eval"
    source: str = ""
    """Where it was written: a built-in set, or a file and its line or item."""
    notice: list[str] = []
    """What a good answer must notice; for readers and judges, never shown to the model."""
    check: Check | None = None
    """How to tell a right answer; None where there is no such thing."""


class Lesson(Record):
    """One training example: a conversation that ends with the answer to learn."""

    id: str
    set: str
    """Name of the set it was loaded from."""
    messages: list[Message]
    """Turns in order, role and content; the last is the assistant's."""
    split: Literal["train", "valid", "test"] = "train"
    topic: str = ""
    form: str = ""
    """What the answer is: a letter, a list, a story."""
    axioms: list[int] = []
    """Which of the kernel's axioms it embodies, 1 to 5; never named in its text."""
    source: str = ""
    """Where it was written: a built-in set, or a file and its line or item."""

    @property
    def question(self) -> str:
        """What the people in it say, turn by turn."""
        return self._said("user")

    @property
    def answer(self) -> str:
        """What the assistant says, turn by turn."""
        return self._said("assistant")

    def _said(self, role: str) -> str:
        return "\n\n".join(m["content"] for m in self.messages if m["role"] == role)


class Kernel(Record):
    """A text that is put in front of the probes of one condition."""

    name: str
    text: str
    sha256: str
    source: str
    """A built-in name, a path, or how it was made ("placebo of json, seed 0")."""


class Condition(Record):
    """One arm of the experiment."""

    name: str
    kernel: Kernel | None = None
    placement: Placement = "none"
    role: Literal["baseline", "kernel", "control", "replicate"] = "kernel"
    """replicate: the baseline's prompts asked a second time, which shows how far two answers to
    the same prompt differ by themselves."""
    control_of: str | None = None
    """For a control made from a kernel: the name of that kernel's condition."""
    empty_system: bool = False
    """Send an explicit empty system message, where a template would insert its own default."""


class Sampling(Record):
    """Every sampling field an engine may have a default for, stated.

    The order of filters is temperature, then top-p. The fields that are fixed here are sent and
    recorded so that a server's own defaults cannot leak in.
    """

    max_tokens: int = Field(ge=1)
    temperature: float = Field(default=0.0, ge=0.0)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    top_k: Literal[0] = 0
    """0 = off."""
    min_p: Literal[0] = 0
    repeat_penalty: Literal[1] = 1
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0
    seed: int = 0
    """Of the run; each request derives its own from it."""


class Request(Record):
    """One answer to be generated."""

    key: str
    """Resume key and cache key: sha256 of prompt, model, engine and version, sampling, seed and
    sample index (of a replicate: its sample index plus an offset, see `lem.runs.plan`)."""
    probe: str
    condition: str
    sample: int
    messages: list[Message]
    prompt: str
    """The rendered prompt; for a server that renders out of sight, the messages as JSON."""
    prompt_sha256: str
    token_ids: list[int] | None
    """None where the engine cannot tell them."""
    sampling: Sampling
    seed: int
    """Of this request: a function of the run's seed, the probe and the sample index, and the
    same in every condition but a replicate, which draws for itself."""


class Response(Record):
    """One finished answer: a line of responses.jsonl."""

    schema_version: Literal[1] = SCHEMA_VERSION
    key: str
    probe: str
    condition: str
    sample: int
    final: str
    reasoning: str | None = None
    finish_reason: FinishReason
    """stop: the model ended its answer; length: cut off at max_tokens; filtered: withheld by the
    server; unknown: only in answers read from logs that do not say."""
    format_errors: int = 0
    """Places where the answer breaks the model's own output format: a reasoning mark without its
    counterpart, a channel without a name, a control token left over."""
    prompt_tokens: int | None
    cached_tokens: int | None
    """Prompt tokens that were not computed for this answer but taken from a shared prefix."""
    completion_tokens: int | None
    seconds: float
    """From the answer's first own prefill to its last token. Answers are generated together, so
    these overlap and do not add up to the duration of the run."""
    prompt_sha256: str
    seed: int
    ts: str


class EngineInfo(Record):
    """What generated the answers; goes into the manifest and, by its hash, into every key."""

    engine: str
    engine_version: str
    model: str
    fingerprint: dict[str, Any]
    """What pins the weights and the template (hashes, sizes, quantisation)."""
    context_length: int | None
    """In tokens; None where a server does not say."""
    notes: list[str] = []


def request_key(
    info: EngineInfo,
    prompt: str,
    token_ids: list[int] | None,
    sampling: Sampling,
    seed: int,
    sample: int,
) -> str:
    """The key of a request; see `Request.key`.

    Token ids are hashed where they are known, since two texts may be the same tokens; else the
    text is. Record separators keep the parts apart.
    """
    asked = ",".join(map(str, token_ids)) if token_ids is not None else prompt
    identity = info.model_dump_json(include={"engine", "engine_version", "fingerprint"})
    shape = sampling.model_dump_json(exclude={"seed"})
    parts = ["lem-request/1", asked, identity, shape, str(seed), str(sample)]
    return hashlib.sha256("\x1e".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
