"""The next token of every row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lem.engines.sampling import uniform
from lem.engines.shared_prefix.jobs import Job

#: Most likely tokens that top-p looks at first; only where these do not reach it, all are sorted.
_FEW = 1024


def pick(logits: Tensor, jobs: Sequence[Job], steps: Sequence[int]) -> list[int]:
    """The next token of each row: the likeliest at temperature 0, else a draw after temperature
    and top-p, in this order.

    A draw is a function of the row's logits, its job's seed and the step: company does not change
    it.

    Args:
        logits: [rows, vocabulary].
        jobs: one a row.
        steps: tokens that each row has so far.
    """
    # max gives the same as argmax, five times faster in bfloat16 on a CPU.
    tokens: list[int] = logits.max(-1).indices.tolist()
    drawn = [i for i, job in enumerate(jobs) if job.temperature > 0]
    if not drawn:
        return tokens
    some = logits if len(drawn) == len(jobs) else logits[drawn]
    device = logits.device
    temperature = torch.tensor([jobs[i].temperature for i in drawn], device=device)
    p = torch.softmax(some.float() / temperature[:, None], -1)
    u = torch.tensor([uniform(jobs[i].seed, steps[i]) for i in drawn], dtype=torch.float64)
    top_p = torch.tensor([jobs[i].top_p for i in drawn], device=device)
    found = _nucleus(p, u.to(device), top_p)
    for i, token in zip(drawn, found.tolist()):
        tokens[i] = token
    return tokens


def _nucleus(p: Tensor, u: Tensor, top_p: Tensor) -> Tensor:
    """Draw from the fewest most likely tokens that together reach top_p.

    Args:
        p: [rows, vocabulary], probabilities.
        u, top_p: [rows].
    """
    if not bool((top_p < 1).any()):
        mass = p.double().cumsum(-1)
        place = torch.searchsorted(mass, (u * mass[:, -1])[:, None], right=True)
        return place.clamp_(max=p.shape[1] - 1)[:, 0]
    values, tokens = p.topk(min(_FEW, p.shape[1]), -1)
    found = _draw(values, tokens, u, top_p)
    wide = (values.sum(-1) < top_p).nonzero()[:, 0]
    if len(wide) and values.shape[1] < p.shape[1]:
        values, tokens = p[wide].sort(-1, descending=True)
        found[wide] = _draw(values, tokens, u[wide], top_p[wide])
    return found


def _draw(values: Tensor, tokens: Tensor, u: Tensor, top_p: Tensor) -> Tensor:
    """From probabilities in falling order."""
    values = values.double()
    kept = torch.where(values.cumsum(-1) - values < top_p[:, None], values, 0.0)
    mass = kept.cumsum(-1)
    place = torch.searchsorted(mass, (u * mass[:, -1])[:, None], right=True)
    place = torch.minimum(place, (kept > 0).sum(-1, keepdim=True) - 1)
    return tokens.gather(1, place)[:, 0]
