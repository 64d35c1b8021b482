"""Probes for tests and benchmarks that need many and do not care what they ask."""

from __future__ import annotations

import json
from pathlib import Path

_DOMAINS = ("Bread", "Cloth", "Wood", "Clay", "Garden", "Ferry", "Market", "Dairy")


def numbered_probes(path: Path, count: int = 101) -> Path:
    """Write so many neutral probes, in eight domains by turns, as JSONL; returns the path."""
    lines = [
        {
            "id": f"N{number:04}",
            "domain": _DOMAINS[number % len(_DOMAINS)],
            "prompt": f"Order number {number} came in this morning. What should be done first?",
        }
        for number in range(1, count + 1)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
