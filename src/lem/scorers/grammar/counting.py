"""The imprint of a text by counting its pieces.

Most words count the same wherever they stand. So the text is cut at white space, each different
piece is read once (and remembered for the next text), and equal readings are counted together.
Only words that can be verb or noun, and words that may begin a phrase, are looked at in their
place; nothing is computed for the places in between.

The tests hold these numbers to those of the plain reading, token by token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from lem.scorers.grammar.imprints import Imprint, Tally
from lem.scorers.grammar.signals import weigh
from lem.scorers.grammar.tables import Tables, tables_for
from lem.scorers.grammar.tokens import detach, find_phrase, read_word, split

_MOST_PIECES = 1 << 17  # remembered for each profile: about 35 MB when full
_LONGEST_PIECE = 48  # characters; longer ones are read again each time

# What a word means for the ambiguous words around it.
_DETERMINER, _AUXILIARY, _NEGATION, _NO, _LONGER = 1, 2, 4, 8, 16


class _Piece:
    """What one piece of text between white space adds up to: a word, a mark, or both.

    Compared by identity, so that counting is fast; pieces without a base or key are shared.

    Attributes:
        kind, base, tense, plural, label: the reading of the word; the kind is `punctuation` for
            a piece that is nothing but a mark.
        mark: kind of the mark behind the word, or an empty string.
        roles: what the word means for others.
        boundary: the word ends a clause.
        starts_phrase: the word may begin a phrase.
        special: the piece has to be looked at in its place.
    """

    __slots__ = (
        "base",
        "boundary",
        "kind",
        "label",
        "mark",
        "plural",
        "roles",
        "special",
        "starts_phrase",
        "tense",
    )

    def __init__(
        self,
        kind: str,
        mark: str,
        roles: int = 0,
        boundary: bool = False,
        starts_phrase: bool = False,
    ) -> None:
        self.kind, self.mark, self.roles, self.boundary = kind, mark, roles, boundary
        self.base = self.tense = self.label = ""
        self.plural = False
        self.starts_phrase = starts_phrase
        self.special = starts_phrase or kind == "ambiguous"


class _Pieces(dict[str, _Piece]):
    """Pieces by their text, read when first asked for. It forgets all of them when it is full."""

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        self.tables = tables
        self.roles = _roles(tables)
        self.shared: dict[tuple[str, str, int, bool, bool], _Piece] = {}

    def __missing__(self, chunk: str) -> _Piece:
        piece = self.read(chunk)
        if len(chunk) <= _LONGEST_PIECE:
            if len(self) >= _MOST_PIECES:
                self.clear()
            self[chunk] = piece
        return piece

    def read(self, chunk: str) -> _Piece:
        """Read a piece of text by itself."""
        tables = self.tables
        word, mark = detach(chunk, tables)
        mark = tables.marks[mark] if mark else ""
        if not word:
            return self.share(("punctuation", mark, 0, False, False))
        low, (kind, base, tense, plural, label) = read_word(word, tables)
        roles = self.roles.get(low, 0)
        boundary = low in tables.boundaries
        starts_phrase = not mark and low in tables.phrase_starts
        if kind == "unknown":
            return self.share((kind, mark, roles, boundary, starts_phrase))
        piece = _Piece(kind, mark, roles, boundary, starts_phrase)
        piece.base, piece.tense, piece.plural, piece.label = base, tense, plural, label
        return piece

    def share(self, description: tuple[str, str, int, bool, bool]) -> _Piece:
        """Return the one piece of this description; there are a few hundred at most."""
        if description not in self.shared:
            self.shared[description] = _Piece(*description)
        return self.shared[description]


def _roles(tables: Tables) -> dict[str, int]:
    """Return what words mean for the ambiguous words around them, where they mean anything."""
    roles: dict[str, int] = {}
    if tables.dual:
        for role, words in (
            (_DETERMINER, tables.determiners),
            (_AUXILIARY, tables.auxiliaries),
            (_NEGATION, tables.negations),
            (_NO, ("no",)),
            (_LONGER, ("longer",)),
        ):
            for word in words:
                roles[word] = roles.get(word, 0) | role
    return roles


@cache
def _pieces(profile: str) -> _Pieces:
    return _Pieces(tables_for(profile))


def imprint(text: str, profile: str = "head") -> Imprint:
    """Return the imprint of a text.

    Args:
        text: any text; nothing is normalised.
        profile: one of `PROFILES`.

    Raises:
        LemError: there is no such profile.
    """
    known = _pieces(profile)
    chunks = split(text)
    pieces = list(map(known.__getitem__, chunks))
    counts = Counter(pieces)
    special = [piece for piece in counts if piece.special]
    if any(piece.starts_phrase for piece in special):
        joined = _join_phrases(chunks, pieces, known.tables)
        if len(joined) < len(pieces):
            pieces, counts = joined, Counter(joined)
    tally = Tally()
    tokens = _add(counts, tally)
    if any(piece.kind == "ambiguous" for piece in special):
        _add_ambiguous(pieces, counts, tally)
    return tally.imprint(profile, tokens)


def _add(counts: Counter[_Piece], tally: Tally) -> int:
    """Add what does not depend on the place, and return the number of tokens."""
    verbs, tenses, nouns, marks = tally.verbs, tally.tenses, tally.nouns, tally.marks
    tokens = 0
    for piece, n in counts.items():
        tokens += n
        kind, mark = piece.kind, piece.mark
        if mark:
            marks[mark] = marks.get(mark, 0) + n
            if kind != "punctuation":
                tokens += n
        if kind == "unknown":
            continue
        if kind == "verb":
            base, tense = piece.base, piece.tense
            verbs[base] = verbs.get(base, 0) + n
            tenses[tense] = tenses.get(tense, 0) + n
        elif kind == "noun":
            base = piece.base
            nouns[base] = nouns.get(base, 0) + n
            tally.total_nouns += n
            if piece.plural:
                tally.plurals += n
        elif kind == "article":
            tally.articles[piece.label] = tally.articles.get(piece.label, 0) + n
        elif kind == "word":
            tally.domain[piece.label] = tally.domain.get(piece.label, 0) + n
    return tokens


# --- looking at words in their place -------------------------------------------------------------


def _join_phrases(chunks: list[str], pieces: list[_Piece], tables: Tables) -> list[_Piece]:
    """Return the pieces with every phrase made one."""
    joined: list[_Piece] = []
    done = 0
    for i in [i for i, piece in enumerate(pieces) if piece.starts_phrase]:
        phrase = find_phrase(chunks, i, tables) if i >= done else None
        if phrase:
            key, length, mark = phrase
            whole = _Piece("word", tables.marks[mark] if mark else "")
            whole.label = key
            joined += [*pieces[done:i], whole]
            done = i + length
    return joined + pieces[done:]


def _add_ambiguous(pieces: list[_Piece], counts: Iterable[_Piece], tally: Tally) -> None:
    """Settle every ambiguous word, from left to right, and add it.

    Args:
        pieces: all of the text, phrases joined.
        counts: the different ones among them.
        tally: what to add to.
    """
    plurals = {piece.base for piece in counts if piece.plural}
    inflected = {piece.base for piece in counts if piece.tense in ("past", "gerund")}
    last = len(pieces) - 1
    clause_end, verb_in_clause = 0, False
    for i in [i for i, piece in enumerate(pieces) if piece.kind == "ambiguous"]:
        if i >= clause_end:
            clause_end, verb_in_clause = _clause(pieces, i)
        piece = pieces[i]
        before = pieces[i - 1] if i else _NOTHING
        after = pieces[i + 1] if i < last and not piece.mark else _NOTHING
        roles = 0 if before.mark else before.roles
        no_longer = roles & _LONGER != 0 and _says_no(pieces, i - 2)
        settled = weigh(
            after_determiner=roles & _DETERMINER != 0,
            after_auxiliary=roles & _AUXILIARY != 0,
            after_negation=roles & _NEGATION != 0 or no_longer,
            before_noun=after.kind in ("article", "noun") or after.roles & _DETERMINER != 0,
            before_verb=after.kind == "verb",
            first=i == 0,
            verb_in_clause=verb_in_clause,
            plural_elsewhere=piece.base in plurals,
            inflected_elsewhere=piece.base in inflected,
        )
        if settled.verb == 1.0:
            verb_in_clause = True
        tally.add_ambiguous(piece.base, settled.verb, settled.noun)


_NOTHING = _Piece("punctuation", "")


def _says_no(pieces: list[_Piece], i: int) -> bool:
    """Tell whether the last token of a piece is the word `no`."""
    return i >= 0 and not pieces[i].mark and pieces[i].roles & _NO != 0


def _clause(pieces: list[_Piece], i: int) -> tuple[int, bool]:
    """Return where the clause around a word ends, and whether it has a sure verb.

    A mark ends a clause behind its word; a boundary word belongs to no clause.
    """
    found = False
    for j in range(i - 1, -1, -1):
        piece = pieces[j]
        if piece.mark or piece.boundary:
            break
        if piece.kind == "verb":
            found = True
    for j in range(i, len(pieces)):
        piece = pieces[j]
        if piece.boundary:
            return j, found
        if piece.kind == "verb":
            found = True
        if piece.mark:
            return j + 1, found
    return len(pieces), found
