"""Is the judge the judged, or a relative? Models favour answers like their own."""

from __future__ import annotations

import re
from typing import Any

from lem.judge.material import Material
from lem.text import excerpt

#: Beginnings of model names that tell a family. A family is no more than a name in common.
_FAMILY = re.compile(
    r"llama|gemma|gemini|qwen|smollm|deepseek|claude|nemotron|granite|falcon|command"
    r"|mi[sx]tral|ministral|(?<![a-z])(?:gpt|phi|olmo|glm|yi)(?![a-z])"
)
_SAME = {"mixtral": "mistral", "ministral": "mistral", "gemini": "gemma"}


def kinship(judge: str, fingerprint: dict[str, Any], material: Material) -> list[str]:
    """Warnings, for the terminal and the record, where a judge is no stranger to the judged.

    Args:
        judge: its name.
        fingerprint: what pins its weights.
    """
    if material.model is None:
        return []
    ours, theirs = _names(judge, fingerprint), _names(material.model, material.fingerprint)
    hashes = [f.get("file_sha256") or f or None for f in (fingerprint, material.fingerprint)]
    if (hashes[0] and hashes[0] == hashes[1]) or ours & theirs:
        return [
            f"self-judging: the judge {excerpt(judge)} is the model whose answers it judges; "
            "models favour their own answers."
        ]
    shared = _families(ours) & _families(theirs)
    if shared:
        return [
            f"self-judging: the judge {excerpt(judge)} and the judged {excerpt(material.model)} "
            f"are of one family ({', '.join(sorted(shared))}); models favour answers like their "
            "own."
        ]
    return []


def _names(model: str, fingerprint: dict[str, Any]) -> set[str]:
    """What a model goes by, without folders, case and file ending."""
    names = (model, fingerprint.get("file"), fingerprint.get("root"))
    plain = {re.split(r"[/\\]", n)[-1].lower().removesuffix(".gguf") for n in names if n}
    return plain - {""}


def _families(names: set[str]) -> set[str]:
    found = {family for name in names for family in _FAMILY.findall(name)}
    return {_SAME.get(family, family) for family in found}
