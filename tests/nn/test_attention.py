"""Attention against what its definition says, written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.nn.attention import attend, attention_weights
from stemma.nn.masks import Mask, Scores
from stemma.spec import Encoder, Family, Permutation, SlidingWindow

from ..tiny import apart, each_family, random_model, random_tokens, run, tiny
from ..tolerances import FP64


def _written_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor, bias: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every row, head and query by itself, in plain numbers."""
    rows, n_heads, n_queries, _ = query.shape
    shared = n_heads // key.shape[1]
    weights = torch.zeros(rows, n_heads, n_queries, key.shape[2], dtype=query.dtype)
    mixed = torch.zeros_like(query)
    for b in range(rows):
        for h in range(n_heads):
            for s in range(n_queries):
                kept = [t for t in range(key.shape[2]) if seen[b, s, t]]
                scores = [scale * float(query[b, h, s] @ key[b, h // shared, t]) + float(bias[h, s, t]) for t in kept]
                powers = [math.exp(score - max(scores)) for score in scores]
                for t, power in zip(kept, powers, strict=True):
                    weights[b, h, s, t] = power / sum(powers)
                    mixed[b, h, s] += power / sum(powers) * value[b, h // shared, t]
    return mixed, weights


@given(
    groups=st.sampled_from([1, 2, 4]),
    causal=st.booleans(),
    window=st.none() | st.integers(1, 4),
    cut=st.integers(0, 4),
    relative=st.booleans(),
    padded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_attention_is_what_its_definition_says(
    groups: int, causal: bool, window: int | None, cut: int, relative: bool, padded: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    n_keys, n_queries = 5, 5 - cut  # as many queries as keys, or the last ones after a cache
    query = torch.randn(2, 4, n_queries, 6, generator=generator, dtype=torch.float64)
    key, value = (torch.randn(2, groups, n_keys, 6, generator=generator, dtype=torch.float64) for _ in "kv")
    table = torch.randn(4, 2 * n_keys, generator=generator, dtype=torch.float64) * relative

    def by_distance(some: int, of: int) -> torch.Tensor:
        steps = torch.arange(of) - torch.arange(of - some, of)[:, None]
        return table[None, :, steps + n_keys]

    bias = by_distance(n_queries, n_keys)[0]
    keys = torch.tensor([[True] * n_keys, [False, False, True, True, True]]) if padded else None
    seen = torch.zeros(2, n_queries, n_keys, dtype=torch.bool)
    for b in range(2):
        for s in range(n_queries):
            place = s + cut
            for t in range(n_keys):
                near = window is None or abs(place - t) < window
                real = keys is None or bool(keys[b, t])
                seen[b, s, t] = place == t or (near and real and (t <= place or not causal))
    mask = Mask(causal=causal, keys=keys)
    scores = mask.scores(n_queries, n_keys, query.device, by_distance if relative else None, window)
    mixed, weights = _written_out(query, key, value, seen, bias, 0.3)
    assert apart(attend(query, key, value, scores, 0.3), mixed) <= FP64
    assert apart(attention_weights(query, key, scores, 0.3), weights) <= FP64


@pytest.mark.parametrize("n_queries", [1, 5])
def test_shared_heads_are_repeated_heads(n_queries: int) -> None:
    query = torch.randn(2, 6, n_queries, 4, dtype=torch.float64)
    key, value = torch.randn(2, 3, 5, 4, dtype=torch.float64), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    repeated = attend(query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), Scores(), 0.5)
    assert apart(attend(query, key, value, Scores(), 0.5), repeated) <= FP64


def test_documents_see_only_themselves() -> None:
    documents = torch.tensor([[0, 0, 1, 1, 1, 2]])
    seen = Mask(causal=True, documents=documents).dense(6, 6, documents.device)[0, 0]
    assert seen.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_no_dense_mask_is_made_where_the_kernel_needs_none() -> None:
    device = torch.device("cpu")
    assert Mask().scores(5, 5, device) == Scores()
    assert Mask(causal=True).scores(5, 5, device) == Scores(causal=True)
    assert Mask(causal=True).scores(1, 5, device) == Scores()
    assert Mask(causal=True).scores(5, 5, device, window=5) == Scores(causal=True)
    assert Mask(causal=True).scores(5, 5, device, window=4).bias is not None
    [last] = Mask(causal=True).scores(1, 500, device, window=100).bands
    assert (last.block.keys, last.scores) == (slice(400, 500), Scores())


@each_family
def test_maps_are_distributions_over_what_may_be_seen(family: Family) -> None:
    window = 3
    model = random_model(tiny(family, attention=SlidingWindow(window)), dtype=torch.float64)
    maps = run(model, random_tokens(2, 9), attentions=True).attentions
    assert maps is not None
    inner = model.architecture.modules.n_layers if model.architecture.modules else 0
    layers = model.architecture.n_encoder_layers, model.architecture.n_decoder_layers + inner
    crossing = layers[1] if all(layers) else 0
    assert len(maps) == sum(layers) + crossing
    order = ["encoder"] * layers[0] + (["decoder", "cross"] if crossing else ["decoder"]) * layers[1]
    for kind, weights in zip(order, maps, strict=True):
        assert apart(weights.sum(-1), torch.ones(weights.shape[:-1])) <= FP64
        n_queries, n_keys = weights.shape[2:]
        steps = torch.arange(n_queries)[:, None] - torch.arange(n_keys)
        allowed = (steps.abs() < window) & (steps >= 0 if kind == "decoder" else steps == steps)
        if kind == "cross":
            allowed = torch.ones(n_queries, n_keys, dtype=torch.bool)
        assert torch.equal(weights > 0, allowed.expand_as(weights)), kind
    assert isinstance(model.architecture.stacks, Encoder | Permutation) == (layers[1] == 0)
