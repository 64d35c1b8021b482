"""What is said on the error stream while answers are scored."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.text import Text

from lem.scoring.sinks import Sink
from lem.scoring.sources import Broken, Meter, Source
from lem.scoring.summary import Summary
from lem.scoring.tables import TableSink
from lem.text import printable

SHOWN_BROKEN = 10
"""Broken lines that are reported one by one; the rest is counted."""

PATIENCE = 1.0
"""Seconds before a bar is shown: what is done sooner needs none."""


class Talk:
    """Reports broken lines, and shows a bar where there is a terminal."""

    def __init__(self, console: Console, sources: Sequence[Source]) -> None:
        self._console, self.meter = console, Meter()
        self._sizes = [source.size for source in sources]
        self._broken = 0
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self.sink: Sink | None = None
        self.shares_screen = False
        """Whether rows go, or through a pipe may go, to the terminal that a bar would be on."""

    def say(self, text: str) -> None:
        """One line, made harmless."""
        self._console.print(Text(printable(text)), soft_wrap=True)

    def broken(self, found: Broken) -> None:
        """Report a broken line, unless many were reported already."""
        self._broken += 1
        if self._broken <= SHOWN_BROKEN:
            self.say(f"skipped: {found.place}: {found.cause}")

    def end(self, summary: Summary) -> None:
        """The closing warnings about empty answers and broken lines, if there were any."""
        empty = sum(group.empty.count for group in summary.groups.values())
        if empty:
            self.say(f"warning: empty answers: {empty:,} of {summary.answers:,}, scored as empty")
        if summary.broken:
            hidden = summary.broken - SHOWN_BROKEN
            more = f" ({hidden:,} of them not shown)" if hidden > 0 else ""
            self.say(
                f"warning: broken lines skipped: {summary.broken:,}{more}; "
                f"answers read: {summary.answers:,}"
            )

    def tick(self) -> None:
        """Move the bar; it appears when no rows are in its way."""
        if self._progress is None:
            silent = isinstance(self.sink, TableSink) and self.sink.silent
            if not self._console.is_terminal or (self.shares_screen and not silent):
                return
            if time.monotonic() - self._began < PATIENCE:
                return
            known = [size for size in self._sizes if size is not None]
            total = sum(known) if len(known) == len(self._sizes) else None
            self._progress = Progress(
                BarColumn(bar_width=20),
                DownloadColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                refresh_per_second=4,
            )
            self._progress.add_task("", total=total)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=self.meter.read)

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
