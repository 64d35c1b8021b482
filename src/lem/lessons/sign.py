"""Signing: a kernel put around a prompt inside one user turn, and taken off again exactly.

- sandwich: kernel, blank line, prompt, blank line, signature;
- prefix: kernel, blank line, prompt.

Nothing of the prompt is changed, so what was signed can always be recovered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from lem.errors import LemError
from lem.lessons.load import data_text
from lem.records import Kernel, Record
from lem.text import storable

Style = Literal["sandwich", "prefix"]

LICENCE_NOTE = (
    "Signing a prompt is free and puts no condition on it or on the answer. Lessons made or models "
    "trained with LEK data are derivative works under EUPL-1.2 (copyleft)."
)

_BLANK = "\n\n"


class Signature(Record):
    """What is put around a prompt."""

    style: Style
    kernel: Kernel
    closing: str | None
    """The line after the prompt; None in prefix style."""

    @property
    def head(self) -> str:
        return self.kernel.text + _BLANK

    @property
    def tail(self) -> str:
        return "" if self.closing is None else _BLANK + self.closing


def default_closing() -> str:
    """The closing line of a sandwich, unless told otherwise."""
    return data_text("signature.txt").strip()


def signature(kernel: Kernel, style: Style = "sandwich", closing: str | None = None) -> Signature:
    """A signature of one style.

    Args:
        kernel: what stands before the prompt.
        style: `sandwich` or `prefix`.
        closing: the line after the prompt in a sandwich; None: the standard one.

    Raises:
        LemError: the closing line is blank or no UTF-8, or given for a prefix.
    """
    if style == "prefix":
        if closing is not None:
            raise LemError(
                "A prefix has no closing line.",
                "Nothing was signed.",
                "Leave the signature out, or use the sandwich style.",
            )
        return Signature(style=style, kernel=kernel, closing=None)
    text = default_closing() if closing is None else closing.strip()
    if not text:
        raise LemError(
            "The signature is blank.",
            "The end of a signed prompt could not be told; nothing was signed.",
            "Give a text, or leave it out for the standard one.",
        )
    if text != storable(text):  # as the words of a command line may be
        raise LemError(
            "The signature is not UTF-8.",
            "Signed files are, so it could not be told again; nothing was signed.",
            "Give it in UTF-8, for example in a file: --signature @FILE",
        )
    return Signature(style=style, kernel=kernel, closing=text)


def sign(prompt: str, signature: Signature) -> str:
    """The prompt as one user turn with the signature around it."""
    return f"{signature.head}{prompt}{signature.tail}"


def unsign(text: str, signature: Signature) -> str:
    """The prompt inside a signed text, exactly as it was.

    Raises:
        LemError: the text does not begin and end with this signature.
    """
    head, tail = signature.head, signature.tail
    long_enough = len(text) >= len(head) + len(tail)
    if not (long_enough and text.startswith(head) and text.endswith(tail)):
        lacks = "its closing line" if text.startswith(head) else "the kernel"
        raise LemError(
            f"the text lacks {lacks} (signature: {signature.style}, "
            f"kernel {signature.kernel.sha256[:12]}).",
            "What was signed cannot be told from what was not; nothing was written.",
            "Name the kernel and the signature it was signed with, or its sidecar file.",
        )
    return text[len(head) : len(text) - len(tail)]


def change_prompt(item: Any, change: Callable[[str], str], place: str) -> dict[str, Any]:
    """A probe or lesson with its prompt changed and everything else as it is.

    The prompt is the first user turn of `messages` or `conversations`, else the field `prompt`
    or `instruction`. A kernel belongs once into a conversation, so later turns stay as they are.

    Args:
        item: as read from JSON.
        change: prompt -> what takes its place.
        place: where the item stands, for errors.

    Raises:
        LemError: it has no prompt, or `change` refuses.
    """
    if isinstance(item, dict):
        if "instruction" in item and item.get("input"):
            raise LemError(
                f"{place}: the prompt is in two fields, 'instruction' and 'input'.",
                "A trainer joins them, and the signature would stand in the middle; nothing was "
                "written.",
                "Join the two in one field 'prompt'.",
            )
        for field in ("messages", "conversations", "prompt", "instruction"):
            value = item.get(field)
            if isinstance(value, str) and value.strip() and field in ("prompt", "instruction"):
                return {**item, field: _told(change, value, place)}
            if isinstance(value, list):
                turns = _changed_turn(value, change, place)
                if turns is not None:
                    return {**item, field: turns}
    raise LemError(
        f"{place}: no prompt in it.",
        "There is nothing to sign or unsign; nothing was written.",
        "Give it a user turn in 'messages', or a field 'prompt' or 'instruction'.",
    )


def _changed_turn(turns: list[Any], change: Callable[[str], str], place: str) -> list[Any] | None:
    """The turns with the first one of a user changed; None if there is none."""
    for at, turn in enumerate(turns):
        if not isinstance(turn, dict):
            continue
        for role, text in (("role", "content"), ("from", "value")):
            if turn.get(role) not in ("user", "human"):
                continue
            if not isinstance(turn.get(text), str):
                raise LemError(
                    f"{place}: the first user turn has no text in {text!r}.",
                    "A kernel belongs before the first thing said; nothing was written.",
                    f"Give the turn one text as its {text!r}, or leave the conversation out.",
                )
            changed = {**turn, text: _told(change, turn[text], place)}
            return [*turns[:at], changed, *turns[at + 1 :]]
    return None


def _told(change: Callable[[str], str], text: str, place: str) -> str:
    try:
        return change(text)
    except LemError as e:
        raise LemError(f"{place}: {e.cause}", e.consequence, e.fix) from None
