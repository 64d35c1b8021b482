"""Keys and values: one copy of every prefix, and a strip for each row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from lem.engines.shared_prefix.attention import Scratch
from lem.engines.shared_prefix.step import Group, Step

#: Places that strips grow by.
GROWTH = 16


class LayerStore(CacheLayerMixin):
    """Of one attention layer.

    Every layer keeps all keys: windows are a matter of the masks, and a window's early keys are
    still needed by rows whose own tokens are few.
    """

    is_sliding = False
    is_compileable = False

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        #: Strips, [rows, KV, places, D] and [rows, KV, places, Dv]; None until a row has some.
        self.keys: Any = None
        self.values: Any = None
        #: Per group: keys [KV, P, D] and values [KV, P, Dv].
        self.prefix: dict[Group, tuple[Tensor, Tensor]] = {}

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise RuntimeError("strips are made as they are needed")

    def _longer(self, strips: Tensor | None, like: Tensor) -> Tensor:
        """Strips of the store's present length, with what they held before."""
        # Zeros: what is masked must still be finite.
        made = like.new_zeros(self.store.rows, like.shape[1], self.store.places, like.shape[3])
        if strips is not None:
            made[:, :, : strips.shape[2]] = strips
        return made

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Keep the new tokens' keys and values, [1, KV, T, D]."""
        step = self.store.step
        if step is None:
            raise RuntimeError("the store is only filled through hooks.forward")
        if step.rows is None:
            self._append(step.spans[0].group, key_states[0], value_states[0])
        else:
            if self.keys is None or self.keys.shape[2] < self.store.places:
                self.keys = self._longer(self.keys, key_states)
                self.values = self._longer(self.values, value_states)
            self.keys[step.rows, :, step.slots] = key_states[0].transpose(0, 1)
            self.values[step.rows, :, step.slots] = value_states[0].transpose(0, 1)
        # How the attention function finds its layer; it also holds where layers share theirs.
        key_states.lem_layer = self
        return key_states, value_states

    def before(self, group: Group) -> tuple[Tensor, Tensor] | None:
        """The prefix as it was before this step."""
        if not group.length:
            return None
        keys, values = self.prefix[group]
        return keys[:, : group.length], values[:, : group.length]

    def _append(self, group: Group, keys: Tensor, values: Tensor) -> None:
        before = self.before(group)  # without what a pass that failed may have left
        if before is not None:
            keys = torch.cat([before[0], keys], 1)
            values = torch.cat([before[1], values], 1)
        self.prefix[group] = keys.contiguous(), values.contiguous()

    def get_seq_length(self) -> int:
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_max_length(self) -> int:
        return -1


class Store(Cache):
    """Of all layers.

    Strips grow as they are filled, a block at a time: their whole length is multiplied in every
    step, since a part of it would be copied first.

    Args:
        layers: how many attention layers the model has.
        rows: strips.
    """

    def __init__(self, layers: int, rows: int) -> None:
        self.rows = rows
        #: Tokens that a strip can hold.
        self.places = 0
        self.scratch = Scratch()
        #: The step in flight.
        self.step: Step | None = None
        super().__init__(layers=[LayerStore(self) for _ in range(layers)])

    def begin(self, step: Step) -> None:
        """Make room for a step's tokens."""
        self.step = step
        if step.places > self.places:
            self.places = -(-step.places // GROWTH) * GROWTH

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's strip over another's."""
        for layer in self.layers:
            if layer.keys is not None:  # a layer that shares another's keys has none of its own
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]

    def forget(self, group: Group) -> None:
        """Give back a prefix."""
        for layer in self.layers:
            layer.prefix.pop(group, None)

    def shrink(self, rows: int) -> None:
        """Keep the first rows only, and give the memory of the others back."""
        self.rows = rows
        self.scratch.clear()
        for layer in self.layers:
            if layer.keys is not None and layer.keys.shape[0] > rows:
                layer.keys = layer.keys[:rows].clone()
                layer.values = layer.values[:rows].clone()
