"""ERNIE 3.0: one universal stack for two tasks, and a module for each."""

from __future__ import annotations

import pytest
import torch

from stemma.errors import InputError, SpecError
from stemma.families import GPT2, family
from stemma.nn import Model
from stemma.spec import RelativeSinusoidal, Rotary, TaskModules
from stemma.spec.count import parameters

from ..tiny import apart, random_model, random_tokens, run, tiny
from ..tolerances import FP64

ERNIE3 = family("ernie3")
LENGTH = 7


def _model() -> Model:
    return random_model(tiny(ERNIE3), dtype=torch.float64)


@pytest.mark.parametrize("understanding", [False, True])
def test_both_tasks_teach_the_universal_stack_and_each_its_own_module(understanding: bool) -> None:
    model = _model()
    model(random_tokens(2, LENGTH), understanding=understanding).logits.square().sum().backward()
    taught = {name for name, part in model.named_parameters() if part.grad is not None and part.grad.abs().max() > 0}
    universal = {name for name, _ in model.named_parameters() if not name.startswith("task_modules.")}
    own = "task_modules.understanding." if understanding else "task_modules.generation."
    # An offset of keys moves all scores of a query alike.
    silent = {name for name, _ in model.named_parameters() if name.endswith("key.bias")}
    assert universal - silent <= taught
    assert {name for name, _ in model.named_parameters() if name.startswith(own)} - silent <= taught
    assert all(name.startswith(own) for name in taught - universal)


def test_understanding_sees_what_follows_and_generation_does_not() -> None:
    model, tokens = _model(), random_tokens(1, LENGTH)
    other = tokens.clone()
    other[0, 4] = (other[0, 4] + 1) % model.architecture.vocab_size
    moved = {}
    for understanding in (False, True):
        first, second = (run(model, ids, understanding=understanding).logits for ids in (tokens, other))
        moved[understanding] = ((first - second).abs().amax(-1)[0] > FP64).tolist()
    assert moved == {False: [place >= 4 for place in range(LENGTH)], True: [True] * LENGTH}


def test_a_text_is_continued_where_nothing_is_said() -> None:
    model, tokens = _model(), random_tokens(2, LENGTH)
    assert torch.equal(run(model, tokens).logits, run(model, tokens, understanding=False).logits)


def test_what_is_kept_is_the_universal_stacks_and_then_the_modules() -> None:
    output = run(_model(), random_tokens(2, LENGTH), hiddens=True, attentions=True)
    assert [state.shape[-1] for state in output.hiddens] == [20] * 4 + [18] * 3 + [20]
    assert torch.equal(output.hiddens[-1], output.hidden)
    assert [weights.shape[1] for weights in output.attentions] == [4] * 3 + [3] * 2


@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_no_understanding(left: bool) -> None:
    model, text = _model(), random_tokens(1, LENGTH)
    filling = random_tokens(1, 2, seed=1)
    tokens = torch.cat((filling, text) if left else (text, filling), 1)
    mask = torch.arange(LENGTH + 2)[None] >= 2 if left else torch.arange(LENGTH + 2)[None] < LENGTH
    padded = run(model, tokens, mask=mask, understanding=True).hidden
    assert apart(padded[mask][None], run(model, text, understanding=True).hidden) <= FP64


def test_packed_texts_are_understood_apart() -> None:
    model, text = _model(), random_tokens(1, LENGTH)
    both = torch.cat((text, text), 1)
    packed = run(model, both, documents=torch.arange(2 * LENGTH)[None] // LENGTH, understanding=True).hidden
    alone = run(model, text, understanding=True).hidden
    assert apart(packed, torch.cat((alone, alone), 1)) <= FP64


def test_what_cannot_be_is_refused() -> None:
    model, tokens = _model(), random_tokens(1, LENGTH)
    with pytest.raises(InputError, match="read the text without a cache"):
        model(tokens, understanding=True, cache=model.new_cache(1, LENGTH))
    with pytest.raises(InputError, match="all is seen"):
        model(tokens, understanding=True, prefix=torch.tensor([2]))
    with pytest.raises(InputError, match="understanding='given' is not read"):
        random_model(tiny(GPT2))(tokens, understanding=True)
    odd = TaskModules(n_layers=1, d_model=9, n_heads=3, d_ff=5)
    for position in (Rotary(), RelativeSinusoidal()):
        with pytest.raises(SpecError, match=r"modules\.d_model=9"):
            tiny(GPT2, position=position, modules=odd)


def test_the_published_size() -> None:
    assert parameters(ERNIE3.build("10B")) == pytest.approx(10e9, rel=0.01)
