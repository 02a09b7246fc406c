"""Sizes that follow from others, heads, copies."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import SpecError
from stemma.families import LLAMA, LLAMA2
from stemma.spec import (
    Architecture,
    Encoder,
    EncoderDecoder,
    Gated,
    LanguageModelHead,
    MaskedLMHead,
    Plain,
    Pooler,
    default_d_ff,
)

SMALL = Architecture(n_layers=3, d_model=64, n_heads=4, vocab_size=9)


def test_sizes_that_are_not_given_follow() -> None:
    assert (SMALL.n_kv_heads, SMALL.d_head, SMALL.d_ff) == (4, 16, 256)


@pytest.mark.parametrize("size", ["7B", "13B", "33B", "65B"])
def test_the_gated_width_is_llama_s(size: str) -> None:
    """The rule of LLaMA's code gives every published width."""
    architecture = LLAMA.build(size)
    assert default_d_ff(architecture.d_model, Gated()) == architecture.d_ff


def test_a_change_derives_again_what_was_derived() -> None:
    wider = SMALL.change(d_model=128)
    assert (wider.n_kv_heads, wider.d_head, wider.d_ff) == (4, 32, 512)
    assert SMALL.change(d_model=128, d_ff=7).d_ff == 7
    assert SMALL.change(n_heads=8).d_head == 8


def test_a_change_of_something_else_keeps_sizes() -> None:
    grouped = LLAMA2.build("70B")
    changed = grouped.change(n_layers=2, vocab_size=5)
    assert (changed.n_kv_heads, changed.d_head, changed.d_ff) == (8, 128, 28_672)
    assert (grouped.n_layers, grouped.vocab_size) == (80, 32_000)


def test_a_change_is_checked() -> None:
    with pytest.raises(SpecError, match="n_kv_heads=3 must divide n_heads=4; use 1, 2 or 4"):
        SMALL.change(n_kv_heads=3)


def test_an_architecture_is_frozen_and_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        SMALL.n_layers = 4  # type: ignore[misc]
    assert SMALL.change(n_layers=4).change(n_layers=3) == SMALL
    assert hash(SMALL) == hash(SMALL.change())


def test_layers_of_each_stack() -> None:
    assert (SMALL.kind, SMALL.n_encoder_layers, SMALL.n_decoder_layers) == ("decoder-only", 0, 3)
    encoder = SMALL.change(stacks=Encoder(), heads=())
    assert (encoder.kind, encoder.n_encoder_layers, encoder.n_decoder_layers) == ("encoder-only", 3, 0)
    both = SMALL.change(stacks=EncoderDecoder())
    assert (both.kind, both.n_encoder_layers, both.n_decoder_layers) == ("encoder-decoder", 3, 3)
    assert SMALL.change(stacks=EncoderDecoder(1)).n_decoder_layers == 1


def test_a_head_is_found_by_its_kind() -> None:
    encoder = SMALL.change(stacks=Encoder(), heads=(Pooler(), MaskedLMHead("relu")))
    assert encoder.head(MaskedLMHead) == MaskedLMHead("relu")
    assert encoder.head(LanguageModelHead) is None


@given(data=st.data(), factor=st.integers(2, 4))
def test_a_change_back_is_no_change(
    architectures: st.SearchStrategy[Architecture], data: st.DataObject, factor: int
) -> None:
    architecture = data.draw(architectures)
    other = architecture.change(vocab_size=factor * architecture.vocab_size, feedforward=Plain())
    assert other.change(vocab_size=architecture.vocab_size, feedforward=architecture.feedforward) == architecture
