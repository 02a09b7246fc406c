"""Guesses change how fast a text is written, and nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from stemma.compiled import compiled
from stemma.engine import make_decoder, make_program
from stemma.engine.speculation import DraftModel, LookAhead, PromptLookup, check_draft
from stemma.engine.stepper import NativeStepper
from stemma.errors import InputError
from stemma.families import BLOOM, GPT2, LLAMA, T5
from stemma.generation import Greedy, Hypothesis, ModelStepper, Sample, search
from stemma.generation.strategies import Strategy
from stemma.spec import Family

from .. import tolerances
from ..tiny import VOCAB, random_model, tiny

NEW = 40
STRATEGIES = [Greedy(), Sample(temperature=0.4, seed=3), Sample(top_k=5, repetition_penalty=1.3)]


def decoder(family: Family, seed: int, **sizes: Any) -> tuple[Any, Any]:
    if compiled() is None:
        pytest.skip("the compiled part is not installed")
    model = random_model(tiny(family, **sizes), seed).eval()
    return model, make_decoder(make_program(model.architecture, model.state_dict(), bits=8))


def longer(family: Family) -> dict[str, Any]:
    """Room for the texts of these tests."""
    from stemma.spec import Learned

    return {"position": Learned(96)} if family is GPT2 else {}


class Wild:
    """Guesses at random; it is counted what held."""

    def __init__(self) -> None:
        self.draws = torch.Generator().manual_seed(0)

    def __call__(self, ids: Sequence[int], most: int) -> list[int]:
        return torch.randint(VOCAB, (most,), generator=self.draws).tolist()


class Knowing:
    """Guesses what it was told, which is right but for every seventh token."""

    def __init__(self, prompt: int, tokens: Sequence[int]) -> None:
        self.known = [token if n % 7 else 0 for n, token in enumerate(tokens)]
        self.prompt = prompt

    def __call__(self, ids: Sequence[int], most: int) -> list[int]:
        done = len(ids) - self.prompt
        return self.known[done : done + most]


def alike(found: Hypothesis, expected: Hypothesis) -> None:
    """The same text; its log-probabilities are summed by torch in one of them."""
    assert found.tokens == expected.tokens
    assert found.logprobs == pytest.approx(expected.logprobs, abs=tolerances.FP32)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=["greedy", "bold", "penalised"])
@pytest.mark.parametrize("family", [GPT2, LLAMA, BLOOM, T5], ids=lambda family: family.name)
def test_the_text_is_the_same(family: Family, strategy: Strategy) -> None:
    model, native = decoder(family, 5, **longer(family))
    prompt = torch.randint(VOCAB, (9,), generator=torch.Generator().manual_seed(1)).tolist()

    def written(draft: Any) -> Hypothesis:
        stepper: Any = NativeStepper(ModelStepper(model, 0), native)
        if draft is not None:
            stepper = LookAhead(stepper, draft)
        ((found,),) = search(stepper, [prompt], strategy, max_new_tokens=NEW)
        return found

    expected = written(None)
    for draft in (Wild(), PromptLookup(), Knowing(len(prompt), expected.tokens), lambda ids, most: []):
        alike(written(draft), expected)


def test_right_guesses_save_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, native = decoder(LLAMA, 5)
    stepper = NativeStepper(ModelStepper(model), native)
    ((expected,),) = search(stepper, [[1, 2, 3]], Greedy(), max_new_tokens=NEW)
    passes = []
    extend = NativeStepper.extend
    monkeypatch.setattr(
        NativeStepper, "extend", lambda self, tokens: passes.append(len(tokens)) or extend(self, tokens)
    )
    ahead = LookAhead(stepper, Knowing(3, expected.tokens))
    ((found,),) = search(ahead, [[1, 2, 3]], Greedy(), max_new_tokens=NEW)
    assert found.tokens == expected.tokens
    assert len(passes) < NEW / 3


def test_several_rows_are_left_alone() -> None:
    model, native = decoder(LLAMA, 5)
    stepper = NativeStepper(ModelStepper(model), native)
    prompts = [[1, 2, 3], [4, 5]]
    expected = search(stepper, prompts, Greedy(), max_new_tokens=5)
    found = search(LookAhead(stepper, PromptLookup()), prompts, Greedy(), max_new_tokens=5)
    for (one,), (other,) in zip(found, expected, strict=True):
        alike(one, other)


def test_a_model_that_guesses() -> None:
    """Another one's guesses hardly hold; the model's own all do."""
    model, native = decoder(LLAMA, 5)
    _, other = decoder(LLAMA, 6)
    stepper = NativeStepper(ModelStepper(model), native)
    ((expected,),) = search(stepper, [[1, 2, 3]], Greedy(), max_new_tokens=NEW)
    for guesser in (native, other):
        draft = DraftModel(guesser, None)
        for _ in range(2):
            ((found,),) = search(LookAhead(stepper, draft), [[1, 2, 3]], Greedy(), max_new_tokens=NEW)
            assert found.tokens == expected.tokens
    ids = [1, 2, 3, *expected.tokens]
    draft = DraftModel(native, None)
    assert draft(ids[:5], 4) == ids[5:9]
    assert draft(ids[:8], 3) == ids[8:11]
    assert draft([1, 2, 3, 4], 2) == draft([1, 2, 3, 4], 2)
    assert DraftModel(native, 6)([1, 2, 3, 4], 4) == []


def test_what_followed_before_is_looked_up() -> None:
    lookup = PromptLookup()
    ids = [1, 2, 3, 4, 5, 6, 2, 3]
    assert lookup(ids, 3) == [4, 5, 6]
    assert lookup([*ids, 4], 2) == [5, 6]
    assert lookup([*ids, 9], 2) == []
    assert lookup([7, 8], 2) == []


def test_a_model_of_another_kind_guesses_nothing() -> None:
    check_draft(tiny(LLAMA), tiny(T5))
    with pytest.raises(InputError, match="same tokenizer"):
        check_draft(tiny(LLAMA, vocab=11), tiny(LLAMA))
    with pytest.raises(InputError, match="must be a decoder"):
        check_draft(tiny(T5), tiny(LLAMA))
