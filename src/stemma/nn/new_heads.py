"""A network with further heads, or with others on the same body."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch

from stemma.nn.build import build


def sharing(model: Any) -> Any:
    """Another network of the same modules, which may be given heads of its own.

    Args:
        model: a `Model` or a `RecurrentModel`.
    """
    other = copy(model)
    other._modules = dict(model._modules)
    return other


def put_heads(model: Any, heads: Sequence[Any], seed: int = 0) -> list[str]:
    """Give a network other heads; those that it has already stay as they are.

    Args:
        model: a `Model` or a `RecurrentModel`, changed in place.
        heads: all that it is to have.
        seed: of the first values of new ones.

    Returns:
        The names of the new heads.
    """
    spec = model.architecture.change(heads=tuple(heads))
    like = next(model.parameters())
    held = {head.name: head for head in model.architecture.heads}
    fresh = build(spec, seed=None, device="meta").heads
    kept = {head.name for head in heads if held.get(head.name) == head}
    new = [name for name in fresh if name not in kept]
    generator = torch.Generator().manual_seed(seed)
    for name in new:
        fresh[name].to(like.dtype).to_empty(device="cpu")
        _draw(fresh[name], generator)
        fresh[name].to(like.device)
    for name in kept & set(fresh):
        fresh[name] = model.heads[name]
    model.heads, model.architecture = fresh, spec
    return new


@torch.no_grad()
def _draw(head: torch.nn.Module, generator: torch.Generator) -> None:
    if (draw := getattr(head, "draw", None)) is not None:
        draw(generator)
        return
    for parameter in head.parameters():
        # As BERT's heads begin.
        parameter.zero_() if parameter.ndim == 1 else parameter.normal_(0.0, 0.02, generator=generator)
