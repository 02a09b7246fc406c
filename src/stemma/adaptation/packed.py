"""A linear map whose weight is held as packed integers with scales."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class PackedLinear(nn.Linear):
    """x W^T + b, W = scale * integer, a scale for each group of columns of a row (Dettmers et al. 2023, section 2).

    It is made of a `Linear` in place, by `pack`. The weight is computed for each product, forwards and backwards, and
    never kept.
    """

    bits: int
    group: int
    precision: torch.dtype
    integers: Tensor
    """Rows of bytes: an integer each, or two of four bits of which the first lies low."""
    scales: Tensor
    """One for each group of each row."""

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight in floating point, made anew."""
        whole = self.integers
        if self.bits == 4:
            whole = torch.stack((whole & 15, whole >> 4), -1).flatten(1).to(torch.int8) - 8
        groups = whole.view(len(whole), -1, self.group) * self.scales[..., None]
        return groups.flatten(1)[:, : self.in_features].to(self.precision)

    def forward(self, x: Tensor) -> Tensor:
        """The product; a gradient flows to x and to b."""
        product: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return product if self.bias is None else product + self.bias


def pack(linear: nn.Linear, bits: int, group: int) -> None:
    """Hold a map's weight as integers from now on; whoever refers to the map, or hooks it, need not know.

    Args:
        linear: changed in place.
        bits: of an integer, 8 or 4.
        group: columns that share a scale.
    """
    weight, most = linear.weight.detach(), 2 ** (bits - 1) - 1
    padded = functional.pad(weight.float(), (0, -weight.shape[1] % group))
    groups = padded.view(len(weight), -1, group)
    scales = (groups.abs().amax(-1) / most).clamp(min=torch.finfo(torch.float32).tiny)
    integers = (groups / scales[..., None]).round().to(torch.int8).flatten(1)
    if bits == 4:
        low, high = (integers + 8).to(torch.uint8).view(len(weight), -1, 2).unbind(-1)
        integers = low | (high << 4)
    del linear.weight
    linear.__class__ = PackedLinear
    assert isinstance(linear, PackedLinear), "it has just become one"
    linear.bits, linear.group, linear.precision = bits, group, weight.dtype
    linear.register_buffer("integers", integers)
    linear.register_buffer("scales", scales)


class _Product(torch.autograd.Function):
    """x W^T, which keeps the map for the way back and not its weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, linear: PackedLinear) -> Tensor:
        ctx.linear = linear
        return functional.linear(x, linear.weight.to(x.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient @ ctx.linear.weight.to(gradient.dtype), None
