"""One call of scoring: inputs in, rows to a sink, sums back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from lem.errors import LemError
from lem.scoring.gains import Gains, with_gains
from lem.scoring.shapes import Item
from lem.scoring.sinks import Sink
from lem.scoring.sources import Broken, Format, Meter, Source, read_source
from lem.scoring.summary import Summary
from lem.scoring.work import Job, describe, score_all


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is scored, and how."""

    sources: Sequence[Source]
    job: Job
    form: Format = "auto"
    by: tuple[str, ...] = ("condition",)
    """Facts that make a group of the summary."""
    limit: int | None = None
    """Only the first so many answers."""
    strict: bool = False
    """Stop at the first broken line."""
    jobs: int = 1


def run(
    plan: Plan,
    sink: Sink | None,
    *,
    on_broken: Callable[[Broken], None] = lambda broken: None,
    on_scored: Callable[[], None] = lambda: None,
    meter: Meter | None = None,
    gains: Gains | None = None,
) -> Summary:
    """Score everything a plan names.

    Args:
        sink: gets every answer that no filter drops, in the order of the inputs.
        on_broken: is told of every line that could not be scored.
        on_scored: is called after every answer.
        meter: counts the bytes read.
        gains: reads the answers for the scorers that ask for it (`needs_gains`).

    Raises:
        LemError: an input cannot be read; with `strict`, a broken line; not one answer could be
            scored because every line is broken, or there are none.
    """
    summary = Summary([describe(spec) for spec in plan.job.scorers], plan.by)
    first: list[Broken] = []

    def broken(found: Broken) -> None:
        if plan.strict:
            raise LemError(
                f"{found.place}: {found.cause}.",
                "Scoring stopped there, because of --strict.",
                "Repair the line, or leave out --strict to skip broken lines.",
            )
        first[:] = first or [found]
        summary.broken += 1
        on_broken(found)

    items: Iterator[Item] = islice(_items(plan, meter or Meter(), broken), plan.limit)
    if gains is not None:
        items = with_gains(items, gains)
    for item, scored in score_all(items, plan.job, plan.jobs):
        summary.add(item, scored)
        if sink is not None and scored.dropped is None:
            sink.add(item, scored)
            if sink.full:
                break
        on_scored()
    if not summary.answers:
        raise _nothing(plan, summary.broken, first)
    return summary


def _items(plan: Plan, meter: Meter, broken: Callable[[Broken], None]) -> Iterator[Item]:
    for source in plan.sources:
        for found in read_source(source, plan.form, meter):
            if isinstance(found, Broken):
                broken(found)
            else:
                yield found


def _nothing(plan: Plan, broken: int, first: list[Broken]) -> LemError:
    if not first:
        names = ", ".join(source.name for source in plan.sources[:3])
        return LemError(
            f"There are no answers in {names}.",
            "Nothing was scored.",
            "Name a file with answers, or check that the program before the pipe wrote any.",
        )
    if any(first[0].place == source.name for source in plan.sources):
        return LemError(
            f"{first[0].place} is no text that can be scored: {first[0].cause}.",
            "Nothing was scored.",
            "Name a file of UTF-8 text, or of JSON Lines for many answers.",
        )
    what = "The only line is" if broken == 1 else f"All {broken:,} lines are"
    return LemError(
        f"{what} broken. {first[0].place}: {first[0].cause}.",
        "Nothing was scored.",
        'Write lines like {"prompt": ..., "response": ...} or {"messages": [...]}, or use '
        "--format text for a plain text.",
    )
