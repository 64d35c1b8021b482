"""All that can be told of a model without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lem.engines import architectures, catalogue, choice, hub
from lem.engines._folder_files import language_config, parameters
from lem.engines._gguf_header import read_header
from lem.engines.fingerprint import file_sha256
from lem.engines.folder import ModelFolder
from lem.engines.locate import Found
from lem.errors import LemError
from lem.prompts.families import family_notes, recognise
from lem.prompts.template import TemplateFacts


class _Reader(ModelFolder):
    """A folder read for its facts, whichever engine may run it."""

    def check_architecture(self) -> None:
        pass


def portrait(found: Found, *, hashes: bool = True) -> dict[str, Any]:
    """What a model is, as JSON.

    Args:
        found: the model; it must be on this machine.
        hashes: whether every file is hashed (large ones take a while the first time).

    Returns:
        Path, files, architecture, family, context, template, stop tokens, licence, and what each
        engine can do with it. What cannot be found out is in ``problems``.
    """
    path = found.path
    assert path is not None, "what is not here has no portrait"
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.is_file())
    made: dict[str, Any] = {
        "name": found.name,
        "kind": found.what,
        "path": str(path),
        "commit": found.commit,
        "size": catalogue.size_of(path),
        "licence": catalogue.licence_of(path),
        "engines": catalogue.abilities(found),
        "files": [_file(f, hashes) for f in files],
        "problems": [],
    }
    if found.adapter is not None:
        adapter = found.adapter
        made["adapter"] = {
            "path": str(adapter.path),
            "format": adapter.format,
            "base": adapter.base,
            "size": catalogue.size_of(adapter.path),
        }
    try:
        made |= _of_gguf(found, path) if found.kind == "gguf" else _of_folder(found, path)
    except LemError as e:
        made["problems"].append(e.cause)
    return made


def _file(file: Path, hashes: bool) -> dict[str, Any]:
    expected = hub.expected_hash(file)
    return {
        "name": file.name,
        "size": file.stat().st_size,
        "sha256": file_sha256(file) if hashes else None,
        "hub": expected[1] if expected else None,
    }


def _of_folder(found: Found, path: Path) -> dict[str, Any]:
    about: dict[str, Any] = {
        "architecture": architectures.architecture(found.config),
        "quantisation": found.quantisation,
    }
    adapter = found.adapter.path if found.adapter else None
    model = _Reader(path, found.name, adapter=adapter)
    kind = language_config(found.config).get("model_type")
    family = recognise(model.template.source, kind if isinstance(kind, str) else None)
    facts = model.facts  # adds its notes
    is_packed = found.quantisation != "none"
    return about | {
        "quantisation": model.quantisation,
        # Of quantised weights several are packed into one.
        "parameters": None if is_packed else parameters(model.weight_files),
        "context": model.context_length,
        "family": family.name if family else None,
        "family_remark": family.remark if family else "",
        "template": _template(facts),
        "output": model.style.kind,
        "stop_tokens": {model.tokenizer.text_of(i): i for i in sorted(model.stop_ids)},
        "notes": list(dict.fromkeys(model.notes)),
    }


def _of_gguf(found: Found, path: Path) -> dict[str, Any]:
    header = read_header(path)
    about: dict[str, Any] = {
        "architecture": header.architecture,
        "quantisation": f"gguf {header.file_type}",
        "parameters": header.numbers,
        "context": header.context_length,
    }
    source = header.fields.get("tokenizer.chat_template")
    family = recognise(source, header.architecture) if isinstance(source, str) else None
    about |= {
        "family": family.name if family else None,
        "family_remark": family.remark if family else "",
    }
    if not choice.is_installed("llama.cpp"):
        return about | {"notes": ["The template was not tried: llama.cpp is not installed."]}
    from lem.engines._llama_model import LlamaModel

    model = LlamaModel(path, found.name)
    try:
        facts, lib, vocab = model.facts, model.lib, model.vocab
        ends = [i for i in range(lib.vocab_n_tokens(vocab)) if lib.vocab_is_eog(vocab, i)]
        tokens = header.fields.get("tokenizer.ggml.tokens", [])
        return about | {
            "template": _template(facts),
            "output": model.style.kind,
            "stop_tokens": {tokens[i]: i for i in ends if i < len(tokens)},
            "notes": family_notes(
                model.template.source, facts, model_type=header.architecture, style=model.style.kind
            ),
        }
    finally:
        model.close()


def _template(facts: TemplateFacts) -> dict[str, Any]:
    return facts.model_dump(mode="json", exclude={"visible"})
