"""How a run is getting on: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
from rich.text import Text

from lem.records import Response

LOG_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class Counts(Protocol):
    """The running totals of an engine."""

    generated: int
    retries: int

    @property
    def shared_share(self) -> float: ...

    @property
    def seconds(self) -> float: ...


class Tally:
    """What both displays say, worked out once."""

    def __init__(self, total: int, done: int, meter: Counts) -> None:
        self.total, self.done, self.before, self.meter = total, done, done, meter
        self.truncated = 0
        self._tokens = 0

    def tick(self, response: Response) -> None:
        self.done += 1
        self.truncated += response.finish_reason == "length"
        self._tokens += response.completion_tokens or 0

    def line(self) -> str:
        """``143 tok/s · 61% of prompts shared · 3 cut · ETA 2:10``."""
        meter = self.meter
        parts = [f"{meter.generated / max(meter.seconds, 1e-3):.0f} tok/s"]
        parts.append(f"{meter.shared_share:.0%} of prompts shared")
        parts.append(f"{self.truncated} cut")
        if meter.retries:
            parts.append(f"{meter.retries} retries")
        left = self._seconds_left()
        parts.append("ETA –:––" if left is None else f"ETA {left // 60:.0f}:{left % 60:02.0f}")
        return " · ".join(parts)

    def _seconds_left(self) -> float | None:
        """From the tokens that the answers so far had on average, at the rate so far. Short
        answers end first, so it errs on the hopeful side."""
        answered, asked = self.done - self.before, self.total - self.before
        if not answered or not self.meter.generated:
            return None
        left = self._tokens / answered * asked - self.meter.generated
        return max(0.0, left) * self.meter.seconds / self.meter.generated


class BarWatcher:
    """A live bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._tally: Tally | None = None

    def start(self, total: int, done: int, meter: Counts) -> None:
        self._tally = Tally(total, done, meter)
        self._progress = Progress(
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            _TallyColumn(self._tally),
            console=self._console,
            transient=True,
            refresh_per_second=4,
        )
        self._progress.add_task("", total=total, completed=done)
        self._progress.start()

    def tick(self, response: Response) -> None:
        if self._tally and self._progress:
            self._tally.tick(response)
            self._progress.advance(self._progress.task_ids[0])

    def stop(self) -> None:
        if self._progress:
            self._progress.stop()


class _TallyColumn(ProgressColumn):
    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def render(self, task: Task) -> Text:
        return Text(self._tally.line())


class LogWatcher:
    """A plain line every few seconds, for logs and pipes."""

    def __init__(self, out: TextIO | None = None, every: float = LOG_EVERY) -> None:
        self._out, self._every = out or sys.stderr, every
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._tally: Tally | None = None

    def start(self, total: int, done: int, meter: Counts) -> None:
        self._tally = Tally(total, done, meter)
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def tick(self, response: Response) -> None:
        if self._tally:
            self._tally.tick(response)

    def stop(self) -> None:
        self._stopped.set()
        if self._thread:
            self._thread.join(timeout=1)
        self._say()

    def _loop(self) -> None:
        while not self._stopped.wait(self._every):
            self._say()

    def _say(self) -> None:
        if self._tally:
            clock = time.strftime("%H:%M:%S")
            done, total = self._tally.done, self._tally.total
            print(
                f"{clock} {done}/{total} answers · {self._tally.line()}", file=self._out, flush=True
            )
