"""Reasoning that a server left in the text of an answer, taken out of it.

Most servers split an answer themselves and send the reasoning in a field of its own
(``reasoning_content``, or ``reasoning``); what they call content is then the answer. Others, or the
same ones started without a parser, send everything as content. So content is taken apart where it
holds the marks of reasoning:

- The model's own, where the server shows its chat template (llama.cpp).
- Without a template: ``<think>`` at the very beginning, a ``</think>`` with no ``<think>`` before
  it (templates that open the reasoning themselves), or the channel marks of harmony. A tag amid an
  answer is text about tags.

Content without a mark is the answer as it is, with one exception: to a prompt that ends with an
opening tag, from a server that was found not to split, it is reasoning that never ended.
"""

from __future__ import annotations

import dataclasses

from lem.engines._openai_answer import Reply
from lem.engines.outputs import OutputStyle, parse, style_of

THINK = OutputStyle("think", "<think>", "</think>")
_HARMONY = OutputStyle("harmony")


def taken_apart(
    reply: Reply, *, template: str | None, prompt: str, unsplit: bool
) -> tuple[Reply, int]:
    """A reply whose final text is only the answer, and its number of format errors.

    Args:
        reply: as it came.
        template: of the server; None where it is not known.
        prompt: the rendered prompt; empty where it is not known.
        unsplit: the prompt opens the reasoning, and the server leaves it in the content.
    """
    if template is None:
        style, prompt = (THINK, THINK.open) if unsplit else _guessed(reply.final)
    else:
        style = style_of(template, ())
    if style.kind == "plain" or reply.finish_reason not in ("stop", "length"):
        return reply, 0
    marks = ("<|channel|>",) if style.kind == "harmony" else (style.open, style.close)
    if not any(mark in reply.final for mark in marks) and not (unsplit and not reply.reasoning):
        return reply, 0
    if reply.reasoning is not None or (style.open and reply.final.startswith(style.open)):
        prompt = ""  # what its end had opened, the server has taken out, or written again
    answer = parse(reply.final, style, prompt=prompt, ended=reply.finish_reason == "stop")
    thoughts = "\n\n".join(t for t in (reply.reasoning, answer.reasoning) if t)
    changed = dataclasses.replace(
        reply,
        final=answer.final,
        reasoning=thoughts or None,
        finish_reason=answer.finish_reason,
    )
    return changed, answer.format_errors


def _guessed(text: str) -> tuple[OutputStyle, str]:
    """The style of a text of which nothing is known (see the module), and how its prompt ends."""
    if "<|channel|>" in text and "<|message|>" in text:
        return _HARMONY, ""
    if text.startswith(THINK.open):
        return THINK, ""
    before, close, _ = text.partition(THINK.close)
    if close and THINK.open not in before:
        return THINK, THINK.open
    return OutputStyle("plain"), ""
