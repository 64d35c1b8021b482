"""From what the user named to a file or a folder: built-in, path, adapter on a base, or hub id."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lem.engines import builtin, hub
from lem.engines._folder_adapter import Adapter, read_adapter
from lem.engines._folder_files import is_mlx_quantised, quantisation, read_config
from lem.errors import LemError
from lem.text import excerpt

Say = Callable[[str], None]
_STOPPED = "No model was loaded, and nothing was run."


@dataclasses.dataclass(frozen=True)
class Found:
    """A model that is on this machine."""

    name: str
    """For reports."""
    kind: Literal["gguf", "folder"]
    path: Path | None
    """None: the built-in model, not prepared yet."""
    built_in: bool = False
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of a folder."""
    adapter: Adapter | None = None
    commit: str | None = None
    """Of the hub, for what comes from there."""

    @property
    def what(self) -> str:
        """What it is, in a word or two."""
        if self.built_in:
            return "the built-in model (GGUF)"
        if self.kind == "gguf":
            return "a GGUF file"
        return "an MLX folder" if is_mlx_quantised(self.config) else "a model folder"

    @property
    def quantisation(self) -> str:
        return quantisation(self.config) if self.kind == "folder" else "none"


def locate(
    model: str,
    *,
    revision: str | None = None,
    adapter: str | None = None,
    say: Say = lambda _: None,
    fetch: bool = True,
) -> Found:
    """Find a model, and the adapter that goes on top of it.

    Args:
        model: built-in name, GGUF file, folder (of a model, of an adapter, or with one GGUF file),
            or hub id.
        revision: of a hub id.
        adapter: folder or hub id of an adapter.
        say: told what is going on, when something is.
        fetch: whether what is not here may be fetched or prepared.

    Raises:
        LemError: nothing is there, or nothing that can be run.
    """
    found = _base(model, revision, say, fetch)
    if adapter is None:
        return found
    if found.adapter is not None:
        raise LemError(
            f"{model} is an adapter itself, and --adapter names a second one.",
            _STOPPED,
            "Name the base with --model and one adapter with --adapter.",
        )
    folder = Path(adapter)
    if not folder.exists() and hub.is_id(adapter):
        folder = _from_hub(adapter, None, say, fetch)
    return _with_adapter(found, folder, Path(adapter).name)


def _with_adapter(found: Found, folder: Path, name: str) -> Found:
    return dataclasses.replace(found, name=f"{found.name}+{name}", adapter=read_adapter(folder))


def _base(model: str, revision: str | None, say: Say, fetch: bool) -> Found:
    path = Path(model)
    if model.lower() == builtin.NAME and not path.exists():
        place = builtin.built_in_model(say) if fetch else builtin.prepared_place()
        made = place if place.exists() else None
        return Found(builtin.NAME, "gguf", made, built_in=True)
    if path.is_dir():
        return _folder(path, path.resolve().name or model, say, fetch)
    if path.exists():
        if path.suffix == ".safetensors":
            raise LemError(
                f"{model} holds weights only.",
                "Without configuration and tokenizer it cannot answer; nothing was run.",
                f"Name its folder: --model {path.parent}",
            )
        return Found(path.stem, "gguf", path)
    if hub.is_id(model):
        there = _from_hub(model, revision, say, fetch)
        commit = hub.commit_of(there)
        if there.is_file():
            return Found(there.stem, "gguf", there, commit=commit)
        return dataclasses.replace(_folder(there, model, say, fetch), commit=commit)
    raise LemError(
        f"No such model: {model}",
        _STOPPED,
        f"Use {builtin.NAME} (built in), the path of a GGUF file or of a model folder, a hub id "
        "(org/name), or openai:NAME with --base-url.",
    )


def _from_hub(model: str, revision: str | None, say: Say, fetch: bool) -> Path:
    if fetch:
        return hub.find(model, revision, say)
    there = hub.find_cached(model, revision)
    if there is None:
        raise NotFetched(model)
    return there


def _folder(path: Path, name: str, say: Say, fetch: bool) -> Found:
    if (path / "config.json").exists():
        return Found(name, "folder", path, config=read_config(path))
    if (path / "adapter_config.json").exists():
        return _adapter_alone(path, name, say, fetch)
    files = sorted(f for f in path.glob("*.gguf") if not f.name.startswith("mmproj"))
    if len(files) == 1:
        return Found(files[0].stem, "gguf", files[0])
    if files:
        raise LemError(
            f"{path} holds {len(files)} GGUF files: "
            f"{excerpt(', '.join(f.name for f in files), 120)}.",
            _STOPPED,
            "Name one of the files.",
        )
    config = read_config(path)  # raises: there is none
    return Found(name, "folder", path, config=config)


def _adapter_alone(path: Path, name: str, say: Say, fetch: bool) -> Found:
    """An adapter that says itself what it goes on."""
    base = read_adapter(path).base
    if base is None:
        raise LemError(
            f"{path} is an adapter, and does not say of which base.",
            _STOPPED,
            f"Name the base: --model BASE --adapter {path}",
        )
    beside = path / base
    where = str(beside) if not Path(base).exists() and beside.exists() else base
    try:
        found = _base(where, None, say, fetch)
    except LemError as e:
        raise LemError(
            f"{path} is an adapter for {excerpt(base)}. {e.cause}",
            e.consequence,
            f"Name the base yourself: --model BASE --adapter {path}",
        ) from None
    if found.adapter is not None:
        raise LemError(
            f"{path} is an adapter for {excerpt(base)}, which is an adapter too.",
            _STOPPED,
            "Merge one of them into its base first.",
        )
    return _with_adapter(found, path, name)


class NotFetched(Exception):
    """A model of the hub that is not in the cache, where nothing may be fetched."""
