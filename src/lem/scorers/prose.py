"""Prose: what is left of an answer when layout and chat format are taken away.

`clean` makes texts that look alike be alike. `plain` then blanks everything that is not prose and
keeps every character in its place, so that a span of the plain text is a span of the clean one;
`origin` leads from there back to the answer. Line ends mean nothing in the plain text: an answer
reads the same with and without its Markdown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

# Characters that cannot be seen: soft hyphen, zero-width space and joiners, direction marks, BOM.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]+")

# Straight forms of quotes, hyphens and spaces; one character for one character.
_STRAIGHT = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u2032\uff07\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033\uff02", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\ufe63\uff0d", "-"),
        **dict.fromkeys("\r\t\v\f\x1c\x1d\x1e\x1f\x85\u00a0\u202f\u3000\u2028\u2029", " "),
        "\u2026": ".",
    }
)


def clean(text: str) -> str:
    """Return the text in Unicode normal form C, without characters that cannot be seen."""
    if text.isascii():
        return text
    return _UNSEEN.sub("", unicodedata.normalize("NFC", text))


def origin(text: str) -> Callable[[int], int]:
    """Return the way back from a position in ``clean(text)`` to one in ``text``.

    The text is cut before every character that is no combining mark, and a cut is taken back where
    the two sides compose all the same (Korean syllables, some Indian vowels). Each piece is then
    cleaned by itself.
    """
    if clean(text) == text:
        return lambda position: position
    starts = [i for i, character in enumerate(text) if not unicodedata.combining(character)]
    back: list[int] = []
    start, cleaned = 0, ""
    for cut, end in zip([0, *starts], [*starts, len(text)]):
        piece = clean(text[cut:end])
        together = cleaned + piece if text[cut:end].isascii() else clean(text[start:end])
        if together == cleaned + piece:
            back += [start] * len(cleaned)
            start, cleaned = cut, piece
        else:
            cleaned = together
    back += [start] * len(cleaned) + [len(text)]
    return lambda position: back[position]


# All patterns below are linear: what may repeat without bound is either possessive or cannot
# match a character that could begin another match.

_FENCE = re.compile(r"^ {0,3}(```|~~~)[^\n]*+\n(?:(?! {0,3}\1)[^\n]*+\n?+)*+[^\n]*+", re.M)
_HIDDEN = re.compile(r"<(/?)(?:think|thinking|analysis)>", re.I)
_CHAT = re.compile(
    "<[|\uff5c][^|\uff5c<>\n]{0,40}[|\uff5c]>"
    r"|<(?:start|end)_of_turn>(?:model|user)?|</?s>|<(?:bos|eos|pad|unk)>"
    r"|\[/?(?:INST|SYS)\]|<</?SYS>>",
    re.I,
)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,300})\]\([^()\s]{0,2000}\)|\bhttps?://[^\s<>]{1,2000}+")
# At the beginning of a line: quotation, then a heading, a bullet, a number, or a ruled line.
_MARK = re.compile(
    r"^(?: *+>)*+ *+(?:#{1,6}(?= )|[-+*\u2022\u25cf\u25aa\u2013](?= )"
    r"|\(?(?:\d{1,3}|[A-Za-z])\)(?= )|[-=_*|:+ ]{3,}+$)?",
    re.M,
)
_NOISE = re.compile(r"[*_~|#^`]++")
_STEP = re.compile(r"(?<![\w.,])\(?\d{1,3}[.)](?=\s)")  # 2. or 2) wherever it stands


def plain(text: str) -> str:
    """Blank out Markdown, code blocks, chat tokens, hidden thoughts, tags and links.

    Args:
        text: a clean text.

    Returns:
        A text of the same length; what was taken away is spaces, quotes and hyphens are straight.
    """
    if "```" in text or "~~~" in text:
        text = _blank(_FENCE, text)
    if "<" in text or "[INST" in text:
        text = _blank(_TAG, _blank(_CHAT, _without_thoughts(text)))
    if "](" in text or "://" in text:
        text = _LINK.sub(_link, text)
    text = text.translate(_STRAIGHT)
    if "\n" in text or not text[:1].isalpha():
        text = _blank(_MARK, text)
    if any(mark in text for mark in "*_~|#^`"):
        text = _blank(_NOISE, text)
    return _blank(_STEP, text)


def _blank(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(_spaces, text)


def _spaces(match: re.Match[str]) -> str:
    return " " * (match.end() - match.start())


def _link(match: re.Match[str]) -> str:
    """Keep the words of a link, in their place."""
    words = match[1]
    if words is None:
        return _spaces(match)
    before = match.start(1) - match.start()
    return " " * before + words + " " * (match.end() - match.end(1))


def _without_thoughts(text: str) -> str:
    """Blank closed think blocks; one that never closes is left to be read as it stands."""
    pieces: list[str] = []
    done, opened = 0, None
    for tag in _HIDDEN.finditer(text):
        if not tag[1]:
            opened = tag.start() if opened is None else opened
        elif opened is not None:
            pieces += [text[done:opened], " " * (tag.end() - opened)]
            done, opened = tag.end(), None
    return "".join([*pieces, text[done:]])


# --- words ---------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"[^\W\d_]++(?:'[^\W\d_]++)*+|\d++(?:[.,:]\d++)*+|[.!?]++|[,;:()\u2013\u2014]|\""
)
"""A word, a number, the end of a sentence, or another mark that parts words."""

_WORD = re.compile(r"[^\W\d_]++(?:'[^\W\d_]++)*+")
_ENDS = re.compile(r"[.!?\u3002\uff01\uff1f\u061f\u0964]++(?=[\s\"')\]]|$)|\n[^\S\n]*+\n")


def words(text: str) -> list[str]:
    """Return the words of a plain text."""
    return _WORD.findall(text)


def sentence_count(text: str) -> int:
    """Return the number of sentences: runs of words up to an end mark or a blank line."""
    return sum(1 for piece in _ENDS.split(text) if _WORD.search(piece))
