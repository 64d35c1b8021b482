"""A GGUF file as a Hugging Face folder, made once, for the engines that do not read GGUF.

transformers reads the configuration and dequantises the weights. Its tokenizer is not taken on
trust: GGUF names the rule by which text is split before the merges, and transformers does not look
at it. It is put in here, and the finished tokenizer must give llama.cpp's own ids on the kernels,
the probes and texts made to be hard; else the folder is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from lem.engines import builtin
from lem.engines._folder_tokens import FolderTokenizer
from lem.engines._gguf_header import GgufHeader, read_header
from lem.engines._llama_model import LlamaModel, check_magic
from lem.engines.fingerprint import cache_folder, file_sha256
from lem.engines.folder import ORIGIN
from lem.engines.llamacpp import free_memory
from lem.errors import LemError, missing_extra
from lem.text import dump_json, excerpt

#: Raised when a later release would make other files of the same GGUF.
VERSION = 1

Say = Callable[[str], None]

_DIGITS = r"\p{N}"
_THREE_DIGITS = r"\p{N}{1,3}"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: How text is split before the merges, by the name in `tokenizer.ggml.pre`: the published
#: tokenizers' own rules.
_SPLITS: dict[str, list[dict[str, Any]]] = {
    "gpt-2": [],
    "default": [],
    "smollm": [{"type": "Digits", "individual_digits": True}],
    "llama-bpe": [{"pattern": _LLAMA3 % _THREE_DIGITS}],
    "qwen2": [{"pattern": _LLAMA3 % _DIGITS}],
    "deepseek-r1-qwen": [{"pattern": _LLAMA3 % _DIGITS}],
}
_TOKENS, _KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
#: Kinds of tokens that are looked for as a whole (control, user-defined), and how many are tried.
_ADDED, _MOST_ADDED = (3, 4), 200
#: Texts on which tokenizers that look alike differ.
_HARD = (
    "12345 + 3.14 = ½² ٣٤ Ⅻ x²",
    "don't we'LL I'M  they've",
    "日本語のテスト、你好 한국어 ภาษาไทย עברית",
    "line\r\nline\n\n\n  indented\t\ttabs   \n ",
    "é́ 🤖👩‍👩‍👧 naïve ﬁ ﷺ \u200b\u00a0",
    "def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # ok!!",
    " leading and trailing ",
)


def built_in_folder(say: Say = lambda _: None) -> Path:
    """The built-in model as a folder."""
    return folder_of(builtin.built_in_model(say), say)


def folder_place(gguf: Path) -> Path:
    """Where the folder of a GGUF file is or would be."""
    return cache_folder() / "models" / f"gguf-{file_sha256(gguf)[:16]}-v{VERSION}"


def folder_of(gguf: Path, say: Say = lambda _: None) -> Path:
    """The folder of a GGUF file, made on first use.

    Args:
        gguf: the file; it is known again by its sha256.
        say: told in a short line what is going on, when something is.

    Raises:
        LemError: not a GGUF file, of an architecture that transformers does not convert, too large
            for the memory, or with a tokenizer that does not come out the same.
    """
    check_magic(gguf)
    place = folder_place(gguf)
    if (place / ORIGIN).exists():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            if not (place / ORIGIN).exists():
                with tempfile.TemporaryDirectory(dir=place.parent) as folder:
                    made = Path(folder) / "made"
                    made.mkdir()
                    _convert(gguf, made, say)
                    shutil.rmtree(place, ignore_errors=True)
                    made.replace(place)
    except OSError as e:
        raise LemError(
            f"{gguf.name} could not be kept as a folder in {place.parent}: {e.strerror or e}.",
            "It was not converted.",
            "Free space there (twice the size of the weights as 16-bit numbers), or set LEM_CACHE "
            "to a folder that can be written.",
        ) from None
    return place


def _convert(gguf: Path, folder: Path, say: Say) -> None:
    header = read_header(gguf)
    _check_memory(gguf, header)
    say(f"converting {gguf.name} into a folder for transformers and mlx (once)")
    model = LlamaModel(gguf, gguf.stem)
    try:
        _save_tokenizer(gguf, folder, header, model)
        (folder / "chat_template.jinja").write_text(model.template.source, encoding="utf-8")
        _check_tokenizer(gguf, FolderTokenizer(folder), header, model)
        stored = _save_weights(gguf, folder, header, model)
    finally:
        model.close()
    origin = {
        "source": gguf.name,
        "source_sha256": file_sha256(gguf),
        "file_type": header.file_type,
        "quantisation": _in_words(header.file_type),
        "licence": header.licence,
        "stored_as": stored,
        "version": VERSION,
        "files": {f.name: _sha256(f) for f in sorted(folder.iterdir())},
    }
    (folder / ORIGIN).write_text(dump_json(origin, indent=1) + "\n", encoding="utf-8")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _in_words(file_type: str) -> str:
    plain = {"F32": "none", "F16": "none", "BF16": "none"}
    return plain.get(file_type, f"gguf {file_type}, dequantised")


def _check_memory(gguf: Path, header: GgufHeader) -> None:
    needed, free = header.numbers * 4 * 2.2, free_memory()
    if needed > free:
        raise LemError(
            f"Converting {gguf.name} takes {needed / 1e9:.0f} GB of memory, and "
            f"{free / 1e9:.0f} GB are free.",
            "It was not converted, and nothing was run.",
            "Use --engine llama.cpp, or the model's original folder with safetensors.",
        )


def _save_tokenizer(gguf: Path, folder: Path, header: GgufHeader, model: LlamaModel) -> None:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise missing_extra("transformers (converting GGUF files)", "torch") from None
    try:
        with _quiet():
            made = AutoTokenizer.from_pretrained(
                str(gguf.parent),
                gguf_file=gguf.name,
                local_files_only=True,
                trust_remote_code=False,
            )
            made.save_pretrained(folder)
    except Exception as e:  # the library raises whatever a file makes it raise
        raise _refused(gguf, f"transformers does not convert its tokenizer: {e}") from None
    file = folder / "tokenizer.json"
    raw = json.loads(file.read_text(encoding="utf-8"))
    if header.fields.get("tokenizer.ggml.model") == "gpt2":
        _put_split(raw, header.fields.get("tokenizer.ggml.pre"))
    file.write_text(dump_json(raw), encoding="utf-8")
    tokens = dict(enumerate(header.fields.get(_TOKENS, [])))
    settings = {
        "add_bos_token": model.wants_bos,
        "bos_token": tokens.get(model.bos),
        "eos_token": tokens.get(int(model.lib.vocab_eos(model.vocab))),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(dump_json(settings, indent=1), encoding="utf-8")


def _put_split(raw: dict[str, Any], name: str | None) -> None:
    """Put the rule by which text is split into a byte-level tokenizer."""
    if name not in _SPLITS:
        return  # the comparison with llama.cpp decides
    steps: list[dict[str, Any]] = []
    for step in _SPLITS[name]:
        if "pattern" in step:
            step = {
                "type": "Split",
                "pattern": {"Regex": step["pattern"]},
                "behavior": "Isolated",
                "invert": False,
            }
        steps.append(step)
    own_rule = not any(step["type"] == "Split" for step in steps)
    last = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": own_rule,
    }
    raw["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [*steps, last]}


def _check_tokenizer(
    gguf: Path, tokenizer: FolderTokenizer, header: GgufHeader, model: LlamaModel
) -> None:
    """Compare with llama.cpp's ids.

    Raises:
        LemError: one text comes out otherwise.
    """
    for text in _texts(header, model):
        for special in (True, False):
            theirs = model.tokenize(text) if special else model.tokenize_plain(text)
            ours = tokenizer.ids(text, special=special)
            if special and model.wants_bos:
                start = next((i for i, t in enumerate(ours) if t != model.bos), len(ours))
                ours = [model.bos, *ours[start:]]
            if ours != theirs:
                at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), 0)
                near = excerpt(model.decode(theirs[max(0, at - 2) : at + 6]), 40)
                raise _refused(
                    gguf, f"its tokenizer would not be llama.cpp's: they differ near {near!r}"
                )


def _texts(header: GgufHeader, model: LlamaModel) -> Iterator[str]:
    from lem.kernels import BUILT_IN, load_kernel
    from lem.probes import load_probes

    yield from _HARD
    tokens, kinds = (header.fields.get(name, []) for name in (_TOKENS, _KINDS))
    added = [text for text, kind in zip(tokens, kinds) if kind in _ADDED]
    yield from (f"one{token} two" for token in added[:_MOST_ADDED])
    kernels = [load_kernel(name, where).text for name, where in BUILT_IN.items()]
    for probe in load_probes("P20"):
        yield model.render([{"role": "user", "content": probe.prompt}])
        for kernel in kernels:
            yield model.render([{"role": "user", "content": f"{kernel}\n\n{probe.prompt}"}])


def _save_weights(gguf: Path, folder: Path, header: GgufHeader, model: LlamaModel) -> str:
    """Write configuration and weights; the type the weights are stored in."""
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise missing_extra("transformers (converting GGUF files)", "torch") from None
    try:
        with _quiet():
            source = {"gguf_file": gguf.name, "local_files_only": True, "trust_remote_code": False}
            config = AutoConfig.from_pretrained(str(gguf.parent), **source)
            loaded = AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), config=config, dtype=torch.float32, **source
            )
            state = loaded.state_dict()
            kind = _narrowest(torch, state.values(), quantised=header.file_type not in _PLAIN)
            # A model read from GGUF cannot save itself; a fresh one of its configuration can.
            with torch.device("meta"):
                fresh = AutoModelForCausalLM.from_config(config, dtype=kind)
            fresh.load_state_dict({k: v.to(kind) for k, v in state.items()}, assign=True)
            fresh.tie_weights()
            fresh.generation_config.eos_token_id = _ends(model)
            fresh.generation_config.bos_token_id = config.bos_token_id
            fresh.generation_config._from_model_config = False
            fresh.save_pretrained(folder)
    except Exception as e:
        raise _refused(gguf, f"transformers does not convert {header.architecture}: {e}") from None
    return str(kind).removeprefix("torch.")


_PLAIN = ("F32", "F16", "BF16")


def _narrowest(torch: Any, tensors: Any, *, quantised: bool) -> Any:
    """The 16-bit type that holds all these numbers exactly. Dequantised ones that fit neither are
    rounded to float16, which is far finer than their quantisation; others stay float32."""
    fits = {torch.bfloat16: True, torch.float16: True}
    for tensor in tensors:
        for kind, so_far in fits.items():
            fits[kind] = so_far and bool(torch.equal(tensor.to(kind).to(tensor.dtype), tensor))
    exact = next((kind for kind, fit in fits.items() if fit), None)
    if exact is not None:
        return exact
    rounded = quantised and all(bool((t.abs() < 65504).all()) for t in tensors)
    return torch.float16 if rounded else torch.float32


def _ends(model: LlamaModel) -> list[int]:
    """Every token that llama.cpp ends an answer with."""
    count = int(model.lib.vocab_n_tokens(model.vocab))
    return [i for i in range(count) if model.lib.vocab_is_eog(model.vocab, i)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and advice."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)


def _refused(gguf: Path, why: str) -> LemError:
    return LemError(
        f"{gguf.name} cannot be turned into a folder: {excerpt(why, 200)}.",
        "It was not converted, and nothing was run.",
        "Use --engine llama.cpp, or the model's original folder with safetensors.",
    )
