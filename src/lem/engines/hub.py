"""Models from the Hugging Face hub: safetensors or GGUF, the tokenizer, and nothing that runs.

A snapshot that is in the local cache is used as it is, without a look at the network; `pull` asks
the hub for the newest.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lem.errors import LemError, missing_extra
from lem.text import excerpt

Say = Callable[[str], None]

_STOPPED = "No model was loaded, and nothing was run."
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
#: What a model is made of. No Python, no pickles, and nothing from subfolders.
FILES = (
    "model*.safetensors",
    "adapter*.safetensors",
    "*.json",
    "*.jinja",
    "*.txt",
    "tokenizer.model",
    "spiece.model",
    "LICENSE*",
    "README.md",
)
_NOT = ("*/*",)


def is_id(model: str) -> bool:
    """Whether this can be the name of a model on the hub (``org/name``, with an optional
    ``:FILE``), and not of a file that is not there."""
    repo = model.partition(":")[0]
    return bool(_ID.fullmatch(repo)) and not repo.lower().endswith((".gguf", ".safetensors"))


def is_offline() -> bool:
    """Whether the user has forbidden the hub."""
    return bool(_library().constants.HF_HUB_OFFLINE)


def find(model: str, revision: str | None, say: Say) -> Path:
    """A model's folder, or its GGUF file.

    Args:
        model: ``org/name``; ``org/name:Q4_K_M`` or ``org/name:FILE.gguf`` for one of its GGUFs.
        revision: branch, tag or commit; None: main.
        say: told when something is fetched.

    Raises:
        LemError: no such model, no access to it, no network, or nothing in it that can be run.
    """
    cached = find_cached(model, revision)
    return pull(model, revision, say) if cached is None else cached


def find_cached(model: str, revision: str | None) -> Path | None:
    """Likewise, of what the local cache has in full; None: it has not."""
    repo, _, wanted = model.partition(":")
    folder = _snapshot(repo, revision)
    if folder is None:
        return None
    if wanted:
        return _choose(model, {f.name: f for f in folder.glob("*.gguf")}, must=False)
    return folder if is_complete(folder) else None


def is_complete(folder: Path) -> bool:
    """Whether a snapshot has a model's (or an adapter's) weights."""
    from lem.engines._folder_files import weight_files

    if any((folder / n).exists() for n in ("adapter_model.safetensors", "adapters.safetensors")):
        return (folder / "adapter_config.json").exists()
    if not (folder / "config.json").exists():
        return False
    try:
        return bool(weight_files(folder))
    except LemError:
        return False


def pull(model: str, revision: str | None, say: Say) -> Path:
    """Fetch a model, or what of it is missing or newer; arguments and errors as of `find`."""
    hub = _library()
    repo, _, wanted = model.partition(":")
    if is_offline():
        raise offline(model)
    with _explained(model, revision):
        info = hub.HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=20)
        sizes = {s.rfilename: s.size or 0 for s in info.siblings or []}
        patterns = list(FILES)
        chosen = None
        if wanted or not _has_weights(sizes):
            chosen = _choose(model, {n: Path(n) for n in sizes if n.endswith(".gguf")}, must=True)
            patterns = [chosen.name] if chosen else []
        say(f"fetching {model} from the hub ({_size(sizes, patterns)})")
        if not (sys.stderr and sys.stderr.isatty()):
            hub.utils.disable_progress_bars()
        folder = Path(
            hub.snapshot_download(
                repo, revision=revision, allow_patterns=patterns, ignore_patterns=list(_NOT)
            )
        )
    return folder / chosen.name if chosen else folder


def offline(model: str) -> LemError:
    """The error of a model that would have to be fetched and may not be."""
    return LemError(
        f"{model} is not in the local cache, and the hub is switched off (HF_HUB_OFFLINE).",
        _STOPPED,
        "Unset HF_HUB_OFFLINE, or copy the model's folder here and name it.",
    )


def commit_of(path: Path) -> str | None:
    """The hub's commit of a snapshot in the cache; None for any other folder or file."""
    folder = path if path.is_dir() else path.parent
    return folder.name if folder.parent.name == "snapshots" else None


def _has_weights(names: Any) -> bool:
    return any(re.fullmatch(r"(model|adapter)[^/]*\.safetensors", n) for n in names)


def _choose(model: str, files: dict[str, Path], *, must: bool) -> Path | None:
    """The GGUF file that is meant: by its name, or by the quantisation in it."""
    wanted = model.partition(":")[2]
    files = {n: f for n, f in files.items() if not n.startswith("mmproj")}  # eyes of a model
    if wanted in files:
        return files[wanted]
    part = re.compile(rf"(?:^|[-._]){re.escape(wanted)}(?:[-.]|\.gguf$)", re.IGNORECASE)
    found = [n for n in files if part.search(n)] if wanted else list(files)
    if len(found) == 1 and not re.search(r"-\d{5}-of-\d{5}", found[0]):
        return files[found[0]]
    if not must:
        return None
    if not files:
        raise LemError(
            f"{model.partition(':')[0]} has neither safetensors nor GGUF files.",
            "There is nothing in it that can be run safely; nothing was run.",
            "Look for a release of the model with model.safetensors.",
        )
    many = f"names {len(found)} of its GGUF files" if wanted else "has several GGUF files"
    if found and all(re.search(r"-\d{5}-of-\d{5}", n) for n in found):
        many = "is split into several GGUF files, which is not supported"
    raise LemError(
        f"{model} {many}: {excerpt(', '.join(sorted(files)), 200)}.",
        _STOPPED,
        f"Name one: {model.partition(':')[0]}:FILE.gguf",
    )


def _size(sizes: dict[str, int], patterns: Sequence[str]) -> str:
    import fnmatch

    total = sum(
        size
        for name, size in sizes.items()
        if "/" not in name and any(fnmatch.fnmatch(name, p) for p in patterns)
    )
    return f"{total / 1e9:.1f} GB" if total >= 1e9 else f"{total / 1e6:.0f} MB"


def _snapshot(repo: str, revision: str | None) -> Path | None:
    """The snapshot of a repository in the cache, whole or not."""
    hub = _library()
    try:
        return Path(hub.snapshot_download(repo, revision=revision, local_files_only=True))
    except hub.errors.LocalEntryNotFoundError as e:
        place = getattr(e, "snapshot_path", None)  # there, but not all of the repository
        return Path(place) if place else None
    except (hub.errors.HFValidationError, OSError, ValueError):
        return None


def _library() -> Any:
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors  # noqa: F401 (they are loaded on use)
    except ImportError:
        raise missing_extra("huggingface_hub (models from the hub)", "torch") from None
    return huggingface_hub


@contextlib.contextmanager
def _explained(model: str, revision: str | None) -> Iterator[None]:
    """Turn what goes wrong between us and the hub into errors that people can act on."""
    errors = _library().errors
    repo = model.partition(":")[0]
    try:
        yield
    except errors.GatedRepoError:
        raise LemError(
            f"{repo} is gated: its licence has to be accepted first.",
            _STOPPED,
            f"Accept it at https://huggingface.co/{repo}, then run hf auth login (or set "
            "HF_TOKEN).",
        ) from None
    except errors.RevisionNotFoundError:
        raise LemError(
            f"{repo} has no revision {excerpt(revision or 'main')!r}.",
            _STOPPED,
            "Give a branch, a tag or a commit of it with --revision.",
        ) from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise LemError(
            f"There is no model {repo!r} here, and none on the hub that you may see.",
            _STOPPED,
            "Check the spelling. A private model needs hf auth login (or HF_TOKEN).",
        ) from None
    except LemError:
        raise
    except Exception as e:  # several HTTP libraries lie underneath, each with errors of its own
        raise LemError(
            f"The hub could not be reached for {repo}: {excerpt(str(e) or type(e).__name__, 160)}.",
            _STOPPED,
            "Check the network. A model that is in the cache is used without it.",
        ) from None


def cached_snapshots() -> Iterator[tuple[str, Path]]:
    """Models in the cache: name and folder, of each the snapshot that ``main`` stands for, or the
    newest."""
    try:
        hub = _library()
    except LemError:
        return
    try:
        repos = hub.scan_cache_dir(hub.constants.HF_HUB_CACHE).repos
    except (hub.errors.CacheNotFound, OSError, ValueError):
        return
    for repo in sorted(repos, key=lambda r: str(r.repo_id)):
        if repo.repo_type != "model" or not repo.revisions:
            continue
        best = max(repo.revisions, key=lambda r: ("main" in r.refs, r.last_modified))
        yield repo.repo_id, Path(best.snapshot_path)


def expected_hash(file: Path) -> tuple[str, str] | None:
    """What the hub says a file's hash is: kind (``sha256``, ``git-sha1``) and digest; None for
    files that are not from the hub.

    In the cache a file is a link to one that is named by its hash; in a folder made with
    ``--local-dir`` the hash stands in a note beside it.
    """
    named = ""
    if file.is_symlink():
        target = file.readlink()
        named = target.name if target.parent.name == "blobs" else ""
    else:
        note = file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
        with contextlib.suppress(OSError, IndexError, UnicodeDecodeError):
            named = note.read_text(encoding="utf-8").splitlines()[1].strip()
    kind = {40: "git-sha1", 64: "sha256"}.get(len(named))
    return (kind, named) if kind and re.fullmatch(r"[0-9a-f]+", named) else None


def cache_place() -> Path:
    """The folder of the hub's cache."""
    return Path(_library().constants.HF_HUB_CACHE)
