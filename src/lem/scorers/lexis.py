"""Words: lemma, word classes, and whether English has the word at all.

Lemmas come from the tables of lemminflect (inflections of the NIH SPECIALIST lexicon), chosen over
simplemma by measurement: of 41 inflected words that answers to dilemmas use it reduced all 41
(simplemma 35), and it knows word classes, which simplemma does not (docs/scores.md). Its guesses
for words outside the tables are not used: a word that is not listed is an unknown word.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import NamedTuple

# Words that hold sentences together. Their order is what shuffling destroys, so each is a class of
# its own to the order model; none of them is content.
FUNCTION_WORDS = frozenset(
    resources.files("lem.scorers")
    .joinpath("data", "function_words.txt")
    .read_text(encoding="utf-8")
    .split()
)

_POS = ("NOUN", "VERB", "ADJ", "ADV")
_SHORT = {"NOUN": "n", "VERB": "v", "ADJ": "j", "ADV": "r"}
_ENDINGS = ("ing", "ed", "ly", "s")


class Word(NamedTuple):
    """What is known of one word form."""

    form: str
    """Case folded, without a possessive ending."""
    lemma: str
    """Of its likeliest class: the shortest of the lemmas listed; itself where none is."""
    classes: str
    """Open word classes it can have, of n v j r (noun, verb, adjective, adverb), in that order."""
    function: bool
    known: bool
    """English has it: a function word, or listed with a lemma."""

    @property
    def slot(self) -> str:
        """Its class to the order model: the word itself, or classes and ending."""
        if self.function:
            return self.form
        if not self.classes:
            return ""
        for ending in _ENDINGS:
            if self.form.endswith(ending) and self.form != self.lemma:
                return f"{self.classes}-{ending}"
        return self.classes


LONGEST = 64
"""Characters; a longer run of letters is no word. Cut it to this before it is looked up, so that no
megabyte is kept in memory."""


@lru_cache(maxsize=100_000)
def lookup(raw: str) -> Word:
    """Return what is known of a word as it stands in a plain text."""
    form = raw.lower()
    if form in FUNCTION_WORDS:
        return Word(form, form, "", function=True, known=True)
    if form.endswith("'s"):
        form = form[:-2]
    found = _lemmas(form)
    if not found and "'" in form:  # rock'n'roll, 'tis: judged by their longest part
        form = max(form.split("'"), key=len)
        found = _lemmas(form)
    classes = "".join(_SHORT[pos] for pos in _POS if pos in found)
    if not classes:
        return Word(form, form, "", function=False, known=bool(found))
    lemma = min((lemma for pos in _POS for lemma in found.get(pos, ())), key=lambda x: (len(x), x))
    return Word(form, lemma, classes, function=False, known=True)


def _lemmas(form: str) -> dict[str, tuple[str, ...]]:
    """Return the lemmas of a listed word by class; empty for a word that is not listed."""
    from lemminflect import getAllLemmas

    if not form.isascii() or not form.isalpha():
        return {}
    found: dict[str, tuple[str, ...]] = getAllLemmas(form)
    return found
