"""Cross-entropy over a vocabulary without ever holding all logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

# Logits that are held at a time; measured: fewer lose speed in the products.
CHUNK = 2**26
# Rows of logits that begin where a cache line does make the products a quarter faster.
ALIGNED = 64
# So many parts of a gradient are summed in the precision of the products, which is as fast as one.
FEW = 4


class _Chunked(torch.autograd.Function):
    """The sum of -log softmax(x W^T + b) at the targets; the gradient is made where the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, chunk: int) -> Tensor:
        device, size = features.device.type, len(weight)
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype
        wanted = any(ctx.needs_input_grad)
        beyond = -size % ALIGNED if dtype.itemsize < 4 else 0
        table = functional.pad(weight.to(dtype), (0, 0, 0, beyond))
        step = _even(len(targets), chunk // size)
        total = torch.zeros((), dtype=torch.promote_types(dtype, torch.float32), device=weight.device)
        of_features = torch.empty_like(features, dtype=dtype) if wanted else None
        few = len(targets) <= FEW * step
        of_weight = torch.zeros_like(table, dtype=dtype if few else total.dtype) if wanted else None
        of_bias = torch.zeros_like(bias, dtype=total.dtype) if wanted and bias is not None else None
        for start in range(0, len(targets), step):
            part = features[start : start + step].to(dtype)
            slopes = part @ table.T
            total += _costs(slopes, bias, targets[start : start + step], size, total.dtype)
            if of_features is None or of_weight is None:
                continue
            torch.mm(slopes, table, out=of_features[start : start + step])
            if few:
                of_weight.addmm_(slopes.T, part, beta=min(start, 1))
            else:
                of_weight += slopes.T @ part
            if of_bias is not None:
                of_bias += slopes[:, :size].sum(0, dtype=total.dtype)
        ctx.slopes = of_features, None if of_weight is None else of_weight[:size], of_bias
        ctx.dtypes = features.dtype, weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        (slope,), (of_features, of_weight, of_bias) = slopes, ctx.slopes
        del ctx.slopes  # as large as the table: kept no longer than it is needed
        of_features, of_weight = of_features.mul_(slope), of_weight.mul_(slope)
        of_bias = None if of_bias is None else of_bias * slope
        return of_features.to(ctx.dtypes[0]), of_weight.to(ctx.dtypes[1]), of_bias, None, None


def _even(total: int, most: int) -> int:
    """How many at a time, at most so many, make parts of about one size."""
    most = max(1, most)
    even = -(-total // max(1, -(-total // most)))
    return max(1, min(most, even + -even % ALIGNED))


def _costs(logits: Tensor, bias: Tensor | None, targets: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """What targets cost in total; the logits become their own gradient, 0 beyond the vocabulary."""
    costs = _compiled() if _COMPILING.get() else _plain_costs
    return costs(logits[:, :size], bias, targets, dtype)


def _plain_costs(logits: Tensor, bias: Tensor | None, targets: Tensor, dtype: torch.dtype) -> Tensor:
    known = logits.to(dtype)
    if bias is not None:
        known = known + bias
    scale, asked = known.logsumexp(-1, keepdim=True), targets[:, None]
    cost = (scale - known.gather(1, asked)).sum()
    hit = torch.arange(logits.shape[1], device=logits.device) == asked
    logits.copy_((known - scale).exp() - hit.to(dtype))
    return cost


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(_plain_costs)


_COMPILING: ContextVar[bool] = ContextVar("compiled_costs", default=False)


@contextmanager
def compiled_costs(wanted: bool = True) -> Iterator[None]:
    """While this is entered, what targets cost is computed by a compiled kernel: ten times as fast on a processor."""
    token = _COMPILING.set(wanted)
    try:
        yield
    finally:
        _COMPILING.reset(token)


def summed_cross_entropy(
    features: Float[Tensor, "n E"],
    weight: Float[Tensor, "V E"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " n"],
    chunk: int = CHUNK,
) -> Float[Tensor, ""]:
    """The sum over targets of -log softmax(x W^T + b)_target, in nats.

    Logits are made some rows at a time, each with their part of the gradient, and forgotten: memory does not grow with
    n V (the idea of Wijmans et al. 2024, "Cut your losses in large-vocabulary language models", without its filter).

    Args:
        features: what the vocabulary's table is multiplied with.
        weight: the table.
        bias: an offset a word.
        targets: ids.
        chunk: logits that are held at a time.
    """
    total: Tensor = _Chunked.apply(features, weight, bias, targets, chunk)  # type: ignore[no-untyped-call]
    return total
