"""Compact letter display: systems that share a letter are not told apart.

Source: Piepho 2004, "An algorithm for a letter-based representation of all-pairwise comparisons"
(insert and absorb).
"""

from __future__ import annotations

import string
from collections.abc import Sequence

ALPHABET = string.ascii_lowercase + string.ascii_uppercase


def compact_letters(apart: Sequence[Sequence[bool]], order: Sequence[int]) -> list[str]:
    """The letters of each system.

    Args:
        apart: systems × systems, symmetric: is the difference of the two significant?
        order: the systems from best to worst; ``a`` goes to the group of the best.

    Returns:
        One string a system, in the order of ``apart``. After 52 letters come numbers in brackets.
    """
    columns = [frozenset(order)]
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if apart[i][j]:
                columns = _insert(columns, i, j)
    place_of = {system: place for place, system in enumerate(order)}
    columns.sort(key=lambda column: sorted(place_of[system] for system in column))
    names = [*ALPHABET, *(f"({k})" for k in range(len(ALPHABET) + 1, len(columns) + 1))]
    return [
        "".join(name for name, column in zip(names, columns) if system in column)
        for system in range(len(order))
    ]


def _insert(columns: list[frozenset[int]], i: int, j: int) -> list[frozenset[int]]:
    """Split each group that holds both, then drop the groups that lie within another."""
    kept = [column for column in columns if not {i, j} <= column]
    split = {column - {k} for column in columns if {i, j} <= column for k in (i, j)}
    # No old group lies within another, so a new one can only lie within one that was kept.
    return kept + [a for a in split if not any(a <= b for b in kept)]
