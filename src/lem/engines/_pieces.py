"""Putting text together again from which marks were taken out."""

from __future__ import annotations

from collections.abc import Iterable


def join(pieces: Iterable[str]) -> str:
    """Pieces joined where something between them was taken out.

    The gap is what white space there was: a blank line if it held a line break, a space if it held
    spaces, else nothing. Both ends are stripped.
    """
    made: list[str] = []
    gap = ""
    for piece in pieces:
        text = piece.strip()
        if not text:
            gap += _kind(piece)
            continue
        gap += _kind(piece[: len(piece) - len(piece.lstrip())])
        if made:
            made.append("\n\n" if "\n" in gap else " " if gap else "")
        made.append(text)
        gap = _kind(piece[len(piece.rstrip()) :])
    return "".join(made)


def _kind(space: str) -> str:
    return "\n" if "\n" in space else " " if space else ""
