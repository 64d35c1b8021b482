"""responses.jsonl: append-only, one durable line a response.

A line is written in one call, flushed and synced before the next is begun, so a kill at any
moment loses at most the line that was being written. Such a torn line has no line feed at its end
and is dropped when the file is opened again.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout
from pydantic import ValidationError

from lem.errors import LemError
from lem.records import Response
from lem.text import excerpt, write_error

FILE = "responses.jsonl"


def read_responses(folder: Path) -> list[Response]:
    """All whole lines of a run's log, in the order they were written.

    Raises:
        LemError: a line in the middle is damaged (naming it), or a key occurs twice.
    """
    return _parse(folder / FILE)[0]


def _parse(path: Path) -> tuple[list[Response], int]:
    """(responses, length in bytes of the whole lines)."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as e:
        raise LemError(
            f"Cannot read {path}: {e.strerror}.", "The run was not touched.", "Check the folder."
        ) from None
    whole = raw.rfind(b"\n") + 1
    responses: list[Response] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(raw[:whole].splitlines(), 1):
        try:
            response = Response.model_validate_json(line)
        except ValidationError as e:
            first = e.errors()[0]
            raise LemError(
                f"{path}, line {number} is damaged: {'.'.join(map(str, first['loc'])) or 'line'}: "
                f"{excerpt(first['msg'], 80)}.",
                "The run was not touched.",
                "Delete that line (its answer is then made again), or start with --fresh.",
            ) from None
        if response.key in seen:
            raise LemError(
                f"{path}, line {number} has the key of line {seen[response.key]}.",
                "The run was not touched.",
                "Delete one of the two lines.",
            )
        seen[response.key] = number
        responses.append(response)
    return responses, whole


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise LemError(
            f"Another process is working on {folder}.",
            "Two writers would spoil the log; this one stopped.",
            "Wait for the other one, or choose another folder with --run.",
        ) from None
    except OSError as e:
        raise LemError(
            f"Cannot write to {folder}: {e.strerror or e}.",
            "No answer could be kept, so nothing was run.",
            "Choose a folder that can be written with --run, or fix its permissions.",
        ) from None
    return lock


class ResponseStore:
    """The log of one run, held by one process.

    Args:
        folder: the run folder; it is made if need be.

    Raises:
        LemError: another process holds it, it cannot be written, or a line is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / FILE
        self._lock = _locked(folder)
        try:
            responses, whole = _parse(self.path)
            self.responses = {r.key: r for r in responses}
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            os.ftruncate(self._file, whole)  # drops a torn last line
            self._end = os.lseek(self._file, whole, os.SEEK_SET)
        except OSError as e:
            self._lock.release()
            raise write_error(self.path, e) from None
        except LemError:
            self._lock.release()
            raise

    @staticmethod
    def check_free(folder: Path) -> None:
        """Raise the error of a run that another process holds, if one does."""
        _locked(folder).release()

    def append(self, response: Response) -> None:
        """Keep a finished answer, durably.

        Raises:
            LemError: the disk is full or the file cannot be written. A part of a line that was
                written is taken back.
        """
        if response.key in self.responses:
            raise ValueError(f"key {response.key} is in the log already")
        line = response.model_dump_json().encode("utf-8") + b"\n"
        try:
            written = os.write(self._file, line)
            if written < len(line):  # a disk filling up: ask again, for the reason
                os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as e:
            os.ftruncate(self._file, self._end)
            raise write_error(self.path, e) from None
        self._end += len(line)
        self.responses[response.key] = response

    def close(self) -> None:
        os.close(self._file)
        self._lock.release()

    def __enter__(self) -> ResponseStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
