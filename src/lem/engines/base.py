"""The protocol of a back end, and what all back ends share."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from lem.prompts import Renderer
from lem.records import EngineInfo, FinishReason, Request, Response
from lem.text import storable


@dataclasses.dataclass
class Meter:
    """Running totals that an engine counts up while it works, for whoever draws the progress.

    Written by one thread and read by another; a reader may see a sum a moment old.
    """

    prefilled: int = 0
    """Prompt tokens computed."""
    shared: int = 0
    """Prompt tokens taken from a prefix that was already there."""
    generated: int = 0
    retries: int = 0
    """Requests to a server that had to be sent again."""
    started: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def shared_share(self) -> float:
        """Share of all prompt tokens that were not computed, 0 to 1."""
        return self.shared / max(1, self.shared + self.prefilled)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class Engine(Renderer, Protocol):
    """A model that renders prompts and answers them.

    Making an engine must be cheap enough to plan a run with; weights may be loaded late.
    """

    @property
    def info(self) -> EngineInfo: ...

    def generate(self, requests: Sequence[Request], meter: Meter) -> Iterator[Response]:
        """Answer all requests, yielding each response as it finishes, in any order.

        Requests of one condition stand together: their common prefix is worth sharing.

        Raises:
            LemError: what cannot be mended by trying again. Responses that were yielded before
                stay good.
        """
        ...

    def close(self) -> None:
        """Give back memory, threads and connections. May be called twice."""
        ...


def finished(
    request: Request,
    *,
    final: str,
    finish_reason: FinishReason,
    prompt_tokens: int | None,
    cached_tokens: int | None,
    completion_tokens: int | None,
    seconds: float,
    reasoning: str | None = None,
    format_errors: int = 0,
) -> Response:
    """The response record of a request, stamped now.

    A lone surrogate, which only a log can hold, becomes U+FFFD: it has no place in UTF-8.
    """
    return Response(
        key=request.key,
        probe=request.probe,
        condition=request.condition,
        sample=request.sample,
        final=storable(final),
        reasoning=None if reasoning is None else storable(reasoning),
        finish_reason=finish_reason,
        format_errors=format_errors,
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        completion_tokens=completion_tokens,
        seconds=round(seconds, 3),
        prompt_sha256=request.prompt_sha256,
        seed=request.seed,
        ts=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
    )
