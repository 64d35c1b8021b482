"""Leakage and echo: how much of an answer is the kernel's text, or the prompt's.

A model that was given a kernel may recite it, and any model may say the question back. Neither
is reasoning, both raise scores that count words, and neither may get into training examples.
This module measures both, by citations (`lem.scorers.citations`) and by common word sequences,
and can turn an answer away.

Words are compared folded, so that a kernel quoted in another layout is still found: letters
only, compatibility forms taken apart (NFKD) and case-folded; apostrophes of any kind and invisible
characters are dropped, everything else (punctuation, digits, hyphens, underscores, Markdown, JSON
braces and escapes) separates words. Digits are no words because they are layout as often as not:
list numbers come and go, and "1, 2, 3, 4, 5" is nobody's phrase. In scripts written without
spaces every Han character and every kana is a word.

How it is fast: the source is made into a suffix automaton, once, and the answer is read through
it word by word. That gives the longest sequence ending at each word that also stands in the
source, and every measure here follows from these lengths, for any n. Time grows with the
length of the answer plus that of the source.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from lem.errors import LemError
from lem.scorers.base import Answer, Field, Span
from lem.scorers.citations import citations
from lem.text import excerpt

__all__ = ["Overlap", "citations", "folded_words", "keep", "measures", "overlap", "quoted_spans"]

WORDS = 5
"""The usual n: shorter sequences are common property, longer ones miss light rewording."""

LEAK_SHARE = 0.03
"""An answer with more than this share of its words inside quotations of a kernel leaks it: one
sentence of twelve words in an answer of 400. Chance hardly gets there. With n = 5 and the built-in
kernels, 272 answers of models that had seen neither held no such run at all, and 24 million words
of technical English held 22."""

MAX_KERNEL_OVERLAP = 0.02
"""How much of a training example's word sequences may be the kernel's, unless told otherwise."""

MAX_PROMPT_OVERLAP = 0.3
"""How much may be the prompt's: naming what was asked is normal, repeating it is not. Of 30
published pairs the answers of more than ten words reached 0.22."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What an answer has in common with a source.

    Attributes:
        containment: share of the answer's sequences of n words that occur in the source, 0 to 1;
            None if the answer or the source has fewer than n words.
        longest_run: length in words of the longest sequence that stands in both.
        quoted_share: share of the answer's words that are in a run of n or more words that
            stands in the source, 0 to 1; None as for `containment`.
        spans: these runs as pieces of the answer, ascending; where two overlap they are one.
    """

    containment: float | None
    longest_run: int
    quoted_share: float | None
    spans: tuple[Span, ...]


def overlap(text: str, source: str, n: int = WORDS) -> Overlap:
    """Compare an answer with one source.

    Args:
        text: the answer.
        source: a kernel or a prompt.
        n: how many words make a sequence count; 3 to 8 are sensible.

    Raises:
        ValueError: n is less than 1.
    """
    words = folded_words(text)
    common = _compare(words, source, n)
    spans = tuple(_spans_of(text, common.runs))
    return Overlap(common.containment, common.longest_run, common.quoted_share, spans)


def quoted_spans(text: str, sources: Iterable[str], n: int = WORDS) -> list[Span]:
    """Return the pieces of an answer that stand in any of the sources.

    Args:
        text: the answer.
        sources: kernels, prompts.
        n: how many words a piece must have.

    Returns:
        Spans in ascending order; where two overlap they are one.

    Raises:
        ValueError: n is less than 1.
    """
    words = folded_words(text)
    runs = [run for source in sources for run in _compare(words, source, n).runs]
    return _spans_of(text, _merged(sorted(runs)))


def measures(answer: Answer) -> dict[str, Field]:
    """Measure leakage and echo of one answer.

    Returns:
        leak: whether the answer cites the kernel or an axiom by name, or more than `LEAK_SHARE`
            of its words are in quotations of one kernel.
        citations: how many such citations there are.
        kernel_overlap, kernel_longest_run: containment in and longest run (words) from the
            kernel with which it has most in common; None without a kernel.
        prompt_overlap, prompt_longest_run: the same for the prompt; None without one.

        Containments are also None where there are too few words to tell.
    """
    words = folded_words(answer.text)
    cited = len(citations(answer.text))
    kernels = [_compare(words, kernel, WORDS) for kernel in answer.kernels]
    prompt = None if answer.prompt is None else _compare(words, answer.prompt, WORDS)
    quoted = max((kernel.quoted_share or 0.0 for kernel in kernels), default=0.0)
    shares = [kernel.containment for kernel in kernels if kernel.containment is not None]
    return {
        "leak": cited > 0 or quoted > LEAK_SHARE,
        "citations": cited,
        "kernel_overlap": max(shares, default=None),
        "kernel_longest_run": max((kernel.longest_run for kernel in kernels), default=None),
        "prompt_overlap": prompt.containment if prompt else None,
        "prompt_longest_run": prompt.longest_run if prompt else None,
    }


def keep(
    answer: Answer,
    *,
    max_kernel_overlap: float = MAX_KERNEL_OVERLAP,
    max_prompt_overlap: float = MAX_PROMPT_OVERLAP,
    allow_citations: bool = False,
) -> str | None:
    """Decide whether an answer may become a training example.

    Args:
        answer: the answer, with the prompt and the kernels that stood in front of it.
        max_kernel_overlap: the highest containment in a kernel that is let through, 0 to 1.
        max_prompt_overlap: the same for the prompt.
        allow_citations: let answers through that name the kernel or an axiom.

    Returns:
        None to keep the answer, else the reason why not: `citation: ...`, `kernel overlap: ...`
        or `prompt overlap: ...`. What cannot be measured is no reason.

    Raises:
        LemError: a limit is not between 0 and 1.
    """
    limits = {"kernel": max_kernel_overlap, "prompt": max_prompt_overlap}
    for source, limit in limits.items():
        if not 0 <= limit <= 1:
            raise LemError(
                f"The limit for {source} overlap is {limit!r}, not a share between 0 and 1.",
                "No answer was filtered.",
                "Write 5 % as 0.05; 1 turns the filter off.",
            )
    if not allow_citations and (cited := citations(answer.text)):
        start, end = cited[0]
        return f"citation: {excerpt(answer.text[start:end])!r}"
    words = folded_words(answer.text)
    prompts = () if answer.prompt is None else (answer.prompt,)
    for source, texts in (("kernel", answer.kernels), ("prompt", prompts)):
        for text in texts:
            share = _compare(words, text, WORDS).containment
            if share is not None and share > limits[source]:
                return f"{source} overlap: {share:.3f} > {limits[source]:g}"
    return None


# --- words --------------------------------------------------------------------------------------

_APOSTROPHES = "'\u2018\u2019\u201b\u02bc\uff07"
_SINGLE = re.compile(r"[\u2e80-\u2fdf\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class _FoldedCharacters(dict[int, str]):
    """What each character contributes to the words of a text: letters, a space where it separates
    words, nothing where it is to be overlooked. Filled in as characters turn up."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = self._folded(chr(code))
        return folded

    @staticmethod
    def _folded(char: str) -> str:
        kind = unicodedata.category(char)
        # Format characters, enclosing marks and variation selectors change the look alone.
        if char in _APOSTROPHES or kind in ("Cf", "Me") or "\ufe00" <= char <= "\ufe0f":
            return ""
        if kind[0] not in "LM":
            return " "
        parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char).casefold())
        word = "".join(c if unicodedata.category(c)[0] in "LM" else " " for c in parts)
        return f" {word} " if _SINGLE.match(char) else word


_FOLDED = _FoldedCharacters()

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[bfnrt])")  # of a JSON string
_ASCII_WORD = re.compile(r"[A-Za-z]+(?:'+[A-Za-z]+)*")


def _unescaped(text: str) -> str:
    """Resolve JSON escapes without changing the length; word joiners, which count for nothing,
    fill the room that is left."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) + 5 * "\u2060" if m[1] else "  ", text)


def folded_words(text: str) -> list[str]:
    """Return the words of a text, folded."""
    return _unescaped(text).translate(_FOLDED).split()


def _word_spans(text: str) -> list[Span]:
    """Return where in the text the words of `folded_words` are."""
    text = _unescaped(text)
    if text.isascii():
        return [match.span() for match in _ASCII_WORD.finditer(text)]
    spans: list[Span] = []
    start, end = -1, 0
    for at, char in enumerate(text):
        for number, part in enumerate(_FOLDED[ord(char)].split(" ")):
            if number and start >= 0:
                spans.append((start, end))
                start = -1
            if part:
                start, end = (at if start < 0 else start), at + 1
    return [*spans, (start, end)] if start >= 0 else spans


# --- common sequences ---------------------------------------------------------------------------


class _Common(NamedTuple):
    """An `Overlap` in words instead of characters."""

    containment: float | None
    longest_run: int
    quoted_share: float | None
    runs: list[Span]  # numbers of words, as in words[start:end]


def _compare(words: Sequence[str], source: str, n: int) -> _Common:
    """Compare the words of an answer with a source."""
    if n < 1:
        raise ValueError(f"sequences of {n} words: n must be at least 1")
    automaton = _automaton(source) if len(source) <= _LONGEST_KEPT else _build(source)
    lengths = _common_lengths(words, automaton)
    longest = max(lengths, default=0)
    if len(words) < n or automaton.size < n:
        return _Common(None, longest, None, [])
    hits = [(end - length, end) for end, length in enumerate(lengths, 1) if length >= n]
    runs = _merged(hits)
    quoted = sum(end - start for start, end in runs)
    return _Common(len(hits) / (len(words) - n + 1), longest, quoted / len(words), runs)


def _merged(runs: Iterable[Span]) -> list[Span]:
    """Make one of runs that overlap; they come in ascending order."""
    merged: list[Span] = []
    for start, end in runs:
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _spans_of(text: str, runs: Sequence[Span]) -> list[Span]:
    """Return where in the text runs of words are."""
    if not runs:
        return []
    where = _word_spans(text)
    return [(where[start][0], where[end - 1][1]) for start, end in runs]


class _Automaton(NamedTuple):
    """The suffix automaton of a text's words: it accepts exactly the sequences in the text.

    A state stands for sequences that end at the same places. State 0 stands for the empty one.
    """

    steps: list[dict[str, int]]  # by state: the state after one more word
    links: list[int]  # by state: the state of its longest sequence that ends elsewhere too
    lengths: list[int]  # by state: words in the longest of its sequences
    size: int  # words in the text


_LONGEST_KEPT = 200_000  # characters; longer sources are not worth the memory their index takes


def _build(source: str) -> _Automaton:
    """Build the automaton, in time proportional to the words (Blumer et al. 1985)."""
    steps: list[dict[str, int]] = [{}]
    links, lengths = [-1], [0]
    last = size = 0
    for size, word in enumerate(folded_words(source), 1):
        new, at = len(steps), last
        steps.append({})
        links.append(0)
        lengths.append(size)
        while at >= 0 and word not in steps[at]:
            steps[at][word] = new
            at = links[at]
        if at >= 0:
            other = steps[at][word]
            if lengths[other] != lengths[at] + 1:  # it stands for more than what ends here: split
                part = len(steps)
                steps.append(dict(steps[other]))
                links.append(links[other])
                lengths.append(lengths[at] + 1)
                links[other] = part
                while at >= 0 and steps[at].get(word) == other:
                    steps[at][word] = part
                    at = links[at]
                other = part
            links[new] = other
        last = new
    return _Automaton(steps, links, lengths, size)


_automaton = lru_cache(maxsize=64)(_build)


def _common_lengths(words: Iterable[str], automaton: _Automaton) -> list[int]:
    """Return for each word the length of the longest sequence up to it that the source has."""
    steps, links, lengths, _ = automaton
    found: list[int] = []
    state = length = 0
    for word in words:
        after = steps[state].get(word)
        while after is None and state:
            state = links[state]
            length = lengths[state]
            after = steps[state].get(word)
        if after is None:
            length = 0
        else:
            state = after
            length += 1
        found.append(length)
    return found
