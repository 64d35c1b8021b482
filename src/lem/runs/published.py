"""The published A/B file: one line a probe, one summary line, as the earlier study wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lem.errors import LemError
from lem.records import Probe, Response
from lem.stats import paired_effect
from lem.text import dump_json, write_atomic

Heuristic = Mapping[str, int | float]

#: A probe counts as improved or regressed when its paired difference is beyond this.
CHANGED = 0.5


def published_lines(
    model: str,
    probes: Sequence[Probe],
    conditions: Sequence[str],
    responses: Sequence[Response],
    heuristics: Mapping[str, Heuristic],
    max_tokens: int,
    duration: float,
) -> list[str]:
    """The lines of the file, without line ends.

    Args:
        conditions: in order; the first one is what the others are compared with.
        heuristics: response key -> the 14 counts and lek_score.
        duration: of the run, in seconds.

    A rephrasing also names its dilemma, as ``cluster``: that is what statistics count.
    With several samples a probe, the response shown is the first, and ``lek_score`` is the mean
    over all of them (the number of samples is then added as ``samples``).
    """
    table: dict[tuple[str, str], list[Response]] = {}
    for response in responses:
        table.setdefault((response.probe, response.condition), []).append(response)
    score = {
        place: sum(heuristics[r.key]["lek_score"] for r in found) / len(found)
        for place, found in table.items()
    }
    lines = []
    for probe in probes:
        entries: dict[str, Any] = {}
        for name in conditions:
            found = sorted(table.get((probe.id, name), []), key=lambda r: r.sample)
            if found:
                entries[name] = _entry(found, heuristics, score[probe.id, name])
        wording = {"cluster": probe.cluster} if probe.cluster != probe.id else {}
        lines.append(
            dump_json(
                {
                    "type": "probe",
                    "id": probe.id,
                    "category": probe.domain,
                    **wording,
                    "prompt": probe.prompt,
                    "conditions": entries,
                    "ts": max((r.ts for r in responses if r.probe == probe.id), default=None),
                }
            )
        )
    summary = {
        "type": "summary",
        "model": model,
        "total_probes": len(probes),
        "conditions": _condition_summaries(probes, conditions, score),
        "categories": _categories(probes, conditions, score),
        "duration": round(duration, 1),
        "max_tokens": max_tokens,
        "ts": max((r.ts for r in responses), default=None),
    }
    return [*lines, dump_json(summary)]


def write_published(path: Path, lines: Sequence[str]) -> None:
    """Write or replace the file in one step.

    Raises:
        LemError: the path holds something else, or cannot be written.
    """
    check_output(path)
    write_atomic(path, "\n".join(lines) + "\n")


def check_output(path: Path) -> None:
    """Refuse to replace a file that is not an A/B file, before any work is done.

    Raises:
        LemError: it exists and is something else.
    """
    if path.is_dir():
        raise LemError(
            f"--output {path} is a folder.", "Nothing was run.", "Name a file: results.jsonl"
        )
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with path.open(encoding="utf-8") as file:
            known = json.loads(file.readline())["type"] in ("probe", "summary")
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise LemError(
            f"--output {path} exists and is not an A/B file.",
            "It would be overwritten; nothing was run.",
            "Choose another name, or remove it yourself.",
        )


def _entry(found: list[Response], heuristics: Mapping[str, Heuristic], mean: float) -> Any:
    first = found[0]
    entry = {
        "response": first.final,
        "lek_score": round(mean, 2),
        "heuristic": dict(heuristics[first.key]),
        "chars": len(first.final),
        "time_s": round(first.seconds, 1),
    }
    return {**entry, "samples": len(found)} if len(found) > 1 else entry


def _condition_summaries(
    probes: Sequence[Probe], conditions: Sequence[str], score: Mapping[tuple[str, str], float]
) -> list[dict[str, Any]]:
    summaries = []
    for name in conditions:
        own = [score[p.id, name] for p in probes if (p.id, name) in score]
        pairs = [
            score[p.id, name] - score[p.id, conditions[0]]
            for p in probes
            if (p.id, name) in score and (p.id, conditions[0]) in score
        ]
        effect = paired_effect(pairs, tie=CHANGED) if pairs else None
        summaries.append(
            {
                "name": name,
                "avg_lek": round(_mean(own), 2),
                "improved": effect.better if effect else 0,
                "regressed": effect.worse if effect else 0,
                "unchanged": effect.same if effect else 0,
                "delta_vs_baseline": round(effect.mean, 2) if effect else 0.0,
            }
        )
    return summaries


def _categories(
    probes: Sequence[Probe], conditions: Sequence[str], score: Mapping[tuple[str, str], float]
) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for domain in dict.fromkeys(p.domain for p in probes):
        for name in conditions:
            own = [
                score[p.id, name] for p in probes if p.domain == domain and (p.id, name) in score
            ]
            if own:
                table.setdefault(domain, {})[name] = round(_mean(own), 2)
    return table


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
