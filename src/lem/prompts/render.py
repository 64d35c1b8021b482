"""Arms: how each condition is put to one model, checked before anything is generated."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lem.errors import LemError
from lem.prompts.template import TemplateFacts, TemplateRefused
from lem.records import Condition, Message, Placement, Probe, Record
from lem.text import dump_json, excerpt, sha256

#: Tokens at either end of a text that may be others inside a prompt.
_EDGE = 4


class Renderer(Protocol):
    """What rendering needs of an engine."""

    @property
    def facts(self) -> TemplateFacts: ...

    def render(self, messages: Sequence[Message], date: datetime.date = ...) -> str:
        """The prompt text. Raises `TemplateRefused`."""
        ...

    def tokenize(self, text: str) -> list[int] | None:
        """Ids of a rendered prompt, special tokens recognised, with exactly the one BOS token
        that the model wants; None where the engine cannot tell."""
        ...

    def foreign_tokens(self, text: str) -> bool:
        """Whether user text holds something that the model reads as a control token."""
        ...


@runtime_checkable
class TellsIds(Protocol):
    """A renderer whose facts are not ``visible``, yet which tells the tokens of its prompts."""

    def chat_ids(self, messages: Sequence[Message]) -> list[int] | None:
        """Ids of the prompt that messages become; None where it cannot tell after all. Raises
        `TemplateRefused`."""
        ...

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text by itself, without a BOS token."""
        ...


class Arm(Record):
    """One condition as it is put to one model."""

    condition: Condition
    placement: Placement
    """As used: differs from the condition's where the template has no system role."""
    note: str = ""


class Rendered(Record):
    messages: list[Message]
    text: str
    sha256: str
    token_ids: list[int] | None


def messages_for(condition: Condition, placement: Placement, prompt: str) -> list[Message]:
    """The chat messages of one probe under one condition."""
    user: Message = {"role": "user", "content": prompt}
    if condition.kernel is None:
        empty: list[Message] = [{"role": "system", "content": ""}]
        return [*empty, user] if condition.empty_system else [user]
    if placement == "user-prefix":
        return [{"role": "user", "content": f"{condition.kernel.text}\n\n{prompt}"}]
    return [{"role": "system", "content": condition.kernel.text}, user]


def plan_arms(
    conditions: Sequence[Condition], renderer: Renderer, probe: Probe
) -> tuple[list[Arm], list[str]]:
    """Decide the placement of every condition for this model and prove it on one probe.

    Returns:
        The arms, and notes on what was changed or dropped and why.

    Raises:
        LemError: a kernel would not be in the prompt exactly once.
    """
    arms: list[Arm] = []
    notes: list[str] = []
    facts = renderer.facts
    fallback = facts.system in ("refused", "ignored", "repeated")
    for condition in conditions:
        placement, note = condition.placement, ""
        if condition.empty_system and (fallback or not facts.empty_system_differs):
            if facts.system != "unknown":
                notes.append(
                    f"{condition.name}: dropped; for this template it is the same prompt as "
                    "the baseline."
                )
                continue
        elif condition.kernel is not None and fallback:
            placement = "user-prefix"
            note = f"the template's system role is {facts.system}: kernel before the user's text"
            notes.append(f"{condition.name}: {note}.")
        elif condition.kernel is not None and facts.system == "folded":
            note = "the template folds the system message into the user turn"
        arm = Arm(condition=condition, placement=placement, note=note)
        _prove(arm, renderer, probe)
        arms.append(arm)
    return arms, notes


def render(arm: Arm, renderer: Renderer, probe: Probe) -> Rendered:
    """One probe under one arm: messages, text, hash and token ids.

    Raises:
        LemError: the template refuses the messages.
    """
    messages = messages_for(arm.condition, arm.placement, probe.prompt)
    visible = renderer.facts.visible
    try:
        if visible:
            text = renderer.render(messages)
            ids = renderer.tokenize(text)
        else:
            text = dump_json(messages)
            ids = renderer.chat_ids(messages) if isinstance(renderer, TellsIds) else None
    except TemplateRefused as e:
        raise LemError(
            f"The chat template refuses condition {arm.condition.name!r}: {excerpt(str(e), 120)}.",
            "The arm cannot be run; nothing was generated.",
            "Leave the condition out with --conditions.",
        ) from None
    return Rendered(messages=messages, text=text, sha256=sha256(text), token_ids=ids)


def _prove(arm: Arm, renderer: Renderer, probe: Probe) -> None:
    """Refuse an arm whose kernel is not in the prompt exactly once, or reads as control tokens."""
    kernel = arm.condition.kernel
    for what, text in (("probe " + probe.id, probe.prompt), ("kernel", kernel and kernel.text)):
        if text and renderer.foreign_tokens(text):
            raise LemError(
                f"The {what} of condition {arm.condition.name!r} holds text that this model "
                "reads as a control token (such as an end-of-turn mark).",
                "It would break the prompt apart; nothing was run.",
                "Remove the mark from the text.",
            )
    if kernel is None:
        return
    rendered, count = render(arm, renderer, probe), 1
    if renderer.facts.visible:
        count = rendered.text.count(kernel.text)
    elif rendered.token_ids is not None and isinstance(renderer, TellsIds):
        count = occurrences(renderer.text_ids(kernel.text), rendered.token_ids)
    if count != 1:
        raise LemError(
            f"The kernel of condition {arm.condition.name!r} is in the rendered prompt "
            f"{count} times instead of once.",
            "The arm would not measure that kernel; nothing was run.",
            "The model's chat template changes or repeats system text: try a kernel without "
            "markup, or leave the condition out with --conditions.",
        )


def occurrences(text: Sequence[int], prompt: Sequence[int]) -> int:
    """How often the tokens of a text are in those of a prompt.

    Where the text touches the template, its outermost tokens may be others (a space that belongs
    to the first word, a line break that is trimmed), so up to `_EDGE` at either end are not looked
    for. What is left of a very short text may come up by chance: once and more is then once.
    """
    edge = min(_EDGE, (len(text) - 1) // 2)
    inner, within = list(text[edge : len(text) - edge]), list(prompt)
    if not inner:
        return 0
    count = at = 0
    while at <= len(within) - len(inner):
        found = within[at] == inner[0] and within[at : at + len(inner)] == inner
        count += found
        at += len(inner) if found else 1
    return count if len(inner) > 2 * _EDGE else min(count, 1)
