"""The built-in probe sets, and the loader for the published probe format.

A file is a JSON list of ``{"id", "domain" or "category", "prompt"}`` or the same objects as JSONL.
Optional fields: ``cluster`` (id of the original, for a rephrasing), ``split``, ``notice`` (what a
good answer must notice) and ``check`` (how to tell a right answer). Other fields are allowed and
left alone.
"""

from __future__ import annotations

import math
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from lem.errors import LemError
from lem.records import Check, Probe
from lem.text import dump_json, excerpt, is_there, json_items, json_kind, read_text

#: Name of the set -> its files, in order. The card of a set is NAME.md beside them.
BUILT_IN = {
    "P20": ("p20.json",),
    "P100": ("p20.json", "p21-p100.json"),
    "P100R": ("p100-rephrased.json",),
    "G100": ("g100.json",),
    "A60": ("adversarial.json",),
    "R200": ("retention.json",),
}

_STOPPED = "The probe set was refused as a whole, and nothing was run."
_EXAMPLE = '{"id": ..., "domain": ..., "prompt": ...}'


def load_probes(where: str) -> list[Probe]:
    """A probe set by built-in name or path, in the order of the file.

    Raises:
        LemError: unreadable, malformed, empty; a missing, mistyped or empty field; a duplicate
            id or prompt. The message names file, line or item, and field.
    """
    path = Path(where)
    if where.upper() in BUILT_IN and not is_there(path):
        name = where.upper()
        parts = [(_data(file), f"built-in {name} ({file})") for file in BUILT_IN[name]]
        return _parse(parts, f"built-in {name}", name)
    if not is_there(path) or path.is_dir():
        known = ", ".join(BUILT_IN)
        raise LemError(
            f"No such probe set or file: {where}",
            _STOPPED,
            f"Name a JSON or JSONL file, or a built-in set: {known}.",
        )
    return _parse([(read_text(path, "probe"), str(path))], str(path), path.stem)


def card(name: str) -> str:
    """The card of a built-in set: what it is for, how it was written, its limits (Markdown).

    Raises:
        LemError: there is no such set.
    """
    if name.upper() not in BUILT_IN:
        known = ", ".join(BUILT_IN)
        raise LemError(
            f"There is no built-in probe set {name!r}.", "No card was shown.", f"Name one: {known}."
        )
    return _data(f"{name.upper()}.md")


def _data(file: str) -> str:
    return (resources.files("lem.probes") / "data" / file).read_text(encoding="utf-8")


def _parse(parts: list[tuple[str, str]], source: str, set_name: str) -> list[Probe]:
    """Probes from (text, how its file is called in messages) parts, as one set."""
    items = [
        (f"{called}, {place}", item)
        for text, called in parts
        for place, item in json_items(text, called, "probe", _EXAMPLE)
    ]
    if not items:
        raise LemError(f"{source} holds no probes.", _STOPPED, "Add at least one probe.")
    probes: list[Probe] = []
    ids: dict[str, str] = {}
    prompts: dict[str, str] = {}
    for place, item in items:
        probe = _probe(item, place, set_name)
        for seen, value, what in ((ids, probe.id, "id"), (prompts, probe.prompt, "prompt")):
            if value in seen:
                raise LemError(
                    f"{place}: the {what} {excerpt(value)!r} was used before, "
                    f"at {seen[value].removeprefix(f'{source}, ')}.",
                    f"One probe would count twice. {_STOPPED}",
                    f"Give every probe its own {what}, or remove one of the two.",
                )
            seen[value] = place
        probes.append(probe)
    return probes


def _probe(item: Any, place: str, set_name: str) -> Probe:
    if not isinstance(item, dict):
        raise LemError(
            f"{place}: a probe is an object, not {json_kind(item)}.",
            _STOPPED,
            f"Write it as {_EXAMPLE}.",
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
        notice=_notice(item, place),
        check=_check(item, place),
    )


def _notice(item: dict[str, Any], place: str) -> list[str]:
    notice = item.get("notice", [])
    if not isinstance(notice, list) or not all(isinstance(n, str) and n.strip() for n in notice):
        raise LemError(
            f"{place}: field 'notice' is not a list of texts.",
            _STOPPED,
            'Write it as ["what a good answer must notice", ...], or leave it out.',
        )
    return notice


def _check(item: dict[str, Any], place: str) -> Check | None:
    if item.get("check") is None:
        return None
    try:
        check = Check.model_validate(item["check"])
        fault = _fault(check)
    except ValidationError as e:
        first = e.errors()[0]
        fault = f"{'.'.join(str(part) for part in first['loc']) or 'check'}: {first['msg']}"
    if fault:
        raise LemError(
            f"{place}: field 'check' cannot be used: {fault}.",
            _STOPPED,
            'Write it as {"kind": "number|one-of|choice|regex|json", "value": ...}.',
        )
    return check


def _fault(check: Check) -> str | None:
    """Why no answer could be scored by this check.

    `lem.scorers.checks` refuses the same, but only when all answers have been paid for.
    """
    value = check.value
    try:
        if check.kind == "number":
            usable = math.isfinite(float(value))  # type: ignore[arg-type]
        elif check.kind == "one-of":
            texts = [value] if isinstance(value, str) else value
            usable = isinstance(texts, list) and bool(texts) and all(t.strip() for t in texts)
        elif check.kind == "choice":
            usable = isinstance(value, str) and re.fullmatch("[A-Za-z]", value) is not None
        elif check.kind == "regex":
            usable = isinstance(value, str) and re.compile(value) is not None
        else:
            usable = bool(dump_json(value))
    except (TypeError, ValueError, OverflowError, RecursionError, re.error) as e:
        return f"its value ({excerpt(str(e))})"
    return (
        None if usable else f"its value {excerpt(repr(value))} is none of the kind {check.kind!r}"
    )


def _string(item: dict[str, Any], field: str, place: str) -> str:
    if field not in item:
        wanted = "'domain' (or 'category')" if field == "category" else f"{field!r}"
        raise LemError(f"{place}: field {wanted} is missing.", _STOPPED, "Add it.")
    value = item[field]
    if not isinstance(value, str):
        raise LemError(
            f"{place}: field {field!r} must be a text, not {json_kind(value)}.",
            _STOPPED,
            "Put the value in double quotes.",
        )
    if not value.strip():
        raise LemError(
            f"{place}: field {field!r} is empty.", _STOPPED, "Fill it or remove the probe."
        )
    return value if field == "prompt" else value.strip()
