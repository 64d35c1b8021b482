"""Draws that depend on the request alone: what other rows do never changes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def uniform(seed: int, step: int) -> float:
    """The number in [0, 1) for one token of one request.

    It comes from a counter-based generator (Philox) keyed by the seed, so that no state is kept
    between tokens.

    Args:
        seed: of the request, not negative.
        step: tokens generated before this one.
    """
    key = np.array([seed & (2**64 - 1), step], dtype=np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key)).random())


def draw(logits: NDArray[np.float32], temperature: float, top_p: float, u: float) -> int:
    """The token at point ``u`` of one row's distribution, after temperature, then top-p.

    Tokens stand in order of their ids, so that logits which differ in their last digits (rows of
    another batch) all but never give another token.

    Args:
        logits: of the vocabulary.
        temperature: 0 for the most likely token.
        top_p: the fewest most likely tokens that together have this probability are kept.
        u: in [0, 1), see `uniform`.
    """
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / temperature
    p = np.exp(scaled - scaled.max())
    p /= p.sum()
    ids = np.arange(len(p))
    if top_p < 1:
        # All tokens below this together have less than 1 - top_p: none of them can be kept, and
        # the rest is a small part of the vocabulary to sort.
        ids = np.flatnonzero(p >= (1 - top_p) / len(p))
        order = ids[np.argsort(-p[ids], kind="stable")]
        kept = int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1
        ids = np.sort(order[:kept])
    mass = np.cumsum(p[ids])
    at = int(np.searchsorted(mass, u * mass[-1], side="right"))
    return int(ids[min(at, len(ids) - 1)])
