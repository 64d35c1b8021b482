"""Citations of the ethics kernel: where an answer names it, an axiom, or "my axioms".

Used to find leaked prompts and to keep recited training examples out. Names that only the kernel
uses count wherever they stand. Words with other lives (axioms of mathematics, kernels of
operating systems and of corn, the lek of Albania) count only in a wording, and away from a
vocabulary, that leaves no innocent reading. Two of the five axiom names, self-validation and
intent alignment, are terms elsewhere too; they count all the same, because missing a leak costs
more than losing an answer.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lem.scorers.base import Span


def citations(text: str) -> list[Span]:
    """Find the places where a text cites the kernel or an axiom.

    Args:
        text: an answer, as the model gave it.

    Returns:
        Spans in ascending order, none overlapping: `Axiom of Self-Validation` is one citation.
    """
    flat = _flat(text)
    rules = [rule for rule in _RULES if rule.word in flat]
    if rules:  # wrapped lines are read on; blank lines part
        flat = _LINE_BREAK.sub(lambda match: " " * len(match[0]), flat)
    found: list[Span] = []
    innocent: dict[re.Pattern[str], list[int]] = {}
    for rule in rules:
        for match in rule.pattern.finditer(flat):
            if rule.doubt is not None:
                if rule.doubt not in innocent:
                    innocent[rule.doubt] = [m.start() for m in rule.doubt.finditer(flat)]
                if _near(innocent[rule.doubt], match.start()):
                    continue
            if rule.test is None or rule.test(text, flat, match):
                found.append(match.span())
    return list(_joined(sorted(found)))


def _near(places: list[int], at: int) -> bool:
    """Tell whether one of the ascending places is within reach of another."""
    after = bisect_left(places, at - _REACH)
    return after < len(places) and places[after] <= at + _REACH


_REACH = 300  # characters either way in which other words decide what an ambiguous one means


def _joined(spans: list[Span]) -> Iterator[Span]:
    """Yield ascending spans, with those that overlap made one."""
    current: Span | None = None
    for start, end in spans:
        if current is None:
            current = start, end
        elif start < current[1]:
            current = current[0], max(end, current[1])
        else:
            yield current
            current = start, end
    if current is not None:
        yield current


# --- a text made plain, character by character --------------------------------------------------


class _FlatCharacters(dict[int, str]):
    """For each character the plain one that stands for it. Filled in as characters turn up."""

    def __missing__(self, code: int) -> str:
        self[code] = flat = self._flattened(chr(code))
        return flat

    @staticmethod
    def _flattened(char: str) -> str:
        kind = unicodedata.category(char)
        if char == "\u2212" or kind in ("Pd", "Cf"):  # soft hyphens and joiners glue words too
            return "-"
        if char in "\u2018\u2019\u201b\u02bc":
            return "'"
        if kind == "Zs":
            return " "
        plain = unicodedata.normalize("NFKC", char).casefold()
        return plain if len(plain) == 1 else char


_FLAT = _FlatCharacters()
_LINE_BREAK = re.compile(r"(?<!\n)\r?\n(?!\r?\n)")


def _flat(text: str) -> str:
    """Return the text in lower case with plain hyphens, spaces and apostrophes, as long as it
    was."""
    return text.lower() if text.isascii() else text.translate(_FLAT)


# --- what counts --------------------------------------------------------------------------------


class _Rule(NamedTuple):
    """One kind of citation."""

    word: str  # without this word in the text there is nothing to look for
    pattern: re.Pattern[str]  # for flat text
    doubt: re.Pattern[str] | None = None  # a vocabulary that, nearby, makes it innocent
    test: Callable[[str, str, re.Match[str]], bool] | None = None  # (text, flat text, match)


# In the patterns of `_whole` a blank stands for one to nine of them, as in wrapped lines.

# What may stand between the words of a name: a hyphen, blanks, markup, underscores, nothing.
_GLUE = r"[_*`'\"]{0,2}-?\x20{0,9}[_*`'\"]{0,2}"
_ORDINAL = r"(?:first|second|third|fourth|fifth|1st|2nd|3rd|4th|5th)"
_KIND = (
    r"(?:(?:own|core|guiding|ethical|moral|five|foundational|underlying|fundamental|basic"
    r"|governing|key) ){0,2}"
)
_NAMES = {
    "imperative": rf"prime{_GLUE}imperative",
    "validation": rf"self{_GLUE}validation",
    "alignment": rf"intent{_GLUE}alignment",
    "substrate": rf"inter{_GLUE}substrate{_GLUE}respect",
    "intervention": rf"benevolent{_GLUE}intervention",
}
_VERB = (
    r"(?:guide|govern|bind|direct|require|ask|tell|instruct|oblige|urge|compel|remind|want"
    r"|demand|forbid|allow|expect|teach|permit)(?:e?s)?"
)

_MATHEMATICS = re.compile(
    r"\b(?:euclid|peano|kolmogorov|hilbert|zermelo|fraenkel|zfc?\b|set theor|probability theor"
    r"|probability (?:measure|space|axiom)|axioms? of (?:probability|choice|set|geometry)"
    r"|geomet|arithmetic|theorem|lemma\b|corollar|vector space|group theor|topolog|metric space"
    r"|field axiom|parallel lines|postulate|natural numbers|real numbers|integers|countab|sigma-"
    r"|separation axiom|boolean|propositional|first-order logic|inference rule|modus ponens"
    r"|armstrong|functional dependenc|utility (?:theor|func)|von neumann|proof assistant"
    r"|type theory|coq\b|isabelle|spinoza|watzlawick|integrated information|tononi)"
)
_MACHINES = re.compile(
    r"\b(?:linux|unix|windows|macos|darwin|freebsd|openbsd|ubuntu|debian|android|operating system"
    r"|kernel (?:module|panic|version|space|mode|driver|log|thread|function|density|image|patch"
    r"|size|method|trick|developer|config)|drivers?\b|boot|syscall|system call|user ?space|gpu"
    r"|cuda|opencl|dmesg|sysctl|process(?:es)? |scheduler|memory|cpu|convolution|matri|svm"
    r"|support vector|gaussian|regression|popcorn|corn\b|maize|wheat|grain|seeds?\b|nuts?\b"
    r"|kernels? of (?:corn|truth|wheat)|homomorphism|linear map|null space|jupyter|notebook)"
)

_KERNELISH = re.compile(
    r" of (?:(?:the|this|that|my|your|our|its) )?(?:five )?"
    r"(?:lek\b|lethean|ethic\w* (?:kernel|framework)|framework|kernel|axioms|[1-5]\b|five\b)"
)
_OTHERS = re.compile(r"([^\W_]+)(?:'s|s') (?:own )?$")
_OURS = {
    *("kernel", "lek", "1", "framework", "prompt", "model", "assistant", "ai"),
    *("that", "it", "this", "here", "there", "what", "where", "let"),  # their 's is no genitive
}


def _is_the_kernel(text: str, flat: str, match: re.Match[str]) -> bool:
    """Tell LEK from the lek of a bird, the lek of Albania and LEK Consulting."""
    start, end = match.span()
    if match[0].endswith(("1", "1.0")) and " " not in match[0]:
        return True
    if not unicodedata.normalize("NFKC", text[start : start + 3]).isupper():
        return False
    return not (
        _MONEY.search(flat[max(0, start - 12) : start])
        or _AMOUNT_OR_FIRM.match(flat[end : end + 12])
    )


_MONEY = re.compile(r"(?:\d[.,]?|albanian|million|billion|thousand) ?$")
_AMOUNT_OR_FIRM = re.compile(r" ?[\d.,]*\d| consulting")


def _is_a_numbered_axiom(text: str, flat: str, match: re.Match[str]) -> bool:
    """Tell `Axiom I` and `axiom one` from `the axiom I mean` and `an axiom one must accept`."""
    number = text[match.start("number") : match.end("number")]
    if match["number"] == "one" and number[0] != "O":
        after = flat[match.end() : match.end() + 2]
        if not _END_OF_CLAUSE.match(after):
            return False
    if match["roman"] and not number.isupper():
        return False
    return _is_ours(text, flat, match)


_END_OF_CLAUSE = re.compile(r" ?[^\w ]|\s*$")


def _is_ours(text: str, flat: str, match: re.Match[str]) -> bool:
    """Tell `the first axiom` from `a first axiom`, `Euclid's` and `the first axiom of design`."""
    start, end = match.span()
    if _possessed(flat, start) or _INDEFINITE.search(flat[max(0, start - 3) : start]):
        return False
    after = flat[end : end + 60]
    return not after.startswith(" of ") or _KERNELISH.match(after) is not None


_INDEFINITE = re.compile(r"(?<![^\W_])a $")


def _possessed(flat: str, at: int) -> bool:
    """Tell whether what stands here is somebody else's, as in `Newton's first axiom`."""
    owner = _OTHERS.search(flat[max(0, at - 40) : at])
    return owner is not None and owner[1] not in _OURS


def _whole(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for whole words; an underscore is no part of a word here."""
    return re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])".replace(" ", " {1,9}"))


_RULES: tuple[_Rule, ...] = (
    _Rule("lek", _whole(r"lek(?:[\x20_-]?1(?:\.0)?(?![.,]\d))?"), test=_is_the_kernel),
    _Rule("lek", _whole(rf"lek{_GLUE}(?:kernel|axioms?|framework)")),
    _Rule("lethean", _whole(rf"lethean{_GLUE}(?:ethics?|ethical|kernel|axioms?|framework)")),
    _Rule("kernel", _whole(rf"ethics{_GLUE}kernel|(?:my|your|our) ethical kernel")),
    *(_Rule(word, _whole(name)) for word, name in _NAMES.items()),
    _Rule(
        "axiom",
        _whole(
            rf"axioms?{_GLUE}(?:[#(]|no\.?\x20?|number )?(?P<number>[1-5](?![.,]\d)"
            r"|one|two|three|four|five|(?P<roman>ii|iii|iv|v|i(?=\x20?[:)])))"
        ),
        _MATHEMATICS,
        _is_a_numbered_axiom,
    ),
    _Rule(
        "axiom",
        _whole(rf"{_ORDINAL} (?:of (?:the|my|these|those|your|its) (?:five )?)?{_KIND}axioms?"),
        _MATHEMATICS,
        _is_ours,
    ),
    _Rule(
        "axiom",
        _whole(
            r"axioms? of (?:(?:the|my|this|your|our) )?(?:lek|lethean|ethic\w+ kernel"
            rf"|{'|'.join(_NAMES.values())}|inter{_GLUE}substrate|protecting consciousness"
            r"|protection of consciousness|conscious(?:ness)? protection)"
        ),
        _MATHEMATICS,
    ),
    _Rule(
        "axiom",
        _whole(
            rf"my {_KIND}axioms"
            rf"|(?:these|those|the|five) {_KIND}axioms? {_VERB} (?:me|my)"
            rf"|(?:guided|bound|governed|directed|shaped) by (?:these|those|the|my|five) "
            rf"{_KIND}axioms?(?! of)"
            rf"|(?:these|those|the) {_KIND}axioms (?:that |which )?i"
            r"(?:'ve| have| am|'m| was| follow| hold| live| reason| operate)"
            rf"|(?:these|those|the|five) {_KIND}axioms "
            r"(?:given to me|in (?:my|the|this) (?:system )?(?:prompt|instructions|framework))"
        ),
        _MATHEMATICS,
    ),
    _Rule(
        "kernel",
        _whole(rf"axioms? (?:of|in|from) (?:the|this|my|your|our) kernel|kernel's {_KIND}axioms?"),
        _MATHEMATICS,
    ),
    _Rule(
        "kernel",
        _whole(
            rf"(?:the|this|my) kernel {_VERB} (?:me|us)"
            r"|(?:guided|bound|governed|directed|shaped) by (?:the|this|my) kernel"
            r"|(?:the|this) kernel (?:that |which )?i"
            r"(?:'ve been| have been| am|'m| was) (?:given|bound|told|shown)"
            r"|my (?:guiding|moral|core) kernel"
        ),
        _MACHINES,
    ),
)
