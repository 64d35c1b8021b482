"""What a model generated, taken apart into its reasoning and its answer.

Three ways of writing are known. *plain*: all of it is the answer. *think*: reasoning stands between
two tags (Qwen3, DeepSeek-R1, Magistral and others). *harmony*: GPT-OSS, whose every message names
its channel. Only the answer is scored. Text comes from a model and is untrusted: nothing here
raises, and everything takes time in proportion to its length.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from lem.engines import _harmony
from lem.engines._pieces import join
from lem.prompts.reasoning import reasoning_tags
from lem.records import FinishReason

#: What some models put around the answer that follows their reasoning.
_FRAMES = (
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("<answer>", "</answer>"),
    ("<response>", "</response>"),
)
#: Control tokens after which the answer is over: they end a turn or the text …
_ENDS = re.compile(
    r"im_end|end_?of_?(turn|text|message|utterance)|turn_end|\beot|\beom|\beos\b|endoftext|end▁of▁sentence"
    r"|<\|end\|>|</s>|turn\|>|\[/?\|?endofturn",
    re.IGNORECASE,
)
#: … or begin another one.
_STARTS = re.compile(
    r"im_(start|user|system|assistant)|start_?of_?(turn|role|text)|start_header|begin_?of_?text"
    r"|begin▁of▁sentence|\bbos\b|^\[INST\]$|SYSTEM_PROMPT\]|<\|?turn>|<\|start\|>"
    r"|^[<\[]?[|｜<\[]+(user|assistant|system|human|bot)[|｜>\]]+$",
    re.IGNORECASE,
)
#: Of those, the ones that may stand before the answer itself: a new text, or the model's own role.
_OWN = re.compile(r"of_?text|of▁sentence|\bbos\b|assistant|bot\b", re.IGNORECASE)
_OWN_ROLE = re.compile(r"\s*(?:assistant|model|chatbot|bot)\b", re.IGNORECASE)
#: Control tokens that are HTML as well: an answer about HTML must not lose them.
_ALSO_HTML = ("<s>", "</s>")
_QUOTES = frozenset("`'\"“”‘’„«»*")


@dataclasses.dataclass(frozen=True)
class OutputStyle:
    """How a model marks its reasoning.

    Args:
        kind: see the module.
        open, close: of *think*: its tags.
        control: texts of the vocabulary's control tokens.
        frame: of *think*: what the model puts around its answer, to be dropped silently.
    """

    kind: Literal["plain", "think", "harmony"]
    open: str = ""
    close: str = ""
    control: frozenset[str] = frozenset()
    frame: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """Generated text, taken apart."""

    final: str
    reasoning: str | None
    finish_reason: FinishReason
    """length also where the reasoning was never closed, or no final channel came."""
    format_errors: int


def style_of(template: str, control: Iterable[str]) -> OutputStyle:
    """How a model writes, from its chat template and its control tokens.

    Args:
        template: the Jinja text. Tags in it are believed whatever they are there for: templates
            name them to open the reasoning, or to cut it out of earlier turns.
        control: texts of the vocabulary's control tokens; odd ones (empty, or words) are left out.
    """
    tokens = frozenset(t for t in control if _is_mark(t))
    if all(mark in template or mark in tokens for mark in ("<|channel|>", "<|message|>")):
        return OutputStyle("harmony", control=tokens - _harmony.MARKS)
    tags = reasoning_tags(template) or reasoning_tags("\n".join(sorted(tokens)))
    if tags is None:
        return OutputStyle("plain", control=tokens)
    frame = next((f for f in _FRAMES if all(m in template for m in f)), None)
    own = "\n".join((*tags, *(frame or ())))
    return OutputStyle("think", *tags, frozenset(t for t in tokens if t not in own), frame)


def parse(text: str, style: OutputStyle, *, prompt: str, ended: bool) -> Answer:
    """Take generated text apart.

    Control tokens that are left over are removed and counted. From the first one that ends a turn
    or begins another the text is dropped: what a model writes there is no part of its answer,
    and the answer counts as ended. (A repeated header of the model's own turn, before any text,
    is only removed.)

    *think*: the reasoning may be opened by the prompt's end. Without that, and without an opening
    tag, everything before a closing tag is reasoning. Several blocks are joined, and what stands
    between them is answer. A block that is never closed makes the answer truncated, even where
    the model ended by itself. Tags in quotation marks or backticks are text, and so is an opening
    tag amid a line of the answer that no closing one follows.

    *harmony*: see `lem.engines._harmony`. Only the final channel is answer.

    Args:
        text: the tokens decoded with control tokens as text, without the one that ended it.
        style: of the model.
        prompt: the rendered prompt; its tail may open the reasoning, or close it at once.
        ended: the model ended its answer; False: it was cut off at max_tokens.
    """
    text, errors, over = _without_control(text, style.control)
    ended = ended or over
    if style.kind == "harmony":
        harmony = _harmony.read(text, prompt)
        complete = harmony.answered and (ended or harmony.ended)
        wrong = errors + harmony.errors + (ended and harmony.torn)
        return Answer(
            harmony.final, harmony.reasoning or None, "stop" if complete else "length", wrong
        )
    if style.kind == "plain" or not (style.open and style.close):
        return Answer(text.strip(), None, "stop" if ended else "length", errors)
    final, reasoning, closed, found = _think(text, style, prompt.rstrip())
    wrong = errors + found + (ended and not closed)
    complete = ended and closed
    return Answer(final, reasoning or None, "stop" if complete else "length", wrong)


def _is_mark(token: str) -> bool:
    """Whether a control token looks like one: an ordinary word cannot be told from text."""
    return len(token) > 2 and not (token[0].isalnum() or token[-1].isalnum() or token.isspace())


def _think(text: str, style: OutputStyle, prompt: str) -> tuple[str, str, bool, int]:
    """The answer, the reasoning, whether every block is closed, and the number of errors."""
    marks = [
        (m.start(), m.end(), m[0] == style.open)
        for m in _tag_pattern(style.open, style.close).finditer(text)
        if not _quoted(text, m.start(), m.end())
    ]
    last_close = max((i for i, mark in enumerate(marks) if not mark[2]), default=-1)
    inside = prompt.endswith(style.open)
    errors = 0
    missing = bool(marks) and not inside and not marks[0][2]  # the opening tag
    if missing and (text[marks[0][1] :].strip() or not prompt.endswith(style.close)):
        inside, errors = True, 1
    # Else the prompt closed the reasoning and nothing follows the tag: a stray one.
    thoughts: list[str] = []
    said: list[str] = []
    nested = at = seen = 0
    begun = mused = False  # the answer; the reasoning of the block that is open
    for i, (start, end, opens) in enumerate(marks):
        blank = not text[seen:start].strip()
        seen = end
        if opens and inside:
            errors += 1
            # An opening tag that only repeats the one before it wants no closing tag of its own.
            mused = mused or not blank
            nested += mused
            thoughts.append(text[at:start])
        elif opens:
            begun = begun or not blank
            if begun and i > last_close and not _at_line_start(text, start):
                errors += 1
                continue  # a mention: it stays in the text
            said.append(text[at:start])
            thoughts.append("\n")  # keeps the blocks apart
            inside, mused, nested = True, False, 0
        elif inside:
            thoughts.append(text[at:start])
            inside = False
        elif nested:  # closes the outer block
            thoughts.append(text[at:start])
            nested -= 1
        else:
            errors += 1
            begun = begun or not blank
            said.append(text[at:start])
        at = end
    (thoughts if inside else said).append(text[at:])
    return _unframed(join(said), style.frame), join(thoughts), not inside, errors


@functools.lru_cache(maxsize=64)
def _tag_pattern(open_: str, close: str) -> re.Pattern[str]:
    return re.compile(f"{re.escape(open_)}|{re.escape(close)}")


def _quoted(text: str, start: int, end: int) -> bool:
    return start > 0 and end < len(text) and text[start - 1] in _QUOTES and text[end] in _QUOTES


def _at_line_start(text: str, at: int) -> bool:
    while at and text[at - 1] in " \t":
        at -= 1
    return at == 0 or text[at - 1] == "\n"


def _unframed(final: str, frame: tuple[str, str] | None) -> str:
    if frame:
        final = final.removeprefix(frame[0]).removesuffix(frame[1]).strip()
    return final


def _without_control(text: str, control: frozenset[str]) -> tuple[str, int, bool]:
    """The text without control tokens, how many there were, and whether one of them ended it."""
    first, last, count = _trimmed(text, control)
    kept: list[str] = []
    blank, at = True, first
    for start, end in _control_spans(text, first, last, control):
        kept.append(text[at:start])
        blank = blank and not kept[-1].strip()
        count += 1
        token, at = text[start:end], end
        if _ENDS.search(token):
            return "".join(kept), count, True
        if _STARTS.search(token):
            role = _OWN_ROLE.match(text, end)
            if not blank or not (role or _OWN.search(token)):
                return "".join(kept), count, True
            at = role.end() if role else end
    kept.append(text[at:last])
    return "".join(kept), count, False


def _trimmed(text: str, control: frozenset[str]) -> tuple[int, int, int]:
    """Where the text starts and ends without tokens that are HTML too, and how many those are."""
    first, last, count = 0, len(text), 0
    tokens = tuple(t for t in _ALSO_HTML if t in control)
    while tokens:
        start, end = first, last
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        head = next((t for t in tokens if text.startswith(t, start, end)), "")
        tail = next((t for t in tokens if text.endswith(t, start + len(head), end)), "")
        if not head and not tail:
            break
        first, last, count = start + len(head), end - len(tail), count + bool(head) + bool(tail)
    return first, last, count


def _control_spans(
    text: str, first: int, last: int, control: frozenset[str]
) -> Iterator[tuple[int, int]]:
    """Where control tokens stand, the longest first where several begin alike."""
    pattern, lengths = _control_pattern(control)
    if pattern is None:
        return
    at = first
    while found := pattern.search(text, at, last):
        start = found.start()
        at = start + 1
        for length in lengths[found[0]]:
            if start + length <= last and text[start : start + length] in control:
                at = start + length
                yield start, at
                break


@functools.lru_cache(maxsize=16)
def _control_pattern(
    control: frozenset[str],
) -> tuple[re.Pattern[str] | None, dict[str, list[int]]]:
    """A pattern of the tokens' first three characters, and the lengths that go with each.

    Vocabularies have thousands of control tokens; one pattern of them all would try each of them
    at every place.
    """
    lengths: dict[str, set[int]] = {}
    for token in control.difference(_ALSO_HTML):
        lengths.setdefault(token[:3], set()).add(len(token))
    if not lengths:
        return None, {}
    pattern = re.compile("|".join(re.escape(p) for p in sorted(lengths)))
    return pattern, {p: sorted(found, reverse=True) for p, found in lengths.items()}
