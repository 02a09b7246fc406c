"""Where tokens stand in their texts, and which of them each may see."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from stemma.nn.cache import Cache
from stemma.nn.inputs import check_reach, check_tables
from stemma.nn.masks import Mask
from stemma.nn.outputs import Inputs
from stemma.nn.positions import position_ids
from stemma.spec.architecture import Architecture
from stemma.spec.parts import BlockPositions


def lay_out(spec: Architecture, inputs: Inputs, causal: bool) -> tuple[Int[Tensor, "*tables rows S"], Mask]:
    """Positions of the tokens in their texts, and what each may see.

    Args:
        spec: the architecture.
        inputs: whole texts.
        causal: a token sees itself and what precedes it.

    Raises:
        InputError: where a position has no row in its table.
    """
    tokens, mask, documents = inputs.tokens, inputs.mask, inputs.documents
    seen = Mask(causal=causal, prefix=_slots(inputs.prefix, mask), keys=mask, documents=documents)
    if inputs.places is not None:
        return inputs.places, seen
    n_queries = tokens.shape[1]
    slots = position_ids(n_queries, 0, tokens.device)
    positions = slots if mask is None else (mask.long().cumsum(-1) - 1).clamp(min=0)
    if documents is not None:
        begins = torch.ones_like(documents, dtype=torch.bool)
        begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
        positions = slots - torch.where(begins, slots, 0).cummax(-1).values
    alone = mask is None and documents is None
    check_reach(spec, positions, n_queries if alone else None)
    return _in_tables(spec, positions), seen


def lay_out_next(
    spec: Architecture, tokens: Int[Tensor, "B S"], cache: Cache
) -> tuple[Int[Tensor, "*tables rows S"], Mask]:
    """The same for tokens that follow what a cache holds.

    Args:
        spec: the architecture.
        tokens: the next ids of each row.
        cache: which says by itself where its texts begin, and which of their first tokens all others see.

    Raises:
        InputError: where the cache is full, or a position has no row in its table.
    """
    n_queries = tokens.shape[1]
    cache.room_for(n_queries)
    positions, seen = position_ids(n_queries, cache.length, tokens.device, cache.starts), cache.mask(n_queries)
    if cache.blanks is None:
        check_reach(spec, positions, cache.length + n_queries - cache.first_start)
        return _in_tables(spec, positions), seen
    assert cache.prefix is not None, "checked when the cache was made"
    inside = (positions - cache.prefix[:, None] + 1).clamp(min=0)
    places = torch.stack((torch.where(inside > 0, cache.blanks[:, None], positions), inside))
    check_tables(spec, Inputs(tokens, places=places))
    return places, seen


def _in_tables(spec: Architecture, positions: Tensor) -> Tensor:
    """The rows of the tables of positions: with a second table, its first row stands for tokens in no blank."""
    if isinstance(spec.position, BlockPositions):
        return torch.stack((positions, torch.zeros_like(positions)))
    return positions


def _slots(prefix: Int[Tensor, " B"] | None, mask: Bool[Tensor, "B S"] | None) -> Int[Tensor, " B"] | None:
    """Where each row's prefix ends, padding before it counted."""
    return prefix if prefix is None or mask is None else prefix + mask.int().argmax(-1)
