"""The v2-distill score: the variant of v2 that the published self-distillation script used.

It has the names of v2's fourteen counts and half of its rules: seven signals are the same, the
other seven have other terms, thresholds or weights (refusals anywhere in the text, repetition
instead of word variety, story words instead of Markdown, ...). Published thresholds such as 24.0
refer to this score; its numbers and those of v2 must never be compared. Like v2 it says how an
answer is worded and laid out, nothing more: `creative_form` counts every "he" inside "the" and
"when", so that any long answer has its full six points.

Source of every term, weight, cap and threshold that differs from v2: the scorer in
LetheanNetwork/LEM, `scripts/self_distill.py`, revision 7bea00a (EUPL-1.2). The terms are in
`data/v2_distill_lexicon.json`, the numbers below.
"""

from __future__ import annotations

import re
from functools import cache
from math import inf

from lem.scorers import v2
from lem.scorers.base import Span
from lem.scorers.v2 import COUNTS, CountScorer, V2Score

VERSION = "v2-distill/1"
"""Name of the counting rules; it changes whenever any count of any text could change."""

LABEL = "v2-distill style and format index"
"""What to call the number in tables and on axes."""

_WEIGHTS: dict[str, tuple[float, float]] = {
    # count: (points for each, most points it can add)
    **v2._WEIGHTS,
    "compliance_markers": (-4.0, inf),
    "empty_broken": (-15.0, inf),
}

_MIN_LENGTH = 50  # characters, after trimming; below it an answer counts as empty


def score(text: str) -> V2Score:
    """Score one answer.

    Args:
        text: the answer exactly as the model gave it; nothing is trimmed or normalised.

    Returns:
        The fourteen counts and their weighted sum. `degeneration` is 0 or 1 here.
    """
    terms = v2.term_spans(text, _terms())
    counts: v2.Counts = {
        "compliance_markers": len(terms["compliance_markers"]),
        "formulaic_preamble": len(terms["formulaic_preamble"]),
        "degeneration": int(_degenerate(text)),
        "empty_broken": int(len(text.strip()) < _MIN_LENGTH),
        "first_person": len(terms["first_person"]),
        "creative_form": len(terms["creative_form"]),
        "emotional_register": len(terms["emotional_register"]),
        **v2.shared_counts(text, terms),
    }
    return v2.weigh(counts, _WEIGHTS)


def evidence(text: str) -> dict[str, list[Span]]:
    """Show what `score` counted: the pieces of text behind each signal.

    The promises are those of `lem.scorers.v2.evidence`.
    """
    terms = v2.term_spans(text, _terms())
    shown = {**terms, **v2.shared_evidence(text, terms)}
    return {name: shown.get(name, []) for name in COUNTS}


def scorer(name: str, profile: str | None = None) -> CountScorer:
    """Return v2-distill as a scorer; it has no profiles, so `profile` changes nothing."""
    return CountScorer(name, VERSION, LABEL, score, evidence)


@cache
def _terms() -> v2.Terms:
    """Read and compile the term tables, once."""
    data = v2.read_tables("v2_distill_lexicon.json")
    shared = v2.read_tables("v2_lexicon.json")["terms"]
    whole = {**data["terms"], **{name: shared[name] for name in v2.SHARED_TERMS}}
    return v2.compile_terms(whole, data["exact_case"], data["terms_anywhere"])


# --- degeneration -------------------------------------------------------------------------------

_REFUSAL = re.compile(r"I cannot\b")
_NOT_ALLOWED = re.compile(r"\b(?:disallowed|not allowed)\b")

_SHORTEST_UNIT = 10  # characters
_TIMES = 5


def _degenerate(text: str) -> bool:
    """Tell whether the text is stuck: a repeated unit, end marks, refusals or prohibitions."""
    return (
        text.count("<|eot_id|>") >= 2
        or text.count("<|im_end|>") >= 3
        or len(_REFUSAL.findall(text)) >= 5
        or len(_NOT_ALLOWED.findall(text)) >= 3
        or stands_five_times(text)
    )


def stands_five_times(text: str) -> bool:
    r"""Tell whether some unit of 10 or more characters stands 5 times in a row.

    The same answer as a search for `(?s)(.{10,}?)\1{4}`, whose time grows at least with the
    square of the length. Five units of length p are a stretch of text that equals itself p
    characters further on, for 4p characters. Lengths are tried in bands, from b up to 4b: for
    every p in a band such a stretch holds a block of b characters that begins at a multiple of
    3b and stands again p further on. So only these blocks are looked for, each in a window of
    5b, and where one is found the stretch is measured. In ordinary text none is.

    A window can hold few copies of its block: many would make the block itself repetitive, and
    a smaller length would have told. So the time is about the length times its logarithm,
    whatever the text.
    """
    size = _SHORTEST_UNIT
    while _TIMES * size <= len(text):
        for start in range(0, len(text) - 2 * size + 1, 3 * size):
            block = text[start : start + size]
            end = start + 5 * size - 1  # the last copy begins 4 * size - 1 further on
            copy = text.find(block, start + size, end)
            while copy >= 0:
                if _agreeing(text, start, copy) >= (_TIMES - 1) * (copy - start):
                    return True
                copy = text.find(block, copy + 1, end)
        size *= 4
    return False


def _agreeing(text: str, first: int, second: int) -> int:
    """Return how many characters around two places agree, as far as four times their distance."""
    reach = (_TIMES - 1) * (second - first)
    after = _common_start(text[first : first + reach], text[second : second + reach])
    low = max(0, first - reach)
    before = text[low:first], text[low + second - first : second]
    return after + _common_start(before[0][::-1], before[1][::-1])


def _common_start(one: str, other: str) -> int:
    """Return the length of the common beginning of two texts, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
