"""The native step behind the search: the same texts as torch alone."""

from __future__ import annotations

import pytest
import torch

from stemma.compiled import compiled
from stemma.engine import make_decoder, make_program
from stemma.engine.stepper import NativeStepper
from stemma.families import BLOOM, GPT2, LLAMA, T5
from stemma.generation import Beam, Greedy, ModelStepper, search
from stemma.generation.strategies import Strategy
from stemma.spec import Family

from .. import tolerances
from ..tiny import VOCAB, random_model, tiny


@pytest.mark.parametrize("family", [GPT2, LLAMA, BLOOM, T5], ids=lambda family: family.name)
@pytest.mark.parametrize("strategy", [Greedy(), Beam(width=3)], ids=["greedy", "beam"])
def test_it_writes_what_torch_writes(family: Family, strategy: Strategy) -> None:
    if compiled() is None:
        pytest.skip("the compiled part is not installed")
    model = random_model(tiny(family), 3).eval()
    draws = torch.Generator().manual_seed(4)
    prompts = [torch.randint(VOCAB, (length,), generator=draws).tolist() for length in (5, 2, 7)]
    reader = ModelStepper(model, 0)
    decoder = make_decoder(make_program(model.architecture, model.state_dict(), bits=32, head_bits=32))
    found = search(NativeStepper(reader, decoder), prompts, strategy, max_new_tokens=6, stops=frozenset())
    expected = search(ModelStepper(model, 0), prompts, strategy, max_new_tokens=6, stops=frozenset())
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.tokens for one in ours] == [one.tokens for one in theirs]
        assert [one.logprob for one in ours] == pytest.approx(
            [one.logprob for one in theirs], abs=tolerances.NATIVE_LOGITS
        )
