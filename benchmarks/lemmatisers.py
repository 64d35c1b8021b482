"""Which lemmatiser? Inflected words that answers to dilemmas use, and the speed of the look-up.

    pip install simplemma
    python benchmarks/lemmatisers.py

A word counts as reduced where the lemma of at least one reading is among those the library gives.
simplemma gives one lemma and no word class; lemminflect one or more for each class. The words were
chosen before either was tried, irregular forms among them on purpose.
"""

from __future__ import annotations

import time

from lemminflect import getAllLemmas

WORDS = {
    "accountability": "accountability",
    "accountable": "accountable",
    "trade": "trade",
    "transparently": "transparently",
    "autonomous": "autonomous",
    "harmed": "harm",
    "harming": "harm",
    "dilemmas": "dilemma",
    "consequences": "consequence",
    "feelings": "feeling",
    "children": "child",
    "lied": "lie",
    "lying": "lie",
    "chose": "choose",
    "chosen": "choose",
    "hurting": "hurt",
    "wishes": "wish",
    "beliefs": "belief",
    "lives": "life",
    "better": "good",
    "families": "family",
    "analyses": "analysis",
    "criteria": "criterion",
    "stolen": "steal",
    "betrayed": "betray",
    "wives": "wife",
    "thought": "think",
    "took": "take",
    "were": "be",
    "has": "have",
    "said": "say",
    "felt": "feel",
    "left": "leave",
    "grieving": "grieve",
    "dying": "die",
    "forgiven": "forgive",
    "promises": "promise",
    "made": "make",
    "told": "tell",
    "caught": "catch",
    "worse": "bad",
}


def with_lemminflect(word: str) -> set[str]:
    return {lemma for lemmas in getAllLemmas(word).values() for lemma in lemmas}


def main() -> None:
    readers = {"lemminflect": with_lemminflect}
    try:
        import simplemma
    except ImportError:
        print("simplemma is not installed; only lemminflect is shown")
    else:
        readers["simplemma"] = lambda word: {simplemma.lemmatize(word, lang="en")}
    for name, read in readers.items():
        read("warm")
        start = time.process_time()
        found = {word: read(word) for word in WORDS}
        spent = (time.process_time() - start) / len(WORDS) * 1e6
        missed = [word for word, lemma in WORDS.items() if lemma not in found[word]]
        print(
            f"{name:12} {len(WORDS) - len(missed)} of {len(WORDS)} reduced, {spent:.0f} us a word"
            f" (once a word: kept in memory after); missed: {', '.join(missed) or 'none'}"
        )


if __name__ == "__main__":
    main()
