"""A step: the tokens of one pass through the model, packed one after the other.

There is no padding anywhere: tokens of all rows stand in one sequence of batch size 1, each with
its true position, and the attention function knows which row and group each belongs to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor


@dataclasses.dataclass(eq=False)
class Group:
    """Rows that share a prefix."""

    length: int = 0
    """Tokens of the prefix that are in the store."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """Prompt tokens of one row, or of a group's prefix, that are computed together."""

    group: Group
    ids: Sequence[int]
    row: int | None
    """None: they are appended to the group's prefix."""
    start: int = 0
    """Tokens of the row that are in its strip already."""


@dataclasses.dataclass(frozen=True)
class Span:
    """Packed tokens that belong to one group."""

    group: Group
    begin: int
    end: int


class Step:
    """What one pass computes.

    Args:
        ids: [T] of all tokens.
        positions: [T], in their own sequences.
        rows, slots: [T], where their keys and values are kept: row and place in its strip; None
            for tokens of a prefix.
        spans: groups of the tokens, in order.
        last: indices of the tokens whose logits are asked for.
        device: of the model.
    """

    def __init__(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        rows: Sequence[int] | None,
        slots: Sequence[int] | None,
        spans: list[Span],
        last: Sequence[int] | None,
        device: torch.device,
    ) -> None:
        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long).to(device)

        self.size, self.device, self.spans = len(ids), device, spans
        self.ids, self.positions = tensor(ids), tensor(positions)
        self.rows = None if rows is None else tensor(rows)
        self.slots = None if slots is None else tensor(slots)
        self.last = torch.arange(self.size, device=device) if last is None else tensor(last)
        #: Places that a strip must have.
        self.places = max(slots, default=-1) + 1 if slots is not None else 0
        #: Attention calls that took part; see `hooks.forward`.
        self.calls = 0


class Decode(Step):
    """One token for each of the rows 0, 1, 2, …, which stand group by group.

    Args:
        tokens: the rows' last tokens.
        lengths: tokens in each row's strip so far.
        spans: the groups' rows.
    """

    def __init__(
        self, tokens: Sequence[int], lengths: Sequence[int], spans: list[Span], device: torch.device
    ) -> None:
        shift = [span.group.length for span in spans for _ in range(span.begin, span.end)]
        positions = [before + own for before, own in zip(shift, lengths)]
        super().__init__(tokens, positions, range(len(tokens)), lengths, spans, None, device)


class Prefill(Step):
    """Prompt tokens of new rows, or of one group's prefix.

    Args:
        segments: those of one group stand together.
    """

    def __init__(self, segments: Sequence[Segment], device: torch.device) -> None:
        self.segments = segments
        ids: list[int] = []
        positions: list[int] = []
        rows: list[int] = []
        slots: list[int] = []
        last: list[int] = []
        spans: list[Span] = []
        for s in segments:
            begin, first = len(ids), s.group.length + s.start
            ids += s.ids
            positions += range(first, first + len(s.ids))
            if s.row is not None:
                rows += [s.row] * len(s.ids)
                slots += range(s.start, s.start + len(s.ids))
            last.append(len(ids) - 1)
            if spans and spans[-1].group is s.group:
                begin = spans.pop().begin
            spans.append(Span(s.group, begin, len(ids)))
        #: Where each segment begins.
        self.begins = [end + 1 - len(s.ids) for end, s in zip(last, segments)]
        own = segments[0].row is not None
        super().__init__(
            ids, positions, rows if own else None, slots if own else None, spans, last, device
        )
