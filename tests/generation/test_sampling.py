"""Sampling: the bent distribution is the one described, and the draws follow it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from stemma.errors import InputError
from stemma.generation import Sample, search, warp
from stemma.generation.sampling import draw

OPTIONS = st.builds(
    Sample,
    temperature=st.sampled_from([0.3, 0.7, 1.0, 1.9]),
    top_k=st.none() | st.integers(1, 12),
    top_p=st.none() | st.floats(0.05, 1.0),
    min_p=st.none() | st.floats(0.0, 0.9),
    repetition_penalty=st.sampled_from([0.8, 1.0, 1.3]),
)


def written_out(logits: list[float], seen: list[int], strategy: Sample) -> dict[int, float]:
    """The probabilities that are left, in plain Python."""
    bent = dict(enumerate(logits))
    for token in set(seen):
        factor = strategy.repetition_penalty
        bent[token] = bent[token] / factor if bent[token] > 0 else bent[token] * factor
    order = sorted(bent, key=lambda token: -bent[token])
    if strategy.top_k is not None:
        order = order[: strategy.top_k]
    weights = {token: math.exp(bent[token] / strategy.temperature) for token in order}
    if strategy.top_p is not None and strategy.top_p < 1:  # a sum of shares may round up to 1 before its end
        total, reached, kept = sum(weights.values()), 0.0, []
        for token in order:
            if reached >= strategy.top_p:
                break
            kept.append(token)
            reached += weights[token] / total
        order = kept
    if strategy.min_p is not None:
        order = [token for token in order if weights[token] >= strategy.min_p * weights[order[0]]]
    total = sum(weights[token] for token in order)
    return {token: weights[token] / total for token in order}


@given(strategy=OPTIONS, seed=st.integers(0, 10**6))
def test_bent_logits_are_those_written_out(strategy: Sample, seed: int) -> None:
    draws = Random(seed)
    rows = [[draws.gauss(0, 3) for _ in range(9)] for _ in range(3)]
    ids = [[draws.randrange(9) for _ in range(4)] for _ in range(3)]
    found = warp(torch.tensor(rows, dtype=torch.float64), ids, strategy).softmax(-1)
    for row, logits, seen in zip(found, rows, ids, strict=True):
        expected = written_out(logits, seen, strategy)
        assert {token for token, share in enumerate(row.tolist()) if share > 0} == set(expected)
        assert [row[token].item() for token in expected] == pytest.approx(list(expected.values()), abs=1e-12)


@given(strategy=OPTIONS, seed=st.integers(0, 10**6))
def test_bent_logits_are_those_of_transformers(strategy: Sample, seed: int) -> None:
    from transformers.generation import logits_process as theirs

    generator = torch.Generator().manual_seed(seed)
    # More tokens than the nucleus looks at first.
    logits = 3 * torch.randn(2, 700, generator=generator, dtype=torch.float64)
    ids = torch.randint(700, (2, 30), generator=generator)
    expected = theirs.RepetitionPenaltyLogitsProcessor(strategy.repetition_penalty)(ids, logits)
    expected = theirs.TemperatureLogitsWarper(float(strategy.temperature))(ids, expected)
    if strategy.top_k is not None:
        expected = theirs.TopKLogitsWarper(strategy.top_k)(ids, expected)
    if strategy.top_p is not None:
        expected = theirs.TopPLogitsWarper(strategy.top_p)(ids, expected)
    if strategy.min_p is not None:
        expected = theirs.MinPLogitsWarper(strategy.min_p)(ids, expected)
    kept = logits.clone()
    torch.testing.assert_close(warp(logits, ids.tolist(), strategy), expected, rtol=0, atol=1e-12)
    assert torch.equal(logits, kept)


def test_a_flat_distribution_needs_a_wide_nucleus() -> None:
    found = warp(torch.randn(1, 5000, dtype=torch.float64) * 1e-3, [[]], Sample(top_p=0.9))
    assert (found > -math.inf).sum() == pytest.approx(4500, abs=5)


@given(u=st.floats(0, 1, exclude_max=True))
def test_a_draw_never_takes_what_is_cut_off(u: float) -> None:
    logits = torch.tensor([[-math.inf, 0.5, -math.inf, 2.0, -math.inf]], dtype=torch.float64)
    share = math.exp(0.5) / (math.exp(0.5) + math.exp(2.0))
    # The number in the loop has 48 bits.
    u = math.floor(u * 2**48) / 2**48
    assert draw(logits, torch.tensor([u], dtype=torch.float64)).item() == (1 if u < share else 3)


@pytest.mark.parametrize(
    "strategy",
    [Sample(), Sample(temperature=0.6, top_k=4, repetition_penalty=1.2), Sample(top_p=0.8), Sample(min_p=0.2)],
)
def test_draws_follow_the_distribution(tree: Callable[..., Any], strategy: Sample) -> None:
    """Pearson's chi-square over the texts of two tokens; the seed is fixed, so that it cannot fail by chance."""
    n, start = 4000, 3
    model = tree(5, spread=1.0)
    # Prompts of different ids have draws of their own; here all of them lead to the same distributions.
    model.start = lambda prompts, limit: type(model).start(model, [[start]] * len(prompts), limit)
    model.history = lambda prompt: [start]
    expected: Counter[tuple[int, ...]] = Counter()
    for first, chance in written_out(model.logits([start]).tolist(), [start], strategy).items():
        for second, then in written_out(model.logits([start, first]).tolist(), [start, first], strategy).items():
            expected[first, second] = n * chance * then
    texts = [text for (text,) in search(model, [[place] for place in range(n)], strategy, max_new_tokens=2)]
    seen = Counter(text.tokens for text in texts)
    assert set(seen) <= set(expected)
    assert chisquare([seen[text] for text in expected], list(expected.values())).pvalue > 0.01
    for tokens, logprobs in {text.tokens: text.logprobs for text in texts}.items():
        true = [model.logits([start, *tokens[:k]]).log_softmax(-1)[tokens[k]].item() for k in range(2)]
        assert logprobs == pytest.approx(true, abs=1e-12)


def test_a_prompt_is_drawn_for_by_its_seed_alone(tree: Callable[..., Any]) -> None:
    def run(prompts: list[list[int]], seed: int) -> list[tuple[int, ...]]:
        found = search(tree(50), prompts, Sample(seed=seed), max_new_tokens=8)
        return [text.tokens for (text,) in found]

    alone = run([[1, 2]], 5) + run([[3]], 5) + run([[4, 4, 4]], 5)
    assert run([[1, 2], [3], [4, 4, 4]], 5) == alone
    assert run([[4, 4, 4], [3], [1, 2]], 5) == alone[::-1]
    assert run([[1, 2], [1, 2]], 5) == [alone[0]] * 2
    assert run([[1, 2]], 6) != alone[:1]


@pytest.mark.parametrize("value", [math.nan, -math.inf])
@pytest.mark.parametrize("strategy", [Sample(), Sample(top_p=0.5), Sample(top_k=2, min_p=0.1)])
def test_logits_that_offer_nothing_are_an_error(tree: Callable[..., Any], strategy: Sample, value: float) -> None:
    with pytest.raises(InputError, match="offer no token"):
        search(tree(5), [[1]], strategy, max_new_tokens=2, processor=lambda ids, x: torch.full_like(x, value))
