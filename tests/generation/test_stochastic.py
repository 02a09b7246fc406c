"""Stochastic beams draw texts without replacement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from scipy.stats import chisquare, kstest

from stemma.generation import StochasticBeam, search
from stemma.generation.stochastic import truncated_gumbels

START = 1


def drawn(tree: Callable[..., Any], n: int, strategy: StochasticBeam, limit: int, stops: frozenset[int]) -> list[Any]:
    """Many independent runs on the same small tree, in one batch."""
    model = tree(3, seed=4, spread=1.0)
    model.start = lambda prompts, limit: type(model).start(model, [[START]] * len(prompts), limit)
    model.history = lambda prompt: [START]
    return search(model, [[place] for place in range(n)], strategy, max_new_tokens=limit, stops=stops)


@pytest.mark.parametrize("stops", [frozenset(), frozenset({0})])
def test_ordered_draws_follow_sampling_without_replacement(tree: Callable[..., Any], stops: frozenset[int]) -> None:
    """The chance of an ordered pair is p(a) p(b) / (1 - p(a)); the seed is fixed, so that it cannot fail by chance."""
    n = 1000
    chances = {tokens: math.exp(logprob) for tokens, logprob in tree(3, seed=4, spread=1.0).texts([START], 2, stops)}
    assert sum(chances.values()) == pytest.approx(1)
    found = drawn(tree, n, StochasticBeam(width=2, n_best=2), 2, stops)
    pairs = Counter((first.tokens, second.tokens) for first, second in found)
    expected = {(a, b): n * chances[a] * chances[b] / (1 - chances[a]) for a, b in permutations(chances, 2)}
    assert set(pairs) <= set(expected)
    # Pairs that are hardly expected count as one, as the test asks.
    rare = {pair for pair, count in expected.items() if count < 5}
    common = [pair for pair in expected if pair not in rare]
    seen = [*(pairs[pair] for pair in common), sum(pairs[pair] for pair in rare)]
    due = [*(expected[pair] for pair in common), sum(expected[pair] for pair in rare)]
    assert chisquare(seen, due).pvalue > 0.01
    for first, second in found[:50]:
        assert first.score > second.score
        assert math.exp(first.logprob) == pytest.approx(chances[first.tokens])
        assert first.finished == (first.tokens[-1] in stops)


def test_temperature_bends_what_is_drawn_and_not_what_is_reported(tree: Callable[..., Any]) -> None:
    n, temperature = 600, 0.5
    model = tree(3, seed=4, spread=1.0)
    found = drawn(tree, n, StochasticBeam(width=1, temperature=temperature), 1, frozenset())
    chances = (model.logits([START]) / temperature).softmax(-1)
    seen = Counter(text.tokens[0] for (text,) in found)
    assert chisquare([seen[token] for token in range(3)], (n * chances).tolist()).pvalue > 0.01
    true = model.logits([START]).log_softmax(-1)
    assert all(text.logprob == pytest.approx(true[text.tokens[0]].item()) for (text,) in found[:20])


def test_a_wide_beam_holds_every_text_once(tree: Callable[..., Any]) -> None:
    stops = frozenset({0})
    texts = {tokens for tokens, _ in tree(3).texts([START], 3, stops)}
    (found,) = search(tree(3), [[START]], StochasticBeam(width=40, n_best=40), max_new_tokens=3, stops=stops)
    assert len(found) == len(texts)
    assert {text.tokens for text in found} == texts
    assert [text.score for text in found] == sorted((text.score for text in found), reverse=True)


def test_truncated_gumbels_have_the_maximum_and_the_distribution(tree: Callable[..., Any]) -> None:
    """Kool et al. 2019, appendix B: with a Gumbel maximum of its own, each is again a free Gumbel variable."""
    generator = torch.Generator().manual_seed(0)
    phi = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64).log()

    def gumbels(*shape: int) -> torch.Tensor:
        return -torch.empty(shape, dtype=torch.float64).exponential_(generator=generator).log()

    maxima = gumbels(4000)
    found = truncated_gumbels(phi + gumbels(4000, 3), maxima)
    torch.testing.assert_close(found.amax(-1), maxima, rtol=0, atol=1e-12)
    for column in range(3):
        assert kstest((found[:, column] - phi[column]).numpy(), "gumbel_r").pvalue > 0.01


def test_truncated_gumbels_are_stable() -> None:
    noisy = torch.tensor([[0.0, -1e-9, -800.0, -math.inf]], dtype=torch.float64)
    found = truncated_gumbels(noisy, torch.tensor([-700.0], dtype=torch.float64))
    assert found[0, 0] == -700
    assert not found.isnan().any()
    assert (found <= -700).all()
    assert found[0, 3] == -math.inf
