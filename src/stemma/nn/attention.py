"""Multi-head attention: self and cross, grouped queries, with a cache or without."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from stemma.nn.bands import stretches
from stemma.nn.cache import LayerCache
from stemma.nn.embeddings import Exchange
from stemma.nn.linears import Fused, Linear
from stemma.nn.masks import Mask, Scores
from stemma.nn.positions import Rotation, rotate
from stemma.nn.products import attend_by_products, attend_whole, reads_whole, serves
from stemma.nn.relative import Distances, Relative
from stemma.spec.architecture import Architecture
from stemma.spec.parts import RelativeSinusoidal


def attend(
    query: Float[Tensor, "B H S K"],
    key: Float[Tensor, "B G T K"],
    value: Float[Tensor, "B G T K"],
    scores: Scores,
    scale: float,
    dropout: float = 0.0,
) -> Float[Tensor, "B H S K"]:
    """softmax(scale Q K^T + bias) V, each key head serving H / G query heads (Ainslie et al. 2023, section 2.2).

    Args:
        query: B H S K.
        key: B G T K.
        value: B G T K.
        scores: what hides keys or shifts their scores; keys outside its bands are not read.
        scale: the factor on the products.
        dropout: rate at which probabilities are dropped.
    """
    if scores.bands:
        queries = query.tensor_split([band.block.queries.start for band in scores.bands[1:]], 2)
        spans = [band.block.keys for band in scores.bands]
        parts = zip(queries, stretches(key, spans), stretches(value, spans), scores.bands, strict=True)
        return torch.cat([attend(q, k, v, band.scores, scale, dropout) for q, k, v, band in parts], 2)
    if serves(query, key):
        return attend_by_products(query, key, value, scores, scale, dropout)
    if reads_whole(query, key, scores):
        return attend_whole(query, key, value, scores, scale)
    rows, n_heads, n_queries, width = query.shape
    groups = key.shape[1]
    bias = scores.bias
    if groups < n_heads and n_queries == 1:
        # The query heads of a group become its queries: the kernel then reads each key once, and needs no copy.
        query = query.reshape(rows, groups, n_heads // groups, width)
        if bias is not None and bias.shape[1] == n_heads:
            bias = bias.view(bias.shape[0], groups, n_heads // groups, -1)
    kernel = partial(
        functional.scaled_dot_product_attention,
        scale=scale,
        dropout_p=dropout,
        enable_gqa=key.shape[1] < query.shape[1],
    )
    output = kernel(query, key, value, attn_mask=bias, is_causal=scores.causal)
    return output.view(rows, n_heads, n_queries, width) if n_queries == 1 else output


def attention_weights(
    query: Float[Tensor, "B H S K"], key: Float[Tensor, "B G T K"], scores: Scores, scale: float
) -> Float[Tensor, "B H S T"]:
    """The probabilities softmax(scale Q K^T + bias), which fused kernels never hold."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    if scores.bands:
        weights = query.new_zeros((*query.shape[:3], n_keys))
        for (queries, keys), added in scores.bands:
            weights[:, :, queries, keys] = attention_weights(query[:, :, queries], key[:, :, keys], added, scale)
        return weights
    products = query @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).mT * scale
    bias = Mask(causal=True).dense(n_queries, n_keys, query.device) if scores.causal else scores.bias
    if bias is None:
        return products.softmax(-1)
    if bias.dtype == torch.bool:
        return products.masked_fill(~bias, float("-inf")).softmax(-1)
    return (products + bias).softmax(-1)


class Attention(nn.Module):
    """Query, key, value and output maps around `attend` (Vaswani et al. 2017, section 3.2).

    Args:
        spec: the architecture.
        cross: whether keys are another sequence's, at no distance.
    """

    def __init__(self, spec: Architecture, cross: bool = False) -> None:
        super().__init__()
        self.d_head = spec.d_head
        self.scale = spec.score_scale
        self.dropout = spec.dropout.attention
        inner, shared, bias = spec.n_heads * spec.d_head, spec.n_kv_heads * spec.d_head, spec.bias
        self.query = Linear(spec.d_model, inner, bias=bias.inputs)
        self.key = Linear(spec.d_model, shared, bias=bias.inputs)
        self.value = Linear(spec.d_model, shared, bias=bias.inputs)
        self.output = Linear(inner, spec.d_model, bias=bias.output)
        self.relative = Relative(spec) if isinstance(spec.position, RelativeSinusoidal) and not cross else None
        self.prefix = Exchange()
        self.inputs = Fused(self, ("query", "key", "value"))
        self.ending = Fused(self, ("output",))

    def forward(
        self,
        x: Float[Tensor, "B S D"],
        scores: Scores,
        *,
        turn: Rotation | None = None,
        distances: Distances | None = None,
        read: Float[Tensor, "B read D"] | None = None,
        virtual: Int[Tensor, "B T"] | None = None,
        cache: LayerCache | None = None,
        start: int = 0,
        attentions: list[Tensor] | None = None,
    ) -> Float[Tensor, "B S D"]:
        """Self-attention.

        Args:
            x: B S D.
            scores: which keys are seen.
            turn: rotary angles of the queries.
            distances: those of queries and keys, where the scores depend on them.
            read: what keys and values are made of, where that is not `x`.
            virtual: numbers of the virtual tokens among what is read, if there are any; see `Exchange`.
            cache: where keys and values are appended, and read from.
            start: slots of the cache that are filled.
            attentions: where the map (B H S T) is put, if it is asked for.
        """
        parts = self.inputs(x) if read is None else (self.query(x), self.key(read), self.value(read))
        if virtual is not None and not self.prefix.idle:
            parts = parts[0], *self.prefix(virtual, torch.stack(parts[1:], 2)).unbind(2)
        query, key, value = (self._heads(part) for part in parts)
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
        if cache is not None:
            key, value = cache.append(start, key, value)
        if self.relative is not None:
            assert distances is not None, "the stack knows them"
            query, scores = self.relative(query, key.shape[2], distances, scores)
        mixed = self._mix(query, key, value, scores, attentions)
        if attentions is not None and cache is not None:
            # Nobody sees what a window has forgotten; the map's columns are the slots of the whole text.
            attentions[-1] = functional.pad(attentions[-1], (start + x.shape[1] - key.shape[2], 0))
        return mixed

    def project_memory(self, memory: Float[Tensor, "B T D"]) -> LayerCache:
        """Keys and values of an encoder's output, computed once for all steps of a decoder."""
        return LayerCache(self._heads(self.key(memory)), self._heads(self.value(memory)))

    def look_up(
        self, x: Float[Tensor, "B S D"], memory: LayerCache, scores: Scores, attentions: list[Tensor] | None = None
    ) -> Float[Tensor, "B S D"]:
        """Cross attention to an encoder's output.

        Args:
            x: B S D.
            memory: from `project_memory`.
            scores: which of the encoder's positions are seen.
            attentions: where the map is put, if it is asked for.
        """
        return self._mix(self._heads(self.query(x)), memory.keys, memory.values, scores, attentions)

    def _heads(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        return x.view(rows, length, width // self.d_head, self.d_head).transpose(1, 2)

    def _mix(
        self, query: Tensor, key: Tensor, value: Tensor, scores: Scores, attentions: list[Tensor] | None
    ) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        if attentions is not None:
            attentions.append(attention_weights(query, key, scores, self.scale))
        mixed = attend(query, key, value, scores, self.scale, dropout)
        return self.ending(mixed.transpose(1, 2).flatten(2))[0]
