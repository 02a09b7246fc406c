"""A sequence cut into the overlapping stretches of keys that bands read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def stretches(x: Float[Tensor, "B G T K"], spans: Sequence[slice]) -> list[Float[Tensor, "B G span K"]]:
    """The parts of keys or values between each pair of edges.

    For training they are joined of pieces that do not overlap: the gradient of each slice would be a tensor of T
    positions, nearly all of them zero, and their sum would grow with the square of the length.

    Args:
        x: keys or values.
        spans: where each part begins and ends; of those that overlap, edges fall together.
    """
    if not x.requires_grad or len(spans) == 1:
        return [x[:, :, span] for span in spans]
    edges = sorted({edge for span in spans for edge in (span.start, span.stop)})
    place = {edge: number for number, edge in enumerate(edges)}
    pieces = x.tensor_split(edges, 2)[1:]
    return [torch.cat(pieces[place[span.start] : place[span.stop]], 2) for span in spans]
