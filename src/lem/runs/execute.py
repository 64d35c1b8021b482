"""Running a plan: only what is missing is asked for, and every answer is kept as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lem.engines import Engine, Meter
from lem.records import Response
from lem.runs.plan import Plan
from lem.runs.store import ResponseStore


class Watcher(Protocol):
    """Somebody who shows how a run is getting on."""

    def start(self, total: int, done: int, meter: Meter) -> None: ...

    def tick(self, response: Response) -> None: ...

    def stop(self) -> None: ...


def run_plan(
    plan: Plan,
    store: ResponseStore,
    get_engine: Callable[[], Engine],
    watcher: Watcher | None = None,
) -> list[Response]:
    """Answer what the store does not have yet.

    Args:
        get_engine: called only if something is missing.

    Returns:
        The responses of exactly this plan, in its order.

    Raises:
        LemError, KeyboardInterrupt: every answer finished before is in the store.
    """
    missing = [r for r in plan.requests if r.key not in store.responses]
    if missing:
        meter = Meter()
        if watcher:
            watcher.start(len(plan.requests), len(plan.requests) - len(missing), meter)
        answers = get_engine().generate(missing, meter)
        try:
            for response in answers:
                store.append(response)
                if watcher:
                    watcher.tick(response)
        finally:
            if watcher:
                watcher.stop()
            close = getattr(answers, "close", None)
            if close:
                close()
    return [store.responses[r.key] for r in plan.requests]
