"""The one place where ``--model`` becomes an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from lem.engines.base import Engine
from lem.errors import LemError

_STOPPED = "No model was loaded, and nothing was run."


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """What a user may say about how a model is run (never what it answers)."""

    base_url: str | None = None
    parallel: int | None = None
    """Answers generated together, or requests in flight."""
    threads: int | None = None
    say: Callable[[str], None] = lambda _: None


def resolve(model: str, options: EngineOptions | None = None) -> Engine:
    """An engine for what the user named.

    Args:
        model: ``smollm2-135m`` (built in); a path to a GGUF file; ``openai:NAME`` with a base
            URL; ``replay:FILE`` or ``echo`` (``echo:SECONDS``) for tests; ``planted``
            (``planted:SEED``, ``planted:SEED,level=3,strength=0``), answers with known effects
            (see `lem.engines.planted`).
        options: how to run it.

    Raises:
        LemError: no such model, or it cannot be loaded or reached.
    """
    options = options or EngineOptions()
    kind, _, rest = model.partition(":")
    if model == "echo" or kind == "echo":
        from lem.engines.replay import EchoEngine

        try:
            return EchoEngine(delay=float(rest or 0))
        except ValueError:
            raise LemError(
                f"--model {model!r}: {rest!r} is not a number of seconds.",
                _STOPPED,
                "For example: --model echo:0.1",
            ) from None
    if kind == "planted":
        return _planted(model, rest)
    if kind == "replay" and rest:
        from lem.engines.logs import read_answers
        from lem.engines.replay import ReplayEngine

        return ReplayEngine(read_answers(Path(rest)), Path(rest))
    if kind == "openai" and rest:
        from lem.engines.openai import OpenAIEngine

        if not options.base_url:
            raise LemError(
                "--model openai:NAME needs the address of the server.",
                _STOPPED,
                "For example: --base-url http://127.0.0.1:8080/v1",
            )
        return OpenAIEngine(rest, options.base_url, concurrency=options.parallel)
    if options.base_url:
        raise LemError(
            f"--base-url goes with --model openai:NAME, not with {model!r}.",
            _STOPPED,
            f"Did you mean --model openai:{model} ?",
        )
    return _local(model, options)


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
    from lem.engines import builtin
    from lem.engines.llamacpp import LlamaEngine

    path = Path(model)
    if model.lower() == builtin.NAME and not path.exists():
        path = builtin.built_in_model(options.say)
        return LlamaEngine(path, builtin.NAME, options.parallel, options.threads)
    if path.is_dir():
        raise LemError(
            f"{model} is a folder.",
            _STOPPED,
            "This release runs GGUF files; name the .gguf file itself.",
        )
    if not path.exists():
        raise LemError(
            f"No such model: {model}",
            _STOPPED,
            f"Use {builtin.NAME} (built in), the path of a GGUF file, or openai:NAME with "
            "--base-url.",
        )
    return LlamaEngine(path, path.stem, options.parallel, options.threads)


def obstacle(model: str, options: EngineOptions | None = None) -> LemError | None:
    """Why a model cannot run here, as far as that can be told without loading weights or fetching
    anything; None: nothing is known to be in its way.

    A server is asked whether it has the model.
    """
    from lem.engines import builtin

    options = options or EngineOptions()
    kind = model.partition(":")[0]
    file = Path(model)
    local = kind not in ("echo", "planted", "replay", "openai") and not options.base_url
    try:
        if not local or not (file.is_file() or model.lower() == builtin.NAME):
            resolve(model, options).close()
            return None
        from lem.engines._llama_abi import load_library
        from lem.engines._llama_model import check_magic

        load_library()
        if file.is_file():
            check_magic(file)
    except LemError as e:
        return e
    return None
