"""What this process may use of the machine: cores and memory, within the limits of its container.

A worker process of several (see `lem.engines.workers`) is told its share of the memory, since each
plans from what is free.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

#: Environment variables with the share of the free memory that is this process's, 0 to 1.
MEMORY_SHARE, DEVICE_MEMORY_SHARE = "LEM_MEMORY_SHARE", "LEM_DEVICE_MEMORY_SHARE"

_PROC = Path("/proc")
#: Version 1 of control groups writes a number beyond any memory where there is no limit.
_NO_LIMIT = 2.0**60


def usable_cores() -> int:
    """Cores this process may run on: its affinity, and the whole cores of its group's quota."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    for folder, is_v2 in _groups("cpu"):
        if is_v2:
            quota, _, period = _read(folder / "cpu.max").partition(" ")
        else:
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        allowed = _number(quota) / max(1.0, _number(period or "100000"))
        if 0 < allowed < cores:
            cores = max(1, int(allowed))
    return cores


def free_memory() -> float:
    """Bytes of memory that can be had without pushing others out, this process's share of them; 4
    GB where unknown."""
    free = min([_machine_free(), *(_group_free(*group) for group in _groups("memory"))])
    return max(0.0, free) * memory_share()


def memory_limit() -> float | None:
    """Bytes that a control group (a container) allows this process; None: no limit is set."""
    names = {True: "memory.max", False: "memory.limit_in_bytes"}
    limits = [_number(_read(folder / names[is_v2])) for folder, is_v2 in _groups("memory")]
    smallest = min((limit for limit in limits if not math.isnan(limit)), default=math.inf)
    return smallest if smallest < _NO_LIMIT else None


def memory_share() -> float:
    """Share of the machine's free memory that is this process's, 0 to 1."""
    return _share(MEMORY_SHARE)


def device_memory_share() -> float:
    """Share of its accelerator's free memory that is this process's, 0 to 1."""
    return _share(DEVICE_MEMORY_SHARE)


def _share(variable: str) -> float:
    share = _number(os.environ.get(variable, ""))
    return share if 0 < share <= 1 else 1.0


def _machine_free() -> float:
    for line in _read(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return _number(line.split()[1]) * 1024
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) * 0.5
    except (ValueError, OSError, AttributeError):
        return 4e9


def _group_free(folder: Path, is_v2: bool) -> float:
    """What a control group may still take; file pages that it can give up count as free."""
    names = ("memory.max", "memory.current", "inactive_file")
    if not is_v2:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    limit, used = _number(_read(folder / names[0])), _number(_read(folder / names[1]))
    if math.isnan(limit) or math.isnan(used):
        return math.inf  # "max", or a group without the controller
    for line in _read(folder / "memory.stat").splitlines():
        name, _, size = line.partition(" ")
        if name == names[2]:
            used -= _number(size)
    return limit - used


def _groups(controller: str) -> Iterator[tuple[Path, bool]]:
    """Folders of the control groups this process is in, from its own outwards, and whether they
    are of version 2. Each of them may set a limit."""
    places = {}
    for line in _read(_PROC / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        for name in controllers.split(","):  # version 2 has one line, without a name
            places[name] = place.strip("/")
    for line in _read(_PROC / "self" / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        is_v2 = kind[0] == "cgroup2"
        name = "" if is_v2 else controller
        if name not in places or (not is_v2 and controller not in kind[-1].split(",")):
            continue
        mount = Path(fields[4])
        folder = mount / places[name]
        if not folder.is_dir():  # in a container the mount may be the group itself
            folder = mount
        yield folder, is_v2
        while folder != mount:
            folder = folder.parent
            yield folder, is_v2


def _read(path: Path) -> str:
    """A small file of the system; empty where there is none."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
