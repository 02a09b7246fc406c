"""What holds for every family holds for every valid architecture, drawn from the types of its fields."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.spec import Architecture, EncoderDecoder

from ..spec.conftest import any_architecture
from ..tiny import PER_TOKEN, apart, random_model, random_tokens, results, run
from ..tolerances import FP64


def _longest(architecture: Architecture) -> int:
    return min(5, architecture.max_tokens or 5)


@given(architecture=any_architecture(), left=st.booleans())
def test_padding_changes_nothing(architecture: Architecture, left: bool) -> None:
    model = random_model(architecture, dtype=torch.float64)
    length = _longest(architecture)
    tokens = random_tokens(2, length + 2, vocab=architecture.vocab_size)
    real = slice(2, None) if left else slice(0, length)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, real] = True
    targets = {"decoder_tokens": tokens[:, :length]} if isinstance(architecture.stacks, EncoderDecoder) else {}
    alone = results(run(model, tokens[:, real], **targets))
    for name, padded in results(run(model, tokens, mask=mask, **targets)).items():
        assert apart(padded if name not in PER_TOKEN or targets else padded[:, real], alone[name]) <= FP64, name


@given(architecture=any_architecture().filter(lambda architecture: architecture.n_decoder_layers > 0))
def test_a_token_at_a_time_is_as_all_at_once(architecture: Architecture) -> None:
    model = random_model(architecture, dtype=torch.float64)
    length = _longest(architecture)
    tokens = random_tokens(2, length, vocab=architecture.vocab_size)
    pair = isinstance(architecture.stacks, EncoderDecoder)
    whole = results(run(model, tokens, **({"decoder_tokens": tokens} if pair else {})))
    with torch.no_grad():
        cache = model.new_cache(2, length, memory=model.encode(tokens) if pair else None)
        for place in range(length):
            output = model.decode(tokens[:, place : place + 1], cache=cache)
            for name, value in results(output).items():
                assert apart(value, whole[name][:, place : place + 1]) <= FP64, name
