"""Normalisation of the residual stream."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from stemma.spec.parts import LayerNorm, Norm


class Normalise(nn.Module):
    """LayerNorm (Ba et al. 2016, section 3) or RMSNorm (Zhang and Sennrich 2019, section 4) over the last axis.

    Args:
        spec: which of the two, and its epsilon.
        width: size of the last axis.
    """

    def __init__(self, spec: Norm, width: int) -> None:
        super().__init__()
        self.eps = spec.eps
        self.shape = (width,)
        self.weight = nn.Parameter(torch.empty(width))
        self.bias: nn.Parameter | None = nn.Parameter(torch.empty(width)) if isinstance(spec, LayerNorm) else None

    def forward(self, x: Float[Tensor, "*rest D"]) -> Float[Tensor, "*rest D"]:
        """The normalised input, of the same shape."""
        if self.bias is None:
            return functional.rms_norm(x, self.shape, self.weight, self.eps)
        return functional.layer_norm(x, self.shape, self.weight, self.bias, self.eps)
