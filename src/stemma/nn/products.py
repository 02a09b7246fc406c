"""Attention as plain products, for compiled training on a processor."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stemma.nn import whole
from stemma.nn.masks import Mask, Scores

# Queries that are scored together; measured on two cores: fewer lose speed in the products, more gain less from what
# a causal mask hides.
BLOCK = 128
# Beyond so many keys the probabilities of a block no longer stay in the cache.
MOST_KEYS = 2048
# Without a gradient, in half precision: so many probabilities at once; up to so many keys products are faster.
HELD, WHOLE_KEYS = 2**21, 512


def serves(query: Tensor, key: Tensor) -> bool:
    """Whether products beat the fused kernel here: its backward pass on a processor is half as fast."""
    trained = torch.compiler.is_compiling() and torch.is_grad_enabled()
    return trained and query.device.type == "cpu" and query.shape[2] > 1 and key.shape[2] <= MOST_KEYS


def reads_whole(query: Tensor, key: Tensor, scores: Scores) -> bool:
    """Whether plain products beat the fused kernel without a gradient: in half precision, with few keys."""
    still = not (torch.is_grad_enabled() or torch.compiler.is_compiling()) and query.device.type == "cpu"
    hidden = scores.bias is None or scores.bias.dtype == torch.bool
    if not (still and hidden and query.dtype == torch.bfloat16 and query.shape[2] > 1):
        return False
    alike = query.shape[1] == key.shape[1] and key.shape[2] <= WHOLE_KEYS and not scores.causal
    return alike or whole.serves(query, key)


def attend_whole(
    query: Float[Tensor, "B H S K"],
    key: Float[Tensor, "B G T K"],
    value: Float[Tensor, "B G T K"],
    scores: Scores,
    scale: float,
) -> Float[Tensor, "B H S K"]:
    """softmax(scale Q K^T + bias) V, a few rows at a time, whose probabilities stay in the cache; see `attend`."""
    if whole.serves(query, key):
        shown = Mask(causal=True).dense(query.shape[2], key.shape[2], query.device) if scores.causal else scores.bias
        return whole.attend_compiled(query, key, value, shown, scale)
    rows, n_heads, n_queries, width = query.shape
    mixed = query.new_empty(rows, n_queries, n_heads, width).transpose(1, 2)
    step = max(1, HELD // (n_heads * n_queries * key.shape[2]))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        q, k, v = (x[part].flatten(0, 1) for x in (query, key, value))
        added = torch.bmm(q * scale, k.mT)
        if scores.bias is not None:
            hidden = ~(scores.bias[part] if len(scores.bias) > 1 else scores.bias)
            added.view(-1, n_heads, *added.shape[1:]).masked_fill_(hidden, -torch.inf)
        mixed[part] = torch.bmm(added.softmax(-1), v).view(-1, n_heads, n_queries, width)
    return mixed


def attend_by_products(
    query: Float[Tensor, "B H S K"],
    key: Float[Tensor, "B G T K"],
    value: Float[Tensor, "B G T K"],
    scores: Scores,
    scale: float,
    dropout: float,
) -> Float[Tensor, "B H S K"]:
    """softmax(scale Q K^T + bias) V in blocks of queries, which read no key that all of them are to ignore.

    Args:
        query: B H S K.
        key: B G T K.
        value: B G T K.
        scores: without bands.
        scale: the factor on the products.
        dropout: rate at which probabilities are dropped.
    """
    rows, n_heads, n_queries, width = query.shape
    shared, n_keys = n_heads // key.shape[1], key.shape[2]
    if shared > 1:
        key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    # Laid out once, so that no block makes a copy of its own.
    query, key, value = (x.reshape(rows * n_heads, -1, width) for x in (query, key, value))
    mixed = []
    for start in range(0, n_queries, BLOCK):
        stop = min(start + BLOCK, n_queries)
        end = stop if scores.causal else n_keys
        bias = scores.bias
        if bias is not None and bias.shape[2] > 1:
            bias = bias[:, :, start:stop]
        parts = query[:, start:stop], key[:, :end], value[:, :end]
        mixed.append(checkpoint(_mix, *parts, bias, rows, scores.causal, scale, dropout, use_reentrant=False))
    return torch.cat(mixed, 1).view(rows, n_heads, n_queries, width)


def _mix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    rows: int,
    causal: bool,
    scale: float,
    dropout: float,
) -> Tensor:
    """What some queries gather; its probabilities are not kept, but made once more for the gradient."""
    precise = torch.promote_types(query.dtype, torch.float32)
    added = torch.bmm(query, key.mT).to(precise) * scale
    n_queries, n_keys = added.shape[1:]
    if causal:
        slots = torch.arange(n_keys, device=added.device)
        added = added.masked_fill(slots > slots[n_keys - n_queries :, None], -torch.inf)
    elif bias is not None:
        by_row = added.view(rows, -1, n_queries, n_keys)
        by_row = by_row.masked_fill(~bias, -torch.inf) if bias.dtype == torch.bool else by_row + bias
        added = by_row.view(-1, n_queries, n_keys)
    weights = added.softmax(-1).to(value.dtype)
    return torch.bmm(functional.dropout(weights, dropout, dropout > 0), value)
