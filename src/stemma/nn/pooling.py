"""One vector of a text from the vectors of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from stemma.spec.pooling import Pooling, ProjectionActivation

Projections = Sequence[Mapping[str, Tensor]]
"""The weight and offset of each dense layer of a pooling."""

_ACTIVATIONS: Mapping[ProjectionActivation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
}


def pool(
    hidden: Float[Tensor, "B S D"],
    mask: Bool[Tensor, "B S"],
    pooling: Pooling,
    projections: Projections = (),
    prompt: int = 0,
) -> Float[Tensor, "B width"]:
    """The vector of each row (Reimers and Gurevych 2019, section 3).

    Args:
        hidden: last hidden states, rows padded on the right.
        mask: True where a token is real.
        pooling: which vector, and whether it is scaled to length 1.
        projections: the tensors of the pooling's dense layers.
        prompt: how many first tokens are not pooled; no row ends before them.
    """
    vector = _reduce(hidden[:, prompt:], mask[:, prompt:], pooling, prompt)
    for layer, tensors in zip(pooling.projections, projections, strict=True):
        product = functional.linear(vector, tensors["weight"], tensors.get("bias"))
        vector = _ACTIVATIONS[layer.activation](product)
    return functional.normalize(vector, dim=-1) if pooling.normalise else vector


def _reduce(hidden: Tensor, mask: Tensor, pooling: Pooling, prompt: int) -> Tensor:
    """The vector of each row; a weight is a token's place in its text, `prompt` included."""
    seen = mask[..., None].to(hidden.dtype)
    match pooling.kind:
        case "mean":
            return (hidden * seen).sum(1) / seen.sum(1).clamp(min=1)
        case "mean_sqrt_len":
            return (hidden * seen).sum(1) / seen.sum(1).clamp(min=1).sqrt()
        case "weighted":
            seen = seen * torch.arange(prompt + 1, prompt + 1 + seen.shape[1], device=seen.device)[:, None]
            return (hidden * seen).sum(1) / seen.sum(1).clamp(min=1)
        case "max":
            return hidden.masked_fill(~mask[..., None], float("-inf")).amax(1)
        case "cls":
            return hidden[:, 0]
        case "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1).clamp(min=1) - 1]
