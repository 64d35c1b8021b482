"""A worker process as its parent holds it: pipes of JSON lines, and what it said last.

Threads read and write the pipes, so that a child that is slow, stopped or hung never blocks the
parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

from lem.errors import LemError
from lem.text import excerpt

#: Longest line that is taken from a child; the longest answers are a small part of it.
MOST_LINE = 1 << 26
#: Bytes of its standard error that are kept, from the end.
_TAIL = 1 << 13
#: Seconds between asking a child to end and ending it.
CLOSE_WAIT = 1.0

Message = dict[str, Any]
Inbox = queue.SimpleQueue[tuple["WorkerProcess", Message | None]]


class WorkerProcess:
    """A child that was started and not yet stopped.

    Args:
        command: to start it.
        environment: its own.
        inbox: gets (this, message) for every line it writes, at last (this, None). A line that is
            no JSON object comes as {"garbage": the line}.

    Raises:
        LemError: the system starts no more processes.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], inbox: Inbox
    ) -> None:
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
            )
        except OSError as e:
            raise LemError(
                f"A worker process could not be started: {e.strerror or e}.",
                "The run stopped; every answer finished before is kept.",
                "Use fewer --workers, or free memory, then run the same command again.",
            ) from None
        self.pid = self._process.pid
        self._tail = b""
        self._outgoing: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin and stdout and stderr
        self._threads = (
            _thread(self._listen, stderr),
            _thread(self._write, stdin),
            _thread(self._read, stdout, inbox),
        )

    def send(self, message: Message) -> None:
        """Put a line into its standard input, some time soon."""
        self._outgoing.put(message)

    def how_it_ended(self) -> str:
        """In words, with the last thing it said. Ends it if it has not yet."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_WAIT)
        stop([self])
        code = self._process.returncode
        if code >= 0:
            how = f"ended with exit status {code}"
        elif -code == signal.SIGKILL:
            how = "was killed, as the system does when memory runs out"
        else:
            how = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        said = self._tail.decode("utf-8", "replace").strip().splitlines()
        return f"{how}; it last said: {excerpt(said[-1], 300)}" if said else how

    def _write(self, file: BinaryIO) -> None:
        with contextlib.suppress(OSError):  # that it has ended is told by its output
            while (message := self._outgoing.get()) is not None:
                file.write(json.dumps(message).encode("ascii") + b"\n")
                file.flush()
        with contextlib.suppress(OSError):
            file.close()

    def _read(self, file: BinaryIO, inbox: Inbox) -> None:
        with file:
            while line := file.readline(MOST_LINE):
                if line.endswith(b"\n") or len(line) == MOST_LINE:
                    inbox.put((self, _message(line)))  # else it was torn by the child's end
        inbox.put((self, None))

    def _listen(self, file: BinaryIO) -> None:
        with file:
            while said := os.read(file.fileno(), 1 << 16):
                self._tail = (self._tail + said)[-_TAIL:]


def stop(processes: Iterable[WorkerProcess], wait: float = CLOSE_WAIT) -> None:
    """End processes: they are asked to, and killed if they have not after ``wait`` seconds."""
    processes = list(processes)
    for process in processes:
        process._outgoing.put(None)
        process._process.terminate()
    deadline = time.monotonic() + wait
    for process in processes:
        try:
            process._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process._process.kill()
            process._process.wait()
    for process in processes:
        for thread in process._threads:
            thread.join(CLOSE_WAIT)  # a grandchild may still hold a pipe open


def _thread(work: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _message(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict):
        return message
    return {"garbage": line[:1000].decode("utf-8", "replace")}
