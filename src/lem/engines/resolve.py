"""The one place where ``--model`` becomes an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lem.engines.base import Engine
from lem.errors import LemError, missing_extra

if TYPE_CHECKING:
    from lem.engines.locate import Found

_STOPPED = "No model was loaded, and nothing was run."

#: Names that ``--engine`` takes.
ENGINES = ("llama.cpp", "transformers", "mlx")

#: Options about how weights are loaded, by the engines that take them.
_TAKEN = {"llama.cpp": (), "transformers": ("device", "dtype", "quantise"), "mlx": ("dtype",)}
#: Options that mean nothing to a model without files of its own.
_LOCAL_ONLY = ("engine", "device", "dtype", "quantise", "adapter", "revision")


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """What a user may say about how a model is run (never what it answers)."""

    base_urls: Sequence[str] = ()
    """Of one server, or of several with the same model, which share the work."""
    parallel: int | None = None
    """Answers generated together, or requests in flight."""
    threads: int | None = None
    say: Callable[[str], None] = lambda _: None
    engine: str | None = None
    """One of `ENGINES`; None: the one that suits the model's files and this machine."""
    device: str | None = None
    """Of the transformers engine: cpu, cuda, cuda:1, mps; None: the best there is."""
    dtype: str | None = None
    """float32, bfloat16 or float16; None: what the hardware is fast in."""
    quantise: str | None = None
    """Load the weights in 4 or 8 bits (nf4, int8; bitsandbytes); None: as they are stored."""
    adapter: str | None = None
    """Folder or hub id of a LoRA adapter that goes on top of the model."""
    revision: str | None = None
    """Of a model from the hub: branch, tag or commit."""
    thinking: bool | None = None
    """Ask a template that has the switch to think or not; None: its own default."""
    workers: int = 1
    """Processes that share the requests of a run."""


def resolve(model: str, options: EngineOptions | None = None) -> Engine:
    """An engine for what the user named.

    Args:
        model: ``smollm2-135m`` (built in); a path to a GGUF file; a folder with a Hugging Face or
            MLX model, or with an adapter that says what it goes on; ``org/name`` from the hub
            (``org/name:Q4_K_M`` for one of its GGUF files); ``openai:NAME`` with base URLs;
            ``replay:FILE`` or ``echo`` (``echo:SECONDS``) for tests; ``planted``
            (``planted:SEED``, ``planted:SEED,level=3,strength=0``), answers with known effects
            (see `lem.engines.planted`).
        options: how to run it.

    Raises:
        LemError: no such model, or it cannot be loaded or reached.
    """
    options = options or EngineOptions()
    if options.workers > 1:
        from lem.engines.workers import WorkersEngine

        return WorkersEngine(model, options)
    kind, _, rest = model.partition(":")
    if is_remote(model):
        _check_local_only(model, options)
    if kind == "echo":
        return _echo(model, rest)
    if kind == "planted":
        return _planted(model, rest)
    if kind == "replay" and rest:
        from lem.engines.logs import read_answers
        from lem.engines.replay import ReplayEngine

        return ReplayEngine(read_answers(Path(rest)), Path(rest))
    if kind == "openai" and rest:
        from lem.engines.openai import OpenAIEngine

        if not options.base_urls:
            raise LemError(
                "--model openai:NAME needs the address of the server.",
                _STOPPED,
                "For example: --base-url http://127.0.0.1:8080/v1",
            )
        return OpenAIEngine(
            rest, options.base_urls, concurrency=options.parallel, thinking=options.thinking
        )
    if options.base_urls:
        raise LemError(
            f"--base-url goes with --model openai:NAME, not with {model!r}.",
            _STOPPED,
            f"Did you mean --model openai:{model} ?",
        )
    return _local(model, options)


def is_remote(model: str) -> bool:
    """Whether a name is of something that has no files of its own: a server, answers of another
    run, or answers made up for tests."""
    return model.partition(":")[0] in ("echo", "planted", "replay", "openai")


def _check_local_only(model: str, options: EngineOptions) -> None:
    """Refuse options that would be ignored."""
    unheard = _LOCAL_ONLY if model.startswith("openai:") else (*_LOCAL_ONLY, "thinking")
    given = [name for name in unheard if getattr(options, name) is not None]
    if given:
        raise LemError(
            f"--{given[0]} is for models that run in this process, not for {model!r}.",
            _STOPPED,
            f"Leave out --{given[0]}.",
        )


def _echo(model: str, rest: str) -> Engine:
    from lem.engines.replay import EchoEngine

    try:
        return EchoEngine(delay=float(rest or 0))
    except ValueError:
        raise LemError(
            f"--model {model!r}: {rest!r} is not a number of seconds.",
            _STOPPED,
            "For example: --model echo:0.1",
        ) from None


def _planted(model: str, rest: str) -> Engine:
    from lem.engines.planted import PlantedEngine

    seed, *traits = rest.split(",")
    known = {"level": 0.0, "strength": 1.0}
    try:
        for trait in traits:
            name, _, value = trait.partition("=")
            known[name.strip()] = float(value)
        engine = PlantedEngine(int(seed or 0), **known)
    except (ValueError, TypeError):
        raise LemError(
            f"--model {model!r} is not planted:SEED,level=POINTS,strength=FACTOR.",
            _STOPPED,
            "For example: --model planted, --model planted:7, --model planted:7,strength=0",
        ) from None
    return engine


def _local(model: str, options: EngineOptions) -> Engine:
    """A model whose files are on this machine, or come from the hub."""
    from lem.engines.choice import choose
    from lem.engines.locate import locate

    _check_known(options)
    found = locate(
        model, revision=options.revision, adapter=options.adapter, say=options.say, fetch=True
    )
    _check_revision(found, options)
    engine = choose(found, options.engine)
    _check_options(engine, options)
    return _make(found, engine, options)


def _make(found: Found, engine: str, options: EngineOptions) -> Engine:
    """The engine itself; weights are loaded when they are needed."""
    path = found.path
    assert path is not None, "only a model that was not to be fetched has no path"
    rows, thinking, say = options.parallel, options.thinking, options.say
    if engine == "llama.cpp":
        from lem.engines.llamacpp import LlamaEngine

        return LlamaEngine(path, found.name, rows, options.threads, thinking=thinking)
    if found.kind == "gguf":
        from lem.engines.gguf_folder import folder_of

        path = folder_of(path, say)
    adapter = found.adapter.path if found.adapter else None
    notes = [f"From the hub, at commit {found.commit}."] if found.commit else []
    if engine == "mlx":
        from lem.engines.mlx import MlxEngine

        mlx = MlxEngine(
            path,
            found.name,
            adapter=adapter,
            thinking=thinking,
            dtype=options.dtype,
            rows=rows,
            say=say,
        )
        mlx.notes += notes
        return mlx
    from lem.engines.transformers import TransformersEngine

    made = TransformersEngine(
        path,
        found.name,
        adapter=adapter,
        thinking=thinking,
        device=options.device,
        dtype=options.dtype,
        quantise=options.quantise,
        rows=rows,
        threads=options.threads,
        say=say,
    )
    made.notes += notes
    return made


def _check_known(options: EngineOptions) -> None:
    if options.engine is not None and options.engine not in ENGINES:
        raise LemError(
            f"There is no engine {options.engine!r}.", _STOPPED, f"Use one of {', '.join(ENGINES)}."
        )


def _check_revision(found: Found, options: EngineOptions) -> None:
    if options.revision is not None and found.commit is None:
        raise LemError(
            f"--revision is for models from the hub; {found.name} is {found.what}.",
            _STOPPED,
            "Leave out --revision.",
        )


def _check_options(engine: str, options: EngineOptions) -> None:
    """Refuse options of another engine: they would be ignored."""
    for name in _TAKEN["transformers"]:
        if getattr(options, name) is not None and name not in _TAKEN[engine]:
            able = " or ".join(e for e in ENGINES if name in _TAKEN[e])
            raise LemError(
                f"--{name} goes with --engine {able}, and this model runs on {engine}.",
                _STOPPED,
                f"Add --engine {able}, or leave out --{name}.",
            )


def obstacle(model: str, options: EngineOptions | None = None) -> LemError | None:
    """Why a model cannot run here, as far as that can be told without loading weights, fetching
    or converting anything; None: nothing is known to be in its way.

    A server is asked whether it has the model.
    """
    options = options or EngineOptions()
    try:
        if is_remote(model) or options.base_urls:
            resolve(model, options).close()
        else:
            _look(model, options)
    except LemError as e:
        return e
    return None


def _look(model: str, options: EngineOptions) -> None:
    """Raise what is in the way of a local model."""
    from lem.engines import choice, hub
    from lem.engines.locate import NotFetched, locate

    _check_known(options)
    try:
        found = locate(model, revision=options.revision, adapter=options.adapter, fetch=False)
    except NotFetched as missing:
        if hub.is_offline():
            raise hub.offline(str(missing)) from None
        return  # it may well be there
    _check_revision(found, options)
    engine = choice.choose(found, options.engine)
    _check_options(engine, options)
    if not choice.is_installed(engine):
        raise missing_extra(f"{engine} (for {found.what})", choice.NEEDS[engine][1])
    if engine == "llama.cpp":
        from lem.engines._llama_abi import load_library

        load_library()
    if found.kind == "gguf":
        from lem.engines._llama_model import check_magic

        if found.path is not None:
            check_magic(found.path)
        return
    made = _make(found, engine, options)
    try:
        _ = made.facts
    finally:
        made.close()
