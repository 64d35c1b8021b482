"""The models on this machine: built in, converted, from the hub; and what each engine can do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lem.engines import architectures, builtin, choice, hub
from lem.engines._folder_adapter import Adapter, read_adapter
from lem.engines._folder_files import quantisation, read_config, read_object
from lem.engines._gguf_header import read_header
from lem.engines.fingerprint import cache_folder
from lem.engines.folder import ORIGIN
from lem.engines.locate import Found
from lem.errors import LemError

_KNOWN = {
    "transformers": architectures.known_to_transformers,
    "mlx": architectures.known_to_mlx,
}
#: Bytes of a README that are looked at for the licence.
_HEAD = 4000


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that is here, or could be made."""

    name: str
    """As `--model` takes it."""
    kind: str
    """built-in, converted, hub."""
    format: str
    """gguf, safetensors, adapter; or what is wrong with it."""
    quantisation: str
    size: int
    """Bytes on the disk."""
    licence: str | None
    path: str | None
    """None: not here yet."""
    engines: dict[str, str]
    """Engine -> "yes", "after conversion", or why not."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def entries() -> Iterator[Entry]:
    """Everything there is, the built-in model first."""
    yield _built_in()
    yield from _converted()
    yield from _from_the_hub()


def abilities(found: Found) -> dict[str, str]:
    """What each engine can do with a model: "yes", "after conversion", or why not."""
    made = {}
    for engine in choice.NEEDS:
        why = choice.hindrance(found, engine)
        is_folder = why is None and found.kind == "folder" and engine in _KNOWN
        if is_folder and _KNOWN[engine](found.config) is False:
            why = f"{engine} does not know {architectures.architecture(found.config)}"
        if why is None and not choice.is_installed(engine):
            why = f"not installed: pip install 'lem-lab[{choice.NEEDS[engine][1]}]'"
        able = "after conversion" if found.kind == "gguf" and engine != "llama.cpp" else "yes"
        made[engine] = why or able
    return made


def licence_of(path: Path) -> str | None:
    """What a folder's or a GGUF file's own description says about its licence."""
    if path.is_file():
        try:
            return read_header(path).licence
        except LemError:
            return None
    origin = read_object(path / ORIGIN, "note of origin").get("licence")
    if isinstance(origin, str):
        return origin
    readme = path / "README.md"
    if readme.exists():
        with readme.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
        told = re.search(r"^license(?:_name)?:[ \t]*[\"']?([\w .+-]{1,40})", head, re.MULTILINE)
        if head.startswith("---") and told:
            return told[1].strip()
    return next((f"see {p.name}" for p in sorted(path.glob("LICENSE*"))), None)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _built_in() -> Entry:
    place = builtin.prepared_place()
    there = place.exists()
    found = Found(builtin.NAME, "gguf", place, built_in=True)
    return Entry(
        name=builtin.NAME,
        kind="built-in",
        format="gguf",
        quantisation="F16",
        size=size_of(place) if there else 0,
        licence="apache-2.0",
        path=str(place) if there else None,
        engines=abilities(found),
    )


def _converted() -> Iterator[Entry]:
    for folder in sorted((cache_folder() / "models").glob("gguf-*")):
        if not (folder / ORIGIN).exists():
            continue
        try:
            origin, config = read_object(folder / ORIGIN, "note of origin"), read_config(folder)
        except LemError:
            continue
        found = Found(folder.name, "folder", folder, config=config)
        yield Entry(
            name=str(folder),
            kind="converted",
            format="safetensors",
            quantisation=f"{origin.get('source')}, {origin.get('stored_as')}",
            size=size_of(folder),
            licence=licence_of(folder),
            path=str(folder),
            engines=abilities(found),
        )


def _from_the_hub() -> Iterator[Entry]:
    for repo, folder in hub.cached_snapshots():
        name = repo
        files = sorted(folder.glob("*.gguf"))
        for file in files:
            yield _hub_gguf(f"{name}:{file.name}", file)
        adapter = _adapter(folder)
        if adapter is not None:
            yield _hub_adapter(name, adapter)
        elif (folder / "config.json").exists() and not files:
            yield _hub_folder(name, folder)


def _hub_gguf(name: str, file: Path) -> Entry:
    try:
        stored = read_header(file).file_type
        engines = abilities(Found(name, "gguf", file))
    except LemError as e:
        stored, engines = "?", dict.fromkeys(choice.NEEDS, e.cause)
    size, licence = size_of(file), licence_of(file)
    return Entry(name, "hub", "gguf", stored, size, licence, str(file), engines)


def _hub_adapter(name: str, adapter: Adapter) -> Entry:
    made_by = "transformers" if adapter.format == "peft" else "mlx"
    engines = {
        e: f"on {adapter.base or 'its base'}" if e == made_by else "another format"
        for e in choice.NEEDS
    }
    size, licence = size_of(adapter.path), licence_of(adapter.path)
    return Entry(name, "hub", "adapter", adapter.format, size, licence, str(adapter.path), engines)


def _hub_folder(name: str, folder: Path) -> Entry:
    form, stored = "safetensors", "?"
    try:
        config = read_config(folder)
        stored = quantisation(config)
        engines = abilities(Found(name, "folder", folder, config=config))
    except LemError as e:
        engines = dict.fromkeys(choice.NEEDS, e.cause)
    if not hub.is_complete(folder):
        form = "incomplete"
        engines = dict.fromkeys(choice.NEEDS, "weights are missing or not safetensors")
    return Entry(
        name, "hub", form, stored, size_of(folder), licence_of(folder), str(folder), engines
    )


def _adapter(folder: Path) -> Adapter | None:
    if not (folder / "adapter_config.json").exists():
        return None
    try:
        return read_adapter(folder)
    except LemError:
        return None
