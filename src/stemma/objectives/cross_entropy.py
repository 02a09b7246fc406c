"""Cross-entropy over a vocabulary without ever holding all logits."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Targets whose logits are held at a time; measured: fewer lose speed in the product, more lose it in the cache.
CHUNK = 512


class _Chunked(torch.autograd.Function):
    """The sum of -log softmax(x W^T + b) at the targets, whose gradient is made where the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int) -> Tensor:
        wanted = features.requires_grad or weight.requires_grad
        dtype = torch.get_autocast_dtype(features.device.type) if _autocast(features) else features.dtype
        table = weight.to(dtype)
        of_features = torch.empty_like(features, dtype=dtype) if wanted else None
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
        of_bias = torch.zeros_like(bias, dtype=torch.float32) if wanted and bias is not None else None
        total = torch.zeros((), dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=weight.device)
        for start in range(0, len(targets), chunk):
            part, asked = features[start : start + chunk].to(dtype), targets[start : start + chunk, None]
            logits = (part @ table.T).to(total.dtype)
            if bias is not None:
                logits += bias
            scale = logits.logsumexp(-1, keepdim=True)
            total += (scale - logits.gather(1, asked)).sum()
            if of_features is None or of_weight is None:
                continue
            slopes = logits.sub_(scale).exp_().scatter_add_(1, asked, torch.full_like(scale, -1.0))
            if of_bias is not None:
                of_bias += slopes.sum(0)
            narrow = slopes.to(dtype)
            torch.mm(narrow, table, out=of_features[start : start + chunk])
            of_weight += narrow.T @ part
        ctx.save_for_backward(of_features, of_weight, of_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = slopes
        of_features, of_weight, of_bias = ctx.saved_tensors
        return of_features * slope, of_weight * slope, None if of_bias is None else of_bias * slope, None, None


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def summed_cross_entropy(
    features: Float[Tensor, "n E"],
    weight: Float[Tensor, "V E"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " n"],
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """The sum over targets of -log softmax(x W^T + b)_target, in nats.

    Logits are made a chunk at a time, each with its part of the gradient, and forgotten: memory does not grow with
    n V (the idea of Wijmans et al. 2024, "Cut your losses in large-vocabulary language models", without its filter).

    Args:
        features: what the vocabulary's table is multiplied with.
        weight: the table.
        bias: an offset a word.
        targets: ids.
        chunk: targets at a time.
    """
    total: Tensor = _Chunked.apply(features, weight, bias, targets, chunk)  # type: ignore[no-untyped-call]
    return total
