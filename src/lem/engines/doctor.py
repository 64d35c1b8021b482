"""What this machine can run, found out without running a model.

Every library is loaded in a process of its own: a broken installation may end the process that
loads it, and that must not be ours.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lem.engines import builtin, choice, hub, machine
from lem.engines.catalogue import size_of
from lem.engines.fingerprint import cache_folder
from lem.engines.gguf_folder import folder_place
from lem.errors import LemError
from lem.text import excerpt

#: Environment variables with keys; only whether they are set is told.
KEYS = ("LEM_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")
#: Packages whose versions tell what an engine can do.
_VERSIONS = {
    "llama.cpp": ("xllamacpp", "gguf"),
    "transformers": ("torch", "transformers", "peft", "bitsandbytes"),
    "mlx": ("mlx", "mlx-lm"),
}
_LOADS = {
    "llama.cpp": """
from lem.engines._llama_abi import load_library
load_library()
told = {}
""",
    "transformers": """
import torch, transformers
from transformers import AutoModelForCausalLM
told = {"threads": torch.get_num_threads(), "cuda": torch.version.cuda, "hip": torch.version.hip}
bf16 = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
told["cpu_bf16"] = bool(bf16()) if bf16 else False
told["gpus"] = []
for i in range(torch.cuda.device_count()):
    about = torch.cuda.get_device_properties(i)
    told["gpus"].append({
        "device": f"cuda:{i}", "name": about.name, "memory": about.total_memory,
        "free": torch.cuda.mem_get_info(i)[0], "bf16": torch.cuda.is_bf16_supported(),
    })
if torch.backends.mps.is_available():
    told["gpus"].append({"device": "mps", "name": "Apple GPU", "memory": None, "free": None,
                         "bf16": True})
""",
    "mlx": """
import mlx.core as mx, mlx_lm
told = {"device": str(mx.default_device()), "metal": bool(mx.metal.is_available())}
mx.eval(mx.ones(2) + 1)
""",
}
_TIMEOUT = 120


def examine() -> dict[str, Any]:
    """Everything there is to say, as JSON."""
    engines = {engine: _engine(engine) for engine in choice.NEEDS}
    torch = engines["transformers"].get("found", {})
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": machine.usable_cores(),
        "memory": {
            "total": _total_memory(),
            "free": machine.free_memory(),
            "limit": machine.memory_limit(),
        },
        "cpu_bf16": torch.get("cpu_bf16"),
        "gpus": torch.get("gpus", []),
        "engines": engines,
        "cache": _cache(),
        "hub": _hub(),
        "built_in": _built_in(),
        "keys": {name: bool(os.environ.get(name)) for name in KEYS},
    }
    report["advice"] = list(_advice(report))
    report["can_run"] = any(e["loads"] for e in engines.values())
    return report


def _engine(engine: str) -> dict[str, Any]:
    versions = {}
    for package in _VERSIONS[engine]:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    made: dict[str, Any] = {
        "installed": choice.is_installed(engine),
        "versions": versions,
        "loads": False,
        "problem": None,
    }
    if made["installed"]:
        made["found"], made["problem"] = _load(engine)
        made["loads"] = made["problem"] is None
    return made


def _load(engine: str) -> tuple[dict[str, Any], str | None]:
    """What an engine's library says when it is loaded, and what went wrong."""
    code = f"{_LOADS[engine]}\nimport json\nprint(json.dumps(told))"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        if done.returncode == 0:
            told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            return told, None
    except subprocess.TimeoutExpired:
        return {}, f"it did not load within {_TIMEOUT} seconds"
    except (OSError, ValueError, IndexError) as e:
        return {}, excerpt(str(e), 120)
    if done.returncode < 0:
        return {}, f"loading it ended the process (signal {-done.returncode})"
    said = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
    return {}, excerpt(said[-1] if said else f"exit code {done.returncode}", 200)


def _total_memory() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    return {
        "path": str(folder),
        "size": size_of(folder) if folder.exists() else 0,
        "free": shutil.disk_usage(there).free,
        "writable": os.access(there, os.W_OK),
    }


def _hub() -> dict[str, Any]:
    try:
        return {"installed": True, "offline": hub.is_offline(), "cache": str(hub.cache_place())}
    except LemError:
        return {"installed": False, "offline": None, "cache": None}


def _built_in() -> dict[str, Any]:
    place = builtin.prepared_place()
    made = place.exists()
    folder: Path | None = folder_place(place) if made else None
    return {
        "prepared": made,
        "path": str(place) if made else None,
        "converted": folder is not None and folder.exists(),
    }


def _advice(report: dict[str, Any]) -> list[str]:
    """What to do, the most useful first."""
    advice = []
    engines = report["engines"]
    for engine, found in engines.items():
        extra = choice.NEEDS[engine][1]
        if not found["installed"]:
            if engine == "mlx" and not choice.is_apple_silicon():
                continue
            advice.append(f"{engine}: pip install 'lem-lab[{extra}]'")
        elif not found["loads"]:
            advice.append(
                f"{engine} is installed and does not load ({found['problem']}): "
                f"pip install --force-reinstall 'lem-lab[{extra}]'"
            )
    torch = engines["transformers"]
    is_cpu_build = torch["loads"] and not (torch["found"]["cuda"] or torch["found"]["hip"])
    if is_cpu_build and shutil.which("nvidia-smi"):
        advice.append(
            "There is an NVIDIA driver, and torch is its CPU build: see pytorch.org for the build "
            "with CUDA"
        )
    if not report["built_in"]["prepared"]:
        advice.append(
            "Prepare the built-in model while you are online: lem models pull smollm2-135m"
        )
    if not report["cache"]["writable"]:
        advice.append(f"{report['cache']['path']} cannot be written: set LEM_CACHE")
    elif report["cache"]["free"] < 2e9:
        advice.append(f"Less than 2 GB are free for {report['cache']['path']}: set LEM_CACHE")
    return advice
