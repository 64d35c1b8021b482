"""bench.json: what a matrix was declared as, and how far each of its models has come.

The answers themselves are in the run folders; this file says which recipe they belong to. A recipe
that is changed once there are answers is refused, unless the change is declared, and then the study
is exploratory for good (rule R16).
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

import lem
from lem.bench.inputs import Inputs
from lem.errors import LemError
from lem.runs.store import FILE as LOG
from lem.text import dump_json, excerpt, read_text, write_atomic

FILE = "bench.json"

Status = Literal["running", "done", "failed", "stopped"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Failure(_Part):
    """Why a model could not be finished."""

    cause: str
    consequence: str
    fix: str
    traceback: str | None = None
    """Of an error that nobody foresaw."""


class ModelState(_Part):
    """How far one model has come."""

    status: Status
    folder: str
    sha256: str
    """Of what it was asked, see `Inputs.model_sha256`."""
    answers: int = 0
    """In its run folder, of this recipe."""
    seconds: float = 0.0
    """Spent on it, over all calls."""
    error: Failure | None = None
    updated: str = ""


class Change(_Part):
    """A change of the recipe after there were answers."""

    when: str
    before: str
    """sha256 of the recipe."""
    after: str
    reason: str


class State(_Part):
    """The content of bench.json."""

    schema_version: Literal[1] = 1
    lem: str
    created: str
    recipe: dict[str, Any]
    texts: dict[str, Any]
    """Hashes of kernels and probes."""
    sha256: str
    changes: list[Change] = []
    models: dict[str, ModelState] = {}

    @property
    def exploratory(self) -> str | None:
        """Why the study is exploratory; None: its recipe is as it was before the first answer."""
        if not self.changes:
            return None
        reasons = "; ".join(change.reason for change in self.changes)
        return f"The recipe was changed after there were answers: {reasons}"


class StateFile:
    """bench.json of one matrix folder, held by one process.

    Args:
        folder: of the matrix; it is made if need be.
        inputs: the recipe.
        accept_change: why the recipe may differ from the one that the answers were made for.

    Raises:
        LemError: another process holds it, it is damaged or cannot be written, or the recipe was
            changed.
    """

    def __init__(self, folder: Path, inputs: Inputs, accept_change: str | None = None) -> None:
        self.folder, self.path = folder, folder / FILE
        self._lock = _locked(folder)
        try:
            earlier = read_state(folder)
            self.state = _declare(folder, inputs, earlier, accept_change)
            self.write()
        except BaseException:
            self._lock.release()
            raise

    def write(self) -> None:
        """Replace the file."""
        write_atomic(self.path, dump_json(self.state.model_dump(mode="json"), indent=1) + "\n")

    def update(self, name: str, **changes: Any) -> None:
        """Change what is said of one model, and write it."""
        entry = self.state.models[name]
        self.state.models[name] = entry.model_copy(update={**changes, "updated": now()})
        self.write()

    def __enter__(self) -> StateFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()


def read_state(folder: Path) -> State | None:
    """What is known of a matrix; None: nothing yet.

    Raises:
        LemError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return State.model_validate(json.loads(read_text(path, "state of the matrix")))
    except (ValueError, ValidationError) as e:
        raise LemError(
            f"{path} is damaged: {excerpt(str(e), 100)}.",
            "It cannot be told which recipe the answers belong to; nothing was run.",
            "Restore it, or move the folder away and start anew.",
        ) from None


def check_unchanged(
    folder: Path, inputs: Inputs, earlier: State | None, accept_change: str | None
) -> None:
    """Refuse a recipe that was changed since the first answer, unless a reason is given.

    Raises:
        LemError: it was, or nobody knows, and none is.
    """
    if accept_change or not _was_changed(folder, inputs, earlier):
        return
    if earlier is None:
        raise LemError(
            f"{folder} has answers but no {FILE}.",
            "It cannot be told which recipe they were made for; nothing was run.",
            'Restore it, give the recipe another name, or add --accept-change "why".',
        )
    fields = _different(earlier, inputs)
    raise LemError(
        f"The recipe {inputs.recipe.name} was changed since its first answers were made "
        f"({', '.join(fields)}; sha256 {earlier.sha256[:12]} then, {inputs.sha256[:12]} now).",
        "A study that is planned anew once its data were seen is no longer the one that was "
        "declared; nothing was run.",
        'Undo the change, give the recipe another name, or add --accept-change "why": the report '
        "then says that it is exploratory.",
    )


def now() -> str:
    """The time, as written into the file."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _declare(
    folder: Path, inputs: Inputs, earlier: State | None, accept_change: str | None
) -> State:
    check_unchanged(folder, inputs, earlier, accept_change)
    state = State(
        lem=lem.__version__,
        created=earlier.created if earlier else now(),
        recipe=inputs.recipe.model_dump(mode="json"),
        texts=inputs.texts(),
        sha256=inputs.sha256,
    )
    if earlier is not None:
        names = {model.name for model in inputs.recipe.models}
        state.models = {name: m for name, m in earlier.models.items() if name in names}
        state.changes = list(earlier.changes)
    if accept_change and _was_changed(folder, inputs, earlier):
        state.changes.append(
            Change(
                when=now(),
                before=earlier.sha256 if earlier else "unknown",
                after=state.sha256,
                reason=excerpt(accept_change, 300),
            )
        )
    return state


def _was_changed(folder: Path, inputs: Inputs, earlier: State | None) -> bool:
    """Whether there are answers that were, or may have been, made for another recipe."""
    if earlier is not None and earlier.sha256 == inputs.sha256:
        return False
    known = earlier.models.values() if earlier else inputs.recipe.models
    logs = (folder / model.folder / LOG for model in known)
    return any(log.exists() and log.stat().st_size for log in logs)


def _different(earlier: State, inputs: Inputs) -> list[str]:
    """Names of the fields that changed."""
    now = inputs.recipe.model_dump(mode="json")
    fields = [f for f in now if f not in ("about", "kernels") and now[f] != earlier.recipe.get(f)]
    texts = inputs.texts()
    return [*fields, *(f"text of {f}" for f in texts if texts[f] != earlier.texts.get(f))]


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise LemError(
            f"Another process is working on {folder}.",
            "Two writers would spoil each other's record; this one stopped.",
            "Wait for the other one, or choose another folder with --runs.",
        ) from None
    except OSError as e:
        raise LemError(
            f"Cannot write to {folder}: {e.strerror or e}.",
            "No answer could be kept, so nothing was run.",
            "Choose a folder that can be written with --runs, or fix its permissions.",
        ) from None
    return lock
