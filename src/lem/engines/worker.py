"""A worker process: it answers requests that come in as JSON lines (python -m lem.engines.worker).

`lem.engines.workers` starts it and speaks with it; people do not. Lines that come in:

    {"model": NAME, "options": {...}}      first, once
    {"ask": [REQUEST, ...]}                answer these; the next ones are sent after "done"
    {"drop": [KEY, ...]}                   these were answered elsewhere

Lines that go out, each with "meter", what was counted since the last one:

    {"ready": ENGINE INFO, "version": OF LEM}
    {"answer": RESPONSE}
    {"done": true}                         of the requests asked last
    {"error": [CAUSE, CONSEQUENCE, FIX]}
    {}                                     now and then

When the input ends, whoever reads the answers is gone, and so is this process at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

from lem import __version__
from lem.engines.base import Engine, Meter
from lem.engines.resolve import EngineOptions, resolve
from lem.errors import LemError
from lem.records import Request

#: Seconds between two reports of the meter while no answer comes.
REPORT_EVERY = 0.5

#: What a meter counts.
COUNTS = ("prefilled", "shared", "generated", "retries")

_Dropped = queue.SimpleQueue[str]
"""Keys of requests that need no answer any more."""


class _Inbox:
    """What comes in, read by a thread of its own so that neither side ever waits for the other."""

    def __init__(self, file: BinaryIO) -> None:
        self.orders: queue.SimpleQueue[tuple[dict[str, Any], _Dropped]] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(file,), daemon=True).start()

    def _read(self, file: BinaryIO) -> None:
        dropped: _Dropped = queue.SimpleQueue()
        try:
            for line in file:
                message = json.loads(line)
                if "drop" in message:
                    for key in message["drop"]:
                        dropped.put(key)
                else:
                    dropped = queue.SimpleQueue()  # what is dropped from now on is of this order
                    self.orders.put((message, dropped))
        finally:
            os._exit(0)  # the parent is gone; the main thread may be deep in a computation


class _Outbox:
    """What goes out: one line at a time, each with what the meter has counted since the last."""

    def __init__(self, file: BinaryIO) -> None:
        self.meter = Meter()
        self._file, self._lock = file, threading.Lock()
        self._told = dict.fromkeys(COUNTS, 0)
        threading.Thread(target=self._report, daemon=True).start()

    def put(self, message: dict[str, Any]) -> None:
        with self._lock:
            now = {name: getattr(self.meter, name) for name in COUNTS}
            new = {name: now[name] - self._told[name] for name in COUNTS}
            if not message and not any(new.values()):
                return
            self._told = now
            try:
                self._file.write(json.dumps(message | {"meter": new}).encode("ascii") + b"\n")
                self._file.flush()
            except OSError:
                os._exit(0)  # nobody reads any more

    def _report(self) -> None:
        while True:
            time.sleep(REPORT_EVERY)
            self.put({})


def main() -> None:
    """Answer until the input ends."""
    inbox, outbox = _take_pipes()
    first, _ = inbox.orders.get()
    try:
        engine = resolve(first["model"], EngineOptions(**first["options"], say=_say))
        outbox.put({"ready": engine.info.model_dump(), "version": __version__})
    except LemError as e:
        outbox.put({"error": [e.cause, e.consequence, e.fix]})
        return
    while True:
        order, dropped = inbox.orders.get()
        requests = [Request.model_validate(request) for request in order["ask"]]
        try:
            _answer(engine, requests, dropped, outbox)
        except LemError as e:
            outbox.put({"error": [e.cause, e.consequence, e.fix]})
        outbox.put({"done": True})


def _take_pipes() -> tuple[_Inbox, _Outbox]:
    """Keep the two pipes for the protocol alone: what libraries print goes to standard error, and
    what they read is empty. Ctrl-C is the parent's business; it reaches the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.flush()
    pipe_in, pipe_out = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return _Inbox(os.fdopen(pipe_in, "rb")), _Outbox(os.fdopen(pipe_out, "wb"))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _answer(engine: Engine, requests: list[Request], dropped: _Dropped, outbox: _Outbox) -> None:
    """Answer these, and stop as soon as the rest of them was answered elsewhere."""
    wanted = {request.key for request in requests}
    answers = engine.generate(requests, outbox.meter)
    try:
        for response in answers:
            wanted.discard(response.key)
            outbox.put({"answer": response.model_dump()})
            while not dropped.empty():
                wanted.discard(dropped.get())
            if not wanted:
                break
    finally:
        close = getattr(answers, "close", None)
        if close:
            close()


if __name__ == "__main__":
    main()
