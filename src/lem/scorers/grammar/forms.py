"""English verb and noun forms: made by rule, and found again by undoing the rule.

There is no dictionary behind the lookup. A word that ends like an inflected form is taken for one
if inflecting the guessed base gives the word back: `thing` is a gerund (of `th`), `this` a plural.

The original's rules look at bytes. Outside ASCII, a word is therefore looked at as its UTF-8
bytes, each as one character: lengths are then byte lengths, no byte of a longer character is a
vowel, and no guess that cuts a character in half can give the word back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_VOWELS = frozenset("aeiou")
_NEVER_DOUBLE = _VOWELS | frozenset("wxy")  # a last letter among these stays single


@dataclass(frozen=True, slots=True)
class Forms:
    """Verb and noun forms of one profile.

    Attributes:
        verbs: verbs that can be looked up: base -> (past, gerund).
        nouns: nouns that can be looked up: singular -> plural.
        forward_verbs: verbs whose forms are listed, not made by rule.
        forward_nouns: nouns whose plural is listed, not made by rule.
        never_doubled: verbs whose last consonant is never doubled.
        plural_oes: nouns in -o whose plural is -oes.
        c_takes_k: verbs in -c take a k (`panicked`).
    """

    verbs: Mapping[str, tuple[str, str]]
    nouns: Mapping[str, str]
    forward_verbs: Mapping[str, tuple[str, str]]
    forward_nouns: Mapping[str, str]
    never_doubled: frozenset[str]
    plural_oes: frozenset[str]
    c_takes_k: bool
    base_verbs: frozenset[str] = field(init=False)
    base_nouns: frozenset[str] = field(init=False)
    _verb_of: dict[str, tuple[str, str]] = field(init=False, repr=False)  # form -> base, tense
    _noun_of: dict[str, tuple[str, bool]] = field(init=False, repr=False)  # form -> base, plural?

    def __post_init__(self) -> None:
        # A form that two rules would claim keeps the stronger one: base, then past, then gerund.
        found = {gerund: (base, "gerund") for base, (_, gerund) in self.verbs.items()}
        found |= {past: (base, "past") for base, (past, _) in self.verbs.items()}
        found |= {base: (base, "base") for base in self.verbs}
        plurals = {plural: (base, True) for base, plural in self.nouns.items()}
        object.__setattr__(self, "base_verbs", frozenset(self.verbs))
        object.__setattr__(self, "base_nouns", frozenset(self.nouns))
        object.__setattr__(self, "_verb_of", found)
        object.__setattr__(self, "_noun_of", plurals | {base: (base, False) for base in self.nouns})

    # --- forward ---------------------------------------------------------------------------------

    def past(self, verb: str) -> str:
        """Return the past of a verb: `stop` -> `stopped`."""
        return _as_bytes(self._past, verb)

    def gerund(self, verb: str) -> str:
        """Return the gerund of a verb: `make` -> `making`."""
        return _as_bytes(self._gerund, verb)

    def plural(self, noun: str) -> str:
        """Return the plural of a noun: `leaf` -> `leaves`."""
        return _as_bytes(self._plural, noun)

    def _past(self, verb: str) -> str:
        if listed := self.forward_verbs.get(verb):
            return listed[0]
        if verb.endswith("ed") and len(verb) > 2 and verb[-3] not in _VOWELS:
            return verb
        if verb.endswith("e"):
            return verb + "d"
        if _consonant_y(verb):
            return verb[:-1] + "ied"
        return self._stem(verb) + "ed"

    def _gerund(self, verb: str) -> str:
        if listed := self.forward_verbs.get(verb):
            return listed[1]
        if verb.endswith("ie"):
            return verb[:-2] + "ying"
        if verb.endswith("e") and len(verb) > 1 and verb[-2] not in "eyo":
            return verb[:-1] + "ing"
        return self._stem(verb) + "ing"

    def _stem(self, verb: str) -> str:
        """Return what -ed or -ing is put behind."""
        if self.c_takes_k and verb.endswith("c"):
            return verb + "k"
        return verb + verb[-1] if self._doubles(verb) else verb

    def _doubles(self, verb: str) -> bool:
        """Tell whether the last consonant is doubled; only short verbs do that."""
        return (
            3 <= len(verb) <= 4
            and verb not in self.never_doubled
            and verb[-1] not in _NEVER_DOUBLE
            and verb[-2] in _VOWELS
            and verb[-3] not in _VOWELS
        )

    def _plural(self, noun: str) -> str:
        if listed := self.forward_nouns.get(noun):
            return listed
        if noun.endswith(("s", "sh", "ch", "x", "z")) or noun in self.plural_oes:
            return noun + "es"
        if _consonant_y(noun):
            return noun[:-1] + "ies"
        if noun.endswith("f"):
            return noun[:-1] + "ves"
        if noun.endswith("fe"):
            return noun[:-2] + "ves"
        return noun + "s"

    # --- back ------------------------------------------------------------------------------------

    def find_verb(self, word: str) -> tuple[str, str] | None:
        """Return base and tense (`base`, `past`, `gerund`) if a lower-case word is a verb form."""
        if known := self._verb_of.get(word):
            return known
        if word.endswith("ed"):
            base = _as_bytes(self._base_of_past, word)
            return (base, "past") if base else None
        if word.endswith("ing"):
            base = _as_bytes(self._base_of_gerund, word)
            return (base, "gerund") if base else None
        return None

    def find_noun(self, word: str) -> tuple[str, bool] | None:
        """Return base and whether it is a plural if a lower-case word is a noun form."""
        if known := self._noun_of.get(word):
            return known
        if word.endswith("s"):
            base = _as_bytes(self._base_of_plural, word)
            return (base, True) if base else None
        return None

    def _base_of_past(self, word: str) -> str:
        """Return the base of a regular past, or an empty string."""
        size, guesses = len(word), []
        if word.endswith("ied") and size > 3:
            guesses.append(word[:-3] + "y")
        if size > 4 and word[-3] == word[-4]:
            guesses.append(word[:-3])
        if size > 2:
            guesses += [word[:-1], word[:-2]]
        return self._choose([base for base in guesses if self._past(base) == word])

    def _base_of_gerund(self, word: str) -> str:
        """Return the base of a regular gerund, or an empty string."""
        size, guesses, stem = len(word), [], word[:-3]
        if not stem:
            return ""
        if word.endswith("ying") and size > 4:
            guesses.append(word[:-4] + "ie")
        if len(stem) > 1 and stem[-1] == stem[-2]:
            guesses.append(stem[:-1])
        guesses += [stem, stem + "e"]
        return self._choose([base for base in guesses if self._gerund(base) == word])

    def _choose(self, bases: list[str]) -> str:
        """Return the likeliest of several bases of a verb form; empty if there is none.

        A listed verb is best, then one that ends like `-ate`, then one without a final e.
        """
        if len(bases) < 2:
            return bases[0] if bases else ""
        for base in bases:
            if base in self.base_verbs:
                return base
        for base in bases:
            if base.endswith("e") and len(base) > 2:
                before_last, last = base[-3], base[-2]
                if before_last in _VOWELS and last not in _VOWELS:
                    return base
        for base in bases:
            if not base.endswith("e"):
                return base
        return bases[0]

    def _base_of_plural(self, word: str) -> str:
        """Return the base of a regular plural, or an empty string."""
        size, guesses = len(word), []
        if word.endswith("ies") and size > 3:
            guesses.append(word[:-3] + "y")
        if word.endswith("ves") and size > 3:
            guesses += [word[:-3] + "f", word[:-3] + "fe"]
        if word.endswith(("ses", "xes", "zes", "ches", "shes")):
            guesses.append(word[:-2])
        if size > 1:
            guesses.append(word[:-1])
        return next((base for base in guesses if self._plural(base) == word), "")


def _consonant_y(word: str) -> bool:
    """Tell whether a word ends in y behind something that is not a vowel."""
    return word.endswith("y") and len(word) > 1 and word[-2] not in _VOWELS


def _as_bytes(rule: Callable[[str], str], word: str) -> str:
    """Apply a rule to the UTF-8 bytes of a word, one character each; lone surrogates are kept."""
    if word.isascii():
        return rule(word)
    raw = word.encode("utf-8", "surrogatepass").decode("latin-1")
    return rule(raw).encode("latin-1").decode("utf-8", "surrogatepass")
