"""The loader for the published probe format.

A file is a JSON list of ``{"id", "domain" or "category", "prompt"}`` or the same objects as JSONL.
Optional fields: ``cluster`` (id of the original, for a rephrasing) and ``split``. Other fields
are allowed and left alone.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from lem.errors import LemError
from lem.records import Probe
from lem.text import excerpt, read_text

#: Name of the set -> its file.
BUILT_IN = {"P20": "p20.json"}

_STOPPED = "The probe set was refused as a whole, and nothing was run."


def load_probes(where: str) -> list[Probe]:
    """A probe set by built-in name or path, in the order of the file.

    Raises:
        LemError: unreadable, malformed, empty; a missing, mistyped or empty field; a duplicate
            id or prompt. The message names file, line or item, and field.
    """
    path = Path(where)
    if where.upper() in BUILT_IN and not path.exists():
        name = where.upper()
        data = resources.files("lem.probes") / "data" / BUILT_IN[name]
        return _parse(data.read_text(encoding="utf-8"), f"built-in {name}", name)
    if path.is_dir() or not path.exists():
        known = ", ".join(BUILT_IN)
        raise LemError(
            f"No such probe set or file: {where}",
            _STOPPED,
            f"Name a JSON or JSONL file, or a built-in set: {known}.",
        )
    return _parse(read_text(path, "probe"), str(path), path.stem)


def _parse(text: str, source: str, set_name: str) -> list[Probe]:
    items = _items(text, source)
    if not items:
        raise LemError(f"{source} holds no probes.", _STOPPED, "Add at least one probe.")
    probes: list[Probe] = []
    ids: dict[str, str] = {}
    prompts: dict[str, str] = {}
    for place, item in items:
        probe = _probe(item, f"{source}, {place}", set_name)
        for seen, value, what in ((ids, probe.id, "id"), (prompts, probe.prompt, "prompt")):
            if value in seen:
                raise LemError(
                    f"{source}, {place}: the {what} {excerpt(value)!r} was used before, "
                    f"at {seen[value]}.",
                    f"One probe would count twice. {_STOPPED}",
                    f"Give every probe its own {what}, or remove one of the two.",
                )
            seen[value] = place
        probes.append(probe)
    return probes


def _items(text: str, source: str) -> list[tuple[str, Any]]:
    """(where it stands, item) of a JSON list or of JSONL."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as whole_error:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        if not text.lstrip().startswith("{") or len(lines) < 2:
            raise _malformed(
                source, f"line {whole_error.lineno}, column {whole_error.colno}", whole_error.msg
            ) from None
        items = []
        for number, line in lines:
            try:
                items.append((f"line {number}", json.loads(line)))
            except json.JSONDecodeError as e:
                raise _malformed(source, f"line {number}, column {e.colno}", e.msg) from None
        return items
    if isinstance(whole, dict) and "prompt" in whole:
        return [("line 1", whole)]  # JSONL of one line
    if not isinstance(whole, list):
        raise _malformed(source, "line 1", f"a list of probes was expected, not {_kind(whole)}")
    return _number_lines(text, whole)


def _number_lines(text: str, whole: list[Any]) -> list[tuple[str, Any]]:
    """Find the line each item of a JSON list starts on, by decoding the list item by item."""
    decoder = json.JSONDecoder()
    at = text.index("[") + 1
    placed = []
    for number, item in enumerate(whole, 1):
        while text[at] in " \t\r\n,":
            at += 1
        placed.append((f"line {text.count(chr(10), 0, at) + 1} (probe {number})", item))
        _, at = decoder.raw_decode(text, at)
    return placed


def _probe(item: Any, place: str, set_name: str) -> Probe:
    if not isinstance(item, dict):
        raise LemError(
            f"{place}: a probe is an object, not {_kind(item)}.",
            _STOPPED,
            'Write it as {"id": ..., "domain": ..., "prompt": ...}.',
        )
    domain_field = "domain" if "domain" in item else "category"
    split = item.get("split", "eval")
    if split not in ("eval", "train", "held-out"):
        raise LemError(
            f"{place}: field 'split' is {excerpt(str(split))!r}.",
            _STOPPED,
            "Use eval, train or held-out, or leave it out.",
        )
    probe_id = _string(item, "id", place)
    return Probe(
        id=probe_id,
        domain=_string(item, domain_field, place),
        prompt=_string(item, "prompt", place),
        set=set_name,
        cluster=_string(item, "cluster", place) if "cluster" in item else probe_id,
        split=cast(Literal["eval", "train", "held-out"], split),
        source=place,
    )


def _string(item: dict[str, Any], field: str, place: str) -> str:
    if field not in item:
        wanted = "'domain' (or 'category')" if field == "category" else f"{field!r}"
        raise LemError(f"{place}: field {wanted} is missing.", _STOPPED, "Add it.")
    value = item[field]
    if not isinstance(value, str):
        raise LemError(
            f"{place}: field {field!r} must be a text, not {_kind(value)}.",
            _STOPPED,
            "Put the value in double quotes.",
        )
    if not value.strip():
        raise LemError(
            f"{place}: field {field!r} is empty.", _STOPPED, "Fill it or remove the probe."
        )
    return value if field == "prompt" else value.strip()


def _malformed(source: str, where: str, why: str) -> LemError:
    return LemError(
        f"{source}, {where}: not valid JSON or JSONL: {why}.",
        _STOPPED,
        'Write a list [{"id": ..., "domain": ..., "prompt": ...}], or one such object a line.',
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true/false"}
    return "null" if value is None else names.get(type(value), "a number")
