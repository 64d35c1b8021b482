"""Weights in the layout that oneDNN multiplies fastest, prepared once.

On a CPU every call of `torch.nn.functional.linear` rearranges the weight first. Packed weights make
a decode step's products 1.3 times faster in bfloat16 and 1.6 times in float32
(docs/experiments.md). A packed model is for answering only: its weights cannot be saved or trained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """A `torch.nn.Linear` with a packed weight."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()

    @property
    def weight(self) -> Tensor:
        """Unpacked anew, for the few models that look at it (Hunyuan's, to see its type)."""
        plain: Tensor = self._weight.to_dense()
        return plain

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._weight, self._bias, "none", [], ""
        )
        return out


@torch.inference_mode()
def pack(model: Any) -> int:
    """Replace the linear layers of a model by packed ones, where that is possible: on a CPU, in
    float32 or bfloat16. Weights that nothing else uses are given back, one layer at a time.

    Returns:
        How many were replaced.
    """
    if model.device.type != "cpu" or model.dtype not in (torch.float32, torch.bfloat16):
        return 0
    if not (
        torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return 0
    return _pack_children(model, model.dtype)


def _pack_children(parent: nn.Module, dtype: torch.dtype) -> int:
    replaced = 0
    for name, child in list(parent.named_children()):
        # Exactly nn.Linear: what derives from it may compute something else.
        if type(child) is nn.Linear and child.weight.dtype == dtype:
            setattr(parent, name, PackedLinear(child))
            replaced += 1
        else:
            replaced += _pack_children(child, dtype)
    return replaced
