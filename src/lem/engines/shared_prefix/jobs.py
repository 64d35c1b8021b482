"""What goes in and what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Job:
    """A prompt to be answered."""

    ids: Sequence[int]
    """Of the whole prompt; at least one."""
    group: str
    """Jobs of one group stand together; what their prompts begin with alike is computed once."""
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    """Of this job's draws, which no other job has a part in."""


@dataclasses.dataclass(frozen=True)
class Done:
    """An answer."""

    job: int
    """Index into the jobs."""
    tokens: list[int]
    """Without the token that ended it."""
    ended: bool
    """By a stop token; else it was cut at max_tokens."""
    cached: int
    """Prompt tokens that were not computed for this job."""
    seconds: float
    """From its own prefill to its last token."""
