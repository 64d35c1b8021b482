"""Signing whole files: any probe or lesson file keeps its shape, and a sidecar says how."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

import lem
from lem.errors import LemError
from lem.lessons.formats import whole_line
from lem.lessons.load import BUILT_IN, load_lessons
from lem.lessons.sign import LICENCE_NOTE, Signature, change_prompt, sign, unsign
from lem.probes import BUILT_IN as PROBE_SETS
from lem.probes import load_probes
from lem.text import dump_json, is_there, json_items, read_text, sha256

SUFFIX = ".sign.json"
"""Of the sidecar, behind the name of the signed file."""

_EXAMPLE = '{"prompt": ...} or {"messages": [...]}'


class Signed(NamedTuple):
    """A signed or unsigned file, not yet written."""

    text: str
    prompts: int


def sidecar_of(path: Path) -> Path:
    """Where the sidecar of a signed file is."""
    return Path(f"{path}{SUFFIX}")


def sign_file(where: str, signature: Signature) -> Signed:
    """Sign every prompt of a file or built-in set.

    Args:
        where: a built-in probe or lesson set, a .jsonl or .json file, or any other text file,
            which is one prompt.

    Raises:
        LemError: unreadable, or an item has no prompt.
    """
    return _changed(where, lambda prompt: sign(prompt, signature))


def unsign_file(where: str, signature: Signature) -> Signed:
    """Take the signature off every prompt of a file.

    Raises:
        LemError: unreadable, or a prompt does not bear this signature.
    """
    return _changed(where, lambda text: unsign(text, signature))


def change_text(text: str, change: Callable[[str], str]) -> str:
    """One plain text changed; a final line end is the file's, not the prompt's."""
    body = text.removesuffix("\n").removesuffix("\r")
    return change(body) + text[len(body) :]


def _changed(where: str, change: Callable[[str], str]) -> Signed:
    path = Path(where)
    items: list[tuple[str, Any]]
    as_list = False
    if not is_there(path) and where.lower() in BUILT_IN:
        items = [(le.source, whole_line(le)) for le in load_lessons(where)]
    elif not is_there(path) and where.upper() in PROBE_SETS:
        items = [
            (p.source, p.model_dump(exclude={"set", "source"}, exclude_defaults=True))
            for p in load_probes(where)
        ]
        as_list = True
    else:
        text = read_text(path, "text")
        if path.suffix.lower() not in (".json", ".jsonl", ".ndjson"):
            return Signed(change_text(text, change), 1)
        as_list = text.lstrip().startswith("[")
        items = [(f"{where}, {at}", i) for at, i in json_items(text, where, "item", _EXAMPLE)]
    if not items:
        raise LemError(f"{where} holds no items.", "Nothing was written.", f"Write {_EXAMPLE}.")
    lines = [_line(change_prompt(item, change, place), place) for place, item in items]
    if as_list:
        return Signed("[\n" + ",\n".join(f" {line}" for line in lines) + "\n]\n", len(lines))
    return Signed("".join(f"{line}\n" for line in lines), len(lines))


def _line(item: dict[str, Any], place: str) -> str:
    try:
        return dump_json(item)
    except ValueError:
        raise LemError(
            f"{place}: a number in it is NaN, Infinity or beyond 1e308.",
            "JSON has no such numbers, so it could not be kept; nothing was written.",
            "Write null, or leave the field out.",
        ) from None


def provenance(signature: Signature, source: str, signed: Signed) -> str:
    """The sidecar of a signed file, as JSON: what is needed to unsign it, and to say where it
    comes from."""
    about = {
        "made_by": f"lem {lem.__version__}",
        "source": source,
        "prompts": signed.prompts,
        "signed_sha256": sha256(signed.text),
        "licence": LICENCE_NOTE,
        "signature": signature.model_dump(),
    }
    return dump_json(about, indent=1) + "\n"


def read_provenance(path: Path) -> Signature:
    """The signature that a sidecar tells of.

    Raises:
        LemError: unreadable, no sidecar, or its kernel is not the one it names.
    """
    text = read_text(path, "sidecar")
    try:
        found = Signature.model_validate(json.loads(text)["signature"])
        if (found.closing is None) != (found.style == "prefix"):
            raise ValueError("a sandwich ends with a closing line, a prefix does not")
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        raise LemError(
            f"{path} is no sidecar of a signed file.",
            "It does not tell what to take off; nothing was written.",
            "Name the kernel with --kernel, and the signature if it is not the standard one.",
        ) from None
    if sha256(found.kernel.text) != found.kernel.sha256:
        raise LemError(
            f"The kernel text in {path} does not have the hash that stands beside it.",
            "The sidecar was changed; nothing was written.",
            "Name the kernel with --kernel instead.",
        )
    return found
