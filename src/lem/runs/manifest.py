"""run.json: what a run was made of, enough to repeat it and to refuse to mix it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import lem
from lem.errors import LemError
from lem.prompts import TemplateFacts
from lem.records import SCHEMA_VERSION, EngineInfo, Sampling
from lem.runs.plan import Plan
from lem.runs.store import ResponseStore
from lem.text import dump_json, read_text, sha256, write_atomic, write_error

FILE = "run.json"


def run_name(info: EngineInfo, set_name: str, sampling: Sampling) -> str:
    """The default folder name: model, probe set, and a mark of everything that would make the
    answers incomparable. Adding conditions, probes or samples keeps the folder."""
    mark = sha256(info.model_dump_json(exclude={"notes"}) + sampling.model_dump_json())[:8]
    slug = re.sub(r"[^a-z0-9.]+", "-", f"{info.model}-{set_name}".lower()).strip("-.")[:60]
    return f"{slug}-{mark}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        LemError: there is none, or it is damaged.
    """
    path = folder / FILE
    try:
        manifest: dict[str, Any] = json.loads(read_text(path, "run manifest"))
    except ValueError as e:
        raise LemError(
            f"{path} is damaged: {e}.",
            "The run was not touched.",
            "Rename the folder and run again; responses.jsonl stays readable by itself.",
        ) from None
    return manifest


def move_aside(folder: Path) -> str | None:
    """Keep an earlier run under another name, so that its folder can be used afresh.

    Returns:
        A note for the user, or None where there was nothing to move.

    Raises:
        LemError: a process is working on it, or it cannot be renamed.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return None
    ResponseStore.check_free(folder)
    number = next(n for n in range(1, 10_000) if not _aside(folder, n).exists())
    try:
        folder.rename(_aside(folder, number))
    except OSError as e:
        raise write_error(folder, e) from None
    return f"The earlier run was kept as {_aside(folder, number)}."


def write_manifest(
    store: ResponseStore,
    info: EngineInfo,
    facts: TemplateFacts,
    plan: Plan,
    command: list[str] | None = None,
) -> None:
    """Check that the run folder is of this run, and write its manifest.

    Args:
        store: holds the folder, so that nobody else writes meanwhile.
        command: the command line, for the record.

    Raises:
        LemError: the folder holds another run (other model or sampling), or something else.
    """
    folder = store.folder
    created = _now()
    notes = info.notes
    if (folder / FILE).exists():
        earlier = read_manifest(folder)
        _check_same(folder, earlier, info, plan)
        created = earlier.get("created", created)
        # What an engine found out while it answered holds for the answers of that time.
        notes = list(dict.fromkeys([*earlier["engine"].get("notes", []), *notes]))
    elif store.responses:
        raise LemError(
            f"{folder} has answers but no manifest ({FILE}).",
            "It cannot be told what they belong to; nothing was run.",
            "Choose another folder with --run, or start with --fresh (the old one is kept).",
        )
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "lem": lem.__version__,
        "created": created,
        "updated": _now(),
        "command": command,
        "engine": info.model_dump() | {"notes": notes},
        "template": facts.model_dump(),
        "sampling": plan.sampling.model_dump(),
        "samples": plan.samples,
        "conditions": [
            {
                "name": arm.condition.name,
                "role": arm.condition.role,
                "control_of": arm.condition.control_of,
                "placement": arm.placement,
                "note": arm.note,
                "kernel": arm.condition.kernel
                and arm.condition.kernel.model_dump(exclude={"name", "text"}),
                "example_prompt": next(
                    r.prompt for r in plan.requests if r.condition == arm.condition.name
                ),
            }
            for arm in plan.arms
        ],
        "probes": {
            "sets": sorted({p.set for p in plan.probes}),
            "sha256": sha256(dump_json([[p.id, p.domain, p.prompt] for p in plan.probes])),
            "items": [
                {
                    "id": p.id,
                    "domain": p.domain,
                    "cluster": p.cluster,
                    "prompt": p.prompt,
                    **({"check": p.check.model_dump()} if p.check else {}),
                    **({"notice": p.notice} if p.notice else {}),
                }
                for p in plan.probes
            ],
        },
        "superseded": _superseded(store, plan),
        "notes": plan.notes + notes,
        "hardware": {
            "platform": platform.platform(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "git_revision": _git_revision(),
    }
    write_atomic(folder / FILE, dump_json(manifest, indent=1) + "\n")


def _aside(folder: Path, number: int) -> Path:
    return folder.with_name(f"{folder.name}.old-{number}")


def _check_same(folder: Path, earlier: dict[str, Any], info: EngineInfo, plan: Plan) -> None:
    was, now = earlier.get("engine", {}), info.model_dump()
    for field in ("engine", "engine_version", "fingerprint"):
        if was.get(field) != now[field]:
            raise LemError(
                f"{folder} holds a run of {was.get('model')} with another {field} "
                f"({was.get(field)!r} against {now[field]!r}).",
                "Answers of different models would be mixed; nothing was run.",
                "Choose another folder with --run, or start with --fresh (the old one is kept).",
            )
    if earlier.get("sampling") != plan.sampling.model_dump():
        raise LemError(
            f"{folder} holds a run with other sampling settings ({earlier.get('sampling')}).",
            "Answers of different settings would be mixed; nothing was run.",
            "Repeat the settings, choose another folder with --run, or start with --fresh.",
        )


def _superseded(store: ResponseStore, plan: Plan) -> list[str]:
    """Keys of answers in the log whose place in this plan another request has taken, because the
    kernel of that condition or the text of that probe was changed since."""
    wanted = {request.key for request in plan.requests}
    places = {(r.probe, r.condition, r.sample) for r in plan.requests}
    return [
        key
        for key, r in store.responses.items()
        if key not in wanted and (r.probe, r.condition, r.sample) in places
    ]


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git_revision() -> str | None:
    """Of the working folder the command was given in, if it is a git checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
