"""The loop: what it hands to a stepper, whom it asks, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from stemma.generation import Beam, DiverseBeam, Greedy, Sample, StochasticBeam, Strategy, search

STRATEGIES: list[Strategy] = [
    Greedy(),
    Sample(seed=3),
    Sample(temperature=0.8, top_k=5, top_p=0.9, min_p=0.01, repetition_penalty=1.2, seed=4),
    Beam(width=3, n_best=2),
    DiverseBeam(width=4, groups=2, n_best=3),
    StochasticBeam(width=3, n_best=3, seed=5),
]
PROMPTS = [[1, 2, 3], [4], [1, 2], [5, 5, 5, 5]]
STOPS = frozenset({0, 7})


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_prompt_gets_what_it_would_get_alone(
    tree: Callable[..., Any], same: Callable[..., bool], strategy: Strategy
) -> None:
    options = {"max_new_tokens": 6, "stops": STOPS}
    alone = [search(tree(9), [prompt], strategy, **options)[0] for prompt in PROMPTS]
    assert same(search(tree(9), PROMPTS, strategy, **options), alone)
    assert same(search(tree(9), PROMPTS[::-1], strategy, **options), alone[::-1])
    assert search(tree(9), [], strategy, **options) == []


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_every_figure_is_the_models_own(tree: Callable[..., Any], strategy: Strategy) -> None:
    model = tree(9)
    for prompt, found in zip(PROMPTS, search(model, PROMPTS, strategy, max_new_tokens=5, stops=STOPS), strict=True):
        for text in found:
            steps = [
                model.logits((*prompt, *text.tokens[:n])).log_softmax(-1)[token].item()
                for n, token in enumerate(text.tokens)
            ]
            assert text.logprobs == pytest.approx(steps, abs=1e-12)
            assert text.logprob == pytest.approx(sum(steps), abs=1e-12)
            assert not STOPS & set(text.tokens[:-1])
            assert text.finished == (text.tokens[-1] in STOPS)
            assert text.finished or len(text.tokens) == 5


def test_finished_rows_leave_the_batch_and_the_last_token_is_not_read(tree: Callable[..., Any]) -> None:
    model = tree(9)
    found = search(model, PROMPTS, Greedy(), max_new_tokens=6, stops=STOPS)
    lengths = [len(text.tokens) for (text,) in found]
    assert min(lengths) < max(lengths)
    assert model.batches == [sum(length > step for length in lengths) for step in range(max(lengths))]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_who_watches_sees_every_token_and_may_end_a_text(tree: Callable[..., Any], strategy: Strategy) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []

    def watch(prompt: int, tokens: Sequence[int]) -> bool:
        seen.append((prompt, tuple(tokens)))
        return len(tokens) == 3

    found = search(tree(9), PROMPTS, strategy, max_new_tokens=6, stops=STOPS, watch=watch)
    for prompt, texts in enumerate(found):
        for text in texts:
            assert text.finished
            assert len(text.tokens) <= 3
            assert {(prompt, text.tokens[:n]) for n in range(1, len(text.tokens) + 1)} <= set(seen)


def test_an_error_of_who_watches_comes_through(tree: Callable[..., Any]) -> None:
    def watch(prompt: int, tokens: Sequence[int]) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tree(9), [[1]], Greedy(), max_new_tokens=6, watch=watch)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_processor_bends_the_choice_and_not_the_figures(tree: Callable[..., Any], strategy: Strategy) -> None:
    model = tree(9)

    def even_only(ids: list[list[int]], logits: torch.Tensor) -> torch.Tensor:
        assert [tuple(row) for row in ids] == model.rows
        logits[:, 1::2] = -torch.inf
        return logits

    for prompt, found in zip(
        PROMPTS, search(model, PROMPTS, strategy, max_new_tokens=4, processor=even_only), strict=True
    ):
        for text in found:
            assert all(token % 2 == 0 for token in text.tokens)
            true = model.logits(prompt).log_softmax(-1)[text.tokens[0]].item()
            assert text.logprobs[0] == pytest.approx(true, abs=1e-12)


def test_low_precision_is_summed_in_single(tree: Callable[..., Any]) -> None:
    model = tree(200)
    exact = model.logits
    model.logits = lambda ids: exact(ids).bfloat16()
    ((text,),) = search(model, [[1]], Greedy(), max_new_tokens=1)
    rounded = model.logits([1]).double().log_softmax(-1)
    assert text.logprob == pytest.approx(rounded.max().item(), abs=1e-5)
