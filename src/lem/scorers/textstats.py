"""Text statistics: what must be known of an answer before any score of it is believed."""

from __future__ import annotations

from lem.scorers.base import Field
from lem.scorers.language import identify_words, sample
from lem.scorers.prose import clean, plain, sentence_count, words
from lem.scorers.refusal import refused

_RUN = 4
"""Length in words of the runs whose repeats are counted: long enough that ordinary prose hardly
ever says one twice."""


def text_statistics(text: str, finish_reason: str | None = None) -> dict[str, Field]:
    """Describe one answer.

    Args:
        text: the answer, exactly as the model gave it.
        finish_reason: as in `lem.records.Response`; None or "unknown" where nobody knows.

    Returns:
        ``words`` and ``sentences`` of the prose; ``markdown_share``, the share of visible
        characters that are layout, code or chat format; ``empty``; ``truncated``, cut off at the
        token limit (None: unknown); ``refused``, opens by declining; ``language``, an ISO 639-1
        code or "und"; ``repetition``, the share of runs of four words that were said before (None
        below eight words).
    """
    cleaned = clean(text)
    prose = plain(cleaned)
    found = words(prose.lower())
    visible = _visible(cleaned)
    return {
        "words": len(found),
        "sentences": sentence_count(prose),
        "markdown_share": round(1 - _visible(prose) / visible, 4) if visible else 0.0,
        "empty": not visible,
        "truncated": None if finish_reason in (None, "unknown") else finish_reason == "length",
        "refused": refused(prose),
        "language": identify_words(prose, sample(found)),
        "repetition": repetition(found),
    }


def repetition(forms: list[str]) -> float | None:
    """Return the share of runs of four words that occurred before in the text, 0 to 1."""
    if len(forms) < 2 * _RUN:
        return None
    runs = list(zip(*(forms[i:] for i in range(_RUN))))
    return round(1 - len(set(runs)) / len(runs), 4)


def _visible(text: str) -> int:
    """Return the number of characters that are not white space."""
    return sum(map(len, text.split()))
