"""What an input says of itself: its model, its conditions, its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lem.conditions import BASELINE
from lem.errors import LemError
from lem.runs import read_manifest
from lem.scoring.sources import LOG, Source, last_record
from lem.study.records import Arm, Role

#: Fields of a run's sampling that are settings; the others are fixed (see `lem.records.Sampling`).
_SAMPLING = ("max_tokens", "temperature", "top_p", "seed")

REPLICATE = "baseline-replicate"
_CONTROLS = ("baseline-empty", "one-line")


def expand(inputs: Sequence[str]) -> list[str]:
    """Folders of run folders become the runs in them; the rest stays.

    Raises:
        LemError: a folder without a run in it; nothing was named.
    """
    found: list[str] = []
    for name in inputs:
        path = Path(name)
        if path.is_dir() and not (path / LOG).is_file():
            runs = sorted(p.parent for p in path.glob(f"*/{LOG}"))
            if not runs:
                raise LemError(
                    f"{name} is a folder without {LOG}, and so are the folders in it.",
                    "There are no answers to report on.",
                    "Name run folders or files of answers.",
                )
            found += map(str, runs)
        else:
            found.append(name)
    if not found:
        raise LemError(
            "No input was named.", "There is nothing to report on.", "Name a run folder or file."
        )
    once = dict.fromkeys(found)
    if len(once) < len(found):
        twice = next(name for name in once if found.count(name) > 1)
        raise LemError(
            f"{twice} was named twice.", "Its answers would count twice.", "Name it once."
        )
    return found


def manifest_of(source: Source) -> dict[str, Any] | None:
    """The manifest of a run folder; None for a file."""
    return read_manifest(source.path.parent) if source.run and source.path else None


def arms_of_manifest(manifest: Mapping[str, Any]) -> tuple[Arm, ...]:
    """The arms of a run, in its order."""
    return tuple(
        Arm(
            name=c["name"],
            role=_role(c["name"], c["role"]),
            control_of=c.get("control_of"),
            kernel_sha256=(c.get("kernel") or {}).get("sha256"),
            placement=c.get("placement"),
            note=c.get("note"),
        )
        for c in manifest["conditions"]
    )


def arms_of_names(names: Iterable[str]) -> tuple[Arm, ...]:
    """The arms of a file that only names them. Names of the standard conditions have their
    meaning; any other name is taken for a kernel, and a lone condition for the baseline."""
    ordered = list(dict.fromkeys(names))
    if len(ordered) == 1:
        return (Arm(ordered[0], "baseline"),)
    arms = []
    for name in ordered:
        kind, dash, kernel = name.partition("-")
        if kind in ("placebo", "shuffled") and dash:
            arms.append(Arm(name, "control", kernel))
        elif name in _CONTROLS:
            arms.append(Arm(name, "control"))
        else:
            arms.append(Arm(name, _role(name, "baseline" if name == BASELINE else "kernel")))
    return tuple(arms)


def _role(name: str, role: str) -> Role:
    return "replicate" if name == REPLICATE else cast(Role, role)


def settings_of_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree before answers of two runs are compared."""
    engine, template = manifest["engine"], manifest.get("template") or {}
    sampling = manifest["sampling"]
    return {
        **{name: sampling[name] for name in _SAMPLING if name in sampling},
        "samples": manifest.get("samples", 1),
        "engine": f"{engine['engine']} {engine['engine_version']}",
        "template": template.get("template_sha256"),
        "kernels": {
            c["name"]: c["kernel"]["sha256"] for c in manifest["conditions"] if c.get("kernel")
        },
    }


def settings_of_file(source: Source) -> dict[str, Any]:
    """What the summary line of a published file says."""
    record = last_record(source.path) if source.path else {}
    value = record.get("max_tokens")
    return {"max_tokens": value} if isinstance(value, int) else {}
