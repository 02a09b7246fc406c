"""Real models as steppers: neither batch, order, padding nor cache changes a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from stemma.errors import InputError
from stemma.families import BERT, GPT2, T5
from stemma.generation import (
    Beam,
    DiverseBeam,
    Greedy,
    ModelStepper,
    Sample,
    StochasticBeam,
    Strategy,
    check_prompts,
    search,
)
from stemma.nn import Model
from stemma.spec import Dropout, Learned

STRATEGIES: list[Strategy] = [
    Greedy(),
    Sample(top_p=0.9, repetition_penalty=1.2, seed=4),
    Beam(width=3, n_best=2),
    DiverseBeam(width=4, groups=2, n_best=3),
    StochasticBeam(width=3, n_best=3, seed=5),
]
PROMPTS = [[3, 4, 5, 6, 7], [8], [9, 10, 11]]
STOPS = frozenset({0})


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_batch_order_and_padding_change_nothing(
    writer: Model, stepper_of: Callable[..., Any], same: Callable[..., bool], strategy: Strategy
) -> None:
    options = {"max_new_tokens": 6, "stops": STOPS}
    alone = [search(stepper_of(writer), [prompt], strategy, **options)[0] for prompt in PROMPTS]
    assert same(search(stepper_of(writer), PROMPTS, strategy, **options), alone)
    assert same(search(stepper_of(writer), PROMPTS[::-1], strategy, **options), alone[::-1])


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_the_cache_changes_nothing(
    writer: Model, stepper_of: Callable[..., Any], uncached: Callable[..., Any], strategy: Strategy
) -> None:
    """Every log-probability, after all reordering, is that of one pass over the whole text."""
    for prompt, found in zip(
        PROMPTS, search(stepper_of(writer), PROMPTS, strategy, max_new_tokens=6, stops=STOPS), strict=True
    ):
        for text in found:
            whole = uncached(writer, prompt, text.tokens)
            expected = [whole[n, token].item() for n, token in enumerate(text.tokens)]
            assert text.logprobs == pytest.approx(expected, abs=1e-9)


def test_greedy_takes_the_likeliest_of_one_pass(
    writer: Model, stepper_of: Callable[..., Any], uncached: Callable[..., Any]
) -> None:
    for prompt, (text,) in zip(PROMPTS, search(stepper_of(writer), PROMPTS, Greedy(), max_new_tokens=6), strict=True):
        assert list(text.tokens) == uncached(writer, prompt, text.tokens)[:-1].argmax(-1).tolist()


def test_dropout_rests_and_comes_back(tiny: Callable[..., Model]) -> None:
    model = tiny(GPT2, dropout=Dropout(0.5, 0.5, 0.5))
    calm = search(ModelStepper(model), PROMPTS, Greedy(), max_new_tokens=4)
    model.train()
    model.embeddings.eval()
    assert search(ModelStepper(model), PROMPTS, Greedy(), max_new_tokens=4) == calm
    assert model.training
    assert model.decoder.training
    assert not model.embeddings.training


def test_all_faults_are_named_before_anything_runs(tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(GPT2, position=Learned(8))
    monkeypatch.setattr(model, "decode", lambda *args, **kwargs: pytest.fail("the model ran"))
    with pytest.raises(InputError) as caught:
        search(ModelStepper(model), [[1], [], [17, 2, -1], [1] * 7], Greedy(), max_new_tokens=3)
    assert [fault.field for fault in caught.value.faults] == ["prompts[1]", "prompts[2]", "len(prompts[3])"]
    assert caught.value.faults[1].value == [17, -1]
    with pytest.raises(InputError, match="max_new_tokens=0 must be at least 1"):
        search(ModelStepper(model), [[1]], Greedy(), max_new_tokens=0)


def test_learned_positions_can_be_filled_to_the_last(tiny: Callable[..., Model]) -> None:
    model = tiny(GPT2, position=Learned(8))
    ((text,),) = search(ModelStepper(model), [[1] * 6], Greedy(), max_new_tokens=3)
    assert len(text.tokens) == 3
    pair = tiny(T5).architecture.change(position=Learned(8))
    check_prompts(pair, [[1] * 8], 8)
    with pytest.raises(InputError) as caught:
        check_prompts(pair, [[1] * 9], 9)
    assert [fault.field for fault in caught.value.faults] == ["max_new_tokens", "len(prompts[0])"]


def test_a_model_that_cannot_write_is_an_error(tiny: Callable[..., Model]) -> None:
    with pytest.raises(InputError, match="has no lm head"):
        ModelStepper(tiny(BERT))
    for start in (None, 17):
        with pytest.raises(InputError, match="decoder_start"):
            ModelStepper(tiny(T5), start)


def test_no_graph_is_kept(tiny: Callable[..., Model]) -> None:
    stepper = ModelStepper(tiny(GPT2))
    assert not stepper.start([[1]], 2).requires_grad
    assert not stepper.step(torch.tensor([1])).requires_grad
