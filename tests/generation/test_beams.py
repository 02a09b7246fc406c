"""Beam search: exhaustive width equals brute force, and every rule of the search against one written out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.generation import Beam, DiverseBeam, Greedy, search
from stemma.generation.beams import best
from stemma.nn import Model

PENALTIES = [0.0, 1.0, 0.6, 2.5, -1.0]
NO_STOP: frozenset[int] = frozenset()


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("stops", [NO_STOP, frozenset({0}), frozenset({0, 2})])
@pytest.mark.parametrize("vocab_size", [3, 4])
def test_exhaustive_width_equals_brute_force(
    tree: Callable[..., Any], vocab_size: int, stops: frozenset[int], penalty: float
) -> None:
    for seed in range(5):
        model, limit = tree(vocab_size, seed), 4
        texts = sorted(model.texts([1], limit, stops), key=lambda text: -text[1] / len(text[0]) ** penalty)
        width = vocab_size**limit
        strategy = Beam(width=width, length_penalty=penalty, n_best=min(7, len(texts)))
        (found,) = search(model, [[1]], strategy, max_new_tokens=limit, stops=stops)
        assert [text.tokens for text in found] == [tokens for tokens, _ in texts[: len(found)]]
        for text, (tokens, logprob) in zip(found, texts[:7], strict=True):
            assert text.logprob == pytest.approx(logprob, abs=1e-12)
            assert text.logprob == pytest.approx(sum(text.logprobs), abs=1e-12)
            assert text.score == pytest.approx(logprob / len(tokens) ** penalty, abs=1e-12)
            assert text.finished == (tokens[-1] in stops)


def test_exhaustive_width_equals_brute_force_on_every_family(
    writer: Model, stepper_of: Callable[..., Any], uncached: Callable[..., Any], tiny: Callable[..., Any]
) -> None:
    """Of 17 ids 13 end a text, so that few stay open of the 17 ** 3 texts of three tokens."""
    stops, limit = frozenset(range(4, 17)), 3

    def texts(tokens: tuple[int, ...], logprob: float) -> list[tuple[tuple[int, ...], float]]:
        if len(tokens) == limit or (tokens and tokens[-1] in stops):
            return [(tokens, logprob)]
        steps = uncached(writer, [5, 6, 7], tokens)[-1].tolist()
        return [text for token, step in enumerate(steps) for text in texts((*tokens, token), logprob + step)]

    expected = sorted(texts((), 0.0), key=lambda text: -text[1] / len(text[0]))[:6]
    strategy = Beam(width=17**limit, n_best=6)
    (found,) = search(stepper_of(writer), [[5, 6, 7]], strategy, max_new_tokens=limit, stops=stops)
    assert [text.tokens for text in found] == [tokens for tokens, _ in expected]
    assert [text.logprob for text in found] == pytest.approx([logprob for _, logprob in expected], abs=1e-9)


@given(seed=st.integers(0, 10**6), penalty=st.sampled_from(PENALTIES))
def test_a_beam_of_one_is_greedy(tree: Callable[..., Any], seed: int, penalty: float) -> None:
    model = tree(6, seed)
    options = {"max_new_tokens": 6, "stops": frozenset({0})}
    ((greedy,),) = search(model, [[1, 2]], Greedy(), **options)
    ((beam,),) = search(model, [[1, 2]], Beam(width=1, length_penalty=penalty), **options)
    assert (beam.tokens, beam.finished) == (greedy.tokens, greedy.finished)
    assert beam.logprobs == pytest.approx(greedy.logprobs, abs=1e-12)


def written_out(
    model: Any, limit: int, stops: frozenset[int], strategy: DiverseBeam
) -> list[tuple[tuple[int, ...], float]]:
    """Vijayakumar et al. 2018, algorithm 1, without early ends: every group searches to the limit."""
    size = strategy.width // strategy.groups
    live: list[list[tuple[tuple[int, ...], float]]] = [[((), 0.0)] for _ in range(strategy.groups)]
    pools: list[list[tuple[tuple[int, ...], float]]] = [[] for _ in live]
    for length in range(1, limit + 1):
        taken: Counter[int] = Counter()
        for group, beams in enumerate(live):
            ranked = sorted(
                (
                    ((*tokens, token), value + step - strategy.diversity * taken[token])
                    for tokens, value in beams
                    for token, step in enumerate(model.logits((1, *tokens)).log_softmax(-1).tolist())
                ),
                key=lambda text: -text[1],
            )
            ends = [text for text in ranked[:size] if text[0][-1] in stops or length == limit]
            done = length == limit or (size == 1 and ends)
            live[group] = [] if done else [text for text in ranked if text[0][-1] not in stops][:size]
            pools[group] += [(tokens, value / length**strategy.length_penalty) for tokens, value in ends]
            taken.update(tokens[-1] for tokens, _ in ends + live[group])
    different: dict[tuple[int, ...], float] = {}
    for pool in pools:
        # A group keeps as many texts as it has beams.
        for tokens, score in sorted(pool, key=lambda text: -text[1])[: min(size, strategy.n_best)]:
            different[tokens] = max(score, different.get(tokens, -math.inf))
    return sorted(different.items(), key=lambda text: -text[1])[: strategy.n_best]


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(4, 1), (4, 2), (4, 4), (6, 2), (6, 3)]),
    penalty=st.sampled_from(PENALTIES),
    spread=st.sampled_from([1.0, 3.0]),
)
def test_beams_without_diversity_or_early_ends(
    tree: Callable[..., Any], seed: int, shape: tuple[int, int], penalty: float, spread: float
) -> None:
    """Each group ends early where that is safe: what it gives is what a search to the limit gives."""
    model, stops = tree(7, seed, spread), frozenset({0, 3})
    width, groups = shape
    strategy = DiverseBeam(width=width, groups=groups, diversity=0.0, length_penalty=penalty, n_best=width // groups)
    (found,) = search(model, [[1]], strategy, max_new_tokens=5, stops=stops)
    expected = written_out(model, 5, stops, strategy)
    assert [text.tokens for text in found] == [tokens for tokens, _ in expected]
    assert [text.score for text in found] == pytest.approx([score for _, score in expected], abs=1e-12)


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(4, 2), (4, 4), (6, 2), (6, 3)]),
    diversity=st.sampled_from([0.1, 0.5, 4.0]),
    n_best=st.integers(1, 4),
)
def test_diverse_beams_are_those_written_out(
    tree: Callable[..., Any], seed: int, shape: tuple[int, int], diversity: float, n_best: int
) -> None:
    model, (width, groups) = tree(7, seed), shape
    strategy = DiverseBeam(width=width, groups=groups, diversity=diversity, length_penalty=0.0, n_best=n_best)
    (found,) = search(model, [[1]], strategy, max_new_tokens=5)
    expected = written_out(model, 5, NO_STOP, strategy)
    assert [text.tokens for text in found] == [tokens for tokens, _ in expected]
    assert [text.score for text in found] == pytest.approx([score for _, score in expected], abs=1e-12)
    for text in found:
        steps = [model.logits((1, *text.tokens[:n])).log_softmax(-1)[text.tokens[n]].item() for n in range(5)]
        assert text.logprobs == pytest.approx(steps, abs=1e-12)


def test_groups_part_where_diversity_is_strong(tree: Callable[..., Any]) -> None:
    strategy = DiverseBeam(width=4, groups=4, diversity=100.0, n_best=4)
    (found,) = search(tree(9), [[1]], strategy, max_new_tokens=3)
    for step in range(3):
        assert len({text.tokens[step] for text in found}) == 4
    ((first,),) = search(tree(9), [[1]], Greedy(), max_new_tokens=3)
    assert found[0].tokens == first.tokens


def test_ties_go_to_the_earlier_beam_and_the_lower_id(tree: Callable[..., Any]) -> None:
    model = tree(4, spread=0.0)
    (found,) = search(model, [[1]], Beam(width=3, n_best=3), max_new_tokens=2)
    assert [text.tokens for text in found] == [(0, 0), (0, 1), (0, 2)]
    ((greedy,),) = search(model, [[1]], Greedy(), max_new_tokens=2)
    assert greedy.tokens == (0, 0)


@given(scores=st.lists(st.sampled_from([0.0, 1.0, 2.0, -math.inf]), min_size=6, max_size=6), count=st.integers(1, 8))
def test_the_best_are_chosen_as_sorting_would(scores: list[float], count: int) -> None:
    expected = sorted(((-score, n) for n, score in enumerate(scores) if score > -math.inf))[:count]
    found = best(torch.tensor(scores).view(2, 3), count)
    assert found == [(-score, n // 3, n % 3) for score, n in expected]


def test_a_search_stops_when_nothing_open_can_win(tree: Callable[..., Any]) -> None:
    """The end is the likeliest at once: no further step is taken, though the limit is far."""
    model = tree(4)
    logits = torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64)
    model.logits = lambda ids: logits
    stops = frozenset({0})
    (found,) = search(model, [[1]], Beam(width=2, length_penalty=0.0), max_new_tokens=50, stops=stops)
    assert found[0].tokens == (0,)
    assert model.batches == [1]
    # With a length penalty a long text of certain tokens could still win: what counts is the length at the limit.
    search(model, [[1]], Beam(width=2, length_penalty=1.0), max_new_tokens=50, stops=stops)
    assert len(model.batches) > 2


def test_a_long_text_wins_though_it_lags_at_first(tree: Callable[..., Any]) -> None:
    """ln 0.3 / 2 is far below ln 0.7, but ln 0.3 / 10 is above it: the bound must be that of the limit."""
    model = tree(3)
    first = torch.tensor([0.7, 0.3, 0.0], dtype=torch.float64).log()
    certain = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).log()
    model.logits = lambda ids: first if len(ids) == 1 else certain
    (found,) = search(model, [[1]], Beam(width=2), max_new_tokens=10, stops=frozenset({0}))
    assert found[0].tokens == (1,) * 10


def test_a_short_text_wins_where_length_costs(tree: Callable[..., Any]) -> None:
    """2 ln 0.3 is above ln 0.05: where longer texts rank lower, the bound must be that of the next step."""
    model = tree(3)
    first = torch.tensor([0.65, 0.3, 0.05], dtype=torch.float64).log()
    certain = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).log()
    model.logits = lambda ids: first if len(ids) == 1 else certain
    strategy = Beam(width=3, n_best=2, length_penalty=-1.0)
    (found,) = search(model, [[1]], strategy, max_new_tokens=10, stops=frozenset({0, 2}))
    assert [text.tokens for text in found] == [(0,), (1, 0)]


def test_a_forbidden_path_is_dropped_and_no_path_is_an_error(tree: Callable[..., Any]) -> None:
    def after_two_nothing(ids: list[list[int]], logits: torch.Tensor) -> torch.Tensor:
        for row, seen in zip(logits, ids, strict=True):
            if seen[-1] == 2:
                row[:] = -math.inf
        return logits

    strategy = Beam(width=3, n_best=3)
    (found,) = search(tree(3), [[1]], strategy, max_new_tokens=3, processor=after_two_nothing)
    assert found
    assert all(2 not in text.tokens[:-1] for text in found)
    with pytest.raises(InputError, match="offer no token"):
        search(tree(3), [[2]], strategy, max_new_tokens=3, processor=after_two_nothing)


def test_a_model_that_gives_no_numbers_is_an_error(tree: Callable[..., Any]) -> None:
    model = tree(4)
    model.logits = lambda ids: torch.tensor([1.0, math.nan, 0.0, 0.0], dtype=torch.float64)
    with pytest.raises(InputError, match="offer no token"):
        search(model, [[1]], Beam(width=2), max_new_tokens=3)
