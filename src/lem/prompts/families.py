"""Families of models: what is known of their chat templates, checked against what was found.

The facts are data (`data/families.json`). Nothing is done because of them: what a template does is
always found out by rendering (`lem.prompts.template`). They are there to notice a file whose
template is not what its family's is, which happens when weights are converted or fine-tuned.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from importlib import resources
from typing import Literal

from lem.prompts.template import SystemRole, TemplateFacts, TemplateRefused
from lem.records import Message, Record
from lem.text import excerpt

Style = Literal["plain", "think", "harmony"]

_ANSWER = "LEMSENTINELANSWER"
#: A mark in brackets, as all control tokens that end a turn are.
_MARK = re.compile(r"\s*(<[^<>\s]{1,40}>|\[[^\[\]\s]{1,40}\])")
_SYSTEM_ROLE: dict[SystemRole, str] = {
    "supported": "gives a system message a block of its own",
    "folded": "puts a system message into the user's turn",
    "ignored": "leaves a system message out",
    "refused": "refuses a system message",
    "repeated": "writes a system message more than once",
}


class Family(Record):
    """What the chat templates of one family have in common. None: releases differ."""

    name: str
    marks: tuple[str, ...]
    """Texts that are all in such a template."""
    absent: tuple[str, ...] = ()
    """Texts of which none is in it."""
    hints: tuple[str, ...] = ()
    """Texts that tell it from families with the same marks, where they are there."""
    model_types: tuple[str, ...] = ()
    """Of config.json (or GGUF's general.architecture), for the same purpose."""
    system: tuple[SystemRole, ...]
    default_system: bool | None = None
    """The template inserts a system text when none is given."""
    dated: bool | None = None
    thinking_switch: bool | None = None
    reasoning_opened: bool | None = None
    styles: tuple[Style, ...]
    """How its models write; see `lem.engines.outputs`."""
    end_of_turn: tuple[str, ...]
    """What may stand after an assistant's answer."""
    remark: str = ""
    """What a reader should know."""


@functools.cache
def families() -> tuple[Family, ...]:
    """All families, those that are special before those that are general."""
    source = resources.files("lem.prompts").joinpath("data", "families.json")
    return tuple(Family(**item) for item in json.loads(source.read_text(encoding="utf-8")))


def recognise(template: str, model_type: str | None = None) -> Family | None:
    """The family that a template belongs to, None where no marks fit.

    Args:
        template: the Jinja text.
        model_type: decides between families whose marks all fit. It cannot do more: fine-tuned
            models keep the model type of their base, but not always its template.
    """
    kind = (model_type or "").lower().replace("-", "_")
    fitting = [
        family
        for family in families()
        if all(m in template for m in family.marks)
        and not any(m in template for m in family.absent)
    ]

    def merit(family: Family) -> tuple[bool, int, int]:
        hints = sum(h in template for h in family.hints)
        return kind in family.model_types, hints, len(family.marks)

    return max(fitting, key=merit, default=None)  # the first of equals


def check(
    family: Family,
    facts: TemplateFacts,
    *,
    style: Style | None = None,
    end_of_turn: str | None = None,
) -> list[str]:
    """What a template does otherwise than its family's.

    Args:
        family: as recognised.
        facts: as found by rendering.
        style: of the answers, if known.
        end_of_turn: as found by `end_of_turn`, if known.

    Returns:
        A note for every expectation that does not hold.
    """
    odd: list[str] = []
    if facts.system != "unknown" and facts.system not in family.system:
        usual = " or ".join(_SYSTEM_ROLE[role] for role in family.system)
        odd.append(f"{_SYSTEM_ROLE[facts.system]}, where a {family.name} template {usual}")
    if facts.visible:
        adds = facts.default_system is not None
        found: list[tuple[bool | None, bool | None, str, str]] = [
            (family.default_system, adds, "inserts a system text of its own", "inserts none"),
            (family.dated, facts.dated, "writes the date", "does not write the date"),
            (
                family.thinking_switch,
                facts.thinking_switch,
                "has a switch for reasoning",
                "has no switch for reasoning",
            ),
            (
                family.reasoning_opened,
                facts.reasoning_opened,
                "opens the reasoning in the prompt",
                "does not open the reasoning in the prompt",
            ),
        ]
        for expected, is_so, yes, no in found:
            if None not in (expected, is_so) and expected != is_so:
                now, usual = (yes, no) if is_so else (no, yes)
                odd.append(f"{now}, where a {family.name} template {usual}")
    if style is not None and style not in family.styles:
        usual = " or ".join(family.styles)
        odd.append(f"asks for answers of the style {style}, where {family.name} writes {usual}")
    if end_of_turn is not None and end_of_turn not in family.end_of_turn:
        usual = " or ".join(family.end_of_turn)
        mark = excerpt(end_of_turn, 40)
        odd.append(f"ends a turn with {mark}, where a {family.name} template has {usual}")
    return [f"The chat template {what}: it may have been changed." for what in odd]


def family_notes(
    template: str,
    facts: TemplateFacts,
    *,
    model_type: str | None = None,
    style: Style | None = None,
    end_of_turn: str | None = None,
) -> list[str]:
    """`check` against the family that is recognised; nothing where none is.

    Args:
        template, model_type: as for `recognise`.
        facts, style, end_of_turn: as for `check`.
    """
    family = recognise(template, model_type)
    if family is None:
        return []
    return check(family, facts, style=style, end_of_turn=end_of_turn)


def end_of_turn(render: Callable[..., str]) -> str | None:
    """The mark that a template writes after an assistant's answer, for example ``<|im_end|>``.

    A model whose stop list lacks this token never seems to end its answers. To use it: look the
    text up in the vocabulary, and add the id to those that end an answer, with a note if it was
    missing. Two turns are rendered without the start of another answer, and the first mark after
    the answer is taken; where there is none, a further question is added, since some templates
    end a turn only when another follows. Of GPT-OSS this is ``<|return|>``, which ends the answer,
    not the ``<|end|>`` of every message before it.

    Args:
        render: a template's `ChatTemplate.render`.
    """
    asked: Message = {"role": "user", "content": "x"}
    turns: list[Message] = [asked, {"role": "assistant", "content": _ANSWER}]
    for messages in (turns, [*turns, asked]):
        try:
            text = render(messages, answer=False)
        except TemplateRefused:
            continue
        _, there, after = text.rpartition(_ANSWER)
        mark = _MARK.match(after) if there else None
        if mark:
            return mark[1]
    return None
