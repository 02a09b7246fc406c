"""The native step's logits beside the torch model's that holds the same weights, for every decoder of the tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stemma.engine import PackedMatrix, faults_of, hand_over, make_decoder, make_program
from stemma.nn import Cache, Model
from stemma.spec import Architecture, Decoder, EncoderDecoder, Family

from .. import tolerances
from ..tiny import apart, marked, networks, random_model, random_tokens, tiny

pytest.importorskip("stemma_native", reason="the compiled part is not installed")

DECODERS = [family for family in networks(Decoder, EncoderDecoder) if not faults_of(tiny(family))]
each_decoder = pytest.mark.parametrize("family", marked(DECODERS))
each_width = pytest.mark.parametrize("bits", [32, 8, 4])


def alike(architecture: Architecture, bits: int, activation_bits: int = 16) -> tuple[Model, Any]:
    """A model, and a native decoder with the very same weights."""
    model = random_model(architecture)
    state = model.state_dict()
    head_bits = max(bits, 8)
    program = make_program(architecture, state, bits=bits, head_bits=head_bits, activation_bits=activation_bits)
    for name, tensor in program.tensors.items():
        if isinstance(tensor, PackedMatrix):
            own = name if name in state else name.replace("embeddings.", "decoder_additions.")
            state[own].copy_(torch.from_numpy(tensor.dequantised()))
    return model, make_decoder(program)


def begun(model: Model, rows: int, capacity: int, lengths: list[int] | None = None) -> tuple[Cache, Tensor]:
    """A torch cache after some tokens, ragged where lengths are given, and the logits of what follows."""
    memory, starts, longest = None, None, max(lengths or [1])
    if isinstance(model.architecture.stacks, EncoderDecoder):
        mask = torch.arange(7) < torch.tensor([7, 4, 6][:rows])[:, None]
        memory = model.encode(random_tokens(rows, 7, seed=5), mask)
    elif lengths is not None:
        starts = longest - torch.tensor(lengths)
    cache = model.new_cache(rows, capacity, starts=starts, memory=memory)
    output = model.decode(random_tokens(rows, longest, seed=6), cache=cache)
    assert output.logits is not None
    return cache, output.logits[:, -1]


def stepped(model: Model, decoder: Any, precise: bool) -> tuple[Tensor, Tensor]:
    """Logits of seven more tokens of rows that torch has read: the native step's and torch's."""
    cache, _ = begun(model, 3, 16, [5, 7, 2])
    own = decoder.cache(3, 16, precise=precise)
    hand_over(cache, own)
    tokens = random_tokens(3, 7)
    ours = [decoder.step(own, column.contiguous().numpy()) for column in tokens.T]
    theirs = [model.decode(column[:, None], cache=cache).logits for column in tokens.T]
    return torch.from_numpy(np.stack(ours, 1)), torch.cat(theirs, 1)  # type: ignore[arg-type]


@each_width
@each_decoder
@torch.no_grad()
def test_after_what_torch_has_read(family: Family, bits: int) -> None:
    """Rows of different lengths are handed over and go on together."""
    ours, theirs = stepped(*alike(tiny(family), bits), precise=True)
    assert apart(ours, theirs) < (tolerances.NATIVE_EXACT if bits == 32 else tolerances.NATIVE_LOGITS)


@each_decoder
@torch.no_grad()
def test_as_it_is_used(family: Family) -> None:
    """With 8-bit activations and a cache in bfloat16 logits lie close; a router might choose others than torch's."""
    ours, theirs = stepped(*alike(tiny(family, experts=None), 8, activation_bits=8), precise=False)
    assert float((ours - theirs).square().mean().sqrt()) < tolerances.NATIVE_COARSE


@each_width
@each_decoder
@torch.no_grad()
def test_from_the_first_token(family: Family, bits: int) -> None:
    """Tokens read one by one, and several at once, give the logits of the whole text."""
    model, decoder = alike(tiny(family), bits)
    cache, _ = begun(model, 2, 16)
    own = decoder.cache(2, 16, precise=True)
    hand_over(cache, own)
    for row in range(2):
        own.trim(row, 0)
    cache.trim(0)
    tokens = random_tokens(2, 11, seed=3)
    theirs = model.decode(tokens, cache=cache).logits
    assert theirs is not None
    ours = [decoder.step(own, column.contiguous().numpy()) for column in tokens[:, :4].T]
    rest = np.stack([decoder.extend(own, row, tokens[row, 4:].numpy()) for row in range(2)])
    logits = torch.from_numpy(np.concatenate([np.stack(ours, 1), rest], 1))
    assert apart(logits, theirs) < (tolerances.NATIVE_EXACT if bits == 32 else tolerances.NATIVE_LOGITS)
    assert list(own.lengths) == [11, 11]
