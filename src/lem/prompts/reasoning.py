"""The tags between which models reason, as chat templates and prompts show them."""

from __future__ import annotations

import re

#: Closing tags: </think>, </thinking>, </seed:think>, [/THINK], …
_CLOSING = re.compile(
    r"(<)/([\w:.-]{0,20}(?:think|thinking|thoughts?|reasoning))(>)"
    r"|(\[)/((?:THINK|THINKING|REASONING))(\])"
)
#: Tags of other shapes, opening and closing; of Gemma 4 the channel's name belongs to the tag.
_IRREGULAR = (
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought", "<channel|>"),
    ("◁think▷", "◁/think▷"),
)
_OPEN_AT_END = re.compile(
    r"(?:<[\w:.-]{0,20}(?:think|thinking|thoughts?|reasoning)>|\[(?:THINK|THINKING|REASONING)\]|"
    + "|".join(re.escape(opening) for opening, _ in _IRREGULAR)
    + r")\s*\Z"
)


def reasoning_tags(text: str) -> tuple[str, str] | None:
    """The opening and the closing tag that a text (a template, a list of tokens) shows first.

    Templates often show only the closing one, where they cut the reasoning out of earlier turns.
    """
    for opening, closing in _IRREGULAR:
        if opening.removesuffix("thought") in text and closing in text:
            return opening, closing
    found = _CLOSING.search(text)
    if found is None:
        return None
    left, name, right = (found[i] or found[i + 3] for i in (1, 2, 3))
    return f"{left}{name}{right}", found[0]


def opens_reasoning(prompt: str) -> bool:
    """Whether a rendered prompt ends with an opening tag, so that the model goes on reasoning."""
    return bool(_OPEN_AT_END.search(prompt[-200:]))
