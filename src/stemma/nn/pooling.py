"""One vector of a text from the vectors of its tokens."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from stemma.spec.pooling import Pooling


def pool(hidden: Float[Tensor, "B S D"], mask: Bool[Tensor, "B S"], pooling: Pooling) -> Float[Tensor, "B D"]:
    """The vector of each row (Reimers and Gurevych 2019, section 3).

    Args:
        hidden: last hidden states, rows padded on the right.
        mask: True where a token is real.
        pooling: which vector, and whether it is scaled to length 1.
    """
    match pooling.kind:
        case "mean":
            weight = mask[..., None].to(hidden.dtype)
            vector = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        case "max":
            vector = hidden.masked_fill(~mask[..., None], float("-inf")).amax(1)
        case "cls":
            vector = hidden[:, 0]
        case "last":
            last = mask.sum(1).clamp(min=1) - 1
            vector = hidden[range(len(hidden)), last]
    return functional.normalize(vector, dim=-1) if pooling.normalise else vector
